/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the observers can be trusted: a guest is stopped and let run again by QMP for a known
 * time, and what they report is compared with it.
 */
#ifndef BENCH_MIGRATE_SELFTEST_H
#define BENCH_MIGRATE_SELFTEST_H

#include "bench/migrate/testbed.h"

enum { SELFTEST_LENGTHS = 4 };

extern const int64_t selftest_lengths_ns[SELFTEST_LENGTHS]; /* 5, 20, 100, 500 ms */

/* What one observer said of one stop. */
struct selftest_look {
    int64_t silence_ns; /* the longest that it saw; TRIAL_NEVER: nothing */
    int64_t before_ns;  /* from the last sign of life to STOP */
    int64_t after_ns;   /* from RESUME to the next sign of life: also the guest's own way back */
    int64_t period_ns;  /* between signs of life before: what it cannot see */
    int64_t late_ns;    /* how late it ran itself meanwhile */
};

struct selftest_stop {
    size_t length;   /* which of selftest_lengths_ns */
    int64_t true_ns; /* from QEMU's event STOP to RESUME, by its own time stamps: the least that the
                         guest stood */
    int64_t most_ns; /* from before `stop` was sent to when `cont` was answered */
    struct selftest_look look[TRIAL_OBSERVERS_MAX];
};

enum selftest_verdict {
    SELFTEST_WITHIN, /* between true_ns - 1 ms and most_ns + 1 ms + one period */
    SELFTEST_LATE,   /* more, but not more than the observer says that it was late */
    SELFTEST_OFF,    /* more, or nothing was seen */
};

enum selftest_verdict selftest_judge(const struct selftest_stop *s, size_t observer);

typedef void selftest_progress_fn(void *arg, size_t done, size_t all);

struct selftest_options {
    unsigned times; /* of each length */
    uint64_t seed;  /* of the order */
    selftest_progress_fn *progress;
    void *arg;
    const volatile sig_atomic_t *cancel;
};

/* The testbed has a guest of route qmp, which runs. Writes SELFTEST_LENGTHS * times stops, and the
 * kinds of the *observers_n observers. */
int selftest_run(struct testbed *s, const struct selftest_options *o, struct selftest_stop *stops,
                 enum observer_kind kinds[TRIAL_OBSERVERS_MAX], size_t *observers_n, struct err *e);

#endif
