/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order is what makes it durable: attributes, then a sync of the file, then its name, then a
 * sync of the directory. A crash in between leaves the old name, or the new one on a whole file.
 */
#include "core/store/local_publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/store/local_file.h"
#include "core/store/local_name.h"

enum { MODE_SET_ID = 06000 };

static int publish_fail(const struct local_file *f, const char *what, struct err *e)
{
    return err_set(e, ERR_IO, errno, "%s%s: cannot %s", f->base.place->url, f->name, what);
}

static struct timespec publish_time(int64_t ns)
{
    int64_t rest_ns = ns % NS_PER_S;
    if (rest_ns < 0) /* before 1970 */
        rest_ns += NS_PER_S;
    return (struct timespec){.tv_sec = (ns - rest_ns) / NS_PER_S, .tv_nsec = rest_ns};
}

/* Only root may give a file away; set-user-ID and set-group-ID are not for another owner. */
static int publish_attributes(const struct local_file *f, const struct store_attr *attr,
                              struct err *e)
{
    int fd = f->buffered_fd;
    mode_t mode = attr->mode;
    if (fchown(fd, attr->uid, attr->gid) < 0) {
        if (errno != EPERM && errno != EINVAL) /* EINVAL: an id that our user namespace lacks */
            return publish_fail(f, "give it to its owner", e);
        log_warn("%s%s: we may not give it to uid %u, gid %u", f->base.place->url, f->name,
                 attr->uid, attr->gid);
        mode &= ~(mode_t)MODE_SET_ID;
    }
    if (fchmod(fd, mode) < 0)
        return publish_fail(f, "set its mode", e);
    const struct timespec times[] = {publish_time(attr->atime_ns), publish_time(attr->mtime_ns)};
    if (futimens(fd, times) < 0)
        return publish_fail(f, "set its times", e);
    return fsync(fd) < 0 ? publish_fail(f, "sync it", e) : 0;
}

/*
 * The second name is given to what the descriptor is, whatever its name refers to by now; and the
 * kernel refuses where something has that name. Then the first name goes, if it is still this file's;
 * where that cannot be, the second one is taken back.
 * 1; 0: not to be had here (no hard links, no /proc, or not permitted); -1: errno; -2: errno, and it has
 * both names.
 */
static int publish_link(const struct local_file *f, const char *from, const char *to)
{
    char self[32];
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->buffered_fd);
    if (linkat(AT_FDCWD, self, f->parent_fd, to, AT_SYMLINK_FOLLOW) < 0)
        return errno == EEXIST || errno == ENOSPC || errno == EDQUOT || errno == EROFS ? -1 : 0;
    int is = local_name_is(f->parent_fd, from, &f->base.attr);
    if (is <= 0 || unlinkat(f->parent_fd, from, 0) == 0 || errno == ENOENT)
        return 1;
    int why = errno;
    bool back = local_name_is(f->parent_fd, to, &f->base.attr) == 1 &&
                unlinkat(f->parent_fd, to, 0) == 0;
    errno = why;
    return back ? -1 : -2;
}

/* By name, which was looked at a moment ago. Where the file system cannot refuse to replace, we look
 * first; what somebody makes between our look and the rename is lost then. */
static int publish_rename(int dir_fd, const char *from, const char *to, bool replaces)
{
    struct stat st;
    if (replaces)
        return renameat(dir_fd, from, dir_fd, to);
    if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (fstatat(dir_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? renameat(dir_fd, from, dir_fd, to) : -1;
}

/* What is to be replaced is still that, or nothing: then *replaces is NULL. */
static int publish_check_old(const struct local_file *f, const char *to, const char *name,
                             const struct store_attr **replaces, struct err *e)
{
    struct store_attr now;
    if (*replaces == NULL)
        return 0;
    if (local_name_attr(f->parent_fd, to, AT_SYMLINK_NOFOLLOW, &now) == 0) {
        if (store_unchanged(&now, *replaces))
            return 0;
        err_set(e, ERR_IO, 0, "%s%s: was changed or replaced under the copy, and is left alone",
                f->base.place->url, name);
        e->sys = ESTALE;
        return err_hint(e, "look at it; run it again with --overwrite to replace it all the same");
    }
    *replaces = NULL;
    return errno == ENOENT ? 0 : publish_fail(f, "look at what it replaces", e);
}

static int publish_name(const struct local_file *f, const char *from, const char *to,
                        const char *name, const struct store_attr *replaces, struct err *e)
{
    if (publish_check_old(f, to, name, &replaces, e) < 0)
        return -1;
    int is = local_name_is(f->parent_fd, from, &f->base.attr);
    if (is < 0)
        return publish_fail(f, "look at it", e);
    if (is == 0)
        return store_not_ours(f->base.place, f->name, e);
    int rc = replaces == NULL ? publish_link(f, from, to) : 0;
    if (rc == 0)
        rc = publish_rename(f->parent_fd, from, to, replaces != NULL);
    if (rc == -2) {
        err_set(e, ERR_LOST, errno,
                "%s%s: has this name now, but its old one, %s, could not be taken from "
                "it",
                f->base.place->url, name, f->name);
        return err_hint(e, "it is whole; remove the old name, which is the same file");
    }
    if (rc < 0)
        return err_set(e, ERR_IO, errno, "%s%s: cannot give it this name, it stays %s",
                       f->base.place->url, name, f->name);
    if (local_name_is(f->parent_fd, to, &f->base.attr) == 1)
        return 0;
    return err_set(e, ERR_LOST, 0,
                   "%s%s: is not what was just given this name: somebody else is at "
                   "work there",
                   f->base.place->url, name);
}

static const char *publish_last(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

/* Some file systems have no sync of directories, and say EINVAL. */
static int publish_sync_parent(const struct local_file *f, bool renamed, struct err *e)
{
    if (fsync(f->parent_fd) == 0 || errno == EINVAL)
        return 0;
    return err_set(e, renamed ? ERR_LOST : ERR_IO, errno,
                   "%s%s: cannot sync the directory that it is in", f->base.place->url, f->name);
}

int local_publish(struct store_file *file, const char *final, const struct store_attr *attr,
                  const struct store_attr *replaces, struct err *e)
{
    struct local_file *f = (struct local_file *)file;
    if (attr != NULL && publish_attributes(f, attr, e) < 0)
        return -1;
    if (final == NULL)
        return publish_sync_parent(f, false, e);

    char name[sizeof f->name];
    const char *last = publish_last(final);
    int dir_len = (int)(publish_last(f->name) - f->name);
    int len = snprintf(name, sizeof name, "%.*s%s", dir_len, f->name, last);
    if (len >= (int)sizeof name) {
        errno = ENAMETOOLONG;
        return publish_fail(f, "give it its name", e);
    }
    if (publish_name(f, f->name + dir_len, last, name, replaces, e) < 0)
        return -1;
    strcpy(f->name, name);
    return publish_sync_parent(f, true, e);
}
