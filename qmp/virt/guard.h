/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What brings a direct migration to its end when godwit is killed in the switchover: a process of its
 * own, with connections of its own, that does nothing for as long as godwit lives.
 */
#ifndef QMP_VIRT_GUARD_H
#define QMP_VIRT_GUARD_H

#include "qmp/virt/move.h"

struct virt_guard;

/* Starts `program`, which has to come to virt_guard_main() when it is called with VIRT_ROUTE_GUARD, for
 * the source that bears m->id. It gets ready while other things are done. NULL with an error. */
struct virt_guard *virt_guard_start(const char *program, const struct virt_move *m, struct err *e);

/* Waits until it is ready. From here on a godwit that ends without virt_guard_end() has been killed. */
int virt_guard_arm(struct virt_guard *g, struct err *e);

/* The source's vCPUs have limits of ours: a guard takes them off when godwit is gone. */
void virt_guard_limits(struct virt_guard *g);

/* Ends it, and waits for that: nothing of it is left. NULL is fine. */
void virt_guard_end(struct virt_guard *g);

/* What virt_route_guard() does. */
int virt_guard_main(int argc, char **argv);

/* ---- pure, for unit tests ---- */

enum virt_guard_next {
    VIRT_GUARD_END_SOURCE, /* the destination has the guest whole */
    VIRT_GUARD_WAIT,       /* it is on its way there, or not known to be there */
    VIRT_GUARD_IDLE,       /* the source has the guest, and nothing goes on by itself */
    VIRT_GUARD_LEAVE, /* the destination is known not to have it, or both run: a person's matter */
};

/* Whether it ends, having seen that, and, for so long, that nothing goes on. No silence is long enough: what it
 * waits for may come at any time, and whoever has settled it by hand has changed the source, which it sees. */
bool virt_guard_ends(enum virt_guard_next next, int64_t idle_ns);
/* How long it waits until it looks again, when the destination has not answered for so long. */
int64_t virt_guard_tick_ns(int64_t silent_ns);

/* From what virt_left_is() takes (qmp/virt/unfinished.h). */
enum virt_guard_next virt_guard_next(const char *source_run, const char *source_migration,
                                     const char *there);

#endif
