/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The way of an image: transfer_open() is a table of steps, then chunks go through the pipelines of
 * the workers in any order, phase by phase, and transfer_finish() is a table of steps again. In
 * it "publish" is the point of no return: once the image stands under its final name it stays.
 *
 * What survives the death of this process is decided by the order of things at the destination:
 *
 *   1. the part is created, empty, under its own name
 *   2. the journal is created, and its header, with the file id of the part, is made durable
 *   3. data is written and committed; then the record of its chunk is written, durably
 *   4. the part gets its final name
 *   5. the journal is removed
 *
 * So a part without a journal has nothing to be continued, and is made anew. A journal whose part
 * is gone, while a file with the same file id stands under the final name, means that only 5 was
 * missed. A record is never ahead of its data.
 *
 * An image of one chunk has no journal: there is nothing between nothing and all of it.
 */
#include "core/transfer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/part_name.h"
#include "core/resume.h"
#include "core/step.h"

#define WHOLE_SIZE_MAX_BYTES (UINT64_C(16) << 30)
#define WHOLE_HOLES_MAX_BYTES (UINT64_C(4) << 30)

struct transfer *transfer_new(const struct relocate_options *options,
                              const struct relocate_source *source, const struct store_attr *attr,
                              struct err *e)
{
    struct transfer *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->options = options;
        t->attr = *attr;
        t->image.from = source->from;
        t->image.name = strdup(source->name);
        t->image.as = strdup(source->as);
        t->image.bytes = attr->size_bytes;
        t->part = part_name_new(source->as, PART_NAME_DATA);
        t->journal = part_name_new(source->as, PART_NAME_JOURNAL);
    }
    if (t == NULL || t->image.name == NULL || t->image.as == NULL || t->part == NULL ||
        t->journal == NULL) {
        err_set(e, ERR_IO, ENOMEM, "%s%s", source->from->url, source->name);
        transfer_free(t);
        return NULL;
    }
    return t;
}

/* Of one that has ended, only what it tells is kept. */
static void transfer_shrink(struct transfer *t)
{
    extents_free(&t->map);
    extents_free(&t->back);
    free(t->chunks);
    t->chunks = NULL;
    checksum_free(t->whole);
    t->whole = NULL;
}

void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    transfer_shrink(t);
    free((char *)(uintptr_t)t->image.name);
    free((char *)(uintptr_t)t->image.as);
    free(t->part);
    free(t->journal);
    free(t);
}

/* Before its holes were looked for. A device has no blocks that would tell; a file that has none is
 * one hole. */
static uint64_t transfer_guess_data(const struct store_attr *attr)
{
    if (attr->type == STORE_BLOCK_DEVICE || attr->used_bytes > attr->size_bytes)
        return attr->size_bytes;
    return attr->used_bytes;
}

uint64_t transfer_work_bytes(const struct transfer *t)
{
    bool open = t->chunks != NULL || t->state == TRANSFER_ENDED;
    uint64_t data = open ? t->image.data_bytes : transfer_guess_data(&t->attr);
    uint64_t bytes = 0;
    if ((t->phases & TRANSFER_COPY) != 0)
        bytes += data - (t->whole == NULL ? t->image.resumed_bytes : 0);
    if ((t->phases & TRANSFER_DIGEST) != 0)
        bytes += data;
    if ((t->phases & TRANSFER_VERIFY) != 0)
        bytes += t->back.size_bytes > 0 ? t->back.data_bytes : data;
    return bytes;
}

/* ---- opening ---- */

struct opening {
    struct transfer *t;
    struct transfer_hands *h;
};

void transfer_let_go(struct transfer_hands *h)
{
    struct store_file *files[] = {h->src, h->dst, h->log};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] != NULL)
            files[i]->place->ops->file_close(files[i]);
    h->src = h->dst = h->log = NULL;
    h->phase = 0;
}

