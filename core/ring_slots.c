/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ring_slots.h"

int ring_slots_free_arena(const struct ring_slots *s)
{
    for (unsigned i = 0; i < s->room; i++)
        if (!s->arenas[i].registered)
            return (int)i;
    return -1;
}

int ring_slots_find_arena(const struct ring_slots *s, const void *base)
{
    for (unsigned i = 0; i < s->room; i++)
        if (s->arenas[i].registered && s->arenas[i].start == (uintptr_t)base)
            return (int)i;
    return -1;
}

/* The arena that all of an operation's buffer lies in. */
static int16_t slots_arena_of(const struct ring_slots *s, const struct ring_op *op)
{
    uintptr_t at = (uintptr_t)op->buf;
    for (unsigned i = 0; i < s->room; i++) {
        const struct ring_arena *a = &s->arenas[i];
        if (a->registered && at >= a->start && op->len <= a->len_bytes &&
            at - a->start <= a->len_bytes - op->len)
            return (int16_t)i;
    }
    return -1;
}

void ring_slots_take(struct ring_slots *s, struct ring_op *op)
{
    bool has_buffer = op->kind == KIND_READ || op->kind == KIND_WRITE;
    op->arena = has_buffer ? slots_arena_of(s, op) : -1;
    if (op->arena >= 0)
        s->arenas[op->arena].under_way++;
}

void ring_slots_give(struct ring_slots *s, const struct ring_op *op)
{
    if (op->arena >= 0)
        s->arenas[op->arena].under_way--;
}
