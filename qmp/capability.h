/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration capabilities, and which of them exclude each other.
 *
 * We check the exclusions ourselves, before anything is sent: QEMU 7.2 accepts combinations that
 * later versions refuse because they break (multifd with xbzrle, multifd with postcopy).
 * Source: QEMU, migration/options.c, migrate_caps_check(); docs/devel/migration.
 */
#ifndef QMP_CAPABILITY_H
#define QMP_CAPABILITY_H

#include <stdint.h>

#include "core/err.h"

enum qmp_capability {
    CAP_EVENTS,
    CAP_MULTIFD,
    CAP_POSTCOPY_RAM,
    CAP_POSTCOPY_PREEMPT,
    CAP_RETURN_PATH,
    CAP_PAUSE_BEFORE_SWITCHOVER,
    CAP_XBZRLE,
    CAP_AUTO_CONVERGE,
    CAP_DIRTY_LIMIT,
    CAP_ZERO_COPY_SEND,
    CAP_MAPPED_RAM,
    CAP_SWITCHOVER_ACK,
    CAP_COLO,
    CAP_RELEASE_RAM,
    CAP_BACKGROUND_SNAPSHOT,
    CAP_COMPRESS,
    CAP_BLOCK,
    CAP_ZERO_BLOCKS,
    CAP_RDMA_PIN_ALL,
    CAP_VALIDATE_UUID,
    CAP_DIRTY_BITMAPS,
    CAP_POSTCOPY_BLOCKTIME,
    CAP_LATE_BLOCK_ACTIVATE,
    CAP_IGNORE_SHARED,
    CAP_COUNT
};

/* A set of capabilities: bit n is capability n. */
typedef uint32_t qmp_capability_set;
#define CAP_BIT(cap) (UINT32_C(1) << (cap))

const char *qmp_capability_name(enum qmp_capability cap);

/* CAP_COUNT for a name that we do not know. */
enum qmp_capability qmp_capability_find(const char *name);

/* ERR_REFUSED, naming the two, when the set holds a pair that must not be on together, or one that
 * needs another which is off. */
int qmp_capability_check(qmp_capability_set on, struct err *e);

#endif
