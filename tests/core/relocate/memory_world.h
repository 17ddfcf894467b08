/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the store in memory share. */
#ifndef TESTS_CORE_RELOCATE_MEMORY_WORLD_H
#define TESTS_CORE_RELOCATE_MEMORY_WORLD_H

#include "memory_store.h"

struct memory_file {
    struct store_file base;
    struct memory_image *image;
    bool writable;
    unsigned under_way;
    char name[MEMORY_NAME_MAX];
};

struct memory_place {
    struct store_place base;
    struct memory_server *server;
    pthread_t thread;
    bool in_done, stopped;
    struct store_io *under_way;
};

/* ---- a call ---- */

/* Asserts that it is its thread. */
struct memory_place *memory_place_of(struct store_place *p);

void memory_read(struct store_io *io);
void memory_write(struct store_io *io);
void memory_commit(struct store_io *io);
void memory_stop(struct store_place *place);

/* The rest is to be called under the lock. */

uint64_t memory_world_random(struct memory_world *w);
int64_t memory_world_tick(struct memory_world *w);

/* A new image of zeros, mode 0600; the directory above it is there. */
struct memory_image *memory_image_new(struct memory_server *s, const char *name, uint64_t size);
void memory_image_resize(struct memory_image *image, uint64_t size);
/* Takes its name; it lives on as long as handles are open. */
void memory_image_unlink(struct memory_server *s, struct memory_image *image);
void memory_image_release(struct memory_image *image);
/* Gives it new times, unless it is NULL. */
void memory_image_touch(struct memory_server *s, struct memory_image *image);
/* The directory above `name`, or NULL. */
struct memory_image *memory_image_above(struct memory_server *s, const char *name);
size_t memory_image_pages(uint64_t bytes);

bool memory_name_ends(const char *name, const char *end);

/*
 * Counts and logs a call. 0: it is to have its effect. Else it is -errno, and *part tells how much
 * of the effect it has all the same.
 */
int memory_enter(struct memory_server *s, enum memory_op op, const char *name,
                 const struct store_io *io, enum memory_death *part);

#endif
