/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/local_name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/cleanup.h"
#include "core/clock.h"

enum { NAME_RACES = 16 };

static int name_openat2(int dir_fd, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;
    int races = 0;
    do {
        fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
    } while (fd < 0 && errno == EAGAIN && ++races < NAME_RACES); /* a rename crossed our way */
    return (int)fd;
}

/* One part after the other, without following a link: what can be done before 5.6. */
static int name_walk(int dir_fd, const char *name)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && *name != '\0') {
        char part[STORE_NAME_MAX + 1];
        size_t len = strcspn(name, "/");
        if (len == 0 || len > STORE_NAME_MAX || strncmp(name, "../", 3) == 0 ||
            strcmp(name, "..") == 0) {
            errno = EXDEV;
            return -1;
        }
        memcpy(part, name, len);
        part[len] = '\0';
        int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int sys = errno;
        close(fd);
        fd = next;
        errno = sys;
        name += len;
        name += *name == '/';
    }
    return TAKE_FD(fd);
}

int local_name_directory(int dir_fd, const char *name)
{
    int fd = name_openat2(dir_fd, *name != '\0' ? name : ".");
    /* EPERM: what some containers answer to a system call that they do not know. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = name_walk(dir_fd, name);
    return fd;
}

int local_name_parent(int dir_fd, const char *name, const char **last)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(name, '/');
    size_t len = slash != NULL ? (size_t)(slash - name) : 0;
    if (len >= sizeof parent) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, name, len);
    parent[len] = '\0';
    *last = slash != NULL ? slash + 1 : name;
    return local_name_directory(dir_fd, parent);
}

static int64_t name_time_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/*
 * What tells a file from another one that had its inode: its handle, which holds a number that is
 * another for each (name_to_handle_at(2); of FUSE it changes by itself), and when it was born, which
 * nobody can set. 0: this file system has neither.
 */
static uint64_t name_generation(int fd)
{
    struct {
        struct file_handle head;
        unsigned char more[MAX_HANDLE_SZ];
    } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
    struct statx born = {0};
    struct statfs fs;
    int mount;
    uint64_t all[2] = {0};
    if (fstatfs(fd, &fs) < 0 || fs.f_type == FUSE_SUPER_MAGIC)
        return 0;
    if (name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH) == 0)
        all[0] = XXH3_64bits(handle.head.f_handle, handle.head.handle_bytes);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &born) == 0 && (born.stx_mask & STATX_BTIME) != 0)
        all[1] = (uint64_t)born.stx_btime.tv_sec * NS_PER_S + born.stx_btime.tv_nsec;
    return all[0] == 0 && all[1] == 0 ? 0 : XXH3_64bits(all, sizeof all);
}

static void name_attr(const struct stat *st, struct store_attr *attr)
{
    *attr = (struct store_attr){
        .size_bytes = (uint64_t)st->st_size,
        .used_bytes = (uint64_t)st->st_blocks * 512,
        .device = st->st_dev,
        .inode = st->st_ino,
        .atime_ns = name_time_ns(st->st_atim),
        .mtime_ns = name_time_ns(st->st_mtim),
        .ctime_ns = name_time_ns(st->st_ctim),
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .type = S_ISREG(st->st_mode)   ? STORE_REGULAR
                : S_ISBLK(st->st_mode) ? STORE_BLOCK_DEVICE
                : S_ISDIR(st->st_mode) ? STORE_DIRECTORY
                                       : STORE_OTHER,
    };
}

int local_name_attr(int dir_fd, const char *name, int flags, struct store_attr *attr)
{
    int follow = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
    CLEANUP_CLOSE int fd = openat(dir_fd, *name != '\0' ? name : ".", O_PATH | O_CLOEXEC | follow);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISBLK(st.st_mode))
        return local_name_attr_of(fd, attr);
    CLEANUP_CLOSE int device = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return device < 0 ? -1 : local_name_attr_of(device, attr);
}

int local_name_attr_of(int fd, struct store_attr *attr)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    name_attr(&st, attr);
    attr->generation = name_generation(fd);
    if (attr->type == STORE_BLOCK_DEVICE)
        return ioctl(fd, BLKGETSIZE64, &attr->size_bytes);
    return 0;
}

int local_name_is(int dir_fd, const char *name, const struct store_attr *is)
{
    struct store_attr now;
    if (local_name_attr(dir_fd, name, AT_SYMLINK_NOFOLLOW, &now) < 0)
        return errno == ENOENT ? 0 : -1;
    return store_same_file(&now, is) && now.device == is->device;
}
