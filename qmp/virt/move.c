/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/move.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/incoming.h"

/* The name by which the source's QEMU shall reach the destination's. */
static int move_find_stream_host(struct virt_move *m, struct err *e)
{
    if (m->options->stream_host != NULL) {
        snprintf(m->stream_host, sizeof m->stream_host, "%s", m->options->stream_host);
        return 0;
    }
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(m->destination_host, e);
    if (conn == NULL)
        return -1;
    CLEANUP_FREE char *name = virConnectGetHostname(conn);
    if (name == NULL)
        return virt_host_fail(m->destination_host, e, "it does not tell its host's name");
    if (strncmp(name, "localhost", 9) == 0) {
        err_set(e, ERR_REFUSED, 0, "destination: its host calls itself %s", name);
        return err_hint(e, "give the address at which it is reached: --migrateuri tcp://ADDRESS");
    }
    snprintf(m->stream_host, sizeof m->stream_host, "%s", name);
    return 0;
}

static int move_take_definition(struct virt_move *m, struct err *e)
{
    CLEANUP_FREE char *inactive = virt_domain_xml(&m->source, VIR_DOMAIN_XML_INACTIVE, e);
    if (inactive == NULL)
        return -1;
    m->definition = virt_incoming_definition(inactive, m->destination.name, e);
    return m->definition != NULL ? 0 : -1;
}

int virt_move_open(struct virt_move *m, struct virt_host *source, struct virt_host *destination,
                   const struct virt_route_options *options, struct err *e)
{
    *m = (struct virt_move){
        .source_host = source, .destination_host = destination, .options = options};
    if (virt_domain_find(source, options->domain, &m->source, e) < 0)
        return -1;
    m->destination = m->source;
    m->destination.host = destination;
    if (options->dname != NULL)
        m->destination.name = text_keep("%s", options->dname);
    if (move_find_stream_host(m, e) < 0)
        return -1;
    return options->persistent ? move_take_definition(m, e) : 0;
}

void virt_move_close(struct virt_move *m)
{
    free(m->definition);
    m->definition = NULL;
}

void virt_move_tell_by_hand(const struct virt_domain *d, struct vm_by_hand *h)
{
    const char *uri = virt_host_uri(d->host);
    h->look = text_command("virsh -c %s domstate %s --reason", uri, d->name);
    h->end = text_command("virsh -c %s destroy %s", uri, d->name);
    h->go_on = text_command("virsh -c %s resume %s", uri, d->name);
}

int virt_move_foresee(const struct virt_move *m, const struct vm_facts *source,
                      struct vm_facts *destination, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(m->destination_host, e);
    unsigned long v = 0;
    if (conn == NULL)
        return -1;
    if (virConnectGetVersion(conn, &v) < 0)
        return virt_host_fail(m->destination_host, e, "it does not tell its QEMU's version");
    *destination = *source;
    destination->version[0] = (int)(v / 1000000);
    destination->version[1] = (int)(v / 1000 % 1000);
    destination->version[2] = (int)(v % 1000);
    snprintf(destination->hypervisor, sizeof destination->hypervisor, "QEMU %d.%d.%d",
             destination->version[0], destination->version[1], destination->version[2]);
    destination->run = VM_RUN_INCOMING;
    destination->migration = VM_MIGRATION_NONE;
    destination->peer_pid = 0;
    return 0;
}

static int move_define(const struct virt_move *m, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(m->destination_host, e);
    if (conn == NULL)
        return -1;
    CLEANUP_DOMAIN virDomainPtr dom = virDomainDefineXMLFlags(conn, m->definition, 0);
    return dom != NULL ? 0 : virt_host_fail(m->destination_host, e, "cannot define the domain");
}

static int move_undefine(const struct virt_move *m, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&m->source, e);
    if (dom == NULL) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e); /* a transient one is forgotten with its end */
        return 0;
    }
    if (virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                                        VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                        VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0)
        return virt_host_fail(m->source_host, e, "cannot undefine the domain");
    return 0;
}

int virt_move_definition(const struct virt_move *m, struct err *e)
{
    struct err second = {0};
    if (m->options->persistent && move_define(m, e) < 0)
        return -1; /* then the source keeps its own: it is the only one */
    if (m->options->undefine_source && move_undefine(m, &second) < 0) {
        *e = second;
        return -1;
    }
    return 0;
}
