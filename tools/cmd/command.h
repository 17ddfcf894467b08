/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_CMD_COMMAND_H
#define TOOLS_CMD_COMMAND_H

#include <stdio.h>

#include "core/err.h"
#include "core/log.h"
#include "tools/cmd/option.h"

/* The exit codes are our ABI: they say where things are. */
enum {
    EXIT_DONE = 0,      /* done; the guest runs on the destination */
    EXIT_FAILED = 1,    /* failed; the guest runs on the source, the images are intact */
    EXIT_REFUSED = 2,   /* not understood, or refused by a check; nothing was touched */
    EXIT_CANCELLED = 3, /* cancelled; the guest runs on the source */
    EXIT_UNCERTAIN = 4, /* a person must look; the message says at what */
};

/* A subcommand: one file, one option table, one function. */
struct command {
    const char *name;
    const char *operands; /* as in the usage line: "SRC DST" */
    const char *summary;  /* one line, no full stop */
    const char *details;  /* for --help, after the options; may be NULL */
    const struct option_def *options;
    int (*run)(const struct command *self, int argc, char **argv);
    /* NULL-terminated, of a command that has some; their names begin with its name and a space. */
    const struct command *const *subcommands;
};

extern const struct command command_bench;
extern const struct command command_check;
extern const struct command command_migrate;
extern const struct command command_predict;
extern const struct command command_relocate;
extern const struct command command_watch;

void command_usage(const struct command *c, FILE *to);

/*
 * The usual start of a run(): parses into `base`. Returns the index of the first operand; or -1
 * with *exit_code set, when --help was shown (EXIT_DONE) or the error was printed (EXIT_REFUSED).
 * There must be between `min` and `max` operands.
 */
int command_parse(const struct command *c, void *base, int argc, char **argv, int min, int max,
                  int *exit_code);

/* Prints the error once, and turns its class into the exit code. */
int command_fail(const struct err *e);

/* The log goes to standard error from here on, with the time since. */
void command_log_begin(void);
/* What is logged there: up to this level. */
void command_log_level(enum log_level level);

#endif
