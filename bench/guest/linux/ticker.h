/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A period that is kept without drift, and not caught up: after a tick that came a whole period
 * late (the guest was paused) the count starts anew.
 */
#ifndef GODWIT_BENCH_GUEST_LINUX_TICKER_H
#define GODWIT_BENCH_GUEST_LINUX_TICKER_H

#include <stdint.h>
#include <time.h>

struct ticker {
    uint64_t period_ns;
    uint64_t next_ns; /* on CLOCK_MONOTONIC */
};

static inline uint64_t ticker_clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct ticker ticker_start(uint64_t period_ns)
{
    return (struct ticker){period_ns, ticker_clock_ns(CLOCK_MONOTONIC) + period_ns};
}

/* Sleep until the next tick; return the time, in ns on CLOCK_MONOTONIC. */
static inline uint64_t ticker_wait(struct ticker *ticker)
{
    struct timespec until = {.tv_sec = (time_t)(ticker->next_ns / 1000000000u),
                             .tv_nsec = (long)(ticker->next_ns % 1000000000u)};
    uint64_t now_ns;

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)) {
    }
    now_ns = ticker_clock_ns(CLOCK_MONOTONIC);
    ticker->next_ns += ticker->period_ns;
    if (ticker->next_ns <= now_ns) {
        ticker->next_ns = now_ns + ticker->period_ns;
    }
    return now_ns;
}

#endif
