/* SPDX-License-Identifier: Apache-2.0 */
/* What the destination's libvirt says unasked while its migration goes on: libvirt's events of one domain. */
#ifndef QMP_VIRT_NATIVE_EVENTS_H
#define QMP_VIRT_NATIVE_EVENTS_H

#include "core/migrate/vm.h"
#include "qmp/virt/domain.h"

struct native_events;

/* Listens for a domain that need not exist yet. */
struct native_events *native_events_open(const struct virt_domain *d, struct err *e);
void native_events_close(struct native_events *v); /* NULL is fine */

/* Whether nothing can have been missed so far: it is connected still. False for NULL. */
bool native_events_whole(const struct native_events *v);

/* libvirt's number of the QEMU that it has started there for an incoming migration; -1: none yet. */
int native_events_made(const struct native_events *v);

/* Takes what was heard into *seen, which is the loop's thread's. With NULL that is a gap. */
void native_events_hear(const struct native_events *v, struct vm_seen *seen);

#endif
