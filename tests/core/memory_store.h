/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory for the tests of the engine, with a server's bad habits: it fails, shortens,
 * delays and reorders, and it forgets what was not committed when its verifier changes.
 */
#ifndef TESTS_CORE_MEMORY_STORE_H
#define TESTS_CORE_MEMORY_STORE_H

#include "core/store.h"

enum { MEMORY_FILES = 4, MEMORY_EXTENTS = 8 };

/* An image that stands in the place under its final name. */
struct memory_image {
    char name[32];
    unsigned char *data;
    struct store_attr attr;
    struct store_extent extents[MEMORY_EXTENTS];
    size_t n_extents;
};

struct memory_faults {
    unsigned fail_at;      /* the how manyth call of all is to fail; 0: none */
    int fail_errno;        /* with this */
    unsigned short_every;  /* each how manyth read or write is done by half; 0: none */
    bool shuffle;          /* answers come late, and in any order */
    bool end_early;        /* reads beyond the first half give nothing */
    bool mute;             /* reads and writes are never answered, until stop() */
    unsigned crash_at_write;  /* before this write, forget what was not committed; 0: never */
    unsigned crash_at_commit; /* the same at this commit */
    bool late_before_crash;   /* writes from before the crash are answered after later ones */
    bool crash_always;        /* at every commit */
    bool always_stable;       /* each write is durable at once */
    bool lie;                 /* answers to stable writes that they are not */
};

struct memory_place {
    struct store_place base;
    struct memory_image images[MEMORY_FILES];
    struct memory_faults faults;
    uint8_t verifier;
    /* What happened. */
    unsigned calls, reads, writes, stable_writes, commits, crashes;
    unsigned opened, closed, created, discarded, published, stopped;
    unsigned muted_n;
    struct store_io *muted[64];
};

void memory_init(struct memory_place *p, struct ring *ring, const char *url);
void memory_free(struct memory_place *p);

/* An image of `size` bytes, random within its extents. */
struct memory_image *memory_add(struct memory_place *p, const char *name, uint64_t size,
                                const struct store_extent *extents, size_t n);
struct memory_image *memory_find(struct memory_place *p, const char *name);

#endif
