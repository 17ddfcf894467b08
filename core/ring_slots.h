/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's own: which arenas are registered, and what is under way with each. */
#ifndef CORE_RING_SLOTS_H
#define CORE_RING_SLOTS_H

#include <stddef.h>

#include "core/ring_queue.h"

enum { RING_ARENAS = 16 };

struct ring_arena {
    bool registered;
    unsigned under_way; /* operations that were started with it */
    uintptr_t start;
    size_t len_bytes;
};

struct ring_slots {
    struct ring_arena arenas[RING_ARENAS];
    unsigned room; /* how many of them can be used */
};

/* Where a new arena can go, or where the one at `base` is; -1: nowhere. */
int ring_slots_free_arena(const struct ring_slots *s);
int ring_slots_find_arena(const struct ring_slots *s, const void *base);

/* Decides what an operation uses, and counts it there until it is given back. */
void ring_slots_take(struct ring_slots *s, struct ring_op *op);
void ring_slots_give(struct ring_slots *s, const struct ring_op *op);

#endif
