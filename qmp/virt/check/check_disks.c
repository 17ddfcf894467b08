/* SPDX-License-Identifier: Apache-2.0 */
/* Each disk: libvirt's own rule, whether the destination has the same one, and its cache mode. */
#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"
#include "qmp/virt/disk.h"

enum { QEMU_DROPS_CACHE = 4000000 /* 4.0.0 */ };

/* ---- where it lies ---- */

/*
 * As libvirt finds it out: of what cannot be looked at, the directory above is asked, up to the mount,
 * which root of a host may always look at. On the source itself the shell is started for FUSE alone.
 */
static bool disk_fs_here(const char *path, enum file_system *fs)
{
    char *at = strdup(path), *slash = NULL;
    struct statfs is;
    int rc = -1;
    while (at != NULL && (rc = statfs(*at != '\0' ? at : "/", &is)) < 0 &&
           (slash = strrchr(at, '/')) != NULL)
        *slash = '\0';
    free(at);
    *fs = rc == 0 ? file_system_of_magic((uint64_t)is.f_type & UINT32_MAX) : FILE_SYSTEM_UNKNOWN;
    return rc == 0 && *fs != FILE_SYSTEM_UNKNOWN;
}

static int disk_fs(struct check_side *side, const char *path, enum file_system *fs, struct err *e)
{
    char *script = NULL, said[400], *end;
    if (side->shell.kind == SHELL_LOCAL && disk_fs_here(path, fs))
        return 0;
    if (asprintf(
            &script,
            "p=%s; until s=$(stat -f -c %%t -- \"$p\" 2>&1); do [ \"$p\" != / ] && "
            "p=$(dirname -- \"$p\") || break; done; echo \"$s $(findmnt -n -o FSTYPE -T \"$p\")\"",
            text_shell_word(path)) < 0)
        return err_set(e, ERR_IO, ENOMEM, "no memory for %s", path);
    int status = shell_run(&side->shell, script, said, sizeof said, CHECK_SHELL_NS, e);
    free(script);
    if (status < 0)
        return -1;
    uint64_t magic = strtoull(said, &end, 16);
    if (status != 0 || end == said || *end != ' ')
        return err_set(e, ERR_IO, 0, "%s: %s", side->name, said);
    *fs = file_system_of_magic(magic);
    if (*fs == FILE_SYSTEM_UNKNOWN && end[1] != '\0')
        *fs = file_system_of_fuse(end + 1);
    return 0;
}

/* A pool's volume is what it is in the pool; false: it could not be found out. */
static bool disk_resolve(struct check_run *r, struct virt_disk *d, const char *what)
{
    bool known = false;
    virStoragePoolPtr pool = virStoragePoolLookupByName(r->from.conn, d->pool);
    virStorageVolPtr volume = pool != NULL ? virStorageVolLookupByName(pool, d->volume) : NULL;
    virStorageVolInfo info;
    char *path = volume != NULL ? virStorageVolGetPath(volume) : NULL;
    if (path != NULL && virStorageVolGetInfo(volume, &info) == 0) {
        known = true;
        d->type = info.type == VIR_STORAGE_VOL_FILE    ? VIRT_DISK_FILE
                  : info.type == VIR_STORAGE_VOL_BLOCK ? VIRT_DISK_BLOCK
                                                       : VIRT_DISK_NETWORK;
        d->path = text_keep("%s", path);
    } else {
        check_skip(r, &r->from, what, "cannot look up the disk's volume");
    }
    free(path);
    if (volume != NULL)
        virStorageVolFree(volume);
    if (pool != NULL)
        virStoragePoolFree(pool);
    return known;
}

/* ---- libvirt's rule ---- */

