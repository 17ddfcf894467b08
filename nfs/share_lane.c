/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The socket. libnfs knows how to get one: it resolves, asks the port mapper, takes a reserved port
 * as root, and has a NULL call answered. By then nothing is under way on it; so its descriptor is
 * duplicated and the libnfs context destroyed, which closes only its own descriptor. From there on
 * the connection is ours alone: no context can reconnect behind our back, or read our replies.
 *
 * A call goes through these states:
 *
 *   FREE → QUEUED → SENDING → SENT → FREE
 *
 *   QUEUED   its head is encoded; it waits in the queue for the socket
 *   SENDING  it is part of the batch, and its buffer is the kernel's
 *   SENT     the kernel has taken all of it; the answer ends it
 *
 * One send is under way at a time, since TCP has one order of bytes. It takes as many calls from
 * the queue as make LANE_BATCH_BYTES: heads, payloads from where they lie, padding. A batch is no
 * larger than what the socket's buffer can grow to, so the pipe does not run dry between two; and a
 * small one lets buffers go early, since an answer to a call that is still SENDING must wait: the
 * kernel may still read that buffer, whatever the server says.
 *
 * One receive is always armed, so that the end of the connection is noticed; where to, and what
 * comes of it, is in share_receive. It may be the buffer of a READ, which is the kernel's then.
 *
 * An xid is a count above the index of the call in the table: an answer that comes late, or
 * twice, or to somebody else, finds no call of that very xid, and is ignored as is usual.
 *
 * The end: the server closes, says what is no reply, or does not answer in time; or stop(). Then
 * the socket is shut down, send and receive are cancelled, and when both have called back, so that
 * no buffer is the kernel's any more, all calls end. This is done from callbacks of the ring, never
 * within a call of the user.
 */
#include "nfs/share_lane.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_cred.h"
#include "nfs/share_progress.h"
#include "nfs/share_receive.h"

enum {
    LANE_BATCH_BYTES = 1 << 20,
    LANE_BATCH_PARTS = 96, /* three a call: head, payload, padding */
    LANE_INDEX_BITS = 12,
    LANE_CALLS_MAX = 1 << LANE_INDEX_BITS,
};

#define LANE_TICK_NS (100 * NS_PER_MS)

enum call_state { CALL_FREE, CALL_QUEUED, CALL_SENDING, CALL_SENT };

struct lane_call {
    struct share_await await; /* first: what share_receive knows of it */
    enum call_state state;
    bool answered;  /* while it was SENDING */
    uint32_t index; /* in the table */
    uint32_t xid;
    struct store_io *io;
    struct lane_call *next; /* of the free ones, in the queue, or in the batch */
    size_t head_len;
    uint8_t head[CODEC_CALL_MAX];
};

struct share_lane {
    struct share_carrier base;
    struct ring *ring;
    int fd;
    struct share_progress progress;
    struct codec_cred cred;

    struct lane_call **calls; /* the table: n_calls of room_calls */
    uint32_t n_calls, room_calls;
    struct lane_call *free;
    uint32_t count; /* of calls, for xids */

    struct lane_call *queue_first, *queue_last;
    struct lane_call *batch;
    struct iovec parts[LANE_BATCH_PARTS];
    struct msghdr message; /* what of the batch is to be sent yet */

    struct ring_op send, receive, tick;
    bool stopping;
    int end_res; /* once lost: how I/O ends */
    enum err_class end_fault;
    struct share_receive stream;
};

static void lane_send(struct share_lane *l);

static struct share_lane *lane_of(struct share_carrier *c)
{
    return (struct share_lane *)c;
}

/* ---- calls ---- */

static struct lane_call *call_add(struct share_lane *l)
{
    if (l->n_calls == l->room_calls) {
        uint32_t room = l->room_calls == 0 ? 16 : 2 * l->room_calls;
        struct lane_call **more = NULL;
        if (room <= LANE_CALLS_MAX)
            more = realloc(l->calls, room * sizeof *more);
        if (more == NULL)
            return NULL;
        l->calls = more;
        l->room_calls = room;
    }
    struct lane_call *call = calloc(1, sizeof *call);
    if (call != NULL) {
        call->index = l->n_calls;
        l->calls[l->n_calls++] = call;
    }
    return call;
}

static struct lane_call *call_new(struct share_lane *l, struct store_io *io)
{
    struct lane_call *call = l->free;
    if (call != NULL)
        l->free = call->next;
    else
        call = call_add(l);
    if (call == NULL)
        return NULL;
    call->next = NULL;
    call->answered = false;
    call->io = io;
    call->xid = l->count++ << LANE_INDEX_BITS | call->index;
    return call;
}