struct store_file *transfer_file(struct store_place *p, const char *name, enum store_how how,
                                 struct err *e)
{
    return p->ops->open(p, name, how, 0, e);
}

/* What is read is one state of the source only if nobody wrote to it since it was planned. */
static int transfer_check_source(const struct transfer *t, const struct store_attr *now,
                                 struct err *e)
{
    const struct store_attr *then = &t->attr;
    bool same = now->device == then->device && now->inode == then->inode &&
                now->size_bytes == then->size_bytes;
    if (same && then->type == STORE_REGULAR)
        same = now->mtime_ns == then->mtime_ns && now->ctime_ns == then->ctime_ns;
    if (same)
        return 0;
    err_set(e, ERR_IO, 0, "%s%s: was changed under the copy", t->image.from->url, t->image.name);
    return err_hint(e, "stop what writes to it, and run it again");
}

int transfer_check_opened(const struct transfer *t, const struct store_file *src, struct err *e)
{
    const char *url = t->image.from->url, *name = t->image.name;
    if (t->options->block_bytes % src->align_bytes != 0) {
        err_set(e, ERR_REFUSED, 0, "%s%s: is on a disk with blocks of %u bytes", url, name,
                src->align_bytes);
        return err_hint(e, "--block-size must be a multiple of that");
    }
    if (src->in_use && !t->options->force) {
        err_set(e, ERR_REFUSED, 0, "%s%s: a running QEMU writes to it", url, name);
        return err_hint(e, "shut that guest down first; --force copies it all the same");
    }
    return 0;
}

static int transfer_open_source(const struct transfer *t, struct transfer_hands *h, struct err *e)
{
    h->src = transfer_file(h->from, t->image.name, STORE_READ, e);
    if (h->src == NULL)
        return -1;
    if (transfer_check_opened(t, h->src, e) == 0 &&
        transfer_check_source(t, &h->src->attr, e) == 0)
        return 0;
    transfer_let_go(h);
    return -1;
}

static int open_source(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    return transfer_open_source(o->t, o->h, e);
}

static void undo_open(void *ctx)
{
    struct opening *o = ctx;
    transfer_let_go(o->h);
}

uint64_t transfer_chunk_end(const struct transfer *t, size_t chunk)
{
    uint64_t end = (chunk + 1) * t->options->chunk_bytes;
    return end < t->map.size_bytes ? end : t->map.size_bytes;
}

bool transfer_may_be_shared(const struct transfer *t)
{
    const struct relocate_options *o = t->options;
    bool small = t->attr.size_bytes <= WHOLE_SIZE_MAX_BYTES && !t->resume;
    return !o->whole_sums && (o->chunk_sums || !small || (t->phases & TRANSFER_VERIFY) != 0);
}

/* Zeros are digested at some 40 GB/s, too: 25 ms a GiB. */
static bool transfer_wants_whole(const struct transfer *t)
{
    const struct relocate_options *o = t->options;
    bool cheap = t->map.size_bytes <= WHOLE_SIZE_MAX_BYTES &&
                 t->map.size_bytes - t->map.data_bytes <= WHOLE_HOLES_MAX_BYTES && !t->resume;
    return o->whole_sums || (cheap && !o->chunk_sums);
}

