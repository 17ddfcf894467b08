/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * What the server is like, this machine finds out itself. That another host sees the same share,
 * and that QEMU may write there, is found out by a marker: QEMU's own NFS driver on that host makes
 * an image of a random name, and this machine looks for it through its own connection. One act
 * proves all three: one share, a way to it, permission to write. Then it is removed.
 */
#include "tools/cmd/check_nfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ring.h"
#include "core/text.h"
#include "nfs/share_check.h"
#include "nfs/share_url.h"
#include "tools/cmd/relocate_call.h"

enum { CHECK_NFS_DISKS_MAX = 64 };

struct check_nfs {
    struct virt_host *hosts[2]; /* the second may be NULL */
    struct ring *ring;
    struct check_list *l;
};

/* What only another host can prove. */
static void nfs_from(struct check_nfs *n, struct virt_host *h, struct share_check *s,
                     const char *url, const struct share_user *user)
{
    char name[SHARE_CHECK_NAME], path[PATH_MAX + 64], what[80];
    struct share_url at;
    struct store_attr attr;
    struct err e = {0}, made = {0};
    if (share_url_parse(url, &at, &e) < 0)
        return;
    share_check_marker(name);
    snprintf(path, sizeof path, "%s/%s", strcmp(at.path, "/") == 0 ? "" : at.path, name);
    snprintf(what, sizeof what, "share %.50s: %s", url, virt_host_role(h));
    int rc = virt_check_make_image(h, at.host, path, user->uid, user->gid, &made);
    int seen = share_check_take(s, name, user, &attr, &e);
    if (rc < 0 && made.class == ERR_LOST) {
        check_list_add(n->l, CHECK_WARN, what,
                       "by name only: that the %s sees this share was not tried: %s",
                       virt_host_role(h), made.msg);
        check_list_fix(n->l, "apt-get install qemu-utils qemu-block-extra  # on the %s",
                       virt_host_role(h));
    } else if (rc < 0) {
        check_list_add(n->l, CHECK_REFUSE, what,
                       "QEMU's NFS driver there cannot write as %u:%u: %s", user->uid, user->gid,
                       made.msg);
        check_list_fix(n->l, "ssh root@%s exportfs -o rw,sync,no_root_squash CLIENT:%s", at.host,
                       at.path);
    } else if (seen < 0) {
        check_list_add(n->l, CHECK_SKIPPED, what, "a marker was made there: %s", e.msg);
        check_list_fix(n->l, "ssh root@%s rm -f %s", at.host, path);
    } else if (seen == 0) {
        check_list_add(n->l, CHECK_REFUSE, what,
                       "it has another share under this name: what it made is not to be seen here");
        check_list_fix(n->l, "getent ahosts %s  # on both hosts; there, remove %s", at.host, path);
    } else {
        check_list_add(n->l, CHECK_OK, what,
                       "one share: QEMU's NFS driver there made a marker as %u:%u, and it was seen "
                       "from here as %u:%u's, and removed",
                       user->uid, user->gid, attr.uid, attr.gid);
    }
}

static struct share_check *nfs_open(struct check_nfs *n, const char *url)
{
    struct err e = {0};
    char what[80];
    struct share_check *s = share_check_open(n->ring, url, &relocate_interrupted, &e);
    if (s != NULL || e.class == ERR_CANCELLED)
        return s;
    snprintf(what, sizeof what, "share %.60s", url);
    bool here = virt_check_is_here(n->hosts[0]);
    check_list_add(n->l, here ? CHECK_REFUSE : CHECK_SKIPPED, what, "%s%s", e.msg,
                   here ? "" : " (seen from this machine, which is neither of the hosts)");
    struct share_url at;
    struct err ignored = {0};
    if (share_url_parse(url, &at, &ignored) == 0)
        check_list_fix(n->l, "showmount -e %s", at.host);
    return NULL;
}

/* The users that QEMU is on the hosts; each host is asked as its own. */
static void nfs_share(struct check_nfs *n, const char *url, const struct share_user *user,
                      uint64_t need_bytes, struct share_check *s)
{
    share_check_room(s, need_bytes, n->l);
    share_check_write(s, user, n->l);
    for (int i = 0; i < 2 && !relocate_interrupted; i++)
        if (n->hosts[i] != NULL && !virt_check_is_here(n->hosts[i]))
            nfs_from(n, n->hosts[i], s, url, user);
}

/* Kept (core/text.h). */
static const char *nfs_url_of(const struct virt_nfs_disk *d, const char **name)
{
    const char *slash = strrchr(d->path, '/');
    *name = slash != NULL ? slash + 1 : d->path;
    return text_keep("nfs://%s%.*s/", text_url_host(d->server),
                     slash != NULL ? (int)(slash - d->path) : 0, d->path);
}

/* Disks of one directory and user are one share. */
static bool nfs_is_new(const struct virt_nfs_disk *disks, int i)
{
    const char *name, *url = nfs_url_of(&disks[i], &name);
    for (int k = 0; k < i; k++) {
        if (strcmp(url, nfs_url_of(&disks[k], &name)) == 0 && disks[k].uid == disks[i].uid &&
            disks[k].gid == disks[i].gid)
            return false;
    }
    return true;
}

static void nfs_disk(struct check_nfs *n, const struct virt_nfs_disk *disks, int i)
{
    const struct virt_nfs_disk *d = &disks[i];
    const struct share_user user = {(uint32_t)d->uid, (uint32_t)d->gid};
    char what[80];
    const char *name, *url = nfs_url_of(d, &name);
    struct store_attr attr = {0};
    struct share_check *s = nfs_open(n, url);
    if (s == NULL)
        return;
    snprintf(what, sizeof what, "disk %s: image", d->target);
    share_check_image(s, what, name, &user, &attr, n->l);
    if (nfs_is_new(disks, i))
        nfs_share(n, url, &user, 0, s);
    share_check_close(s);
}

int check_nfs_domain(struct virt_host *source, struct virt_host *destination,
                     const struct virt_domain *d, struct check_list *l, struct err *e)
{
    struct virt_nfs_disk *disks = calloc(CHECK_NFS_DISKS_MAX, sizeof *disks);
    struct check_nfs n = {.hosts = {source, destination}, .l = l};
    int count = -1;
    if (disks == NULL)
        err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of disks");
    else
        count = virt_check_nfs_disks(d, disks, CHECK_NFS_DISKS_MAX, e);
    if (count > 0 && (n.ring = ring_new(RING_AUTO, e)) == NULL)
        count = -1;
    for (int i = 0; i < count && !relocate_interrupted; i++)
        nfs_disk(&n, disks, i);
    ring_free(n.ring);
    free(disks);
    return count < 0 ? -1 : 0;
}

int check_nfs_share(struct virt_host *one, struct virt_host *other, const char *url,
                    uint64_t need_bytes, struct check_list *l, struct err *e)
{
    struct check_nfs n = {.hosts = {one, other}, .l = l};
    int64_t uid, gid;
    if (virt_check_qemu_user(one, &uid, &gid, e) < 0 || (n.ring = ring_new(RING_AUTO, e)) == NULL)
        return -1;
    const struct share_user user = {(uint32_t)uid, (uint32_t)gid};
    struct share_check *s = nfs_open(&n, url);
    if (s != NULL)
        nfs_share(&n, url, &user, need_bytes, s);
    share_check_close(s);
    ring_free(n.ring);
    return 0;
}
