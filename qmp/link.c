/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * unix and tcp are a connect() with a deadline. ssh is a child: it is given a private directory in
 * which it makes the forwarded socket once the far side has agreed; we wait for that socket to
 * appear, or for the child to end and then report what it wrote to its standard error. The child
 * gets SIGTERM when the link is closed, is told by the kernel if we die first (PR_SET_PDEATHSIG),
 * and lives in a process group of its own so that Ctrl-C at the terminal does not cut the line on
 * which the roll-back has to be said.
 *
 * Connecting to the forwarded socket always succeeds, because ssh accepts before it knows whether
 * the far socket answers. A far socket that is missing, that refuses, or whose backlog is full while
 * another client holds the monitor: each shows as an end of file before the greeting, and sshd does
 * not tell which (OpenSSH 9.2, channels.c, connect_to_helper() gives no reason for a unix socket).
 */
#include "qmp/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

static int link_left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_now_ns();
    return left_ns <= 0 ? 0 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* 0, or an errno. */
static int link_connect(int fd, const struct sockaddr *sa, socklen_t len, int64_t deadline_ns)
{
    if (connect(fd, sa, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n;
    do
        n = poll(&p, 1, link_left_ms(deadline_ns));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return ETIMEDOUT;
    int sys = 0;
    socklen_t size = sizeof sys;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &size);
    return sys;
}

static int link_fault(const struct qmp_endpoint *ep, int sys, struct err *e)
{
    if (sys == ETIMEDOUT || sys == EAGAIN) /* EAGAIN: the backlog of a unix socket is full */
        return err_set(e, ERR_TIMEOUT, sys, "%s", ep->text);
    err_set(e, sys == ENOENT || sys == ECONNREFUSED ? ERR_LOST : ERR_IO, sys, "%s", ep->text);
    if (sys == ENOENT)
        err_hint(e, "there is no such socket: start QEMU with -qmp unix:PATH,server=on,wait=off");
    else if (sys == ECONNREFUSED)
        err_hint(e, "nobody listens there: is that QEMU still running?");
    return -1;
}

static int link_open_path(const struct qmp_endpoint *ep, const char *path, int64_t deadline_ns,
                          struct qmp_link *l, struct err *e)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, path, strnlen(path, sizeof sa.sun_path - 1));
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(e, ERR_IO, errno, "socket");
    int sys = link_connect(fd, (struct sockaddr *)&sa, sizeof sa, deadline_ns);
    if (sys != 0)
        return link_fault(ep, sys, e);
    l->fd = TAKE_FD(fd);
    return 0;
}

static int link_open_tcp(const struct qmp_endpoint *ep, int64_t deadline_ns, struct qmp_link *l,
                         struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int rc = getaddrinfo(ep->host, ep->port, &hints, &list);
    if (rc != 0)
        return err_set(e, ERR_REFUSED, 0, "%s: %s: %s", ep->text, ep->host, gai_strerror(rc));

    int why = 0; /* refused only where each address refuses */
    for (struct addrinfo *ai = list; ai != NULL && l->fd < 0; ai = ai->ai_next) {
        CLEANUP_CLOSE int fd =
            socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
        int sys = fd < 0 ? errno : link_connect(fd, ai->ai_addr, ai->ai_addrlen, deadline_ns);
        int on = 1;
        if (sys == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0)
            l->fd = TAKE_FD(fd);
        if (why == 0 || why == ECONNREFUSED)
            why = sys;
    }
    freeaddrinfo(list);
    return l->fd >= 0 ? 0 : link_fault(ep, why, e);
}

