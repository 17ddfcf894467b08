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
#include "tools/cmd/image_set.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/file_system.h"
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

int image_set_add(struct image_set *set, const char *path, struct err *e)
{
    struct stat st;
    struct image_name *i = set_grow(set, e);
    if (i == NULL)
        return -1;
    i->path = realpath(path, NULL);
    if (i->path == NULL)
        i->path = strdup(path);
    if (i->path == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", path);
    i->there = stat(path, &st) == 0;
    if (i->there)
        i->id = open_file_id_of(&st);
    i->shared = file_system_is_shared(path);
    return 0;
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
    return i->server != NULL && i->exported != NULL ? 0 : err_set(e, ERR_IO, ENOMEM, "%s", path);
}

void image_set_free(struct image_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        free(set->at[i].path);
        free(set->at[i].server);
        free(set->at[i].exported);
    }
    free(set->at);
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

struct virt_files image_set_files(struct image_set *set)
{
    return (struct virt_files){.path = set_path, .nfs = set_nfs, .arg = set};
}

/* ---- who has them open ---- */

struct opener_list {
    const struct image_set *set;
    const struct image_name **of; /* the name that each id is of */
    bool to_write;
    char *text;
    size_t room;
};

enum { LIST_MORE_BYTES = 16 }; /* "; and more" */

static void list_add(char *text, size_t room, const char *item)
{
    size_t len = strlen(text);
    if (strstr(text, item) != NULL)
        return;
    if (len == 0) /* one at least is named, however long its path is */
        text_fit(text, room - LIST_MORE_BYTES, item);
    else if (len + strlen(item) + LIST_MORE_BYTES < room)
        snprintf(text + len, room - len, "; %s", item);
    else if (strstr(text, "; and more") == NULL)
        snprintf(text + len, room - len, "; and more");
}

static bool opener_take(void *arg, const struct open_file *f)
{
    struct opener_list *l = arg;
    char item[4400];
    if (l->to_write && !f->writing)
        return true;
    snprintf(item, sizeof item, "%s has %s open", f->who, l->of[f->which]->path);
    list_add(l->text, l->room, item);
    return true;
}

int image_set_openers(const struct image_set *set, bool to_write, char *text, size_t room,
                      struct err *e)
{
    CLEANUP_FREE struct open_file_id *ids = calloc(set->n + 1, sizeof *ids);
    CLEANUP_FREE const struct image_name **of = calloc(set->n + 1, sizeof(struct image_name *));
    size_t n = 0;
    *text = '\0';
    if (ids == NULL || of == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of who has the images open");
    for (size_t i = 0; i < set->n; i++) {
        if (!set->at[i].there)
            continue;
        of[n] = &set->at[i];
        ids[n++] = set->at[i].id;
    }
    struct opener_list l = {set, of, to_write, text, room};
    return open_files_find(ids, n, opener_take, &l, e);
}

void image_users_text(char *text, size_t room, const struct virt_user *u)
{
    char item[4600];
    snprintf(item, sizeof item, "%s (%.4000s)", u->who, u->how);
    list_add(text, room, item);
}
