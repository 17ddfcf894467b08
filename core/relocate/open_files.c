/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/open_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/looking.h"

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

static bool open_is_one(const struct open_search *s, const struct open_file_id *id, size_t *which)
{
    for (*which = 0; *which < s->n; (*which)++)
        if (open_file_id_same(&s->ids[*which], id))
            return true;
    return false;
}

static bool open_which(const struct open_search *s, const struct stat *st, size_t *which)
{
    const struct open_file_id id = open_file_id_of(st);
    return open_is_one(s, &id, which);
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

static bool open_is_gone(int sys)
{
    return sys == ENOENT || sys == ESRCH;
}

static bool open_writes(int process, const char *fd)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "fdinfo/%.20s", fd);
    if (!open_text(process, path, text, sizeof text))
        return true;
    const char *flags = strstr(text, "flags:");
    return flags == NULL || (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY;
}

static void open_name(int process, const char *pid, struct open_file *f)
{
    char comm[32] = "process";
    open_text(process, "comm", comm, sizeof comm);
    snprintf(f->who, sizeof f->who, "%.*s (%.10s)", (int)strcspn(comm, "\n"), comm, pid);
}

/* Programs that serve disk images, by what their names have in them. */
static bool open_serves_images(const char *comm)
{
    static const char *const programs[] = {
        "qemu", "kvm", "nbd", "tgtd", "tcmu-runner", "firecracker", "crosvm", "cloud-hyperviso",
        "vhost"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (strstr(comm, programs[i]) != NULL)
            return true;
    return false;
}

/* Whether the kernel should let us look at every process. */
static bool open_sees_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective & CAP_TO_MASK(CAP_SYS_PTRACE)) != 0;
}

/* A process that cannot be looked at. Without a command line it is a thread of the kernel's, or has ended
 * and was not waited for. */
static bool open_may_matter(int process, const char *pid)
{
    char comm[32], line[2];
    if (open_sees_all() && strcmp(pid, "1") != 0)
        return true;
    if (!open_text(process, "comm", comm, sizeof comm))
        return !open_is_gone(errno);
    return open_serves_images(comm) &&
           (!open_text(process, "cmdline", line, sizeof line) || *line != '\0');
}

static void open_unknown(struct open_search *s, int process, const char *pid, int why)
{
    struct open_file f = {.which = SIZE_MAX, .writing = true, .why = why};
    if (open_is_gone(why) || !open_may_matter(process, pid))
        return;
    open_name(process, pid, &f);
    s->enough = !s->fn(s->arg, &f);
}

/* 0: descriptor `fd` was looked at, or was closed; else the errno for which the process does not tell. A
 * file system that does not tell is another matter: the files asked after are of one that did. */
static int open_look_at_file(struct open_search *s, int process, int fds, const char *fd,
                             const char *pid)
{
    char link[8];
    struct stat st = {0};
    struct open_file f = {0};
    if (!open_stat(fds, fd, &st))
        return st.st_mode != 0 || readlinkat(fds, fd, link, sizeof link) >= 0 || open_is_gone(errno)
                   ? 0
                   : errno;
    if (!open_which(s, &st, &f.which))
        return 0;
    open_name(process, pid, &f);
    f.writing = open_writes(process, fd);
    s->enough = !s->fn(s->arg, &f);
    return 0;
}

static void open_look_at_process(struct open_search *s, int process, const char *pid)
{
    int fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_DIR DIR *dir = fds >= 0 ? fdopendir(fds) : NULL;
    int why = dir != NULL ? 0 : errno;
    if (dir == NULL && fds >= 0)
        close(fds);
    while (why == 0 && !s->enough) {
        errno = 0;
        struct dirent *d = readdir(dir);
        if (d == NULL) {
            why = errno;
            break;
        }
        if (isdigit((unsigned char)*d->d_name))
            why = open_look_at_file(s, process, fds, d->d_name, pid);
    }
    if (why != 0)
        open_unknown(s, process, pid, why);
}

