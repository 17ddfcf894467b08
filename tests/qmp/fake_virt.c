/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_virt.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *fake_virt_title, *fake_virt_element;
bool fake_virt_no_title;
atomic_bool fake_virt_dead;
int fake_virt_deregistrations = -1;

static char here; /* what every handle points to */
static atomic_int connections;
static int domain_id;
static sem_t *let_migrate(void)
{
    static sem_t *s;
    static sem_t room;
    if (s == NULL && sem_init(&room, 0, 0) == 0)
        s = &room;
    return s;
}

static struct {
    void *call;
    void *arg;
    virFreeCallback give_back;
    bool registered, held;
} callbacks[2]; /* of QEMU's events, of lifecycle */

static virConnectPtr a_connection(void)
{
    return (virConnectPtr)(void *)&here;
}

static virDomainPtr a_domain(void)
{
    return (virDomainPtr)(void *)&here;
}

void fake_virt_forget(void)
{
    free(fake_virt_title);
    free(fake_virt_element);
    fake_virt_title = fake_virt_element = NULL;
    fake_virt_no_title = false;
    let_migrate();
}

int fake_virt_connections(void)
{
    return atomic_load(&connections);
}

/* ---- connections and the domain ---- */

virConnectPtr virConnectOpen(const char *name)
{
    (void)name;
    atomic_fetch_add(&connections, 1);
    return a_connection();
}

int virConnectSetKeepAlive(virConnectPtr conn, int interval, unsigned count)
{
    (void)conn;
    (void)interval;
    (void)count;
    return 0;
}

int virConnectIsAlive(virConnectPtr conn)
{
    (void)conn;
    return !atomic_load(&fake_virt_dead);
}

int virConnectRef(virConnectPtr conn)
{
    (void)conn;
    atomic_fetch_add(&connections, 1);
    return 0;
}

int virConnectClose(virConnectPtr conn)
{
    (void)conn;
    return atomic_fetch_sub(&connections, 1) - 1;
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr conn, const char *uuid)
{
    (void)conn;
    (void)uuid;
    return a_domain();
}

virConnectPtr virDomainGetConnect(virDomainPtr dom)
{
    (void)dom;
    return a_connection();
}

int virDomainRef(virDomainPtr dom)
{
    (void)dom;
    return 0;
}

int virDomainFree(virDomainPtr dom)
{
    (void)dom;
    return 0;
}

int virDomainIsActive(virDomainPtr dom)
{
    (void)dom;
    return 1;
}

int virDomainGetUUIDString(virDomainPtr dom, char *buf)
{
    (void)dom;
    strcpy(buf, FAKE_VIRT_UUID);
    return 0;
}

unsigned virDomainGetID(virDomainPtr dom)
{
    (void)dom;
    return (unsigned)domain_id;
}

char *virDomainGetMetadata(virDomainPtr dom, int type, const char *uri, unsigned flags)
{
    (void)dom;
    (void)uri;
    (void)flags;
    const char *text = type == VIR_DOMAIN_METADATA_TITLE ? fake_virt_title : fake_virt_element;
    return text != NULL ? strdup(text) : NULL;
}

int virDomainSetMetadata(virDomainPtr dom, int type, const char *metadata, const char *key,
                         const char *uri, unsigned flags)
{
    (void)dom;
    (void)key;
    (void)uri;
    (void)flags;
    char **text = type == VIR_DOMAIN_METADATA_TITLE ? &fake_virt_title : &fake_virt_element;
    if (type == VIR_DOMAIN_METADATA_TITLE && fake_virt_no_title)
        return -1;
    free(*text);
    *text = metadata != NULL ? strdup(metadata) : NULL;
    return 0;
}

/* ---- a migration ---- */

virDomainPtr virDomainMigrate3(virDomainPtr dom, virConnectPtr to, virTypedParameterPtr params,
                               unsigned n, unsigned flags)
{
    (void)dom;
    (void)to;
    (void)params;
    (void)n;
    (void)flags;
    sem_wait(let_migrate());
    return NULL;
}

void fake_virt_let_migrate(void)
{
    sem_post(let_migrate());
}

int virDomainAbortJob(virDomainPtr dom)
{
    (void)dom;
    return 0;
}

/* ---- events ---- */

static int fake_register(int i, void *call, void *arg, virFreeCallback give_back)
{
    callbacks[i].call = call;
    callbacks[i].arg = arg;
    callbacks[i].give_back = give_back;
    callbacks[i].registered = callbacks[i].held = true;
    return i;
}

int virConnectDomainQemuMonitorEventRegister(virConnectPtr conn, virDomainPtr dom,
                                             const char *event,
                                             virConnectDomainQemuMonitorEventCallback cb,
                                             void *opaque, virFreeCallback give_back,
                                             unsigned flags)
{
    (void)conn;
    (void)dom;
    (void)event;
    (void)flags;
    return fake_register(0, (void *)cb, opaque, give_back);
}

int virConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int event,
                                     virConnectDomainEventGenericCallback cb, void *opaque,
                                     virFreeCallback give_back)
{
    (void)conn;
    (void)dom;
    (void)event;
    return fake_register(1, (void *)cb, opaque, give_back);
}

static int fake_deregister(int i)
{
    if (fake_virt_deregistrations >= 0) {
        (void)!write(fake_virt_deregistrations, "b", 1);
        usleep(200000);
        (void)!write(fake_virt_deregistrations, "e", 1);
    }
    callbacks[i].registered = false;
    return 0;
}

int virConnectDomainQemuMonitorEventDeregister(virConnectPtr conn, int id)
{
    (void)conn;
    return fake_deregister(id);
}

int virConnectDomainEventDeregisterAny(virConnectPtr conn, int id)
{
    (void)conn;
    return fake_deregister(id);
}

int fake_virt_callbacks(void)
{
    return callbacks[0].held + callbacks[1].held;
}

void fake_virt_say_made(int id)
{
    domain_id = id;
    if (callbacks[1].held)
        ((virConnectDomainEventCallback)callbacks[1].call)(a_connection(), a_domain(),
                                                           VIR_DOMAIN_EVENT_STARTED,
                                                           VIR_DOMAIN_EVENT_STARTED_MIGRATED,
                                                           callbacks[1].arg);
}

void fake_virt_say(const char *event)
{
    if (callbacks[0].held)
        ((virConnectDomainQemuMonitorEventCallback)callbacks[0].call)(
            a_connection(), a_domain(), event, 0, 0, NULL, callbacks[0].arg);
}

int fake_virt_give_back(void)
{
    int given = 0;
    for (int i = 0; i < 2; i++)
        if (callbacks[i].held && !callbacks[i].registered) {
            callbacks[i].held = false;
            if (callbacks[i].give_back == NULL)
                continue;
            callbacks[i].give_back(callbacks[i].arg);
            given++;
        }
    return given;
}
