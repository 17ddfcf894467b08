/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * NFSv3 has no open: a file is its handle, and the name that was looked up. When the handle goes
 * stale the new one is looked up by the name, as long as the file's id is the same.
 *
 * Requests whose answer got lost. A CREATE that finds its name taken is answered as EEXIST, be it
 * by a file of ours or not: the engine knows what to make of it. After a LINK or RENAME whose answer
 * got lost the final name is looked at: if our file stands there, it was done.
 *
 * Publishing. RENAME takes names and replaces whatever stands there; LINK takes the file's handle, and
 * the server refuses where the name is taken. So a new name is given by LINK, to the very file that was
 * written, and then the old name is removed, if it is still of that file. Only where something
 * is to be replaced, or the server has no LINK, it is a RENAME: both names are looked at right before,
 * and the new one after it. A file that is found under another handle meanwhile is not published: inode
 * and size are no proof, and it is for the engine to find one.
 */
#include "nfs/share_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_data.h"
#include "nfs/share_names.h"

#define FILE_RENEW_NS (5 * NS_PER_S)

static struct share_file *file_of(struct store_file *f)
{
    return (struct share_file *)f;
}

/* ---- opening ---- */

struct file_open {
    const char *name;
    uint64_t size_bytes;
    struct share_entry at;
    bool made; /* by us: the server said so */
    bool writes;
    bool asked; /* MKDIR was sent, and its answer may be lost */
};

static int file_is_there(const struct file_open *o, int found, struct err *e)
{
    if (found < 0)
        return -1;
    if (found == 0)
        return err_set(e, ERR_NFS, ENOENT, "not found");
    if (o->at.attr.type == STORE_REGULAR)
        return 0;
    return err_set(e, ERR_NFS, o->at.attr.type == STORE_DIRECTORY ? EISDIR : EINVAL,
                   "not a regular file");
}

static int file_ask_read(struct share_place *p, struct share_conn *c, void *arg,
                         const struct share_try *t, struct err *e)
{
    struct file_open *o = arg;
    return file_is_there(o, share_names_find(p, c, o->name, &o->at, t->deadline_ns, e), e);
}

static int file_find_directory(struct share_place *p, struct share_conn *c, const char *name,
                               struct share_fh *dir, const char **last, const struct share_try *t,
                               struct err *e)
{
    int found = share_names_directory(p, c, name, dir, last, t->deadline_ns, e);
    if (found < 0)
        return -1;
    return found > 0 ? 0 : err_set(e, ERR_NFS, ENOENT, "its directory is not there");
}

/* A link is followed to be read, not to be written to. */
static int file_ask_update(struct share_place *p, struct share_conn *c, void *arg,
                           const struct share_try *t, struct err *e)
{
    struct file_open *o = arg;
    struct share_fh dir;
    const char *last;
    if (file_find_directory(p, c, o->name, &dir, &last, t, e) < 0)
        return -1;
    return file_is_there(o, share_proc_lookup(c, &dir, last, &o->at, t->deadline_ns, e), e);
}

static int file_set_size(struct share_conn *c, struct file_open *o, const struct share_try *t,
                         struct err *e)
{
    if (o->at.attr.size_bytes == o->size_bytes)
        return 0;
    if (share_proc_set_size(c, &o->at.fh, o->size_bytes, t->deadline_ns, e) < 0)
        return -1;
    return share_proc_getattr(c, &o->at, t->deadline_ns, e);
}

/* Takes back what was just made, if that is what the name refers to. -1: it is there still. */
static int file_unmake(struct share_conn *c, const struct file_open *o, const struct share_fh *dir,
                       const char *last, const struct share_try *t)
{
    struct share_entry now;
    struct err ignored = {0};
    int found = share_proc_lookup(c, dir, last, &now, t->deadline_ns, &ignored);
    if (found <= 0 || !store_same_file(&now.attr, &o->at.attr))
        return found < 0 ? -1 : 0;
    return share_proc_remove(c, dir, last, t->deadline_ns, &ignored);
}

