/* SPDX-License-Identifier: Apache-2.0 */
/* A libvirt domain, or what libvirt will make of one, to be watched: qmp/watch.h has what can be done with it. */
#ifndef QMP_VIRT_WATCHED_H
#define QMP_VIRT_WATCHED_H

#include "qmp/watch.h"

/* A domain that runs, by name or UUID, of the libvirt at `uri`. ERR_REFUSED: there is none of that
 * name; ERR_LOST: it does not run (e->sys is ENOENT), or libvirt is not there. Connecting to libvirt
 * is not in `timeout_ns`: that call blocks. */
struct watch *virt_watch_domain(struct loop *loop, const char *uri, const char *domain,
                                int64_t timeout_ns, watch_event_fn *on_event, void *arg,
                                struct err *e);

/* Only the events of any QEMU of that libvirt whose domain has this name, also of one that does not
 * exist yet: libvirt makes a destination while it migrates. Cannot be asked. */
struct watch *virt_watch_events(struct loop *loop, const char *uri, const char *name,
                                watch_event_fn *on_event, void *arg, struct err *e);

#endif
