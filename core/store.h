/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store port: what the relocation engine needs of a place where images live.
 *
 * A place is a directory (on this host, on an NFS share, or nowhere at all). A name in it is a
 * relative path, "image" or "sub/image": no leading or trailing slash, no empty part, no "..". What
 * a name is used for (a part that is still being written, the final name) is the engine's affair.
 *
 * A place is bound to the ring of the worker that opened it, and is used by that thread alone.
 * read(), write() and commit() are asynchronous: each is described by a struct store_io of the
 * caller's, whose done() runs exactly once, from ring_turn(), never from the call itself. The
 * record, its buffer and its file must live until then. The other functions block, each for a
 * bounded time, and are not called from within done(); I/O under way meanwhile just waits.
 *
 * A store keeps trying where trying helps: a server that is busy (NFS3ERR_JUKEBOX), a connection
 * that was lost, a handle that went stale. What reaches done() is final.
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
#include <sys/types.h>

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

enum store_how {
    STORE_READ,      /* what is there, to be read; symbolic links are followed */
    STORE_CREATE,    /* a new file, mode 0600, all holes, to be written and read; EEXIST */
    STORE_UPDATE,    /* a regular file that is there, to be written and read; ENOENT */
    STORE_MAKE_DIRECTORY, /* made if it is not there: only to be published and closed */
};

/* Data that may differ from zero; everything outside of extents reads as zeros. */
struct store_extent {
    uint64_t offset, len_bytes;
};

typedef void store_io_fn(struct store_io *io);

struct store_io {
    /* The caller's, set before the call and left alone until done(). */
    struct store_file *file;
    void *buf;          /* aligned to the file's `align_bytes` is fastest */
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
    store_io_fn *then; /* the caller's done(), while the store has its own in its place */
    int64_t since_ns;  /* of its first failure */
    int64_t started_ns, overtaken_ns; /* on the connection that it is on */
    unsigned tries;
    int what; /* read, write or commit, for one that starts it again, */
    void *by; /* which is this */
};

typedef int store_list_fn(void *arg, const char *name, const struct store_attr *attr,
                          struct err *e);

/*
 * A store. A function that a store cannot offer is NULL: then it is no source (extent, read) or no
 * destination (write, commit, publish).
 */
struct store_ops {
    const char *scheme; /* "file", "nfs", "null" */

    /* What `name` is, "" being the place itself. 1 and *attr; 0 when there is no such name; -1.
     * Symbolic links are followed. */
    int (*lookup)(struct store_place *p, const char *name, struct store_attr *attr, struct err *e);

    /* Calls fn for each entry of directory `name` but "." and "..", with its name in there, in any
     * order; symbolic links are not followed. fn may use the place. 0; -1: an error, or fn's -1. */
    int (*list)(struct store_place *p, const char *name, store_list_fn *fn, void *arg,
                struct err *e);

    /* `size_bytes` is the size of a file to be created. NULL with the error; e->sys is EEXIST or
     * ENOENT where that is the reason. */
    struct store_file *(*open)(struct store_place *p, const char *name, enum store_how how,
                               uint64_t size_bytes, struct err *e);

    /* The first extent that ends after `offset`. 1 and *x; 0 when only a hole follows; -1. */
    int (*extent)(struct store_file *f, uint64_t offset, struct store_extent *x, struct err *e);

    void (*read)(struct store_io *io);
    void (*write)(struct store_io *io);
    void (*commit)(struct store_io *io);

    /*
     * Gives a written file (or a directory) the mode, owner and times of *attr, and, unless it is
     * NULL, the name `final` in its directory, durably. What stands there is replaced with
     * `overwrite`, else it is an error (EEXIST). Owner and group are kept as far as the store
     * permits it; the log tells. On failure it has its old name; where that could not be found out
     * ERR_LOST.
     */
    int (*publish)(struct store_file *f, const char *final, const struct store_attr *attr,
                   bool overwrite, struct err *e);

    /* Removes a file or an empty directory. A name that is not there counts as removed. */
    int (*remove)(struct store_place *p, const char *name, struct err *e);

    /* Ends all I/O under way soon, with -ECANCELED, from ring_turn(). */
    void (*stop)(struct store_place *p);

    /* Give everything back; no I/O may be under way. */
    void (*file_close)(struct store_file *f);
    void (*place_close)(struct store_place *p);
};

/* The common head of every store's place; written by the store alone. */
struct store_place {
    const struct store_ops *ops;
    struct ring *ring;
    const char *url;       /* as the operator wrote it, for messages; ends in a slash, if any */
    uint32_t io_max_bytes; /* the largest read or write */
    uint64_t free_bytes;   /* for us, when the place was opened; UINT64_MAX: not known */
};

/* The common head of every store's file; written by the store alone. */
struct store_file {
    struct store_place *place;
    const char *name;       /* that it was opened by, or has since publish() */
    uint32_t align_bytes;   /* of buffer, offset and length; a power of two, 1: any */
    struct store_attr attr; /* as it was when it was opened */
    bool in_use;            /* another process writes to it, or may: a QEMU holds its image lock */
    bool holes_unknown;     /* extent() cannot tell holes from zeros that were written */
};

/*
 * For what is small, and read or written in one go: starts the I/O and turns the ring until it has
 * ended (callbacks of other I/O run meanwhile). store_read_at() gives what is there, which is less
 * than `len_bytes` at the end of the file; store_write_at() is durable when it returns 0.
 */
ssize_t store_read_at(struct store_file *f, void *buf, uint32_t len_bytes, uint64_t offset,
                      struct err *e);
int store_write_at(struct store_file *f, const void *buf, uint32_t len_bytes, uint64_t offset,
                   struct err *e);

#endif
