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
 *   1. the journal is created, with our name in it: the image is ours (core/relocate/resume.c)
 *   2. the part is created, empty, and its identity is written to the journal, durably
 *   3. data is written and committed; then the record of its chunk is written, durably
 *   4. that all of it is there is written to the journal, durably
 *   5. the part gets its final name
 *   6. the journal is removed
 *
 * So a part without a journal has nothing to be continued, and is made anew. A journal whose part
 * is gone, while that very file stands under the final name, means that only 6 was missed. A record is
 * never ahead of its data.
 *
 * An image of one chunk has no journal: there is nothing between nothing and all of it. Its part has
 * our name in its own, and no other process touches that while ours may live.
 *
 * A server that forgets (`may_forget`, core/store/store.h) shows it by its verifier alone. After each phase
 * it is asked for that; what this instance of it has not confirmed is read back and compared, and what
 * is gone is copied again, until an instance has confirmed all of it. Records keep the verifier, so
 * that this holds across runs, too.
 *
 * Whatever is named, replaced or removed is known by its identity, and looked at right before: the
 * part, the journal, what stands at the final name, the source.
 */
#include "core/relocate/transfer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/relocate/part_name.h"
#include "core/relocate/resume.h"
#include "core/relocate/transfer_parts.h"

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
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", source->from->url, source->name);
        transfer_free(t);
        return NULL;
    }
    return t;
}

void transfer_shrink(struct transfer *t)
{
    extents_free(&t->map);
    extents_free(&t->back);
    free(t->chunks);
    t->chunks = NULL;
    checksum_free(t->whole);
    t->whole = NULL;
}

void transfer_unclaim(struct transfer *t)
{
    if (t->claim != NULL)
        t->claim->release(t->claim);
    t->claim = NULL;
}

void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    transfer_shrink(t);
    transfer_unclaim(t);
    for (size_t i = 0; i < t->n_left; i++)
        free(t->left[i]);
    free(t->left);
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
    return bytes + t->more_work_bytes;
}

/* ---- files ---- */

void transfer_release(struct transfer_handles *h)
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

static struct store_file *transfer_was_replaced(const struct store_place *p, const char *name,
                                                struct err *e)
{
    err_set(e, ERR_IO, 0, "%s%s: was replaced under the copy", p->url, name);
    e->sys = ESTALE;
    return NULL;
}

struct store_file *transfer_file_is(struct store_place *p, const char *name, enum store_how how,
                                    const struct store_attr *is, struct err *e)
{
    struct store_file *f = transfer_file(p, name, how, e);
    if (f == NULL || store_same_file(&f->attr, is))
        return f;
    p->ops->file_close(f);
    return transfer_was_replaced(p, name, e);
}

struct store_file *transfer_part(struct transfer *t, struct store_place *p, enum store_how how,
                                 struct err *e)
{
    struct store_file *f = transfer_file(p, t->part, how, e);
    if (f == NULL || store_same_file(&f->attr, &t->part_is))
        return f;
    struct store_attr was = t->part_is;
    was.size_bytes = t->map.size_bytes;
    was.mode = f->attr.mode == t->attr.mode ? t->attr.mode /* it was to be published */
                                            : TRANSFER_PART_MODE;
    if (store_may_be_same(p, &f->attr, &was)) {
        atomic_store(&t->renewed, true);
        return f;
    }
    p->ops->file_close(f);
    return transfer_was_replaced(p, t->part, e);
}

int transfer_check_source(const struct transfer *t, const struct store_place *p,
                          const struct store_attr *now, struct err *e)
{
    const struct store_attr *then = &t->attr;
    bool same =
        now->device == then->device && now->inode == then->inode &&
        now->size_bytes == then->size_bytes &&
        (now->generation == then->generation || then->generation == 0 ||
         (p->generation_may_change && then->type == STORE_REGULAR)); /* by its times, then */
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
    /* --force may copy it, but takes it away from under nobody */
    if (src->in_use && (!t->options->force || t->options->move)) {
        err_set(e, ERR_REFUSED, 0, "%s%s: a running QEMU writes to it", url, name);
        return err_hint(e, "shut that guest down first%s",
                        t->options->move ? "" : "; --force copies it all the same");
    }
    return 0;
}

int transfer_open_source(const struct transfer *t, struct transfer_handles *h, struct err *e)
{
    h->src = transfer_file(h->from, t->image.name, STORE_READ, e);
    if (h->src == NULL)
        return -1;
    if (transfer_check_opened(t, h->src, e) == 0 &&
        transfer_check_source(t, h->from, &h->src->attr, e) == 0)
        return 0;
    transfer_release(h);
    return -1;
}

uint64_t transfer_chunk_end(const struct transfer *t, size_t chunk)
{
    uint64_t end = (chunk + 1) * t->options->chunk_bytes;
    return end < t->map.size_bytes ? end : t->map.size_bytes;
}

bool transfer_may_be_shared(const struct transfer *t)
{
    const struct relocate_options *o = t->options;
    bool small = t->attr.size_bytes <= TRANSFER_WHOLE_MAX_BYTES && !t->resume;
    return !o->whole_sums && (o->chunk_sums || !small || (t->phases & TRANSFER_VERIFY) != 0);
}

/* The destination, as it is found under its name. */
static int transfer_open_back(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    if (t->publish)
        h->dst = transfer_part(t, h->to, STORE_READ, e);
    else
        h->dst = transfer_file_is(h->to, t->image.as, STORE_READ, &t->there_is, e);
    return h->dst != NULL ? 0 : -1;
}

