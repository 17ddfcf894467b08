/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An operation is in one of these states, and while it is not IDLE it is linked in the list of that
 * name:
 *
 *   IDLE    the caller's
 *   TODO    started; the kernel has not heard of it
 *   FLIGHT  the kernel (or, with system calls: poll(2)) has it
 *   TIMER   waits for due_ns; the kernel never hears of it
 *   DONE    has its result, and waits for its callback
 *
 * A turn moves TODO to FLIGHT as far as the submission queue has room, waits, moves completions
 * and due timers to DONE, and then runs the callbacks of those that were in DONE at that moment:
 * what a callback starts is for the next turn, so that a turn always ends.
 *
 * The io_uring half, here, maps the states onto one ring. A cancel is a request of its own, without
 * a callback (its user data is CANCEL_TAG). The other half is core/ring_calls.c.
 *
 * Registered arenas sit in a table of the kernel's, which starts out empty. Which slot of it an
 * operation uses is decided when it is started, and counted there until its callback: a slot must
 * not change under an operation that has not been submitted yet. The counts are kept with system
 * calls, too, where they serve no purpose but to find our own bugs on every machine. Where the
 * kernel refuses the table or an entry (before 5.19; RLIMIT_MEMLOCK) operations just go the ordinary
 * way.
 *
 * liburing 2.3 (Debian 12) to 2.9 (Debian 13): what is used here is in both; setup flags that a
 * kernel does not know are left out step by step.
 */
#include "core/ring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/ring_calls.h"
#include "core/ring_slots.h"

enum { RING_ENTRIES = 256 };

/* User data of a cancel request: no operation lives at that address. */
#define CANCEL_TAG ((void *)1)

struct ring {
    enum ring_backend backend;
    struct ring_queue queue;
    unsigned cancels; /* cancel requests that the kernel has not answered */
    struct io_uring uring;
    struct ring_slots slots; /* its room is that of the kernel's table; 0: there is none */
};

/* ---- io_uring ---- */

/* The newest flags first: they spare interrupts of a worker that is at work. */
static int uring_setup(struct io_uring *u)
{
    static const unsigned flags[] = {
        IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, /* 6.1 */
        IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN,                               /* 5.19 */
        IORING_SETUP_CLAMP,                                                           /* 5.6 */
    };
    int rc = -ENOSYS;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        rc = io_uring_queue_init(RING_ENTRIES, u, flags[i]);
        if (rc != -EINVAL)
            break;
    }
    return rc;
}

/* Where the kernel has no table of buffers there is no room for any. */
static void uring_table(struct ring *r)
{
    int rc = io_uring_register_buffers_sparse(&r->uring, RING_ARENAS);
    r->slots.room = rc >= 0 ? RING_ARENAS : 0;
    if (rc < 0)
        log_debug("io_uring registers no buffers: %s", strerror(-rc));
}

static int uring_set_arena(struct ring *r, unsigned slot, void *base, size_t len_bytes)
{
    struct iovec part = {.iov_base = base, .iov_len = len_bytes};
    return io_uring_register_buffers_update_tag(&r->uring, slot, &part, NULL, 1);
}

static int uring_open(struct ring *r)
{
    int rc = uring_setup(&r->uring);
    if (rc < 0)
        return rc;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&r->uring);
    bool usable = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_READ) &&
                  io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
                  io_uring_opcode_supported(probe, IORING_OP_SENDMSG) &&
                  io_uring_opcode_supported(probe, IORING_OP_RECV) &&
                  io_uring_opcode_supported(probe, IORING_OP_ASYNC_CANCEL);
    io_uring_free_probe(probe);
    if (!usable) {
        io_uring_queue_exit(&r->uring);
        return -EOPNOTSUPP;
    }
    uring_table(r);
    return 0;
}

static void uring_prepare(struct io_uring_sqe *sqe, struct ring_op *op)
{
    switch ((enum ring_kind)op->kind) {
    case KIND_READ:
        if (op->arena >= 0)
            io_uring_prep_read_fixed(sqe, op->fd, op->buf, op->len, op->offset, op->arena);
        else
            io_uring_prep_read(sqe, op->fd, op->buf, op->len, op->offset);
        break;
    case KIND_WRITE:
        if (op->arena >= 0)
            io_uring_prep_write_fixed(sqe, op->fd, op->buf, op->len, op->offset, op->arena);
        else
            io_uring_prep_write(sqe, op->fd, op->buf, op->len, op->offset);
        sqe->rw_flags = op->durable ? RWF_DSYNC : 0;
        break;
    case KIND_FSYNC: io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC); break;
    case KIND_SENDV: io_uring_prep_sendmsg(sqe, op->fd, op->buf, MSG_WAITALL | MSG_NOSIGNAL); break;
    case KIND_RECV: io_uring_prep_recv(sqe, op->fd, op->buf, op->len, 0); break;
    case KIND_POLL: io_uring_prep_poll_add(sqe, op->fd, (unsigned)op->events); break;
    case KIND_AFTER: assert(0 && "a timer is not the kernel's");
    }
    io_uring_sqe_set_data(sqe, op);
}

