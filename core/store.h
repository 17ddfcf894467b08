/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store port: what the relocation engine needs of a place where images live.
 *
 * A place is a directory (on this host, on an NFS share, or nowhere at all); a file is an image in
 * it, under a plain name without a slash. A new file is written under a temporary name, in the same
 * place, that nobody else uses: it shows under its final name only by publish(), whole and durable.
 *
 * A place is bound to the ring of the worker that opened it. read(), write() and commit() are
 * asynchronous: each is described by a struct store_io of the caller's, whose done() runs exactly
 * once, from ring_turn(), never from the call itself. The record, its buffer and its file must
 * live until then. The other functions block, each for a bounded time, and must not be called
 * while I/O of the same place is under way, except stop().
 *
 * Proof of durability (RFC 1813, 3.3.7 and 3.3.21): a write is either `stable` when it is
 * answered, or it comes with a verifier, and is durable only when a later commit() that covers it
 * gives the very same verifier. Any other verifier means that the server may have lost it: write
 * it again.
 */
#ifndef CORE_STORE_H
#define CORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/ring.h"

enum { STORE_VERIFIER_BYTES = 8, STORE_NAME_MAX = 255 };

struct store_place;
struct store_file;
struct store_io;

struct store_attr {
    uint64_t size_bytes; /* of a block device, too */
    uint64_t used_bytes;
    uint64_t device, inode; /* together the identity of a file while it exists */
    int64_t atime_ns, mtime_ns, ctime_ns; /* since 1970 */
    uint32_t mode;                        /* permission bits, 07777 */
    uint32_t uid, gid;
    enum { STORE_REGULAR, STORE_BLOCK_DEVICE, STORE_DIRECTORY, STORE_OTHER } type;
};

/* Data that may differ from zero; everything outside of extents reads as zeros. */
struct store_extent {
    uint64_t offset, len_bytes;
};

typedef void store_io_fn(struct store_io *io);

struct store_io {
    /* The caller's, set before the call and left alone until done(). */
    struct store_file *file;
    void *buf;          /* aligned to the file's `align_bytes` */
    uint64_t offset;    /* a multiple of `align_bytes` is fastest */
    uint32_t len_bytes; /* at most the place's `io_max_bytes`; of commit(): any, 0 = to the end */
    bool want_stable;   /* of write(): durable before it is answered */
    store_io_fn *done;
    void *arg;

    /* The answer. */
    int res;              /* bytes done, which may be fewer than asked for, or -errno */
    enum err_class fault; /* when res < 0: ERR_IO, ERR_NFS, ERR_LOST, ERR_PROTO, ERR_CANCELLED */
    bool stable;          /* of write() */
    uint8_t verifier[STORE_VERIFIER_BYTES]; /* of commit(), and of a write() that is not stable */

    /* The store's. */
    struct ring_op op;
    struct store_io *next, *prev;
    void *lane;
};

/*
 * A store. A function that a store cannot offer is NULL: then it is no source (open, extent, read)
 * or no destination (create, write, commit, publish).
 */
struct store_ops {
    const char *scheme; /* "file", "nfs", "null" */

    /* What `name` is. 1 and *attr; 0 when there is no such name; -1. Symbolic links of a source
     * are followed. */
    int (*lookup)(struct store_place *p, const char *name, struct store_attr *attr, struct err *e);

    /* Opens an image for reading; its `attr` tells what was opened. NULL with the error. */
    struct store_file *(*open)(struct store_place *p, const char *name, struct err *e);

    /* A new file of that size, all holes, that will be called `name`. NULL with the error. */
    struct store_file *(*create)(struct store_place *p, const char *name, uint64_t size_bytes,
                                 struct err *e);

    /* The first extent that ends after `offset`. 1 and *x; 0 when only a hole follows; -1. */
    int (*extent)(struct store_file *f, uint64_t offset, struct store_extent *x, struct err *e);

    void (*read)(struct store_io *io);
    void (*write)(struct store_io *io);
    void (*commit)(struct store_io *io);

    /*
     * Gives a created file the mode, owner and times of *attr, and its final name. What stands
     * there is replaced with `overwrite`, else it is an error (EEXIST). Owner and group are kept as
     * far as the store permits it; the log tells. On failure the file still has its temporary name.
     */
    int (*publish)(struct store_file *f, const struct store_attr *attr, bool overwrite,
                   struct err *e);

    /* Ends all I/O under way soon, with -ECANCELED, from ring_turn(). */
    void (*stop)(struct store_place *p);

    /* Give everything back; no I/O may be under way. A created file that was not published is
     * removed, also after stop(). -1: that failed, and the error names what was left. */
    int (*file_close)(struct store_file *f, struct err *e);
    void (*place_close)(struct store_place *p);
};

/* The common head of every store's place; written by the store alone. */
struct store_place {
    const struct store_ops *ops;
    struct ring *ring;
    const char *url;       /* as the operator wrote it, for messages; ends in a slash, if any */
    uint32_t io_max_bytes; /* the largest read or write */
    unsigned depth;        /* how many are worth having under way; 0: no opinion */
};

/* The common head of every store's file; written by the store alone. */
struct store_file {
    struct store_place *place;
    const char *name;      /* the final name */
    const char *temp_name; /* of a created file, until it is published; else NULL */
    uint32_t align_bytes;  /* of buffer, offset and length; a power of two, 1: any */
    struct store_attr attr; /* of an opened file, as it was then */
};

#endif