static int file_ask_create(struct share_place *p, struct share_conn *c, void *arg,
                           const struct share_try *t, struct err *e)
{
    struct file_open *o = arg;
    struct share_fh dir;
    const char *last;
    if (file_find_directory(p, c, o->name, &dir, &last, t, e) < 0)
        return -1;
    if (!o->made && share_proc_create(c, &dir, last, o->size_bytes, &o->at, t->deadline_ns, e) < 0)
        return -1;
    o->made = true;
    if (file_set_size(c, o, t, e) == 0)
        return 0;
    if (e->class == ERR_NFS && e->sys != EAGAIN && e->sys != ESTALE &&
        file_unmake(c, o, &dir, last, t) < 0)
        err_hint(e, "an empty %s%s is left there: remove it", p->text, o->name);
    return -1;
}

static int file_ask_make_directory(struct share_place *p, struct share_conn *c, void *arg,
                                   const struct share_try *t, struct err *e)
{
    struct file_open *o = arg;
    struct share_fh dir;
    const char *last;
    if (file_find_directory(p, c, o->name, &dir, &last, t, e) < 0)
        return -1;
    o->made = share_proc_mkdir(c, &dir, last, &o->at, t->deadline_ns, e) == 0;
    if (o->made)
        return 0;
    bool again = o->asked;
    o->asked = true;
    if (e->class != ERR_NFS || e->sys != EEXIST)
        return -1;
    err_clear(e);
    int found = share_names_find(p, c, o->name, &o->at, t->deadline_ns, e);
    if (found < 0)
        return -1;
    if (found == 0 || o->at.attr.type != STORE_DIRECTORY)
        return err_set(e, ERR_NFS, EEXIST, "not a directory");
    o->made = again && o->at.attr.mode == 0700; /* by the MKDIR whose answer was lost */
    return 0;
}

static struct share_file *file_new(struct store_place *place, const struct file_open *o)
{
    struct share_file *f = calloc(1, sizeof *f);
    if (f == NULL || (f->name = strdup(o->name)) == NULL) {
        free(f);
        return NULL;
    }
    f->fh = o->at.fh;
    f->writes = o->writes;
    f->base = (struct store_file){
        .place = place,
        .name = f->name,
        .align_bytes = 1,
        .attr = o->at.attr,
        .made = o->made,
        .by_link = o->at.by_link,
        .holes_unknown = true,
    };
    return f;
}

struct store_file *share_file_open(struct store_place *place, const char *name, enum store_how how,
                                   uint64_t size_bytes, struct err *e)
{
    static const struct {
        share_ask_fn *ask;
        const char *what;
    } ways[] = {
        [STORE_READ] = {file_ask_read, "cannot open it for reading"},
        [STORE_CREATE] = {file_ask_create, "cannot create it"},
        [STORE_UPDATE] = {file_ask_update, "cannot open it for writing"},
        [STORE_MAKE_DIRECTORY] = {file_ask_make_directory, "cannot make the directory"},
    };
    struct share_place *p = share_of(place);
    struct file_open o = {.name = name, .size_bytes = size_bytes, .writes = how != STORE_READ};
    if (share_control_ask(p, ways[how].ask, &o, p->options.timeout_ns, e) < 0) {
        share_control_hint_denied(p, e);
        err_wrap(e, "%s%s: %s", p->text, name, ways[how].what);
        return NULL;
    }
    struct share_file *f = file_new(place, &o);
    if (f == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%s%s", p->text, name);
        return NULL;
    }
    for (unsigned i = 0; i < p->n_data; i++)
        share_data_check(p->data[i]);
    return &f->base;
}

void share_file_close(struct store_file *file)
{
    struct share_file *f = file_of(file);
    free(f->name);
    free(f);
}

