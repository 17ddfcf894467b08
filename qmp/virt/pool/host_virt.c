/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The pool and each domain are looked up anew, by their UUIDs, for each call: what somebody has
 * removed and made again under the name is another one. Definitions are libvirt's XML, read and edited
 * by the other files of this folder.
 */
#include "qmp/virt/pool/host_virt.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/text.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/pool/definition.h"
#include "qmp/virt/pool/domain_edit.h"
#include "qmp/virt/pool/users.h"
#include "qmp/virt/xml.h"

struct host_virt {
    struct pool_host port;
    struct virt_host *host;
    char uuid[VIRT_UUID_TEXT];
    char name[256];
    const char *const *uris; /* n_uris */
    size_t n_uris;
};

static struct host_virt *host_of(struct pool_host *h)
{
    return (struct host_virt *)h; /* that is its head */
}

static inline void pool_free_ptr(virStoragePoolPtr *pool)
{
    if (*pool != NULL)
        virStoragePoolFree(*pool);
}

#define CLEANUP_POOL CLEANUP(pool_free_ptr)

/* What to do about a pool that is no directory, by its type. */
static const struct {
    const char *type, *hint;
} pool_hints[] = {
    {"netfs", "it is on a share already; 'godwit relocate' copies its images to another one"},
    {"fs", "as its images are files of a mounted file system, 'virsh pool-edit' can make it a dir "
           "pool of the same path"},
    {"logical",
     "its volumes are block devices: 'godwit relocate /dev/VG/LV nfs://...' copies each"},
    {"disk", "its volumes are block devices: 'godwit relocate /dev/... nfs://...' copies each"},
    {"iscsi", "its volumes are block devices: 'godwit relocate /dev/... nfs://...' copies each"},
    {"scsi", "its volumes are block devices: 'godwit relocate /dev/... nfs://...' copies each"},
    {"mpath", "its volumes are block devices: 'godwit relocate /dev/... nfs://...' copies each"},
};

/* ---- the definition of the pool ---- */

static virStoragePoolPtr pool_get(struct host_virt *p, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return NULL;
    virStoragePoolPtr pool = virStoragePoolLookupByUUIDString(conn, p->uuid);
    if (pool == NULL)
        virt_host_fail(p->host, e, p->name);
    return pool;
}

static char *pool_xml(struct host_virt *p, struct err *e)
{
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    char *xml = pool != NULL ? virStoragePoolGetXMLDesc(pool, VIR_STORAGE_XML_INACTIVE) : NULL;
    if (pool != NULL && xml == NULL)
        virt_host_fail(p->host, e, "cannot read the pool's XML");
    return xml;
}

static char *pool_target(const char *xml, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "the pool's XML", e);
    if (doc == NULL)
        return NULL;
    char *path = xml_value(doc, NULL, "/pool/target/path");
    if (path == NULL)
        err_set(e, ERR_PROTO, 0, "the pool's XML: there is no target path in it");
    return path;
}

