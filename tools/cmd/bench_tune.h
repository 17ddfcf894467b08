/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit bench tune`: a race (bench_tune.c), and how it is told (report_tune.c). */
#ifndef TOOLS_CMD_BENCH_TUNE_H
#define TOOLS_CMD_BENCH_TUNE_H

#include <stdio.h>

#include "bench/tune/race.h"
#include "tools/cmd/bench_migrate.h"

enum tune_goal { TUNE_SILENCE, TUNE_TOTAL };

struct tune {
    struct bench_migrate measure;
    int goal;          /* enum tune_goal */
    const char *write; /* NULL: into the results */
    uint64_t trials;   /* at most; 0: a quarter of the grid */

    struct race *race;
    size_t candidates;                   /* each a cell of the scenario */
    size_t *order, order_round;          /* of the round that was asked for last */
    char profile[MIGRATE_PATH_MAX + 16]; /* "": none was written */
    char page[MIGRATE_PATH_MAX + 16];    /* likewise */
};

/* What counts of a trial, in ms: less is better; INFINITY: it failed, or nobody saw it. */
double tune_value(const struct tune *t, const struct trial *trial);

/* The profile of a candidate; `words` of the setting, and where it is a domain the route. The caller frees it; NULL: no
 * memory. */
char *tune_profile_text(const struct tune *t, size_t candidate);

void report_tune_text(const struct tune *t, FILE *to);
void report_tune_json(const struct tune *t, const struct err *e, FILE *to);

#endif
