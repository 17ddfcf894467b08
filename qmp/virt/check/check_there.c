/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/check/check_there.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/virt/at_once.h"
#include "qmp/virt/check/check_run.h"

static void there_failed(struct check_there *t, enum check_question q)
{
    t->errors[q] = virSaveLastError();
}

/* ---- the questions ---- */

/* These three the host keeps; why one has no answer it says to whoever asks it later. */
static void there_ask_host_name(void *arg)
{
    struct err ignored = {0};
    virt_host_name(((struct check_there *)arg)->host, &ignored);
}

static void there_ask_capabilities(void *arg)
{
    struct err ignored = {0};
    virt_host_capabilities(((struct check_there *)arg)->host, &ignored);
}

static void there_ask_version(void *arg)
{
    struct err ignored = {0};
    virt_host_qemu_version(((struct check_there *)arg)->host, &ignored);
}

static void there_ask_uuid(void *arg)
{
    struct check_there *t = arg;
    t->by_uuid = virDomainLookupByUUIDString(t->conn, t->uuid);
    if (t->by_uuid == NULL)
        there_failed(t, CHECK_ASK_UUID);
}

static void there_ask_name(void *arg)
{
    struct check_there *t = arg;
    t->by_name = virDomainLookupByName(t->conn, t->dname);
    if (t->by_name == NULL)
        there_failed(t, CHECK_ASK_NAME);
}

static void there_ask_machine(void *arg)
{
    struct check_there *t = arg;
    t->domain_capabilities =
        virConnectGetDomainCapabilities(t->conn, t->emulator, t->arch, t->machine, t->type, 0);
    if (t->domain_capabilities == NULL)
        there_failed(t, CHECK_ASK_MACHINE);
}

