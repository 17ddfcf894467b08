/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool that is being moved was before, byte for byte, and how far the move has come: for a
 * run that goes on where another one was killed, and for undo.
 *
 * It is DIR/pool-UUID.json, for its owner only, since the domains' secrets are in it. It is replaced
 * as a whole, durably: what stands there is always one whole state. Copies that are made until it is
 * replaced again are appended to DIR/pool-UUID.copies, a line each, and belong to that edition of it alone.
 * The header is free of json-c.
 */
#ifndef CORE_POOL_JOURNAL_H
#define CORE_POOL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum pool_phase {
    POOL_BEGUN,     /* copies may be on the share; pool and domains are as before */
    POOL_SWITCHING, /* all copies are there; the domains and the pool are being redefined */
    POOL_DONE,      /* all use the share; the originals are there still */
    POOL_DELETING,  /* originals are being deleted: there is no way back */
};

struct pool_journal_domain {
    char *uuid, *name;
    char *before;   /* the persistent XML */
    char *after;    /* the same as libvirt gives it out since it was redefined; NULL: it was not, or
                       that was not written down any more */
    bool shut_down; /* by us */
};

/* A file on the share, as it was when we had made it; or, with ctime_ns 0, as it is to get its name. */
struct pool_journal_copy {
    bool made; /* else there is none that is known to be ours */
    uint64_t inode, generation, size_bytes;
    int64_t mtime_ns, ctime_ns;
};

struct pool_journal_image {
    char *name;                 /* in the pool's directory, and on the share */
    uint64_t inode, size_bytes; /* of the original, before it was copied */
    int64_t mtime_ns, ctime_ns;
    bool was_there;             /* on the share, before */
    unsigned directories_there; /* so many of the directories in its name, before */
    struct pool_journal_copy copy;
    /* What stood there already, and was read back and compared with the original: not ours to remove, but
     * what the original can be deleted for. `made`: there is one. */
    struct pool_journal_copy compared;
};

struct pool_journal {
    char *uri, *pool, *uuid;
    char *path;   /* the pool's directory, before */
    char *share;  /* URL */
    char *mount;  /* NULL: none */
    bool network; /* disks become network disks */
    enum pool_phase phase;
    uint64_t edition;     /* which one was written last; a random number */
    char *before, *after; /* the pool's XML; `after` as domains' */

    struct pool_journal_domain *domains;
    size_t n_domains;
    struct pool_journal_image *images;
    size_t n_images;
};

/*
 * Takes the lock of that pool's journal in `dir`, which is made if it is not there. ERR_REFUSED:
 * another godwit has it, or the directory cannot be used.
 */
int pool_journal_lock(const char *dir, const char *uuid, int *fd, struct err *e);
/* Gives it back; its file stays only where there is a journal. */
void pool_journal_unlock(const char *dir, const char *uuid, int fd);

/* ERR_REFUSED: there is none (e->sys is ENOENT), or it is not one that this godwit can read. */
struct pool_journal *pool_journal_read(const char *dir, const char *uuid, struct err *e);

int pool_journal_write(struct pool_journal *j, const char *dir, struct err *e);
/* Writes image->copy down, durably, without the rest: after pool_journal_write() of the same journal. */
int pool_journal_add_copy(const struct pool_journal *j, const char *dir,
                          const struct pool_journal_image *image, struct err *e);
int pool_journal_remove(const char *dir, const char *uuid, struct err *e);

void pool_journal_free(struct pool_journal *j); /* NULL is fine */

#endif