static int open_map(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    if (extents_scan(&t->map, o->h->src, e) < 0)
        return -1;
    t->n_chunks = journal_chunks(t->map.size_bytes, (uint32_t)t->options->chunk_bytes);
    t->chunks = calloc(t->n_chunks + 1, sizeof *t->chunks);
    if (t->chunks == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%zu chunks", t->n_chunks);
    t->image.data_bytes = t->map.data_bytes;
    if (transfer_wants_whole(t) && (t->whole = checksum_new()) == NULL)
        return err_set(e, ERR_IO, ENOMEM, "a checksum");
    return 0;
}

struct store_file *transfer_create(struct store_place *p, const char *name, uint64_t size,
                                   struct err *e)
{
    struct store_file *f = p->ops->open(p, name, STORE_CREATE, size, e);
    if (f != NULL || e->sys != EEXIST)
        return f;
    log_info("%s%s: left by an unfinished run, made anew", p->url, name);
    err_clear(e);
    return p->ops->remove(p, name, e) < 0 ? NULL : p->ops->open(p, name, STORE_CREATE, size, e);
}

static int open_part(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    if ((t->phases & TRANSFER_COPY) == 0)
        return 0;
    if (t->stale_journal && to->ops->remove(to, t->journal, e) < 0)
        return -1;
    o->h->dst = t->resume ? transfer_file(to, t->part, STORE_UPDATE, e)
                          : transfer_create(to, t->part, t->map.size_bytes, e);
    if (o->h->dst == NULL)
        return -1;
    t->part_inode = o->h->dst->attr.inode;
    t->part_made = true;
    return 0;
}

static int open_journal(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    bool keeps = o->h->to->ops->read != NULL;
    if ((t->phases & TRANSFER_COPY) == 0 || t->n_chunks < 2 || !keeps)
        return 0;
    int rc = t->resume ? resume_continue(t, o->h, e) : resume_make(t, o->h, e);
    return rc < 0 ? err_wrap(e, "%s%s", o->h->to->url, t->journal) : 0;
}

static const struct step opening_steps[] = {
    {"open the source", open_source, undo_open, 0},
    {"find its holes", open_map, NULL, 0},
    {"open the part", open_part, NULL, 0},
    {"open the journal", open_journal, NULL, 0},
};

int transfer_open(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    struct opening o = {t, h};
    bool returnable;
    h->phase = t->phase;
    return step_run(opening_steps, sizeof opening_steps / sizeof *opening_steps, &o, &returnable,
                    e);
}

/* The destination, as it is found under its name. */
static int transfer_open_back(const struct transfer *t, struct transfer_hands *h, struct err *e)
{
    h->dst = transfer_file(h->to, t->publish ? t->part : t->image.as, STORE_READ, e);
    if (h->dst == NULL)
        return -1;
    if (t->publish && h->dst->attr.inode != t->part_inode)
        return err_set(e, ERR_IO, 0, "%s%s: was replaced under the copy", h->to->url, t->part);
    return 0;
}

static int transfer_open_more(const struct transfer *t, struct transfer_hands *h, struct err *e)
{
    if (h->phase == TRANSFER_VERIFY)
        return transfer_open_back(t, h, e);
    if (transfer_open_source(t, h, e) < 0)
        return -1;
    if (h->phase != TRANSFER_COPY)
        return 0;
    h->dst = transfer_file(h->to, t->part, STORE_UPDATE, e);
    if (h->dst == NULL)
        return -1;
    if (h->dst->attr.inode != t->part_inode)
        return err_set(e, ERR_IO, 0, "%s%s: was replaced under the copy", h->to->url, t->part);
    if (t->journaled)
        h->log = transfer_file(h->to, t->journal, STORE_UPDATE, e);
    return t->journaled && h->log == NULL ? -1 : 0;
}

int transfer_join(const struct transfer *t, struct transfer_hands *h, enum transfer_phase phase,
                  struct err *e)
{
    h->phase = phase;
    if (transfer_open_more(t, h, e) == 0)
        return 0;
    transfer_let_go(h);
    return -1;
}

/* ---- chunks ---- */

static bool transfer_has_data(const struct extents *map, uint64_t start, uint64_t end)
{
    struct extents_cursor c = extents_at(map, start);
    return extents_seek(map, &c) < end;
}

static bool transfer_needs(const struct transfer *t, size_t chunk)
{
    uint64_t start = chunk * t->options->chunk_bytes, end = transfer_chunk_end(t, chunk);
    bool data = transfer_has_data(&t->map, start, end);
    switch (t->phase) {
    case TRANSFER_COPY: return data && (!t->chunks[chunk].durable || t->whole != NULL);
    case TRANSFER_VERIFY: return data || transfer_has_data(&t->back, start, end);
    default: return data;
    }
}

bool transfer_left(struct transfer *t)
{
    while (t->cursor < t->n_chunks && !transfer_needs(t, t->cursor))
        t->cursor++;
    return t->cursor < t->n_chunks;
}

size_t transfer_next(struct transfer *t)
{
    assert(t->cursor < t->n_chunks);
    t->outstanding++;
    return t->cursor++;
}

void transfer_range(struct transfer *t, const struct transfer_hands *h, size_t chunk,
                    struct copy_range *r)
{
    bool back = h->phase == TRANSFER_VERIFY;
    bool write = h->phase == TRANSFER_COPY && !t->chunks[chunk].durable;
    *r = (struct copy_range){
        .src = back ? h->dst : h->src,
        .dst = write ? h->dst : NULL,
        .read = back ? &t->back : &t->map,
        .data = &t->map,
        .start = chunk * t->options->chunk_bytes,
        .end = transfer_chunk_end(t, chunk),
        .whole = back ? NULL : t->whole,
        .whole_to = &t->whole_to,
        .owner = t,
        .index = chunk,
    };
}

/* What differs is not relied on any more, by this run or by the next. */
static int transfer_differs(struct transfer *t, const struct transfer_hands *h, size_t chunk,
                            uint64_t offset, struct err *e)
{
    struct err ignored = {0};
    struct transfer_hands log = {.to = h->to};
    t->chunks[chunk].durable = false;
    if (t->publish && t->journaled &&
        (log.log = transfer_file(h->to, t->journal, STORE_UPDATE, &ignored)) != NULL) {
        resume_record(t, &log, chunk, false, &ignored);
        transfer_let_go(&log);
    }
    err_set(e, ERR_IO, 0, "%s%s: differs from %s%s between %" PRIu64 " and %" PRIu64, h->to->url,
            t->image.as, t->image.from->url, t->image.name, offset, transfer_chunk_end(t, chunk));
    if (t->publish)
        err_hint(e, "what was written is not what is read back: ask the server's administrator");
    return -1;
}

int transfer_took(struct transfer *t, const struct transfer_hands *h, const struct copy_range *r,
                  struct err *e)
{
    struct transfer_chunk *c = &t->chunks[r->index];
    if (h->phase == TRANSFER_VERIFY) {
        if (r->stray != UINT64_MAX)
            return transfer_differs(t, h, r->index, r->stray, e);
        bool digested = transfer_has_data(&t->map, r->start, r->end); /* else all is a hole */
        if (digested && memcmp(c->digest, r->digest, sizeof c->digest) != 0)
            return transfer_differs(t, h, r->index, r->start, e);
        return 0;
    }
    if (c->durable && memcmp(c->digest, r->digest, sizeof c->digest) != 0)
        return err_set(e, ERR_IO, 0, "%s%s: is not what an earlier run has read at %" PRIu64,
                       t->image.from->url, t->image.name, r->start);
    memcpy(c->digest, r->digest, sizeof c->digest);
    if (r->dst == NULL)
        return 0;
    if (resume_record(t, h, r->index, true, e) < 0)
        return -1;
    c->durable = true;
    return 0;
}

/* ---- the end ---- */

enum transfer_phase transfer_phase_after(const struct transfer *t, enum transfer_phase phase)
{
    unsigned next = phase == 0 ? TRANSFER_COPY : (unsigned)phase << 1;
    while (next < TRANSFER_END && (t->phases & next) == 0)
        next <<= 1;
    return next < TRANSFER_END ? next : TRANSFER_END;
}

int transfer_begin_verify(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    transfer_let_go(h);
    if (transfer_join(t, h, TRANSFER_VERIFY, e) < 0)
        return -1;
    if (h->dst->attr.size_bytes != t->map.size_bytes)
        return err_set(e, ERR_IO, 0, "%s%s: has %" PRIu64 " bytes, and its source %" PRIu64,
                       h->to->url, t->image.as, h->dst->attr.size_bytes, t->map.size_bytes);
    return extents_scan(&t->back, h->dst, e);
}

static int finish_recheck(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *from = o->h->from;
    struct store_attr now = {0};
    int found = from->ops->lookup(from, t->image.name, &now, e);
    if (found < 0)
        return -1;
    t->useless = transfer_check_source(t, &now, e) < 0;
    return t->useless ? -1 : 0;
}

static int finish_publish(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    if (!t->publish)
        return 0;
    if (o->h->phase == TRANSFER_VERIFY) { /* it was opened for reading */
        to->ops->file_close(TAKE(o->h->dst));
        o->h->dst = transfer_file(to, t->part, STORE_UPDATE, e);
        if (o->h->dst == NULL)
            return -1;
    }
    if (to->ops->publish(o->h->dst, t->image.as, &t->attr, t->options->overwrite, e) < 0)
        return -1;
    t->publish = t->part_made = false;
    return 0;
}

/* Looks again, as anybody else would. A place that keeps nothing finds nothing. */
static int finish_confirm(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    const struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    struct store_attr now;
    if (!t->options->move || (t->phases & TRANSFER_COPY) == 0)
        return 0;
    int found = to->ops->lookup(to, t->image.as, &now, e);
    if (found < 0)
        return -1;
    if (found == 0 || now.inode != t->part_inode || now.size_bytes != t->attr.size_bytes)
        return err_set(e, ERR_IO, 0, "%s%s: is not what was written there a moment ago", to->url,
                       t->image.as);
    return 0;
}

static int finish_journal(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    if (!t->journaled)
        return 0;
    if (o->h->log != NULL)
        to->ops->file_close(TAKE(o->h->log));
    if (to->ops->remove(to, t->journal, e) < 0)
        return -1;
    t->journaled = false;
    return 0;
}

static int finish_move(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *from = o->h->from;
    if (!t->options->move)
        return 0;
    if (finish_recheck(ctx, e) < 0 || from->ops->remove(from, t->image.name, e) < 0)
        return -1;
    t->image.moved = true;
    return 0;
}

static const struct step finishing_steps[] = {
    {"check the source again", finish_recheck, NULL, 0},
    {"publish", finish_publish, NULL, STEP_POINT_OF_NO_RETURN},
    {"look for it", finish_confirm, NULL, 0},
    {"remove the journal", finish_journal, NULL, 0},
    {"remove the source", finish_move, NULL, 0},
};

int transfer_finish(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    struct opening o = {t, h};
    bool returnable;
    if (step_run(finishing_steps, sizeof finishing_steps / sizeof *finishing_steps, &o,
                 &returnable, e) < 0)
        return -1;
    if (t->whole != NULL) {
        checksum_add_zeros(t->whole, t->map.size_bytes - t->whole_to);
        checksum_hex(t->whole, t->image.xxh3_128);
    }
    t->image.verified = (t->phases & TRANSFER_VERIFY) != 0;
    t->image.state = RELOCATE_DONE;
    transfer_let_go(h);
    transfer_shrink(t);
    return 0;
}

int transfer_abandon(struct transfer *t, struct store_place *to, struct err *e)
{
    bool worth = t->resume; /* it was for an earlier run, however far this one came */
    for (size_t i = 0; t->journaled && !worth && i < t->n_chunks; i++)
        worth = t->chunks[i].durable;
    if (worth && !t->useless) {
        t->image.state = RELOCATE_KEPT;
        return 0;
    }
    if (to == NULL)
        return 0;
    if (t->journaled && to->ops->remove(to, t->journal, e) < 0)
        return err_wrap(e, "%s%s is left there", to->url, t->journal);
    t->journaled = false;
    if (t->part_made && to->ops->remove(to, t->part, e) < 0)
        return err_wrap(e, "%s%s is left there", to->url, t->part);
    t->part_made = false;
    return 0;
}
