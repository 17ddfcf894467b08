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
#include "qmp/link.h"
#include "qmp/shell.h"

struct qmp_process {
    int64_t pid; /* 0: not known */
    uint64_t start_ticks;
    char boot[40], space[40]; /* of its machine; the PID namespace in which it was looked for */
    struct shell shell;       /* of its machine */
};

/*
 * The process that answers on this link, and whose first vCPU is `thread`, as query-cpus-fast has said: the
 * one that has the other end of the connection, and a thread of that number in its own PID namespace. No
 * program's name counts. p->pid is 0 where that is not exactly one: a proxy or a manager has the socket, the
 * link leads to another machine without ssh, or whoever looks must not see its descriptors. Here
 * the process must be seen from our PID namespace. End with qmp_process_close().
 */
void qmp_process_find(struct qmp_process *p, const struct qmp_endpoint *ep,
                      const struct qmp_link *l, int64_t thread);

/* Whether the known process is what answers on this new link, with `thread`: 1; 0: another; -1: not known. */
int qmp_process_answers(struct qmp_process *p, const struct qmp_endpoint *ep,
                        const struct qmp_link *l, int64_t thread);

/* LIVES, PROCESS_GONE, REBOOTED, or NO_ANSWER where nobody could look. Blocks for some seconds at
 * most. A process that is dead and not yet waited for is gone. */
enum vm_death qmp_process_look(struct qmp_process *p);

void qmp_process_close(struct qmp_process *p);

#endif
