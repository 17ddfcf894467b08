/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relocation engine: copies an image from one store to another, whole or not at all.
 *
 * The destination gets a temporary name until every byte is durable, then the source's mode, owner
 * and times, and then its final name. The source is only read. On any failure the temporary name
 * is removed; where that is not possible the error's hint says which one was left.
 */
#ifndef CORE_RELOCATE_H
#define CORE_RELOCATE_H

#include "core/copy.h"

struct relocate_job {
    struct store_place *from;
    struct store_place *to; /* on the same ring as `from` */
    const char *name;       /* in both */
};

struct relocate_options {
    struct copy_options copy; /* block_bytes is cut to what the places take */
    bool overwrite;
};

struct relocate_result {
    uint64_t bytes, data_bytes;
    char xxh3_128[CHECKSUM_HEX_MAX]; /* of the content, holes included */
    struct copy_stats rpc;           /* also of a job that failed */
};

/*
 * Whether all jobs can be begun: ERR_REFUSED with the first reason against. Sources are images
 * that can be read, no two of one name; no destination exists, unless `overwrite`. Touches nothing.
 */
int relocate_check(const struct relocate_job *jobs, size_t n, bool overwrite, struct err *e);

/* Copies one image. 0: it stands, durable, under its final name. */
int relocate_run(const struct relocate_job *job, const struct relocate_options *options,
                 struct relocate_result *result, struct err *e);

#endif
