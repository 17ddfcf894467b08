/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/extents.h"

#include <errno.h>
#include <stdlib.h>

static int extents_grow(struct extents *map, size_t *room, struct err *e)
{
    if (map->n < *room)
        return 0;
    size_t more = *room > 0 ? *room * 2 : 64;
    struct store_extent *at = realloc(map->at, more * sizeof *at);
    if (at == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu extents", more);
    map->at = at;
    *room = more;
    return 0;
}

/* Widens to the file's alignment; what then touches the extent before is joined to it. */
static int extents_append(struct extents *map, size_t *room, struct store_extent x, uint64_t align,
                          struct err *e)
{
    uint64_t start = x.offset & ~(align - 1);
    uint64_t end = (x.offset + x.len_bytes + align - 1) & ~(align - 1);
    if (end > map->size_bytes)
        end = map->size_bytes;
    if (map->n > 0) {
        struct store_extent *last = &map->at[map->n - 1];
        if (start <= last->offset + last->len_bytes) {
            last->len_bytes = end - last->offset;
            return 0;
        }
    }
    if (extents_grow(map, room, e) < 0)
        return -1;
    map->at[map->n++] = (struct store_extent){start, end - start};
    return 0;
}

int extents_scan(struct extents *map, struct store_file *f, struct err *e)
{
    size_t room = 0;
    map->size_bytes = f->attr.size_bytes;
    uint64_t offset = 0;
    struct store_extent x;
    int more;
    while ((more = f->place->ops->extent(f, offset, &x, e)) > 0) {
        if (extents_append(map, &room, x, f->align_bytes, e) < 0)
            return -1;
        offset = x.offset + x.len_bytes;
    }
    for (size_t i = 0; i < map->n; i++)
        map->data_bytes += map->at[i].len_bytes;
    return more;
}

void extents_free(struct extents *map)
{
    free(map->at);
    *map = (struct extents){0};
}

struct extents_cursor extents_at(const struct extents *map, uint64_t offset)
{
    size_t low = 0, high = map->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (map->at[mid].offset + map->at[mid].len_bytes <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return (struct extents_cursor){.index = low, .offset = offset};
}

uint64_t extents_bytes(const struct extents *map, uint64_t start, uint64_t end)
{
    uint64_t bytes = 0;
    for (size_t i = extents_at(map, start).index; i < map->n && map->at[i].offset < end; i++) {
        const struct store_extent *x = &map->at[i];
        uint64_t from = x->offset > start ? x->offset : start;
        uint64_t to = x->offset + x->len_bytes < end ? x->offset + x->len_bytes : end;
        bytes += to - from;
    }
    return bytes;
}

uint64_t extents_seek(const struct extents *map, struct extents_cursor *c)
{
    for (; c->index < map->n; c->index++) {
        const struct store_extent *x = &map->at[c->index];
        if (c->offset < x->offset)
            c->offset = x->offset;
        if (c->offset < x->offset + x->len_bytes)
            return c->offset;
    }
    return UINT64_MAX;
}

uint32_t extents_cut(const struct extents *map, struct extents_cursor *c, uint32_t block_bytes,
                     uint64_t end, uint64_t *offset)
{
    uint64_t at = extents_seek(map, c);
    if (at >= end)
        return 0;
    const struct store_extent *x = &map->at[c->index];
    uint64_t stop = x->offset + x->len_bytes;
    if (stop > end)
        stop = end;
    uint64_t len = block_bytes - at % block_bytes;
    if (len > stop - at)
        len = stop - at;
    *offset = at;
    c->offset = at + len;
    return (uint32_t)len;
}
