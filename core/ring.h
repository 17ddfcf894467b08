/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring: bulk I/O of one worker, completed by callbacks.
 *
 * A ring belongs to the thread that made it. An operation's record, struct ring_op, is the
 * caller's and is usually embedded in something larger; the ring allocates nothing per operation,
 * so starting one cannot fail. From the start until its callback the record, the buffer and the
 * descriptor must stay as they are.
 *
 * Every callback runs exactly once: from ring_turn() or ring_free(), never from the call that
 * started the operation. By then the record is free again, and the callback may start it anew.
 * `res` is what the system call would give (bytes, poll events, 0) or -errno; -ECANCELED after
 * ring_cancel() or ring_free(). Short transfers are passed on as they are.
 *
 * Behind it stands io_uring or, where the kernel forbids that, pread/pwrite and poll(2).
 */
#ifndef CORE_RING_H
#define CORE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/err.h"

enum ring_backend {
    RING_AUTO,     /* io_uring, else system calls */
    RING_URING,    /* io_uring, else an error */
    RING_SYSCALLS, /* pread, pwrite, fdatasync, which block the turn; and poll(2) */
};

struct ring;
struct ring_op;

typedef void ring_fn(void *arg, int res);

/* One operation. All fields are the ring's; zeroed before the first use. */
struct ring_op {
    ring_fn *fn;
    void *arg;
    struct ring_op *next, *prev; /* in the one list that `state` names */
    void *buf;
    uint64_t offset;
    int64_t due_ns;
    uint32_t len;
    int fd;
    int res;
    short events;
    int16_t arena; /* that its buffer is in; -1: none */
    uint8_t kind;
    uint8_t state;
    bool cancel;
    bool durable; /* of a write */
};

struct ring *ring_new(enum ring_backend want, struct err *e);

/* Cancels and waits for everything that is under way, running the callbacks. NULL is fine. */
void ring_free(struct ring *r);

/* RING_URING or RING_SYSCALLS. */
enum ring_backend ring_backend(const struct ring *r);

void ring_read(struct ring *r, struct ring_op *op, int fd, void *buf, uint32_t len, uint64_t offset,
               ring_fn *fn, void *arg);
void ring_write(struct ring *r, struct ring_op *op, int fd, const void *buf, uint32_t len,
                uint64_t offset, ring_fn *fn, void *arg);
/* A write that is durable (RWF_DSYNC) when it calls back. */
void ring_write_durable(struct ring *r, struct ring_op *op, int fd, const void *buf, uint32_t len,
                        uint64_t offset, ring_fn *fn, void *arg);
/* fdatasync(2). */
void ring_fsync(struct ring *r, struct ring_op *op, int fd, ring_fn *fn, void *arg);
/*
 * sendmsg(2) and recv(2) on a stream socket without O_NONBLOCK. A send goes on until all of *msg is
 * the kernel's; but where it could not (an older kernel, RING_SYSCALLS, a cancel) a part of it is
 * the result. Nothing raises SIGPIPE. *msg, its vector and what that points to must stay, too.
 */
void ring_sendv(struct ring *r, struct ring_op *op, int fd, const struct msghdr *msg, ring_fn *fn,
                void *arg);
void ring_recv(struct ring *r, struct ring_op *op, int fd, void *buf, uint32_t len, ring_fn *fn,
               void *arg);
/* One-shot poll(2) for `events`, for a socket that a library owns; res is the events that came. */
void ring_poll(struct ring *r, struct ring_op *op, int fd, short events, ring_fn *fn, void *arg);
/* Calls back in a later turn, `after_ns` from now at the earliest; with 0 in the next turn. */
void ring_after(struct ring *r, struct ring_op *op, int64_t after_ns, ring_fn *fn, void *arg);

/*
 * Asks for an early end. The callback still comes, once, from a later turn: with -ECANCELED, or
 * with its result when that was faster. An operation that is not under way is left alone.
 */
void ring_cancel(struct ring *r, struct ring_op *op);

/* Whether the operation was started and its callback has not run yet. */
bool ring_busy(const struct ring_op *op);

/*
 * Makes reads and writes cheaper: buffers that lie in the arena, all of them, are pinned once
 * instead of for each operation. That happens by itself from here on. What cannot be registered,
 * because the kernel, a limit or the room for it (16 arenas) says no, works as before.
 *
 * The kernel keeps the pages until they are taken back: that must be done before the memory is
 * unmapped, for the same address may come again and mean something else. No operation on it may be
 * under way then.
 */
void ring_arena_add(struct ring *r, void *base, size_t len_bytes);
void ring_arena_remove(struct ring *r, void *base);

/*
 * Submits what was started, waits until something completes, at most `timeout_ns` (0: do not
 * wait), and runs the callbacks of all that has. 0, also when a signal came; or -errno, when the
 * ring itself is broken.
 */
int ring_turn(struct ring *r, int64_t timeout_ns);

#endif