static void disk_rule(struct check_run *r, const struct virt_disk *d)
{
    char what[80];
    enum file_system fs = FILE_SYSTEM_UNKNOWN;
    const char *why;
    struct err e = {0};
    snprintf(what, sizeof what, "disk %s: libvirt's rule", d->target);
    if (d->type == VIRT_DISK_FILE && !d->readonly && disk_fs(&r->from, d->path, &fs, &e) < 0)
        fs = FILE_SYSTEM_UNKNOWN;
    if (virt_disk_is_safe(d, fs, r->from_qemu >= QEMU_DROPS_CACHE, &why)) {
        check_list_add(r->l, CHECK_OK, what, "%s",
                       d->type == VIRT_DISK_EMPTY     ? "it is empty"
                       : d->readonly                  ? "it is read-only"
                       : d->type == VIRT_DISK_NETWORK ? "QEMU itself opens it over the network"
                       : d->shareable
                           ? "it is shareable"
                           : "it is on shared storage, and no host caches it at the switchover");
        return;
    }
    check_list_add(r->l, check_risk(r), what, "libvirt calls it unsafe: %s (%s)%s%s", why, d->path,
                   e.class != ERR_NONE ? ": " : "", e.msg);
    if (strncmp(why, "its cache", 9) == 0)
        check_list_fix(r->l, "virt-xml -c %s %s --edit target=%s --disk cache=none", r->from.uri,
                       r->domain->name, d->target);
    else
        check_list_fix(r->l, "godwit relocate %s nfs://SERVER/EXPORT/", d->path);
}

/* ---- the same one there ---- */

/* Whether the server's name is one machine for both hosts: 1 or 0, or -1, not known; its addresses
 * there, as getent gives them. */
static int check_one_server(struct check_run *r, const char *server, char *address, size_t room)
{
    char script[400], there[400];
    struct err e = {0};
    address[0] = '\0';
    if (!check_may_shell(r, &r->from) || !check_may_shell(r, &r->to))
        return -1;
    snprintf(script, sizeof script, "getent ahosts -- %s | sed 's/ .*//' | sort -u | tr '\\n' ' '",
             text_shell_word(server));
    if (shell_run(&r->from.shell, script, address, room, CHECK_SHELL_NS, &e) != 0 ||
        shell_run(&r->to.shell, script, there, sizeof there, CHECK_SHELL_NS, &e) != 0)
        return -1;
    bool same = address[0] != '\0' && strcmp(address, there) == 0;
    snprintf(address, room, "%s", there);
    return same;
}

static void disk_network(struct check_run *r, const struct virt_disk *d, const char *what)
{
    char address[400];
    const char *name = d->protocol[0] != '\0' ? d->protocol : "network";
    int one = d->host[0] != '\0' ? check_one_server(r, d->host, address, sizeof address) : -1;
    if (one > 0) {
        check_list_add(r->l, CHECK_OK, what,
                       "%s is %son both hosts, so both reach %s of the same %s server", d->host,
                       address, d->path, name);
    } else if (one < 0) {
        check_list_add(r->l, CHECK_WARN, what,
                       "%s of %s server %s matches only by name; godwit did not check whether both "
                       "hosts see one image there",
                       d->path, name, d->host);
        check_list_fix(r->l, "godwit check -c %s %s %s", r->from.uri, r->domain->name, r->to.uri);
    } else {
        check_list_add(r->l, CHECK_REFUSE, what, "%s server %s resolves differently on %s: %s",
                       name, d->host, r->to.name,
                       address[0] != '\0' ? address : "the name is unknown there");
        check_fix_there(r->l, &r->to.shell, "getent ahosts %s", d->host);
    }
}

/* Device nodes have names that each host gives; a WWN is the device's own. */
static void disk_block(struct check_run *r, const struct virt_disk *d, const char *what)
{
    char script[PATH_MAX + 128], here[200], there[200];
    struct err e = {0};
    bool answered = check_may_shell(r, &r->from) && check_may_shell(r, &r->to);
    if (answered) {
        snprintf(script, sizeof script, "lsblk -ndo WWN,UUID,SERIAL -- %s | tr -s ' '",
                 text_shell_word(d->path));
        answered = shell_run(&r->from.shell, script, here, sizeof here, CHECK_SHELL_NS, &e) == 0 &&
                   shell_run(&r->to.shell, script, there, sizeof there, CHECK_SHELL_NS, &e) == 0;
    }
    bool named = answered && strspn(here, " ") != strlen(here);
    if (named && strcmp(here, there) == 0) {
        check_list_add(r->l, CHECK_OK, what, "%s is the same device on both hosts: %s", d->path,
                       here);
    } else if (named) {
        check_list_add(r->l, CHECK_REFUSE, what, "%s is a different device on %s: '%s', not '%s'",
                       d->path, r->to.name, there, here);
        check_list_fix(r->l, "lsblk -o NAME,WWN,UUID,SERIAL");
    } else {
        check_list_add(
            r->l, CHECK_WARN, what,
            "%s has the same name on both hosts, but no WWN, UUID or serial number to compare",
            d->path);
    }
}

