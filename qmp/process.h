/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QEMU's process, on this machine or where ssh leads: known by pid, start time and the boot of its
 * machine, so that whether it is gone can be proven. A pid alone may be another's by then.
 * Source of facts: proc(5); qapi/machine.json, CpuInfoFast.thread-id is a host thread.
 */
#ifndef QMP_PROCESS_H
#define QMP_PROCESS_H

#include <stdint.h>

#include "core/migrate/vm.h"
#include "qmp/endpoint.h"
#include "qmp/shell.h"

struct qmp_process {
    int64_t pid; /* 0: not known */
    uint64_t start_ticks;
    char boot[40];
    struct shell shell; /* of its machine */
};

/* The process of `thread`, if that is a QEMU's on the endpoint's machine; else p->pid is 0, as where
 * nobody can look (no ssh, another PID namespace). End with qmp_process_close(). */
void qmp_process_find(struct qmp_process *p, const struct qmp_endpoint *ep, int64_t thread);

/* LIVES, PROCESS_GONE, REBOOTED, or NO_ANSWER where nobody could look. Blocks for some seconds at
 * most. A process that is dead and not yet waited for is gone. */
enum vm_death qmp_process_look(struct qmp_process *p);

void qmp_process_close(struct qmp_process *p);

#endif
