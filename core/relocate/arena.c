/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages spare most of the faults when the blocks are touched first; few blocks fill none. Memory that is never
 * needed is never touched, nor registered. */
#include "core/relocate/arena.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    ARENA_ALIGN_BYTES = 2 << 20, /* a huge page */
    ARENA_PIECE_BYTES = 4 << 20, /* at most, is registered with the ring, and so taken, at once */
};

int arena_new(struct arena *a, struct ring *ring, size_t bytes)
{
    void *memory = NULL;
    bool huge = bytes >= ARENA_ALIGN_BYTES;
    if (huge)
        bytes = (bytes + ARENA_ALIGN_BYTES - 1) / ARENA_ALIGN_BYTES * ARENA_ALIGN_BYTES;
    if (posix_memalign(&memory, huge ? ARENA_ALIGN_BYTES : 4096, bytes) != 0)
        return -1;
    if (huge)
        madvise(memory, bytes, MADV_HUGEPAGE);
    *a = (struct arena){.ring = ring, .memory = memory, .bytes = bytes};
    return 0;
}

void arena_use(struct arena *a, const unsigned char *at)
{
    size_t offset = (size_t)(at - a->memory);
    while (a->registered * ARENA_PIECE_BYTES <= offset) {
        size_t first = a->registered * ARENA_PIECE_BYTES;
        size_t left = a->bytes - first;
        ring_arena_add(a->ring, a->memory + first,
                       left < ARENA_PIECE_BYTES ? left : ARENA_PIECE_BYTES);
        a->registered++;
    }
}

void arena_free(struct arena *a)
{
    while (a->registered > 0)
        ring_arena_remove(a->ring, a->memory + --a->registered * ARENA_PIECE_BYTES);
    free(a->memory);
}
