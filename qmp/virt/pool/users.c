/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * First the pools are read, since disks of type volume name them, and since one of type netfs tells
 * which share a path is on. Then each definition that there is, of domains, of their saved states
 * and snapshots, is gone through: every text in it for paths, every volume and network source for
 * what it stands for, every image for what it is based on. The images tell that themselves
 * (core/pool/image_chain.h), as QEMU will ask them, too. At last the files are looked at that no definition
 * names (users_files.c).
 *
 * What ends while it is looked at is no user any more. Whatever else libvirt does not tell is an
 * error: nobody said that there is no user.
 */
#include "qmp/virt/pool/users.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/pool/image_chain.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/pool/domain_edit.h"
#include "qmp/virt/pool/users_search.h"

int search_no_memory(struct err *e)
{
    return err_set(e, ERR_IO, ENOMEM, "no memory for the list of who uses the images");
}

/* ---- what is found ---- */

int search_add(struct search *s, char *who, const char *how, bool active, bool unknown,
               struct err *e)
{
    struct file_users *u = s->users;
    struct file_user *more = realloc(u->at, (u->n + 1) * sizeof *more);
    char *copy = strdup(how);
    if (more != NULL)
        u->at = more;
    if (more == NULL || copy == NULL || who == NULL) {
        free(copy);
        free(who);
        return search_no_memory(e);
    }
    u->at[u->n++] =
        (struct file_user){.who = who, .how = copy, .active = active, .unknown = unknown};
    return 0;
}

/* ---- what a path leads to ---- */

static const struct known_pool *search_pool(const struct search *s, const char *name)
{
    for (size_t i = 0; i < s->n_pools; i++)
        if (strcmp(s->pools[i].name, name) == 0)
            return &s->pools[i];
    return NULL;
}

/* A path on the mount of a netfs pool is one on its share. */
static bool search_on_share(const struct search *s, const char *path)
{
    for (size_t i = 0; s->files->nfs != NULL && i < s->n_pools; i++) {
        const struct known_pool *p = &s->pools[i];
        size_t len = p->target != NULL ? strlen(p->target) : 0;
        CLEANUP_FREE char *there = NULL;
        if (p->server == NULL || len == 0 || strncmp(path, p->target, len) != 0 || path[len] != '/')
            continue;
        if (asprintf(&there, "%s%s", p->export, path + len) > 0 &&
            s->files->nfs(s->files->arg, p->server, there))
            return true;
    }
    return false;
}

bool search_path(struct search *s, const char *path)
{
    if (*path != '/' || !(s->files->path(s->files->arg, path, s->here) || search_on_share(s, path)))
        return false;
    if (s->found == NULL)
        s->found = strdup(path);
    return true;
}

/* As struct domain_move.name. */
static char *search_name(void *arg, const char *path)
{
    return search_path(arg, path) ? strdup(path) : NULL;
}

/* Where libvirt has volume `name`: only of a pool that runs it tells. */
static char *search_volume_path(const struct known_pool *p, const char *name)
{
    virStorageVolPtr vol = p->given ? NULL : virStorageVolLookupByName(p->pool, name);
    char *path = vol != NULL ? virStorageVolGetPath(vol) : NULL;
    if (vol != NULL)
        virStorageVolFree(vol);
    if (path == NULL && (p->target == NULL || asprintf(&path, "%s/%s", p->target, name) < 0))
        return NULL;
    return path;
}

/* 1; 0; -1: which file it means is not known, s->found says why. */
static int search_volume(struct search *s, xmlNodePtr source)
{
    CLEANUP_FREE char *pool = xml_attribute(source, "pool");
    CLEANUP_FREE char *volume = xml_attribute(source, "volume");
    const struct known_pool *p = pool != NULL ? search_pool(s, pool) : NULL;
    if (pool == NULL || volume == NULL)
        return 0;
    if (p == NULL) {
        free(TAKE(s->found));
        if (asprintf(&s->found, "volume %s of pool %s, which libvirt does not know (any more)",
                     volume, pool) < 0)
            s->found = NULL;
        return -1;
    }
    CLEANUP_FREE char *path = search_volume_path(p, volume);
    return path != NULL && search_path(s, path);
}

static bool search_nfs(struct search *s, xmlDocPtr doc, xmlNodePtr source)
{
    CLEANUP_FREE char *path = xml_attribute(source, "name");
    CLEANUP_NODES struct xml_nodes hosts = xml_select(doc, source, "host/@name");
    for (size_t i = 0; path != NULL && s->files->nfs != NULL && i < hosts.n; i++) {
        CLEANUP_FREE char *server = xml_value(doc, hosts.at[i], ".");
        if (server == NULL || !s->files->nfs(s->files->arg, server, path))
            continue;
        if (s->found == NULL && asprintf(&s->found, "nfs://%s%s", server, path) < 0)
            s->found = NULL;
        return true;
    }
    return false;
}

