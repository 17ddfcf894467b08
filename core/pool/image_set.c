/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A path is one of the images if it leads to the very file, whatever it is called: by a symbolic or
 * a hard link, or by another mount. For images that are not there (any more) only the path is left.
 * A path is also one of them if it is the directory of some, or one on the way to them from the
 * pool's directory, as whoever has a directory has what is in it.
 *
 * On a share the names are the server's. What this host has mounted is recognized by the inode number
 * and the size, which both see: that is no identity, but enough to be careful.
 */
#include "core/pool/image_set.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/file_system.h"
#include "core/log.h"
#include "core/looking.h"
#include "core/text.h"

/* ---- the set ---- */

static struct image_name *set_grow(struct image_set *set, struct err *e)
{
    struct image_name *more = realloc(set->at, (set->n + 1) * sizeof *more);
    if (more == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate the names of the images");
        return NULL;
    }
    set->at = more;
    more[set->n] = (struct image_name){0};
    return &more[set->n++];
}

/* Neighbours follow each other, usually. */
static int set_add_directory(struct image_set *set, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    for (size_t i = set->n_directories; i > 0; i--)
        if (strncmp(set->directories[i - 1], path, len) == 0 &&
            set->directories[i - 1][len] == '\0')
            return 0;
    if (len == 0)
        return 0;
    char **more = realloc(set->directories, (set->n_directories + 1) * sizeof *more);
    char *directory = more != NULL ? strndup(path, len) : NULL;
    if (more != NULL)
        set->directories = more;
    if (directory == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the directories of the images");
    set->directories[set->n_directories++] = directory;
    return 0;
}

int image_set_add(struct image_set *set, const char *path, struct err *e)
{
    struct stat st;
    struct image_name *i = set_grow(set, e);
    if (i == NULL)
        return -1;
    looking_at(path);
    i->path = realpath(path, NULL);
    if (i->path == NULL)
        i->path = strdup(path);
    if (i->path == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", path);
    i->there = stat(path, &st) == 0;
    if (i->there)
        i->id = open_file_id_of(&st);
    i->shared = file_system_is_shared(path);
    return set_add_directory(set, i->path, e);
}

int image_set_add_exported(struct image_set *set, const char *server, const char *path,
                           uint64_t inode, uint64_t size_bytes, struct err *e)
{
    struct image_name *i = set_grow(set, e);
    if (i == NULL)
        return -1;
    i->server = strdup(server);
    i->exported = strdup(path);
    i->inode = inode;
    i->size_bytes = size_bytes;
    return i->server != NULL && i->exported != NULL
               ? 0
               : err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", path);
}

void image_set_drop_gone(struct image_set *set)
{
    struct stat st;
    for (size_t i = 0; i < set->n; i++) {
        struct image_name *n = &set->at[i];
        if (!n->there)
            continue;
        const struct open_file_id id = stat(n->path, &st) == 0 ? open_file_id_of(&st)
                                                               : (struct open_file_id){0};
        n->there = open_file_id_same(&id, &n->id);
    }
}

void image_set_free(struct image_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        free(set->at[i].path);
        free(set->at[i].server);
        free(set->at[i].exported);
    }
    free(set->at);
    for (size_t i = 0; i < set->n_directories; i++)
        free(set->directories[i]);
    free(set->directories);
    *set = (struct image_set){0};
}

/* ---- whether a path leads there ---- */

static bool path_is_above(const char *directory, const char *path)
{
    size_t len = strlen(directory);
    return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* By its letters: also of another host. */
static bool set_has_letters(const struct image_set *set, const char *path, bool shared_only)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->at[i].path != NULL && (!shared_only || set->at[i].shared) &&
            strcmp(set->at[i].path, path) == 0)
            return true;
    return false;
}

static bool set_has_file(const struct image_set *set, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return false;
    const struct open_file_id id = open_file_id_of(&st);
    bool shared = false, asked = false;
    for (size_t i = 0; i < set->n; i++) {
        const struct image_name *n = &set->at[i];
        if (n->there && open_file_id_same(&n->id, &id))
            return true;
        if (n->server == NULL || n->inode == 0 || n->inode != st.st_ino ||
            n->size_bytes != (uint64_t)st.st_size)
            continue;
        shared = asked ? shared : file_system_is_shared(path);
        asked = true;
        if (shared)
            return true;
    }
    return false;
}

/* In the pool's directory. */
static bool set_has_in_place(const struct image_set *set, const char *path)
{
    if (set->place == NULL)
        return false;
    CLEANUP_FREE char *name = pool_place_name((void *)(uintptr_t)set->place, path);
    if (name == NULL)
        return false;
    if (set->all || *name == '\0')
        return true;
    CLEANUP_FREE char *real = NULL;
    if (asprintf(&real, "%s/%s", set->place->real, name) < 0)
        return true;
    for (size_t i = 0; i < set->n; i++)
        if (set->at[i].path != NULL && path_is_above(real, set->at[i].path))
            return true;
    return false;
}

static bool set_path(void *arg, const char *path, bool here)
{
    const struct image_set *set = arg;
    looking_at(path);
    if (!here)
        return set_has_letters(set, path, true) ||
               (set->place != NULL && path_is_above(set->place->path, path) &&
                file_system_is_shared(set->place->real));
    if (set_has_letters(set, path, false) || set_has_in_place(set, path) || set_has_file(set, path))
        return true;
    CLEANUP_FREE char *real = realpath(path, NULL);
    return real != NULL && set_has_letters(set, real, false);
}

/* ---- whether it is on that server ---- */

