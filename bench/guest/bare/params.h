/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What can be set in the bare-metal guest's image: a struct in a section of its own, found
 * by its magic, written by bare-guest-patch and read by the guest.
 *
 * Little endian, no padding; both sides of it are built from this header.
 */
#ifndef GODWIT_BENCH_GUEST_BARE_PARAMS_H
#define GODWIT_BENCH_GUEST_BARE_PARAMS_H

#include <stdint.h>

#define BARE_PARAMS_MAGIC "GODWIT-BARE-PRM" /* 16 bytes with its NUL */
#define BARE_PARAMS_VERSION 1

#define BARE_PERIOD_MIN_US 100u
#define BARE_PERIOD_MAX_US 10000000u
/* Where the working set starts: above the image, and on a large-page border. */
#define BARE_WORKSET_START 0x400000u
/* A machine has at most 3.5 GiB below the 32-bit PCI hole. */
#define BARE_WORKSET_MAX_BYTES ((uint64_t)3072 << 20)

struct bare_params {
    char magic[16];
    uint32_t version;
    uint32_t size_bytes;             /* of this struct */
    uint64_t working_set_bytes;      /* a multiple of the page size, at least one page */
    uint32_t dirty_rate_bytes_per_s; /* 0: the working set is filled once and left alone */
    uint32_t period_us;              /* of the heartbeat */
};

#endif
