/* SPDX-License-Identifier: Apache-2.0 */
/* One virDomainMigrate3(), which blocks, in a thread of its own. */
#ifndef QMP_VIRT_NATIVE_JOB_H
#define QMP_VIRT_NATIVE_JOB_H

#include "qmp/virt/move.h"

struct native_job;

/* Called from the loop, once, when it has ended. */
typedef void native_job_fn(void *arg);

/* Begins. `on_end` comes from a later turn of the loop. */
struct native_job *native_job_start(struct loop *loop, const struct virt_move *m,
                                    const struct vm_settings *s, native_job_fn *on_end, void *arg,
                                    struct err *e);

bool native_job_ended(const struct native_job *j);

/* Of one that has ended: 0: libvirt says that the guest has moved; -1 with its error. */
int native_job_result(const struct native_job *j, struct err *e);

/* Asks libvirt to give it up, and turns the loop until it has ended, either way. ERR_TIMEOUT. */
int native_job_abort(struct native_job *j, int64_t timeout_ns, struct err *e);

/* One that has not ended goes on, unwatched. NULL is fine. */
void native_job_close(struct native_job *j);

#endif