/* ---- renewing ---- */

/* Its handle is no good any more, so that all there is to go by is what nobody but us has changed. */
static bool file_is_likely(const struct share_file *f, const struct store_attr *now)
{
    const struct store_attr *then = &f->base.attr;
    bool same = now->inode == then->inode && now->type == then->type;
    if (then->type == STORE_DIRECTORY)
        return same;
    same = same && now->size_bytes == then->size_bytes;
    return same &&
           (f->writes || (now->mtime_ns == then->mtime_ns && now->ctime_ns == then->ctime_ns));
}

static int file_find_as(struct share_place *p, struct share_conn *c, struct share_file *f,
                        const char *name, int64_t deadline_ns, struct err *e)
{
    struct share_entry at;
    int found = share_names_find(p, c, name, &at, deadline_ns, e);
    if (found < 0)
        return -1;
    if (found == 0 || !file_is_likely(f, &at.attr))
        return err_set(e, ERR_NFS, ENOENT, "%s%s: is another file now, or none", p->text, f->name);
    f->fh = at.fh;
    f->base.attr.generation = at.attr.generation;
    return 0;
}

static int file_find_again(struct share_place *p, struct share_conn *c, struct share_file *f,
                           int64_t deadline_ns, struct err *e)
{
    return file_find_as(p, c, f, f->name, deadline_ns, e);
}

static int file_ask_renew(struct share_place *p, struct share_conn *c, void *arg,
                          const struct share_try *t, struct err *e)
{
    return file_find_again(p, c, arg, t->deadline_ns, e);
}

int share_file_renew(struct share_file *f, struct err *e)
{
    struct share_place *p = share_of(f->base.place);
    share_names_forget(p);
    if (share_control_ask(p, file_ask_renew, f, FILE_RENEW_NS, e) < 0)
        return -1;
    log_debug("%s%s: its handle was stale, and has been looked up again", p->text, f->name);
    return 0;
}

/* ---- publishing ---- */

struct file_publish {
    struct share_file *f;
    const char *final;                        /* the last part alone; NULL: the name stays */
    const char *path;                         /* all of it */
    const struct store_attr *attr, *replaces; /* or NULL */
    bool attributes_given;
    bool naming; /* a LINK or RENAME was sent whose answer has not come */
};

/* Only root, and only where the server does not squash it, may give a file away. */
static int file_give_attributes(struct share_place *p, struct share_conn *c,
                                const struct file_publish *b, int64_t deadline_ns, struct err *e)
{
    const struct store_attr *attr = b->attr;
    if (share_proc_setattr(c, &b->f->fh, attr, true, deadline_ns, e) == 0)
        return 0;
    if (e->class != ERR_NFS || (e->sys != EPERM && e->sys != EACCES))
        return -1;
    err_clear(e);
    log_warn("%s%s: the server does not let us give it to uid %u, gid %u", p->text, b->f->name,
             attr->uid, attr->gid);
    return share_proc_setattr(c, &b->f->fh, attr, false, deadline_ns, e);
}

/* 1: `name` in `dir` is this very file; 0: it is another, which is *at then, or none; -1. */
static int file_is(struct share_conn *c, const struct share_file *f, const struct share_fh *dir,
                   const char *name, struct share_entry *at, bool *found, int64_t deadline_ns,
                   struct err *e)
{
    int rc = share_proc_lookup(c, dir, name, at, deadline_ns, e);
    *found = rc > 0;
    if (rc < 0)
        return -1;
    return rc > 0 && store_same_file(&at->attr, &f->base.attr) &&
           at->attr.device == f->base.attr.device;
}

