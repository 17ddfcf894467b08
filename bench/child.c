/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A program is started by fork(), not by vfork() or posix_spawn(): the kernel counts the memory
 * that a process has before execve() to its peak, and with the latter two that is the highest our
 * own has ever been. After fork() it is what we have now. So whoever calls this gives large buffers
 * back to the kernel first.
 *
 * What the program says goes to a file: a pipe would need a reader, who would take CPU time from
 * what is measured.
 */
#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"

enum { CHILD_POLL_MS = 200, CHILD_CANNOT_EXEC = 127 };

#define CHILD_PATIENCE_NS (10 * NS_PER_S)  /* between asking it to end and ending it */
#define CHILD_FIRST_LINE_NS (3 * NS_PER_S) /* for a program that only has to say something */

static _Noreturn void child_exec(const char *const *argv, int out, int talk)
{
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(talk, STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "%s\n", strerror(errno));
    _exit(CHILD_CANNOT_EXEC);
}

/* With standard output and standard error on `out` and `talk`. */
static int child_start(const char *const *argv, int out, int talk, pid_t *pid, struct err *e)
{
    *pid = fork();
    if (*pid < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot start a process", argv[0]);
    if (*pid == 0)
        child_exec(argv, out, talk);
    return 0;
}

/* Waits, and asks the program to end when *cancel is set. */
static void child_await(pid_t pid, const volatile sig_atomic_t *cancel)
{
    CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int64_t asked_ns = 0;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    while (fd >= 0 && poll(&end, 1, CHILD_POLL_MS) <= 0) {
        if (*cancel == 0)
            continue;
        if (asked_ns == 0) {
            asked_ns = clock_now_ns();
            kill(pid, SIGINT);
        } else if (clock_now_ns() - asked_ns > CHILD_PATIENCE_NS) {
            kill(pid, SIGKILL);
        }
    }
}

/* Waits a moment only. */
static void child_await_line(pid_t pid)
{
    CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int64_t deadline_ns = clock_now_ns() + CHILD_FIRST_LINE_NS;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    while (fd >= 0 && poll(&end, 1, CHILD_POLL_MS) <= 0)
        if (clock_now_ns() >= deadline_ns)
            kill(pid, SIGKILL);
}

/* The last line that says something: not an empty one, nor a hint of godwit's after its error. Of
 * what is rewritten on a terminal, the last state. */
void child_last_line(int out, char line[CHILD_SAID_MAX])
{
    char text[1024];
    off_t size = lseek(out, 0, SEEK_END);
    off_t from = size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0;
    ssize_t n = pread(out, text, sizeof text - 1, from);
    text[n > 0 ? n : 0] = '\0';
    char *last = text;
    char *rest = text;
    for (char *part; (part = strsep(&rest, "\r\n")) != NULL;)
        if (*part != '\0' && strstr(part, ": hint: ") == NULL)
            last = part;
    snprintf(line, CHILD_SAID_MAX, "%s", last);
}

static int child_verdict(const char *program, int status, int out, struct err *e)
{
    char said[CHILD_SAID_MAX];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    child_last_line(out, said);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_IO, 0, "%s: ended by signal %d: %s", program, WTERMSIG(status), said);
    return err_set(e, ERR_IO, 0, "%s: exit code %d: %s", program, WEXITSTATUS(status), said);
}

static int child_reap(pid_t pid, const char *program, int *status, struct rusage *used,
                      struct err *e)
{
    while (wait4(pid, status, 0, used) < 0)
        if (errno != EINTR)
            return err_set(e, ERR_IO, errno, "%s: cannot wait for its end", program);
    return 0;
}

static int64_t child_ns(const struct timeval *t)
{
    return (int64_t)t->tv_sec * NS_PER_S + (int64_t)t->tv_usec * NS_PER_US;
}

int child_run(const char *const *argv, const volatile sig_atomic_t *cancel, struct child_cost *cost,
              struct err *e)
{
    CLEANUP_CLOSE int out = memfd_create("said", MFD_CLOEXEC);
    pid_t pid;
    if (out < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot make a file for its output", argv[0]);
    if (child_start(argv, out, out, &pid, e) < 0)
        return -1;
    child_await(pid, cancel);
    int status;
    struct rusage used;
    if (child_reap(pid, argv[0], &status, &used, e) < 0)
        return -1;
    cost->cpu_ns += child_ns(&used.ru_utime) + child_ns(&used.ru_stime);
    uint64_t peak_bytes = (uint64_t)used.ru_maxrss * 1024;
    if (peak_bytes > cost->peak_bytes)
        cost->peak_bytes = peak_bytes;
    if (*cancel != 0)
        return err_set(e, ERR_CANCELLED, 0, "%s: interrupted", argv[0]);
    return child_verdict(argv[0], status, out, e);
}

int child_run_to(const char *const *argv, int out, int talk, const volatile sig_atomic_t *cancel,
                 struct child_end *end, struct err *e)
{
    pid_t pid;
    int status;
    struct rusage used;
    end->began_ns = clock_now_ns();
    if (child_start(argv, out, talk, &pid, e) < 0)
        return -1;
    child_await(pid, cancel);
    if (child_reap(pid, argv[0], &status, &used, e) < 0)
        return -1;
    end->ended_ns = clock_now_ns();
    end->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return *cancel == 0 ? 0 : err_set(e, ERR_CANCELLED, 0, "%s: interrupted", argv[0]);
}

void child_first_line(const char *const *argv, char *line, size_t size)
{
    CLEANUP_CLOSE int out = memfd_create("said", MFD_CLOEXEC);
    struct err e = {0};
    pid_t pid;
    int status = -1;
    line[0] = '\0';
    if (out < 0 || child_start(argv, out, out, &pid, &e) < 0)
        return;
    child_await_line(pid);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return;
    ssize_t n = pread(out, line, size - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
}
