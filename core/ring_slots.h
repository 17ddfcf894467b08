/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's own: which arenas and files are registered, and what is under way with each. */
#ifndef CORE_RING_SLOTS_H
#define CORE_RING_SLOTS_H

#include <stddef.h>

#include "core/ring_queue.h"

enum { RING_FILES = 1024, RING_ARENAS = 16 };

struct ring_slot {
    bool registered;
    unsigned under_way; /* operations that were started with it */
};

struct ring_arena {
    struct ring_slot slot;
    uintptr_t start;
    size_t len_bytes;
};

struct ring_slots {
    struct ring_slot files[RING_FILES];
    struct ring_arena arenas[RING_ARENAS];
    unsigned files_room, arenas_room; /* how much of that can be used */
};

/* Where a new arena can go, or where the one at `base` is; -1: nowhere. */
int ring_slots_free_arena(const struct ring_slots *s);
int ring_slots_find_arena(const struct ring_slots *s, const void *base);

/* The file's slot, registered or not; NULL: it has none. */
struct ring_slot *ring_slots_file(struct ring_slots *s, int fd);

/* Decides what an operation uses, and counts it there until it is given back. */
void ring_slots_take(struct ring_slots *s, struct ring_op *op);
void ring_slots_give(struct ring_slots *s, const struct ring_op *op);

#endif
