/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * NFS has no paths: each part of a name is one LOOKUP. Files are mostly taken directory by
 * directory, so the handle of the last directory is kept, and a name in it costs one round trip.
 * When a handle is stale, share_control has that directory forgotten, and asks again.
 *
 * Symbolic links are the client's affair, too. A relative one is put in the place of its own name
 * in the path, and the walk starts again from the root; what stands before it has no links then, so
 * that its leading ".." can be taken off as text. What points out of the share is an error: where
 * that is on this host, if anywhere, we cannot know.
 */
#include "nfs/share_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nfs/share_page.h"

enum { NAMES_LINKS_MAX = 40 /* as Linux */ };

/* ---- walking ---- */

static int names_link_refused(const char *path, const char *target, struct err *e)
{
    err_set(e, ERR_REFUSED, 0, "%s is a symbolic link to %s, out of the share", path, target);
    return err_hint(e, "name what it points to");
}

/* `path` has a link, the part of `len` bytes at `at`: `target` takes its place. */
static int names_expand(char path[PATH_MAX], size_t at, size_t len, const char *target,
                        struct err *e)
{
    char rest[PATH_MAX];
    const char *more = target;
    strcpy(rest, path + at + len); /* "" or "/…" */
    path[at + len] = '\0';
    size_t keep = at; /* of path: "" or "a/b/" */
    for (; strncmp(more, "../", 3) == 0 || strcmp(more, "..") == 0 || strncmp(more, "./", 2) == 0;
         more += strspn(more, "/")) {
        if (more[1] == '.') {
            if (keep == 0)
                return names_link_refused(path, target, e);
            for (keep--; keep > 0 && path[keep - 1] != '/'; keep--)
                ;
        }
        more += more[1] == '.' ? 2 : 1;
    }
    if (*target == '/' || strstr(more, "/../") != NULL)
        return names_link_refused(path, target, e);
    if (keep + strlen(more) + strlen(rest) >= PATH_MAX)
        return err_set(e, ERR_NFS, ENAMETOOLONG, "the link %s", path);
    strcpy(path + keep, more);
    strcat(path, rest);
    return 0;
}

/* Takes the part at `at` of `path`, past slashes; its length, 0 at the end, -1: too long. */
static int names_part(const char *path, size_t *at, char part[STORE_NAME_MAX + 1], struct err *e)
{
    *at += strspn(path + *at, "/");
    size_t len = strcspn(path + *at, "/");
    if (len > STORE_NAME_MAX)
        return err_set(e, ERR_NFS, ENAMETOOLONG, "%.32s…", path + *at);
    memcpy(part, path + *at, len);
    part[len] = '\0';
    return (int)len;
}

int share_names_walk(struct share_conn *c, const struct share_fh *root, const char *name,
                     struct share_entry *at, int64_t deadline_ns, struct err *e)
{
    char path[PATH_MAX], target[PATH_MAX], part[STORE_NAME_MAX + 1];
    if (strlen(name) >= sizeof path)
        return err_set(e, ERR_NFS, ENAMETOOLONG, "%.32s…", name);
    strcpy(path, name);
    unsigned links = 0;
    bool directory = true, known = false; /* *at is one; has its attributes */
    at->fh = *root;
    for (size_t pos = 0;;) {
        int len = names_part(path, &pos, part, e);
        if (len < 0)
            return -1;
        if (len == 0)
            return known || share_proc_getattr(c, at, deadline_ns, e) == 0 ? 1 : -1;
        if (!directory)
            return err_set(e, ERR_NFS, ENOTDIR, "%.*s", (int)pos - 1, path);
        struct share_fh dir = at->fh;
        int found = share_proc_lookup(c, &dir, part, at, deadline_ns, e);
        if (found <= 0)
            return found;
        if (at->link) {
            if (++links > NAMES_LINKS_MAX)
                return err_set(e, ERR_NFS, ELOOP, "cannot follow its symbolic links");
            if (share_proc_readlink(c, &at->fh, target, deadline_ns, e) < 0 ||
                names_expand(path, pos, (size_t)len, target, e) < 0)
                return -1;
            at->fh = *root;
            pos = 0;
            known = false;
            directory = true;
            continue;
        }
        pos += (size_t)len;
        known = true;
        directory = at->attr.type == STORE_DIRECTORY;
    }
}

void share_names_forget(struct share_place *p)
{
    p->last_path[0] = '\0';
}

int share_names_directory(struct share_place *p, struct share_conn *c, const char *name,
                          struct share_fh *dir, const char **last, int64_t deadline_ns,
                          struct err *e)
{
    const char *slash = strrchr(name, '/');
    *last = slash == NULL ? name : slash + 1;
    *dir = p->root;
    if (slash == NULL)
        return 1;
    char path[PATH_MAX];
    size_t len = (size_t)(slash - name);
    if (len >= sizeof path)
        return err_set(e, ERR_NFS, ENAMETOOLONG, "%.32s…", name);
    memcpy(path, name, len);
    path[len] = '\0';
    if (strcmp(path, p->last_path) != 0) {
        struct share_entry at;
        int found = share_names_walk(c, &p->root, path, &at, deadline_ns, e);
        if (found <= 0)
            return found;
        if (at.attr.type != STORE_DIRECTORY)
            return err_set(e, ERR_NFS, ENOTDIR, "%s", path);
        strcpy(p->last_path, path);
        p->last_dir = at.fh;
    }
    *dir = p->last_dir;
    return 1;
}

