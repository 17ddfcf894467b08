/* SPDX-License-Identifier: Apache-2.0 */
/* The decoders of libnfs, by procedure. */
#ifndef TESTS_NFS_LIBNFS_DECODE_H
#define TESTS_NFS_LIBNFS_DECODE_H

#include <stdbool.h>

#include "nfs/shape.h"

struct libnfs_proc {
    enum shape_program program;
    uint32_t proc;
};

/* One of those that have a decoder, by any number. */
struct libnfs_proc libnfs_proc(unsigned i);

/* Whether libnfs decodes these results; from a copy of exactly that length. */
bool libnfs_decode(struct libnfs_proc proc, const uint8_t *results, size_t len);

#endif
