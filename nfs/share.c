/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Finding the directory. Where the export ends and the path below it begins, the URL does not
 * tell. Servers allow to mount directories below an export, as a rule; so the whole path is
 * mounted, and only where that is refused, its parent, and so on; what was cut off is then looked
 * up. This finds the directory on servers of either kind, and tells "no such directory" from "no
 * such export".
 *
 * Connections. All go to the NFS port and are alike; a file handle is good on each. WRITEs and
 * COMMITs have connections of their own (share_data), and so has the mount protocol, for a moment.
 * The blocking procedures go over the control connection. That one is idle while a file is copied,
 * and servers close what is idle; so it is looked at before each use, and opened anew if need be.
 * After a failure that is tried for a few seconds, and then the file stays.
 *
 * NFS has no rename that refuses to replace. publish() looks first; a file that somebody else makes
 * under that name between the look and the rename is replaced.
 */
#include "nfs/share.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_data.h"
#include "nfs/share_proc.h"
#include "nfs/share_url.h"

enum {
    SHARE_IO_MAX_BYTES = 1 << 20, /* what servers take at most, as a rule; FSINFO may say less */
    SHARE_TEMP_RANDOM = 6,
    SHARE_TEMP_STEM_MAX = 200, /* of the final name, in the temporary one */
    SHARE_ASK_TRIES = 3,
};

#define SHARE_OPEN_NS (15 * NS_PER_S) /* for all of opening */
#define SHARE_CALL_NS (60 * NS_PER_S) /* for one request, if the options do not say */
#define SHARE_RECONNECT_NS (5 * NS_PER_S)

struct share_place {
    struct store_place base;
    struct share_url url;
    struct share_options options;
    struct share_fh dir;
    struct share_conn *control; /* NULL: none yet */
    struct share_data *data;
    char text[];
};

struct share_file {
    struct store_file base;
    struct share_fh fh;
    uint64_t inode;
    char name[STORE_NAME_MAX + 1];
    char temp_name[STORE_NAME_MAX + 1];
};

/* ---- connections ---- */

static struct share_target share_target(const struct share_place *p, int program)
{
    return (struct share_target){
        .host = p->url.host,
        .port = program == NFS_PROGRAM ? p->url.nfs_port : p->url.mount_port,
        .program = program,
        .timeout_ns = p->options.timeout_ns,
    };
}

static struct share_conn *share_connect(struct share_place *p, int program, int64_t deadline_ns,
                                        struct err *e)
{
    struct share_target t = share_target(p, program);
    return share_conn_open(p->base.ring, &t, deadline_ns, e);
}

/* The control connection, alive. NULL: no server is there any more. */
static struct share_conn *share_control(struct share_place *p, struct err *e)
{
    if (p->control != NULL && share_conn_check(p->control))
        return p->control;
    struct share_conn *c =
        share_connect(p, NFS_PROGRAM, clock_now_ns() + SHARE_RECONNECT_NS, e);
    if (c == NULL)
        return NULL;
    share_conn_close(p->control);
    p->control = c;
    return c;
}

/*
 * Asks on a connection that lives, and again where it turns out that it does not: for what can be
 * asked twice.
 */
typedef int share_ask_fn(struct share_place *p, struct share_conn *c, void *arg,
                         int64_t deadline_ns, struct err *e);

static int share_ask_again(struct share_place *p, share_ask_fn *ask, void *arg, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + SHARE_RECONNECT_NS;
    for (unsigned tries = 1;; tries++) {
        struct share_conn *c = share_control(p, e);
        if (c == NULL)
            return -1;
        int rc = ask(p, c, arg, deadline_ns, e);
        if (rc >= 0 || e->class != ERR_LOST || tries == SHARE_ASK_TRIES)
            return rc;
        err_clear(e);
    }
}

/* ---- finding the directory ---- */

