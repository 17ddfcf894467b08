/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor port (core/migrate/vm.h) on a libvirt domain: the route "direct". libvirt makes the
 * destination's domain and ends the source's; the migration itself is QEMU's and ours, so that
 * nothing of libvirt's is in the pause.
 */
#ifndef QMP_VIRT_VM_DIRECT_H
#define QMP_VIRT_VM_DIRECT_H

#include "qmp/virt/move.h"

/* The move must outlive them. */
struct vm *vm_direct_source(struct loop *loop, struct virt_move *m, struct err *e);
struct vm *vm_direct_destination(struct loop *loop, struct virt_move *m, struct vm *source,
                                 struct err *e);

#endif