static void disk_there(struct check_run *r, const struct virt_disk *d)
{
    char what[80];
    snprintf(what, sizeof what, "disk %s: shared storage", d->target);
    if (d->type == VIRT_DISK_FILE)
        check_file(r, what, d->path, d->readonly);
    else if (d->type == VIRT_DISK_BLOCK)
        disk_block(r, d, what);
    else if (d->type == VIRT_DISK_NETWORK)
        disk_network(r, d, what);
    else if (d->type != VIRT_DISK_EMPTY)
        check_list_add(r->l, CHECK_WARN, what, "godwit cannot compare a disk of this type");
}

static void disk_bases(struct check_run *r, xmlNodePtr node, const struct virt_disk *d)
{
    char what[80];
    CLEANUP_NODES struct xml_nodes bases = xml_select(r->xml, node, ".//backingStore/source/@file");
    snprintf(what, sizeof what, "disk %s: backing file", d->target);
    for (size_t i = 0; i < bases.n; i++) {
        CLEANUP_FREE char *path = xml_value(r->xml, bases.at[i], ".");
        if (path != NULL)
            check_file(r, what, path, true);
    }
}

void check_disks(struct check_run *r)
{
    CLEANUP_NODES struct xml_nodes disks = xml_select(r->xml, NULL, "/domain/devices/disk");
    for (size_t i = 0; i < disks.n; i++) {
        struct virt_disk d;
        char what[80];
        virt_disk_of_node(r->xml, disks.at[i], &d);
        snprintf(what, sizeof what, "disk %s: volume", d.target);
        if (d.type == VIRT_DISK_VOLUME && !disk_resolve(r, &d, what))
            continue;
        disk_rule(r, &d);
        if (r->to.host == NULL || r->same_host)
            continue;
        disk_there(r, &d);
        disk_bases(r, disks.at[i], &d);
    }
}

/* ---- cache modes ---- */

static void disk_cache(struct check_run *r, const struct virt_disk *d)
{
    char what[80];
    snprintf(what, sizeof what, "disk %s: cache", d->target);
    bool direct = strcmp(d->cache, "none") == 0 || strcmp(d->cache, "directsync") == 0;
    if (strcmp(d->cache, "unsafe") == 0)
        check_list_add(r->l, CHECK_WARN, what,
                       "cache=unsafe drops the guest's flushes: a host failure loses data that "
                       "the guest knows to be on disk");
    else if (direct || d->type == VIRT_DISK_NETWORK)
        check_list_add(r->l, CHECK_OK, what, "cache=%s: %s", d->cache,
                       direct ? "no host caches what the guest writes"
                              : "a network disk is not in a host's page cache");
    else
        check_list_add(r->l, CHECK_WARN, what,
                       "cache=%s keeps the guest's writes in this host's page cache; QEMU %s",
                       d->cache,
                       r->from_qemu >= QEMU_DROPS_CACHE
                           ? "flushes and drops it during the pause, which lengthens the pause"
                           : "before 4.0 does not drop it: data may be lost");
    if (r->l->n > 0 && r->l->at[r->l->n - 1].verdict == CHECK_WARN)
        check_list_fix(r->l, "virt-xml -c %s %s --edit target=%s --disk cache=none", r->from.uri,
                       r->domain->name, d->target);
}

void check_cache(struct check_run *r)
{
    CLEANUP_NODES struct xml_nodes disks = xml_select(r->xml, NULL, "/domain/devices/disk");
    for (size_t i = 0; i < disks.n; i++) {
        struct virt_disk d;
        virt_disk_of_node(r->xml, disks.at[i], &d);
        if (d.type != VIRT_DISK_EMPTY && !d.readonly)
            disk_cache(r, &d);
    }
}
