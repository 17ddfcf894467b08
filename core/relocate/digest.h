/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a range of an image, made while it passes: XXH3-128 of its data, in order. What is
 * not data has to be zeros, and is not digested, so that a hole costs nothing.
 */
#ifndef CORE_RELOCATE_DIGEST_H
#define CORE_RELOCATE_DIGEST_H

#include "core/relocate/checksum.h"
#include "core/relocate/extents.h"

struct digest {
    struct checksum *sum; /* made once, used for range after range */
    const struct extents *data;
    struct extents_cursor at;
    uint64_t to;    /* so far */
    uint64_t stray; /* the offset of something that must be zero and is not; UINT64_MAX: none */
};

int digest_new(struct digest *d); /* -1: no memory */
void digest_free(struct digest *d);

void digest_begin(struct digest *d, const struct extents *data, uint64_t start);

/* What is at `offset`; between the last and this are zeros. */
void digest_add(struct digest *d, uint64_t offset, const unsigned char *buf, uint64_t len);

/* From the last to `end` are zeros. */
void digest_end(struct digest *d, uint64_t end, unsigned char result[CHECKSUM_BYTES]);

#endif
