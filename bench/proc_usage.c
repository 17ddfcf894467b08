/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * It is read every few milliseconds beside a guest whose pause is being timed, so it is to cost next
 * to nothing. The whole process is one clock_gettime() of its processor clock, which counts threads
 * that have ended, too. Only the threads of the two classes are read one by one, from files that
 * stay open: /proc/PID/task/TID/schedstat counts nanoseconds, where `stat` has ticks of 10 ms.
 *
 * Threads come and go while it migrates. The link count of /proc/PID/task tells how many there are:
 * when it changes the names are read, and also every SCAN_EVERY readings, since one may have come as
 * another went, and a thread gets its name only after it has begun. A thread that has ended keeps
 * its last reading in its class.
 */
#include "bench/proc_usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"

enum { SCAN_EVERY = 16 };

struct usage_thread {
    pid_t tid;
    enum proc_thread class;
    int fd; /* of its schedstat; -1: not read, or ended */
    uint64_t cpu_ns;
    bool seen; /* in this scan */
};

struct proc_usage {
    pid_t pid;
    clockid_t clock;
    int statm_fd;
    DIR *tasks;
    nlink_t links; /* of the directory at the last scan */
    unsigned until_scan;
    bool named; /* a vCPU's name was seen: threads have names */
    struct usage_thread *threads;
    size_t n, size;
    uint64_t ended_ns[PROC_THREAD_MIGRATION + 1]; /* of threads that are gone */
};

enum proc_thread proc_thread_of(const char *name)
{
    static const char *const migration[] = {
        "mig/",        "live_migration", "multifdsend_",  "multifdrecv_",
        "return path", "postcopy/",      "fault-default", "bg_snapshot",
    };
    if (strncmp(name, "CPU ", 4) == 0 && name[4] >= '0' && name[4] <= '9')
        return PROC_THREAD_VCPU;
    for (size_t i = 0; i < sizeof migration / sizeof *migration; i++)
        if (strncmp(name, migration[i], strlen(migration[i])) == 0)
            return PROC_THREAD_MIGRATION;
    return PROC_THREAD_OTHER;
}

/* What a small file says, its last newline cut off; false: it is not there (any more). */
static bool usage_read_file(int dir, const char *path, char *text, size_t size)
{
    CLEANUP_CLOSE int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n < 0)
        return false;
    if (n > 0 && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
    return true;
}

/* The first number of an open file of /proc. */
static bool usage_read_number(int fd, unsigned skip, uint64_t *value)
{
    char text[96];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *at = text;
    while (skip-- > 0)
        at += strcspn(at, " ") + 1;
    *value = strtoull(at, NULL, 10);
    return true;
}

static void usage_thread_classify(struct proc_usage *p, struct usage_thread *t)
{
    char path[48], name[32];
    snprintf(path, sizeof path, "%d/comm", t->tid);
    if (!usage_read_file(dirfd(p->tasks), path, name, sizeof name))
        return;
    t->class = proc_thread_of(name);
    p->named |= t->class == PROC_THREAD_VCPU;
    if (t->class == PROC_THREAD_OTHER)
        return;
    snprintf(path, sizeof path, "%d/schedstat", t->tid);
    t->fd = openat(dirfd(p->tasks), path, O_RDONLY | O_CLOEXEC);
}

static struct usage_thread *usage_thread_find(struct proc_usage *p, pid_t tid)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->threads[i].tid == tid)
            return &p->threads[i];
    if (p->n == p->size) {
        size_t size = p->size > 0 ? p->size * 2 : 32;
        struct usage_thread *more = reallocarray(p->threads, size, sizeof *more);
        if (more == NULL)
            return NULL;
        p->threads = more;
        p->size = size;
    }
    struct usage_thread *t = &p->threads[p->n++];
    *t = (struct usage_thread){.tid = tid, .fd = -1};
    return t;
}

static void usage_thread_end(struct proc_usage *p, struct usage_thread *t)
{
    p->ended_ns[t->class] += t->cpu_ns;
    if (t->fd >= 0)
        close(t->fd);
    *t = p->threads[--p->n];
}

