/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trials that nobody has measured, but that look as if: for tests of what keeps, compares and draws
 * them.
 */
#ifndef TESTS_BENCH_REPORT_TRIAL_FIXTURE_H
#define TESTS_BENCH_REPORT_TRIAL_FIXTURE_H

#include "bench/migrate/trial.h"

struct trial_fixture {
    unsigned settings, rates, routes; /* at most 8, 4, 4: all combinations are made */
    unsigned rounds;
    bool timelines;
    double slower; /* every time is so many times as long; 1 for a plain one */
    uint64_t seed;
};

/* Ends with trial_series_free(). */
void trial_fixture_series(struct trial_series *s, const struct trial_fixture *f);

#endif
