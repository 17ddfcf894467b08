/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipeline of one worker: reads ranges of images, digests them, writes them elsewhere, and
 * proves them durable. Many blocks, of several ranges, are under way at once.
 */
#ifndef CORE_RELOCATE_COPY_H
#define CORE_RELOCATE_COPY_H

#include <stdatomic.h>

#include "core/relocate/checksum.h"
#include "core/relocate/extents.h"

struct bucket;

/* A part of an image: what the pipeline is given, and gives back. */
struct copy_range {
    struct store_file *src;
    struct store_file *dst;     /* which reads as zeros there; NULL: src is only read */
    const struct extents *read; /* what of src is read */
    const struct extents *data; /* what of the image is data: the digest is of this, and what else
                                   is read must be zeros. Often the same as `read` */
    uint64_t start, end;        /* at most 4 GiB apart */
    struct checksum *whole;     /* of the whole image, given range by range in order; or NULL */
    uint64_t *whole_to;         /* how far that is; what lies between is a hole */
    void *owner;
    size_t index;

    /* The answer. */
    unsigned char digest[CHECKSUM_BYTES];   /* XXH3-128 of the data, in order */
    bool written;                           /* something had to be; then: */
    uint8_t verifier[STORE_VERIFIER_BYTES]; /* that it was proven durable under */
    uint64_t stray; /* the offset of something that must be zero and is not; UINT64_MAX: none */
};

/* Of all workers; only for telling, and for the tuner. */
struct copy_counters {
    _Atomic uint64_t done_bytes; /* of data: answered by the destination, or read only */
    _Atomic uint64_t written_bytes;
    _Atomic uint64_t read, write, commit; /* requests */
    _Atomic uint64_t resent;              /* writes that were repeated */
};

struct copy_options {
    struct ring *ring;
    unsigned blocks;       /* the most under way at once: this times block_bytes is the memory */
    uint32_t block_bytes;  /* the largest block; a multiple of 4096 */
    struct bucket *bucket; /* what may be read; NULL: no limit */
    struct copy_counters *counters;
};

struct copy;

struct copy *copy_new(const struct copy_options *options, struct err *e);

/* Nothing may be under way, unless the ring is broken: then the blocks are left to the kernel. */
void copy_free(struct copy *c);

/* How many blocks may be under way from now on, and how large they are. */
void copy_tune(struct copy *c, unsigned depth, uint32_t block_bytes);

/* Whether it can use another range. */
bool copy_wants(const struct copy *c);

/* *r is copied; its files must stay open until it comes back. */
void copy_give(struct copy *c, const struct copy_range *r);

/*
 * One turn of the ring: starts, waits for at most timeout_ns, ends. After a failure nothing new is
 * started, and turns go on until copy_idle(). -1: the ring itself does not work any more, and I/O
 * may be under way for ever.
 */
int copy_turn(struct copy *c, int64_t timeout_ns);

/* The first error, or NULL. */
const struct err *copy_error(const struct copy *c);

/* Ends it early, for a reason from outside. */
void copy_fail(struct copy *c, const struct err *why);

/* A range that is durable (or read), in no particular order. False: none for now. */
bool copy_take(struct copy *c, struct copy_range *r);

/* No range is in it, and no I/O is under way; after a failure the latter is enough. */
bool copy_idle(const struct copy *c);

#endif
