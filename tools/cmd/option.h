/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table: each subcommand has one const array, and parsing, --help, the man page and the
 * shell completion are all made from it, so that they cannot differ.
 *
 * A value is written to `base + offset`, in the type that its kind names. Values that are not given
 * are left alone: the caller's struct holds the defaults.
 */
#ifndef TOOLS_CMD_OPTION_H
#define TOOLS_CMD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *, lent from argv */
    OPTION_COUNT,    /* uint64_t, between min and max */
    OPTION_SIZE,     /* uint64_t bytes */
    OPTION_RATE,     /* uint64_t bytes a second */
    OPTION_DURATION, /* int64_t ns */
    OPTION_CHOICE,   /* int, the index in its words */
    OPTION_LIST,     /* struct option_list: may be given several times */
    OPTION_TABLE,    /* no option of its own (its name is for readers only): those of another table,
                        whose struct is at `offset` */
    OPTION_GIVEN,    /* no option either: at `offset` is a struct option_given */
};

enum { OPTION_LIST_MAX = 16 };

struct option_list {
    const char *at[OPTION_LIST_MAX];
    size_t n;
};

enum { OPTION_MAX = 64 };

/* Which options of the whole table were given, by their names. */
struct option_given {
    const char *names[OPTION_MAX];
    size_t n;
};

struct option_def {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* or 0 */
    enum option_kind kind;
    const char *arg; /* what the value is called in the usage text; NULL for a flag */
    const char *help;
    size_t offset;
    uint64_t min, max; /* OPTION_COUNT */
    const void *of;    /* OPTION_CHOICE: its words, const char *const *, NULL-terminated;
                       OPTION_TABLE: const struct option_def * */
};

/* The table without tables in it, ended like one. */
struct option_flat {
    struct option_def at[OPTION_MAX + 1];
    size_t given_offset; /* SIZE_MAX: there is no OPTION_GIVEN */
};

void option_flatten(const struct option_def *defs, struct option_flat *flat);

#define OPTION_END   \
    {                \
        .name = NULL \
    }

/*
 * Reads argv[1..]. Options and operands may be mixed; "--" ends the options. The operands are moved
 * to the end of argv, and the index of the first is returned; -1 with ERR_USAGE. An option that is
 * not a list may be given once. "--help" sets *help and ends the parsing.
 */
int option_parse(const struct option_def *defs, void *base, int argc, char **argv, bool *help,
                 struct err *e);

bool option_was_given(const struct option_given *g, const char *name);

/* One option from elsewhere than the command line: its text must live as long as the values. A flag is "on" or
 * "off". ERR_USAGE: there is none of that name, or that is no value of it. */
int option_set(const struct option_def *defs, void *base, const char *name, const char *text,
               struct err *e);

/* The table as the lines of a usage text, in at most 80 columns. */
void option_usage(const struct option_def *defs, FILE *to);

/* The table as man page (roff) paragraphs. */
void option_man(const struct option_def *defs, FILE *to);

#endif
