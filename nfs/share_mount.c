/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Where the export ends and the path below it begins, the URL does not say. Servers allow to mount
 * directories below an export, usually; so the whole path is mounted, and only where that is
 * refused, its parent, and so on; what was cut off is then looked up. This finds the directory on
 * servers of either kind, and distinguishes "no such directory" from "no such export".
 */
#include "nfs/share_mount.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/log.h"
#include "nfs/share_control.h"
#include "nfs/share_names.h"
#include "nfs/share_proc.h"

#define MOUNT_MORE ", …" /* exports that are not shown */

enum { MOUNT_IO_MAX_BYTES = 1 << 20 /* what servers usually take at most */ };

/* Cuts the last name off `path` ("/a/b" → "/a" → "/"); false at the root. */
static bool mount_cut(char *path)
{
    if (strcmp(path, "/") == 0)
        return false;
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* ---- why a mount was refused ---- */

struct mount_exports {
    const char *path; /* what is to be mounted */
    bool found;       /* an export that it is in, or that is in it */
    char at[PATH_MAX], clients[256];
    char all[1024]; /* those that there is room for */
    bool cut;       /* there are more */
};

/* Whether `path` is `dir`, or in it. */
static bool mount_is_in(const char *path, const char *dir)
{
    size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void mount_list_export(struct mount_exports *x, const char *path)
{
    size_t len = strlen(x->all);
    const char *comma = len > 0 ? ", " : "";
    x->cut = len + strlen(comma) + strlen(path) + sizeof MOUNT_MORE > sizeof x->all;
    snprintf(x->all + len, sizeof x->all - len, "%s%s", x->cut ? "" : comma,
             x->cut ? MOUNT_MORE : path);
}

static bool mount_note_export(void *arg, const char *path, const char *clients)
{
    struct mount_exports *x = arg;
    if (!x->cut)
        mount_list_export(x, path);
    if (mount_is_in(x->path, path) && (!x->found || strlen(path) > strlen(x->at))) {
        x->found = true;
        snprintf(x->at, sizeof x->at, "%s", path);
        snprintf(x->clients, sizeof x->clients, "%s", clients);
    }
    return true; /* the one that is looked for may come late */
}

/* What the server saw of us: the port, and the address as text. */
static int mount_own_port(const struct share_conn *c, char address[NI_MAXHOST])
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    char port[NI_MAXSERV];
    strcpy(address, "this host");
    if (getsockname(share_conn_fd(c), (struct sockaddr *)&at, &len) < 0 ||
        getnameinfo((struct sockaddr *)&at, len, address, NI_MAXHOST, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return 0;
    return atoi(port);
}

static int mount_hint_port(const struct share_place *p, int port, const char *at, struct err *e)
{
    return err_hint(
        e,
        "%s: 'secure' exports, the default, take only requests from ports below 1024, which "
        "root alone may use, and this one came from %d: run godwit as root, or export %s with "
        "'insecure'",
        p->host, port, at);
}

/* The list of exports shows which of the reasons for the same status it was. */
static int mount_explain(const struct share_place *p, struct share_conn *c, int64_t deadline_ns,
                         struct err *e)
{
    struct mount_exports x = {.path = p->url.path};
    struct err why = {0};
    char address[NI_MAXHOST];
    if (e->sys == EPROTONOSUPPORT)
        return -1;
    int port = share_conn_lost(c) ? 0 : mount_own_port(c, address);
    if (share_proc_exports(c, mount_note_export, &x, deadline_ns, &why) < 0)
        return err_hint(e, "is the path right, and may this host use it? (showmount -e %s)",
                        p->url.host);
    if (!x.found) {
        int sys = e->sys;
        err_clear(e);
        err_set(e, ERR_REFUSED, 0, "the server refuses to mount %s: there is no such export",
                p->url.path);
        e->sys = sys;
        return x.all[0] != '\0'
                   ? err_hint(e, "what %s exports: %s", p->host, x.all)
                   : err_hint(e, "%s exports nothing at all, or does not list it", p->host);
    }
    if (e->sys != EACCES && e->sys != EPERM)
        return err_hint(e, "%s is exported, but is there a %s in it?", x.at, p->url.path);
    if (port >= 1024)
        return mount_hint_port(p, port, x.at, e);
    return err_hint(
        e, "%s exports %s to: %s; is %s among them? (/etc/exports, exportfs -v; ganesha: Clients)",
        p->host, x.at, x.clients[0] != '\0' ? x.clients : "everybody", address);
}

/* ---- mounting ---- */

/* Of the refusals on the way up, the one that says most: "no such thing" least of all. */
static void mount_keep(struct err *kept, const struct err *e)
{
    if (kept->class == ERR_NONE || (kept->sys == ENOENT && e->sys != ENOENT) ||
        (kept->sys != EPROTONOSUPPORT && e->sys == EPROTONOSUPPORT))
        *kept = *e;
}

/* Mounts the longest part of the URL's path that the server permits; *rest is what remains. */
static int mount_longest(struct share_place *p, struct share_fh *root, const char **rest,
                         int64_t deadline_ns, struct err *e)
{
    struct share_conn *c = share_control_connect(p, MOUNT_PROGRAM, deadline_ns, e);
    if (c == NULL)
        return -1;
    char path[PATH_MAX];
    struct err kept = {0};
    strcpy(path, p->url.path);
    int rc;
    while ((rc = share_proc_mount(c, path, root, deadline_ns, e)) < 0 && e->class == ERR_REFUSED) {
        mount_keep(&kept, e);
        if (!mount_cut(path)) {
            *e = kept;
            mount_explain(p, c, deadline_ns, e);
            break;
        }
        err_clear(e);
    }
    share_conn_close(c);
    if (rc < 0)
        return -1;
    log_debug("%s: mounted %s", p->text, path);
    *rest = p->url.path + strlen(path);
    *rest += **rest == '/';
    return 0;
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
    if (p->control == NULL || share_proc_fsinfo(p->control, &mounted, &limits, deadline_ns, e) < 0)
        return -1;
    int found = share_names_walk(p->control, &mounted, rest, &at, deadline_ns, e);
    if (found < 0)
        return -1;
    if (found == 0) {
        err_set(e, ERR_REFUSED, 0, "no such directory");
        e->sys = ENOENT;
        return err_hint(e, "the share %s is there, but not '%s' in it", p->host, rest);
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