static void link_exec_ssh(const struct qmp_endpoint *ep, const char *local, int stderr_fd,
                          const sigset_t *mask)
{
    char forward[300];
    snprintf(forward, sizeof forward, "%s:%s", local, ep->path);
    const char *argv[24];
    size_t n = 0;
    const char *const fixed[] = {
        "ssh",
        "-N",
        "-T",
        "-o",
        "BatchMode=yes",
        "-o",
        "ExitOnForwardFailure=yes",
        "-o",
        "ControlMaster=no",
        "-o",
        "ControlPath=none",
        "-o",
        "ServerAliveInterval=5",
        "-L",
        forward,
    };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        argv[n++] = fixed[i];
    if (ep->port[0] != '\0') {
        argv[n++] = "-p";
        argv[n++] = ep->port;
    }
    if (ep->user[0] != '\0') {
        argv[n++] = "-l";
        argv[n++] = ep->user;
    }
    argv[n++] = "--";
    argv[n++] = ep->host;
    argv[n] = NULL;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigprocmask(SIG_SETMASK, mask, NULL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(stderr_fd, STDERR_FILENO);
    execvp("ssh", (char *const *)argv);
    _exit(127);
}

/* The child has ended: what it wrote to its standard error says why. */
static int link_ssh_fault(const struct qmp_endpoint *ep, int status, int stderr_fd, struct err *e)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, ERR_IO, 0, "%s: there is no ssh program on this machine", ep->text);

    char words[8192];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof words - 1 && (n = read(stderr_fd, words + len, sizeof words - 1 - len)) > 0)
        len += (size_t)n;
    words[len] = '\0';
    const char *why = text_why(words);
    err_set(e, ERR_IO, 0, "%s: ssh: %s", ep->text,
            *why != '\0' ? why : "it ended without a message");
    if (strstr(why, "has changed and") != NULL) {
        const char *known = ep->port[0] != '\0' ? text_keep("[%s]:%s", ep->host, ep->port)
                                                : ep->host;
        return err_hint(e, "only if you know why the key has changed: %s",
                        text_command("ssh-keygen -R %s", known));
    }
    const char *login = text_keep("%s%s%s", ep->user, ep->user[0] != '\0' ? "@" : "", ep->host);
    return err_hint(e, "'%s' must work without a prompt",
                    ep->port[0] != '\0' ? text_command("ssh -p %s %s true", ep->port, login)
                                        : text_command("ssh %s true", login));
}

/* One more turn of waiting for it. */
static int link_ssh_goes_on(const struct qmp_endpoint *ep, int stderr_fd, int64_t deadline_ns,
                            struct qmp_link *l, struct err *e)
{
    int status;
    if (waitpid(l->ssh, &status, WNOHANG) == l->ssh) {
        l->ssh = 0;
        return link_ssh_fault(ep, status, stderr_fd, e);
    }
    if (clock_now_ns() >= deadline_ns)
        return err_set(e, ERR_TIMEOUT, 0, "%s: ssh has not connected in time", ep->text);
    usleep(5000);
    return 0;
}

/* The socket has its name a moment before ssh listens: a refusal then is ssh's, and no word on QEMU. */
static int link_await_ssh(const struct qmp_endpoint *ep, const char *local, int stderr_fd,
                          int64_t deadline_ns, struct qmp_link *l, struct err *e)
{
    struct stat st;
    while (stat(local, &st) < 0)
        if (link_ssh_goes_on(ep, stderr_fd, deadline_ns, l, e) < 0)
            return -1;
    while (link_open_path(ep, local, deadline_ns, l, e) < 0) {
        if (e->sys != ECONNREFUSED)
            return -1;
        err_clear(e);
        if (link_ssh_goes_on(ep, stderr_fd, deadline_ns, l, e) < 0)
            return -1;
    }
    return 0;
}

static int link_open_ssh(const struct qmp_endpoint *ep, int64_t deadline_ns, struct qmp_link *l,
                         struct err *e)
{
    char dir[] = "/tmp/godwit-ssh-XXXXXX";
    if (mkdtemp(dir) == NULL)
        return err_set(e, ERR_IO, errno, "%s", dir);
    memcpy(l->dir, dir, sizeof dir);
    char local[108];
    snprintf(local, sizeof local, "%s/qmp.sock", dir);

    int words[2];
    if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(e, ERR_IO, errno, "pipe");
    CLEANUP_CLOSE int words_in = words[0];
    CLEANUP_CLOSE int words_out = words[1];

    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigdelset(&mask, SIGINT);
    sigdelset(&mask, SIGTERM);
    l->ssh = fork();
    if (l->ssh < 0) {
        l->ssh = 0;
        return err_set(e, ERR_IO, errno, "fork");
    }
    if (l->ssh == 0)
        link_exec_ssh(ep, local, words_out, &mask);

    return link_await_ssh(ep, local, words_in, deadline_ns, l, e);
}