/* ---- chains ---- */

struct chain_look {
    struct search *s;
    bool reached;
};

static bool chain_step(void *arg, const char *path, bool data)
{
    struct chain_look *look = arg;
    look->reached |= search_path(look->s, path);
    look->s->data |= look->reached && data;
    return !look->reached;
}

int search_chain(struct search *s, const char *path)
{
    struct chain_look look = {s, false};
    struct err e = {0};
    if (!s->here || image_chain_walk(path, chain_step, &look, &e) == 0)
        return look.reached;
    if (s->found == NULL)
        s->found = strdup(e.msg);
    return -1;
}

/* A raw image's bytes are its guest's: they say nothing. */
static bool image_may_have_base(xmlDocPtr doc, xmlNodePtr source)
{
    CLEANUP_FREE char *format = xml_value(doc, source->parent, "driver/@type|format/@type");
    return format != NULL && strcmp(format, "raw") != 0;
}

static int search_bases(struct search *s, xmlDocPtr doc)
{
    CLEANUP_NODES struct xml_nodes sources =
        xml_select(doc, NULL, "//source[@file or @dev or @volume]");
    int unknown = 0;
    for (size_t i = 0; i < sources.n; i++) {
        xmlNodePtr source = sources.at[i];
        CLEANUP_FREE char *path = xml_value(doc, source, "@file|@dev");
        CLEANUP_FREE char *volume = xml_attribute(source, "volume");
        CLEANUP_FREE char *pool = xml_attribute(source, "pool");
        const struct known_pool *p = pool != NULL ? search_pool(s, pool) : NULL;
        if (path == NULL && volume != NULL && p != NULL)
            path = search_volume_path(p, volume);
        if (path == NULL || *path != '/' || !image_may_have_base(doc, source))
            continue;
        int rc = search_chain(s, path);
        if (rc > 0)
            return 1;
        unknown |= rc < 0;
    }
    return unknown ? -1 : 0;
}

/* ---- definitions ---- */

/* 1: some volume of it is one of the files; 0; -1: of one that is not known. */
static int search_all_volumes(struct search *s, xmlDocPtr doc)
{
    int unknown = 0;
    CLEANUP_NODES struct xml_nodes volumes = xml_select(doc, NULL, "//source[@pool and @volume]");
    for (size_t i = 0; i < volumes.n; i++) {
        int is = search_volume(s, volumes.at[i]);
        if (is > 0)
            return 1;
        unknown |= is < 0;
    }
    return unknown ? -1 : 0;
}

int search_xml(struct search *s, char *who, const char *xml, bool active, bool *is_user,
               struct err *e)
{
    CLEANUP_FREE char *name = who;
    const struct domain_move m = {.pool = "", .name = search_name, .arg = s};
    CLEANUP_XML xmlDocPtr doc = name != NULL ? xml_parse(xml, name, e) : NULL;
    if (name == NULL)
        return search_no_memory(e);
    if (doc == NULL)
        return -1;
    free(TAKE(s->found));
    int uses = domain_edit_uses_path(xml, name, &m, e);
    if (uses < 0)
        return -1;
    CLEANUP_NODES struct xml_nodes remote = xml_select(doc, NULL, "//source[@protocol='nfs']");
    for (size_t i = 0; uses == 0 && i < remote.n; i++)
        uses = search_nfs(s, doc, remote.at[i]);
    int volumes = uses == 0 ? search_all_volumes(s, doc) : 0;
    if (uses == 0 && volumes > 0)
        uses = 1;
    if (uses == 0)
        uses = search_bases(s, doc);
    if (uses == 0)
        uses = volumes;
    if (uses == 0)
        return 0;
    *is_user = uses > 0;
    return search_add(s, TAKE(name), s->found != NULL ? s->found : "one of its images", active,
                      uses < 0, e);
}

char *user_text(const char *what, const char *name, const char *of, const char *domain)
{
    char *text = NULL;
    return asprintf(&text, "%s%s%s%s", what, name, of, domain) < 0 ? NULL : text;
}

/* libvirt gave no XML: because what it is of has just gone? Else the error. */
int search_gone(const struct search *s, int code, const char *what, struct err *e)
{
    if (virt_last_error_is(code) || virt_last_error_is(VIR_ERR_NO_DOMAIN))
        return 0;
    return virt_host_fail(s->host, e, what);
}

