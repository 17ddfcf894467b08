/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt keeps of a domain's last job. */
#ifndef QMP_VIRT_JOB_STATS_H
#define QMP_VIRT_JOB_STATS_H

#include "core/migrate/vm.h"
#include "qmp/virt/domain.h"

struct virt_job_stats {
    bool outgoing; /* of the source; false: libvirt of the destination keeps them, too */
    int64_t total_ns;
    /* what was sent and handled, the total, the downtime (libvirt's count); completed, nothing left. Not
     * the passes: libvirt's "iteration" is QEMU's dirty-sync-count */
    struct vm_sample sample;
};

/* Of a migration that has completed. ERR_VIRT: nothing is kept. */
int virt_job_completed(const struct virt_domain *d, struct virt_job_stats *stats, struct err *e);

#endif