/* The old name goes, once the file has the new one. */
static int file_drop_name(struct share_conn *c, const struct file_publish *b,
                          const struct share_fh *dir, const char *from, int64_t deadline_ns,
                          struct err *e)
{
    struct share_entry at;
    bool found;
    int is = file_is(c, b->f, dir, from, &at, &found, deadline_ns, e);
    if (is <= 0 || share_proc_remove(c, dir, from, deadline_ns, e) == 0)
        return is < 0 ? -1 : 0;
    if (e->class != ERR_NFS || e->sys != ENOENT)
        return -1;
    err_clear(e);
    return 0;
}

/* Whether what the server said to a LINK may mean that it has none, for this file or for us. */
static bool file_has_no_link(const struct err *e)
{
    switch (e->sys) {
    case EOPNOTSUPP:
    case EPERM:
    case EACCES:
    case EINVAL:
    case EIO:
    case EMLINK: return e->class == ERR_NFS;
    default: return false;
    }
}

/* The server refuses to take the old name: the new one is taken back, or named in the error. */
static int file_has_both(struct share_conn *c, struct file_publish *b, const struct share_fh *dir,
                         const char *from, int64_t deadline_ns, struct err *e)
{
    struct share_entry at;
    struct err why = {0};
    bool found;
    if (file_is(c, b->f, dir, b->final, &at, &found, deadline_ns, &why) == 1 &&
        share_proc_remove(c, dir, b->final, deadline_ns, &why) == 0) {
        b->naming = false;
        return err_wrap(e, "its old name, %s, could not be taken from it", from);
    }
    share_control_hint_denied(share_of(b->f->base.place), e);
    err_wrap(e, "it has this name now, but its old one, %s, could not be taken from it", from);
    return -1;
}

/* 1; 0: LINK is not to be had; -1. */
static int file_link(struct share_conn *c, struct file_publish *b, const struct share_fh *dir,
                     const char *from, int64_t deadline_ns, struct err *e)
{
    b->naming = true;
    if (share_proc_link(c, &b->f->fh, dir, b->final, deadline_ns, e) < 0) {
        b->naming = e->class != ERR_NFS;
        if (!file_has_no_link(e))
            return -1;
        log_debug("%s: no hard links here: %s", share_of(b->f->base.place)->text, e->msg);
        err_clear(e);
        return 0;
    }
    if (file_drop_name(c, b, dir, from, deadline_ns, e) == 0)
        return 1;
    return e->class == ERR_NFS && e->sys != EAGAIN && e->sys != ESTALE
               ? file_has_both(c, b, dir, from, deadline_ns, e)
               : -1;
}

static int file_rename(struct share_conn *c, struct file_publish *b, const struct share_fh *dir,
                       const char *from, int64_t deadline_ns, struct err *e)
{
    struct store_place *p = b->f->base.place;
    struct share_entry at;
    bool found;
    int is = file_is(c, b->f, dir, from, &at, &found, deadline_ns, e);
    if (is <= 0)
        return is < 0 ? -1 : store_not_ours(p, b->f->name, e);
    b->naming = true;
    if (share_proc_rename(c, dir, from, b->final, deadline_ns, e) < 0) {
        b->naming = e->class != ERR_NFS;
        return -1;
    }
    is = file_is(c, b->f, dir, b->final, &at, &found, deadline_ns, e);
    if (is != 0)
        return is < 0 ? -1 : 0;
    return err_set(e, ERR_LOST, 0,
                   "what was just given this name is not there: somebody else is at "
                   "work there");
}

/* Each try first looks at what stands at the final name: our file, if the answer got lost. */
static int file_name(struct share_conn *c, struct file_publish *b, const struct share_fh *dir,
                     const char *from, int64_t deadline_ns, struct err *e)
{
    struct share_entry at;
    bool found;
    int is = file_is(c, b->f, dir, b->final, &at, &found, deadline_ns, e);
    if (is < 0)
        return -1;
    if (is > 0)
        return file_drop_name(c, b, dir, from, deadline_ns, e);
    b->naming = false;
    if (found && b->replaces == NULL)
        return err_set(e, ERR_NFS, EEXIST, "somebody else has made it meanwhile");
    if (found && !store_unchanged(&at.attr, b->replaces)) {
        err_set(e, ERR_IO, 0,
                "what stands there was changed or replaced meanwhile, and is left alone");
        e->sys = ESTALE;
        return err_hint(e, "look at it; run it again with --overwrite to replace it all the same");
    }
    int linked = found ? 0 : file_link(c, b, dir, from, deadline_ns, e);
    if (linked != 0)
        return linked < 0 ? -1 : 0;
    return file_rename(c, b, dir, from, deadline_ns, e);
}

