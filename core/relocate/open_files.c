/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/open_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/cleanup.h"

struct open_search {
    const struct open_file_id *ids;
    size_t n;
    bool (*fn)(void *arg, const struct open_file *f);
    void *arg;
    bool enough;
};

static inline void open_close_dir(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

#define CLEANUP_DIR CLEANUP(open_close_dir)

struct open_file_id open_file_id_of(const struct stat *st)
{
    if (S_ISBLK(st->st_mode))
        return (struct open_file_id){.device = st->st_rdev, .is_device = true};
    return (struct open_file_id){.device = st->st_dev, .inode = st->st_ino};
}

bool open_file_id_same(const struct open_file_id *a, const struct open_file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->is_device == b->is_device;
}

static bool open_which(const struct open_search *s, const struct stat *st, size_t *which)
{
    const struct open_file_id id = open_file_id_of(st);
    for (*which = 0; *which < s->n; (*which)++)
        if (open_file_id_same(&s->ids[*which], &id))
            return true;
    return false;
}

/* Not from its server: a share that does not answer must not hold us up. */
static bool open_stat(int dir, const char *name, struct stat *st)
{
    struct statx x;
    if (statx(dir, name, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &x) < 0)
        return false;
    *st = (struct stat){.st_mode = x.stx_mode,
                        .st_ino = x.stx_ino,
                        .st_dev = makedev(x.stx_dev_major, x.stx_dev_minor),
                        .st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor)};
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

static bool open_text(int dir, const char *name, char *text, size_t room)
{
    CLEANUP_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, room - 1) : -1;
    if (len < 0)
        return false;
    text[len] = '\0';
    return true;
}

/* ---- processes ---- */

static bool open_writes(int process, const char *fd)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "fdinfo/%.20s", fd);
    if (!open_text(process, path, text, sizeof text))
        return true;
    const char *flags = strstr(text, "flags:");
    return flags == NULL || (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY;
}

static void open_look_at_process(struct open_search *s, int process, const char *pid)
{
    char comm[32] = "process";
    int fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_DIR DIR *dir = fds >= 0 ? fdopendir(fds) : NULL;
    if (dir == NULL && fds >= 0)
        close(fds);
    for (struct dirent *d = dir != NULL ? readdir(dir) : NULL; d != NULL && !s->enough;
         d = readdir(dir)) {
        struct stat st;
        struct open_file f = {0};
        if (!isdigit((unsigned char)*d->d_name) || !open_stat(fds, d->d_name, &st) ||
            !open_which(s, &st, &f.which))
            continue;
        open_text(process, "comm", comm, sizeof comm);
        snprintf(f.who, sizeof f.who, "%.*s (%.10s)", (int)strcspn(comm, "\n"), comm, pid);
        f.writing = open_writes(process, d->d_name);
        s->enough = !s->fn(s->arg, &f);
    }
}

static int open_processes(struct open_search *s, struct err *e)
{
    char self[16];
    snprintf(self, sizeof self, "%d", (int)getpid());
    CLEANUP_DIR DIR *proc = opendir("/proc");
    if (proc == NULL)
        return err_set(e, ERR_IO, errno, "/proc: cannot tell who has the images open");
    for (struct dirent *d = readdir(proc); d != NULL && !s->enough; d = readdir(proc)) {
        if (!isdigit((unsigned char)*d->d_name) || strcmp(d->d_name, self) == 0)
            continue;
        CLEANUP_CLOSE int process =
            openat(dirfd(proc), d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process >= 0)
            open_look_at_process(s, process, d->d_name);
    }
    return 0;
}

/* ---- loop devices ---- */

static void open_loops(struct open_search *s)
{
    CLEANUP_DIR DIR *block = opendir("/sys/block");
    for (struct dirent *d = block != NULL ? readdir(block) : NULL; d != NULL && !s->enough;
         d = readdir(block)) {
        char name[300], path[4096];
        struct stat st;
        struct open_file f = {.writing = true};
        snprintf(name, sizeof name, "%s/loop/backing_file", d->d_name);
        if (strncmp(d->d_name, "loop", 4) != 0 || !open_text(dirfd(block), name, path, sizeof path))
            continue;
        path[strcspn(path, "\n")] = '\0';
        if (!open_stat(AT_FDCWD, path, &st) || !open_which(s, &st, &f.which))
            continue;
        snprintf(f.who, sizeof f.who, "/dev/%.40s", d->d_name);
        s->enough = !s->fn(s->arg, &f);
    }
}

int open_files_find(const struct open_file_id *ids, size_t n,
                    bool (*fn)(void *arg, const struct open_file *f), void *arg, struct err *e)
{
    struct open_search s = {.ids = ids, .n = n, .fn = fn, .arg = arg};
    if (n == 0)
        return 0;
    if (open_processes(&s, e) < 0)
        return -1;
    open_loops(&s);
    return 0;
}
