/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A file has two descriptors, one past the page cache (O_DIRECT) and a buffered one. Direct I/O
 * costs less, and does not push everything else out of memory; it is used where the file system
 * has it and a request is aligned. The buffered descriptor serves the rest: the last block of an
 * image whose length is odd, and file systems without direct I/O. On tmpfs the page cache is all
 * there is, and a source of which more than half is resident is read from there: a copy in memory
 * beats the disk.
 *
 * Alignment is what the kernel says (statx, STATX_DIOALIGN, since 6.1), else 4096: wrong only on
 * devices with larger sectors, which answer EINVAL; then the file goes on buffered. A file that we
 * write is aligned to whole pages at least. A page must never be written both ways at once: a
 * buffered write that reads the page in could later put old bytes over those of the direct one.
 *
 * Holes are found with SEEK_DATA and SEEK_HOLE. Where that cannot tell, all is data.
 */
#include "core/store/local_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/store/local_cache.h"
#include "core/store/local_name.h"

enum { LOCAL_ALIGN_GUESS_BYTES = 4096, LOCAL_ALIGN_MAX_BYTES = 65536 };

/* The byte that a QEMU has locked, shared, when it writes to the image (block/file-posix.c,
 * RAW_LOCK_PERM_BASE + the bit number of BLK_PERM_WRITE). */
enum { QEMU_WRITER_BYTE = 100 + 1 };

/* The byte that our own claims lock: far from QEMU's, and from any that a file has. */
#define CLAIM_BYTE (INT64_C(0x676f64776974) << 8)