/* A handle went stale: the file is looked up by either of its names. With another handle it is no more
 * than likely to be the same, which is no reason to go on. */
static int file_find_published(struct share_place *p, struct share_conn *c, struct file_publish *b,
                               int64_t deadline_ns, struct err *e)
{
    uint64_t was = b->f->base.attr.generation;
    int rc = file_find_again(p, c, b->f, deadline_ns, e);
    if (rc < 0 && b->path != NULL && e->class == ERR_NFS && e->sys == ENOENT) {
        err_clear(e);
        rc = file_find_as(p, c, b->f, b->path, deadline_ns, e);
    }
    if (rc < 0 || b->f->base.attr.generation == was)
        return rc;
    err_set(e, ERR_IO, 0, "the server has given it another file handle meanwhile");
    e->sys = ESTALE;
    return -1;
}

static int file_ask_publish(struct share_place *p, struct share_conn *c, void *arg,
                            const struct share_try *t, struct err *e)
{
    struct file_publish *b = arg;
    struct share_fh dir;
    const char *last;
    if (t->stale > 0 && file_find_published(p, c, b, t->deadline_ns, e) < 0)
        return -1;
    if (!b->attributes_given && b->attr != NULL &&
        file_give_attributes(p, c, b, t->deadline_ns, e) < 0)
        return -1;
    b->attributes_given = true;
    if (b->final == NULL)
        return 0;
    if (file_find_directory(p, c, b->f->name, &dir, &last, t, e) < 0)
        return -1;
    return file_name(c, b, &dir, last, t->deadline_ns, e);
}

/* The directory of `name`, with its slash if there is one, and `last`. NULL: no memory. */
static char *file_sibling(const char *name, const char *last)
{
    const char *slash = strrchr(name, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - name) + 1;
    char *path = malloc(len + strlen(last) + 1);
    if (path != NULL) {
        memcpy(path, name, len);
        strcpy(path + len, last);
    }
    return path;
}

int share_file_publish(struct store_file *file, const char *final, const struct store_attr *attr,
                       const struct store_attr *replaces, struct err *e)
{
    struct share_file *f = file_of(file);
    struct share_place *p = share_of(file->place);
    const char *slash = final != NULL ? strrchr(final, '/') : NULL;
    struct file_publish b = {
        .f = f,
        .final = slash != NULL ? slash + 1 : final,
        .attr = attr,
        .replaces = replaces,
    };
    CLEANUP_FREE char *name = file_sibling(f->name, b.final != NULL ? b.final : "");
    if (name == NULL)
        return err_set(e, ERR_NFS, ENOMEM, "%s%s", p->text, f->name);
    b.path = b.final != NULL ? name : NULL;
    if (share_control_ask(p, file_ask_publish, &b, p->options.timeout_ns, e) < 0) {
        share_control_hint_denied(p, e);
        if (b.naming) /* not known: by the contract ERR_LOST, whatever came last */
            e->class = ERR_LOST;
        return b.final == NULL
                   ? err_wrap(e, "%s%s: cannot set its attributes", p->text, f->name)
                   : err_wrap(e, "%s%s: cannot publish it as %s", p->text, f->name, b.final);
    }
    if (b.final != NULL) {
        free(f->name);
        f->base.name = f->name = TAKE(name);
    }
    return 0;
}
