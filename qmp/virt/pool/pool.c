/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/pool/pool.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/text.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/pool/users.h"
#include "qmp/virt/xml.h"

struct virt_pool {
    struct virt_host *host;
    char uuid[VIRT_POOL_UUID_TEXT];
    char name[256];
};

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

static int pool_check_type(struct virt_pool *p, const char *xml, struct err *e)
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

static virStoragePoolPtr pool_get(struct virt_pool *p, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return NULL;
    virStoragePoolPtr pool = virStoragePoolLookupByUUIDString(conn, p->uuid);
    if (pool == NULL)
        virt_host_fail(p->host, e, p->name);
    return pool;
}

static int pool_find(struct virt_pool *p, const char *name, struct err *e)
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
        err_set(e, ERR_REFUSED, 0, "there is no pool '%s' at %s", name, virt_pool_uri(p));
        return err_hint(e, "'%s' lists them",
                        text_command("virsh -c %s pool-list --all", virt_pool_uri(p)));
    }
    snprintf(p->name, sizeof p->name, "%s", virStoragePoolGetName(pool));
    if (virStoragePoolGetUUIDString(pool, p->uuid) < 0)
        return virt_host_fail(p->host, e, "the pool has no UUID");
    return 0;
}

static int pool_check(struct virt_pool *p, struct err *e)
{
    CLEANUP_FREE char *xml = virt_pool_xml(p, e);
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

struct virt_pool *virt_pool_open(const char *uri, const char *name_or_uuid, struct err *e)
{
    struct virt_pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for pool '%s'", name_or_uuid);
        return NULL;
    }
    p->host = virt_host_open(uri, "libvirt", e);
    if (p->host == NULL || pool_check_here(uri, e) < 0 || pool_find(p, name_or_uuid, e) < 0 ||
        pool_check(p, e) < 0) {
        virt_pool_close(p);
        return NULL;
    }
    return p;
}

void virt_pool_close(struct virt_pool *p)
{
    if (p == NULL)
        return;
    virt_host_close(p->host);
    free(p);
}

const char *virt_pool_name(const struct virt_pool *p)
{
    return p->name;
}

const char *virt_pool_uuid(const struct virt_pool *p)
{
    return p->uuid;
}

const char *virt_pool_uri(const struct virt_pool *p)
{
    return virt_host_uri(p->host);
}

/* ---- the definition ---- */

char *virt_pool_xml(struct virt_pool *p, struct err *e)
{
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    char *xml = pool != NULL ? virStoragePoolGetXMLDesc(pool, VIR_STORAGE_XML_INACTIVE) : NULL;
    if (pool != NULL && xml == NULL)
        virt_host_fail(p->host, e, "cannot read the pool's XML");
    return xml;
}

char *virt_pool_target(const char *xml, struct err *e)
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

bool virt_pool_same(const char *xml, const char *other)
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

int virt_pool_active(struct virt_pool *p, struct err *e)
{
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    if (pool == NULL)
        return -1;
    int active = virStoragePoolIsActive(pool);
    return active >= 0 ? active : virt_host_fail(p->host, e, p->name);
}

