/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one per thread, passed explicitly.
 *
 * Callbacks run only from loop_turn() and its callers, never from the call that registers them, and
 * never after the matching _del() has returned. A callback may add and delete anything, itself
 * included, but must not turn the loop. Watches and timers belong to the loop; the descriptors stay
 * the caller's.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct loop;
struct loop_fd;
struct loop_timer;

typedef void loop_fd_fn(void *arg, uint32_t epoll_events);
typedef void loop_timer_fn(void *arg);

struct loop *loop_new(struct err *e);
/* Everything must have been deleted first: asserted. NULL is fine. */
void loop_free(struct loop *l);

/* Watches `fd` for EPOLLIN / EPOLLOUT (level-triggered; EPOLLHUP and EPOLLERR always come). */
struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t epoll_events, loop_fd_fn *fn,
                            void *arg, struct err *e);
void loop_fd_set(struct loop_fd *w, uint32_t epoll_events);
void loop_fd_del(struct loop_fd *w); /* NULL is fine */

/* Calls `fn` once, `after_ns` from now. */
struct loop_timer *loop_timer_add(struct loop *l, int64_t after_ns, loop_timer_fn *fn, void *arg,
                                  struct err *e);
void loop_timer_del(struct loop_timer *t); /* NULL is fine; a fired one must be deleted too */

/*
 * SIGINT and SIGTERM become a flag, for as long as the loop lives: from then on loop_interrupts()
 * counts them and loop_spin() returns early. The signals are blocked in the calling thread, so this
 * is called before other threads are made.
 */
int loop_catch_signals(struct loop *l, struct err *e);
int loop_interrupts(const struct loop *l);

/* Waits until something happens, at most `timeout_ns` (< 0: no limit), and runs its callbacks. */
void loop_turn(struct loop *l, int64_t timeout_ns);

/* Turns for this long: events are served, and do not cut it short. */
void loop_sleep(struct loop *l, int64_t ns);

/*
 * Turns until *done or the deadline (CLOCK_MONOTONIC; < 0: none).
 * ERR_TIMEOUT at the deadline; ERR_CANCELLED when an interrupt has come (also before the call) and
 * the caller is `interruptible`: rolling back is not.
 */
int loop_spin(struct loop *l, const bool *done, int64_t deadline_ns, bool interruptible,
              struct err *e);

#endif
