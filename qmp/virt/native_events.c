/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The domain does not exist yet, so those of all domains of the connection are heard, in libvirt's event
 * thread. libvirt may be in a callback while the owner closes: to deregister one does not wait for it.
 * So each callback holds a reference of its own, which libvirt gives back when it will not call any more,
 * and what it reads and writes is all in here.
 */
#include "qmp/virt/native_events.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"

struct native_events {
    atomic_int refs;
    char uuid[VIRT_UUID_TEXT];
    virConnectPtr conn;
    int qemu, lifecycle; /* callback ids; -1: not registered */
    _Atomic int64_t resumed_ns, stopped_ns;
    atomic_int made;
};

static void events_put(void *arg)
{
    struct native_events *v = arg;
    if (atomic_fetch_sub(&v->refs, 1) == 1)
        free(v);
}

static struct native_events *events_get(struct native_events *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

/* ---- in libvirt's event thread ---- */

static bool events_of_ours(const struct native_events *v, virDomainPtr dom)
{
    char uuid[VIRT_UUID_TEXT];
    return virDomainGetUUIDString(dom, uuid) == 0 && strcmp(uuid, v->uuid) == 0;
}

static void events_on_qemu(virConnectPtr conn, virDomainPtr dom, const char *event,
                           long long seconds, unsigned micros, const char *details, void *arg)
{
    struct native_events *v = arg;
    (void)conn;
    (void)seconds;
    (void)micros;
    (void)details;
    bool resume = strcmp(event, "RESUME") == 0;
    if ((resume || strcmp(event, "STOP") == 0) && events_of_ours(v, dom) &&
        (int)virDomainGetID(dom) == atomic_load(&v->made))
        atomic_store(resume ? &v->resumed_ns : &v->stopped_ns, clock_now_ns());
}

static int events_on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail,
                               void *arg)
{
    struct native_events *v = arg;
    (void)conn;
    if (event == VIR_DOMAIN_EVENT_STARTED && detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED &&
        events_of_ours(v, dom))
        atomic_store(&v->made, (int)virDomainGetID(dom));
    return 0;
}

/* ---- the owner's ---- */

static int events_register(struct native_events *v, const struct virt_domain *d, struct err *e)
{
    v->qemu = virConnectDomainQemuMonitorEventRegister(v->conn, NULL, NULL, events_on_qemu,
                                                       events_get(v), events_put, 0);
    if (v->qemu < 0) {
        log_info("destination: the pause cannot be timed: %s", virGetLastErrorMessage());
        events_put(v);
    }
    v->lifecycle = virConnectDomainEventRegisterAny(v->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                    VIRT_EVENT_CALLBACK(events_on_lifecycle),
                                                    events_get(v), events_put);
    if (v->lifecycle >= 0)
        return 0;
    virt_host_fail(d->host, e, "cannot listen to libvirt's events");
    events_put(v);
    return -1;
}

struct native_events *native_events_open(const struct virt_domain *d, struct err *e)
{
    struct native_events *v = calloc(1, sizeof *v);
    if (v == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for domain %s", d->name);
        return NULL;
    }
    v->qemu = v->lifecycle = -1;
    atomic_init(&v->refs, 1);
    atomic_init(&v->made, -1);
    snprintf(v->uuid, sizeof v->uuid, "%s", d->uuid);
    v->conn = virt_host_connection(d->host, e);
    if (v->conn != NULL && events_register(v, d, e) == 0)
        return v;
    native_events_close(v);
    return NULL;
}

void native_events_close(struct native_events *v)
{
    if (v == NULL)
        return;
    if (v->qemu >= 0)
        virConnectDomainQemuMonitorEventDeregister(v->conn, v->qemu);
    if (v->lifecycle >= 0)
        virConnectDomainEventDeregisterAny(v->conn, v->lifecycle);
    if (v->conn != NULL)
        virConnectClose(v->conn);
    events_put(v);
}

bool native_events_whole(const struct native_events *v)
{
    return v != NULL && virConnectIsAlive(v->conn) == 1;
}

int native_events_made(const struct native_events *v)
{
    return atomic_load(&v->made);
}

void native_events_hear(const struct native_events *v, struct vm_seen *seen)
{
    seen->gap = !native_events_whole(v) || v->qemu < 0;
    seen->resumed_ns = v != NULL ? atomic_load(&v->resumed_ns) : 0;
    seen->stopped_ns = v != NULL ? atomic_load(&v->stopped_ns) : 0;
}
