/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ring_queue.h"

void ring_queue_unlink(struct ring_queue *q, struct ring_op *op)
{
    struct ring_list *l = &q->lists[op->state];
    *(op->prev != NULL ? &op->prev->next : &l->first) = op->next;
    *(op->next != NULL ? &op->next->prev : &l->last) = op->prev;
    op->next = op->prev = NULL;
    op->state = STATE_IDLE;
}

void ring_queue_move(struct ring_queue *q, struct ring_op *op, enum ring_state to)
{
    if (op->state != STATE_IDLE)
        ring_queue_unlink(q, op);
    struct ring_list *l = &q->lists[to];
    op->prev = l->last;
    *(l->last != NULL ? &l->last->next : &l->first) = op;
    l->last = op;
    op->state = (uint8_t)to;
}

void ring_queue_finish(struct ring_queue *q, struct ring_op *op, int res)
{
    op->res = res;
    ring_queue_move(q, op, STATE_DONE);
}