static int search_saved(struct search *s, virDomainPtr dom, struct err *e)
{
    bool user;
    const char *name = virDomainGetName(dom);
    int saved = virDomainHasManagedSaveImage(dom, 0);
    if (saved <= 0)
        return saved < 0 ? search_gone(s, VIR_ERR_NO_DOMAIN, name, e) : 0;
    CLEANUP_FREE char *xml = virDomainManagedSaveGetXMLDesc(dom, 0);
    if (xml == NULL)
        return virt_host_fail(s->host, e, "cannot read the saved state of a domain");
    return search_xml(s, user_text("saved state", "", " of domain ", name), xml, false, &user, e);
}

static int search_snapshots(struct search *s, virDomainPtr dom, struct err *e)
{
    virDomainSnapshotPtr *snapshots = NULL;
    int n = virDomainListAllSnapshots(dom, &snapshots, 0), rc = 0;
    if (n < 0)
        return virt_last_error_is(VIR_ERR_NO_SUPPORT)
                   ? 0
                   : search_gone(s, VIR_ERR_NO_DOMAIN, "cannot list a domain's snapshots", e);
    for (int i = 0; i < n; i++) {
        bool user;
        CLEANUP_FREE char *xml = rc == 0 ? virDomainSnapshotGetXMLDesc(snapshots[i], 0) : NULL;
        if (rc == 0 && xml == NULL)
            rc = search_gone(s, VIR_ERR_NO_DOMAIN_SNAPSHOT, "cannot read a snapshot", e);
        else if (rc == 0)
            rc = search_xml(s,
                            user_text("snapshot ", virDomainSnapshotGetName(snapshots[i]),
                                      " of domain ", virDomainGetName(dom)),
                            xml, false, &user, e);
        virDomainSnapshotFree(snapshots[i]);
    }
    free(snapshots);
    return rc;
}

static int search_checkpoints(struct search *s, virDomainPtr dom, struct err *e)
{
    virDomainCheckpointPtr *checkpoints = NULL;
    int n = virDomainListAllCheckpoints(dom, &checkpoints, 0), rc = 0;
    if (n < 0)
        return virt_last_error_is(VIR_ERR_NO_SUPPORT)
                   ? 0
                   : search_gone(s, VIR_ERR_NO_DOMAIN, "cannot list a domain's checkpoints", e);
    for (int i = 0; i < n; i++) {
        bool user;
        CLEANUP_FREE char *xml = rc == 0 ? virDomainCheckpointGetXMLDesc(checkpoints[i], 0) : NULL;
        if (rc == 0 && xml == NULL)
            rc = search_gone(s, VIR_ERR_NO_DOMAIN_CHECKPOINT, "cannot read a checkpoint", e);
        else if (rc == 0)
            rc = search_xml(s,
                            user_text("checkpoint ", virDomainCheckpointGetName(checkpoints[i]),
                                      " of domain ", virDomainGetName(dom)),
                            xml, false, &user, e);
        virDomainCheckpointFree(checkpoints[i]);
    }
    free(checkpoints);
    return rc;
}

/* What a domain that runs is known to read only, and what is no path that QEMU opens. The bases of a disk
 * that is being mirrored may be in the way of that. */
static const char search_read_only[] =
    "/domain/devices/disk[readonly or @device='cdrom']"
    "|/domain/devices/disk[not(readonly) and not(@device='cdrom') and not(mirror)]/backingStore"
    "|/domain/os/kernel|/domain/os/initrd|/domain/os/dtb|/domain/os/loader[@readonly='yes']"
    "|/domain/title|/domain/description|/domain/metadata";

/* The rest of its definition; xmlFree() it. NULL: no memory. */
static xmlChar *search_written(const char *xml, struct err *e)
{
    xmlChar *text = NULL;
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "a domain's XML", e);
    if (doc == NULL)
        return NULL;
    CLEANUP_NODES struct xml_nodes nodes = xml_select(doc, NULL, search_read_only);
    for (size_t i = 0; i < nodes.n; i++) {
        xmlUnlinkNode(nodes.at[i]);
        xmlFreeNode(nodes.at[i]);
    }
    xmlDocDumpMemory(doc, &text, NULL);
    if (text == NULL)
        search_no_memory(e);
    return text;
}

