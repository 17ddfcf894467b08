/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/original.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/looking.h"

static int64_t original_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int pool_original_read(const char *path, struct pool_journal_image *image, struct err *e)
{
    CLEANUP_FREE char *file = NULL;
    struct stat st;
    if (asprintf(&file, "%s/%s", path, image->name) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", image->name);
    looking_at(file);
    if (stat(file, &st) < 0)
        return err_set(e, ERR_IO, errno, "the original cannot be looked at: %s", file);
    image->inode = st.st_ino;
    image->size_bytes = (uint64_t)st.st_size;
    image->mtime_ns = original_ns(st.st_mtim);
    image->ctime_ns = original_ns(st.st_ctim);
    return 0;
}

int pool_original_unchanged(const char *path, const struct pool_journal_image *then, struct err *e)
{
    struct pool_journal_image now = {.name = then->name};
    if (pool_original_read(path, &now, e) < 0)
        return -1;
    return now.inode == then->inode && now.size_bytes == then->size_bytes &&
           now.mtime_ns == then->mtime_ns && now.ctime_ns == then->ctime_ns;
}

static bool original_is(const struct pool_journal_image *then, const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_ino == then->inode &&
           (uint64_t)st->st_size == then->size_bytes &&
           original_ns(st->st_mtim) == then->mtime_ns && original_ns(st->st_ctim) == then->ctime_ns;
}

static int original_gone(const char *path, const char *name, struct err *e)
{
    return err_set(e, ERR_IO, errno, "%s/%s", path, name);
}

int pool_original_remove(const char *path, const struct pool_journal_image *then, struct err *e)
{
    struct stat st, link, named;
    const char *slash = strrchr(then->name, '/'), *base = slash != NULL ? slash + 1 : then->name;
    CLEANUP_FREE char *directory = NULL;
    if (asprintf(&directory, "%s/%.*s", path, (int)(base - then->name), then->name) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", then->name);
    looking_at(directory);
    CLEANUP_CLOSE int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_CLOSE int fd = dir >= 0 ? openat(dir, base, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    CLEANUP_CLOSE int file = dir >= 0 ? openat(dir, base, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0 || file < 0 || fstat(fd, &link) < 0 || fstat(file, &st) < 0)
        return original_gone(path, then->name, e);
    if (!original_is(then, &st))
        return 0;
    if (fstatat(dir, base, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return original_gone(path, then->name, e);
    if (named.st_dev != link.st_dev || named.st_ino != link.st_ino ||
        !(S_ISLNK(named.st_mode) || original_is(then, &named)))
        return 0;
    return unlinkat(dir, base, 0) < 0 ? original_gone(path, then->name, e) : 1;
}
