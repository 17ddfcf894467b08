/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A request that is aligned goes past the page cache where the file has a descriptor for that, any
 * other through it. EINVAL to a request that is aligned as we were told means that the kernel told
 * us wrong: it is done again buffered, and from there on so is everything else.
 *
 * Durability: a write is durable after an fdatasync of the file that was started after the write
 * had ended. One runs at a time; commits that come meanwhile share the next. The verifier stands
 * for "no sync has failed since": the kernel reports a failed write-back once, may have dropped the
 * dirty pages, and says 0 the next time. So a failure gives the place a new verifier, and what was
 * written before it does not match any later commit. One at a time, because of two that run
 * together only one is reported. The failed commit itself is an error that ends the copy: nothing is
 * tried again here.
 *
 * nice_cache: what buffered I/O brought into the page cache is dropped again. Of a read, those
 * parts of its range that were not resident before; the kernel's read-ahead is off then, else it
 * would look like somebody else's pages. Of a write, everything, once it is committed: the file is
 * ours, and nobody else has a use for it yet. The mask of parts travels in the request's `lane`.
 */
#include "core/store/local_io.h"

#include <errno.h>
#include <string.h>

#include "core/store/local_cache.h"
#include "core/store/local_file.h"

static struct local_file *io_file(const struct store_io *io)
{
    return (struct local_file *)io->file;
}

static int io_choose(const struct store_io *io)
{
    const struct local_file *f = io_file(io);
    if (f->direct_fd < 0 || f->base.align_bytes == 1)
        return f->buffered_fd;
    uint64_t bits = (uint64_t)(uintptr_t)io->buf | io->offset | io->len_bytes;
    return (bits & (f->base.align_bytes - 1)) == 0 ? f->direct_fd : f->buffered_fd;
}

static bool io_was_refused(const struct store_io *io, int res)
{
    if (res != -EINVAL || io->op.fd == io_file(io)->buffered_fd)
        return false;
    io->file->align_bytes = 1;
    return true;
}

static void io_answer(struct store_io *io, int res)
{
    io->res = res;
    io->fault = res == -ECANCELED ? ERR_CANCELLED : ERR_IO;
    io->done(io);
}

static void io_read_done(void *arg, int res);

static void io_read_by(struct store_io *io, int fd)
{
    const struct local_file *f = io_file(io);
    uint32_t absent = 0;
    if (f->drops && fd == f->buffered_fd)
        absent = local_cache_absent(fd, io->offset, io->len_bytes);
    io->lane = (void *)(uintptr_t)absent;
    ring_read(f->base.place->ring, &io->op, fd, io->buf, io->len_bytes, io->offset, io_read_done,
              io);
}

void local_io_read(struct store_io *io)
{
    io_read_by(io, io_choose(io));
}

static void io_read_done(void *arg, int res)
{
    struct store_io *io = arg;
    const struct local_file *f = io_file(io);
    if (io_was_refused(io, res)) {
        io_read_by(io, f->buffered_fd);
        return;
    }
    local_cache_drop(f->buffered_fd, io->offset, io->len_bytes, (uint32_t)(uintptr_t)io->lane);
    io_answer(io, res);
}

static void io_write_done(void *arg, int res);

static void io_write_by(struct store_io *io, int fd)
{
    struct local_file *f = io_file(io);
    f->wrote_buffered |= fd == f->buffered_fd;
    (io->want_stable ? ring_write_durable : ring_write)(
        f->base.place->ring, &io->op, fd, io->buf, io->len_bytes, io->offset, io_write_done, io);
}

/* The verifier is that of its start: a sync that fails while it runs may have lost it. */
void local_io_write(struct store_io *io)
{
    io->stable = io->want_stable;
    memcpy(io->verifier, &local_file_place(io_file(io))->verifier, STORE_VERIFIER_BYTES);
    io_write_by(io, io_choose(io));
}

static void io_write_done(void *arg, int res)
{
    struct store_io *io = arg;
    const struct local_file *f = io_file(io);
    if (io_was_refused(io, res)) {
        io_write_by(io, f->buffered_fd);
        return;
    }
    if (io->stable && f->drops && io->op.fd == f->buffered_fd)
        local_cache_drop(f->buffered_fd, io->offset, io->len_bytes, UINT32_MAX);
    io_answer(io, res);
}

static void io_sync_done(void *arg, int res);

static void io_sync(struct local_file *f)
{
    f->syncs = f->waiting;
    f->waiting = NULL;
    ring_fsync(f->base.place->ring, &f->syncs->op, f->buffered_fd, io_sync_done, f);
}

void local_io_commit(struct store_io *io)
{
    struct local_file *f = io_file(io);
    if (f->waiting == NULL)
        f->stops = local_file_place(f)->stops;
    io->next = f->waiting;
    f->waiting = io;
    if (f->syncs == NULL)
        io_sync(f);
}

static void io_answer_commits(struct store_io *io, int res)
{
    while (io != NULL) {
        struct store_io *next = io->next;
        const struct local_file *f = io_file(io);
        memcpy(io->verifier, &local_file_place(f)->verifier, STORE_VERIFIER_BYTES);
        if (res == 0 && f->drops && f->wrote_buffered) {
            uint64_t len = io->len_bytes > 0 ? io->len_bytes : f->base.attr.size_bytes;
            local_cache_drop(f->buffered_fd, io->offset, len, UINT32_MAX);
        }
        io_answer(io, res);
        io = next;
    }
}

/* The last answer may be what the caller waits for to close the file: nothing comes after it. */
static void io_sync_done(void *arg, int res)
{
    struct local_file *f = arg;
    struct store_io *synced = f->syncs, *stopped = NULL;
    f->syncs = NULL;
    if (res < 0)
        local_file_place(f)->verifier++;
    if (f->waiting != NULL && f->stops != local_file_place(f)->stops) {
        stopped = f->waiting;
        f->waiting = NULL;
    }
    if (f->waiting != NULL)
        io_sync(f);
    io_answer_commits(synced, res);
    io_answer_commits(stopped, -ECANCELED);
}
