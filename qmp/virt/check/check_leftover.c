/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a direct migration has left in copies of a domain's XML.
 *
 * The running XML of a domain that came by the direct route has "-incoming defer" among QEMU's arguments
 * until it is started anew, and nothing can take it out of there (qmp/virt/move.h). What is made
 * from that XML keeps it: a definition by way of virsh dumpxml, snapshots, saved images. A QEMU that is started
 * from a definition would wait for ever; one that is to load a snapshot refuses ("'incoming' and 'loadvm'
 * options are mutually exclusive", QEMU 10.0, system/vl.c), after libvirt has ended the one before; a
 * restored one runs, as libvirt's own -incoming is the last, and hands the argument on. In each of
 * these the XML can be replaced by libvirt's own calls, with the one that was just read, less what is
 * ours. A mark (qmp/virt/mark.h) in a copy is left over, too: it is of one running QEMU only.
 */
#include <stdlib.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"
#include "qmp/virt/incoming.h"

static const char what[] = "leftover of a migration";

/* One copy: where it is, and how it is read and written. Texts are kept. */
struct copy {
    const struct copy_ops *ops;
    struct virt_host *host;
    const struct virt_domain *domain;
    virDomainPtr dom;              /* NULL: of a file */
    virDomainSnapshotPtr snapshot; /* of a snapshot */
    const char *path;              /* of a file */
    const char *where;             /* "the definition of g" */
    const char *fix;               /* what cleans it, and what does so by hand: commands */
    const char *edit;
};

struct copy_ops {
    const char *harm;                                   /* what comes of the arguments */
    char *(*read)(const struct copy *c, struct err *e); /* free() it */
    int (*write)(const struct copy *c, const char *xml, struct err *e);
};

/* ---- a definition ---- */

static char *definition_read(const struct copy *c, struct err *e)
{
    return virt_domain_xml(c->domain, VIR_DOMAIN_XML_INACTIVE, e);
}

static int definition_write(const struct copy *c, const char *xml, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(c->host, e);
    if (conn == NULL)
        return -1;
    int persistent = virDomainIsPersistent(c->dom);
    CLEANUP_DOMAIN virDomainPtr defined = persistent >= 0 ? virDomainDefineXMLFlags(conn, xml, 0)
                                                          : NULL;
    if (defined == NULL)
        return virt_host_fail(c->host, e, "cannot define the domain without it");
    if (persistent == 0 && virDomainUndefineFlags(defined, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0)
        return virt_host_fail(c->host, e, "cannot make the domain transient again");
    return 0;
}

static const struct copy_ops of_definition = {
    .harm = "a QEMU started from it would wait for a migration forever",
    .read = definition_read,
    .write = definition_write,
};

/* ---- a snapshot ---- */

static char *snapshot_read(const struct copy *c, struct err *e)
{
    char *xml = virDomainSnapshotGetXMLDesc(c->snapshot, VIR_DOMAIN_SNAPSHOT_XML_SECURE);
    if (xml == NULL)
        virt_host_fail(c->host, e, "cannot read the snapshot's XML");
    return xml;
}

/* What is current stays so: libvirt changes that only if it is told to. */
static int snapshot_write(const struct copy *c, const char *xml, struct err *e)
{
    virDomainSnapshotPtr same =
        virDomainSnapshotCreateXML(c->dom, xml, VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE);
    if (same == NULL)
        return virt_host_fail(c->host, e, "cannot redefine the snapshot without it");
    virDomainSnapshotFree(same);
    return 0;
}

static const struct copy_ops of_snapshot = {
    .harm = "to revert to it would end the guest, and not start it again",
    .read = snapshot_read,
    .write = snapshot_write,
};

/* ---- saved images ---- */

static char *managed_read(const struct copy *c, struct err *e)
{
    char *xml = virDomainManagedSaveGetXMLDesc(c->dom, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    if (xml == NULL)
        virt_host_fail(c->host, e, "cannot read the managed save image's XML");
    return xml;
}

static int managed_write(const struct copy *c, const char *xml, struct err *e)
{
    return virDomainManagedSaveDefineXML(c->dom, xml, 0) == 0
               ? 0
               : virt_host_fail(c->host, e, "cannot change the managed save image's XML");
}

static char *image_read(const struct copy *c, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(c->host, e);
    if (conn == NULL)
        return NULL;
    char *xml = virDomainSaveImageGetXMLDesc(conn, c->path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    if (xml == NULL)
        virt_host_fail(c->host, e, "cannot read the saved image's XML");
    return xml;
}

static int image_write(const struct copy *c, const char *xml, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(c->host, e);
    if (conn == NULL)
        return -1;
    return virDomainSaveImageDefineXML(conn, c->path, xml, 0) == 0
               ? 0
               : virt_host_fail(c->host, e, "cannot change the saved image's XML");
}

#define SAVED_HARM \
    "the domain that is restored from it has it again, and so has what is copied from that"

static const struct copy_ops of_managed = {
    .harm = SAVED_HARM,
    .read = managed_read,
    .write = managed_write,
};
static const struct copy_ops of_image = {
    .harm = SAVED_HARM,
    .read = image_read,
    .write = image_write,
};

/* ---- any of them ---- */

static int copy_leftover(const struct copy *c, struct err *e)
{
    CLEANUP_FREE char *xml = c->ops->read(c, e);
    return xml != NULL ? virt_incoming_leftover(xml, e) : -1;
}

/* Read again, so that nothing of before is written over. */
static int copy_clean(const struct copy *c, struct err *e)
{
    CLEANUP_FREE char *xml = c->ops->read(c, e);
    CLEANUP_FREE char *clean = xml != NULL ? virt_incoming_clean(xml, e) : NULL;
    if (clean == NULL || c->ops->write(c, clean, e) < 0)
        return -1;
    int left = copy_leftover(c, e);
    return left <= 0 ? left : err_set(e, ERR_VIRT, 0, "libvirt has kept it");
}

static void copy_warn(struct check_list *l, const struct copy *c, int left)
{
    if (left & VIRT_LEFTOVER_ARGUMENTS)
        check_list_add(
            l, CHECK_WARN, what,
            "%s has '-incoming defer' among QEMU's arguments, left by a direct migration: %s",
            c->where, c->ops->harm);
    else
        check_list_add(l, CHECK_WARN, what,
                       "%s has the mark of a migration, which is of one that ran, and its title",
                       c->where);
    check_list_fix_by(l, c->fix);
}

/* 1: there was something, and it is reported; 0. */
static int copy_look(struct check_list *l, const struct copy *c, bool fix)
{
    struct err e = {0};
    int left = copy_leftover(c, &e);
    if (left < 0) {
        check_skip_err(l, what, &e);
    } else if (left > 0 && !fix) {
        copy_warn(l, c, left);
    } else if (left > 0 && copy_clean(c, &e) == 0) {
        check_list_add(l, CHECK_OK, what, "%s was taken out of %s",
                       left & VIRT_LEFTOVER_ARGUMENTS ? "'-incoming defer'" : "the mark", c->where);
    } else if (left > 0) {
        check_list_add(l, CHECK_REFUSE, what, "%s cannot be taken out of %s: %s",
                       left & VIRT_LEFTOVER_ARGUMENTS ? "'-incoming defer'" : "the mark", c->where,
                       e.msg);
        check_list_fix_by(l, c->edit);
    }
    return left != 0;
}

/* ---- of a domain ---- */

static struct copy copy_of(const struct check_run *r)
{
    return (struct copy){
        .host = r->from.host,
        .domain = r->domain,
        .dom = r->dom,
        .fix = text_command("godwit check --fix -c %s %s", r->from.uri, r->domain->name)};
}

static int look_at_definition(struct check_run *r)
{
    struct copy c = copy_of(r);
    c.ops = &of_definition;
    c.where = virDomainIsPersistent(r->dom) == 0
                  ? text_keep("what virsh dumpxml --inactive says of %s, which has no definition,",
                              r->domain->name)
                  : text_keep("the definition of %s", r->domain->name);
    c.edit = text_command("virsh -c %s edit %s", r->from.uri, r->domain->name);
    return copy_look(r->l, &c, r->o->fix);
}

/* The memory of an external one is a saved image of its own. */
static int look_at_memory(struct check_run *r, const struct copy *snapshot, const char *name)
{
    struct err unreadable = {0}; /* copy_look() has reported it */
    CLEANUP_FREE char *text = snapshot->ops->read(snapshot, &unreadable);
    CLEANUP_XML xmlDocPtr doc = text != NULL ? xml_parse(text, name, &unreadable) : NULL;
    CLEANUP_FREE char *path =
        doc != NULL ? xml_value(doc, NULL, "/domainsnapshot/memory[@snapshot='external']/@file")
                    : NULL;
    if (path == NULL)
        return 0;
    struct copy c = copy_of(r);
    c.ops = &of_image;
    c.path = path;
    c.where = text_keep("the memory of snapshot %s of %s, %s,", name, r->domain->name, path);
    c.edit = text_command("virsh -c %s save-image-edit %s", r->from.uri, path);
    return copy_look(r->l, &c, r->o->fix);
}

static int look_at_snapshot(struct check_run *r, virDomainSnapshotPtr snapshot)
{
    const char *name = virDomainSnapshotGetName(snapshot);
    struct copy c = copy_of(r);
    c.ops = &of_snapshot;
    c.snapshot = snapshot;
    c.where = text_keep("snapshot %s of %s", name, r->domain->name);
    c.edit = text_command("virsh -c %s snapshot-edit %s %s", r->from.uri, r->domain->name, name);
    return copy_look(r->l, &c, r->o->fix) | look_at_memory(r, &c, name);
}

static int look_at_snapshots(struct check_run *r)
{
    virDomainSnapshotPtr *all = NULL;
    int found = 0, n = virDomainListAllSnapshots(r->dom, &all, 0);
    if (n < 0) {
        check_skip(r, &r->from, what, "cannot list the snapshots");
        return 1;
    }
    for (int i = 0; i < n; i++) {
        found |= look_at_snapshot(r, all[i]);
        virDomainSnapshotFree(all[i]);
    }
    free(all);
    return found;
}

static int look_at_managed(struct check_run *r)
{
    if (virDomainHasManagedSaveImage(r->dom, 0) != 1)
        return 0;
    struct copy c = copy_of(r);
    c.ops = &of_managed;
    c.where = text_keep("the managed save image of %s", r->domain->name);
    c.edit = text_command("virsh -c %s managedsave-edit %s", r->from.uri, r->domain->name);
    return copy_look(r->l, &c, r->o->fix);
}

/* It cannot be taken out while this QEMU runs: what is taken of it until then has it. */
static int look_at_running(struct check_run *r)
{
    struct err e = {0};
    CLEANUP_FREE char *live = r->active ? virt_domain_xml(r->domain, 0, &e) : NULL;
    if (live == NULL || (virt_incoming_leftover(live, &e) & VIRT_LEFTOVER_ARGUMENTS) == 0)
        return 0;
    check_list_add(
        r->l, CHECK_WARN, what,
        "%s came by the direct route, and runs with '-incoming defer' among QEMU's arguments until it is "
        "started anew or migrates by the native route: a snapshot that is taken of it, or a file that virsh "
        "dumpxml makes, has that, too, and is to be cleaned before it is used",
        r->domain->name);
    check_list_fix(r->l, "godwit check --fix -c %s %s", r->from.uri, r->domain->name);
    return 1;
}

void check_leftover(struct check_run *r)
{
    int found = look_at_definition(r);
    if (!r->o->quick) /* a migration copies nothing else */
        found |= look_at_snapshots(r) | look_at_managed(r) | look_at_running(r);
    if (found == 0)
        check_list_add(r->l, CHECK_OK, what, "%s has none%s", r->domain->name,
                       r->o->quick ? " in its definition" : ", nor has what is saved of it");
}

/* ---- a file ---- */

int virt_check_saved_image(struct virt_host *h, const char *path, bool fix, struct check_list *l,
                           struct err *e)
{
    const char *uri = virt_host_uri(h);
    const struct copy c = {
        .ops = &of_image,
        .host = h,
        .path = path,
        .where = text_keep("the saved image %s", path),
        .fix = text_command("godwit check --fix -c %s %s", uri, path),
        .edit = text_command("virsh -c %s save-image-edit %s", uri, path),
    };
    if (copy_leftover(&c, e) < 0) /* there is nothing else to check */
        return -1;
    if (copy_look(l, &c, fix) == 0)
        check_list_add(l, CHECK_OK, what, "%s has none", c.where);
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(h, e);
    return conn != NULL ? 0 : -1;
}
