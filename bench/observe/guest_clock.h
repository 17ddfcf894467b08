/* SPDX-License-Identifier: Apache-2.0 */
/* The step that a guest's clock makes when it changes sides, by what it says of its time. Pure. */
#ifndef BENCH_OBSERVE_GUEST_CLOCK_H
#define BENCH_OBSERVE_GUEST_CLOCK_H

#include <stddef.h>

#include "bench/observe/observer.h"

enum { GUEST_CLOCK_WORDS = 64 }; /* that are looked at, on each side */

struct guest_clock {
    int spec;                            /* by which it spoke last; -1: it has not */
    int64_t ahead_ns[GUEST_CLOCK_WORDS]; /* of ours, by its last words there: a ring */
    size_t n;
    int64_t before_ns, after_ns; /* how far, on the two sides; OBSERVER_NO_CLOCK */
};

void guest_clock_init(struct guest_clock *c);

/* It said `guest_ns`, since an epoch of its own, and that came at `at_ns` by spec `spec`. */
void guest_clock_add(struct guest_clock *c, int64_t guest_ns, int64_t at_ns, int spec);

/* At its last change of sides; OBSERVER_NO_CLOCK: there was none, or it said nothing on one of them. */
int64_t guest_clock_step_ns(const struct guest_clock *c);

#endif
