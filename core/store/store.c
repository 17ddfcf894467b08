/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

#define STORE_TURN_NS (100 * NS_PER_MS)

bool store_same_file(const struct store_attr *a, const struct store_attr *b)
{
    return a->inode == b->inode && a->generation == b->generation && a->type == b->type;
}

bool store_may_be_same(const struct store_place *p, const struct store_attr *a,
                       const struct store_attr *b)
{
    return p->generation_may_change && a->inode == b->inode && a->device == b->device &&
           a->type == b->type && a->mode == b->mode &&
           (a->type == STORE_DIRECTORY || a->size_bytes == b->size_bytes);
}

bool store_unchanged(const struct store_attr *a, const struct store_attr *b)
{
    return store_same_file(a, b) && a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

bool store_same_time(int64_t stored_ns, int64_t ns)
{
    static const int64_t grains[] = {100,      NS_PER_US,   NS_PER_MS, 10 * NS_PER_MS,
                                     NS_PER_S, 2 * NS_PER_S};
    int64_t off_ns = stored_ns > ns ? stored_ns - ns : ns - stored_ns;
    for (size_t i = 0; i < sizeof grains / sizeof *grains && off_ns != 0; i++)
        if (stored_ns % grains[i] == 0 && off_ns < grains[i])
            off_ns = 0;
    return off_ns == 0;
}

int store_not_ours(const struct store_place *p, const char *name, struct err *e)
{
    err_set(e, ERR_IO, 0, "%s%s: is another file by now, and was left alone", p->url, name);
    e->sys = ESTALE;
    return -1;
}

struct store_wait {
    struct store_io io;
    bool ended;
};

static void store_ended(struct store_io *io)
{
    struct store_wait *w = io->arg;
    w->ended = true;
}

/* What one request does of it; -1. A broken ring may still call back: the record is left to it. */
static ssize_t store_once(struct store_file *f, void (*start)(struct store_io *io),
                          const struct store_io *want, struct store_io *got, struct err *e)
{
    struct store_wait *w = calloc(1, sizeof *w);
    if (w == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", f->place->url, f->name);
    w->io = *want;
    w->io.file = f;
    w->io.done = store_ended;
    w->io.arg = w;
    start(&w->io);
    while (!w->ended) {
        int rc = ring_turn(f->place->ring, STORE_TURN_NS);
        if (rc < 0)
            return err_set(e, ERR_IO, -rc, "the I/O ring broke");
    }
    ssize_t n = w->io.res;
    if (n < 0)
        err_set(e, w->io.fault, (int)-n, "%s%s: the request at offset %" PRIu64 " failed",
                f->place->url, f->name, want->offset);
    else if (want->want_stable && !w->io.stable)
        n = err_set(e, ERR_PROTO, 0, "%s%s: a stable write is not stable", f->place->url, f->name);
    if (got != NULL)
        *got = w->io;
    free(w);
    return n;
}

static uint32_t store_cut(const struct store_file *f, uint32_t len_bytes)
{
    return len_bytes < f->place->io_max_bytes ? len_bytes : f->place->io_max_bytes;
}

ssize_t store_read_at(struct store_file *f, void *buf, uint32_t len_bytes, uint64_t offset,
                      struct err *e)
{
    uint32_t done = 0;
    while (done < len_bytes) {
        const struct store_io want = {
            .buf = (char *)buf + done,
            .offset = offset + done,
            .len_bytes = store_cut(f, len_bytes - done),
        };
        ssize_t n = store_once(f, f->place->ops->read, &want, NULL, e);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (uint32_t)n;
    }
    return (ssize_t)done;
}

int store_write_at(struct store_file *f, const void *buf, uint32_t len_bytes, uint64_t offset,
                   struct err *e)
{
    for (uint32_t done = 0; done < len_bytes;) {
        const struct store_io want = {
            .buf = (char *)(uintptr_t)buf + done, /* only read through write() */
            .offset = offset + done,
            .len_bytes = store_cut(f, len_bytes - done),
            .want_stable = true,
        };
        ssize_t n = store_once(f, f->place->ops->write, &want, NULL, e);
        if (n < 0)
            return -1;
        if (n == 0)
            return err_set(e, ERR_PROTO, 0, "%s%s: nothing is written", f->place->url, f->name);
        done += (uint32_t)n;
    }
    return 0;
}

int store_verifier(struct store_file *f, uint8_t verifier[STORE_VERIFIER_BYTES], struct err *e)
{
    const struct store_io want = {.len_bytes = 1};
    struct store_io got;
    if (store_once(f, f->place->ops->commit, &want, &got, e) < 0)
        return -1;
    memcpy(verifier, got.verifier, STORE_VERIFIER_BYTES);
    return 0;
}
