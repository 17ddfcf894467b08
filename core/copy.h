/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipeline that moves the content of one file: many blocks under way at once, hashed in order,
 * and durable when it returns.
 */
#ifndef CORE_COPY_H
#define CORE_COPY_H

#include <signal.h>

#include "core/checksum.h"
#include "core/extents.h"

struct copy_progress {
    uint64_t bytes, total_bytes;     /* of the file, holes included; never goes back */
    uint64_t data_bytes, total_data_bytes;
    uint64_t bytes_per_s;            /* of data, lately; 0: not known yet */
    int64_t eta_ns;                  /* -1: not known yet */
};

typedef void copy_progress_fn(void *arg, const struct copy_progress *p);

struct copy_options {
    uint32_t block_bytes;  /* a multiple of 4096 */
    unsigned blocks;       /* under way at once: this times block_bytes is the memory it takes */
    uint64_t range_bytes;  /* the unit of durability: a multiple of block_bytes */
    const volatile sig_atomic_t *cancel; /* set: stop soon. May be NULL */
    copy_progress_fn *progress;          /* several times a second, and at the end. May be NULL */
    void *progress_arg;
};

struct copy_stats {
    uint64_t write, commit; /* requests */
    uint64_t resent;        /* writes that had to be repeated: their first copy may be lost */
};

/*
 * Copies what `map` says from `src` to `dst`, which reads as zeros, and adds the whole content of
 * the file to `sum`. 0: every byte is durable at the destination. -1: see the error; nothing is
 * under way any more, and what is in the destination is not to be relied on.
 */
int copy_run(struct store_file *src, struct store_file *dst, const struct extents *map,
             const struct copy_options *options, struct checksum *sum, struct copy_stats *stats,
             struct err *e);

#endif
