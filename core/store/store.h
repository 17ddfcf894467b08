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
 * it again. A server that was told to lie about it (an async export) loses even that when its machine
 * fails: only another verifier tells, so what one instance of the server has confirmed is no proof
 * under the next (`may_forget`).
 *
 * Own before you act. A name is no identity, and an inode number alone is none: both are given to
 * other files. Whatever removes, replaces or names a file is given the identity of what it acts on,
 * and proves it again right before (store_same_file(); for what may have been written to meanwhile
 * store_unchanged()); when it has acted it proves that the name refers to what it should. What cannot
 * be proven is an error that names the thing, and nothing is done. lookup(), list() and open() for
 * reading change nothing.
 */
#ifndef CORE_STORE_STORE_H
#define CORE_STORE_STORE_H

#include <stdbool.h>
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
    uint64_t device, inode; /* together tell a file from all others that exist now */
    uint64_t generation;    /* tells it from those that had its inode before it; 0: not known */
    int64_t atime_ns, mtime_ns, ctime_ns; /* since 1970 */
    uint32_t mode;                        /* permission bits, 07777 */
    uint32_t uid, gid;
    enum { STORE_REGULAR, STORE_BLOCK_DEVICE, STORE_DIRECTORY, STORE_OTHER } type;
};

enum store_how {
    STORE_READ,           /* what is there, to be read; symbolic links are followed */
    STORE_CREATE,         /* a new file, mode 0600, all holes, to be written and read; EEXIST */
    STORE_UPDATE,         /* a regular file that is there, to be written and read; ENOENT */
    STORE_MAKE_DIRECTORY, /* made (0700) if it is not there: only to be published and closed */
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

/* That a file is ours. Given back by release(), from any thread; it needs no place any more. */
struct store_claim {
    void (*release)(struct store_claim *c);
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
     * Symbolic links are followed. `generation` is given where the store has one. */
    int (*lookup)(struct store_place *p, const char *name, struct store_attr *attr, struct err *e);

    /* Calls fn for each entry of directory `name` but "." and "..", with its name in there, in any
     * order; symbolic links are not followed; `generation` may be missing. fn may use the place. 0;
     * -1: an error, or fn's -1. */
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
     * Gives a written file (or a directory) the mode, owner and times of *attr, unless that is NULL;
     * and, unless it is NULL, the name `final` in its directory, durably, after which `final` was
     * seen to be of this very file. Owner and group are kept as far as the store permits it; the
     * log tells.
     *
     * What stands at `final` is replaced if it is still *replaces, unchanged since that was looked
     * up; with NULL nothing may stand there (EEXIST). The file must still have the name that it was
     * opened by (ESTALE). On failure it has its old name; where that could not be found out, or
     * something else stands at `final` afterwards, ERR_LOST.
     *
     * Where that name refers to a file that may be this one, but under another generation, nothing more
     * is done: -1, and the file's attr.generation is the other one. Whoever proves that it is the same
     * may ask again, and what was done before counts.
     */
    int (*publish)(struct store_file *f, const char *final, const struct store_attr *attr,
                   const struct store_attr *replaces, struct err *e);

    /* Removes a file or an empty directory, if it is still *is (store_same_file()); ESTALE when the
     * name refers to another by now. A name that is not there counts as removed. */
    int (*remove)(struct store_place *p, const char *name, const struct store_attr *is,
                  struct err *e);

    /*
     * Claims a file that was opened to be written, for as long as the claim is kept or this process
     * lives. 1 and *claim; 0: another process has it, or may; -1. A store whose files cannot be
     * claimed has none of it (NULL); where this one can't be, *claim is NULL.
     */
    int (*claim)(struct store_file *f, struct store_claim **claim, struct err *e);

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
    bool
        may_forget; /* what was committed, when its verifier becomes another: it says nothing else */
    /* Its generation tells the same file for certain, but where it is another one the server may just have
     * been started again: what it is then has to be found out by what is in it. */
    bool generation_may_change;
    bool claims_bind; /* a claim is seen by whoever else can reach the file, on any host */
};

/* The common head of every store's file; written by the store alone. */
struct store_file {
    struct store_place *place;
    const char *name;       /* that it was opened by, or has since publish() */
    uint32_t align_bytes;   /* of buffer, offset and length; a power of two, 1: any */
    struct store_attr attr; /* as it was when it was opened */
    bool in_use;            /* another process writes to it, or may: a QEMU holds its image lock */
    bool claimed;           /* by another process */
    bool by_link;           /* it was opened through a symbolic link */
    bool made;              /* a directory: by this open() */
    bool holes_unknown;     /* extent() cannot tell holes from zeros that were written */
};

/* The same file, as far as the store can tell: one inode, of one generation. */
bool store_same_file(const struct store_attr *a, const struct store_attr *b);

/* Not the same, but it may be, under another generation: where the place's may change, all else that a
 * store tells of a file that is written to (of a directory: of a new one) is equal. No proof. */
bool store_may_be_same(const struct store_place *p, const struct store_attr *a,
                       const struct store_attr *b);

/* The same file, and nobody has written to it or given it other attributes in between. */
bool store_unchanged(const struct store_attr *a, const struct store_attr *b);

/* Whether a store that was told to keep `ns` would keep it as `stored_ns`: some have coarser times,
 * of up to 2 s. */
bool store_same_time(int64_t stored_ns, int64_t ns);

/* ERR_IO, ESTALE: the name refers to another file by now. */
int store_not_ours(const struct store_place *p, const char *name, struct err *e);

/*
 * For what is small, and read or written in one go: starts the I/O and turns the ring until it has
 * ended (callbacks of other I/O run meanwhile). store_read_at() gives what is there, which is less
 * than `len_bytes` at the end of the file; store_write_at() is durable when it returns 0.
 */
ssize_t store_read_at(struct store_file *f, void *buf, uint32_t len_bytes, uint64_t offset,
                      struct err *e);
int store_write_at(struct store_file *f, const void *buf, uint32_t len_bytes, uint64_t offset,
                   struct err *e);

/* The verifier of the server as it is now, by a commit() of next to nothing. */
int store_verifier(struct store_file *f, uint8_t verifier[STORE_VERIFIER_BYTES], struct err *e);

#endif