/* Frees the call, and then tells its I/O. */
static void call_end(struct share_lane *l, struct lane_call *call, int res, enum err_class fault)
{
    struct store_io *io = call->io;
    call->state = CALL_FREE;
    call->io = NULL;
    call->next = l->free;
    l->free = call;
    l->base.load--;
    io->res = res;
    io->fault = fault;
    io->done(io);
}

static void call_end_answered(struct share_lane *l, struct lane_call *call)
{
    const struct codec_reply *r = &call->await.reply;
    struct store_io *io = call->io;
    share_progress_answered(&l->progress, io);
    switch (r->outcome) {
    case CODEC_DONE:
        io->stable = r->stable;
        memcpy(io->verifier, r->verifier, sizeof io->verifier);
        call_end(l, call, (int)r->count, ERR_NONE);
        break;
    case CODEC_STATUS:
        log_debug("nfs: %s", nfsstat3_to_str((int)r->status));
        call_end(l, call, -share_conn_errno((nfsstat3)r->status), ERR_NFS);
        break;
    case CODEC_AUTH: call_end(l, call, -EACCES, ERR_NFS); break;
    case CODEC_FOREIGN: call_end(l, call, -EPROTO, ERR_PROTO); break;
    }
}

/* ---- the end ---- */

/* Once lost: ends all calls, as soon as no buffer is the kernel's. */
static void lane_settle(struct share_lane *l)
{
    if (ring_busy(&l->send) || ring_busy(&l->receive))
        return;
    l->queue_first = l->queue_last = l->batch = NULL;
    for (uint32_t i = 0; i < l->n_calls; i++)
        if (l->calls[i]->state != CALL_FREE)
            call_end(l, l->calls[i], l->end_res, l->end_fault);
}

static void lane_lose(struct share_lane *l, int res, enum err_class fault, const char *why)
{
    if (l->base.lost)
        return;
    if (l->base.load > 0)
        log_debug("nfs: connection lost with %u requests under way: %s", l->base.load, why);
    l->base.lost = true;
    l->end_res = res;
    l->end_fault = fault;
    shutdown(l->fd, SHUT_RDWR);
    ring_cancel(l->ring, &l->send);
    ring_cancel(l->ring, &l->receive);
    ring_cancel(l->ring, &l->tick);
    lane_settle(l);
}

/* While calls are under way: is the server silent, or has it forgotten one? */
static void lane_ticked(void *arg, int res)
{
    struct share_lane *l = arg;
    (void)res;
    if (l->stopping)
        lane_lose(l, -ECANCELED, ERR_CANCELLED, "stopped");
    int64_t now_ns = clock_now_ns();
    if (!l->base.lost && l->base.load > 0 && share_progress_silent(&l->progress, l->fd, now_ns))
        lane_lose(l, -ETIMEDOUT, ERR_TIMEOUT, "the server is silent");
    for (uint32_t i = 0; i < l->n_calls && !l->base.lost; i++)
        if (l->calls[i]->state != CALL_FREE &&
            share_progress_overtaken(&l->progress, l->calls[i]->io, now_ns))
            lane_lose(l, -ETIMEDOUT, ERR_TIMEOUT, "a request was not answered in time");
    if (!l->base.lost && l->base.load > 0 && !ring_busy(&l->tick))
        ring_after(l->ring, &l->tick, LANE_TICK_NS, lane_ticked, l);
}

/* ---- sending ---- */

