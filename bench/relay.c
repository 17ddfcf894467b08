/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay --rtt TIME LISTEN-SOCKET TO-SOCKET: a round trip for those who talk over a UNIX stream
 * socket, on a kernel without netem. Each byte is handed on TIME/2 after it came, in both
 * directions; the throughput is not limited, as on a long wire.
 *
 * Theory of operation
 *
 * A connection is two flows, one a direction. A flow reads what there is into a chunk with a due
 * time and puts it at the end of its queue; what is due is written, as far as the receiver takes
 * it. Two events move a queue on: a timerfd at the due time of its head (the loop's own timers count
 * milliseconds), and, when a receiver was full, that it can be written to again. Without a delay
 * everything is due as it is read, and written by the same call.
 *
 * The end of a stream travels as an empty chunk, so that a half-close is delayed too. A queue that
 * holds FLOW_QUEUE_MAX bytes is not read into: that is what the wire holds, and a receiver that
 * stands still is felt by the sender.
 *
 * A receiver that is gone ends its flow: what was for it is dropped, and no more is read for it.
 * What it said before it went still arrives, and its end, each in its time. When both flows have
 * ended, the connection is closed.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/units.h"

enum {
    FLOW_CHUNK = 64 * 1024,
    FLOW_QUEUE_MAX = 64 * 1024 * 1024,
    FLOW_BATCH = 16, /* chunks a wake-up, so that one flow does not starve the others */
    RELAY_BACKLOG = 64,
};

struct chunk {
    struct chunk *next;
    int64_t due_ns;
    size_t n, written; /* n == 0: the end of the stream */
    char bytes[];
};

struct flow {
    struct side *from, *to;
    struct chunk *head, **tail;
    size_t queued_bytes;
    int timer_fd;
    struct loop_fd *timer;
    bool read_all; /* the end was read */
    bool ended;    /* it was handed on, or nobody is there to take it */
};

struct side {
    struct connection *connection;
    struct flow *out, *in; /* out: what this side says */
    int fd;
    struct loop_fd *watch;
};

struct connection {
    struct relay *relay;
    struct connection *next, **link; /* in the relay's list */
    struct side side[2];
    struct flow flow[2];
};

struct relay {
    struct loop *loop;
    int64_t delay_ns;
    const char *to;
    int listen_fd;
    struct loop_fd *watch;
    struct connection *connections;
};

static void connection_free(struct connection *c)
{
    for (int i = 0; i < 2; i++) {
        struct flow *f = &c->flow[i];
        loop_fd_del(c->side[i].watch);
        loop_fd_del(f->timer);
        if (c->side[i].fd >= 0)
            close(c->side[i].fd);
        if (f->timer_fd >= 0)
            close(f->timer_fd);
        for (struct chunk *k; (k = f->head) != NULL; free(k))
            f->head = k->next;
    }
    if (c->link != NULL) {
        *c->link = c->next;
        if (c->next != NULL)
            c->next->link = c->link;
    }
    free(c);
}

static bool flow_wants_bytes(const struct flow *f)
{
    return !f->read_all && f->queued_bytes < FLOW_QUEUE_MAX;
}

static bool flow_is_due(const struct flow *f)
{
    return f->head != NULL && f->head->due_ns <= clock_now_ns();
}

static void flow_arm(struct flow *f)
{
    int64_t at_ns = f->head->due_ns;
    const struct itimerspec due = {
        .it_value = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S}};
    timerfd_settime(f->timer_fd, TFD_TIMER_ABSTIME, &due, NULL);
}

static void flow_end(struct flow *f)
{
    f->ended = f->read_all = true;
    for (struct chunk *k; (k = f->head) != NULL; free(k))
        f->head = k->next;
    f->tail = &f->head;
    f->queued_bytes = 0;
}

/* Hands on what is due. */
static void flow_write(struct flow *f)
{
    while (!f->ended && flow_is_due(f)) {
        struct chunk *k = f->head;
        if (k->n == 0) {
            shutdown(f->to->fd, SHUT_WR);
            flow_end(f);
            return;
        }
        ssize_t n =
            send(f->to->fd, k->bytes + k->written, k->n - k->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return; /* EPOLLOUT will tell */
        if (n < 0) {
            flow_end(f);
            return;
        }
        k->written += (size_t)n;
        f->queued_bytes -= (size_t)n;
        if (k->written < k->n)
            continue;
        f->head = k->next;
        if (f->head == NULL)
            f->tail = &f->head;
        free(k);
    }
    if (!f->ended && f->head != NULL && !flow_is_due(f))
        flow_arm(f);
}

/* Takes the next bytes, or the end, into the queue; false when there is nothing now. */
static bool flow_read(struct flow *f)
{
    int64_t delay_ns = f->from->connection->relay->delay_ns;
    CLEANUP_FREE struct chunk *k = malloc(sizeof *k + FLOW_CHUNK);
    if (k == NULL)
        return false;
    ssize_t n = recv(f->from->fd, k->bytes, FLOW_CHUNK, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    size_t got = n > 0 ? (size_t)n : 0;              /* an error is an end: ECONNRESET */
    struct chunk *fit = realloc(k, sizeof *k + got); /* much is small, and stays for long */
    if (fit != NULL) {
        (void)TAKE(k);
        k = fit;
    }
    *k = (struct chunk){.due_ns = clock_now_ns() + delay_ns, .n = got};
    f->read_all = got == 0;
    f->queued_bytes += got;
    *f->tail = k;
    f->tail = &k->next;
    (void)TAKE(k);
    return true;
}

/* What epoll is to tell of this side. Once it has said all and can take nothing more it is not
 * watched, because the end of a socket is reported again and again. */
static void side_watch(struct side *s)
{
    uint32_t events = flow_wants_bytes(s->out) ? EPOLLIN : 0;
    if (!s->in->ended && flow_is_due(s->in))
        events |= EPOLLOUT;
    if (s->watch != NULL)
        loop_fd_set(s->watch, events);
}

static void connection_go_on(struct connection *c)
{
    if (c->flow[0].ended && c->flow[1].ended) {
        connection_free(c);
        return;
    }
    side_watch(&c->side[0]);
    side_watch(&c->side[1]);
}

static void side_on_event(void *arg, uint32_t epoll_events)
{
    struct side *s = arg;
    for (int i = 0; i < FLOW_BATCH && flow_wants_bytes(s->out) && flow_read(s->out); i++)
        ;
    flow_write(s->out);
    if (epoll_events & (EPOLLHUP | EPOLLERR)) {
        flow_end(s->in);
        if (s->out->read_all) {
            loop_fd_del(s->watch);
            s->watch = NULL;
        }
    } else {
        flow_write(s->in);
    }
    connection_go_on(s->connection);
}

static void flow_on_timer(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct flow *f = arg;
    uint64_t times;
    (void)!read(f->timer_fd, &times, sizeof times);
    flow_write(f);
    connection_go_on(f->from->connection);
}

static int relay_address(const char *path, struct sockaddr_un *a, struct err *e)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a->sun_path)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s: cannot be a socket", path);
    memcpy(a->sun_path, path, strlen(path) + 1);
    return 0;
}