/* An entry of the submission queue; makes room by submitting. NULL: full, try in a later turn. */
static struct io_uring_sqe *uring_entry(struct ring *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
    if (sqe == NULL && io_uring_submit(&r->uring) > 0)
        sqe = io_uring_get_sqe(&r->uring);
    return sqe;
}

static void uring_feed(struct ring *r)
{
    struct ring_op *op;
    /* A cancel must follow what it cancels, and needs an entry, too. */
    for (op = r->queue.lists[STATE_FLIGHT].first; op != NULL; op = op->next) {
        struct io_uring_sqe *sqe = op->cancel ? uring_entry(r) : NULL;
        if (sqe == NULL)
            continue;
        io_uring_prep_cancel(sqe, op, 0);
        io_uring_sqe_set_data(sqe, CANCEL_TAG);
        op->cancel = false;
        r->cancels++;
    }
    while ((op = r->queue.lists[STATE_TODO].first) != NULL) {
        struct io_uring_sqe *sqe = uring_entry(r);
        if (sqe == NULL)
            return;
        uring_prepare(sqe, op);
        ring_queue_move(&r->queue, op, STATE_FLIGHT);
    }
}

static void uring_reap(struct ring *r)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&r->uring, head, cqe)
    {
        void *data = io_uring_cqe_get_data(cqe);
        if (data == CANCEL_TAG)
            r->cancels--;
        else
            ring_queue_finish(&r->queue, data, cqe->res);
        seen++;
    }
    io_uring_cq_advance(&r->uring, seen);
}

static int uring_wait(struct ring *r, int64_t timeout_ns)
{
    uring_feed(r);
    struct __kernel_timespec ts = {.tv_sec = timeout_ns / NS_PER_S,
                                   .tv_nsec = timeout_ns % NS_PER_S};
    struct io_uring_cqe *cqe;
    int rc;
    if (timeout_ns > 0)
        rc = io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, &ts, NULL);
    else
        rc = io_uring_submit_and_get_events(&r->uring);
    uring_reap(r);
    /* -ETIME is our timeout, -EAGAIN and -EBUSY want us to reap first: the next turn goes on. */
    if (rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
        return 0;
    return rc < 0 ? rc : 0;
}

/* ---- both ---- */

struct ring *ring_new(enum ring_backend want, struct err *e)
{
    struct ring *r = calloc(1, sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate a ring");
        return NULL;
    }
    r->backend = RING_SYSCALLS;
    r->slots.room = RING_ARENAS;
    if (want == RING_SYSCALLS)
        return r;

    int rc = uring_open(r);
    if (rc == 0) {
        r->backend = RING_URING;
    } else if (want == RING_AUTO) {
        log_debug("io_uring is not to be had (%s): using pread, pwrite and poll", strerror(-rc));
    } else {
        err_set(e, ERR_IO, -rc, "cannot set up io_uring");
        free(r);
        return NULL;
    }
    return r;
}

enum ring_backend ring_backend(const struct ring *r)
{
    return r->backend;
}

/* ---- registered arenas ---- */

void ring_arena_add(struct ring *r, void *base, size_t len_bytes)
{
    int at = ring_slots_free_arena(&r->slots);
    if (at < 0)
        return;
    int rc = r->backend == RING_URING ? uring_set_arena(r, (unsigned)at, base, len_bytes) : 0;
    if (rc < 0) {
        log_debug("%zu bytes of buffers are not registered: %s", len_bytes, strerror(-rc));
        return;
    }
    r->slots.arenas[at] =
        (struct ring_arena){.registered = true, .start = (uintptr_t)base, .len_bytes = len_bytes};
}

void ring_arena_remove(struct ring *r, void *base)
{
    int at = ring_slots_find_arena(&r->slots, base);
    if (at < 0)
        return;
    assert(r->slots.arenas[at].under_way == 0);
    r->slots.arenas[at].registered = false;
    if (r->backend == RING_URING)
        uring_set_arena(r, (unsigned)at, NULL, 0);
}

/* ---- operations ---- */

static void ring_start(struct ring *r, struct ring_op *op, enum ring_kind kind, ring_fn *fn,
                       void *arg)
{
    assert(op->state == STATE_IDLE);
    op->kind = (uint8_t)kind;
    op->fn = fn;
    op->arg = arg;
    op->cancel = false;
    ring_slots_take(&r->slots, op);
    ring_queue_move(&r->queue, op, kind == KIND_AFTER ? STATE_TIMER : STATE_TODO);
}

void ring_read(struct ring *r, struct ring_op *op, int fd, void *buf, uint32_t len, uint64_t offset,
               ring_fn *fn, void *arg)
{
    op->fd = fd;
    op->buf = buf;
    op->len = len;
    op->offset = offset;
    ring_start(r, op, KIND_READ, fn, arg);
}

