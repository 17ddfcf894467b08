/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a benchmark copies: local files, or those of one local directory. */
#ifndef BENCH_RELOCATE_IMAGE_SET_H
#define BENCH_RELOCATE_IMAGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/relocate/checksum.h"

struct image {
    char *path;       /* local */
    const char *name; /* at any other place: "image", or "directory/image"; within `path` */
    uint64_t size_bytes;
    uint64_t data_bytes; /* outside of holes */
    char xxh3_128[CHECKSUM_HEX_MAX];
};

struct image_set {
    struct image *image; /* sorted by name */
    size_t n;
    char *root;            /* of a directory: its path, without a slash at the end; else NULL */
    const char *directory; /* the name of the directory in each place, "" for files; in `root` */
    uint64_t size_bytes, data_bytes;
};

/*
 * Reads the files once and takes their checksums. ERR_REFUSED: not a regular file, two of one name,
 * a directory with something else than files in it or none, a name that needs quoting in a URL.
 */
int image_set_open(struct image_set *s, char *const *paths, size_t n, struct err *e);
void image_set_close(struct image_set *s);

/* Brings all of it into the page cache, as far as there is room, or takes it out (from a tmpfs it
 * cannot be taken). */
int image_set_warm(const struct image_set *s, struct err *e);
int image_set_cool(const struct image_set *s, struct err *e);

/* A scratch_ours_fn; `set` is the set. */
bool image_set_has(void *set, const char *base);

#endif
