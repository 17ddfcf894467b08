/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit: the table of subcommands.
 */
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "qmp/virt/route.h"
#include "qmp/virt/ssh.h"
#include "tools/cmd/command.h"
#include "version.h"

static const struct command *const commands[] = {
    &command_check,    &command_predict, &command_migrate,
    &command_relocate, &command_watch,   &command_bench,
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void main_usage(FILE *to)
{
    fputs("Usage: godwit COMMAND [OPTION]... [OPERAND]...\n"
          "Live migration of QEMU/KVM guests, and relocation of their disk images onto NFS.\n\n"
          "Commands:\n",
          to);
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'godwit COMMAND --help' tells more. Exit code: 0 done, 1 failed (guest on the\n"
          "source), 2 refused (nothing touched), 3 cancelled, 4 uncertain (a person must look).\n",
          to);
}

/* Also of a subcommand, "bench relocate". */
static const struct command *main_find(const char *name)
{
    static const struct command *const none[] = {NULL};
    for (size_t i = 0; i < COUNT(commands); i++) {
        const struct command *const *sub = commands[i]->subcommands;
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
        for (sub = sub != NULL ? sub : none; *sub != NULL; sub++)
            if (strcmp((*sub)->name, name) == 0)
                return *sub;
    }
    return NULL;
}

/* For the build: copies standard input to standard output, "@OPTIONS name@" lines filled in. */
static int main_man(void)
{
    char line[1024];
    char name[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "@OPTIONS %31[a-z ]@", name) != 1) {
            fputs(line, stdout);
            continue;
        }
        const struct command *c = main_find(name);
        if (c == NULL)
            return EXIT_FAILED;
        option_man(c->options, stdout);
    }
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static void main_completion_words(const struct command *c)
{
    struct option_flat flat;
    option_flatten(c->options, &flat);
    for (const struct option_def *d = flat.at; d->name != NULL; d++)
        printf(" --%s", d->name);
    for (const struct command *const *sub = c->subcommands; sub != NULL && *sub != NULL; sub++) {
        printf(" %s", (*sub)->name + strlen(c->name) + 1);
        main_completion_words(*sub);
    }
}

/* For the build: a bash completion. */
static int main_completion(void)
{
    fputs("_godwit() {\n    local words\n    case ${COMP_WORDS[1]} in\n", stdout);
    for (size_t i = 0; i < COUNT(commands); i++) {
        printf("    %s) words='--help", commands[i]->name);
        main_completion_words(commands[i]);
        fputs("' ;;\n", stdout);
    }
    fputs("    *) words='", stdout);
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("%s ", commands[i]->name);
    fputs("--help --version' ;;\n    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
          "}\ncomplete -o default -F _godwit godwit\n",
          stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], VIRT_SSH_SELF) == 0) /* started by libvirt */
        return virt_ssh_main(argv);
    command_log_begin();

    if (argc < 2) {
        main_usage(stderr);
        return EXIT_REFUSED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        main_usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("godwit " GODWIT_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--fill-man-page") == 0)
        return main_man();
    if (strcmp(argv[1], "--bash-completion") == 0)
        return main_completion();
    if (strcmp(argv[1], VIRT_ROUTE_GUARD) == 0) /* started by a direct migration */
        return virt_route_guard(argc, argv);

    const struct command *c = main_find(argv[1]);
    if (c == NULL) {
        struct err e = {0};
        err_set(&e, ERR_USAGE, 0, "'%s' is not a command", argv[1]);
        err_hint(&e, "'godwit --help' lists the commands");
        return command_fail(&e);
    }
    return c->run(c, argc - 1, argv + 1);
}