static int local_fail(const struct local_file *f, const char *what, struct err *e)
{
    return err_set(e, ERR_IO, errno, "%s%s: %s", f->base.place->url, f->name, what);
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
static int local_open_source(int dir_fd, const char *name, int flags)
{
    flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(dir_fd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(dir_fd, name, flags);
    return fd;
}

/* A second descriptor of what buffered_fd is; -1 also where the name leads elsewhere by now. */
static int local_open_direct(const struct local_file *f, const char *last)
{
    struct store_attr attr;
    CLEANUP_CLOSE int fd =
        f->parent_fd < 0 ? local_open_source(local_file_place(f)->dir_fd, f->name, O_DIRECT)
                         : openat(f->parent_fd, last, O_RDWR | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || local_name_attr_of(fd, &attr) < 0 || !store_same_file(&attr, &f->base.attr) ||
        attr.device != f->base.attr.device)
        return -1;
    return TAKE_FD(fd);
}

static void local_choose(struct local_file *f, const char *last)
{
    bool writes = f->parent_fd >= 0, nice = local_file_place(f)->nice_cache;
    uint32_t align = local_alignment(f->buffered_fd), page_bytes = (uint32_t)getpagesize();
    if (writes && align > 0 && align < page_bytes)
        align = page_bytes;
    bool home = local_cache_is_home(f->buffered_fd);
    bool warm = !writes && !home && local_cache_is_warm(f->buffered_fd, &f->base.attr);
    if (align > 0 && !home && !warm)
        f->direct_fd = local_open_direct(f, last);
    f->base.align_bytes = f->direct_fd >= 0 ? align : 1;
    f->drops = nice && !home;
    posix_fadvise(f->buffered_fd, 0, 0, f->drops ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
    if (f->direct_fd < 0)
        log_debug("%s%s: through the page cache (%s)", f->base.place->url, f->name,
                  home   ? "it lives there"
                  : warm ? "most of it is there"
                         : "no direct I/O here");
}

static bool local_is_locked(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Somebody who writes to it may be seen by the lock; whoever only reads does not hold that one. */
static void local_see_locks(struct local_file *f)
{
    f->base.in_use = local_is_locked(f->buffered_fd, QEMU_WRITER_BYTE);
    f->base.claimed = local_is_locked(f->buffered_fd, CLAIM_BYTE);
}

struct local_claim {
    struct store_claim base;
    int fd; /* of the same open file as that which was claimed: the lock is that one's */
};

static void local_unclaim(struct store_claim *claim)
{
    struct local_claim *c = (struct local_claim *)claim;
    close(c->fd);
    free(c);
}

int local_file_claim(struct store_file *file, struct store_claim **claim, struct err *e)
{
    struct local_file *f = (struct local_file *)file;
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = CLAIM_BYTE, .l_len = 1};
    *claim = NULL;
    if (fcntl(f->buffered_fd, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            return 0;
        log_debug("%s%s: cannot be locked here: %s", file->place->url, file->name, strerror(errno));
        return 1;
    }
    struct local_claim *c = calloc(1, sizeof *c);
    if (c == NULL || (c->fd = fcntl(f->buffered_fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        free(c);
        return local_fail(f, "cannot keep its lock", e);
    }
    c->base.release = local_unclaim;
    *claim = &c->base;
    return 1;
}

/* "All data" although there are fewer blocks than that: somebody cannot tell, or compresses. */
static bool local_holes_unknown(const struct local_file *f)
{
    const struct store_attr *attr = &f->base.attr;
    if (attr->type == STORE_BLOCK_DEVICE)
        return true;
    off_t hole = attr->size_bytes > 0 ? lseek(f->buffered_fd, 0, SEEK_HOLE) : 0;
    if (hole < 0)
        return errno != ENXIO;
    return (uint64_t)hole == attr->size_bytes && attr->used_bytes < attr->size_bytes;
}

static bool local_is_link(const struct local_file *f)
{
    struct stat st;
    return fstatat(local_file_place(f)->dir_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISLNK(st.st_mode);
}

static int local_open_read(struct local_file *f, struct err *e)
{
    f->base.by_link = local_is_link(f);
    f->buffered_fd = local_open_source(local_file_place(f)->dir_fd, f->name, 0);
    if (f->buffered_fd < 0)
        return local_fail(f, "cannot open it for reading", e);
    if (local_name_attr_of(f->buffered_fd, &f->base.attr) < 0)
        return local_fail(f, "cannot tell what it is", e);
    if (f->base.attr.type == STORE_DIRECTORY) {
        errno = EISDIR;
        return local_fail(f, "cannot open it for reading", e);
    }
    if (f->base.attr.type == STORE_OTHER)
        return err_set(e, ERR_REFUSED, 0, "%s%s: is neither a file nor a block device",
                       f->base.place->url, f->name);
    local_see_locks(f);
    f->base.holes_unknown = local_holes_unknown(f);
    local_choose(f, f->name);
    return 0;
}

static int local_open_create(struct local_file *f, const char *last, uint64_t size_bytes,
                             struct err *e)
{
    f->buffered_fd =
        openat(f->parent_fd, last, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->buffered_fd < 0)
        return local_fail(f, "cannot create it", e);
    if (ftruncate(f->buffered_fd, (off_t)size_bytes) == 0 &&
        local_name_attr_of(f->buffered_fd, &f->base.attr) == 0)
        return 0;
    local_fail(f, "cannot give it its size", e);
    unlinkat(f->parent_fd, last, 0);
    return -1;
}

static int local_open_update(struct local_file *f, const char *last, struct err *e)
{
    struct stat st; /* looked at first: opening a device can already have an effect */
    if (fstatat(f->parent_fd, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return local_fail(f, "cannot open it for writing", e);
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return local_fail(f, "cannot open it for writing", e);
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(e, ERR_REFUSED, 0, "%s%s: is not a regular file, and only those are written to",
                f->base.place->url, f->name);
        return err_hint(e, "name a directory or a new file; \"qemu-img convert -n\" and dd write "
                           "to devices");
    }
    f->buffered_fd = openat(f->parent_fd, last, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (f->buffered_fd < 0 || local_name_attr_of(f->buffered_fd, &f->base.attr) < 0)
        return local_fail(f, "cannot open it for writing", e);
    local_see_locks(f);
    return 0;
}

static int local_open_directory(struct local_file *f, const char *last, struct err *e)
{
    f->base.made = *last != '\0' && mkdirat(f->parent_fd, last, 0700) == 0;
    if (*last != '\0' && !f->base.made && errno != EEXIST)
        return local_fail(f, "cannot make this directory", e);
    f->buffered_fd = local_name_directory(local_file_place(f)->dir_fd, f->name);
    if (f->buffered_fd < 0 || local_name_attr_of(f->buffered_fd, &f->base.attr) < 0)
        return local_fail(f, "cannot open this directory", e);
    f->base.align_bytes = 1;
    return 0;
}

static int local_open_any(struct local_file *f, enum store_how how, uint64_t size_bytes,
                          struct err *e)
{
    if (how == STORE_READ)
        return local_open_read(f, e);
    const char *last;
    f->parent_fd = local_name_parent(local_file_place(f)->dir_fd, f->name, &last);
    if (f->parent_fd < 0)
        return local_fail(f, "cannot open the directory that it is in", e);
    if (how == STORE_MAKE_DIRECTORY)
        return local_open_directory(f, last, e);
    int rc = how == STORE_CREATE ? local_open_create(f, last, size_bytes, e)
                                 : local_open_update(f, last, e);
    if (rc < 0)
        return -1;
    f->base.holes_unknown = local_holes_unknown(f);
    local_choose(f, last);
    return 0;
}

struct store_file *local_file_open(struct store_place *p, const char *name, enum store_how how,
                                   uint64_t size_bytes, struct err *e)
{
    struct local_file *f = calloc(1, sizeof *f);
    if (f == NULL || strlen(name) >= sizeof f->name) {
        err_set(e, ERR_IO, f == NULL ? ENOMEM : ENAMETOOLONG, "%s%s: cannot be opened", p->url,
                name);
        free(f);
        return NULL;
    }
    strcpy(f->name, name);
    f->base = (struct store_file){.place = p, .name = f->name};
    f->direct_fd = f->buffered_fd = f->parent_fd = -1;
    if (local_open_any(f, how, size_bytes, e) < 0) {
        local_file_close(&f->base);
        return NULL;
    }
    return &f->base;
}

void local_file_close(struct store_file *file)
{
    struct local_file *f = (struct local_file *)file;
    const int fds[] = {f->direct_fd, f->buffered_fd, f->parent_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(f);
}

int local_file_extent(struct store_file *file, uint64_t offset, struct store_extent *x,
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
        return local_fail(f, "cannot find its holes", e);
    uint64_t end = (uint64_t)hole < size ? (uint64_t)hole : size;
    if ((uint64_t)data >= end)
        return 0;
    *x = (struct store_extent){(uint64_t)data, end - (uint64_t)data};
    return 1;
}
