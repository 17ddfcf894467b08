/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * All state of all servers is under the one lock of their world. Each image has its bytes twice. A
 * write goes to `cached`, a commit takes it on to `durable`, and a crash goes the other way. Names
 * and attributes are durable at once, as RFC 1813 demands.
 */
#include "memory_world.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t memory_world_random(struct memory_world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

int64_t memory_world_tick(struct memory_world *w)
{
    return w->clock_ns += 1001;
}

/* ---- images ---- */

struct memory_image *memory_find(const struct memory_server *s, const char *name)
{
    for (size_t i = 0; i < s->n_images; i++)
        if (strcmp(s->images[i]->name, name) == 0)
            return s->images[i];
    return NULL;
}

/*
 * Thousands of worlds each have the same few images of a megabyte. What one has used is kept for the
 * next that wants as many bytes: to have them mapped and unmapped each time cost more than the rest.
 */
enum { SPARES = 16 };
static struct spare {
    unsigned char *p;
    size_t size;
} spares[SPARES];
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;

/* NULL: there is none. */
static unsigned char *spare_take(size_t size)
{
    unsigned char *p = NULL;
    pthread_mutex_lock(&spares_lock);
    for (size_t i = 0; i < SPARES && p == NULL; i++) {
        if (spares[i].p == NULL || spares[i].size != size)
            continue;
        p = spares[i].p;
        spares[i].p = NULL;
    }
    pthread_mutex_unlock(&spares_lock);
    return p;
}

static void spare_give(unsigned char *p, size_t size)
{
    pthread_mutex_lock(&spares_lock);
    for (size_t i = 0; i < SPARES && p != NULL; i++) {
        if (spares[i].p != NULL)
            continue;
        spares[i] = (struct spare){p, size};
        p = NULL;
    }
    pthread_mutex_unlock(&spares_lock);
    free(p);
}

void memory_image_release(struct memory_image *image)
{
    if (--image->uses > 0)
        return;
    spare_give(image->cached, image->bytes_max);
    spare_give(image->durable, image->bytes_max);
    free(image->pages);
    free(image);
}

struct memory_image *memory_image_above(struct memory_server *s, const char *name)
{
    char above[MEMORY_NAME_MAX];
    const char *slash = strrchr(name, '/');
    snprintf(above, sizeof above, "%.*s", slash == NULL ? 0 : (int)(slash - name), name);
    struct memory_image *image = memory_find(s, above);
    return image != NULL && image->attr.type == STORE_DIRECTORY ? image : NULL;
}

void memory_image_touch(struct memory_server *s, struct memory_image *image)
{
    if (image != NULL)
        image->attr.mtime_ns = image->attr.ctime_ns = memory_world_tick(s->world);
}

size_t memory_image_pages(uint64_t bytes)
{
    return (bytes + MEMORY_PAGE - 1) / MEMORY_PAGE;
}

static unsigned char *grown(unsigned char *old, size_t from, size_t to)
{
    unsigned char *p = old == NULL ? spare_take(to + 1) : NULL;
    if (p == NULL)
        p = realloc(old, to + 1);
    assert(p != NULL);
    memset(p + from, 0, to + 1 - from);
    return p;
}

void memory_image_resize(struct memory_image *image, uint64_t size)
{
    uint64_t old = image->attr.size_bytes;
    image->cached = grown(image->cached, image->cached == NULL ? 0 : old, size);
    image->durable = grown(image->durable, image->durable == NULL ? 0 : old, size);
    size_t pages = image->pages == NULL ? 0 : memory_image_pages(old);
    image->pages = grown(image->pages, pages, memory_image_pages(size));
    image->attr.size_bytes = size;
    image->bytes_max = size + 1;
}

struct memory_image *memory_image_new(struct memory_server *s, const char *name, uint64_t size)
{
    struct memory_image *image = calloc(1, sizeof *image);
    s->images = realloc(s->images, (s->n_images + 1) * sizeof(struct memory_image *));
    assert(image != NULL && s->images != NULL && strlen(name) < sizeof image->name);
    strcpy(image->name, name);
    memory_image_resize(image, size);
    image->attr.device = s->device;
    image->attr.inode = ++s->world->inodes;
    image->attr.generation = memory_world_random(s->world) | 1;
    image->attr.mode = 0600;
    image->attr.atime_ns = memory_world_tick(s->world);
    image->uses = 1;
    memory_image_touch(s, image);
    if (*name != '\0')
        memory_image_touch(s, memory_image_above(s, name));
    s->images[s->n_images++] = image;
    return image;
}

