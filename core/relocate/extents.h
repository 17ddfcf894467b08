/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of a file's data: where it differs from zero, found once, before the copy. It tells how
 * much there is to move, and lets any part of the copy walk any part of the file again.
 */
#ifndef CORE_RELOCATE_EXTENTS_H
#define CORE_RELOCATE_EXTENTS_H

#include "core/store/store.h"

struct extents {
    struct store_extent *at; /* in order, aligned to the file, apart from each other */
    size_t n;
    uint64_t size_bytes; /* of the file */
    uint64_t data_bytes; /* of all extents together */
};

/* A place in the walk; {0} is the beginning. */
struct extents_cursor {
    size_t index;
    uint64_t offset;
};

/* *map must be {0}, and is to be freed also after a failure. */
int extents_scan(struct extents *map, struct store_file *f, struct err *e);
void extents_free(struct extents *map);

/* The place in the walk at `offset`. */
struct extents_cursor extents_at(const struct extents *map, uint64_t offset);

/* How much data there is in [start, end). */
uint64_t extents_bytes(const struct extents *map, uint64_t start, uint64_t end);

/* The next offset with data at or after the cursor; UINT64_MAX: no more. Moves the cursor there. */
uint64_t extents_seek(const struct extents *map, struct extents_cursor *c);

/*
 * Cuts the next block of data: at most `block_bytes`, not across a multiple of that, and not
 * across `end`. Its length, and *offset; 0 when there is no data before `end`.
 */
uint32_t extents_cut(const struct extents *map, struct extents_cursor *c, uint32_t block_bytes,
                     uint64_t end, uint64_t *offset);

#endif