void ring_write(struct ring *r, struct ring_op *op, int fd, const void *buf, uint32_t len,
                uint64_t offset, ring_fn *fn, void *arg)
{
    op->fd = fd;
    op->buf = (void *)(uintptr_t)buf; /* only read through KIND_WRITE */
    op->len = len;
    op->offset = offset;
    op->durable = false;
    ring_start(r, op, KIND_WRITE, fn, arg);
}

void ring_write_durable(struct ring *r, struct ring_op *op, int fd, const void *buf, uint32_t len,
                        uint64_t offset, ring_fn *fn, void *arg)
{
    ring_write(r, op, fd, buf, len, offset, fn, arg);
    op->durable = true; /* the kernel hears of it in the next turn at the earliest */
}

void ring_fsync(struct ring *r, struct ring_op *op, int fd, ring_fn *fn, void *arg)
{
    op->fd = fd;
    ring_start(r, op, KIND_FSYNC, fn, arg);
}

void ring_sendv(struct ring *r, struct ring_op *op, int fd, const struct msghdr *msg, ring_fn *fn,
                void *arg)
{
    op->fd = fd;
    op->buf = (void *)(uintptr_t)msg; /* only read through KIND_SENDV */
    op->events = POLLOUT;
    ring_start(r, op, KIND_SENDV, fn, arg);
}

void ring_recv(struct ring *r, struct ring_op *op, int fd, void *buf, uint32_t len, ring_fn *fn,
               void *arg)
{
    op->fd = fd;
    op->buf = buf;
    op->len = len;
    op->events = POLLIN;
    ring_start(r, op, KIND_RECV, fn, arg);
}

void ring_poll(struct ring *r, struct ring_op *op, int fd, short events, ring_fn *fn, void *arg)
{
    op->fd = fd;
    op->events = events;
    ring_start(r, op, KIND_POLL, fn, arg);
}

void ring_after(struct ring *r, struct ring_op *op, int64_t after_ns, ring_fn *fn, void *arg)
{
    op->due_ns = after_ns <= 0 ? 0 : clock_now_ns() + after_ns;
    ring_start(r, op, KIND_AFTER, fn, arg);
}

void ring_cancel(struct ring *r, struct ring_op *op)
{
    if (op->state == STATE_FLIGHT)
        op->cancel = true; /* the next turn tells the kernel */
    else if (op->state == STATE_TODO || op->state == STATE_TIMER)
        ring_queue_finish(&r->queue, op, -ECANCELED);
}

bool ring_busy(const struct ring_op *op)
{
    return op->state != STATE_IDLE;
}

/* Moves timers that are due, and cuts *timeout_ns to the next one. */
static void ring_timers(struct ring *r, int64_t *timeout_ns)
{
    if (r->queue.lists[STATE_TIMER].first == NULL)
        return;
    int64_t now_ns = clock_now_ns();
    struct ring_op *op, *next;
    for (op = r->queue.lists[STATE_TIMER].first; op != NULL; op = next) {
        next = op->next;
        if (op->due_ns <= now_ns)
            ring_queue_finish(&r->queue, op, 0);
        else if (op->due_ns - now_ns < *timeout_ns)
            *timeout_ns = op->due_ns - now_ns;
    }
}

/* Only those that are DONE now: a callback may add to the list. */
static void ring_callbacks(struct ring *r)
{
    struct ring_op *last = r->queue.lists[STATE_DONE].last;
    while (last != NULL) {
        struct ring_op *op = r->queue.lists[STATE_DONE].first;
        bool end = op == last;
        ring_queue_unlink(&r->queue, op);
        ring_slots_give(&r->slots, op);
        op->fn(op->arg, op->res);
        if (end)
            return;
    }
}

int ring_turn(struct ring *r, int64_t timeout_ns)
{
    ring_timers(r, &timeout_ns);
    if (r->queue.lists[STATE_DONE].first != NULL)
        timeout_ns = 0;
    int rc = 0;
    if (r->backend == RING_URING)
        rc = uring_wait(r, timeout_ns);
    else
        ring_calls_wait(&r->queue, timeout_ns);
    int64_t unused = 0;
    ring_timers(r, &unused);
    ring_callbacks(r);
    return rc;
}

static bool ring_idle(const struct ring *r)
{
    return r->queue.lists[STATE_TODO].first == NULL && r->queue.lists[STATE_FLIGHT].first == NULL &&
           r->queue.lists[STATE_TIMER].first == NULL && r->queue.lists[STATE_DONE].first == NULL;
}

void ring_free(struct ring *r)
{
    if (r == NULL)
        return;
    while (!ring_idle(r) || r->cancels > 0) {
        for (int s = STATE_TODO; s <= STATE_TIMER; s++) {
            struct ring_op *op, *next;
            for (op = r->queue.lists[s].first; op != NULL; op = next) {
                next = op->next;
                ring_cancel(r, op);
            }
        }
        /* A file read cannot be called back: wait for it, the kernel still uses its buffer. */
        if (ring_turn(r, 100 * NS_PER_MS) < 0)
            break;
    }
    if (r->backend == RING_URING)
        io_uring_queue_exit(&r->uring);
    free(r);
}
