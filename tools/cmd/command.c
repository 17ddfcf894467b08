/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What subcommands share: usage, errors, the log on standard error.
 */
#include "tools/cmd/command.h"

#include <stdio.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

static enum log_level log_level_shown = LOG_WARN;
static int64_t started_ns;

/* One write() a line: several threads may talk. */
static void command_log(enum log_level level, const char *line)
{
    if (level > log_level_shown)
        return;
    CLEANUP_FREE char *text = NULL;
    double t_s = (double)(clock_now_ns() - started_ns) / 1e9;
    int n = level == LOG_WARN ? asprintf(&text, "godwit: warning: %s\n", line)
                              : asprintf(&text, "godwit: %8.3f %s\n", t_s, line);
    if (n < 0)
        text = NULL;
    else
        (void)!write(STDERR_FILENO, text, (size_t)n);
}

void command_log_begin(void)
{
    started_ns = clock_now_ns();
    log_set_sink(command_log);
}

void command_log_level(enum log_level level)
{
    log_level_shown = level;
}

void command_usage(const struct command *c, FILE *to)
{
    fprintf(to, "Usage: godwit %s [OPTION]... %s\n%s.\n\n", c->name, c->operands, c->summary);
    option_usage(c->options, to);
    if (c->details != NULL)
        fprintf(to, "\n%s", c->details);
}

int command_fail(const struct err *e)
{
    err_print(e, "godwit", stderr);
    switch (e->class) {
    case ERR_USAGE:
    case ERR_REFUSED: return EXIT_REFUSED;
    case ERR_CANCELLED: return EXIT_CANCELLED;
    case ERR_UNCERTAIN: return EXIT_UNCERTAIN;
    default: return EXIT_FAILED;
    }
}

int command_parse(const struct command *c, void *base, int argc, char **argv, int min, int max,
                  int *exit_code)
{
    struct err e = {0};
    bool help = false;
    int first = option_parse(c->options, base, argc, argv, &help, &e);
    if (help) {
        command_usage(c, stdout);
        *exit_code = EXIT_DONE;
        return -1;
    }
    if (first >= 0 && (argc - first < min || argc - first > max)) {
        err_set(&e, ERR_USAGE, 0, "%s: %s", c->name,
                argc - first < min ? "an operand is missing" : "too many operands");
        first = -1;
    }
    if (first < 0) {
        if (e.hint == NULL)
            err_hint(&e, "usage: godwit %s [OPTION]... %s (more: godwit %s --help)", c->name,
                     c->operands, c->name);
        *exit_code = command_fail(&e);
    }
    return first;
}
