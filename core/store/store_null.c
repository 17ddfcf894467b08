/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/store_null.h"

#include <errno.h>
#include <stdlib.h>

static int null_lookup(struct store_place *p, const char *name, struct store_attr *attr,
                       struct err *e)
{
    (void)p, (void)name, (void)attr, (void)e;
    return 0;
}

static int null_list(struct store_place *p, const char *name, store_list_fn *fn, void *arg,
                     struct err *e)
{
    (void)p, (void)name, (void)fn, (void)arg, (void)e;
    return 0;
}

static struct store_file *null_open(struct store_place *p, const char *name, enum store_how how,
                                    uint64_t size_bytes, struct err *e)
{
    (void)how;
    struct store_file *f = calloc(1, sizeof *f);
    if (f == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", p->url, name);
        return NULL;
    }
    *f = (struct store_file){.place = p, .name = name, .align_bytes = 1};
    f->attr.size_bytes = size_bytes;
    return f;
}

static void null_written(void *arg, int res)
{
    struct store_io *io = arg;
    io->fault = ERR_CANCELLED;
    io->res = res < 0 ? res : (int)io->len_bytes;
    io->stable = true;
    io->done(io);
}

static void null_write(struct store_io *io)
{
    ring_after(io->file->place->ring, &io->op, 0, null_written, io);
}

static int null_publish(struct store_file *f, const char *final, const struct store_attr *attr,
                        const struct store_attr *replaces, struct err *e)
{
    (void)f, (void) final, (void)attr, (void)replaces, (void)e;
    return 0;
}

/* What is under way ends by itself in the next turn. */
static void null_stop(struct store_place *p)
{
    (void)p;
}

static int null_remove(struct store_place *p, const char *name, const struct store_attr *is,
                       struct err *e)
{
    (void)p, (void)name, (void)is, (void)e;
    return 0;
}

static void null_file_close(struct store_file *f)
{
    free(f);
}

static void null_place_close(struct store_place *p)
{
    free(p);
}

static const struct store_ops null_ops = {
    .scheme = "null",
    .lookup = null_lookup,
    .list = null_list,
    .open = null_open,
    .write = null_write,
    .commit = null_write,
    .publish = null_publish,
    .remove = null_remove,
    .stop = null_stop,
    .file_close = null_file_close,
    .place_close = null_place_close,
};

struct store_place *store_null_open(struct ring *ring, struct err *e)
{
    struct store_place *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for null:");
        return NULL;
    }
    *p = (struct store_place){.ops = &null_ops,
                              .ring = ring,
                              .url = "null:",
                              .io_max_bytes = UINT32_MAX >> 1,
                              .free_bytes = UINT64_MAX};
    return p;
}
