/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One knob is turned at a time. A setting is given a window: first SETTLE_NS, in which what was
 * begun under the old setting drains, then at least MEASURE_NS and MEASURE_BYTES. If goodput rose
 * by more than the twentieth part, the new setting is the base, and the same knob is turned again;
 * else it is taken back, and the next knob is tried. When no knob has brought anything, the base is
 * left alone for REST_NS, measured anew (the world may have changed), and all is tried again.
 *
 * The knobs: deeper, more workers, smaller blocks (which overlap reading, sending and the server's
 * writing better, and cost more requests), and less deep, for a server that chokes.
 */
#include "core/relocate/tuner.h"

#include "core/clock.h"

enum { START_WORKERS = 2, START_DEPTH = 8, BLOCK_MIN_BYTES = 256 << 10 };

enum { KNOB_DEEPER, KNOB_WORKERS, KNOB_BLOCK, KNOB_SHALLOWER, KNOBS };

#define SETTLE_NS (50 * NS_PER_MS)
#define MEASURE_NS (150 * NS_PER_MS)
#define MEASURE_BYTES (UINT64_C(16) << 20)
#define REST_NS (5 * NS_PER_S)
#define RISE 1.05

static unsigned tuner_least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void tuner_window(struct tuner *t, uint64_t bytes, int64_t now_ns, bool settling)
{
    t->settling = settling;
    t->window_bytes = bytes;
    t->window_ns = now_ns;
}

void tuner_init(struct tuner *t, const struct tuner_setting *max, int64_t now_ns)
{
    *t = (struct tuner){.max = *max};
    t->base = (struct tuner_setting){
        .workers = tuner_least(START_WORKERS, max->workers),
        .depth = tuner_least(START_DEPTH, max->depth),
        .block_bytes = max->block_bytes,
    };
    t->now = t->base;
    tuner_window(t, 0, now_ns, true);
}

/* Turns a knob of t->now one step. False: it is at its end. */
static bool tuner_turn(struct tuner *t, unsigned knob)
{
    struct tuner_setting *s = &t->now;
    switch (knob) {
    case KNOB_DEEPER:
        if (s->depth >= t->max.depth)
            return false;
        s->depth = tuner_least(2 * s->depth, t->max.depth);
        return true;
    case KNOB_WORKERS:
        if (s->workers >= t->max.workers)
            return false;
        s->workers++;
        return true;
    case KNOB_SHALLOWER:
        if (s->depth == 1)
            return false;
        s->depth /= 2;
        return true;
    default:
        if (s->block_bytes / 2 < BLOCK_MIN_BYTES || s->block_bytes / 2 % 4096 != 0)
            return false;
        s->block_bytes /= 2;
        return true;
    }
}

/* Turns the next knob that can be turned; false: none brings anything for now. */
static bool tuner_try(struct tuner *t)
{
    for (; t->failed < KNOBS; t->failed++, t->knob = (t->knob + 1) % KNOBS)
        if (tuner_turn(t, t->knob))
            return true;
    return false;
}

static bool tuner_is_trial(const struct tuner *t)
{
    return t->now.workers != t->base.workers || t->now.depth != t->base.depth ||
           t->now.block_bytes != t->base.block_bytes;
}

static void tuner_judge(struct tuner *t, double rate)
{
    if (!tuner_is_trial(t)) {
        t->base_rate = rate;
    } else if (rate > t->base_rate * RISE) {
        t->base = t->now;
        t->base_rate = rate;
        t->failed = 0;
    } else {
        t->now = t->base;
        t->failed++;
        t->knob = (t->knob + 1) % KNOBS;
    }
}

bool tuner_sample(struct tuner *t, uint64_t bytes, int64_t now_ns)
{
    int64_t since_ns = now_ns - t->window_ns;
    bool resting = t->failed >= KNOBS;
    if (resting && since_ns >= REST_NS) {
        t->failed = 0;
        tuner_window(t, bytes, now_ns, false);
        return false;
    }
    if (!resting && t->settling && since_ns >= SETTLE_NS)
        tuner_window(t, bytes, now_ns, false);
    else if (!resting && !t->settling && since_ns >= MEASURE_NS &&
             bytes - t->window_bytes >= MEASURE_BYTES) {
        struct tuner_setting before = t->now;
        tuner_judge(t, (double)(bytes - t->window_bytes) / (double)since_ns);
        tuner_try(t);
        tuner_window(t, bytes, now_ns, true);
        return before.workers != t->now.workers || before.depth != t->now.depth ||
               before.block_bytes != t->now.block_bytes;
    }
    return false;
}
