/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds how many workers, how many blocks under way of each, and how large blocks are worth having,
 * while the copy runs. Pure: it is told the time and what was done, and says what to try.
 */
#ifndef CORE_RELOCATE_TUNER_H
#define CORE_RELOCATE_TUNER_H

#include <stdbool.h>
#include <stdint.h>

struct tuner_setting {
    unsigned workers, depth;
    uint32_t block_bytes;
};

struct tuner {
    struct tuner_setting now; /* to be used */
    /* The tuner's own. */
    struct tuner_setting base; /* the best so far; `now` is it, or a trial */
    struct tuner_setting max;
    double base_rate; /* bytes per ns; 0: not measured */
    unsigned knob;    /* that is tried, or to be tried next */
    unsigned failed;  /* knobs in a row that brought nothing */
    bool settling;    /* the window's first part, which still shows what was before */
    uint64_t window_bytes;
    int64_t window_ns;
};

/* Begins with what is worth having nearly everywhere; `max` bounds all three. */
void tuner_init(struct tuner *t, const struct tuner_setting *max, int64_t now_ns);

/* `bytes` is what has been done in all. True: t->now has changed. */
bool tuner_sample(struct tuner *t, uint64_t bytes, int64_t now_ns);

#endif
