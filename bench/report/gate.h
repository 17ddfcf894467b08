/* SPDX-License-Identifier: Apache-2.0 */
/* A limit for other people's CI: which cells were silent for longer. */
#ifndef BENCH_REPORT_GATE_H
#define BENCH_REPORT_GATE_H

#include "bench/report/cells.h"

/* One cell beside the limit. */
struct gate_verdict {
    int64_t worst_ns; /* of its trials the worst; TRIAL_NEVER: none has a silence */
    unsigned trial;   /* its number */
    bool again;       /* that was a silence after the switchover */
    size_t
        unknown; /* trials that were to be measured and have none: what is not known is not within */
    bool beyond;
};

/*
 * Judges a cell by its worst trial, and that by its silence in the switchover or, where an observer saw a longer
 * one after it, by that. A trial that was refused (the route cannot do that setting) counts for nothing; one that
 * failed, did not converge or that no observer saw puts the cell beyond any limit.
 */
void gate_judge(const struct cell *c, const struct trial_series *s, int64_t limit_ns,
                struct gate_verdict *v);

#endif