int virt_pool_define(struct virt_pool *p, const char *xml, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    int active = virt_pool_active(p, e);
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

/* ---- its volumes ---- */

static int pool_volume(struct virt_pool *p, virStorageVolPtr vol, struct virt_volume *v,
                       struct err *e)
{
    virStorageVolInfo info;
    v->name = strdup(virStorageVolGetName(vol)); /* first: asking for it would reset the error */
    if (v->name != NULL && virStorageVolGetInfo(vol, &info) < 0) {
        virt_host_fail(p->host, e, v->name);
        err_hint(e, "'%s' looks at what is there",
                 text_command("virsh -c %s pool-refresh %s", virt_pool_uri(p), p->name));
        return -1;
    }
    if (v->name == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for the volumes of pool '%s'", p->name);
    v->type = info.type == VIR_STORAGE_VOL_FILE  ? VIRT_VOLUME_FILE
              : info.type == VIR_STORAGE_VOL_DIR ? VIRT_VOLUME_DIRECTORY
                                                 : VIRT_VOLUME_OTHER;
    return 0;
}

int virt_pool_volumes(struct virt_pool *p, struct virt_volume **volumes, size_t *n, struct err *e)
{
    virStorageVolPtr *vols = NULL;
    CLEANUP_POOL virStoragePoolPtr pool = pool_get(p, e);
    if (pool == NULL)
        return -1;
    int count = virStoragePoolListAllVolumes(pool, &vols, 0), rc = 0;
    if (count < 0)
        return virt_host_fail(p->host, e, "cannot list the pool's volumes");
    struct virt_volume *v = calloc((size_t)count + 1, sizeof *v);
    if (v == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "no memory for the volumes of pool '%s'", p->name);
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = pool_volume(p, vols[i], &v[i], e);
        virStorageVolFree(vols[i]);
    }
    free(vols);
    if (rc < 0) {
        virt_volumes_free(v, (size_t)count);
        return -1;
    }
    *volumes = v;
    *n = (size_t)count;
    return 0;
}

void virt_volumes_free(struct virt_volume *volumes, size_t n)
{
    for (size_t i = 0; volumes != NULL && i < n; i++)
        free(volumes[i].name);
    free(volumes);
}

/* ---- domains ---- */

static struct virt_domain pool_domain(const struct virt_pool *p, const char *uuid)
{
    struct virt_domain d = {.host = p->host};
    snprintf(d.uuid, sizeof d.uuid, "%s", uuid);
    d.name = text_keep("domain %s", uuid);
    return d;
}

/* One that ended between two questions is no error: it is asked for as it is now. */
static int pool_domain_read(struct virt_pool *p, virDomainPtr dom, struct virt_pool_domain *d,
                            struct err *e)
{
    snprintf(d->name, sizeof d->name, "%s", virDomainGetName(dom));
    if (virDomainGetUUIDString(dom, d->uuid) < 0)
        return virt_host_fail(p->host, e, d->name);
    d->active = virDomainIsActive(dom) == 1;
    d->persistent = virDomainIsPersistent(dom) == 1;
    d->saved = virDomainHasManagedSaveImage(dom, 0) == 1;
    int snapshots = virDomainSnapshotNum(dom, 0);
    int checkpoints = virDomainListAllCheckpoints(dom, NULL, 0);
    d->snapshots = (snapshots > 0 ? snapshots : 0) + (checkpoints > 0 ? checkpoints : 0);
    if (d->persistent && (d->xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE |
                                                                VIR_DOMAIN_XML_SECURE)) == NULL)
        return virt_host_fail(p->host, e, d->name);
    if (d->active && (d->live_xml = virDomainGetXMLDesc(dom, 0)) == NULL &&
        virDomainIsActive(dom) == 1)
        return virt_host_fail(p->host, e, d->name);
    d->active = d->live_xml != NULL;
    return 0;
}

static int pool_domain_order(const void *a, const void *b)
{
    return strcmp(((const struct virt_pool_domain *)a)->name,
                  ((const struct virt_pool_domain *)b)->name);
}

int virt_pool_domains(struct virt_pool *p, struct virt_pool_domain **domains, size_t *n,
                      struct err *e)
{
    virDomainPtr *doms = NULL;
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    int count = virConnectListAllDomains(conn, &doms, 0), rc = 0;
    if (count < 0)
        return virt_host_fail(p->host, e, "cannot list the domains");
    struct virt_pool_domain *d = calloc((size_t)count + 1, sizeof *d);
    if (d == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "no memory for %d domains", count);
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = pool_domain_read(p, doms[i], &d[i], e);
        virDomainFree(doms[i]);
    }
    free(doms);
    if (rc < 0) {
        virt_pool_domains_free(d, (size_t)count);
        return -1;
    }
    qsort(d, (size_t)count, sizeof *d, pool_domain_order);
    *domains = d;
    *n = (size_t)count;
    return 0;
}

void virt_pool_domains_free(struct virt_pool_domain *domains, size_t n)
{
    for (size_t i = 0; domains != NULL && i < n; i++) {
        free(domains[i].xml);
        free(domains[i].live_xml);
    }
    free(domains);
}

int virt_pool_domain_active(struct virt_pool *p, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(p, uuid);
    return virt_domain_active(&d, e);
}

char *virt_pool_domain_xml(struct virt_pool *p, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(p, uuid);
    return virt_domain_xml(&d, VIR_DOMAIN_XML_INACTIVE, e);
}

char *virt_pool_domain_live_xml(struct virt_pool *p, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(p, uuid);
    return virt_domain_xml(&d, 0, e);
}

int virt_pool_domain_define(struct virt_pool *p, const char *xml, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(p->host, e);
    if (conn == NULL)
        return -1;
    CLEANUP_DOMAIN virDomainPtr dom = virDomainDefineXML(conn, xml);
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

int virt_pool_domain_start(struct virt_pool *p, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(p, uuid);
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&d, e);
    if (dom == NULL)
        return -1;
    if (virDomainCreate(dom) == 0)
        return 0;
    virt_host_fail(p->host, e, "cannot start the domain");
    return pool_unless_active(dom, 1, e);
}

int virt_pool_domain_shutdown(struct virt_pool *p, const char *uuid, struct err *e)
{
    const struct virt_domain d = pool_domain(p, uuid);
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&d, e);
    if (dom == NULL)
        return -1;
    if (virDomainShutdown(dom) == 0)
        return 0;
    virt_host_fail(p->host, e, "cannot shut down the domain");
    return pool_unless_active(dom, 0, e);
}