static bool server_shares_address(const struct addrinfo *a, const struct addrinfo *b)
{
    for (; a != NULL; a = a->ai_next)
        for (const struct addrinfo *o = b; o != NULL; o = o->ai_next)
            if (a->ai_addrlen == o->ai_addrlen &&
                memcmp(a->ai_addr, o->ai_addr, a->ai_addrlen) == 0)
                return true;
    return false;
}

/* One that cannot be looked up from here may be the same. */
static bool server_same(const char *a, const char *b)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *of_a = NULL, *of_b = NULL;
    if (strcasecmp(a, b) == 0)
        return true;
    bool known = getaddrinfo(a, NULL, &hints, &of_a) == 0 &&
                 getaddrinfo(b, NULL, &hints, &of_b) == 0;
    bool same = !known || server_shares_address(of_a, of_b);
    if (of_a != NULL)
        freeaddrinfo(of_a);
    if (of_b != NULL)
        freeaddrinfo(of_b);
    return same;
}

/* Without doubled slashes. */
static bool exported_same(const char *a, const char *b)
{
    while (*a == *b && *a != '\0') {
        bool slash = *a == '/';
        a++;
        b++;
        while (slash && *a == '/')
            a++;
        while (slash && *b == '/')
            b++;
    }
    return *a == *b;
}

static bool set_nfs(void *arg, const char *server, const char *path)
{
    const struct image_set *set = arg;
    for (size_t i = 0; i < set->n; i++)
        if (set->at[i].exported != NULL && exported_same(set->at[i].exported, path) &&
            server_same(set->at[i].server, server))
            return true;
    return false;
}

static bool set_along(void *arg, const char *path)
{
    const struct image_set *set = arg;
    return set->along != NULL && set_path((void *)(uintptr_t)set->along, path, true);
}

struct image_files image_set_files(struct image_set *set)
{
    return (struct image_files){.path = set_path,
                                .nfs = set_nfs,
                                .along = set_along,
                                .arg = set,
                                .directories = set->directories,
                                .n_directories = set->n_directories};
}

/* ---- who uses them ---- */

enum { USERS_MESSAGE_BYTES = 700 }; /* in a message, with room for what is said before them */

/* Takes `item`. */
static int users_take(struct image_users *l, char *item, struct err *e)
{
    for (size_t i = 0; item != NULL && i < l->n; i++) {
        if (strcmp(l->at[i], item) == 0) {
            free(item);
            return 0;
        }
    }
    char **more = item != NULL ? realloc(l->at, (l->n + 1) * sizeof *more) : NULL;
    if (more == NULL) {
        free(item);
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of who uses the images");
    }
    l->at = more;
    l->at[l->n++] = item;
    return 0;
}

int image_users_add(struct image_users *l, const struct file_user *u, struct err *e)
{
    char *item = NULL;
    return users_take(l, asprintf(&item, "%s (%s)", u->who, u->how) < 0 ? NULL : item, e);
}

void image_users_free(struct image_users *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct image_users){0};
}

/* "a; b", of those from `first` up to `to`, kept. */
static const char *users_text(const struct image_users *l, size_t first, size_t to)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = first; f != NULL && i < to; i++)
        fprintf(f, "%s%s", i > first ? "; " : "", l->at[i]);
    const char *kept = f != NULL && fclose(f) == 0 ? text_keep("%s", text)
                                                   : "(no memory for this text)";
    free(text);
    return kept;
}

int image_users_refuse(const struct image_users *l, const char *what, const char *hint,
                       struct err *e)
{
    size_t to = 0, len = 0;
    if (l->n == 0)
        return 0;
    do /* one at least is named, however long its path is */
        len += strlen(l->at[to++]) + 2;
    while (to < l->n && len + strlen(l->at[to]) < USERS_MESSAGE_BYTES);
    if (to == l->n) {
        err_set(e, ERR_REFUSED, 0, "%s: %s", what, users_text(l, 0, to));
        return err_hint(e, "%s", hint);
    }
    err_set(e, ERR_REFUSED, 0, "%s: %s; and %zu more", what, users_text(l, 0, to), l->n - to);
    return err_hint(e, "%s; the others are: %s", hint, users_text(l, to, l->n));
}

struct opener_search {
    struct image_users *l;
    const struct image_name **of; /* the name that each id is of */
    enum image_openers which;
    struct err *e;
    int rc;
};

static bool opener_take(void *arg, const struct open_file *f)
{
    struct opener_search *s = arg;
    char *item = NULL;
    if (s->which == IMAGE_OPENERS_WRITE && (f->why != 0 || !f->writing))
        return true;
    int len = f->why != 0 ? asprintf(&item, "%s does not tell what it has open: %s", f->who,
                                     strerror(f->why))
                          : asprintf(&item, "%s has %s open", f->who, s->of[f->which]->path);
    if (len >= 0 && f->why != 0 && s->which == IMAGE_OPENERS_KNOWN) {
        log_warn("%s", item);
        free(item);
        return true;
    }
    s->rc = users_take(s->l, len < 0 ? NULL : item, s->e);
    return s->rc == 0;
}

int image_users_add_openers(struct image_users *l, const struct image_set *set,
                            enum image_openers which, struct err *e)
{
    CLEANUP_FREE struct open_file_id *ids = calloc(set->n + 1, sizeof *ids);
    CLEANUP_FREE const struct image_name **of = calloc(set->n + 1, sizeof(struct image_name *));
    size_t n = 0;
    if (ids == NULL || of == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of who has the images open");
    for (size_t i = 0; i < set->n; i++) {
        if (!set->at[i].there)
            continue;
        of[n] = &set->at[i];
        ids[n++] = set->at[i].id;
    }
    struct opener_search s = {l, of, which, e, 0};
    return open_files_find(ids, n, opener_take, &s, e) < 0 ? -1 : s.rc;
}
