/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The thread makes the one call, notes what came of it, and writes to an eventfd, which the loop
 * watches: all but that call happens in the loop's thread. The result is read only after the
 * eventfd was. Thread and owner hold a reference each, for either may be gone first: a call that
 * libvirt does not end can't be ended from here, and outlives its owner and what that was lent. So the
 * job has a reference of its own to all that the thread touches, the source's host included.
 */
#include "qmp/virt/native_job.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/virt/native_set.h"

/* How often the abort is asked for again, where libvirt was not in a state to take it. */
#define JOB_ABORT_NS (500 * NS_PER_MS)
#define MIB (UINT64_C(1) << 20)

struct native_job {
    atomic_int refs;
    struct loop *loop;
    struct loop_fd *watch;
    int eventfd;
    bool ended;
    native_job_fn *on_end;
    void *arg;
    struct virt_domain source;

    /* the thread's, until the eventfd is written to */
    virDomainPtr dom;
    virConnectPtr to;
    virTypedParameterPtr params;
    int params_n, params_max;
    unsigned flags;
    struct err result;
};

static void job_put(struct native_job *j)
{
    if (atomic_fetch_sub(&j->refs, 1) > 1)
        return;
    virTypedParamsFree(j->params, j->params_n);
    if (j->dom != NULL)
        virDomainFree(j->dom);
    if (j->to != NULL)
        virConnectClose(j->to);
    virt_host_close(j->source.host);
    close(j->eventfd);
    free(j);
}

static void *job_thread(void *arg)
{
    struct native_job *j = arg;
    const uint64_t one = 1;
    virDomainPtr moved =
        virDomainMigrate3(j->dom, j->to, j->params, (unsigned)j->params_n, j->flags);
    if (moved == NULL)
        virt_host_fail(j->source.host, &j->result, "libvirt's migration has failed");
    else
        virDomainFree(moved);
    (void)!write(j->eventfd, &one, sizeof one);
    job_put(j);
    return NULL;
}

static void job_on_end(void *arg, uint32_t events)
{
    struct native_job *j = arg;
    (void)events;
    loop_fd_del(j->watch);
    j->watch = NULL;
    j->ended = true;
    log_info("libvirt's migration has ended%s%s", j->result.class != ERR_NONE ? ": " : "",
             j->result.msg);
    j->on_end(j->arg);
}

/* ---- what libvirt is asked to do ---- */

static void job_add_text(struct native_job *j, const char *name, const char *value)
{
    virTypedParamsAddString(&j->params, &j->params_n, &j->params_max, name, value);
}

static void job_set_flags(struct native_job *j, const struct virt_move *m,
                          const struct vm_settings *s)
{
    j->flags = VIR_MIGRATE_LIVE;
    if (m->options->persistent)
        j->flags |= VIR_MIGRATE_PERSIST_DEST;
    if (m->options->undefine_source)
        j->flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
    if (m->options->unsafe)
        j->flags |= VIR_MIGRATE_UNSAFE;
    if (s->postcopy)
        j->flags |= VIR_MIGRATE_POSTCOPY;
    if (s->multifd_channels > 0)
        j->flags |= VIR_MIGRATE_PARALLEL;
}

static void job_set_params(struct native_job *j, const struct virt_move *m,
                           const struct vm_settings *s)
{
    char uri[VIRT_ADDRESS_HOST + 16];
    if (m->clean_xml != NULL)
        job_add_text(j, VIR_MIGRATE_PARAM_DEST_XML, m->clean_xml);
    if (m->options->dname != NULL)
        job_add_text(j, VIR_MIGRATE_PARAM_DEST_NAME, m->options->dname);
    if (m->options->persistent)
        job_add_text(j, VIR_MIGRATE_PARAM_PERSIST_XML, m->definition);
    /* what was looked at is what is used, also where libvirt would have come to the same; the port is
     * libvirt's choice, out of its qemu.conf, where none was given */
    virt_address_uri(uri, sizeof uri, "tcp://", m->address.host);
    if (m->options->stream_port > 0)
        snprintf(uri + strlen(uri), sizeof uri - strlen(uri), ":%u", m->options->stream_port);
    job_add_text(j, VIR_MIGRATE_PARAM_URI, uri);
    if (s->max_bandwidth_bytes_per_s > 0)
        virTypedParamsAddULLong(&j->params, &j->params_n, &j->params_max,
                                VIR_MIGRATE_PARAM_BANDWIDTH,
                                (s->max_bandwidth_bytes_per_s + MIB - 1) / MIB);
    if (s->multifd_channels > 0)
        virTypedParamsAddInt(&j->params, &j->params_n, &j->params_max,
                             VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, (int)s->multifd_channels);
}

/* ---- the life of one ---- */

static int job_begin(struct native_job *j, const struct virt_move *m, struct err *e)
{
    j->watch = loop_fd_add(j->loop, j->eventfd, EPOLLIN, job_on_end, j, e);
    if (j->watch == NULL || (j->dom = virt_domain_get(&m->source, e)) == NULL ||
        (j->to = virt_host_connection(m->destination_host, e)) == NULL)
        return -1;
    atomic_fetch_add(&j->refs, 1);
    int sys = virt_thread(job_thread, j);
    if (sys == 0)
        return 0;
    atomic_fetch_sub(&j->refs, 1);
    return err_set(e, ERR_IO, sys, "cannot start a thread");
}

struct native_job *native_job_start(struct loop *loop, const struct virt_move *m,
                                    const struct vm_settings *s, native_job_fn *on_end, void *arg,
                                    struct err *e)
{
    struct native_job *j = calloc(1, sizeof *j);
    int fd = eventfd(0, EFD_CLOEXEC);
    if (j == NULL || fd < 0) {
        err_set(e, ERR_IO, j == NULL ? ENOMEM : errno, "cannot start the migration's thread");
        free(j);
        return NULL;
    }
    *j = (struct native_job){
        .refs = 1, .loop = loop, .eventfd = fd, .on_end = on_end, .arg = arg, .source = m->source};
    virt_host_ref(j->source.host);
    job_set_flags(j, m, s);
    job_set_params(j, m, s);
    native_set_tell(s, &j->flags, &j->params, &j->params_n, &j->params_max);
    if (job_begin(j, m, e) < 0) {
        native_job_close(j);
        return NULL;
    }
    return j;
}

bool native_job_ended(const struct native_job *j)
{
    return j->ended;
}

int native_job_result(const struct native_job *j, struct err *e)
{
    if (j->result.class == ERR_NONE)
        return 0;
    *e = j->result;
    return -1;
}

int native_job_abort(struct native_job *j, int64_t timeout_ns, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + timeout_ns;
    while (!j->ended) {
        struct err none = {0};
        CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&j->source, &none);
        if (dom != NULL && virDomainAbortJob(dom) < 0)
            log_debug("libvirt: %s", virGetLastErrorMessage());
        int64_t until_ns = clock_now_ns() + JOB_ABORT_NS;
        while (!j->ended && clock_now_ns() < until_ns)
            loop_turn(j->loop, until_ns - clock_now_ns());
        if (!j->ended && clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "libvirt did not end its migration in time");
    }
    return 0;
}

void native_job_close(struct native_job *j)
{
    if (j == NULL)
        return;
    loop_fd_del(j->watch);
    job_put(j);
}