static int relay_connect(const char *path, struct err *e)
{
    struct sockaddr_un to;
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_IO, errno, "cannot make a socket");
    if (relay_address(path, &to, e) < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return err_set(e, ERR_LOST, errno, "%s: cannot connect", path);
    return TAKE_FD(fd);
}

static int connection_arm(struct connection *c, struct err *e)
{
    struct loop *loop = c->relay->loop;
    for (int i = 0; i < 2; i++) {
        struct side *s = &c->side[i];
        struct flow *f = &c->flow[i];
        s->watch = loop_fd_add(loop, s->fd, EPOLLIN, side_on_event, s, e);
        if (s->watch == NULL)
            return -1;
        f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (f->timer_fd < 0)
            return err_set(e, ERR_IO, errno, "cannot make a timer");
        f->timer = loop_fd_add(loop, f->timer_fd, EPOLLIN, flow_on_timer, f, e);
        if (f->timer == NULL)
            return -1;
    }
    return 0;
}

/* Takes `fd`. */
static int connection_open(struct relay *r, int fd, struct err *e)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return err_set(e, ERR_IO, ENOMEM, "cannot take a connection");
    }
    c->relay = r;
    for (int i = 0; i < 2; i++) {
        c->flow[i] = (struct flow){.from = &c->side[i], .to = &c->side[1 - i], .timer_fd = -1};
        c->flow[i].tail = &c->flow[i].head;
        c->side[i] =
            (struct side){.connection = c, .out = &c->flow[i], .in = &c->flow[1 - i], .fd = -1};
    }
    c->side[0].fd = fd;
    c->side[1].fd = relay_connect(r->to, e);
    if (c->side[1].fd < 0 || connection_arm(c, e) < 0) {
        connection_free(c);
        return -1;
    }
    c->link = &r->connections;
    c->next = r->connections;
    if (c->next != NULL)
        c->next->link = &c->next;
    r->connections = c;
    return 0;
}

static void relay_on_client(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct relay *r = arg;
    struct err e = {0};
    int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && connection_open(r, fd, &e) < 0)
        err_print(&e, "relay", stderr);
}

static int relay_listen(struct relay *r, const char *path, struct err *e)
{
    struct sockaddr_un at;
    if (relay_address(path, &at, e) < 0)
        return -1;
    r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->listen_fd < 0)
        return err_set(e, ERR_IO, errno, "cannot make a socket");
    unlink(path);
    if (bind(r->listen_fd, (const struct sockaddr *)&at, sizeof at) < 0 ||
        listen(r->listen_fd, RELAY_BACKLOG) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot listen", path);
    r->watch = loop_fd_add(r->loop, r->listen_fd, EPOLLIN, relay_on_client, r, e);
    return r->watch != NULL ? 0 : -1;
}

static int relay_run(struct relay *r, const char *path, struct err *e)
{
    r->loop = loop_new(e);
    if (r->loop == NULL || loop_catch_signals(r->loop, e) < 0 || relay_listen(r, path, e) < 0)
        return -1;
    while (loop_interrupts(r->loop) == 0)
        loop_turn(r->loop, -1);
    unlink(path);
    return 0;
}

static void relay_close(struct relay *r)
{
    for (struct connection *c; (c = r->connections) != NULL;) {
        assert(c->link == &r->connections); /* so that it leaves the list */
        connection_free(c);
    }
    loop_fd_del(r->watch);
    if (r->listen_fd >= 0)
        close(r->listen_fd);
    loop_free(r->loop);
}

int main(int argc, char **argv)
{
    struct relay r = {.listen_fd = -1};
    struct err e = {0};
    int64_t rtt_ns;
    if (argc != 5 || strcmp(argv[1], "--rtt") != 0) {
        fputs("usage: relay --rtt TIME LISTEN-SOCKET TO-SOCKET\n", stderr);
        return 2;
    }
    if (units_parse_duration(argv[2], &rtt_ns, &e) < 0) {
        err_print(&e, "relay", stderr);
        return 2;
    }
    r.delay_ns = rtt_ns / 2;
    r.to = argv[4];
    int rc = relay_run(&r, argv[3], &e);
    if (rc < 0)
        err_print(&e, "relay", stderr);
    relay_close(&r);
    return rc < 0 ? 1 : 0;
}
