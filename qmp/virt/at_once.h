/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several questions to one libvirt at the same time: independent calls, each in a thread, take one round
 * trip and not one each.
 */
#ifndef QMP_VIRT_AT_ONCE_H
#define QMP_VIRT_AT_ONCE_H

#include <stddef.h>

#include "qmp/virt/host.h"

/* One of them; what it finds out, and libvirt's error, which is its thread's, goes into `arg`. */
typedef void virt_ask_fn(void *arg);

struct virt_at_once;

/*
 * Begins to call each of them with `arg`, which is on the heap, and is taken: where a connection ends while
 * several wait for it, libvirt leaves some waiting for ever, and these must be left behind with what they
 * write to. `release` frees it when nobody needs it any more. They must not need each other, and hold a
 * reference of what they use. NULL: `arg` was released.
 */
struct virt_at_once *virt_at_once_begin(struct virt_host *h, virt_ask_fn *const *asks, size_t n,
                                        void *arg, void (*release)(void *arg), struct err *e);

/* Waits until all have returned, and gives `arg` back; NULL: ERR_LOST, some never will, for the
 * connection has ended. Takes `a`; NULL is fine: *e is set already. */
void *virt_at_once_end(struct virt_at_once *a, struct err *e);

#endif
