/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A file is read past the page cache (O_DIRECT) where its file system allows that, so that a copy
 * of a large image does not push everything else out of memory. What cannot be read so goes
 * through a second, buffered descriptor of the same file: on a file system without direct I/O
 * (tmpfs: open fails with EINVAL; others only fail the read) and for requests that are not
 * aligned.
 *
 * The alignment is what the kernel says (statx, STATX_DIOALIGN, since 6.1), else 4096: wrong only
 * on devices with larger sectors, which then take the buffered way.
 *
 * Holes are found with SEEK_DATA and SEEK_HOLE. A file system that cannot tell says "all data", and
 * so do we about block devices.
 */
#include "core/store_local.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

enum { LOCAL_ALIGN_GUESS_BYTES = 4096, LOCAL_ALIGN_MAX_BYTES = 65536 };

struct local_place {
    struct store_place base;
    int dir_fd;
    char url[];
};

struct local_file {
    struct store_file base;
    int direct_fd;   /* -1: direct I/O is not to be had */
    int buffered_fd; /* always open */
    char name[STORE_NAME_MAX + 1];
};

static int64_t local_time_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void local_attr(const struct stat *st, struct store_attr *attr)
{
    *attr = (struct store_attr){
        .size_bytes = (uint64_t)st->st_size,
        .used_bytes = (uint64_t)st->st_blocks * 512,
        .device = st->st_dev,
        .inode = st->st_ino,
        .atime_ns = local_time_ns(st->st_atim),
        .mtime_ns = local_time_ns(st->st_mtim),
        .ctime_ns = local_time_ns(st->st_ctim),
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .type = S_ISREG(st->st_mode)   ? STORE_REGULAR
                : S_ISBLK(st->st_mode) ? STORE_BLOCK_DEVICE
                : S_ISDIR(st->st_mode) ? STORE_DIRECTORY
                                       : STORE_OTHER,
    };
}

static int local_lookup(struct store_place *p, const char *name, struct store_attr *attr,
                        struct err *e)
{
    struct local_place *place = (struct local_place *)p;
    struct stat st;
    if (fstatat(place->dir_fd, name, &st, 0) < 0) {
        if (errno == ENOENT)
            return 0;
        return err_set(e, ERR_IO, errno, "%s%s", p->url, name);
    }
    local_attr(&st, attr);
    if (attr->type == STORE_BLOCK_DEVICE) {
        CLEANUP_CLOSE int fd = openat(place->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ioctl(fd, BLKGETSIZE64, &attr->size_bytes) < 0)
            return err_set(e, ERR_IO, errno, "%s%s", p->url, name);
    }
    return 1;
}

/* What direct I/O on `fd` must be aligned to; 0 when the kernel says that it cannot be done. */
static uint32_t local_alignment(int fd)
{
    struct statx stx;
    memset(&stx, 0, sizeof stx);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
        (stx.stx_mask & STATX_DIOALIGN) == 0)
        return LOCAL_ALIGN_GUESS_BYTES;
    uint32_t align = stx.stx_dio_mem_align > stx.stx_dio_offset_align ? stx.stx_dio_mem_align
                                                                       : stx.stx_dio_offset_align;
    bool sane = align > 0 && align <= LOCAL_ALIGN_MAX_BYTES && (align & (align - 1)) == 0;
    return sane ? align : 0;
}

/*
 * O_NONBLOCK: a FIFO must not hold us; it means nothing for what is then read. O_NOATIME leaves the
 * source as it was, and is only for its owner or root.
 */