int share_names_find(struct share_place *p, struct share_conn *c, const char *name,
                     struct share_entry *at, int64_t deadline_ns, struct err *e)
{
    struct share_fh dir;
    const char *last;
    if (*name == '\0')
        return share_names_walk(c, &p->root, name, at, deadline_ns, e);
    int found = share_names_directory(p, c, name, &dir, &last, deadline_ns, e);
    if (found > 0)
        found = share_proc_lookup(c, &dir, last, at, deadline_ns, e);
    at->by_link = found > 0 && at->link;
    return at->by_link ? share_names_walk(c, &p->root, name, at, deadline_ns, e) : found;
}

/* ---- lookup ---- */

struct names_lookup {
    const char *name;
    struct share_entry at;
};

static int names_ask_lookup(struct share_place *p, struct share_conn *c, void *arg,
                            const struct share_try *t, struct err *e)
{
    struct names_lookup *l = arg;
    return share_names_find(p, c, l->name, &l->at, t->deadline_ns, e);
}

int share_names_lookup(struct store_place *place, const char *name, struct store_attr *attr,
                       struct err *e)
{
    struct share_place *p = share_of(place);
    struct names_lookup l = {.name = name};
    int found = share_control_ask(p, names_ask_lookup, &l, p->options.timeout_ns, e);
    if (found < 0)
        return err_wrap(e, "%s%s", p->text, name);
    if (found > 0)
        *attr = l.at.attr;
    return found;
}

/* ---- list ---- */

struct names_list {
    const char *name;
    struct share_entry at; /* the directory */
    bool found;
    struct share_page page;
};

static int names_find_list(struct share_place *p, struct share_conn *c, struct names_list *l,
                           const struct share_try *t, struct err *e)
{
    if (l->found && t->stale == 0)
        return 0;
    int found = share_names_find(p, c, l->name, &l->at, t->deadline_ns, e);
    if (found < 0)
        return -1;
    if (found == 0 || l->at.attr.type != STORE_DIRECTORY)
        return err_set(e, ERR_NFS, found == 0 ? ENOENT : ENOTDIR, "cannot list it");
    l->found = true;
    return 0;
}

static int names_ask_page(struct share_place *p, struct share_conn *c, void *arg,
                          const struct share_try *t, struct err *e)
{
    struct names_list *l = arg;
    if (names_find_list(p, c, l, t, e) < 0)
        return -1;
    return share_page_next(c, &l->at.fh, &l->page, t->deadline_ns, e);
}

/* Attributes are optional in a listing: what was left out is asked for. */
static int names_ask_attributes(struct share_place *p, struct share_conn *c, void *arg,
                                const struct share_try *t, struct err *e)
{
    struct names_list *l = arg;
    if (names_find_list(p, c, l, t, e) < 0)
        return -1;
    for (size_t i = 0; i < l->page.count; i++) {
        struct share_page_entry *x = &l->page.entries[i];
        int found = x->has_attr
                        ? 0
                        : share_proc_lookup(c, &l->at.fh, x->name, &x->entry, t->deadline_ns, e);
        if (found < 0)
            return -1;
        x->has_attr = x->has_attr || found > 0; /* else it is gone by now */
    }
    return 0;
}

int share_names_list(struct store_place *place, const char *name, store_list_fn *fn, void *arg,
                     struct err *e)
{
    struct share_place *p = share_of(place);
    struct names_list l = {.name = name};
    int rc = 0;
    while (rc == 0 && !l.page.last) {
        rc = share_control_ask(p, names_ask_page, &l, p->options.timeout_ns, e);
        if (rc == 0)
            rc = share_control_ask(p, names_ask_attributes, &l, p->options.timeout_ns, e);
        if (rc < 0)
            err_wrap(e, "%s%s", p->text, name);
        for (size_t i = 0; rc == 0 && i < l.page.count; i++) {
            const struct share_page_entry *x = &l.page.entries[i];
            rc = x->has_attr ? fn(arg, x->name, &x->entry.attr, e) : 0;
        }
    }
    free(l.page.entries);
    return rc < 0 ? -1 : 0;
}

/* ---- remove ---- */

static bool names_is_gone(struct err *e)
{
    bool gone = e->class == ERR_NFS && e->sys == ENOENT;
    if (gone)
        err_clear(e);
    return gone;
}

struct names_remove {
    const char *name;
    const struct store_attr *is;
};

/* NFS removes names, not files: it is looked at right before. After a lost answer it may be gone. */
static int names_ask_remove(struct share_place *p, struct share_conn *c, void *arg,
                            const struct share_try *t, struct err *e)
{
    const struct names_remove *r = arg;
    struct share_fh dir;
    struct share_entry at;
    const char *last;
    int found = share_names_directory(p, c, r->name, &dir, &last, t->deadline_ns, e);
    if (found > 0)
        found = share_proc_lookup(c, &dir, last, &at, t->deadline_ns, e);
    if (found <= 0)
        return found;
    if (!store_same_file(&at.attr, r->is) || at.attr.device != r->is->device)
        return store_not_ours(&p->base, r->name, e);
    if (at.attr.type == STORE_DIRECTORY)
        share_names_forget(p);
    int rc = at.attr.type == STORE_DIRECTORY ? share_proc_rmdir(c, &dir, last, t->deadline_ns, e)
                                             : share_proc_remove(c, &dir, last, t->deadline_ns, e);
    return rc == 0 || names_is_gone(e) ? 0 : -1;
}

int share_names_remove(struct store_place *place, const char *name, const struct store_attr *is,
                       struct err *e)
{
    struct share_place *p = share_of(place);
    struct names_remove r = {name, is};
    if (share_control_ask(p, names_ask_remove, &r, p->options.timeout_ns, e) == 0)
        return 0;
    share_control_hint_denied(p, e);
    return err_wrap(e, "%s%s: cannot remove it", p->text, name);
}
