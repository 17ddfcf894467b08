/* SPDX-License-Identifier: Apache-2.0 */
/* The trials of a series by cell, and what was measured in each: for those who draw and compare. */
#ifndef BENCH_REPORT_CELLS_H
#define BENCH_REPORT_CELLS_H

#include "bench/migrate/trial.h"
#include "bench/stats.h"

/* All in ms. What was not measured in a trial does not count there. */
enum cells_measure {
    CELLS_SILENCE, /* trial_silence_ns() */
    CELLS_TOTAL,
    CELLS_QEMU,   /* the downtime that QEMU reports */
    CELLS_SERIAL, /* the silence by the first observer of that kind */
    CELLS_PING,
    CELLS_TRACED, /* between the source's vCPUs standing and the destination's running, by events
                     and trace points */
    CELLS_ALL_SILENCES, /* trial_all_silences_ns() */
    CELLS_MEASURES,
};

struct cells_sample {
    double *sorted; /* stats.n of them */
    struct stats stats;
    struct stats_interval interval; /* of the median */
};

enum { CELLS_ENDS = TRIAL_REFUSED + 1 };

struct cell {
    const struct trial_cell *what; /* lent by the first of its trials */
    size_t *trials;                /* their indexes; warm-ups are not among them */
    size_t n;
    size_t ends[CELLS_ENDS];
    size_t marked;  /* trials with a mark */
    size_t again;   /* trials with a silence after the switchover */
    unsigned marks; /* all that were given */
    struct cells_sample sample[CELLS_MEASURES];
    size_t
        typical; /* index of the trial whose silence is nearest to the median; else of the first */
};

/* Ordered for reading: what is alike in guest and machine together, by dirty rate, setting (the
 * default first, numbers by value), route. */
struct cells {
    struct cell *at;
    size_t n;
};

/* Of all trials but warm-ups. The seed is that of the intervals. They must not move meanwhile. */
int cells_open(struct cells *c, const struct trial_series *s, struct err *e);
void cells_close(struct cells *c);

/* Whether they differ in setting, route and dirty rate at most. */
bool cells_alike(const struct trial_cell *a, const struct trial_cell *b);

/*
 * The peer of a cell: route virsh with the same dirty rate and setting, or, where that has not been
 * measured, with the setting "default". NULL: none, or it is one itself.
 */
const struct cell *cells_peer(const struct cells *c, const struct cell *of);

/* a against b, the intervals from the given seed. */
struct stats_contrast cells_contrast(const struct cell *a, const struct cell *b,
                                     enum cells_measure measure, uint64_t seed);

#endif
