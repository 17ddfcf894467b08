/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between bench/observe/observer.c, which owns the thread, and the kinds of observers. Not for others.
 */
#ifndef BENCH_OBSERVE_OBSERVE_H
#define BENCH_OBSERVE_OBSERVE_H

#include <sys/socket.h>

#include "bench/observe/silence.h"
#include "core/loop.h"

struct observe_group;

/* Like everything in a group, called by the observer's thread; close() when it has ended. */
struct observe_ops {
    /* Called every few milliseconds, for what the loop does not announce. NULL: nothing is. */
    void (*tick)(struct observe_group *g);
    /* The observation ends: takes in all that has arrived and completes the counters. */
    void (*finish)(struct observe_group *g);
    void (*close)(struct observe_group *g); /* frees g */
};

struct observe_group {
    const struct observe_ops *ops;
    const int64_t *tick_due_ns; /* when the thread should run again at the latest */
    struct silence silence;
    struct observer_result result; /* kind, what, sent, lost …; the rest is silence_finish()'s */
};

struct observe_context {
    struct loop *loop;
    const _Atomic int64_t *mark_ns;
    const int64_t *tick_due_ns;
    struct observer_beats *beats; /* NULL: nobody wants them */
};

static inline void observe_group_init(struct observe_group *g, const struct observe_ops *ops,
                                      enum observer_kind kind, const struct observe_context *c)
{
    *g = (struct observe_group){.ops = ops,
                                .tick_due_ns = c->tick_due_ns,
                                .result = {.kind = kind, .clock_step_ns = OBSERVER_NO_CLOCK}};
    silence_init(&g->silence, c->mark_ns);
}

/* A sign of life of `at_ns` that is taken in at `now_ns`. If the thread should have run long
 * before, its own tick is behind too, and the silence that ends here gets to know. */
static inline void observe_group_sign(struct observe_group *g, int64_t at_ns, int64_t now_ns,
                                      int spec)
{
    silence_late(&g->silence, now_ns - *g->tick_due_ns);
    silence_add(&g->silence, at_ns, spec);
}

/* When the kernel took a packet in, on CLOCK_MONOTONIC, by its SCM_TIMESTAMPNS; `now_ns` where it does not say so,
 * or what it says is not within `from_ns` … `now_ns`: then the clock was set. */
int64_t observe_arrival_ns(struct msghdr *msg, int64_t from_ns, int64_t now_ns);

/* "IFNAME[@MAC]". ERR_USAGE: it is not; ERR_REFUSED: no such interface, or it is not allowed. */
int observe_announce_check(const char *text, struct err *e);
struct observe_group *observe_announce_open(const char *text, const struct observe_context *c,
                                            struct err *e);
/* Whether the frame announces, and then *a but for its time. Pure. */
bool observe_announce_know(const uint8_t *frame, size_t n, struct observer_announce *a);

/* Sends to `address` every `interval_ns`. */
struct observe_group *observe_ping_open(const char *address, int64_t interval_ns, int spec,
                                        const struct observe_context *c, struct err *e);

/* `n` paths; specs[i] is the index of the spec of paths[i]. */
struct observe_group *observe_serial_open(const char *const *paths, const int *specs, size_t n,
                                          const struct observe_context *c, struct err *e);

#endif