static int local_open_fd(struct local_place *place, const char *name, int flags)
{
    flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(place->dir_fd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(place->dir_fd, name, flags);
    return fd;
}

static int local_open_both(struct local_file *f, struct local_place *place, struct err *e)
{
    f->buffered_fd = local_open_fd(place, f->name, 0);
    if (f->buffered_fd < 0)
        return err_set(e, ERR_IO, errno, "%s%s: cannot open for reading", place->url, f->name);
    struct stat st;
    if (fstat(f->buffered_fd, &st) < 0)
        return err_set(e, ERR_IO, errno, "%s%s", place->url, f->name);
    local_attr(&st, &f->base.attr);
    if (f->base.attr.type == STORE_BLOCK_DEVICE &&
        ioctl(f->buffered_fd, BLKGETSIZE64, &f->base.attr.size_bytes) < 0)
        return err_set(e, ERR_IO, errno, "%s%s: cannot tell its size", place->url, f->name);

    uint32_t align = local_alignment(f->buffered_fd);
    f->direct_fd = align > 0 ? local_open_fd(place, f->name, O_DIRECT) : -1;
    f->base.align_bytes = f->direct_fd >= 0 ? align : 1;
    if (f->direct_fd < 0)
        log_debug("%s%s: no direct I/O here, reading through the page cache", place->url, f->name);
    return 0;
}

static int local_file_close(struct store_file *file, struct err *e)
{
    (void)e;
    struct local_file *f = (struct local_file *)file;
    if (f->direct_fd >= 0)
        close(f->direct_fd);
    if (f->buffered_fd >= 0)
        close(f->buffered_fd);
    free(f);
    return 0;
}

static struct store_file *local_open(struct store_place *p, const char *name, struct err *e)
{
    struct local_file *f = calloc(1, sizeof *f);
    if (f == NULL || strlen(name) > STORE_NAME_MAX) {
        err_set(e, ERR_IO, f == NULL ? ENOMEM : ENAMETOOLONG, "%s%s", p->url, name);
        free(f);
        return NULL;
    }
    strcpy(f->name, name);
    f->base = (struct store_file){.place = p, .name = f->name};
    f->direct_fd = f->buffered_fd = -1;
    if (local_open_both(f, (struct local_place *)p, e) < 0) {
        local_file_close(&f->base, e);
        return NULL;
    }
    return &f->base;
}

static int local_extent(struct store_file *file, uint64_t offset, struct store_extent *x,
                        struct err *e)
{
    struct local_file *f = (struct local_file *)file;
    uint64_t size = file->attr.size_bytes;
    if (offset >= size)
        return 0;
    off_t data = lseek(f->buffered_fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return 0;
    if (data < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) { /* no holes known here */
        *x = (struct store_extent){offset, size - offset};
        return 1;
    }
    off_t hole = data < 0 ? -1 : lseek(f->buffered_fd, data, SEEK_HOLE);
    if (hole < 0)
        return err_set(e, ERR_IO, errno, "%s%s: cannot find its holes", file->place->url, f->name);
    uint64_t end = (uint64_t)hole < size ? (uint64_t)hole : size;
    if ((uint64_t)data >= end)
        return 0;
    *x = (struct store_extent){(uint64_t)data, end - (uint64_t)data};
    return 1;
}

static void local_read_done(void *arg, int res);

static bool local_aligned(const struct store_io *io)
{
    uint64_t bits = (uint64_t)(uintptr_t)io->buf | io->offset | io->len_bytes;
    return (bits & (io->file->align_bytes - 1)) == 0;
}

static void local_read(struct store_io *io)
{
    struct local_file *f = (struct local_file *)io->file;
    int fd = f->direct_fd >= 0 && local_aligned(io) ? f->direct_fd : f->buffered_fd;
    ring_read(io->file->place->ring, &io->op, fd, io->buf, io->len_bytes, io->offset,
              local_read_done, io);
}

static void local_read_done(void *arg, int res)
{
    struct store_io *io = arg;
    struct local_file *f = (struct local_file *)io->file;
    if (res == -EINVAL && io->op.fd != f->buffered_fd) {
        /* Aligned as we were told, and still refused: from here on this file is read buffered. */
        io->file->align_bytes = 1;
        ring_read(io->file->place->ring, &io->op, f->buffered_fd, io->buf, io->len_bytes,
                  io->offset, local_read_done, io);
        return;
    }
    io->res = res;
    io->fault = res == -ECANCELED ? ERR_CANCELLED : ERR_IO;
    io->done(io);
}

/* Reads of a disk end by themselves, and cannot be called back once they run. */
static void local_stop(struct store_place *p)
{
    (void)p;
}

static void local_place_close(struct store_place *p)
{
    struct local_place *place = (struct local_place *)p;
    close(place->dir_fd);
    free(place);
}

static const struct store_ops local_ops = {
    .scheme = "file",
    .lookup = local_lookup,
    .open = local_open,
    .extent = local_extent,
    .read = local_read,
    .stop = local_stop,
    .file_close = local_file_close,
    .place_close = local_place_close,
};

struct store_place *store_local_open(struct ring *ring, const char *path, struct err *e)
{
    size_t len = strlen(path);
    struct local_place *place = calloc(1, sizeof *place + len + 2);
    if (place == NULL) {
        err_set(e, ERR_IO, ENOMEM, "%s", path);
        return NULL;
    }
    memcpy(place->url, path, len + 1);
    if (len > 0 && path[len - 1] != '/')
        strcpy(place->url + len, "/");
    place->dir_fd = open(len > 0 ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place->dir_fd < 0) {
        err_set(e, ERR_IO, errno, "%s", path);
        free(place);
        return NULL;
    }
    place->base = (struct store_place){
        .ops = &local_ops, .ring = ring, .url = place->url, .io_max_bytes = 1U << 30};
    return &place->base;
}