static bool pool_is_of_the_moment(const char *line, size_t len)
{
    static const char *const names[] = {"<capacity ", "<allocation ", "<available "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (memmem(line, len, names[i], strlen(names[i])) != NULL)
            return true;
    return false;
}

/* The next line that counts; its length, 0 at the end. */
static size_t pool_line(const char **at)
{
    size_t len;
    for (; (len = strcspn(*at, "\n")) > 0; *at += len + ((*at)[len] == '\n'))
        if (!pool_is_of_the_moment(*at, len))
            return len;
    return 0;
}

static bool pool_same(const char *xml, const char *other)
{
    for (;;) {
        size_t a = pool_line(&xml), b = pool_line(&other);
        if (a != b || memcmp(xml, other, a) != 0)
            return false;
        if (a == 0)
            return true;
        xml += a + (xml[a] == '\n');
        other += b + (other[b] == '\n');
    }
}

static int pool_active(struct host_virt *p, struct err *e)
{
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    if (pool == NULL)
        return -1;
    int active = virStoragePoolIsActive(pool);
    return active >= 0 ? active : virt_host_fail(p->host, e, p->name);
}

static int pool_define(struct host_virt *p, const char *xml, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    int active = pool_active(p, e);
    CLEANUP_POOL virStoragePoolPtr pool = active >= 0 ? pool_get(p, e) : NULL;
    if (pool == NULL)
        return -1;
    if (active && virStoragePoolDestroy(pool) < 0)
        return virt_host_fail(p->host, e, "cannot stop the pool");
    CLEANUP_POOL virStoragePoolPtr defined = virStoragePoolDefineXML(conn, xml, 0);
    if (defined == NULL)
        return virt_host_fail(p->host, e, "cannot define the pool");
    if (virStoragePoolCreate(defined, 0) < 0)
        return virt_host_fail(p->host, e, "cannot start the pool");
    return 0;
}

static int host_pool(struct pool_host *h, struct pool_facts *facts, struct err *e)
{
    struct host_virt *p = host_of(h);
    *facts = (struct pool_facts){0};
    facts->definition = pool_xml(p, e);
    facts->path = facts->definition != NULL ? pool_target(facts->definition, e) : NULL;
    int active = facts->path != NULL ? pool_active(p, e) : -1;
    if (active < 0) {
        pool_facts_free(facts);
        return -1;
    }
    facts->active = active > 0;
    facts->start_command = text_command("virsh -c %s pool-start %s", h->uri, h->name);
    facts->edit_command = text_command("virsh -c %s pool-edit %s", h->uri, h->name);
    return 0;
}

/* ---- its volumes ---- */

static int pool_volume(struct host_virt *p, virStorageVolPtr vol, struct pool_volume *v,
                       struct err *e)
{
    virStorageVolInfo info;
    v->name = strdup(virStorageVolGetName(vol)); /* first: asking for it would reset the error */
    if (v->name != NULL && virStorageVolGetInfo(vol, &info) < 0) {
        virt_host_fail(p->host, e, v->name);
        err_hint(e, "'%s' looks at what is there",
                 text_command("virsh -c %s pool-refresh %s", virt_host_uri(p->host), p->name));
        return -1;
    }
    if (v->name == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for the volumes of pool '%s'", p->name);
    v->type = info.type == VIR_STORAGE_VOL_FILE  ? POOL_VOLUME_FILE
              : info.type == VIR_STORAGE_VOL_DIR ? POOL_VOLUME_DIRECTORY
                                                 : POOL_VOLUME_OTHER;
    return 0;
}

static int host_volumes(struct pool_host *h, struct pool_volume **volumes, size_t *n, struct err *e)
{
    struct host_virt *p = host_of(h);
    virStorageVolPtr *vols = NULL;
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    if (pool == NULL)
        return -1;
    int count = virStoragePoolListAllVolumes(pool, &vols, 0), rc = 0;
    if (count < 0)
        return virt_host_fail(p->host, e, "cannot list the pool's volumes");
    struct pool_volume *v = calloc((size_t)count + 1, sizeof *v);
    if (v == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "no memory for the volumes of pool '%s'", p->name);
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = pool_volume(p, vols[i], &v[i], e);
        virStorageVolFree(vols[i]);
    }
    free(vols);
    if (rc < 0) {
        pool_volumes_free(v, (size_t)count);
        return -1;
    }
    *volumes = v;
    *n = (size_t)count;
    return 0;
}

/* ---- domains ---- */

static struct virt_domain pool_domain(const struct host_virt *p, const char *uuid)
{
    struct virt_domain d = {.host = p->host};
    snprintf(d.uuid, sizeof d.uuid, "%s", uuid);
    d.name = text_keep("domain %s", uuid);
    return d;
}

/* What no definition could put right. */
static int pool_domain_obstacle(struct host_virt *p, virDomainPtr dom, struct pool_domain *d,
                                struct err *e)
{
    int persistent = virDomainIsPersistent(dom), saved = virDomainHasManagedSaveImage(dom, 0);
    int snapshots = virDomainSnapshotNum(dom, 0);
    int checkpoints = virDomainListAllCheckpoints(dom, NULL, 0);
    if (persistent != 1) {
        d->obstacle = "is transient, and uses the pool";
        d->remedy = "it has no definition to be changed: end it, or 'virsh define' it";
    } else if (saved == 1) {
        d->obstacle = "has a saved state, which names the old place";
        d->remedy =
            text_keep("start it and shut it down, or '%s'",
                      text_command("virsh -c %s managedsave-remove %s", p->port.uri, d->name));
    } else if (snapshots > 0 || checkpoints > 0) {
        d->obstacle = "has snapshots or checkpoints, whose definitions name the old place";
        d->remedy = text_keep("'%s'; delete them, with --metadata if the image should keep them",
                              text_command("virsh -c %s snapshot-list %s", p->port.uri, d->name));
    }
    if (persistent == 1 && (d->definition = virDomainGetXMLDesc(
                                dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE)) == NULL)
        return virt_host_fail(p->host, e, d->name);
    return 0;
}

/* One that ended between two questions is no error: it is asked for as it is now. */
static int pool_domain_read(struct host_virt *p, virDomainPtr dom, struct pool_domain *d,
                            struct err *e)
{
    snprintf(d->name, sizeof d->name, "%s", virDomainGetName(dom));
    if (virDomainGetUUIDString(dom, d->uuid) < 0)
        return virt_host_fail(p->host, e, d->name);
    bool active = virDomainIsActive(dom) == 1;
    if (pool_domain_obstacle(p, dom, d, e) < 0)
        return -1;
    if (active && (d->running_as = virDomainGetXMLDesc(dom, 0)) == NULL &&
        virDomainIsActive(dom) == 1)
        return virt_host_fail(p->host, e, d->name);
    d->active = d->running_as != NULL;
    return 0;
}

static int pool_domain_order(const void *a, const void *b)
{
    return strcmp(((const struct pool_domain *)a)->name, ((const struct pool_domain *)b)->name);
}

static int host_domains(struct pool_host *h, struct pool_domain **domains, size_t *n, struct err *e)
{
    struct host_virt *p = host_of(h);
    virDomainPtr *doms = NULL;
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    int count = virConnectListAllDomains(conn, &doms, 0), rc = 0;
    if (count < 0)
        return virt_host_fail(p->host, e, "cannot list the domains");
    struct pool_domain *d = calloc((size_t)count + 1, sizeof *d);
    if (d == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "no memory for %d domains", count);
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = pool_domain_read(p, doms[i], &d[i], e);
        virDomainFree(doms[i]);
    }
    free(doms);
    if (rc < 0) {
        pool_domains_free(d, (size_t)count);
        return -1;
    }
    qsort(d, (size_t)count, sizeof *d, pool_domain_order);
    *domains = d;
    *n = (size_t)count;
    return 0;
}