static int transfer_open_more(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    if (h->phase == TRANSFER_VERIFY)
        return transfer_open_back(t, h, e);
    if (transfer_open_source(t, h, e) < 0)
        return -1;
    if (h->phase != TRANSFER_COPY)
        return 0;
    h->dst = transfer_part(t, h->to, STORE_UPDATE, e);
    if (h->dst == NULL)
        return -1;
    if (t->journaled)
        h->log = resume_open(t, h->to, e);
    return t->journaled && h->log == NULL ? -1 : 0;
}

int transfer_join(struct transfer *t, struct transfer_handles *h, enum transfer_phase phase,
                  struct err *e)
{
    h->phase = phase;
    if (transfer_open_more(t, h, e) == 0)
        return 0;
    transfer_release(h);
    return -1;
}

/* ---- chunks ---- */

static bool transfer_has_data(const struct extents *map, uint64_t start, uint64_t end)
{
    struct extents_cursor c = extents_at(map, start);
    return extents_seek(map, &c) < end;
}

bool transfer_is_unproven(const struct transfer *t, const struct transfer_chunk *c)
{
    return c->durable &&
           (c->doubted || (t->may_forget && c->written &&
                           memcmp(c->verifier, t->instance, sizeof c->verifier) != 0));
}

bool transfer_is_to_compare(const struct transfer *t, const struct transfer_chunk *c)
{
    bool asked = (t->phases & TRANSFER_VERIFY) != 0 && !c->compared;
    return asked || (t->publish && transfer_is_unproven(t, c));
}

static bool transfer_needs(const struct transfer *t, size_t chunk)
{
    const struct transfer_chunk *c = &t->chunks[chunk];
    uint64_t start = chunk * t->options->chunk_bytes, end = transfer_chunk_end(t, chunk);
    bool data = transfer_has_data(&t->map, start, end);
    switch (t->phase) {
    case TRANSFER_COPY: return data && (!c->durable || (t->whole != NULL && !t->again));
    case TRANSFER_VERIFY:
        return (data || transfer_has_data(&t->back, start, end)) && transfer_is_to_compare(t, c);
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

void transfer_range(struct transfer *t, const struct transfer_handles *h, size_t chunk,
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
        .whole = back || t->again ? NULL : t->whole,
        .whole_to = &t->whole_to,
        .owner = t,
        .index = chunk,
    };
}

/* What differs is not relied on any more, by this run or by the next. */
static int transfer_forget(struct transfer *t, const struct transfer_handles *h, size_t chunk,
                           struct err *e)
{
    struct transfer_handles log = {.to = h->to};
    t->chunks[chunk].durable = t->chunks[chunk].doubted = false;
    if (!t->journaled)
        return 0;
    log.log = resume_open(t, h->to, e);
    int rc = log.log != NULL ? resume_record(t, &log, chunk, false, e) : -1;
    transfer_release(&log);
    return rc;
}

static int transfer_differs(struct transfer *t, const struct transfer_handles *h, size_t chunk,
                            uint64_t offset, struct err *e)
{
    struct err ignored = {0}; /* then the journal says that it was in doubt */
    if (t->publish && transfer_is_unproven(t, &t->chunks[chunk]) &&
        offset == chunk * t->options->chunk_bytes) {
        log_warn("%s%s: the server has lost %" PRIu64 " to %" PRIu64
                 ", which it had called durable",
                 h->to->url, t->image.as, offset, transfer_chunk_end(t, chunk));
        return transfer_forget(t, h, chunk, e);
    }
    transfer_forget(t, h, chunk, &ignored);
    err_set(e, ERR_IO, 0, "%s%s: differs from %s%s between %" PRIu64 " and %" PRIu64, h->to->url,
            t->image.as, t->image.from->url, t->image.name, offset, transfer_chunk_end(t, chunk));
    if (t->publish)
        err_hint(e, "what was written is not what is read back: ask the server's administrator");
    return -1;
}

static int transfer_compared(struct transfer *t, const struct transfer_handles *h,
                             const struct copy_range *r, struct err *e)
{
    struct transfer_chunk *c = &t->chunks[r->index];
    if (r->stray != UINT64_MAX)
        return transfer_differs(t, h, r->index, r->stray, e);
    bool digested = transfer_has_data(&t->map, r->start, r->end); /* else all is a hole */
    if (digested && memcmp(c->digest, r->digest, sizeof c->digest) != 0)
        return transfer_differs(t, h, r->index, r->start, e);
    c->compared = true;
    c->doubted = false;
    memcpy(c->verifier, t->instance, sizeof c->verifier);
    return 0;
}

int transfer_took(struct transfer *t, const struct transfer_handles *h, const struct copy_range *r,
                  struct err *e)
{
    struct transfer_chunk *c = &t->chunks[r->index];
    /* Whoever is the last of this phase may have asked for nothing since, and not know of it. */
    if (t->publish && h->dst != NULL && h->dst->attr.generation != t->part_is.generation)
        atomic_store(&t->renewed, true);
    if (h->phase == TRANSFER_VERIFY)
        return transfer_compared(t, h, r, e);
    if (c->known && memcmp(c->digest, r->digest, sizeof c->digest) != 0)
        return err_set(e, ERR_IO, 0, "%s%s: is not what was read of it earlier, at %" PRIu64,
                       t->image.from->url, t->image.name, r->start);
    memcpy(c->digest, r->digest, sizeof c->digest);
    c->known = true;
    if (r->dst == NULL)
        return 0;
    memcpy(c->verifier, r->verifier, sizeof c->verifier);
    c->written = r->written;
    c->compared = false;
    if (resume_record(t, h, r->index, true, e) < 0)
        return -1;
    c->durable = true;
    return 0;
}
