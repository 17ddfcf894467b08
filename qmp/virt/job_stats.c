/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/job_stats.h"

#include "core/clock.h"

static uint64_t job_param(virTypedParameterPtr params, int n, const char *name)
{
    unsigned long long value = 0;
    int count = 0;
    if (virTypedParamsGetULLong(params, n, name, &value) == 1)
        return value;
    return virTypedParamsGetInt(params, n, name, &count) == 1 && count > 0 ? (uint64_t)count : 0;
}

static void job_read(virTypedParameterPtr params, int n, struct virt_job_stats *stats)
{
    uint64_t page_bytes = job_param(params, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
    *stats = (struct virt_job_stats){
        .outgoing = job_param(params, n, VIR_DOMAIN_JOB_OPERATION) ==
                    VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        .total_ns = (int64_t)job_param(params, n, VIR_DOMAIN_JOB_TIME_ELAPSED) * NS_PER_MS,
        .sample =
            {
                .migration = VM_MIGRATION_COMPLETED,
                .ram_total_bytes = job_param(params, n, VIR_DOMAIN_JOB_MEMORY_TOTAL),
                .ram_transferred_bytes = job_param(params, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED),
                .ram_handled_bytes = page_bytes *
                                     (job_param(params, n, VIR_DOMAIN_JOB_MEMORY_CONSTANT) +
                                      job_param(params, n, VIR_DOMAIN_JOB_MEMORY_NORMAL)),
                .downtime_ns = (int64_t)job_param(params, n, VIR_DOMAIN_JOB_DOWNTIME) * NS_PER_MS,
            },
    };
}

int virt_job_completed(const struct virt_domain *d, struct virt_job_stats *stats, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(d, e);
    virTypedParameterPtr params = NULL;
    int type = VIR_DOMAIN_JOB_NONE, n = 0;
    if (dom == NULL)
        return -1;
    if (virDomainGetJobStats(dom, &type, &params, &n,
                             VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED) <
        0)
        return virt_host_fail(d->host, e, "cannot read the last job");
    job_read(params, n, stats);
    virTypedParamsFree(params, n);
    return type == VIR_DOMAIN_JOB_COMPLETED && stats->sample.ram_total_bytes > 0
               ? 0
               : err_set(e, ERR_VIRT, 0, "%s: libvirt has kept no record of its migration",
                         d->name);
}
