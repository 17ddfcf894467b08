/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a stopped domain of a libvirt here, or where ssh leads, so that nobody can resume it, for as long as
 * this process wants, or lives. It can be ended all the same.
 */
#ifndef QMP_VIRT_HOLD_H
#define QMP_VIRT_HOLD_H

#include "qmp/virt/domain.h"

struct virt_hold;

/* Takes a second or so, over ssh some more. NULL: it is not held; *e says why. */
struct virt_hold *virt_hold_take(const struct virt_domain *d, struct err *e);
/* Whether it is still held: that ends with its libvirtd, and with the connection to another host. */
bool virt_hold_lasts(const struct virt_hold *h);
void virt_hold_release(struct virt_hold *h); /* NULL is fine */

#endif
