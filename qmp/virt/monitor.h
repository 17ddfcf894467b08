/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain's QMP monitor, by way of libvirt's passthrough, as a socket that speaks QMP: for
 * qmp/link.h. The domain's other users see libvirt's "custom-monitor" taint, no more.
 */
#ifndef QMP_VIRT_MONITOR_H
#define QMP_VIRT_MONITOR_H

#include <stdbool.h>

#include "core/err.h"
#include "qmp/virt/domain.h"

struct virt_monitor;

/* *fd gets the socket, non-blocking and close-on-exec; it is the caller's to close. ERR_LOST: the
 * domain is not active (e->sys is ENOENT then), or libvirt is not there. */
struct virt_monitor *virt_monitor_open(const struct virt_domain *d, int *fd, struct err *e);

/* Whether QEMU has ended, and all events that it had sent came before the end of the stream. */
bool virt_monitor_ended(const struct virt_monitor *m);

/* After the socket was closed. Does not wait for a call of libvirt's that is under way. */
void virt_monitor_close(struct virt_monitor *m);

#endif