void memory_image_unlink(struct memory_server *s, struct memory_image *image)
{
    size_t i = 0;
    while (s->images[i] != image)
        i++;
    memory_image_touch(s, memory_image_above(s, image->name));
    s->images[i] = s->images[--s->n_images];
    image->name[0] = '\0';
    memory_image_release(image);
}

struct memory_image *memory_add_directory(struct memory_server *s, const char *name)
{
    struct memory_image *image = memory_find(s, name);
    if (image != NULL)
        return image;
    if (strchr(name, '/') != NULL) {
        char above[MEMORY_NAME_MAX];
        snprintf(above, sizeof above, "%.*s", (int)(strrchr(name, '/') - name), name);
        memory_add_directory(s, above);
    }
    image = memory_image_new(s, name, 0);
    image->attr.type = STORE_DIRECTORY;
    image->attr.mode = 0755;
    return image;
}

struct memory_image *memory_add(struct memory_server *s, const char *name, uint64_t size,
                                const struct store_extent *extents, size_t n)
{
    if (strchr(name, '/') != NULL) {
        char above[MEMORY_NAME_MAX];
        snprintf(above, sizeof above, "%.*s", (int)(strrchr(name, '/') - name), name);
        memory_add_directory(s, above);
    }
    struct memory_image *image = memory_image_new(s, name, size);
    image->attr.mode = 0640;
    image->attr.uid = 107;
    image->attr.gid = 108;
    assert(n <= MEMORY_EXTENTS);
    for (size_t i = 0; i < n; i++) {
        image->extents[image->n_extents++] = extents[i];
        uint64_t first = extents[i].offset / MEMORY_PAGE;
        size_t pages = memory_image_pages(extents[i].offset + extents[i].len_bytes);
        image->attr.used_bytes += (pages - first) * MEMORY_PAGE;
        uint64_t random = 0;
        for (uint64_t k = 0; k < extents[i].len_bytes; k++) {
            random = k % sizeof random == 0 ? memory_world_random(s->world) : random >> 8;
            image->cached[extents[i].offset + k] = (unsigned char)random | 1;
        }
    }
    memcpy(image->durable, image->cached, size);
    return image;
}

void memory_remove(struct memory_server *s, const char *name)
{
    memory_image_unlink(s, memory_find(s, name));
}

void memory_touch(struct memory_server *s, const char *name)
{
    pthread_mutex_lock(&s->world->lock);
    memory_image_touch(s, memory_find(s, name));
    pthread_mutex_unlock(&s->world->lock);
}

void memory_crash(struct memory_server *s, bool keeps_some)
{
    for (size_t i = 0; i < s->n_images; i++) {
        struct memory_image *image = s->images[i];
        for (uint64_t at = 0; at < image->attr.size_bytes; at += MEMORY_PAGE) {
            uint64_t left = image->attr.size_bytes - at;
            size_t n = left < MEMORY_PAGE ? left : MEMORY_PAGE;
            if (memcmp(image->cached + at, image->durable + at, n) == 0)
                continue;
            if (keeps_some && memory_world_random(s->world) % 2)
                memcpy(image->durable + at, image->cached + at, n);
            else
                memcpy(image->cached + at, image->durable + at, n);
        }
    }
    s->verifier++;
    s->crashes++;
}

void memory_forget(struct memory_server *s, const char *end)
{
    for (size_t i = 0; i < s->n_images; i++) {
        struct memory_image *image = s->images[i];
        if (!memory_name_ends(image->name, end))
            continue;
        memset(image->cached, 0, image->attr.size_bytes);
        memset(image->durable, 0, image->attr.size_bytes);
        s->crashes++;
    }
    s->verifier++;
}

/* ---- calls ---- */

