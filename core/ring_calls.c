/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Reads, writes and syncs are done on the spot, in the turn that finds them. Everything that waits
 * for a peer stays in FLIGHT and is given to poll(2) in each turn; sockets, too: send and receive
 * are tried when poll(2) says that something can be had, and wait on where that was not so.
 */
#include "core/ring_calls.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"

enum { CALLS_POLLED = 256 };

/* Whether it waits in poll(2) until it can be done without blocking. */
static bool calls_polls(const struct ring_op *op)
{
    return op->kind == KIND_POLL || op->kind == KIND_SENDV || op->kind == KIND_RECV;
}

static ssize_t calls_write(const struct ring_op *op)
{
    struct iovec part = {.iov_base = op->buf, .iov_len = op->len};
    return pwritev2(op->fd, &part, 1, (off_t)op->offset, op->durable ? RWF_DSYNC : 0);
}

static int calls_run(const struct ring_op *op)
{
    ssize_t n;
    do {
        switch ((enum ring_kind)op->kind) {
        case KIND_READ: n = pread(op->fd, op->buf, op->len, (off_t)op->offset); break;
        case KIND_WRITE: n = calls_write(op); break;
        case KIND_SENDV: n = sendmsg(op->fd, op->buf, MSG_DONTWAIT | MSG_NOSIGNAL); break;
        case KIND_RECV: n = recv(op->fd, op->buf, op->len, MSG_DONTWAIT); break;
        default: n = fdatasync(op->fd);
        }
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static void calls_ready(struct ring_queue *q, struct ring_op *op, short events)
{
    int res = op->kind == KIND_POLL ? events : calls_run(op);
    if (res != -EAGAIN)
        ring_queue_finish(q, op, res);
}

static void calls_poll(struct ring_queue *q, int64_t timeout_ns)
{
    struct pollfd fds[CALLS_POLLED];
    struct ring_op *ops[CALLS_POLLED];
    nfds_t n = 0;
    struct ring_op *op = q->lists[STATE_FLIGHT].first;
    for (; op != NULL && n < CALLS_POLLED; op = op->next, n++) {
        ops[n] = op;
        fds[n] = (struct pollfd){.fd = op->fd, .events = op->events};
    }
    struct timespec ts = {.tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S};
    if (ppoll(fds, n, &ts, NULL) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents != 0)
            calls_ready(q, ops[i], fds[i].revents);
}

void ring_calls_wait(struct ring_queue *q, int64_t timeout_ns)
{
    struct ring_op *op, *next;
    for (op = q->lists[STATE_FLIGHT].first; op != NULL; op = next) {
        next = op->next;
        if (op->cancel)
            ring_queue_finish(q, op, -ECANCELED);
    }
    while ((op = q->lists[STATE_TODO].first) != NULL) {
        if (calls_polls(op))
            ring_queue_move(q, op, STATE_FLIGHT);
        else
            ring_queue_finish(q, op, calls_run(op));
    }
    if (q->lists[STATE_DONE].first != NULL)
        timeout_ns = 0;
    calls_poll(q, timeout_ns);
}