/* Where /proc is mounted with hidepid, others' processes are not even listed, or have no names. */
static void open_look_for_hidden(struct open_search *s)
{
    struct open_file f = {
        .which = SIZE_MAX, .writing = true, .why = EACCES, .who = "a process that /proc hides"};
    char comm[32];
    CLEANUP_CLOSE int init = open("/proc/1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!open_sees_all() && (init < 0 || !open_text(init, "comm", comm, sizeof comm)))
        s->enough = !s->fn(s->arg, &f);
}

static int open_processes(struct open_search *s, struct err *e)
{
    char self[16];
    snprintf(self, sizeof self, "%d", (int)getpid());
    CLEANUP_DIR DIR *proc = opendir("/proc");
    if (proc == NULL)
        return err_set(e, ERR_IO, errno, "/proc: cannot tell who has the images open");
    open_look_for_hidden(s);
    for (struct dirent *d = readdir(proc); d != NULL && !s->enough; d = readdir(proc)) {
        if (!isdigit((unsigned char)*d->d_name) || strcmp(d->d_name, self) == 0)
            continue;
        CLEANUP_CLOSE int process =
            openat(dirfd(proc), d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process >= 0)
            open_look_at_process(s, process, d->d_name);
        else
            open_unknown(s, process, d->d_name, errno);
    }
    return 0;
}

/* ---- loop devices ---- */

/* The kernel's number of a device, as the loop driver gives it (huge_encode_dev). */
static dev_t open_loop_device(uint64_t n)
{
    return makedev((unsigned)(n >> 8 & 0xfff), (unsigned)((n & 0xff) | (n >> 12 & 0xfff00)));
}

/* What loop device `name` is on, as the driver says: root's alone to ask. 0: it is on nothing; or -1. */
static int open_loop_status(const char *name, struct open_file_id *id)
{
    char path[300];
    struct loop_info64 info;
    struct stat st;
    snprintf(path, sizeof path, "/dev/%s", name);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || major(st.st_rdev) != 7)
        return -1;
    if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
        return errno == ENXIO ? 0 : -1;
    *id = (struct open_file_id){open_loop_device(info.lo_device), info.lo_inode, false};
    return 1;
}

/* By the driver's word, and by the path, which is that of the mount namespace that set it up. */
static void open_look_at_loop(struct open_search *s, const char *name, const char *backing)
{
    struct open_file_id id = {0};
    struct stat st;
    struct open_file f = {.writing = true};
    snprintf(f.who, sizeof f.who, "/dev/%.40s", name);
    looking_at(backing);
    int known = open_loop_status(name, &id);
    bool there = known != 0 && open_stat(AT_FDCWD, backing, &st);
    if (known == 0)
        return;
    if (!(known > 0 && open_is_one(s, &id, &f.which)) && !(there && open_which(s, &st, &f.which))) {
        if (known > 0 || there)
            return;
        f.which = SIZE_MAX;
        f.why = EACCES;
    }
    s->enough = !s->fn(s->arg, &f);
}

static void open_loops(struct open_search *s)
{
    CLEANUP_DIR DIR *block = opendir("/sys/block");
    if (block == NULL && !s->enough) {
        struct open_file f = {
            .which = SIZE_MAX, .writing = true, .why = errno, .who = "a loop device"};
        s->enough = !s->fn(s->arg, &f);
    }
    for (struct dirent *d = block != NULL ? readdir(block) : NULL; d != NULL && !s->enough;
         d = readdir(block)) {
        char name[300], path[4096];
        snprintf(name, sizeof name, "%s/loop/backing_file", d->d_name);
        if (strncmp(d->d_name, "loop", 4) != 0)
            continue;
        if (!open_text(dirfd(block), name, path, sizeof path)) {
            if (open_is_gone(errno)) /* it is on nothing */
                continue;
            *path = '\0';
        }
        path[strcspn(path, "\n")] = '\0';
        open_look_at_loop(s, d->d_name, path);
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