static void usage_scan(struct proc_usage *p)
{
    const struct dirent *entry;
    p->until_scan = SCAN_EVERY;
    for (size_t i = 0; i < p->n; i++)
        p->threads[i].seen = false;
    rewinddir(p->tasks);
    while ((entry = readdir(p->tasks)) != NULL) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct usage_thread *t = tid > 0 ? usage_thread_find(p, tid) : NULL;
        if (t == NULL)
            continue;
        t->seen = true;
        if (t->class == PROC_THREAD_OTHER)
            usage_thread_classify(p, t);
    }
    for (size_t i = p->n; i-- > 0;)
        if (!p->threads[i].seen)
            usage_thread_end(p, &p->threads[i]);
}

struct proc_usage *proc_usage_open(pid_t pid, struct err *e)
{
    char path[48];
    struct proc_usage *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot watch process %d", pid);
        return NULL;
    }
    p->pid = pid;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    p->statm_fd = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    p->tasks = opendir(path);
    if (p->statm_fd < 0 || p->tasks == NULL || clock_getcpuclockid(pid, &p->clock) != 0) {
        err_set(e, ERR_LOST, 0, "there is no process %d", pid);
        proc_usage_close(p);
        return NULL;
    }
    usage_scan(p);
    return p;
}

/* The threads of both classes, into cpu_ns[class]. */
static void usage_read_threads(struct proc_usage *p, uint64_t cpu_ns[])
{
    for (size_t i = 0; i < p->n; i++) {
        struct usage_thread *t = &p->threads[i];
        if (t->fd >= 0)
            usage_read_number(t->fd, 0, &t->cpu_ns);
        cpu_ns[t->class] += t->cpu_ns;
    }
}

bool proc_usage_read(struct proc_usage *p, struct proc_usage_sample *s)
{
    struct stat st;
    struct timespec ts;
    uint64_t pages, cpu_ns[PROC_THREAD_MIGRATION + 1];
    if (fstat(dirfd(p->tasks), &st) < 0 || !usage_read_number(p->statm_fd, 1, &pages) ||
        clock_gettime(p->clock, &ts) < 0)
        return false;
    if (st.st_nlink != p->links || p->until_scan-- == 0)
        usage_scan(p);
    p->links = st.st_nlink;
    memcpy(cpu_ns, p->ended_ns, sizeof cpu_ns);
    usage_read_threads(p, cpu_ns);
    *s = (struct proc_usage_sample){
        .vcpu_cpu_ns = p->named ? cpu_ns[PROC_THREAD_VCPU] : PROC_USAGE_UNKNOWN,
        .migration_cpu_ns = p->named ? cpu_ns[PROC_THREAD_MIGRATION] : PROC_USAGE_UNKNOWN,
        .all_cpu_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec,
        .rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE),
    };
    return true;
}

void proc_usage_close(struct proc_usage *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n; i++)
        if (p->threads[i].fd >= 0)
            close(p->threads[i].fd);
    if (p->statm_fd >= 0)
        close(p->statm_fd);
    if (p->tasks != NULL)
        closedir(p->tasks);
    free(p->threads);
    free(p);
}

/* ---- which process ---- */

static bool proc_is_qemu(int proc, pid_t pid)
{
    char path[48], name[32];
    snprintf(path, sizeof path, "%d/comm", pid);
    return usage_read_file(proc, path, name, sizeof name) && strncmp(name, "qemu", 4) == 0;
}

static bool proc_has_text(int proc, pid_t pid, const char *text)
{
    char path[48];
    snprintf(path, sizeof path, "%d/cmdline", pid);
    CLEANUP_CLOSE int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    enum { COMMAND_LINE_MAX = 128 << 10 }; /* libvirt's are some 5 kB */
    CLEANUP_FREE char *words = malloc(COMMAND_LINE_MAX);
    if (fd < 0 || words == NULL)
        return false;
    ssize_t n = read(fd, words, COMMAND_LINE_MAX - 1);
    if (n <= 0)
        return false;
    words[n] = '\0';
    for (ssize_t i = 0; i < n; i++)
        if (words[i] == '\0')
            words[i] = ' ';
    return strstr(words, text) != NULL;
}

pid_t proc_find_qemu(const char *text, pid_t but)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    pid_t found = 0;
    if (proc == NULL)
        return 0;
    while (found == 0 && (entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != but && proc_is_qemu(dirfd(proc), pid) &&
            proc_has_text(dirfd(proc), pid, text))
            found = pid;
    }
    closedir(proc);
    return found;
}