/* Cuts the last name off `path` ("/a/b" → "/a" → "/"); false at the root. */
static bool share_cut(char *path)
{
    if (strcmp(path, "/") == 0)
        return false;
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* Mounts the longest part of the URL's path that the server permits; *rest is what remains. */
static int share_mount(struct share_place *p, struct share_fh *root, const char **rest,
                       int64_t deadline_ns, struct err *e)
{
    struct share_conn *c = share_connect(p, MOUNT_PROGRAM, deadline_ns, e);
    if (c == NULL)
        return -1;
    char path[PATH_MAX];
    strcpy(path, p->url.path);
    int rc;
    while ((rc = share_proc_mount(c, path, root, deadline_ns, e)) < 0 && e->class == ERR_REFUSED) {
        struct err first = *e;
        if (!share_cut(path)) {
            *e = first;
            break;
        }
        err_clear(e);
    }
    share_conn_close(c);
    if (rc == 0) {
        log_debug("%s: mounted %s", p->text, path);
        *rest = p->url.path + (strcmp(path, "/") == 0 ? 1 : strlen(path));
        return 0;
    }
    if (e->class == ERR_REFUSED)
        err_hint(e, "is the path right, and may this host use it? (showmount -e %s)", p->url.host);
    return -1;
}

/* Looks up `rest`, "/a/b", from the root that was mounted. */
static int share_walk(struct share_place *p, struct share_conn *c, struct share_entry *at,
                      const char *rest, int64_t deadline_ns, struct err *e)
{
    if (share_proc_getattr(c, &at->fh, &at->attr, deadline_ns, e) < 0)
        return -1;
    char name[STORE_NAME_MAX + 1];
    for (size_t len; *rest != '\0'; rest += len) {
        rest += *rest == '/';
        len = strcspn(rest, "/");
        if (len > STORE_NAME_MAX)
            return err_set(e, ERR_REFUSED, ENAMETOOLONG, "%.32s…", rest);
        memcpy(name, rest, len);
        name[len] = '\0';
        struct share_fh dir = at->fh;
        int found = at->attr.type == STORE_DIRECTORY
                        ? share_proc_lookup(c, &dir, name, at, deadline_ns, e)
                        : 0;
        if (found < 0)
            return -1;
        if (found == 0) {
            err_set(e, ERR_REFUSED, 0, "no such directory");
            return err_hint(e, "the share %s is there, but not '%s' in it", p->url.host, name);
        }
    }
    if (at->attr.type == STORE_DIRECTORY)
        return 0;
    err_set(e, ERR_REFUSED, 0, "not a directory");
    return err_hint(e, "the destination is the directory that the images go to");
}

static int share_find(struct share_place *p, int64_t deadline_ns, struct err *e)
{
    struct share_entry at;
    const char *rest;
    if (share_mount(p, &at.fh, &rest, deadline_ns, e) < 0)
        return -1;
    struct share_conn *c = p->control = share_connect(p, NFS_PROGRAM, deadline_ns, e);
    struct share_limits limits;
    if (c == NULL || share_proc_fsinfo(c, &at.fh, &limits, deadline_ns, e) < 0 ||
        share_walk(p, c, &at, rest, deadline_ns, e) < 0)
        return -1;
    p->dir = at.fh;
    p->base.io_max_bytes = SHARE_IO_MAX_BYTES;
    if (limits.write_max_bytes > 0 && limits.write_max_bytes < SHARE_IO_MAX_BYTES)
        p->base.io_max_bytes = limits.write_max_bytes;
    struct share_target t = share_target(p, NFS_PROGRAM);
    p->data = share_data_open(p->base.ring, &t, p->options.connections, p->options.path,
                              deadline_ns, e);
    return p->data != NULL ? 0 : -1;
}

/* ---- the port: names ---- */

static struct share_place *share_of(struct store_place *p)
{
    return (struct share_place *)p;
}

static int64_t share_deadline(int64_t ns)
{
    return clock_now_ns() + ns;
}

static int share_lookup(struct store_place *place, const char *name, struct store_attr *attr,
                        struct err *e)
{
    struct share_place *p = share_of(place);
    struct share_entry entry;
    struct share_conn *c = share_control(p, e);
    int found = c == NULL ? -1
                          : share_proc_lookup(c, &p->dir, name, &entry,
                                              share_deadline(p->options.timeout_ns), e);
    if (found < 0)
        return err_wrap(e, "%s%s", p->text, name);
    if (found > 0)
        *attr = entry.attr;
    return found;
}

static void share_temp_name(const char *name, char temp[STORE_NAME_MAX + 1])
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ__";
    unsigned char random[SHARE_TEMP_RANDOM];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        memset(random, 0, sizeof random); /* CREATE still refuses a name that is taken */
    int n = snprintf(temp, STORE_NAME_MAX + 1, ".%.*s.godwit-", SHARE_TEMP_STEM_MAX, name);
    for (int i = 0; i < SHARE_TEMP_RANDOM; i++)
        temp[n++] = letters[random[i] % 64];
    temp[n] = '\0';
}