static int host_active(struct pool_host *h, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(host_of(h), uuid);
    return virt_domain_active(&d, e);
}

static char *host_definition(struct pool_host *h, const char *uuid, bool running, struct err *e)
{
    const struct virt_domain d = pool_domain(host_of(h), uuid);
    return virt_domain_xml(&d, running ? 0 : VIR_DOMAIN_XML_INACTIVE, e);
}

static int host_define(struct pool_host *h, const char *uuid, const char *definition, struct err *e)
{
    struct host_virt *p = host_of(h);
    if (uuid == NULL)
        return pool_define(p, definition, e);
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    CLEANUP_DOMAIN virDomainPtr dom = virDomainDefineXML(conn, definition);
    return dom != NULL ? 0 : virt_host_fail(p->host, e, "cannot define the domain");
}

/* An error that came too late to matter: the domain is as it should be. */
static int pool_unless_active(virDomainPtr dom, int wanted, struct err *e)
{
    if (virDomainIsActive(dom) != wanted)
        return -1;
    err_clear(e);
    return 0;
}

static int host_start(struct pool_host *h, const char *uuid, struct err *e)
{
    struct host_virt *p = host_of(h);
    const struct virt_domain d = pool_domain(p, uuid);
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&d, e);
    if (dom == NULL)
        return -1;
    if (virDomainCreate(dom) == 0)
        return 0;
    virt_host_fail(p->host, e, "cannot start the domain");
    return pool_unless_active(dom, 1, e);
}

static int host_shut_down(struct pool_host *h, const char *uuid, struct err *e)
{
    struct host_virt *p = host_of(h);
    const struct virt_domain d = pool_domain(p, uuid);
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&d, e);
    if (dom == NULL)
        return -1;
    if (virDomainShutdown(dom) == 0)
        return 0;
    virt_host_fail(p->host, e, "cannot shut down the domain");
    return pool_unless_active(dom, 0, e);
}

/* ---- definitions ---- */

static int host_edit(struct pool_host *h, const char *uuid, const char *definition,
                     const char *what, const struct domain_move *m, struct domain_edit *edit,
                     struct err *e)
{
    (void)h;
    if (uuid != NULL)
        return domain_edit_make(definition, what, m, edit, e);
    *edit = (struct domain_edit){.definition = pool_edit_target(definition, m->directory, e)};
    return edit->definition != NULL ? 0 : -1;
}

static int host_uses(struct pool_host *h, const char *definition, const char *what, bool by_path,
                     const struct domain_move *m, struct err *e)
{
    (void)h;
    return by_path ? domain_edit_uses_path(definition, what, m, e)
                   : domain_edit_uses(definition, what, m, e);
}

static bool host_same(struct pool_host *h, const char *uuid, const char *a, const char *b)
{
    (void)h;
    return uuid != NULL ? virt_definition_same(a, b) : pool_same(a, b);
}

/* ---- users ---- */