/* A job may write to any image of the chain, as a commit does to a base. */
static bool search_has_job(virDomainPtr dom, xmlDocPtr doc)
{
    CLEANUP_NODES struct xml_nodes disks =
        xml_select(doc, NULL, "/domain/devices/disk/target/@dev");
    for (size_t i = 0; i < disks.n; i++) {
        virDomainBlockJobInfo info;
        CLEANUP_FREE char *disk = xml_value(doc, disks.at[i], ".");
        if (disk == NULL || virDomainGetBlockJobInfo(dom, disk, &info, 0) != 0)
            return true;
    }
    return false;
}

/* Whether the domain, which runs as `live` and uses some of the files, only reads them: 1, 0, -1. */
static int search_only_reads(struct search *s, virDomainPtr dom, const char *live, struct err *e)
{
    const struct domain_move m = {.pool = "", .name = search_name, .arg = s};
    CLEANUP_XML xmlDocPtr doc = NULL;
    xmlChar *text = search_written(live, e);
    if (text == NULL)
        return -1;
    int writes = domain_edit_uses_path((const char *)text, "a domain", &m, e);
    if (writes == 0)
        doc = xml_parse((const char *)text, "a domain's XML", e);
    xmlFree(text);
    if (writes != 0 || doc == NULL)
        return writes > 0 ? 0 : -1;
    CLEANUP_NODES struct xml_nodes remote = xml_select(doc, NULL, "//source[@protocol='nfs']");
    for (size_t i = 0; writes == 0 && i < remote.n; i++)
        writes = search_nfs(s, doc, remote.at[i]);
    return writes == 0 && search_all_volumes(s, doc) == 0 && !s->data && !search_has_job(dom, doc);
}

/* What it runs with. */
static int search_running(struct search *s, virDomainPtr dom, const char *live, bool *is_user,
                          struct err *e)
{
    const size_t before = s->users->n;
    s->data = false;
    if (search_xml(s, user_text("domain ", virDomainGetName(dom), "", ", which runs"), live, true,
                   is_user, e) < 0)
        return -1;
    if (s->users->n == before || s->users->at[before].unknown)
        return 0;
    int reads = search_only_reads(s, dom, live, e);
    s->users->at[before].reads = reads > 0;
    return reads < 0 ? -1 : 0;
}

static int search_definition(struct search *s, virDomainPtr dom, bool active, struct err *e)
{
    char uuid[VIRT_UUID_TEXT];
    bool user = false;
    const char *name = virDomainGetName(dom);
    if (virDomainGetUUIDString(dom, uuid) < 0)
        return virt_host_fail(s->host, e, name);
    const char *will_be =
        s->intent->definition != NULL ? s->intent->definition(s->intent->arg, uuid) : NULL;
    if (will_be != NULL)
        return search_xml(s, user_text("domain ", name, "", ""), will_be, false, &user, e);
    CLEANUP_FREE char *live = active ? virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_SECURE) : NULL;
    if (active && live == NULL)
        return search_gone(s, VIR_ERR_OPERATION_INVALID, name, e);
    if (live != NULL && search_running(s, dom, live, &user, e) < 0)
        return -1;
    if (user || virDomainIsPersistent(dom) != 1)
        return 0;
    CLEANUP_FREE char *xml =
        virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (xml == NULL)
        return search_gone(s, VIR_ERR_NO_DOMAIN, name, e);
    return search_xml(s, user_text("domain ", name, "", active ? ", by its definition" : ""), xml,
                      false, &user, e);
}

static int search_domains(struct search *s, virConnectPtr conn, struct err *e)
{
    virDomainPtr *doms = NULL;
    int n = virConnectListAllDomains(conn, &doms, 0), rc = 0;
    if (n < 0)
        return virt_host_fail(s->host, e, "cannot list the domains");
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = search_definition(s, doms[i], virDomainIsActive(doms[i]) == 1, e);
        if (rc == 0)
            rc = search_saved(s, doms[i], e);
        if (rc == 0)
            rc = search_snapshots(s, doms[i], e);
        if (rc == 0)
            rc = search_checkpoints(s, doms[i], e);
        virDomainFree(doms[i]);
    }
    free(doms);
    return rc;
}

/* ---- pools ---- */

bool search_is_intended(const struct search *s, const struct known_pool *p)
{
    return s->intent->pool != NULL && strcmp(p->name, s->intent->pool) == 0;
}