static void world_log(struct memory_server *s, enum memory_op op, const char *name,
                      const struct store_io *io)
{
    struct memory_world *w = s->world;
    if (w->n_log == w->log_max) {
        w->log_max = w->log_max * 2 + 256;
        w->log = realloc(w->log, w->log_max * sizeof *w->log);
        assert(w->log != NULL);
    }
    struct memory_call *c = &w->log[w->n_log++];
    *c = (struct memory_call){.server = s, .op = op};
    snprintf(c->name, sizeof c->name, "%s", name);
    if (io != NULL) {
        c->offset = io->offset;
        c->len_bytes = io->len_bytes;
    }
}

bool memory_name_ends(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

int memory_enter(struct memory_server *s, enum memory_op op, const char *name,
                 const struct store_io *io, enum memory_death *part)
{
    struct memory_world *w = s->world;
    const struct memory_faults *x = &s->faults;
    *part = DEATH_AFTER;
    if (++w->calls == w->die_at) {
        w->dead = true;
        *part = w->death;
        world_log(s, op, name, io);
        return -ECONNRESET;
    }
    if (w->dead) {
        *part = DEATH_BEFORE;
        return -ECONNRESET;
    }
    s->done[op]++;
    world_log(s, op, name, io);
    if (x->fail_at > 0 && (x->only == NULL || memory_name_ends(name, x->only)) &&
        ++s->counted == x->fail_at) {
        s->failed++;
        if (x->interrupts != NULL)
            *x->interrupts = 1;
        *part = op == MEMORY_PUBLISH ? DEATH_HALF : DEATH_BEFORE;
        return -x->fail_errno;
    }
    return 0;
}

/* ---- worlds and servers ---- */

void memory_world_init(struct memory_world *w)
{
    *w = (struct memory_world){.random = 88172645463325252,
                               .clock_ns = INT64_C(1700000000123456789)};
    pthread_mutex_init(&w->lock, NULL);
}

void memory_world_free(struct memory_world *w)
{
    pthread_mutex_destroy(&w->lock);
    free(w->log);
}

void memory_world_revive(struct memory_world *w)
{
    w->dead = false;
    w->calls = w->die_at = 0;
    w->n_log = 0;
}

void memory_server_init(struct memory_server *s, struct memory_world *w, const char *url)
{
    *s = (struct memory_server){
        .world = w,
        .url = url,
        .device = ++w->devices,
        .free_bytes = UINT64_MAX,
        .align_bytes = MEMORY_PAGE,
        .io_max_bytes = 1 << 20,
        .verifier = 1,
    };
    memory_image_new(s, "", 0)->attr.type = STORE_DIRECTORY;
}

void memory_server_free(struct memory_server *s)
{
    while (s->n_images > 0)
        memory_image_release(s->images[--s->n_images]);
    free(s->images);
}

void memory_server_restore(struct memory_server *s)
{
    s->faults = (struct memory_faults){0};
    memset(s->done, 0, sizeof s->done);
    s->counted = s->counted_writes = s->stable_writes = s->crashes = s->failed = s->corrupted = 0;
    s->stopped = s->early_names = 0;
    s->read_bytes = s->written_bytes = 0;
}

static bool call_is(const struct memory_call *c, const struct memory_server *s, enum memory_op op,
                    const char *name)
{
    return c->server == s && c->op == op && strcmp(c->name, name) == 0;
}

long memory_first(const struct memory_server *s, enum memory_op op, const char *name)
{
    for (size_t i = 0; i < s->world->n_log; i++)
        if (call_is(&s->world->log[i], s, op, name))
            return (long)i;
    return -1;
}

long memory_last(const struct memory_server *s, enum memory_op op, const char *name)
{
    for (size_t i = s->world->n_log; i-- > 0;)
        if (call_is(&s->world->log[i], s, op, name))
            return (long)i;
    return -1;
}

void memory_rename_handles(struct memory_server *s, const char *emptied)
{
    s->generation_may_change = true;
    for (size_t i = 0; i < s->n_images; i++) {
        struct memory_image *image = s->images[i];
        image->attr.generation += 2;
        if (emptied == NULL || !memory_name_ends(image->name, emptied))
            continue;
        memset(image->cached, 0, image->attr.size_bytes);
        memset(image->durable, 0, image->attr.size_bytes);
    }
}
