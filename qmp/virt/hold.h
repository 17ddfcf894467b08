/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a stopped domain of this host's libvirt so that nobody can resume it, for as long as this process
 * wants, or lives. It can be ended all the same.
 */
#ifndef QMP_VIRT_HOLD_H
#define QMP_VIRT_HOLD_H

#include "qmp/virt/domain.h"

struct virt_hold;

/* Takes a second at most. NULL: it is not held; *e says why. */
struct virt_hold *virt_hold_take(const struct virt_domain *d, struct err *e);
void virt_hold_release(struct virt_hold *h); /* NULL is fine */

#endif
