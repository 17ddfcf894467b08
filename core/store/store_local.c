/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place is a directory that stays open, so that it is still the same when its path is renamed. A
 * source may be reached through any symbolic link; what is made, changed or removed lies beneath
 * the directory (core/store/local_name.h). Open files are in core/store/local_file.c, their I/O in
 * core/store/local_io.c, and how they get their final name in core/store/local_publish.c.
 */
#include "core/store/store_local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "core/cleanup.h"
#include "core/looking.h"
#include "core/store/local_file.h"
#include "core/store/local_io.h"
#include "core/store/local_name.h"
#include "core/store/local_publish.h"

static bool local_is_absent(int sys)
{
    return sys == ENOENT || sys == ENOTDIR;
}

static int local_lookup(struct store_place *p, const char *name, struct store_attr *attr,
                        struct err *e)
{
    const struct local_place *place = (const struct local_place *)p;
    if (local_name_attr(place->dir_fd, name, 0, attr) == 0)
        return 1;
    if (local_is_absent(errno))
        return 0;
    return err_set(e, ERR_IO, errno, "%s%s: cannot be looked at", p->url, name);
}

/* An entry that has gone by the time we look is not listed. */
static int local_list_entry(struct store_place *p, const char *directory, int fd, const char *entry,
                            store_list_fn *fn, void *arg, struct err *e)
{
    struct store_attr attr;
    if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0)
        return 0;
    if (local_name_attr(fd, entry, AT_SYMLINK_NOFOLLOW, &attr) == 0)
        return fn(arg, entry, &attr, e);
    if (errno == ENOENT)
        return 0;
    return err_set(e, ERR_IO, errno, "%s%s: cannot tell what %s is", p->url, directory, entry);
}

static int local_list_entries(struct store_place *p, const char *name, DIR *dir, store_list_fn *fn,
                              void *arg, struct err *e)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0)
            return err_set(e, ERR_IO, errno, "%s%s: cannot list it", p->url, name);
        if (entry == NULL)
            return 0;
        if (local_list_entry(p, name, dirfd(dir), entry->d_name, fn, arg, e) < 0)
            return -1;
    }
}

static int local_list(struct store_place *p, const char *name, store_list_fn *fn, void *arg,
                      struct err *e)
{
    const struct local_place *place = (const struct local_place *)p;
    int fd = openat(place->dir_fd, *name != '\0' ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        err_set(e, ERR_IO, errno, "%s%s: cannot list it", p->url, name);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int rc = local_list_entries(p, name, dir, fn, arg, e);
    closedir(dir);
    return rc;
}

/* The kernel removes names, not files: between our look and its removal a name may still be given to
 * another file. Nothing of ours does that. */
static int local_remove(struct store_place *p, const char *name, const struct store_attr *is,
                        struct err *e)
{
    const struct local_place *place = (const struct local_place *)p;
    const char *last;
    struct store_attr now;
    CLEANUP_CLOSE int parent = local_name_parent(place->dir_fd, name, &last);
    int rc = parent < 0 ? -1 : local_name_attr(parent, last, AT_SYMLINK_NOFOLLOW, &now);
    if (rc == 0 && !(store_same_file(&now, is) && now.device == is->device))
        return store_not_ours(p, name, e);
    if (rc == 0)
        rc = unlinkat(parent, last, now.type == STORE_DIRECTORY ? AT_REMOVEDIR : 0);
    if (rc == 0 || local_is_absent(errno))
        return 0;
    return err_set(e, ERR_IO, errno, "%s%s: cannot remove it", p->url, name);
}

/* Reads and writes of a disk end by themselves, and cannot be called back once they run; commits
 * that wait for another one are answered when that has ended. */
static void local_stop(struct store_place *p)
{
    ((struct local_place *)p)->stops++;
}

static void local_place_close(struct store_place *p)
{
    struct local_place *place = (struct local_place *)p;
    if (place->dir_fd >= 0)
        close(place->dir_fd);
    free(place);
}

static const struct store_ops local_ops = {
    .scheme = "file",
    .lookup = local_lookup,
    .list = local_list,
    .open = local_file_open,
    .extent = local_file_extent,
    .read = local_io_read,
    .write = local_io_write,
    .commit = local_io_commit,
    .publish = local_publish,
    .remove = local_remove,
    .claim = local_file_claim,
    .stop = local_stop,
    .file_close = local_file_close,
    .place_close = local_place_close,
};

/* Locks of a file system that several hosts may have mounted may be each host's own. */
static bool local_is_of_this_host(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    switch ((uint32_t)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return true;
    default: return false;
    }
}

static int local_find(struct local_place *place, const char *path, struct err *e)
{
    struct statvfs fs;
    looking_at(path);
    place->dir_fd = open(*path != '\0' ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place->dir_fd < 0 || fstatvfs(place->dir_fd, &fs) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot be opened", path);
    place->base.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    place->base.claims_bind = local_is_of_this_host(place->dir_fd);
    if (getrandom(&place->verifier, sizeof place->verifier, 0) != sizeof place->verifier)
        return err_set(e, ERR_IO, errno, "cannot get random bytes");
    return 0;
}

struct store_place *store_local_open(struct ring *ring, const char *path,
                                     const struct store_local_options *options, struct err *e)
{
    size_t len = strlen(path);
    struct local_place *place = calloc(1, sizeof *place + len + 2);
    if (place == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", path);
        return NULL;
    }
    memcpy(place->url, path, len + 1);
    if (len > 0 && path[len - 1] != '/')
        strcpy(place->url + len, "/");
    place->nice_cache = options->nice_cache;
    place->base = (struct store_place){
        .ops = &local_ops, .ring = ring, .url = place->url, .io_max_bytes = 1U << 30};
    if (local_find(place, path, e) < 0) {
        local_place_close(&place->base);
        return NULL;
    }
    return &place->base;
}