/* A name that is not there counts as removed. */
static int share_ask_remove(struct share_place *p, struct share_conn *c, void *name,
                            int64_t deadline_ns, struct err *e)
{
    if (share_proc_remove(c, &p->dir, name, deadline_ns, e) == 0)
        return 0;
    if (e->class != ERR_NFS || e->sys != ENOENT)
        return -1;
    err_clear(e);
    return 0;
}

/* A CREATE that failed, or whose answer was lost, may have left the file. */
static void share_create_undo(struct share_place *p, struct share_file *f, struct err *why)
{
    struct err e = {0};
    if (share_ask_again(p, share_ask_remove, f->temp_name, &e) < 0)
        err_hint(why, "%s%s may be left there: remove it", p->text, f->temp_name);
}

static int share_create_temp(struct share_place *p, struct share_file *f, uint64_t size_bytes,
                             struct err *e)
{
    struct share_entry entry;
    struct share_conn *c = share_control(p, e);
    if (c == NULL || share_data_mend(p->data, share_deadline(SHARE_RECONNECT_NS), e) < 0)
        return -1;
    if (share_proc_create(c, &p->dir, f->temp_name, size_bytes, &entry,
                          share_deadline(p->options.timeout_ns), e) < 0) {
        if (e->sys != EEXIST)
            share_create_undo(p, f, e);
        return -1;
    }
    f->fh = entry.fh;
    f->inode = entry.attr.inode;
    return 0;
}

static struct store_file *share_create(struct store_place *place, const char *name,
                                       uint64_t size_bytes, struct err *e)
{
    struct share_place *p = share_of(place);
    struct share_file *f = calloc(1, sizeof *f);
    if (f == NULL || strlen(name) > STORE_NAME_MAX) {
        err_set(e, ERR_NFS, f == NULL ? ENOMEM : ENAMETOOLONG, "%s%s", p->text, name);
        free(f);
        return NULL;
    }
    strcpy(f->name, name);
    share_temp_name(name, f->temp_name);
    f->base = (struct store_file){
        .place = place, .name = f->name, .temp_name = f->temp_name, .align_bytes = 1};

    if (share_create_temp(p, f, size_bytes, e) < 0) {
        err_wrap(e, "%s%s: cannot create it", p->text, name);
        free(f);
        return NULL;
    }
    return &f->base;
}

/* Only root, and only where the server does not squash it, may give a file away. */
static int share_give_attributes(struct share_place *p, struct share_conn *c,
                                 struct share_file *f, const struct store_attr *attr,
                                 struct err *e)
{
    int64_t deadline_ns = share_deadline(p->options.timeout_ns);
    if (share_proc_setattr(c, &f->fh, attr, true, deadline_ns, e) == 0)
        return 0;
    if (e->class != ERR_NFS || (e->sys != EPERM && e->sys != EACCES))
        return -1;
    err_clear(e);
    log_warn("%s%s: the server does not let us give it to uid %u, gid %u", p->text, f->name,
             attr->uid, attr->gid);
    return share_proc_setattr(c, &f->fh, attr, false, deadline_ns, e);
}

struct share_name {
    const char *name;
    struct share_entry entry;
};

static int share_ask_lookup(struct share_place *p, struct share_conn *c, void *arg,
                            int64_t deadline_ns, struct err *e)
{
    struct share_name *n = arg;
    return share_proc_lookup(c, &p->dir, n->name, &n->entry, deadline_ns, e);
}

/* After a RENAME without an answer: whether our file has its final name all the same. */
static bool share_renamed(struct share_place *p, struct share_file *f)
{
    struct err e = {0};
    struct share_name n = {.name = f->name};
    return share_ask_again(p, share_ask_lookup, &n, &e) > 0 && n.entry.attr.inode == f->inode;
}

