/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor port (core/migrate/vm.h) on a QEMU process of its own, over QMP: the route "qmp". */
#ifndef QMP_VM_QMP_H
#define QMP_VM_QMP_H

#include "core/migrate/passes.h"
#include "core/migrate/vm.h"
#include "qmp/command.h"
#include "qmp/endpoint.h"
#include "qmp/process.h"
#include "qmp/setting.h"

/* Connects. `role` is "source" or "destination", and lives as long as the vm. A source has a gate. */
struct vm *vm_qmp_open(struct loop *loop, const struct qmp_endpoint *ep, const char *role,
                       struct err *e);

/*
 * For the routes by libvirt (qmp/virt), whose sides are this one but for a few operations: they
 * embed it, take its table, and put their own in some places. For no one else.
 */
struct vm_qmp {
    struct vm vm;
    struct qmp_endpoint ep;
    struct qmp_client *client; /* NULL: not open (any more) */
    struct vm_facts facts;     /* what probe() found */
    bool probed;
    int64_t thread;             /* of its first vCPU, as probe() found it */
    struct qmp_process process; /* of a bare QEMU, where it could be found */
    bool armed;                 /* it listens: a destination */
    bool configured;
    bool parameters_first; /* they were set before the capabilities */
    bool limited;          /* vCPUs of its guest have limits of ours, or may have */
    bool io_error;         /* the next STOP is by it */
    qmp_capability_set old_which, old_on;
    struct qmp_parameters old_parameters;
    struct passes passes;        /* of the migration that start() began */
    struct json_object *old_set; /* other parameters, as they were; NULL: none was set */

    /* Of a source with a gate: it stands when all but the last of the guest has been sent, until we
     * let it go on. If we end before, no other QEMU has the guest whole. */
    bool gated;     /* to be set before configure() */
    bool gate_open; /* the destination is ready, and is still to have the guest */
};

extern const struct vm_ops vm_qmp_ops;

/* Its operations, but for the connection, which vm_qmp_connect() makes. */
void vm_qmp_init(struct vm_qmp *q, struct loop *loop, const char *role, const struct vm_ops *ops);

/* q->vm.commands, by its endpoint. */
void vm_qmp_set_commands(struct vm_qmp *q);
/* That for a postcopy that has lost its connection, by hand, where the stream went before, when the side knows whether
 * it listens. NULL: it cannot be told as one, or libvirt is in between. */
const char *vm_qmp_recover_command(const struct vm_qmp *q, const char *uri);

/* Connects; *e says which side. */
int vm_qmp_connect(struct vm_qmp *q, struct err *e);

/* The connection, made again if it was lost. ERR_LOST: also where another QEMU than the one that was
 * probed answers there now, or where that is not known. Its process (pid, start time, boot) tells; where
 * it was never known (qmp/process.h) its version, the guest's UUID and its first vCPU's
 * thread, which can tell another one, and do not prove that it is the same. */
struct qmp_client *vm_qmp_client(struct vm_qmp *q, struct err *e);

/* As QEMU and libvirt call it. */
const char *vm_qmp_compression_word(enum vm_compression compression);

/* Of multifd that is on by name only (--set multifd=on): QEMU's own default. */
enum { VM_QMP_CHANNELS_BY_NAME = 2 };

/* Reads settings.set for this side (qmp/setting.h), and checks what is to be on together. */
int vm_qmp_read_settings(struct vm_qmp *q, const struct vm_settings *s, struct qmp_settings *set,
                         struct err *e);

/* Two of its operations (qmp/vm_qmp_settings.c). */
int vm_qmp_check(struct vm *vm, const struct vm_settings *s, struct err *e);
int vm_qmp_configure(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns, struct err *e);

/* What configure() does, in two parts: the first asks what there is, and touches nothing; the second sets. It needs
 * what the first has left in *c, and frees it, as vm_qmp_change_clear() does. */
struct vm_qmp_change {
    qmp_capability_set known;
    struct qmp_settings set;
};
int vm_qmp_ask_settings(struct vm_qmp *q, const struct vm_settings *s, struct vm_qmp_change *c,
                        struct err *e);
int vm_qmp_change_settings(struct vm_qmp *q, const struct vm_settings *s, struct vm_qmp_change *c,
                           int64_t *limit_ns, struct err *e);
void vm_qmp_change_clear(struct vm_qmp_change *c);

/* Asks for the parameters, and remembers them, also those of *set. */
int vm_qmp_remember_parameters(struct vm_qmp *q, const struct qmp_settings *set, struct err *e);

/* Takes limits of ours off its vCPUs, if there are any. */
int vm_qmp_unlimit(struct vm_qmp *q, struct err *e);

/* Puts the remembered ones back. */
int vm_qmp_restore_parameters(struct vm_qmp *q, struct err *e);

/* ERR_REFUSED where a guest of this hypervisor must not be migrated at all. */
int vm_qmp_check_hypervisor(const struct vm_qmp *q, const struct vm_settings *s, struct err *e);

#endif
