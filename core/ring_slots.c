/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ring_slots.h"

int ring_slots_free_arena(const struct ring_slots *s)
{
    for (unsigned i = 0; i < s->arenas_room; i++)
        if (!s->arenas[i].slot.registered)
            return (int)i;
    return -1;
}

int ring_slots_find_arena(const struct ring_slots *s, const void *base)
{
    for (unsigned i = 0; i < s->arenas_room; i++)
        if (s->arenas[i].slot.registered && s->arenas[i].start == (uintptr_t)base)
            return (int)i;
    return -1;
}

struct ring_slot *ring_slots_file(struct ring_slots *s, int fd)
{
    return fd >= 0 && (unsigned)fd < s->files_room ? &s->files[fd] : NULL;
}

/* The arena that all of an operation's buffer lies in. */
static int16_t slots_arena_of(const struct ring_slots *s, const struct ring_op *op)
{
    uintptr_t at = (uintptr_t)op->buf;
    for (unsigned i = 0; i < s->arenas_room; i++) {
        const struct ring_arena *a = &s->arenas[i];
        if (a->slot.registered && at >= a->start && op->len <= a->len_bytes &&
            at - a->start <= a->len_bytes - op->len)
            return (int16_t)i;
    }
    return -1;
}

void ring_slots_take(struct ring_slots *s, struct ring_op *op)
{
    struct ring_slot *file = op->kind != KIND_AFTER ? ring_slots_file(s, op->fd) : NULL;
    op->slot = file != NULL && file->registered ? (int16_t)op->fd : -1;
    if (op->slot >= 0)
        file->under_way++;
    bool has_buffer = op->kind == KIND_READ || op->kind == KIND_WRITE;
    op->arena = has_buffer ? slots_arena_of(s, op) : -1;
    if (op->arena >= 0)
        s->arenas[op->arena].slot.under_way++;
}

void ring_slots_give(struct ring_slots *s, const struct ring_op *op)
{
    if (op->slot >= 0)
        s->files[op->slot].under_way--;
    if (op->arena >= 0)
        s->arenas[op->arena].slot.under_way--;
}
