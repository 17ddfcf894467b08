/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

struct memory_file {
    struct store_file base;
    struct memory_image *image; /* of a source */
    unsigned char *cached;      /* of a destination: what was written */
    unsigned char *durable;     /* and what would survive */
    uint64_t size;
    char name[32];
};

static struct memory_place *place_of(struct store_place *p)
{
    return (struct memory_place *)p;
}

/* Whether this call, of all, is the one to fail. */
static bool fails(struct memory_place *p)
{
    return ++p->calls == p->faults.fail_at;
}

static int fail(struct memory_place *p, struct err *e)
{
    return err_set(e, ERR_IO, p->faults.fail_errno, "memory: call %u", p->calls);
}

struct memory_image *memory_find(struct memory_place *p, const char *name)
{
    for (int i = 0; i < MEMORY_FILES; i++)
        if (strcmp(p->images[i].name, name) == 0)
            return &p->images[i];
    return NULL;
}

static struct memory_image *new_image(struct memory_place *p, const char *name)
{
    struct memory_image *image = memory_find(p, "");
    snprintf(image->name, sizeof image->name, "%s", name);
    return image;
}

struct memory_image *memory_add(struct memory_place *p, const char *name, uint64_t size,
                                const struct store_extent *extents, size_t n)
{
    struct memory_image *image = new_image(p, name);
    image->data = calloc(1, size + 1);
    image->attr = (struct store_attr){.size_bytes = size, .inode = 7, .mode = 0640,
                                      .mtime_ns = 12345, .ctime_ns = 67890};
    for (size_t i = 0; i < n; i++) {
        image->extents[image->n_extents++] = extents[i];
        for (uint64_t k = 0; k < extents[i].len_bytes; k++)
            image->data[extents[i].offset + k] = (unsigned char)rand();
    }
    return image;
}

static int memory_lookup(struct store_place *place, const char *name, struct store_attr *attr,
                         struct err *e)
{
    struct memory_place *p = place_of(place);
    if (fails(p))
        return fail(p, e);
    struct memory_image *image = memory_find(p, name);
    if (image != NULL)
        *attr = image->attr;
    return image != NULL;
}

static struct memory_file *new_file(struct memory_place *p, const char *name)
{
    struct memory_file *f = calloc(1, sizeof *f);
    snprintf(f->name, sizeof f->name, "%s", name);
    f->base = (struct store_file){
        .place = &p->base, .name = f->name, .temp_name = ".temp", .align_bytes = 4096};
    return f;
}

static struct store_file *memory_open(struct store_place *place, const char *name, struct err *e)
{
    struct memory_place *p = place_of(place);
    if (fails(p)) {
        fail(p, e);
        return NULL;
    }
    struct memory_file *f = new_file(p, name);
    f->image = memory_find(p, name);
    f->base.attr = f->image->attr;
    f->size = f->image->attr.size_bytes;
    p->opened++;
    return &f->base;
}

static struct store_file *memory_create(struct store_place *place, const char *name,
                                        uint64_t size, struct err *e)
{
    struct memory_place *p = place_of(place);
    if (fails(p)) {
        fail(p, e);
        return NULL;
    }
    struct memory_file *f = new_file(p, name);
    f->size = size;
    f->cached = calloc(1, size + 1);
    f->durable = calloc(1, size + 1);
    p->opened++;
    p->created++;
    return &f->base;
}

static int memory_extent(struct store_file *file, uint64_t offset, struct store_extent *x,
                         struct err *e)
{
    struct memory_file *f = (struct memory_file *)file;
    struct memory_place *p = place_of(file->place);
    if (fails(p))
        return fail(p, e);
    for (size_t i = 0; i < f->image->n_extents; i++) {
        *x = f->image->extents[i];
        if (x->offset + x->len_bytes > offset)
            return 1;
    }
    return 0;
}

static void answer(void *arg, int res)
{
    struct store_io *io = arg;
    if (res < 0)
        io->res = res;
    io->done(io);
}

static void finish(struct store_io *io)
{
    struct memory_place *p = place_of(io->file->place);
    if (p->faults.mute) {
        p->muted[p->muted_n++] = io;
        return;
    }
    int64_t delay_ns = p->faults.shuffle ? rand() % (200 * NS_PER_US) : 0;
    if (p->faults.late_before_crash && p->crashes == 0)
        delay_ns = 2 * NS_PER_MS;
    ring_after(p->base.ring, &io->op, delay_ns, answer, io);
}

