/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor port (core/vm.h) on a QEMU process of its own, over QMP: the route "qmp". */
#ifndef QMP_VM_QMP_H
#define QMP_VM_QMP_H

#include "core/vm.h"
#include "qmp/endpoint.h"

/* Connects. `role` is "source" or "destination", and lives as long as the vm. */
struct vm *vm_qmp_open(struct loop *loop, const struct qmp_endpoint *ep, const char *role,
                       struct err *e);

#endif
