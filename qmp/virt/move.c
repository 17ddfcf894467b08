/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/move.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/incoming.h"
#include "qmp/virt/mark.h"

void virt_move_shells_begin(struct virt_move_shells *shells,
                            const struct virt_route_options *options)
{
    virt_host_shell(options->connect, &shells->source);
    virt_host_shell(options->destination_uri, &shells->destination);
    shell_begin(&shells->source);
    if (virt_address_asks_destination(options->stream_host, options->stream_port))
        shell_begin(&shells->destination);
}

void virt_move_shells_close(struct virt_move_shells *shells)
{
    shell_close(&shells->source);
    shell_close(&shells->destination);
}

/* Where the source's QEMU is to reach the destination's. */
static int move_find_address(struct virt_move *m, struct virt_move_shells *shells, struct err *e)
{
    char from_uuid[VIRT_UUID_TEXT], to_uuid[VIRT_UUID_TEXT];
    const char *from = virt_host_name(m->source_host, e);
    const char *to = from != NULL ? virt_host_name(m->destination_host, e) : NULL;
    if (to == NULL || virt_host_uuid(m->source_host, from_uuid, e) < 0 ||
        virt_host_uuid(m->destination_host, to_uuid, e) < 0)
        return -1;
    const struct virt_address_query q = {
        .given = m->options->stream_host,
        .given_port = m->options->stream_port,
        .own_name = to,
        .uri_host = shells->destination.host,
        .source_name = from,
        .source = &shells->source,
        .destination = &shells->destination,
        .same_host = strcmp(from_uuid, to_uuid) == 0,
        .unsafe = m->options->unsafe,
    };
    return virt_address_find(&q, &m->address, e);
}

static int move_take_definition(struct virt_move *m, struct err *e)
{
    CLEANUP_FREE char *inactive = virt_domain_xml(&m->source, VIR_DOMAIN_XML_INACTIVE, e);
    if (inactive == NULL)
        return -1;
    m->definition = virt_incoming_definition(inactive, m->destination.name, e);
    return m->definition != NULL ? 0 : -1;
}

/* libvirt would carry the arguments of an earlier direct migration on in the XML of the running
 * domain. */
static int move_take_clean(struct virt_move *m, struct err *e)
{
    CLEANUP_FREE char *live = virt_domain_xml(&m->source, VIR_DOMAIN_XML_MIGRATABLE, e);
    int leftover = live != NULL ? virt_incoming_leftover(live, e) : -1;
    if (leftover <= 0)
        return leftover;
    m->clean_xml = virt_incoming_definition(live, m->source.name, e);
    return m->clean_xml != NULL ? 0 : -1;
}

int virt_move_find(struct virt_move *m, struct virt_host *source,
                   const struct virt_route_options *options, struct err *e)
{
    *m = (struct virt_move){.source_host = source, .options = options};
    if (virt_domain_find(source, options->domain, &m->source, e) < 0)
        return -1;
    m->destination = m->source;
    if (options->dname != NULL)
        m->destination.name = text_keep("%s", options->dname);
    return 0;
}

int virt_move_open(struct virt_move *m, struct virt_host *destination,
                   struct virt_move_shells *shells, struct err *e)
{
    m->destination_host = m->destination.host = destination;
    if (move_find_address(m, shells, e) < 0)
        return -1;
    m->source_instance = virt_domain_instance(&m->source, e);
    if (e->class != ERR_NONE)
        return -1;
    virt_mark_draw(m->id);
    return move_take_clean(m, e) < 0 ? -1 : move_take_definition(m, e);
}

void virt_move_close(struct virt_move *m)
{
    free(m->definition);
    free(m->clean_xml);
    m->definition = m->clean_xml = NULL;
}

const char *virt_move_go_on(const char *uri, const char *name)
{
    return text_command(
        "virsh -c %s qemu-monitor-command %s '{\"execute\":\"migrate_cancel\"}'; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; "
        "virsh -c %s domstate %s | grep -qx running && break; virsh -c %s resume %s; done",
        uri, name, uri, name, uri, name);
}

void virt_move_set_commands(const struct virt_domain *d, struct vm_commands *h)
{
    const char *uri = virt_host_uri(d->host);
    h->look = text_command("virsh -c %s domstate %s --reason", uri, d->name);
    h->end = text_command("virsh -c %s destroy %s", uri, d->name);
    h->stop = text_command("virsh -c %s suspend %s", uri, d->name);
    h->go_on = text_command("virsh -c %s resume %s", uri, d->name);
}

/* validate-uuid came with QEMU 4.2; there is no schema to be asked yet. */
bool virt_move_can_prove(const struct vm_facts *f)
{
    return f->version[0] > 4 || (f->version[0] == 4 && f->version[1] >= 2);
}

int virt_move_expected_facts(const struct virt_move *m, const struct vm_facts *source,
                             struct vm_facts *destination, struct err *e)
{
    unsigned long v = virt_host_qemu_version(m->destination_host, e);
    if (v == 0)
        return -1;
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

int virt_move_cover(const struct virt_move *m, bool *covered, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&m->destination, e);
    *covered = false;
    if (dom != NULL) /* it has a definition of its own, which is not ours to change */
        return 0;
    if (e->sys != ENOENT)
        return -1;
    err_clear(e);
    if (move_define(m, e) < 0)
        return -1;
    *covered = true;
    return 0;
}

int virt_move_uncover(const struct virt_domain *d, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(d, e);
    if (dom != NULL && virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) == 0)
        return 0;
    if (dom != NULL)
        virt_host_fail(d->host, e, "cannot make the domain transient");
    if (e->sys != ENOENT)
        return -1;
    err_clear(e);
    return 0;
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

/* libvirt takes a migration for a success whose domain it could not define, and says nothing.
 * Source: libvirt 9.0, src/qemu/qemu_migration.c, qemuMigrationDstFinish(), "Hmpf". */
static int move_is_defined(const struct virt_move *m, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&m->destination, e);
    if (dom == NULL)
        return -1;
    int persistent = virDomainIsPersistent(dom);
    if (persistent < 0)
        return virt_host_fail(m->destination_host, e, m->destination.name);
    return persistent > 0
               ? 0
               : err_set(e, ERR_VIRT, 0, "libvirt has not kept the definition of domain %s",
                         m->destination.name);
}

int virt_move_definition(const struct virt_move *m, bool by_libvirt, struct err *e)
{
    const char *to = virt_host_uri(m->destination_host), *from = virt_host_uri(m->source_host);
    const char *there = m->destination.uuid;
    if (m->options->persistent && (by_libvirt ? move_is_defined(m, e) : move_define(m, e)) < 0) {
        /* the source keeps its own: it is the only one */
        err_wrap(
            e,
            "the guest runs on the destination, and is not defined there, so that it is forgotten when "
            "it ends");
        return err_hint(
            e, "%s",
            text_command("f=$(mktemp) && virsh -c %s dumpxml --inactive %s >\"$f\" && virsh -c "
                         "%s define \"$f\"",
                         to, there, to));
    }
    if (m->options->undefine_source && move_undefine(m, e) < 0) {
        err_wrap(e, "the guest runs on the destination, and is still defined on the source, too");
        return err_hint(e, "%s",
                        text_command("virsh -c %s undefine --keep-nvram %s", from, m->source.uuid));
    }
    return 0;
}
