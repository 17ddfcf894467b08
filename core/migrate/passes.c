/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Two numbers tell what has been dealt with between two samples: the pages that were sent, as data, as
 * zero or compressed; and by how much less is left, which also has the pages that turned out not to
 * need sending (unchanged ones with xbzrle, those that the guest gave back), but is hidden where more
 * has become dirty. Each is at most the truth, so the larger one counts.
 */
#include "core/migrate/passes.h"

/* A pass counts as no smaller than the one before from this part of it on. */
#define PASSES_STUCK_PERCENT 90

static void passes_begin(struct passes *p, const struct vm_sample *s)
{
    uint64_t before = p->size_bytes;
    /* what has been dealt with since the end of the one before is of this one */
    p->size_bytes = p->dealt_bytes - p->end_bytes + s->ram_remaining_bytes;
    p->end_bytes = p->dealt_bytes + s->ram_remaining_bytes;
    /* the first is all of RAM; the second is no smaller only by what the guest does */
    bool smaller = p->begun < 2 || p->size_bytes < before / 100 * PASSES_STUCK_PERCENT;
    p->stuck = smaller || s->ram_remaining_bytes == 0 ? 0 : p->stuck + 1;
    p->begun++;
}

void passes_follow(struct passes *p, struct vm_sample *s)
{
    uint64_t handled = s->ram_handled_bytes, remaining = s->ram_remaining_bytes;
    bool reported = s->ram_total_bytes > 0 && s->migration != VM_MIGRATION_NONE;
    if (reported && handled >= p->handled_bytes) {
        uint64_t sent = handled - p->handled_bytes;
        uint64_t less = p->remaining_bytes > remaining ? p->remaining_bytes - remaining : 0;
        p->dealt_bytes += sent > less ? sent : less;
        p->handled_bytes = handled;
        p->remaining_bytes = remaining;
        if (p->begun == 0 && (p->dealt_bytes > 0 || remaining > 0)) {
            p->begun = 1;
            p->size_bytes = p->end_bytes = p->dealt_bytes + remaining;
        } else if (p->begun > 0 && (p->dealt_bytes > p->end_bytes ||
                                    (p->dealt_bytes == p->end_bytes && remaining > 0))) {
            passes_begin(p, s);
        }
    }
    s->passes = p->begun;
    s->pass_bytes = p->size_bytes;
    s->stuck_passes = p->stuck;
}
