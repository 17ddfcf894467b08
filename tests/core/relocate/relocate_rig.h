/* SPDX-License-Identifier: Apache-2.0 */
/* Two servers in memory and the engine between them: what the tests of the engine share. */
#ifndef TESTS_CORE_RELOCATE_RELOCATE_RIG_H
#define TESTS_CORE_RELOCATE_RELOCATE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/relocate/relocate.h"
#include "memory_store.h"

enum {
    KIB = 1024,
    RIG_SIZE_BYTES = 1000 * KIB + 123,
    RIG_BLOCK_BYTES = 16 * KIB,
    RIG_CHUNK_BYTES = 64 * KIB,
    RIG_CHUNKS = 13, /* of RIG_SIZE_BYTES, those with data: 0, 1, 2, 4 to 12 and 14 */
    RIG_SOURCES = 256,
};

struct rig {
    struct memory_world world;
    struct memory_server from, to;
    struct memory_site from_site, to_site;
    struct relocate_source sources[RIG_SOURCES];
    size_t n_sources;
    struct relocate_options options;

    /* Of the last run. */
    struct relocate *r; /* NULL: it was refused */
    struct err e;
    struct relocate_progress last;
    unsigned reports;
    bool backwards;
    bool bad_name; /* an image that is not whole got its final name */
};

/* Several workers, each with several blocks under way, and no tuning. */
void rig_set_up(struct rig *r);
/* The same with a source "image" of many extents, the rest of it holes. */
void rig_set_up_image(struct rig *r);
void rig_tear_down(struct rig *r);

/* Names a source; `as` the same. */
void rig_source(struct rig *r, const char *name);
/* Adds an image of nothing but data, and names it. */
struct memory_image *rig_add_dense(struct rig *r, const char *name, uint64_t size);
/* Puts a true copy of the source's image to the destination. */
struct memory_image *rig_plant(struct rig *r, const char *name);

/* Plans and runs. 0 or -1. */
int rig_run(struct rig *r);
/* One worker, with one block. */
void rig_alone(struct rig *r);
/* As another process finds it: nothing is dead, no faults, nothing counted. */
void rig_again(struct rig *r);

const struct relocate_image *rig_image(const struct rig *r, size_t i);
bool rig_kept(const struct rig *r); /* some image can be continued */
bool rig_left(const struct rig *r); /* a part or a journal is at the destination */

/* The durable content, and everything that was given, is the same. */
bool rig_same(const struct rig *r, const char *name);

/* All of them stand there, whole, nothing else does, and everything was given back. */
void rig_assert_landed(struct rig *r);
/* Nothing of "image" stands there but what can be continued, and everything was given back. */
void rig_assert_undone(struct rig *r);
void rig_assert_given_back(struct rig *r);
/* Whatever came out, nothing was written, made, named or removed. */
void rig_assert_untouched(struct rig *r);
/* relocate_plan() said no, with this in its message or its hint; and nothing was touched. */
void rig_assert_refused(struct rig *r, const char *said);

#define RIG_PART ".image.godwit-part"
#define RIG_JOURNAL ".image.godwit-journal"

/* A run that has failed in the middle of "image": some chunks are durable. */
void rig_set_up_kept(struct rig *r);
/* Killed when the image had its name, and the journal and the source were there still. */
void rig_set_up_published(struct rig *r);

#endif
