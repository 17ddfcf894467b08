/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The port, on top of the state in memory_world.c; reading and writing is in memory_io.c. A call
 * enters (is counted and logged, and meets its fault), and then has its effect, all under the lock
 * of the world.
 */
#include "memory_world.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool name_is_legal(const char *name)
{
    if (*name == '\0')
        return true;
    for (const char *part = name;; part++) {
        size_t len = strcspn(part, "/");
        if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && memcmp(part, "..", 2) == 0))
            return false;
        part += len;
        if (*part == '\0')
            return true;
    }
}

static int report(const struct memory_server *s, int rc, const char *name, struct err *e)
{
    if (s->world->dead)
        return err_set(e, ERR_LOST, -rc, "%s%s: killed", s->url, name);
    return err_set(e, ERR_IO, -rc, "%s%s", s->url, name);
}

/* The head and the tail of each function that blocks. */
static struct memory_server *lock_place(struct store_place *place)
{
    struct memory_place *p = memory_place_of(place);
    assert(!p->in_done);
    pthread_mutex_lock(&p->server->world->lock);
    return p->server;
}

static void unlock(struct memory_server *s)
{
    pthread_mutex_unlock(&s->world->lock);
}

/* ---- names ---- */

static int memory_lookup(struct store_place *place, const char *name, struct store_attr *attr,
                         struct err *e)
{
    struct memory_server *s = lock_place(place);
    enum memory_death part;
    assert(name_is_legal(name));
    int rc = memory_enter(s, MEMORY_LOOKUP, name, NULL, &part);
    if (rc < 0) {
        report(s, rc, name, e);
        unlock(s);
        return -1;
    }
    const struct memory_image *image = memory_find(s, name);
    if (image != NULL)
        *attr = image->attr;
    unlock(s);
    return image != NULL;
}

struct entry {
    char name[MEMORY_NAME_MAX];
    struct store_attr attr;
};

/* The entries as they are now: fn may change them. The newest first, which is no order. */
static struct entry *list_entries(const struct memory_server *s, const char *name, size_t *n)
{
    size_t len = strlen(name);
    struct entry *entries = calloc(s->n_images, sizeof *entries);
    assert(entries != NULL);
    *n = 0;
    for (size_t i = s->n_images; i-- > 1;) {
        const char *below = s->images[i]->name;
        if (len > 0 && (strncmp(below, name, len) != 0 || below[len] != '/'))
            continue;
        below += len > 0 ? len + 1 : 0;
        if (strchr(below, '/') != NULL)
            continue;
        strcpy(entries[*n].name, below);
        entries[(*n)++].attr = s->images[i]->attr;
    }
    return entries;
}

static int memory_list(struct store_place *place, const char *name, store_list_fn *fn, void *arg,
                       struct err *e)
{
    struct memory_server *s = lock_place(place);
    enum memory_death part;
    assert(name_is_legal(name));
    int rc = memory_enter(s, MEMORY_LIST, name, NULL, &part);
    const struct memory_image *image = memory_find(s, name);
    if (rc == 0 && image == NULL)
        rc = -ENOENT;
    else if (rc == 0 && image->attr.type != STORE_DIRECTORY)
        rc = -ENOTDIR;
    if (rc < 0) {
        report(s, rc, name, e);
        unlock(s);
        return -1;
    }
    size_t n;
    struct entry *entries = list_entries(s, name, &n);
    unlock(s);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = fn(arg, entries[i].name, &entries[i].attr, e);
    free(entries);
    return rc < 0 ? -1 : 0;
}

static const enum memory_op op_of[] = {
    [STORE_READ] = MEMORY_OPEN,
    [STORE_CREATE] = MEMORY_CREATE,
    [STORE_UPDATE] = MEMORY_UPDATE,
    [STORE_MAKE_DIRECTORY] = MEMORY_MAKE_DIRECTORY,
};

/* 0 and *image; or -errno. */
static int open_image(struct memory_server *s, const char *name, enum store_how how,
                      uint64_t size_bytes, struct memory_image **image)
{
    struct memory_image *there = *image = memory_find(s, name);
    bool directory = there != NULL && there->attr.type == STORE_DIRECTORY;
    switch (how) {
    case STORE_READ:
    case STORE_UPDATE: return there == NULL ? -ENOENT : directory ? -EISDIR : 0;
    case STORE_MAKE_DIRECTORY:
        if (there != NULL)
            return directory ? 0 : -EEXIST;
        if (memory_image_above(s, name) == NULL)
            return -ENOENT;
        *image = memory_add_directory(s, name);
        (*image)->attr.mode = 0700;
        return 0;
    case STORE_CREATE: break;
    }
    if (there != NULL)
        return -EEXIST;
    if (memory_image_above(s, name) == NULL)
        return -ENOENT;
    *image = memory_image_new(s, name, size_bytes);
    return 0;
}

