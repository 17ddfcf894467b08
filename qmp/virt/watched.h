/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain that is only looked at, for qmp/watch.c: as an endpoint of its monitor, or as events of
 * a domain that libvirt may make any time.
 */
#ifndef QMP_VIRT_WATCHED_H
#define QMP_VIRT_WATCHED_H

#include <stdbool.h>

#include "core/err.h"
#include "qmp/endpoint.h"

struct virt_watched;

/* *ep is good until it is closed. */
struct virt_watched *virt_watched_open(const char *uri, const char *domain, struct qmp_endpoint *ep,
                                       struct err *e);

/* *fd, non-blocking, gives a struct watch_event a read; it is closed with the rest. */
struct virt_watched *virt_watched_open_events(const char *uri, const char *name, int *fd,
                                              struct err *e);

/*
 * Of one that was opened by virt_watched_open(): what libvirt keeps of its last migration, that has
 * completed. Sets the downtime (libvirt's count), the total, and what was sent in *s; all else is left alone. ERR_VIRT: nothing is kept, or of another than was sampled in *s before.
 */
struct watch_sample;
int virt_watched_completed(const struct virt_watched *w, struct watch_sample *s, struct err *e);

/* Whether libvirt, and so the QEMU, is on this machine. */
bool virt_watched_here(const struct virt_watched *w);

/* NULL is fine. */
void virt_watched_close(struct virt_watched *w);

#endif
