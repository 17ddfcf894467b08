/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Where the export ends and the path below it begins, the URL does not tell. Servers allow to mount
 * directories below an export, as a rule; so the whole path is mounted, and only where that is
 * refused, its parent, and so on; what was cut off is then looked up. This finds the directory on
 * servers of either kind, and tells "no such directory" from "no such export".
 */
#include "nfs/share_mount.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "nfs/share_control.h"
#include "nfs/share_names.h"
#include "nfs/share_proc.h"

enum { MOUNT_IO_MAX_BYTES = 1 << 20 /* what servers take at most, as a rule */ };

/* Cuts the last name off `path` ("/a/b" → "/a" → "/"); false at the root. */
static bool mount_cut(char *path)
{
    if (strcmp(path, "/") == 0)
        return false;
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* Mounts the longest part of the URL's path that the server permits; *rest is what remains. */
static int mount_longest(struct share_place *p, struct share_fh *root, const char **rest,
                         int64_t deadline_ns, struct err *e)
{
    struct share_conn *c = share_control_connect(p, MOUNT_PROGRAM, deadline_ns, e);
    if (c == NULL)
        return -1;
    char path[PATH_MAX];
    strcpy(path, p->url.path);
    int rc;
    while ((rc = share_proc_mount(c, path, root, deadline_ns, e)) < 0 && e->class == ERR_REFUSED) {
        struct err first = *e;
        if (!mount_cut(path)) {
            *e = first;
            break;
        }
        err_clear(e);
    }
    share_conn_close(c);
    if (rc == 0) {
        log_debug("%s: mounted %s", p->text, path);
        *rest = p->url.path + strlen(path);
        *rest += **rest == '/';
        return 0;
    }
    if (e->class == ERR_REFUSED)
        err_hint(e, "is the path right, and may this host use it? (showmount -e %s)", p->url.host);
    return -1;
}

static void mount_take_limits(struct share_place *p, struct share_conn *c,
                              const struct share_limits *limits, int64_t deadline_ns)
{
    uint32_t most = MOUNT_IO_MAX_BYTES;
    if (limits->write_max_bytes > 0 && limits->write_max_bytes < most)
        most = limits->write_max_bytes;
    if (limits->read_max_bytes > 0 && limits->read_max_bytes < most)
        most = limits->read_max_bytes;
    p->base.io_max_bytes = most;
    struct err e = {0};
    if (share_proc_fsstat(c, &p->root, &p->base.free_bytes, deadline_ns, &e) < 0) {
        log_debug("%s: cannot tell how much room there is: %s", p->text, e.msg);
        p->base.free_bytes = UINT64_MAX;
    }
}

int share_mount_find(struct share_place *p, int64_t deadline_ns, struct err *e)
{
    struct share_fh mounted;
    const char *rest;
    if (mount_longest(p, &mounted, &rest, deadline_ns, e) < 0)
        return -1;
    if (p->control == NULL || !share_conn_check(p->control)) {
        share_conn_close(p->control);
        p->control = share_control_connect(p, NFS_PROGRAM, deadline_ns, e);
    }
    struct share_limits limits;
    struct share_entry at;
    if (p->control == NULL ||
        share_proc_fsinfo(p->control, &mounted, &limits, deadline_ns, e) < 0)
        return -1;
    int found = share_names_walk(p->control, &mounted, rest, &at, deadline_ns, e);
    if (found < 0)
        return -1;
    if (found == 0) {
        err_set(e, ERR_REFUSED, 0, "no such directory");
        e->sys = ENOENT;
        return err_hint(e, "the share %s is there, but not '%s' in it", p->url.host, rest);
    }
    if (at.attr.type != STORE_DIRECTORY) {
        err_set(e, ERR_REFUSED, 0, "not a directory");
        e->sys = ENOTDIR;
        return err_hint(e, "a share is a directory: the image's name comes after it");
    }
    p->root = at.fh;
    mount_take_limits(p, p->control, &limits, deadline_ns);
    return 0;
}