static struct store_file *memory_open(struct store_place *place, const char *name,
                                      enum store_how how, uint64_t size_bytes, struct err *e)
{
    struct memory_server *s = lock_place(place);
    struct memory_image *image = NULL;
    enum memory_death part;
    assert(name_is_legal(name));
    int dead = memory_enter(s, op_of[how], name, NULL, &part);
    bool fresh = memory_find(s, name) == NULL;
    int rc = dead == 0 || part == DEATH_AFTER ? open_image(s, name, how, size_bytes, &image) : 0;
    if (dead < 0 || rc < 0) {
        report(s, dead < 0 ? dead : rc, name, e);
        unlock(s);
        return NULL;
    }
    struct memory_file *f = calloc(1, sizeof *f);
    assert(f != NULL);
    strcpy(f->name, name);
    f->image = image;
    f->writable = how == STORE_CREATE || how == STORE_UPDATE;
    f->base = (struct store_file){
        .place = place,
        .name = f->name,
        .align_bytes = s->align_bytes,
        .attr = image->attr,
        .in_use = image->in_use,
        .claimed = image->claimed,
        .by_link = image->by_link,
        .made = how == STORE_MAKE_DIRECTORY && fresh,
        .holes_unknown = image->holes_unknown,
    };
    image->uses++;
    s->open_files++;
    unlock(s);
    return &f->base;
}

/* The one that has the name `name` now. */
static void rename_image(struct memory_server *s, struct memory_file *f, const char *name)
{
    struct memory_image *there = memory_find(s, name);
    if (there != NULL && there != f->image)
        memory_image_unlink(s, there);
    strcpy(f->image->name, name);
    strcpy(f->name, name);
    memory_image_touch(s, memory_image_above(s, name));
}

static void give_attributes(struct memory_server *s, struct memory_image *image,
                            const struct store_attr *attr)
{
    image->attr.mode = attr->mode;
    image->attr.uid = attr->uid;
    image->attr.gid = attr->gid;
    image->attr.atime_ns = attr->atime_ns;
    image->attr.mtime_ns = attr->mtime_ns;
    image->attr.ctime_ns = memory_world_tick(s->world);
}

static void notice_publishing(struct memory_server *s, const struct memory_image *image,
                              const char *name)
{
    if (memcmp(image->cached, image->durable, image->attr.size_bytes) != 0)
        s->early_names++;
    if (s->publishing != NULL)
        s->publishing(s->publishing_arg, image, name);
}

/* `final` in the directory of `name`; it may say so itself. */
static void name_beside(const char *name, const char *final, char beside[MEMORY_NAME_MAX])
{
    const char *slash = strrchr(name, '/'), *own = strrchr(final, '/');
    size_t above = slash == NULL ? 0 : (size_t)(slash + 1 - name);
    if (own != NULL)
        assert((size_t)(own + 1 - final) == above && memcmp(name, final, above) == 0);
    snprintf(beside, MEMORY_NAME_MAX, "%.*s%s", (int)above, name, own != NULL ? own + 1 : final);
}

/* 0; or why the file does not get this name. */
static int check_names(const struct memory_server *s, const struct memory_file *f, const char *name,
                       const struct store_attr *replaces)
{
    const struct memory_image *there = memory_find(s, name);
    if (memory_find(s, f->name) != f->image)
        return -ESTALE;
    if (there == NULL)
        return 0;
    if (replaces == NULL)
        return -EEXIST;
    return store_unchanged(&there->attr, replaces) ? 0 : -ESTALE;
}

static int memory_publish(struct store_file *file, const char *final, const struct store_attr *attr,
                          const struct store_attr *replaces, struct err *e)
{
    struct memory_server *s = lock_place(file->place);
    struct memory_file *f = (struct memory_file *)file;
    char name[MEMORY_NAME_MAX];
    enum memory_death part;
    assert(f->under_way == 0);
    name_beside(f->name, final != NULL ? final : "", name);
    int rc = memory_enter(s, MEMORY_PUBLISH, final != NULL ? name : f->name, NULL, &part);
    if (s->done[MEMORY_PUBLISH] == s->faults.renew_at_publish)
        memory_rename_handles(s, s->faults.empties_renewed ? "-part" : NULL);
    if (s->generation_may_change && file->attr.generation != f->image->attr.generation) {
        file->attr.generation = f->image->attr.generation; /* it was looked up again */
        rc = rc < 0 ? rc : -ESTALE;
        part = s->faults.renewed_late ? DEATH_HALF : DEATH_BEFORE;
    }
    if (part >= DEATH_HALF && attr != NULL)
        give_attributes(s, f->image, attr);
    if (part == DEATH_AFTER && final != NULL) {
        int why = check_names(s, f, name, replaces);
        if (why == 0) {
            notice_publishing(s, f->image, name);
            rename_image(s, f, name);
            if (s->done[MEMORY_PUBLISH] == s->faults.renew_after_publish)
                memory_rename_handles(s, s->faults.empties_renewed ? "image" : NULL);
        }
        rc = rc < 0 ? rc : why;
    }
    if (rc < 0)
        report(s, rc, f->name, e);
    unlock(s);
    return rc < 0 ? -1 : 0;
}

