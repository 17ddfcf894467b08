/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain's QMP monitor, by way of libvirt's passthrough, as a socket that speaks QMP:
 * libvirt as a struct qmp_carrier. The domain's other users see libvirt's "custom-monitor" taint, no more.
 */
#ifndef QMP_VIRT_MONITOR_H
#define QMP_VIRT_MONITOR_H

#include "qmp/endpoint.h"
#include "qmp/virt/domain.h"

/* The endpoint of a domain's QEMU, which is reached so. The domain must live as long. */
void virt_monitor_endpoint(const struct virt_domain *d, struct qmp_endpoint *ep);

/* The same of one that the caller has just made, and that says nothing before it is told something: opening it
 * waits for nothing, and its events are in the stream from the first command on that is sent alone. */
void virt_monitor_endpoint_made(const struct virt_domain *d, struct qmp_endpoint *ep);

#endif
