/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs of life, one time stamp after another, as silences and as a distribution of intervals, in
 * constant memory. Not thread-safe, but for `mark_ns`.
 */
#ifndef BENCH_OBSERVE_SILENCE_H
#define BENCH_OBSERVE_SILENCE_H

#include <stdatomic.h>

#include "bench/observe/observer.h"

enum { SILENCE_BUCKETS = 27 * 64 };

struct silence_top {
    struct observer_silence at[OBSERVER_SILENCES];
    size_t n;
};

struct silence {
    const _Atomic int64_t *mark_ns; /* INT64_MAX: no mark yet */
    uint64_t count;
    int64_t first_ns, last_ns; /* -1: none */
    int last_from;
    int64_t late_ns;                  /* since the last sign */
    struct silence_top before, after; /* the mark */
    struct observer_silence crossing; /* after it; length_ns -1: none */
    struct observer_silence noticed[OBSERVER_NOTICED];
    size_t noticed_n;
    uint64_t noticed_count;
    int64_t noticed_sum_ns;
    int64_t quiet_ns;   /* -1: not known yet, or never */
    uint64_t intervals; /* in the histogram: those before the mark */
    int64_t max_interval_ns;
    uint32_t histogram[SILENCE_BUCKETS];
};

void silence_init(struct silence *s, const _Atomic int64_t *mark_ns);

/* A sign of life seen at `at_ns` on spec `from`. Several with one stamp are counted, and are no
 * interval: what arrives together says nothing about the time between. */
void silence_add(struct silence *s, int64_t at_ns, int from);

/* The observer was this late itself just now. */
void silence_late(struct silence *s, int64_t late_ns);

/* No more will come: closes the open silence and fills in count, times, silences and intervals. */
void silence_finish(struct silence *s, int64_t opened_ns, int64_t ended_ns,
                    struct observer_result *result);

#endif
