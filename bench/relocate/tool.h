/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part in a comparison of relocations: which command, from where to where. */
#ifndef BENCH_RELOCATE_TOOL_H
#define BENCH_RELOCATE_TOOL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum tool_role {
    TOOL_GODWIT,
    TOOL_PEER,    /* another tool */
    TOOL_CEILING, /* godwit with one of the real parts taken away: what is possible at best */
};

/* The ends of a copy. */
enum tool_end {
    END_SOURCE, /* where the operator's files are */
    END_LOCAL,  /* the directory of --local */
    END_SHARE,
    END_SINK, /* a share that forgets the data */
    END_NULL, /* null: */
    END_COUNT,
};

enum {
    TOOL_LABEL_MAX = 40,
    TOOL_WORDS_MAX = 24,
    TOOLS_MAX = 72,
};

/* A command, in front of its operands SOURCE... DESTINATION. */
struct tool_command {
    const char *words[TOOL_WORDS_MAX]; /* NULL-terminated */
};

struct tool {
    char label[TOOL_LABEL_MAX];
    enum tool_role role;
    enum tool_end from, to;
    struct tool_command command;
    bool at_once; /* takes all files in one call, and a directory as it is; else one file a call */
    const char *package; /* that has it, in Debian */
    bool missing;        /* it is not installed */
};

enum tool_direction {
    DIRECTION_TO_SHARE,
    DIRECTION_FROM_SHARE,
    DIRECTION_SHARE_TO_NULL,
};

/* One set of options for godwit, and how it is called. */
struct tool_variant {
    char label[TOOL_LABEL_MAX];
    struct tool_command command;
};

/*
 * All who can take part, godwit's variants first. The ceilings are run with the first variant; the
 * one of the sink only `with_sink`. `only` is a comma-separated list of "godwit", names of tools,
 * "sink", "null" and "disk"; NULL: all. Returns how many; 0: ERR_USAGE, a word of `only` is none.
 */
size_t tool_list(struct tool list[TOOLS_MAX], enum tool_direction direction,
                 const struct tool_variant *variants, size_t variants_n, bool with_sink,
                 const char *only, struct err *e);

#endif