/* How much of it is done; -1: it fails, and io says so. */
static int amount(struct store_io *io)
{
    struct memory_place *p = place_of(io->file->place);
    const struct memory_file *f = (const struct memory_file *)io->file;
    io->fault = ERR_IO;
    if (fails(p)) {
        io->res = -p->faults.fail_errno;
        return -1;
    }
    uint64_t n = io->len_bytes;
    if (p->faults.short_every > 0 && io->buf != NULL && p->calls % p->faults.short_every == 0 &&
        n > 4096)
        n = n / 2 / 4096 * 4096;
    if (io->offset + n > f->size)
        n = f->size - io->offset;
    io->res = (int)n;
    return (int)n;
}

static void memory_read(struct store_io *io)
{
    struct memory_file *f = (struct memory_file *)io->file;
    struct memory_place *p = place_of(io->file->place);
    p->reads++;
    int n = amount(io);
    if (p->faults.end_early && io->offset > f->size / 2)
        n = io->res = 0;
    if (n > 0)
        memcpy(io->buf, f->image->data + io->offset, (size_t)n);
    finish(io);
}

static void crash(struct memory_place *p, struct memory_file *f)
{
    memcpy(f->cached, f->durable, f->size);
    p->verifier++;
    p->crashes++;
}

static void memory_write(struct store_io *io)
{
    struct memory_file *f = (struct memory_file *)io->file;
    struct memory_place *p = place_of(io->file->place);
    if (++p->writes == p->faults.crash_at_write)
        crash(p, f);
    int n = amount(io);
    bool stable = p->faults.always_stable || (io->want_stable && !p->faults.lie);
    if (n > 0) {
        memcpy(f->cached + io->offset, io->buf, (size_t)n);
        if (stable)
            memcpy(f->durable + io->offset, io->buf, (size_t)n);
    }
    p->stable_writes += stable;
    io->stable = stable;
    memset(io->verifier, p->verifier, sizeof io->verifier);
    finish(io);
}

static void memory_commit(struct store_io *io)
{
    struct memory_file *f = (struct memory_file *)io->file;
    struct memory_place *p = place_of(io->file->place);
    if (++p->commits == p->faults.crash_at_commit || p->faults.crash_always)
        crash(p, f);
    if (amount(io) >= 0) {
        memcpy(f->durable + io->offset, f->cached + io->offset, (size_t)io->res);
        io->res = 0;
    }
    memset(io->verifier, p->verifier, sizeof io->verifier);
    finish(io);
}

static int memory_publish(struct store_file *file, const struct store_attr *attr, bool overwrite,
                          struct err *e)
{
    struct memory_file *f = (struct memory_file *)file;
    struct memory_place *p = place_of(file->place);
    if (fails(p))
        return fail(p, e);
    struct memory_image *image = memory_find(p, f->name);
    if (image != NULL && !overwrite)
        return err_set(e, ERR_IO, EEXIST, "%s", f->name);
    if (image == NULL)
        image = new_image(p, f->name);
    free(image->data);
    image->data = f->durable;
    f->durable = NULL;
    image->attr = *attr;
    file->temp_name = NULL;
    p->published++;
    return 0;
}

static void memory_stop(struct store_place *place)
{
    struct memory_place *p = place_of(place);
    p->stopped++;
    for (unsigned i = 0; i < p->muted_n; i++) {
        p->muted[i]->res = -ECANCELED;
        p->muted[i]->fault = ERR_CANCELLED;
        ring_after(p->base.ring, &p->muted[i]->op, 0, answer, p->muted[i]);
    }
    p->muted_n = 0;
}

static int memory_file_close(struct store_file *file, struct err *e)
{
    struct memory_file *f = (struct memory_file *)file;
    struct memory_place *p = place_of(file->place);
    int rc = 0;
    if (file->temp_name != NULL && fails(p))
        rc = fail(p, e);
    else if (file->temp_name != NULL)
        p->discarded++;
    p->closed++;
    free(f->cached);
    free(f->durable);
    free(f);
    return rc;
}

static void memory_place_close(struct store_place *place)
{
    memory_free(place_of(place));
}

static const struct store_ops memory_ops = {
    .scheme = "memory",
    .lookup = memory_lookup,
    .open = memory_open,
    .create = memory_create,
    .extent = memory_extent,
    .read = memory_read,
    .write = memory_write,
    .commit = memory_commit,
    .publish = memory_publish,
    .stop = memory_stop,
    .file_close = memory_file_close,
    .place_close = memory_place_close,
};

void memory_init(struct memory_place *p, struct ring *ring, const char *url)
{
    *p = (struct memory_place){
        .base = {.ops = &memory_ops, .ring = ring, .url = url, .io_max_bytes = 1 << 20}};
}

void memory_free(struct memory_place *p)
{
    for (int i = 0; i < MEMORY_FILES; i++)
        free(p->images[i].data);
}
