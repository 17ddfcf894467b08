/* SPDX-License-Identifier: Apache-2.0 */
/* Networks, bridges, host interfaces and pools that the domain names: whether they are there. */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"

static void net_network(struct check_run *r, const char *name)
{
    char what[80];
    snprintf(what, sizeof what, "network %s", name);
    virNetworkPtr net = virNetworkLookupByName(r->to.conn, name);
    if (net == NULL && !virt_last_error_is(VIR_ERR_NO_NETWORK)) {
        check_skip(r, &r->to, what, "cannot look up the network");
        return;
    }
    int active = net != NULL ? virNetworkIsActive(net) : 0;
    if (net != NULL)
        virNetworkFree(net);
    if (active > 0) {
        check_list_add(r->l, CHECK_OK, what, "it is active on %s", r->to.name);
    } else if (net != NULL) {
        check_list_add(r->l, CHECK_REFUSE, what, "it is not active on %s", r->to.name);
        check_list_fix(r->l, "virsh -c %s net-start %s", r->to.uri, name);
    } else {
        check_list_add(r->l, CHECK_REFUSE, what, "it does not exist on %s", r->to.name);
        check_list_fix(r->l,
                       "virsh -c %s net-dumpxml %s > /tmp/net.xml && virsh -c %s net-define "
                       "/tmp/net.xml && virsh -c %s net-start %s",
                       r->from.uri, name, r->to.uri, r->to.uri, name);
    }
}

/* libvirt may be built without an interface driver, and its list of devices may lack some: what
 * it shows is there, and what it does not show may be all the same. */
static bool net_libvirt_shows(const struct check_run *r, const char *name)
{
    char prefix[80];
    snprintf(prefix, sizeof prefix, "net_%s_", name);
    for (int i = 0; i < r->there->devices_n; i++)
        if (strncmp(virNodeDeviceGetName(r->there->devices[i]), prefix, strlen(prefix)) == 0)
            return true;
    for (int i = 0; i < r->there->interfaces_n; i++)
        if (strcmp(virInterfaceGetName(r->there->interfaces[i]), name) == 0)
            return true;
    return false;
}

/* 1, 0, or -1: not known. */
static int net_shell_shows(struct check_run *r, const char *name, bool bridge)
{
    char script[200], said[200];
    struct err e = {0};
    if (!check_may_shell(r, &r->to) || strchr(name, '/') != NULL)
        return -1;
    const char *quoted = text_shell_word(name);
    snprintf(script, sizeof script, "test -d /sys/class/net/%s%s", quoted, bridge ? "/bridge" : "");
    int status = shell_run(&r->to.shell, script, said, sizeof said, CHECK_SHELL_NS, &e);
    if (status >= 0 && bridge && status != 0) { /* Open vSwitch's are no bridges to the kernel */
        snprintf(script, sizeof script, "ovs-vsctl --timeout=3 br-exists %s", quoted);
        status = shell_run(&r->to.shell, script, said, sizeof said, CHECK_SHELL_NS, &e);
    }
    return status < 0 ? -1 : status == 0;
}

static void net_interface(struct check_run *r, const char *name, bool bridge)
{
    char what[80];
    const char *kind = bridge ? "bridge" : "interface";
    snprintf(what, sizeof what, "%s %s", kind, name);
    int shows = net_libvirt_shows(r, name) ? 1 : net_shell_shows(r, name, bridge);
    if (shows > 0) {
        check_list_add(r->l, CHECK_OK, what, "it exists on %s", r->to.name);
    } else if (shows < 0) {
        check_list_add(r->l, CHECK_WARN, what,
                       "libvirt on %s does not show it, which proves "
                       "nothing",
                       r->to.name);
        check_fix_there(r->l, &r->to.shell, "ip -d link");
    } else {
        check_list_add(r->l, CHECK_REFUSE, what, "there is no %s %s on %s", kind, name, r->to.name);
        if (bridge)
            check_fix_there(r->l, &r->to.shell, "ip link add %s type bridge && ip link set %s up",
                            name, name);
        else
            check_fix_there(r->l, &r->to.shell, "ip link show");
    }
}

/* True the first time that a value is met: several cards may be on one bridge. */
static bool net_is_first(struct check_run *r, const struct xml_nodes *nodes, size_t i,
                         const char *name)
{
    for (size_t k = 0; k < i; k++) {
        CLEANUP_FREE char *before = xml_value(r->xml, nodes->at[k], ".");
        if (before != NULL && strcmp(before, name) == 0)
            return false;
    }
    return true;
}

static void net_each(struct check_run *r, const char *xpath,
                     void (*fn)(struct check_run *r, const char *name))
{
    CLEANUP_NODES struct xml_nodes nodes = xml_select(r->xml, NULL, xpath);
    for (size_t i = 0; i < nodes.n; i++) {
        CLEANUP_FREE char *name = xml_value(r->xml, nodes.at[i], ".");
        if (name != NULL && net_is_first(r, &nodes, i, name))
            fn(r, name);
    }
}

static void net_bridge(struct check_run *r, const char *name)
{
    net_interface(r, name, true);
}

static void net_direct(struct check_run *r, const char *name)
{
    net_interface(r, name, false);
}

void check_networks(struct check_run *r)
{
    if (r->same_host)
        return;
    net_each(r, "/domain/devices/interface[@type='network']/source/@network", net_network);
    net_each(r, "/domain/devices/interface[@type='bridge']/source/@bridge", net_bridge);
    net_each(r, "/domain/devices/interface[@type='direct']/source/@dev", net_direct);
}

static void net_pool(struct check_run *r, const char *name)
{
    char what[80];
    snprintf(what, sizeof what, "pool %s", name);
    virStoragePoolPtr pool = virStoragePoolLookupByName(r->to.conn, name);
    if (pool == NULL && !virt_last_error_is(VIR_ERR_NO_STORAGE_POOL)) {
        check_skip(r, &r->to, what, "cannot look up the pool");
        return;
    }
    int active = pool != NULL ? virStoragePoolIsActive(pool) : 0;
    if (pool != NULL)
        virStoragePoolFree(pool);
    if (active > 0) {
        check_list_add(r->l, CHECK_OK, what, "it is active on %s", r->to.name);
    } else if (pool != NULL) {
        check_list_add(r->l, CHECK_REFUSE, what, "it is not active on %s", r->to.name);
        check_list_fix(r->l, "virsh -c %s pool-start %s", r->to.uri, name);
    } else {
        check_list_add(r->l, CHECK_REFUSE, what, "it does not exist on %s", r->to.name);
        check_list_fix(r->l,
                       "virsh -c %s pool-dumpxml %s > /tmp/pool.xml && virsh -c %s "
                       "pool-define /tmp/pool.xml && virsh -c %s pool-start %s",
                       r->from.uri, name, r->to.uri, r->to.uri, name);
    }
}

void check_pools(struct check_run *r)
{
    if (!r->same_host)
        net_each(r, "/domain/devices/disk/source/@pool", net_pool);
}
