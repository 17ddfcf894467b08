/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sets by QEMU's own names, by the native route. libvirt sets every capability that it
 * knows, and puts every parameter back, so there are two ways only: it is asked, where
 * virDomainMigrate3() has a word for it; or it is a parameter that it leaves alone, and that QEMU is
 * asked before, by the monitor's passthrough.
 */
#ifndef QMP_VIRT_NATIVE_SET_H
#define QMP_VIRT_NATIVE_SET_H

#include <libvirt/libvirt.h>

#include "core/migrate/vm.h"
#include "qmp/setting.h"
#include "qmp/vm_qmp.h"

/* ERR_REFUSED, naming the first that goes neither way, here or with the rest of *s; and compression,
 * by whichever name, where godwit was built with a libvirt that has none. */
int native_set_check(const struct vm_settings *s, struct err *e);

/* Leaves in *set what QEMU is given. */
void native_set_keep_tuned(struct qmp_settings *set);

/* The source's vm_ops.configure(): tells QEMU, and *limit_ns the downtime limit in force. On failure
 * all is as it was. */
int native_set_tune(struct vm_qmp *q, const struct vm_settings *s, int64_t *limit_ns,
                    struct err *e);

/* Puts back what it has changed. */
int native_set_restore(struct vm_qmp *q, struct err *e);

/* What virDomainMigrate3() is given of these and of the compression; adds to both. All of *s has been
 * checked. */
void native_set_tell(const struct vm_settings *s, unsigned *flags, virTypedParameterPtr *params,
                     int *n, int *max);

#endif
