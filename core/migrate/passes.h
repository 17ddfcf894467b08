/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over RAM, by what has been sent. A pass begins with all that is left to be sent then, and
 * ends when so much of RAM has been dealt with. QEMU's own counter (dirty-sync-count) counts how often
 * it looked for dirty pages, which with postcopy-ram QEMU 11 does ten times a second.
 *
 * Passes that begin and end between two samples are counted as one: the count is a lower bound.
 */
#ifndef CORE_MIGRATE_PASSES_H
#define CORE_MIGRATE_PASSES_H

#include "core/migrate/vm.h"

struct passes {
    uint64_t begun;
    uint64_t dealt_bytes; /* of RAM, since the migration began */
    uint64_t end_bytes;   /* dealt_bytes at the end of the pass that goes on */
    uint64_t size_bytes;  /* what was left when it began */
    unsigned stuck;
    uint64_t handled_bytes, remaining_bytes; /* of the last sample */
};

/* Of one migration, from its begin on: sets s->passes, s->pass_bytes and s->stuck_passes. Starts as {0}. */
void passes_follow(struct passes *p, struct vm_sample *s);

#endif