static int search_read_pool(struct search *s, virStoragePoolPtr pool, struct err *e)
{
    struct known_pool *p = &s->pools[s->n_pools++];
    *p = (struct known_pool){.pool = pool, .name = strdup(virStoragePoolGetName(pool))};
    /* what it runs with: after 'virsh pool-edit' that is not what it is defined as */
    CLEANUP_FREE char *xml = virStoragePoolGetXMLDesc(pool, 0);
    if (xml == NULL)
        return search_gone(s, VIR_ERR_NO_STORAGE_POOL, "cannot read a pool", e);
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "a pool's XML", e);
    if (doc == NULL || p->name == NULL)
        return doc == NULL ? -1 : search_no_memory(e);
    p->given = search_is_intended(s, p) && s->intent->target != NULL;
    p->target = p->given ? strdup(s->intent->target) : xml_value(doc, NULL, "/pool/target/path");
    p->holds_files =
        xml_has(doc, NULL, "/pool[@type='dir' or @type='fs' or @type='netfs' or @type='vstorage']");
    CLEANUP_FREE char *format = xml_value(doc, NULL, "/pool/source/format/@type");
    if (xml_has(doc, NULL, "/pool[@type='netfs']") &&
        (format == NULL || strcmp(format, "auto") == 0 || strcmp(format, "nfs") == 0)) {
        p->server = xml_value(doc, NULL, "/pool/source/host/@name");
        p->export = xml_value(doc, NULL, "/pool/source/dir/@path");
        if (p->export == NULL)
            free(TAKE(p->server));
    }
    return 0;
}

static int search_read_pools(struct search *s, virConnectPtr conn, struct err *e)
{
    virStoragePoolPtr *pools = NULL;
    int n = virConnectListAllStoragePools(conn, &pools, 0), rc = 0;
    if (n < 0)
        return virt_last_error_is(VIR_ERR_NO_SUPPORT)
                   ? 0
                   : virt_host_fail(s->host, e, "cannot list the pools");
    s->pools = calloc((size_t)n + 1, sizeof *s->pools);
    if (s->pools == NULL)
        rc = search_no_memory(e);
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = search_read_pool(s, pools[i], e);
        else
            virStoragePoolFree(pools[i]);
    }
    free(pools);
    return rc;
}

/* Its directory, as it runs or is defined. */
static int search_pool_itself(struct search *s, const struct known_pool *p, struct err *e)
{
    if (search_is_intended(s, p))
        return 0;
    const unsigned flags[] = {0, VIR_STORAGE_XML_INACTIVE};
    for (size_t i = 0; i < 2; i++) {
        CLEANUP_FREE char *xml = virStoragePoolGetXMLDesc(p->pool, flags[i]);
        if (xml == NULL)
            return search_gone(s, VIR_ERR_NO_STORAGE_POOL, "cannot read a pool", e);
        CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "a pool's XML", e);
        if (doc == NULL)
            return -1;
        CLEANUP_NODES struct xml_nodes paths = xml_select(
            doc, NULL, "/pool/target/path|/pool/source/dir/@path|/pool/source/device/@path");
        for (size_t k = 0; k < paths.n; k++) {
            CLEANUP_FREE char *path = xml_value(doc, paths.at[k], ".");
            free(TAKE(s->found));
            bool remote = p->server != NULL && paths.at[k]->type == XML_ATTRIBUTE_NODE;
            if (path != NULL && !remote && search_path(s, path))
                return search_add(s, user_text("pool ", p->name, "", ""), path, false, false, e);
        }
    }
    return 0;
}

static int search_pools(struct search *s, struct err *e)
{
    for (size_t i = 0; i < s->n_pools; i++)
        if (search_pool_itself(s, &s->pools[i], e) < 0)
            return -1;
    return 0;
}

/* ---- the whole ---- */

static void search_close(struct search *s)
{
    for (size_t i = 0; i < s->n_pools; i++) {
        free(s->pools[i].name);
        free(s->pools[i].target);
        free(s->pools[i].server);
        free(s->pools[i].export);
        virStoragePoolFree(s->pools[i].pool);
    }
    free(s->pools);
    free(s->found);
    search_files_close(s);
    virt_host_close(s->host);
}

int virt_users_find(const char *uri, const struct image_files *files,
                    const struct pool_intent *intent, struct file_users *users, struct err *e)
{
    static const struct pool_intent as_it_is = {0};
    struct search s = {.files = files,
                       .intent = intent != NULL ? intent : &as_it_is,
                       .here = virt_uri_is_here(uri),
                       .users = users};
    s.host = virt_host_open(uri, "libvirt", e);
    if (s.host == NULL)
        return -1;
    int rc = -1;
    {
        CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(s.host, e);
        if (conn != NULL && search_read_pools(&s, conn, e) == 0 &&
            search_domains(&s, conn, e) == 0 && search_pools(&s, e) == 0 &&
            search_files(&s, conn, e) == 0)
            rc = 0;
    }
    search_close(&s);
    return rc;
}