/* What is going to be is so at the pool's own libvirt alone. */
static int host_users(struct pool_host *h, const struct image_files *files,
                      const struct pool_intent *intent, struct file_users *users, struct err *e)
{
    const struct host_virt *p = host_of(h);
    for (size_t i = 0; i < p->n_uris; i++) {
        if (virt_users_find(p->uris[i], files, i == 0 ? intent : NULL, users, e) == 0)
            continue;
        file_users_free(users);
        return err_wrap(e, "%s does not tell who uses the images", p->uris[i]);
    }
    return 0;
}

static const struct pool_host_ops host_virt_ops = {
    .pool = host_pool,
    .volumes = host_volumes,
    .domains = host_domains,
    .active = host_active,
    .definition = host_definition,
    .edit = host_edit,
    .uses = host_uses,
    .same = host_same,
    .define = host_define,
    .shut_down = host_shut_down,
    .start = host_start,
    .users = host_users,
};

/* ---- which pool ---- */

static int pool_check_type(struct host_virt *p, const char *xml, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "the pool's XML", e);
    CLEANUP_FREE char *type = doc != NULL ? xml_value(doc, NULL, "/pool/@type") : NULL;
    if (doc == NULL)
        return -1;
    if (type != NULL && strcmp(type, "dir") == 0)
        return 0;
    err_set(e, ERR_REFUSED, 0, "pool '%s' is of type %s: only dir pools can be moved", p->name,
            type != NULL ? type : "unknown");
    for (size_t i = 0; type != NULL && i < sizeof pool_hints / sizeof *pool_hints; i++)
        if (strcmp(type, pool_hints[i].type) == 0)
            return err_hint(e, "%s", pool_hints[i].hint);
    return err_hint(e, "'qemu-img convert' can copy its volumes to files, one by one");
}

static int pool_check_here(const char *uri, struct err *e)
{
    if (virt_uri_is_here(uri))
        return 0;
    err_set(e, ERR_REFUSED, 0, "%s is another host, whose files cannot be read from here", uri);
    return err_hint(e, "run godwit on that host, with -c qemu:///system");
}

static int pool_find(struct host_virt *p, const char *name, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    CLEANUP_POOL virStoragePoolPtr pool = virStoragePoolLookupByName(conn, name);
    if (pool == NULL && virt_last_error_is(VIR_ERR_NO_STORAGE_POOL))
        pool = virStoragePoolLookupByUUIDString(conn, name);
    if (pool == NULL) {
        if (!virt_last_error_is(VIR_ERR_NO_STORAGE_POOL) &&
            !virt_last_error_is(VIR_ERR_INVALID_ARG))
            return virt_host_fail(p->host, e, "cannot look up the pool");
        err_set(e, ERR_REFUSED, 0, "there is no pool '%s' at %s", name, virt_host_uri(p->host));
        return err_hint(e, "'%s' lists them",
                        text_command("virsh -c %s pool-list --all", virt_host_uri(p->host)));
    }
    snprintf(p->name, sizeof p->name, "%s", virStoragePoolGetName(pool));
    if (virStoragePoolGetUUIDString(pool, p->uuid) < 0)
        return virt_host_fail(p->host, e, "the pool has no UUID");
    return 0;
}

static int pool_check(struct host_virt *p, struct err *e)
{
    CLEANUP_FREE char *xml = pool_xml(p, e);
    CLEANUP_POOL virStoragePoolPtr pool = xml != NULL ? pool_get(p, e) : NULL;
    if (pool == NULL || pool_check_type(p, xml, e) < 0)
        return -1;
    if (virStoragePoolIsPersistent(pool) != 1) {
        err_set(e, ERR_REFUSED, 0, "pool '%s' is transient: it has no definition to change",
                p->name);
        return err_hint(e, "make it persistent with 'virsh pool-define'");
    }
    return 0;
}

struct pool_host *host_virt_open(const char *const *uris, size_t n, const char *name_or_uuid,
                                 struct err *e)
{
    struct host_virt *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for pool '%s'", name_or_uuid);
        return NULL;
    }
    p->uris = uris;
    p->n_uris = n;
    p->host = virt_host_open(uris[0], "libvirt", e);
    if (p->host == NULL || pool_check_here(uris[0], e) < 0 || pool_find(p, name_or_uuid, e) < 0 ||
        pool_check(p, e) < 0) {
        host_virt_close(&p->port);
        return NULL;
    }
    p->port = (struct pool_host){
        .ops = &host_virt_ops, .uri = virt_host_uri(p->host), .name = p->name, .uuid = p->uuid};
    return &p->port;
}

void host_virt_close(struct pool_host *h)
{
    struct host_virt *p = host_of(h);
    if (p == NULL)
        return;
    virt_host_close(p->host);
    free(p);
}
