/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds: the one time line of a run. */
static inline int64_t clock_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* CLOCK_REALTIME: for stamps that people and other programs read, never for lengths. */
static inline int64_t clock_epoch_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* CLOCK_REALTIME minus CLOCK_MONOTONIC, now. We may be put aside between the two readings: of a few
 * the one with the least between counts. */
static inline int64_t clock_epoch_offset_ns(void)
{
    int64_t offset_ns = 0, least_ns = INT64_MAX;
    for (int i = 0; i < 5 && least_ns > 5 * NS_PER_US; i++) {
        int64_t before_ns = clock_now_ns();
        int64_t epoch_ns = clock_epoch_ns();
        int64_t took_ns = clock_now_ns() - before_ns;
        if (took_ns >= least_ns)
            continue;
        least_ns = took_ns;
        offset_ns = epoch_ns - before_ns - took_ns / 2;
    }
    return offset_ns;
}

#endif
