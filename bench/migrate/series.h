/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series: all trials of a scenario, one after another, unattended. What has been measured is
 * handed out at once, so that an interrupted series goes on at the next trial.
 */
#ifndef BENCH_MIGRATE_SERIES_H
#define BENCH_MIGRATE_SERIES_H

#include "bench/migrate/testbed.h"
#include "bench/migrate/trial_run.h"

struct series_progress {
    size_t done, all;         /* trials */
    const struct trial *next; /* what is going to be measured; NULL: none, *last was the last */
    const struct trial *last; /* NULL: none yet */
    int64_t left_ns;          /* at the pace until now; -1: not known yet */
};

struct series_options {
    const struct scenario *scenario;
    uint64_t seed;
    unsigned rounds;
    trial_hear_fn *hear;
    /* Whether that trial is there already. */
    bool (*has)(void *arg, unsigned number);
    /* Keeps a trial, which stays the series'; -1 ends the series. */
    int (*keep)(void *arg, const struct trial *t, struct err *e);
    void (*progress)(void *arg, const struct series_progress *p);
    void *arg;
    const volatile sig_atomic_t *cancel;
};

/* ERR_CANCELLED: *cancel was set. Others: it makes no sense to go on, for example since no guest
 * comes up; what was kept is good. A trial that failed is a result, and no error. */
int series_run(struct testbed *s, const struct series_options *o, struct err *e);

#endif
