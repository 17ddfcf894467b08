/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor port (core/migrate/vm.h) on a libvirt domain: the route "native". libvirt migrates it, by
 * virDomainMigrate3(); we set QEMU's parameters before, and watch and time it while it runs.
 */
#ifndef QMP_VIRT_VM_NATIVE_H
#define QMP_VIRT_VM_NATIVE_H

#include "qmp/virt/move.h"

/* The move must outlive them. */
struct vm *vm_native_source(struct loop *loop, struct virt_move *m, struct err *e);
struct vm *vm_native_destination(struct loop *loop, struct virt_move *m, struct vm *source,
                                 struct err *e);

#endif
