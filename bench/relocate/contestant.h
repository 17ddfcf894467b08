/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part in a comparison of relocations: which command, from where to where. */
#ifndef BENCH_RELOCATE_CONTESTANT_H
#define BENCH_RELOCATE_CONTESTANT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum contestant_role {
    CONTESTANT_GODWIT,
    CONTESTANT_PEER,    /* another tool */
    CONTESTANT_CEILING, /* godwit with one of the real parts taken away: what is possible at best */
};

/* The ends of a copy. */
enum contestant_end {
    END_SOURCE, /* where the operator's files are */
    END_LOCAL,  /* the directory of --local */
    END_SHARE,
    END_SINK, /* a share that forgets the data */
    END_NULL, /* null: */
    END_COUNT,
};

enum {
    CONTESTANT_LABEL_MAX = 40,
    CONTESTANT_WORDS_MAX = 24,
    CONTESTANTS_MAX = 72,
};

/* A command, in front of its operands SOURCE... DESTINATION. */
struct contestant_command {
    const char *words[CONTESTANT_WORDS_MAX]; /* NULL-terminated */
};

struct contestant {
    char label[CONTESTANT_LABEL_MAX];
    enum contestant_role role;
    enum contestant_end from, to;
    struct contestant_command command;
    bool at_once; /* takes all files in one call, and a directory as it is; else one file a call */
    const char *package;  /* that has it, in Debian */
    bool missing;         /* it is not installed */
};

enum contestant_direction {
    DIRECTION_TO_SHARE,
    DIRECTION_FROM_SHARE,
    DIRECTION_SHARE_TO_NULL,
};

/* One set of options for godwit, and how it is called. */
struct contestant_variant {
    char label[CONTESTANT_LABEL_MAX];
    struct contestant_command command;
};

/*
 * All who can take part, godwit's variants first. The ceilings are run with the first variant; the
 * one of the sink only `with_sink`. `only` is a comma-separated list of "godwit", names of tools,
 * "sink", "null" and "disk"; NULL: all. Returns how many; 0: ERR_USAGE, a word of `only` is none.
 */
size_t contestant_list(struct contestant list[CONTESTANTS_MAX], enum contestant_direction direction,
                       const struct contestant_variant *variants, size_t variants_n, bool with_sink,
                       const char *only, struct err *e);

#endif