int qmp_link_open(const struct qmp_endpoint *ep, int64_t timeout_ns, struct qmp_link *l,
                  struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + timeout_ns;
    *l = (struct qmp_link){.fd = -1};
    log_debug("connect: %s", ep->text);

    int rc = -1;
    switch (ep->scheme) {
    case QMP_UNIX: rc = link_open_path(ep, ep->path, deadline_ns, l, e); break;
    case QMP_TCP: rc = link_open_tcp(ep, deadline_ns, l, e); break;
    case QMP_SSH: rc = link_open_ssh(ep, deadline_ns, l, e); break;
    case QMP_CARRIED:
        l->carrier = ep->carrier;
        l->carried = ep->carrier->open(ep->target, &l->fd, e);
        rc = l->carried != NULL ? 0 : -1;
        break;
    }
    if (rc < 0)
        qmp_link_close(l);
    return rc;
}

void qmp_link_close(struct qmp_link *l)
{
    if (l->fd >= 0)
        close(TAKE_FD(l->fd));
    if (l->carried != NULL)
        l->carrier->close(TAKE(l->carried));
    if (l->ssh != 0) {
        kill(l->ssh, SIGTERM);
        waitpid(l->ssh, NULL, 0);
        l->ssh = 0;
    }
    if (l->dir[0] != '\0') {
        char local[108];
        snprintf(local, sizeof local, "%s/qmp.sock", l->dir);
        unlink(local);
        rmdir(l->dir);
        l->dir[0] = '\0';
    }
}

bool qmp_link_ssh_lives(struct qmp_link *l)
{
    for (int i = 0; i < 20 && l->ssh != 0; i++) {
        if (waitpid(l->ssh, NULL, WNOHANG) == l->ssh)
            l->ssh = 0;
        else
            usleep(10000);
    }
    return l->ssh != 0;
}

int64_t qmp_link_peer_pid(const struct qmp_link *l)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (l->ssh != 0 || getsockopt(l->fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return 0;
    return cred.pid > 0 ? cred.pid : 0;
}

/* ---- the other end of a TCP connection ---- */

struct link_address {
    uint32_t at[4]; /* IPv4 as the last word behind ::ffff: */
    unsigned port;
};

static bool link_address_of(const struct sockaddr_storage *sa, struct link_address *a)
{
    *a = (struct link_address){.at = {[2] = htonl(0xffff)}};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        a->at[3] = in->sin_addr.s_addr;
        a->port = ntohs(in->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        memcpy(a->at, &in6->sin6_addr, sizeof a->at);
        a->port = ntohs(in6->sin6_port);
    }
    return a->port != 0;
}

/* "0100007F:1F90", or four such words: each as it is in memory. */
static bool link_address_scan(const char *text, struct link_address *a)
{
    *a = (struct link_address){.at = {[2] = htonl(0xffff)}};
    return sscanf(text, "%8x%8x%8x%8x:%x", &a->at[0], &a->at[1], &a->at[2], &a->at[3], &a->port) ==
               5 ||
           (*a = (struct link_address){.at = {[2] = htonl(0xffff)}},
            sscanf(text, "%8x:%x", &a->at[3], &a->port) == 2);
}

static bool link_address_same(const struct link_address *a, const struct link_address *b)
{
    return memcmp(a->at, b->at, sizeof a->at) == 0 && a->port == b->port;
}

/* The inode of the socket that has these ends; 0: there is none in that table. */
static uint64_t link_find_tcp(const char *table, const struct link_address *its,
                              const struct link_address *peer)
{
    char line[512], from[48], to[48];
    unsigned long long inode, found = 0;
    FILE *f = fopen(table, "re");
    while (f != NULL && found == 0 && fgets(line, sizeof line, f) != NULL) {
        struct link_address local, remote;
        if (sscanf(line, "%*s %47s %47s %*s %*s %*s %*s %*s %*s %llu", from, to, &inode) == 3 &&
            link_address_scan(from, &local) && link_address_scan(to, &remote) &&
            link_address_same(&local, its) && link_address_same(&remote, peer))
            found = inode;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

uint64_t qmp_link_peer_inode(const struct qmp_link *l)
{
    struct sockaddr_storage ours, theirs;
    socklen_t ours_size = sizeof ours, theirs_size = sizeof theirs;
    struct link_address us, them;
    if (l->ssh != 0 || getsockname(l->fd, (struct sockaddr *)&ours, &ours_size) < 0 ||
        getpeername(l->fd, (struct sockaddr *)&theirs, &theirs_size) < 0 ||
        !link_address_of(&ours, &us) || !link_address_of(&theirs, &them))
        return 0;
    uint64_t inode = link_find_tcp("/proc/net/tcp", &them, &us);
    return inode != 0 ? inode : link_find_tcp("/proc/net/tcp6", &them, &us);
}
