/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration is to keep, instead of knobs to turn: how long the guest may stand still, how long
 * it may all take, how much slower the guest may become, and what is to be done where that cannot be
 * kept.
 */
#ifndef CORE_TUNE_PROMISE_H
#define CORE_TUNE_PROMISE_H

#include <stdbool.h>
#include <stdint.h>

/* What may be done to the guest, or for it, so that the promise holds. */
enum promise_allow {
    PROMISE_THROTTLE = 1 << 0, /* its vCPUs are slowed down while it is sent */
    PROMISE_POSTCOPY = 1 << 1, /* it runs on the destination before all of it is there */
};

/* What ends a migration whose promise cannot be kept. */
enum promise_on_miss {
    PROMISE_REFUSE,      /* not begun; where that was not known before, given up */
    PROMISE_ABORT,       /* tried all the same, then given up */
    PROMISE_TO_POSTCOPY, /* the guest goes over, and what is left is sent on demand */
    PROMISE_TO_PAUSE,    /* the guest is stopped, and what is left is sent */
    PROMISE_STRETCH,     /* the pause becomes as long as it must, and no longer */
};

/* By enum promise_on_miss: "refuse", "abort", "postcopy", "pause", "stretch", and NULL. */
extern const char *const promise_on_miss_names[];

struct promise {
    int64_t max_downtime_ns;       /* from STOP to RESUME; 0: not promised */
    int64_t max_time_ns;           /* from the begin to RESUME; 0: not promised */
    unsigned max_throttle_percent; /* of its time that a vCPU may be kept from running */
    unsigned allow;                /* of enum promise_allow */
    enum promise_on_miss on_miss;
};

static inline bool promise_is_made(const struct promise *p)
{
    return p->max_downtime_ns > 0 || p->max_time_ns > 0;
}

#endif
