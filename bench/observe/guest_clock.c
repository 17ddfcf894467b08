/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A word of the guest's takes its time until it is here, and the guest's clock looks behind by that. The one that
 * took the least of the last ones shows the clock best: so of each side the word counts by which the guest
 * was the furthest ahead. What is left of the way is the same on both, and goes when they are subtracted.
 */
#include "bench/observe/guest_clock.h"

void guest_clock_init(struct guest_clock *c)
{
    *c = (struct guest_clock){
        .spec = -1, .before_ns = OBSERVER_NO_CLOCK, .after_ns = OBSERVER_NO_CLOCK};
}

static int64_t guest_clock_best_ns(const struct guest_clock *c)
{
    int64_t best_ns = OBSERVER_NO_CLOCK;
    for (size_t i = 0; i < c->n && i < GUEST_CLOCK_WORDS; i++)
        best_ns = c->ahead_ns[i] > best_ns ? c->ahead_ns[i] : best_ns;
    return best_ns;
}

void guest_clock_add(struct guest_clock *c, int64_t guest_ns, int64_t at_ns, int spec)
{
    if (spec != c->spec) {
        c->before_ns = guest_clock_best_ns(c);
        c->after_ns = OBSERVER_NO_CLOCK;
        c->n = 0;
        c->spec = spec;
    }
    int64_t ahead_ns = guest_ns - at_ns;
    c->ahead_ns[c->n++ % GUEST_CLOCK_WORDS] = ahead_ns;
    if (c->n <= GUEST_CLOCK_WORDS && ahead_ns > c->after_ns)
        c->after_ns = ahead_ns;
}

int64_t guest_clock_step_ns(const struct guest_clock *c)
{
    return c->before_ns == OBSERVER_NO_CLOCK || c->after_ns == OBSERVER_NO_CLOCK
               ? OBSERVER_NO_CLOCK
               : c->after_ns - c->before_ns;
}