static void batch_part(struct share_lane *l, const void *bytes, size_t len)
{
    if (len > 0)
        l->parts[l->message.msg_iovlen++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
}

/* Moves calls from the queue to the batch; one at least. */
static void batch_fill(struct share_lane *l)
{
    static const uint8_t zeros[4];
    size_t bytes = 0;
    struct lane_call **last = &l->batch;
    l->message = (struct msghdr){.msg_iov = l->parts};
    while (l->queue_first != NULL && l->message.msg_iovlen + 3 <= LANE_BATCH_PARTS) {
        struct lane_call *call = l->queue_first;
        uint32_t len = call->await.proc == CODEC_WRITE ? call->io->len_bytes : 0;
        if (bytes > 0 && bytes + len > LANE_BATCH_BYTES)
            break;
        bytes += call->head_len + len;
        l->queue_first = call->next;
        call->next = NULL;
        call->state = CALL_SENDING;
        batch_part(l, call->head, call->head_len);
        batch_part(l, call->io->buf, len);
        batch_part(l, zeros, codec_pad(len));
        *last = call;
        last = &call->next;
    }
    if (l->queue_first == NULL)
        l->queue_last = NULL;
}

/* Whether something of the batch is left after `sent` bytes more. */
static bool batch_advance(struct share_lane *l, size_t sent)
{
    struct msghdr *m = &l->message;
    for (; m->msg_iovlen > 0 && sent >= m->msg_iov->iov_len; m->msg_iov++, m->msg_iovlen--)
        sent -= m->msg_iov->iov_len;
    if (m->msg_iovlen == 0)
        return false;
    m->msg_iov->iov_base = (char *)m->msg_iov->iov_base + sent;
    m->msg_iov->iov_len -= sent;
    return true;
}

/* The kernel has all of it: go on with the next, and then end what was answered meanwhile. */
static void batch_done(struct share_lane *l)
{
    struct lane_call *call = l->batch, *next;
    l->batch = NULL;
    for (struct lane_call *c = call; c != NULL; c = c->next)
        c->state = CALL_SENT;
    lane_send(l);
    for (; call != NULL; call = next) {
        next = call->next;
        if (call->answered)
            call_end_answered(l, call);
    }
}

static void lane_sent(void *arg, int res)
{
    struct share_lane *l = arg;
    if (l->base.lost)
        lane_settle(l);
    else if (res <= 0)
        lane_lose(l, -ECONNRESET, ERR_LOST, res < 0 ? strerror(-res) : "nothing can be sent");
    else if (batch_advance(l, (size_t)res))
        ring_sendv(l->ring, &l->send, l->fd, &l->message, lane_sent, l);
    else
        batch_done(l);
}

static void lane_send(struct share_lane *l)
{
    if (ring_busy(&l->send) || l->queue_first == NULL)
        return;
    batch_fill(l);
    ring_sendv(l->ring, &l->send, l->fd, &l->message, lane_sent, l);
}

/* ---- receiving ---- */

static struct share_await *lane_find(void *arg, uint32_t xid)
{
    const struct share_lane *l = arg;
    uint32_t index = xid % LANE_CALLS_MAX;
    struct lane_call *call = index < l->n_calls ? l->calls[index] : NULL;
    if (call != NULL && call->xid == xid && !call->answered && call->state >= CALL_SENDING)
        return &call->await;
    log_debug("nfs: an answer to no request of ours, xid %#x", xid);
    return NULL;
}

static void lane_answered(void *arg, struct share_await *await)
{
    struct lane_call *call = (struct lane_call *)await;
    if (call->state == CALL_SENDING)
        call->answered = true;
    else
        call_end_answered(arg, call);
}

static const struct share_receive_ops lane_receive_ops = {lane_find, lane_answered};

static void lane_received(void *arg, int res);

static void lane_receive(struct share_lane *l)
{
    uint32_t len;
    void *room = share_receive_room(&l->stream, &len);
    ring_recv(l->ring, &l->receive, l->fd, room, len, lane_received, l);
}

static void lane_lose_nonsense(struct share_lane *l)
{
    const struct share_progress *p = &l->progress;
    log_warn("%s%s%s has sent what is no answer", p->who != NULL ? p->who : "",
             p->who != NULL ? ": " : "", p->what);
    lane_lose(l, -EPROTO, ERR_PROTO, "the server sent what is no reply");
}

static void lane_received(void *arg, int res)
{
    struct share_lane *l = arg;
    if (l->base.lost)
        lane_settle(l);
    else if (res <= 0)
        lane_lose(l, -ECONNRESET, ERR_LOST, res < 0 ? strerror(-res) : "the server closed it");
    else if (share_receive_take(&l->stream, (uint32_t)res) < 0)
        lane_lose_nonsense(l);
    else
        lane_receive(l);
}

/* ---- the carrier ---- */

static void lane_start_failed(void *arg, int res)
{
    struct store_io *io = arg;
    struct share_lane *l = io->lane;
    (void)res;
    l->base.load--;
    io->res = l->base.lost ? l->end_res : -ENOMEM;
    io->fault = l->base.lost ? l->end_fault : ERR_NFS;
    io->done(io);
}

static size_t lane_encode(const struct share_lane *l, struct lane_call *call, struct codec_fh fh)
{
    const struct store_io *io = call->io;
    if (call->await.proc == CODEC_WRITE)
        return codec_write_call(call->head, call->xid, &l->cred, fh, io->offset, io->len_bytes,
                                io->want_stable);
    if (call->await.proc == CODEC_READ)
        return codec_read_call(call->head, call->xid, &l->cred, fh, io->offset, io->len_bytes);
    return codec_commit_call(call->head, call->xid, &l->cred, fh, io->offset, io->len_bytes);
}

static void lane_start(struct share_lane *l, const struct share_fh *fh, struct store_io *io,
                       enum codec_proc proc)
{
    struct lane_call *call = l->base.lost ? NULL : call_new(l, io);
    io->lane = l;
    share_progress_start(&l->progress, io, l->base.load == 0, l->fd);
    l->base.load++;
    if (call == NULL) {
        ring_after(l->ring, &io->op, 0, lane_start_failed, io);
        return;
    }
    call->await = (struct share_await){.proc = proc, .buf = io->buf, .len_bytes = io->len_bytes};
    call->head_len = lane_encode(l, call, (struct codec_fh){.val = fh->val, .len = fh->len});
    call->state = CALL_QUEUED;
    share_receive_expect(&l->stream, &call->await);
    *(l->queue_last != NULL ? &l->queue_last->next : &l->queue_first) = call;
    l->queue_last = call;
    lane_send(l);
    if (!ring_busy(&l->tick))
        ring_after(l->ring, &l->tick, LANE_TICK_NS, lane_ticked, l);
}

static void lane_read(struct share_carrier *c, const struct share_fh *fh, struct store_io *io)
{
    lane_start(lane_of(c), fh, io, CODEC_READ);
}

static void lane_write(struct share_carrier *c, const struct share_fh *fh, struct store_io *io)
{
    lane_start(lane_of(c), fh, io, CODEC_WRITE);
}

static void lane_commit(struct share_carrier *c, const struct share_fh *fh, struct store_io *io)
{
    lane_start(lane_of(c), fh, io, CODEC_COMMIT);
}

static void lane_stop(struct share_carrier *c)
{
    struct share_lane *l = lane_of(c);
    l->stopping = true;
    if (ring_busy(&l->tick))
        ring_cancel(l->ring, &l->tick);
    else
        ring_after(l->ring, &l->tick, 0, lane_ticked, l);
}

/* On an idle connection there is nothing to read, but its end. */
static bool lane_check(struct share_carrier *c)
{
    struct share_lane *l = lane_of(c);
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    assert(l->base.load == 0);
    if (!l->base.lost && poll(&p, 1, 0) != 0)
        lane_lose(l, -ECONNRESET, ERR_LOST, "the server closed it");
    return !l->base.lost;
}

static void lane_free(struct share_lane *l)
{
    for (uint32_t i = 0; i < l->n_calls; i++)
        free(l->calls[i]);
    free(l->calls);
    free(l);
}

static void lane_close(struct share_carrier *c)
{
    struct share_lane *l = lane_of(c);
    assert(l->base.load == 0);
    lane_lose(l, -ECANCELED, ERR_CANCELLED, "closed");
    ring_cancel(l->ring, &l->tick);
    while (ring_busy(&l->send) || ring_busy(&l->receive) || ring_busy(&l->tick))
        if (ring_turn(l->ring, LANE_TICK_NS) < 0)
            return; /* the ring is broken and may still call: leave it the record */
    close(l->fd);
    lane_free(l);
}

static const struct share_carrier_ops lane_ops = {
    .name = "own",
    .read = lane_read,
    .write = lane_write,
    .commit = lane_commit,
    .stop = lane_stop,
    .check = lane_check,
    .close = lane_close,
};

/* ---- opening ---- */

bool share_lane_fits(const struct share_conn *c)
{
    int protocol;
    socklen_t len = sizeof protocol;
    return getsockopt(share_conn_fd(c), SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
           protocol == IPPROTO_TCP;
}

struct share_carrier *share_lane_adopt(struct ring *ring, struct share_conn *c, int64_t timeout_ns,
                                       struct err *e)
{
    struct share_lane *l = calloc(1, sizeof *l);
    if (l != NULL)
        share_conn_name(c, &l->progress);
    CLEANUP_CLOSE int fd = share_conn_detach(c);
    int at_once = 1;
    if (l == NULL || fd < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once) < 0) {
        err_set(e, ERR_NFS, l == NULL ? ENOMEM : errno, "a connection cannot be taken over");
        free(l);
        return NULL;
    }
    /* A server's cache of replies may remember the xids of an earlier run from the same port. */
    if (getrandom(&l->count, sizeof l->count, 0) < 0)
        l->count = (uint32_t)clock_now_ns();
    l->base.ops = &lane_ops;
    l->ring = ring;
    l->fd = TAKE_FD(fd);
    l->progress.timeout_ns = timeout_ns;
    l->cred = share_cred_own();
    share_receive_init(&l->stream, &lane_receive_ops, l);
    lane_receive(l);
    return &l->base;
}
