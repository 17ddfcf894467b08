/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a worker's blocks. */
#ifndef CORE_RELOCATE_ARENA_H
#define CORE_RELOCATE_ARENA_H

#include <stddef.h>

#include "core/ring.h"

struct arena {
    struct ring *ring;
    unsigned char *memory;
    size_t bytes;
    size_t registered; /* pieces of it */
};

/* At least that much, aligned to 4096; not zeroed. -1: there is none. Ends with arena_free(). */
int arena_new(struct arena *a, struct ring *ring, size_t bytes);

/* Before I/O with what is at `at`, used from the first byte on: it is registered with the ring up to there. */
void arena_use(struct arena *a, const unsigned char *at);

/* No I/O with it may be under way. Also of one that is zeroed. */
void arena_free(struct arena *a);

#endif