static int share_publish(struct store_file *file, const struct store_attr *attr, bool overwrite,
                         struct err *e)
{
    struct share_place *p = share_of(file->place);
    struct share_file *f = (struct share_file *)file;
    struct share_entry entry;
    int64_t deadline_ns = share_deadline(p->options.timeout_ns);
    struct share_conn *c = share_control(p, e);
    int found = 0;
    if (c == NULL || share_give_attributes(p, c, f, attr, e) < 0 ||
        (!overwrite &&
         (found = share_proc_lookup(c, &p->dir, f->name, &entry, deadline_ns, e)) < 0))
        return err_wrap(e, "%s%s: cannot publish it", p->text, f->name);
    if (found > 0)
        return err_set(e, ERR_NFS, EEXIST, "%s%s: was made by somebody else meanwhile", p->text,
                       f->name);
    if (share_proc_rename(c, &p->dir, f->temp_name, f->name, deadline_ns, e) < 0) {
        if (e->class == ERR_NFS || !share_renamed(p, f))
            return err_wrap(e, "%s%s: cannot rename it from %s", p->text, f->name, f->temp_name);
        err_clear(e);
    }
    file->temp_name = NULL;
    return 0;
}

/* ---- the port: data ---- */

static void share_write(struct store_io *io)
{
    const struct share_file *f = (const struct share_file *)io->file;
    share_data_write(share_of(io->file->place)->data, &f->fh, io);
}

static void share_commit(struct store_io *io)
{
    const struct share_file *f = (const struct share_file *)io->file;
    share_data_commit(share_of(io->file->place)->data, &f->fh, io);
}

static void share_stop(struct store_place *place)
{
    share_data_stop(share_of(place)->data);
}

static int share_file_close(struct store_file *file, struct err *e)
{
    struct share_place *p = share_of(file->place);
    struct share_file *f = (struct share_file *)file;
    int rc = 0;
    if (file->temp_name != NULL && share_ask_again(p, share_ask_remove, f->temp_name, e) < 0)
        rc = err_wrap(e, "%s%s: cannot remove it", p->text, f->temp_name);
    free(f);
    return rc;
}

static void share_place_close(struct store_place *place)
{
    struct share_place *p = share_of(place);
    share_data_close(p->data);
    share_conn_close(p->control);
    free(p);
}

static const struct store_ops share_ops = {
    .scheme = "nfs",
    .lookup = share_lookup,
    .create = share_create,
    .write = share_write,
    .commit = share_commit,
    .publish = share_publish,
    .stop = share_stop,
    .file_close = share_file_close,
    .place_close = share_place_close,
};

/* "nfs://host/dir/": with its slash, as the prefix of names in messages. */
static struct share_place *share_new(struct ring *ring, const struct share_url *url,
                                     const struct share_options *options, struct err *e)
{
    size_t room = sizeof "nfs:///" + strlen(url->host) + strlen(url->path);
    struct share_place *p = calloc(1, sizeof *p + room);
    if (p == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%s", url->host);
        return NULL;
    }
    p->url = *url;
    p->options = *options;
    if (p->options.timeout_ns == 0)
        p->options.timeout_ns = SHARE_CALL_NS;
    snprintf(p->text, room, "nfs://%s%s%s", url->host, url->path,
             strcmp(url->path, "/") == 0 ? "" : "/");
    p->base = (struct store_place){
        .ops = &share_ops,
        .ring = ring,
        .url = p->text,
        .depth = options->connections * options->depth,
    };
    return p;
}

struct store_place *share_open(struct ring *ring, const char *url,
                               const struct share_options *options, struct err *e)
{
    assert(options->connections > 0 && options->depth > 0);
    struct share_url parsed;
    if (share_url_parse(url, &parsed, e) < 0)
        return NULL;
    struct share_place *p = share_new(ring, &parsed, options, e);
    if (p == NULL)
        return NULL;
    if (share_find(p, share_deadline(SHARE_OPEN_NS), e) < 0) {
        e->class = ERR_REFUSED; /* nothing was touched yet */
        err_wrap(e, "%s", p->text);
        share_place_close(&p->base);
        return NULL;
    }
    return &p->base;
}
