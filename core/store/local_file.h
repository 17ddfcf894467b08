/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a local place, as core/store/store_local.c, core/store/local_io.c and core/store/local_publish.c have
 * them in common. The functions are those of the store's table, see core/store/store.h. */
#ifndef CORE_STORE_LOCAL_FILE_H
#define CORE_STORE_LOCAL_FILE_H

#include <limits.h>

#include "core/store/store.h"

struct local_place {
    struct store_place base;
    int dir_fd;
    bool nice_cache;
    uint64_t verifier;
    unsigned stops; /* how often it was told to stop */
    char url[];
};

struct local_file {
    struct store_file base;
    int direct_fd;   /* -1: direct I/O is not to be had, or not wanted */
    int buffered_fd; /* always open; of a directory, too */
    int parent_fd;   /* the directory it is in; -1 when it is only read */
    bool drops;      /* what buffered I/O leaves in the page cache is dropped */
    bool wrote_buffered;
    struct store_io *syncs;   /* commits that the sync under way is for; NULL: none is */
    struct store_io *waiting; /* those that came since it was started */
    unsigned stops;           /* the place's, when the first of `waiting` came */
    char name[PATH_MAX];
};

static inline struct local_place *local_file_place(const struct local_file *f)
{
    return (struct local_place *)f->base.place;
}

struct store_file *local_file_open(struct store_place *p, const char *name, enum store_how how,
                                   uint64_t size_bytes, struct err *e);
int local_file_extent(struct store_file *file, uint64_t offset, struct store_extent *x,
                      struct err *e);
int local_file_claim(struct store_file *file, struct store_claim **claim, struct err *e);
void local_file_close(struct store_file *file);

#endif
