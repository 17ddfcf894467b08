/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A domain that runs has a monitor (qmp/virt/monitor.h), and needs no more than its endpoint.
 *
 * One that does not exist yet can only be listened for: libvirt tells the events of all domains of
 * the connection, in a thread of its own, and those of that name go as structs through a pipe to the
 * watcher's loop. A struct is smaller than what a pipe takes at once, so it is whole or not there.
 * libvirt may be in the callback while we close: it holds a reference of its own, and gives it back
 * when it is out of it. So what the callback reads is ours, not the opener's.
 */
#include "qmp/virt/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libvirt/libvirt-qemu.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/command.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/job_stats.h"
#include "qmp/virt/monitor.h"

struct virt_watched {
    atomic_int refs;
    struct virt_host *host;
    struct virt_domain domain;
    bool here;

    /* of events only */
    char *name;
    virConnectPtr conn;
    int events; /* callback id; -1: not registered */
    int pipe[2];
};

static void watched_put(void *arg)
{
    struct virt_watched *w = arg;
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    for (int i = 0; i < 2; i++)
        if (w->pipe[i] >= 0)
            close(w->pipe[i]);
    virt_host_close(w->host);
    free(w->name);
    free(w);
}

static struct virt_watched *watched_new(const char *uri, struct err *e)
{
    struct virt_watched *w = calloc(1, sizeof *w);
    if (w == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the connection to %s", uri);
        return NULL;
    }
    *w = (struct virt_watched){
        .refs = 1, .events = -1, .pipe = {-1, -1}, .here = virt_uri_is_here(uri)};
    w->host = virt_host_open(uri, "libvirt", e);
    if (w->host == NULL) {
        watched_put(w);
        return NULL;
    }
    return w;
}

/* In libvirt's event thread. */
static void watched_on_event(virConnectPtr conn, virDomainPtr dom, const char *event,
                             long long seconds, unsigned micros, const char *details, void *arg)
{
    struct virt_watched *w = arg;
    (void)conn;
    if (strcmp(virDomainGetName(dom), w->name) != 0)
        return;
    struct watch_event ev = {.arrived_ns = clock_now_ns(), .here = w->here};
    ev.stamp_ns = watch_stamp(seconds * NS_PER_S + micros * NS_PER_US, ev.arrived_ns);
    snprintf(ev.name, sizeof ev.name, "%s", event);
    struct json_object *data = details != NULL ? json_tokener_parse(details) : NULL;
    qmp_event_detail(event, data, ev.detail, sizeof ev.detail);
    json_object_put(data);
    if (write(w->pipe[1], &ev, sizeof ev) != (ssize_t)sizeof ev)
        log_debug("%s: an event %s was dropped", w->name, event);
}

static void watched_close(void *of)
{
    struct virt_watched *w = of;
    if (w->events >= 0)
        virConnectDomainQemuMonitorEventDeregister(w->conn, w->events);
    if (w->conn != NULL)
        virConnectClose(w->conn);
    watched_put(w);
}

static struct virt_watched *watched_listen(const char *uri, const char *name, struct err *e)
{
    struct virt_watched *w = watched_new(uri, e);
    if (w == NULL)
        return NULL;
    w->name = strdup(name);
    if (w->name == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for %s", name);
        goto failed;
    }
    if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        err_set(e, ERR_IO, errno, "a pipe");
        goto failed;
    }
    w->conn = virt_host_connection(w->host, e);
    if (w->conn == NULL)
        goto failed;
    atomic_fetch_add(&w->refs, 1);
    w->events = virConnectDomainQemuMonitorEventRegister(w->conn, NULL, NULL, watched_on_event, w,
                                                         watched_put, 0);
    if (w->events < 0) {
        virt_host_fail(w->host, e, "cannot listen to QEMU's events");
        watched_put(w);
        goto failed;
    }
    return w;

failed:
    watched_close(w);
    return NULL;
}

static int watched_completed(const void *of, struct watch_sample *s, struct err *e)
{
    const struct virt_watched *w = of;
    struct virt_job_stats stats;
    if (virt_job_completed(&w->domain, &stats, e) < 0)
        return -1;
    if (!stats.outgoing || stats.sample.ram_transferred_bytes < s->vm.ram_transferred_bytes)
        return err_set(e, ERR_VIRT, 0, "%s: nothing is kept of it", w->domain.name);
    s->vm.migration = VM_MIGRATION_COMPLETED;
    s->vm.ram_transferred_bytes = stats.sample.ram_transferred_bytes;
    s->vm.ram_remaining_bytes = 0;
    s->vm.downtime_ns = stats.sample.downtime_ns;
    s->total_ns = stats.total_ns;
    return 0;
}

static struct watch_source watched_source(struct virt_watched *w)
{
    return (struct watch_source){.of = w,
                                 .ep = {.scheme = QMP_CARRIED},
                                 .events_fd = w->pipe[0],
                                 .here = w->here,
                                 .completed = watched_completed,
                                 .close = watched_close};
}

struct watch *virt_watch_domain(struct loop *loop, const char *uri, const char *domain,
                                int64_t timeout_ns, watch_event_fn *on_event, void *arg,
                                struct err *e)
{
    struct virt_watched *w = watched_new(uri, e);
    if (w == NULL)
        return NULL;
    if (virt_domain_find(w->host, domain, &w->domain, e) < 0) {
        watched_put(w);
        return NULL;
    }
    struct watch_source source = watched_source(w);
    virt_monitor_endpoint(&w->domain, &source.ep);
    return watch_open_source(loop, &source, timeout_ns, on_event, arg, e);
}

struct watch *virt_watch_events(struct loop *loop, const char *uri, const char *name,
                                watch_event_fn *on_event, void *arg, struct err *e)
{
    struct virt_watched *w = watched_listen(uri, name, e);
    if (w == NULL)
        return NULL;
    struct watch_source source = watched_source(w);
    return watch_open_source(loop, &source, 0, on_event, arg, e);
}