static bool has_entries(const struct memory_server *s, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < s->n_images; i++)
        if (strncmp(s->images[i]->name, name, len) == 0 && s->images[i]->name[len] == '/')
            return true;
    return false;
}

static int memory_remove_name(struct store_place *place, const char *name,
                              const struct store_attr *is, struct err *e)
{
    struct memory_server *s = lock_place(place);
    enum memory_death part;
    assert(*name != '\0' && name_is_legal(name));
    int rc = memory_enter(s, MEMORY_REMOVE, name, NULL, &part);
    struct memory_image *image = part == DEATH_AFTER ? memory_find(s, name) : NULL;
    if (image != NULL && !store_same_file(&image->attr, is))
        rc = rc < 0 ? rc : -ESTALE;
    else if (image != NULL && has_entries(s, name))
        rc = rc < 0 ? rc : -ENOTEMPTY;
    else if (image != NULL)
        memory_image_unlink(s, image);
    if (rc < 0)
        report(s, rc, name, e);
    unlock(s);
    return rc < 0 ? -1 : 0;
}

/* ---- content ---- */

/* By the map of pages that were written. */
static int extent_of_pages(const struct memory_image *image, uint64_t offset,
                           struct store_extent *x)
{
    size_t n = memory_image_pages(image->attr.size_bytes), i = offset / MEMORY_PAGE;
    while (i < n && !image->pages[i])
        i++;
    if (i == n)
        return 0;
    size_t k = i;
    while (k < n && image->pages[k])
        k++;
    uint64_t end = (uint64_t)k * MEMORY_PAGE;
    x->offset = (uint64_t)i * MEMORY_PAGE;
    x->len_bytes = (end < image->attr.size_bytes ? end : image->attr.size_bytes) - x->offset;
    return 1;
}

static int image_extent(const struct memory_image *image, uint64_t offset, struct store_extent *x)
{
    if (offset >= image->attr.size_bytes)
        return 0;
    if (image->holes_unknown) {
        *x = (struct store_extent){0, image->attr.size_bytes};
        return 1;
    }
    if (image->n_extents == 0)
        return extent_of_pages(image, offset, x);
    for (size_t i = 0; i < image->n_extents; i++) {
        *x = image->extents[i];
        if (x->offset + x->len_bytes > offset)
            return 1;
    }
    return 0;
}

static int memory_extent(struct store_file *file, uint64_t offset, struct store_extent *x,
                         struct err *e)
{
    struct memory_server *s = lock_place(file->place);
    const struct memory_file *f = (const struct memory_file *)file;
    enum memory_death part;
    int rc = memory_enter(s, MEMORY_EXTENT, f->name, NULL, &part);
    if (rc < 0)
        report(s, rc, f->name, e);
    else
        rc = image_extent(f->image, offset, x);
    unlock(s);
    return rc < 0 ? -1 : rc;
}

static void memory_file_close(struct store_file *file)
{
    struct memory_server *s = lock_place(file->place);
    struct memory_file *f = (struct memory_file *)file;
    assert(f->under_way == 0);
    memory_image_release(f->image);
    s->open_files--;
    unlock(s);
    free(f);
}

static void memory_place_close(struct store_place *place)
{
    struct memory_server *s = lock_place(place);
    assert(memory_place_of(place)->under_way == NULL);
    s->open_places--;
    unlock(s);
    free(place);
}

static const struct store_ops memory_ops = {
    .scheme = "memory",
    .lookup = memory_lookup,
    .list = memory_list,
    .open = memory_open,
    .extent = memory_extent,
    .read = memory_read,
    .write = memory_write,
    .commit = memory_commit,
    .publish = memory_publish,
    .remove = memory_remove_name,
    .stop = memory_stop,
    .file_close = memory_file_close,
    .place_close = memory_place_close,
};

static struct store_place *place_open(const struct relocate_site *site, struct ring *ring,
                                      struct err *e)
{
    struct memory_server *s = ((const struct memory_site *)site)->server;
    enum memory_death part;
    pthread_mutex_lock(&s->world->lock);
    int rc = memory_enter(s, MEMORY_PLACE_OPEN, "", NULL, &part);
    if (rc < 0)
        report(s, rc, "", e);
    else
        s->open_places++;
    uint64_t free_bytes = s->free_bytes;
    unlock(s);
    if (rc < 0)
        return NULL;
    struct memory_place *p = calloc(1, sizeof *p);
    assert(p != NULL);
    p->server = s;
    p->thread = pthread_self();
    p->base = (struct store_place){
        .ops = &memory_ops,
        .ring = ring,
        .url = s->url,
        .io_max_bytes = s->io_max_bytes,
        .free_bytes = free_bytes,
        .may_forget = true,
        .claims_bind = s->claims_bind,
        .generation_may_change = s->generation_may_change,
    };
    return &p->base;
}

struct memory_site memory_site(struct memory_server *s)
{
    return (struct memory_site){.site = {.url = s->url, .open = place_open}, .server = s};
}