static void there_ask_cpu(void *arg)
{
    struct check_there *t = arg;
    if (t->cpu == NULL)
        return;
    t->cpu_compared =
        t->cpu_of_host
            ? virConnectCompareCPU(t->conn, t->cpu, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
            : virConnectCompareHypervisorCPU(t->conn, t->emulator, t->arch, t->machine, t->type,
                                             t->cpu, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE);
    if (t->cpu_compared == VIR_CPU_COMPARE_ERROR)
        there_failed(t, CHECK_ASK_CPU);
}

/* Linux has four, and whoever asks for another number of them is told how many by a second call.
 * Source: libvirt 9.0, src/util/virhostmem.c, virHostMemGetStats(). */
static void there_ask_memory(void *arg)
{
    struct check_there *t = arg;
    t->memory_n = 4;
    if (virNodeGetMemoryStats(t->conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, t->memory, &t->memory_n,
                              0) == 0)
        return;
    t->memory_n = 0;
    if (virNodeGetMemoryStats(t->conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &t->memory_n, 0) ==
            0 &&
        t->memory_n > 0 && t->memory_n <= CHECK_MEMORY_STATS &&
        virNodeGetMemoryStats(t->conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, t->memory, &t->memory_n,
                              0) == 0)
        return;
    t->memory_n = -1;
    there_failed(t, CHECK_ASK_MEMORY);
}

static void there_ask_node(void *arg)
{
    struct check_there *t = arg;
    t->node_known = virNodeGetInfo(t->conn, &t->node) == 0;
    if (!t->node_known)
        there_failed(t, CHECK_ASK_NODE);
}

static void there_ask_devices(void *arg)
{
    struct check_there *t = arg;
    if (t->devices_asked)
        t->devices_n = virConnectListAllNodeDevices(t->conn, &t->devices,
                                                    VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET);
}

static void there_ask_interfaces(void *arg)
{
    struct check_there *t = arg;
    if (t->devices_asked)
        t->interfaces_n = virConnectListAllInterfaces(t->conn, &t->interfaces, 0);
}

/* ---- all of them ---- */

static char *there_copy(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

static char *there_element(xmlNodePtr node)
{
    CLEANUP_XML xmlDocPtr alone = xmlNewDoc(BAD_CAST "1.0");
    xmlDocSetRootElement(alone, xmlCopyNode(node, 1));
    return xml_text(alone);
}

/* host-passthrough: the guest sees the host's own CPU, so the hosts are compared. */
static void there_take_cpu(struct check_there *t, const struct check_run *r)
{
    struct err ignored = {0};
    xmlNodePtr cpu = xml_first(r->xml, NULL, "/domain/cpu");
    t->cpu_of_host = check_cpu_is_of_host(r);
    if (!t->cpu_of_host) {
        t->cpu = cpu != NULL && xml_has(r->xml, cpu, "model") ? there_element(cpu) : NULL;
        return;
    }
    const char *text = virt_host_capabilities(r->from.host, &ignored);
    CLEANUP_XML xmlDocPtr doc = text != NULL ? xml_parse(text, "the capabilities", &ignored) : NULL;
    cpu = doc != NULL ? xml_first(doc, NULL, "/capabilities/host/cpu") : NULL;
    t->cpu = cpu != NULL ? there_element(cpu) : NULL;
}

struct check_there *check_there_ask(const struct check_run *r, struct err *e)
{
    static virt_ask_fn
        *const asks[] =
            {
                there_ask_uuid,    there_ask_name,         there_ask_machine,
                there_ask_cpu,     there_ask_memory,       there_ask_node,
                there_ask_devices, there_ask_interfaces,   there_ask_host_name,
                there_ask_version, there_ask_capabilities, /* the slowest last: none waits behind it */
            };
    struct check_there *t = calloc(1, sizeof *t);
    if (t == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the checks");
        return NULL;
    }
    t->host = virt_host_ref(r->to.host);
    t->conn = r->to.conn;
    virConnectRef(t->conn);
    memcpy(t->uuid, r->domain->uuid, sizeof t->uuid);
    t->dname = there_copy(r->dname);
    t->emulator = there_copy(r->emulator);
    t->arch = there_copy(r->arch);
    t->machine = there_copy(r->machine);
    t->type = there_copy(r->type);
    there_take_cpu(t, r);
    t->devices_asked =
        xml_has(r->xml, NULL, "/domain/devices/interface[@type='bridge' or @type='direct']");
    return virt_at_once_end(virt_at_once_begin(r->to.host, asks, sizeof asks / sizeof *asks, t,
                                               (void (*)(void *))check_there_free, e),
                            e);
}

void check_there_free(struct check_there *t)
{
    if (t == NULL)
        return;
    if (t->by_uuid != NULL)
        virDomainFree(t->by_uuid);
    if (t->by_name != NULL)
        virDomainFree(t->by_name);
    for (int i = 0; i < t->devices_n; i++)
        virNodeDeviceFree(t->devices[i]);
    for (int i = 0; i < t->interfaces_n; i++)
        virInterfaceFree(t->interfaces[i]);
    for (int i = 0; i < CHECK_ASK_QUESTIONS; i++)
        virFreeError(t->errors[i]);
    free(t->devices);
    free(t->interfaces);
    free(t->domain_capabilities);
    free(t->dname);
    free(t->emulator);
    free(t->arch);
    free(t->machine);
    free(t->type);
    free(t->cpu);
    virConnectClose(t->conn);
    virt_host_close(t->host);
    free(t);
}

bool check_there_error_is(const struct check_there *t, enum check_question q, int code)
{
    return t->errors[q] != NULL && t->errors[q]->code == code;
}

const char *check_there_words(const struct check_there *t, enum check_question q,
                              const char *otherwise)
{
    return t->errors[q] != NULL && t->errors[q]->message != NULL ? t->errors[q]->message
                                                                 : otherwise;
}

void check_there_skip(struct check_run *r, enum check_question q, const char *what,
                      const char *tried)
{
    struct err e = {0};
    virt_host_fail_by(r->to.host, r->there->errors[q], &e, tried);
    check_skip_err(r->l, what, &e);
}
