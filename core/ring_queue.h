/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's own: what an operation is, which state it is in, and the lists that go with it. */
#ifndef CORE_RING_QUEUE_H
#define CORE_RING_QUEUE_H

#include "core/ring.h"

enum ring_kind {
    KIND_READ,
    KIND_WRITE,
    KIND_FSYNC,
    KIND_SENDV,
    KIND_RECV,
    KIND_POLL,
    KIND_AFTER,
};

enum ring_state { STATE_IDLE, STATE_TODO, STATE_FLIGHT, STATE_TIMER, STATE_DONE, STATE_COUNT };

struct ring_list {
    struct ring_op *first, *last;
};

struct ring_queue {
    struct ring_list lists[STATE_COUNT]; /* [STATE_IDLE] stays empty */
};

/* Out of the list that it is in; it is IDLE then. */
void ring_queue_unlink(struct ring_queue *q, struct ring_op *op);
/* To the end of another list. */
void ring_queue_move(struct ring_queue *q, struct ring_op *op, enum ring_state to);
/* To DONE, with its result. */
void ring_queue_finish(struct ring_queue *q, struct ring_op *op, int res);

#endif
