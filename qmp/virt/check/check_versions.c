/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions, and the migration capabilities that both QEMUs have. On the destination none runs yet,
 * so the installed ones are asked, on both sides alike: started without a machine, asked by QMP on
 * their standard input, and told to quit. The guest's own monitor is left alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "qmp/virt/check/check_run.h"

enum { CAPABILITY_NAMES_MAX = 1024 };

void check_versions(struct check_run *r)
{
    static const char what[] = "QEMU versions";
    unsigned long from = r->from_qemu, to = r->to_qemu;
    if (from == 0 || to == 0) {
        check_list_add(r->l, CHECK_SKIPPED, what, "libvirt on %s does not report QEMU's version",
                       from == 0 ? r->from.name : r->to.name);
        return;
    }
    bool older = to / 1000 < from / 1000;
    check_list_add(r->l, older ? CHECK_WARN : CHECK_OK, what,
                   "%lu.%lu.%lu, and %lu.%lu.%lu on %s%s", from / 1000000, from / 1000 % 1000,
                   from % 1000, to / 1000000, to / 1000 % 1000, to % 1000, r->to.name,
                   older ? ": QEMU's developers do not test migration to an older version" : "");
    if (older) {
        check_fix_there(r->l, &r->to.shell, "apt-get install --only-upgrade qemu-system-x86");
    }
}

/* ---- capabilities ---- */

static bool capability_append(char *names, size_t room, const char *name, const char *end)
{
    size_t n = strlen(names);
    return (size_t)snprintf(names + n, room - n, "%s%s", name, end) < room - n;
}

static bool capability_take(const char *line, char *names, size_t room)
{
    struct err none = {0};
    CLEANUP_JSON struct json *o = json_from_text(line);
    struct json *list;
    size_t n;
    if (json_find_list(o, "return", &list, &n, &none) < 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *name;
        struct err unnamed = {0};
        if (json_find_text(json_nth(list, i), "capability", &name, &unnamed) == 0)
            capability_append(names, room, name, "\n");
    }
    return true;
}

bool check_capability_names(const char *qmp_lines, char *names, size_t room)
{
    CLEANUP_FREE char *copy = strdup(qmp_lines);
    char *rest = copy, *line;
    names[0] = '\0';
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL)
        if (strstr(line, "\"capability\"") != NULL && capability_take(line, names, room))
            return names[0] != '\0';
    return false;
}

static bool capability_in(const char *names, const char *name, size_t len)
{
    for (const char *at = names; (at = strstr(at, name)) != NULL; at++)
        if ((at == names || at[-1] == '\n') && at[len] == '\n')
            return true;
    return false;
}

/* Each of `a` goes to `in` if `b` has it, else to `out`; NULL: nowhere. */
static void capability_split(const char *a, const char *b, char *in, char *out, size_t room)
{
    for (const char *at = a; *at != '\0';) {
        char name[64];
        size_t len = strcspn(at, "\n");
        snprintf(name, sizeof name, "%.*s", (int)len, at);
        char *to = capability_in(b, name, strlen(name)) ? in : out;
        if (to != NULL) {
            if (to[0] != '\0')
                capability_append(to, room, ", ", "");
            capability_append(to, room, name, "");
        }
        at += len + (at[len] == '\n');
    }
}

void check_capability_compare(const char *a, const char *b, char *both, char *only_a, char *only_b,
                              size_t room)
{
    both[0] = only_a[0] = only_b[0] = '\0';
    capability_split(a, b, both, only_a, room);
    capability_split(b, a, NULL, only_b, room);
}

static int capability_ask(const struct check_run *r, struct check_side *side, char *names,
                          size_t room, struct err *e)
{
    char script[PATH_MAX + 400];
    CLEANUP_FREE char *said = malloc(65536);
    if (said == NULL || r->emulator == NULL)
        return err_set(e, ERR_REFUSED, 0, "the domain names no emulator to ask");
    snprintf(script, sizeof script,
             "printf '%%s\\n' '{\"execute\":\"qmp_capabilities\"}' "
             "'{\"execute\":\"query-migrate-capabilities\"}' '{\"execute\":\"quit\"}' | "
             "timeout 15 %s -machine none,accel=tcg -nodefaults -no-user-config -display none "
             "-monitor none -serial none -qmp stdio",
             text_shell_word(r->emulator));
    if (shell_run(&side->shell, script, said, 65536, CHECK_SHELL_NS, e) < 0)
        return -1;
    if (!check_capability_names(said, names, room))
        return err_set(e, ERR_PROTO, 0, "%s: %s does not report its capabilities: %.100s",
                       side->name, r->emulator, said);
    return 0;
}

void check_capabilities(struct check_run *r)
{
    static const char what[] = "migration capabilities";
    char a[CAPABILITY_NAMES_MAX], b[CAPABILITY_NAMES_MAX];
    char both[CAPABILITY_NAMES_MAX], only_a[CAPABILITY_NAMES_MAX], only_b[CAPABILITY_NAMES_MAX];
    struct err e = {0};
    if (capability_ask(r, &r->from, a, sizeof a, &e) < 0 ||
        capability_ask(r, &r->to, b, sizeof b, &e) < 0) {
        check_skip_err(r->l, what, &e);
        return;
    }
    check_capability_compare(a, b, both, only_a, only_b, sizeof both);
    check_list_add(r->l, CHECK_OK, what, "both installed QEMUs have %s", both);
    if (only_a[0] != '\0' || only_b[0] != '\0')
        check_list_add(r->l, CHECK_WARN, what,
                       "do not use between these hosts what only one has: only %s has %s; "
                       "only %s has %s",
                       r->from.name, only_a[0] != '\0' ? only_a : "nothing", r->to.name,
                       only_b[0] != '\0' ? only_b : "nothing");
}
