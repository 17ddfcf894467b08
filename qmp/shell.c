/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * ssh takes its time to connect, and so may the login shell there. So one sh is started at the
 * first command, or before it where there is something else to wait for, reads commands from its standard input, and says after each a mark of ours with
 * the exit status. When a command does not end, or the stream does, the shell is given up, and the
 * next command starts another.
 */
#include "qmp/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

enum { SHELL_NO_PROGRAM = 127, SHELL_SAID_MAX = 128 << 10 };

void shell_of_endpoint(const struct qmp_endpoint *ep, struct shell *s)
{
    *s = (struct shell){.kind = ep->scheme == QMP_UNIX  ? SHELL_LOCAL
                                : ep->scheme == QMP_SSH ? SHELL_SSH
                                                        : SHELL_NONE};
    snprintf(s->login, sizeof s->login, "%s%s%.254s", ep->user, ep->user[0] != '\0' ? "@" : "",
             ep->host);
    snprintf(s->host, sizeof s->host, "%s", ep->host);
    snprintf(s->port, sizeof s->port, "%s", ep->port);
}

/* In the child. Without a terminal and in batch mode nothing can ask. */
static void shell_exec(const struct shell *s, int in, int out)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(SHELL_NO_PROGRAM);
    setsid();
    if (s->kind == SHELL_LOCAL) {
        execl("/bin/sh", "sh", (char *)NULL);
        _exit(SHELL_NO_PROGRAM);
    }
    const char *argv[20] = {
        "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"};
    int n = 8;
    if (s->port[0] != '\0') {
        argv[n++] = "-p";
        argv[n++] = s->port;
    }
    if (s->keyfile[0] != '\0') {
        argv[n++] = "-i";
        argv[n++] = s->keyfile;
    }
    argv[n++] = "--";
    argv[n++] = s->login;
    argv[n++] = "exec /bin/sh";
    argv[n] = NULL;
    execvp("ssh", (char *const *)argv);
    _exit(SHELL_NO_PROGRAM);
}

static int shell_start(struct shell *s, struct err *e)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return err_set(e, ERR_IO, errno, "a pipe");
    CLEANUP_CLOSE int theirs_in = in[0], ours_in = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_set(e, ERR_IO, errno, "a pipe");
    CLEANUP_CLOSE int theirs_out = out[1], ours_out = out[0];
    s->child = fork();
    if (s->child < 0) {
        s->child = 0;
        return err_set(e, ERR_IO, errno, "a shell");
    }
    if (s->child == 0)
        shell_exec(s, theirs_in, theirs_out);
    s->in = TAKE_FD(ours_in);
    s->out = TAKE_FD(ours_out);
    return 0;
}

void shell_begin(struct shell *s)
{
    struct err none = {0}; /* the first command tries again */
    if (s->kind != SHELL_NONE && s->child == 0 && shell_start(s, &none) < 0)
        log_debug("%s: %s", s->login, none.msg);
}

void shell_close(struct shell *s)
{
    if (s->child == 0)
        return;
    close(s->in);
    close(s->out);
    kill(-s->child, SIGKILL); /* its session is its own: what it has started goes, too */
    kill(s->child, SIGKILL);  /* it may not have come so far as to have one */
    while (waitpid(s->child, NULL, 0) < 0 && errno == EINTR)
        ;
    s->child = 0;
}

/* A pipe whose reader has gone: the write fails, and the signal is taken back. */
static bool shell_say(struct shell *s, const char *text)
{
    sigset_t pipe_set, before;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    size_t len = strlen(text), n = 0;
    while (n < len) {
        ssize_t wrote = write(s->in, text + n, len - n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            break;
        n += (size_t)wrote;
    }
    if (n < len)
        sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n == len;
}

/* The status that stands behind the mark in what has come so far; -1: not yet. */
static int shell_status(char *said, size_t *n, const char *mark)
{
    char *at = memmem(said, *n, mark, strlen(mark));
    if (at == NULL || memchr(at + 1, '\n', (size_t)(said + *n - at - 1)) == NULL)
        return -1;
    *n = (size_t)(at - said);
    return atoi(at + strlen(mark));
}

/* Reads until the mark: the status, or -1 with the error. */
static int shell_read(struct shell *s, const char *mark, char *said, size_t room, size_t *n,
                      int64_t deadline_ns, struct err *e)
{
    const char *where = s->kind == SHELL_SSH ? s->login : "this host";
    int status = -1;
    *n = 0;
    while (status < 0) {
        struct pollfd p = {.fd = s->out, .events = POLLIN};
        int64_t left_ns = deadline_ns - clock_now_ns();
        if (left_ns <= 0 || poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) == 0)
            return err_set(e, ERR_TIMEOUT, 0, "%s: a command did not end in time", where);
        if (*n + 1 >= room)
            return err_set(e, ERR_PROTO, 0, "%s: a command printed too much", where);
        ssize_t got = read(s->out, said + *n, room - 1 - *n);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0) {
            said[*n] = '\0';
            const char *why = text_why(said);
            return err_set(e, ERR_LOST, 0, "%s%s: %s", s->kind == SHELL_SSH ? "ssh " : "", where,
                           *why != '\0' ? why : "the shell has ended");
        }
        *n += (size_t)got;
        status = shell_status(said, n, mark);
    }
    return status;
}

int shell_run(struct shell *s, const char *script, char *out, size_t room, int64_t timeout_ns,
              struct err *e)
{
    char mark[64];
    size_t n = 0, need = strlen(script) + 300;
    out[0] = '\0';
    if (s->kind == SHELL_NONE)
        return err_set(e, ERR_LOST, 0, "there is no shell: libvirt is not reached by ssh");
    CLEANUP_FREE char *said = malloc(SHELL_SAID_MAX), *asked = malloc(need);
    if (said == NULL || asked == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for a shell");
    log_debug("%s: %s", s->kind == SHELL_SSH ? s->login : "sh", script);
    if (s->child == 0 && shell_start(s, e) < 0)
        return -1;
    snprintf(mark, sizeof mark, "\n@godwit %llx ", (unsigned long long)clock_now_ns());
    /* what a login shell may say at its start comes before the first of the two marks */
    snprintf(asked, need, "echo '%s'; (\n%s\n) </dev/null 2>&1; printf '\\n%s%%d\\n' $?\n",
             mark + 2, script, mark + 1);
    shell_say(s, asked); /* if it cannot be said, the shell has ended, and what it said tells why */
    int status = shell_read(s, mark, said, SHELL_SAID_MAX, &n, clock_now_ns() + timeout_ns, e);
    if (status < 0) {
        shell_close(s);
        return -1;
    }
    const char *from = memmem(said, n, mark + 2, strlen(mark + 2));
    from = from != NULL ? from + strlen(mark + 2) + 1 : said;
    n = from < said + n ? (size_t)(said + n - from) : 0;
    while (n > 0 && (from[n - 1] == '\n' || from[n - 1] == '\r'))
        n--;
    snprintf(out, room, "%.*s", (int)n, from);
    return status;
}

const char *shell_command(const struct shell *s, const char *command)
{
    if (s->kind == SHELL_SSH && s->port[0] != '\0')
        return text_command("ssh -p %s %s %s", s->port, s->login, command);
    if (s->host[0] != '\0')
        return text_command("ssh %s %s", s->kind == SHELL_SSH ? s->login : s->host, command);
    return command;
}
