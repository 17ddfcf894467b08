/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Blocks. A fixed set of blocks, each with its buffer, goes round:
 *
 *   FREE → READING → WAITING → WRITING → FREE
 *
 * The source is read in order of offset; several reads are under way and may end in any order, so
 * WAITING blocks stand in the window, a queue in order of offset. Only its head moves on: it is
 * hashed (with the hole before it) and written at once, while it is in the processor's cache. A
 * short read or write is continued where it stopped. Free blocks are a stack: a copy that needs
 * few touches few.
 *
 * Ranges. The file is cut into ranges of `range_bytes`, and durability is decided a range at a
 * time:
 *
 *   SENDING     reads and writes are under way, or still to be started
 *   COMMITTING  every write was answered, and a COMMIT is under way; the next range is being sent
 *   FREE        durable: the slot may be used for another range
 *
 * A range leaves SENDING when all its data was sent and no block of it is under way. Answers that
 * were `stable` need no more proof. For the others the range keeps the verifier of the first, and
 * whether any differed. The COMMIT must give that same verifier; if not, the server may have lost
 * any of them (it restarted, or dropped its cache after an error): the range goes back to SENDING
 * from its start, read from the source again, not hashed again, ahead of new data. A server that
 * fails MISMATCHES_MAX times is asked to make each write of that range durable by itself.
 *
 * Failure. The first error stays; nothing new is started; what is under way is waited for, since
 * its buffers are lent. A place that does not answer is told to stop() after DRAIN_NS.
 *
 * All state is in one struct, used by one thread: several workers would each have their own.
 */
#include "core/copy.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

enum {
    RANGES_MAX = 16, /* being sent or committed at once; more than a few only in sparse files */
    MISMATCHES_MAX = 2,
    BUFFER_ALIGN_BYTES = 65536,
};

#define TURN_NS (100 * NS_PER_MS) /* how soon an interrupt is noticed */
#define TICK_NS (250 * NS_PER_MS) /* how often progress is told */
#define DRAIN_NS (5 * NS_PER_S)

struct copy;

enum range_state { RANGE_FREE, RANGE_SENDING, RANGE_COMMITTING };

struct range {
    struct copy *copy;
    enum range_state state;
    uint64_t start, end;
    struct extents_cursor first; /* where its data begins */
    struct extents_cursor next;  /* what is to be read next */
    bool sent;                   /* nothing is left to be read */
    bool again;                  /* it is being resent */
    unsigned blocks;             /* of it, under way */
    unsigned mismatches;
    bool unstable; /* some answer needs a COMMIT; then: */
    bool mixed;    /* they had different verifiers, or else all had this: */
    uint8_t verifier[STORE_VERIFIER_BYTES];
    struct store_io commit;
};

enum block_state { BLOCK_FREE, BLOCK_READING, BLOCK_WAITING, BLOCK_WRITING };

struct block {
    struct copy *copy;
    struct range *range;
    enum block_state state;
    uint64_t offset;
    uint32_t len_bytes;
    uint32_t done_bytes; /* of the read, then of the write */
    unsigned char *buf;
    struct block *next; /* in the stack of free blocks, or in the window */
    struct store_io io;
};

struct copy {
    struct store_file *src, *dst;
    const struct extents *map;
    const struct copy_options *options;
    struct checksum *sum;
    struct copy_stats *stats;
    struct err *e;

    struct block *blocks;
    unsigned char *buffers;
    struct block *free;
    struct block *window_first, *window_last;

    struct range ranges[RANGES_MAX];
    struct range *front; /* in which new data is being read; NULL: one must be opened */
    struct extents_cursor frontier; /* where the next range's data begins, while front is NULL */

    unsigned under_way; /* I/O that will still call back */
    bool failed;
    bool stopped;
    int64_t failed_at_ns;

    uint64_t hashed_to;    /* offset up to which the file is hashed */
    uint64_t hashed_data;  /* of which this much was data */
    uint64_t answered_data; /* data that the destination has answered for, once */

    struct copy_progress shown;
    int64_t shown_at_ns;
};

static void copy_fail(struct copy *c)
{
    assert(c->e->class != ERR_NONE);
    c->failed = true;
    c->failed_at_ns = clock_now_ns();
}

/* An I/O that failed; only the first is kept. */
static void copy_io_failed(struct copy *c, const struct store_io *io, const char *what)
{
    if (c->failed)
        return;
    const struct store_file *f = io->file;
    err_set(c->e, io->fault, -io->res, "%s%s: %s failed at offset %" PRIu64, f->place->url,
            f->name, what, io->offset);
    if (io->res == -ENOSPC || io->res == -EDQUOT)
        err_hint(c->e, "make room at %s, and run it again", f->place->url);
    copy_fail(c);
}

/* ---- ranges ---- */

static void range_commit_done(struct store_io *io);

static void range_restart(struct range *r)
{
    r->state = RANGE_SENDING;
    r->next = r->first;
    r->sent = false;
    r->again = true;
    r->unstable = r->mixed = false;
}

static void range_commit(struct range *r)
{
    struct copy *c = r->copy;
    r->state = RANGE_COMMITTING;
    r->commit = (struct store_io){
        .file = c->dst,
        .offset = r->start,
        .len_bytes = (uint32_t)(r->end - r->start),
        .done = range_commit_done,
        .arg = r,
    };
    c->under_way++;
    c->stats->commit++;
    c->dst->place->ops->commit(&r->commit);
}

/* Called whenever one of the conditions may have become true. */
static void range_settle(struct range *r)
{
    if (r->copy->failed || r->state != RANGE_SENDING || !r->sent || r->blocks > 0)
        return;
    if (r->unstable)
        range_commit(r);
    else
        r->state = RANGE_FREE;
}

static void range_commit_done(struct store_io *io)
{
    struct range *r = io->arg;
    struct copy *c = r->copy;
    c->under_way--;
    if (io->res < 0) {
        copy_io_failed(c, io, "commit");
    } else if (!r->mixed && memcmp(r->verifier, io->verifier, sizeof r->verifier) == 0) {
        r->state = RANGE_FREE;
    } else {
        r->mismatches++;
        log_warn("%s%s: the server's write verifier changed; sending %" PRIu64 " to %" PRIu64
                 " again%s",
                 c->dst->place->url, c->dst->name, r->start, r->end,
                 r->mismatches >= MISMATCHES_MAX ? ", each write to be stable" : "");
        range_restart(r);
    }
}

static void range_answer(struct range *r, const struct store_io *io)
{
    if (io->stable)
        return;
    if (!r->unstable)
        memcpy(r->verifier, io->verifier, sizeof r->verifier);
    else if (memcmp(r->verifier, io->verifier, sizeof r->verifier) != 0)
        r->mixed = true;
    r->unstable = true;
}

/* Opens the range in which the next data lies. NULL: there is none, or no slot is free. */
static struct range *range_open(struct copy *c)
{
    uint64_t at = extents_seek(c->map, &c->frontier);
    if (at == UINT64_MAX)
        return NULL;
    for (size_t i = 0; i < RANGES_MAX; i++) {
        struct range *r = &c->ranges[i];
        if (r->state != RANGE_FREE)
            continue;
        uint64_t start = at - at % c->options->range_bytes;
        uint64_t room = c->map->size_bytes - start;
        *r = (struct range){
            .copy = c,
            .state = RANGE_SENDING,
            .start = start,
            .end = start + (room < c->options->range_bytes ? room : c->options->range_bytes),
            .first = c->frontier,
            .next = c->frontier,
        };
        return r;
    }
    return NULL;
}

/* The range to read from next: one to be sent again has precedence. NULL: none for now. */
static struct range *range_pick(struct copy *c)
{
    for (size_t i = 0; i < RANGES_MAX; i++) {
        struct range *r = &c->ranges[i];
        if (r->state == RANGE_SENDING && r->again && !r->sent)
            return r;
    }
    if (c->front == NULL)
        c->front = range_open(c);
    return c->front;
}

/* After each cut: is that all of it? */
static void range_advance(struct range *r)
{
    struct copy *c = r->copy;
    if (extents_seek(c->map, &r->next) < r->end)
        return;
    r->sent = true;
    if (c->front == r) {
        c->frontier = r->next;
        c->front = NULL;
    }
}

/* ---- blocks ---- */

static void block_free(struct block *b)
{
    struct copy *c = b->copy;
    struct range *r = b->range;
    b->state = BLOCK_FREE;
    b->next = c->free;
    c->free = b;
    r->blocks--;
    range_settle(r);
}

static void block_write_done(struct store_io *io);

/* The rest of the block; after a short write, that is not all of it. */
static void block_write(struct block *b)
{
    struct copy *c = b->copy;
    b->state = BLOCK_WRITING;
    b->io = (struct store_io){
        .file = c->dst,
        .buf = b->buf + b->done_bytes,
        .offset = b->offset + b->done_bytes,
        .len_bytes = b->len_bytes - b->done_bytes,
        .want_stable = b->range->mismatches >= MISMATCHES_MAX,
        .done = block_write_done,
        .arg = b,
    };
    c->under_way++;
    c->stats->write++;
    c->stats->resent += b->range->again;
    c->dst->place->ops->write(&b->io);
}

static void block_write_done(struct store_io *io)
{
    struct block *b = io->arg;
    struct copy *c = b->copy;
    c->under_way--;
    if (io->res >= 0 && (io->res == 0 || (uint32_t)io->res > io->len_bytes ||
                         (io->want_stable && !io->stable))) {
        io->fault = ERR_PROTO;
        io->res = -EPROTO;
    }
    if (io->res < 0)
        copy_io_failed(c, io, "write");
    if (c->failed) {
        block_free(b);
        return;
    }
    range_answer(b->range, io);
    b->done_bytes += (uint32_t)io->res;
    if (b->done_bytes < b->len_bytes) {
        block_write(b);
        return;
    }
    if (!b->range->again)
        c->answered_data += b->len_bytes;
    block_free(b);
}

static void block_hash(struct block *b)
{
    struct copy *c = b->copy;
    assert(b->offset >= c->hashed_to);
    checksum_add_zeros(c->sum, b->offset - c->hashed_to);
    checksum_add(c->sum, b->buf, b->len_bytes);
    c->hashed_to = b->offset + b->len_bytes;
    c->hashed_data += b->len_bytes;
}

/* Hashes and sends what has come to the head of the window. */
static void window_drain(struct copy *c)
{
    struct block *b;
    while ((b = c->window_first) != NULL && b->state == BLOCK_WAITING) {
        c->window_first = b->next;
        if (c->window_first == NULL)
            c->window_last = NULL;
        if (c->failed) {
            block_free(b);
            continue;
        }
        block_hash(b);
        b->done_bytes = 0;
        block_write(b);
    }
}

static void block_read_done(struct store_io *io);

/* A request is widened to the source's alignment: the buffer has the room, and the end of the file
 * cuts it short. */
static void block_read(struct block *b)
{
    struct copy *c = b->copy;
    uint32_t align = c->src->align_bytes;
    uint32_t len = b->len_bytes - b->done_bytes;
    b->state = BLOCK_READING;
    b->io = (struct store_io){
        .file = c->src,
        .buf = b->buf + b->done_bytes,
        .offset = b->offset + b->done_bytes,
        .len_bytes = b->done_bytes == 0 ? (len + align - 1) & ~(align - 1) : len,
        .done = block_read_done,
        .arg = b,
    };
    c->under_way++;
    c->src->place->ops->read(&b->io);
}

/* A block that was read, or could not be: in the window it waits for its turn either way. */
static void block_waits(struct block *b)
{
    b->state = BLOCK_WAITING;
    if (!b->range->again) {
        window_drain(b->copy);
    } else if (b->copy->failed) {
        block_free(b);
    } else {
        b->done_bytes = 0;
        block_write(b);
    }
}

static void block_read_done(struct store_io *io)
{
    struct block *b = io->arg;
    struct copy *c = b->copy;
    c->under_way--;
    if (io->res == 0 && !c->failed) {
        err_set(c->e, ERR_IO, 0, "%s%s: ends at %" PRIu64 " now: it was changed under the copy",
                c->src->place->url, c->src->name, io->offset);
        copy_fail(c);
    } else if (io->res < 0) {
        copy_io_failed(c, io, "read");
    }
    if (!c->failed) {
        uint32_t rest = b->len_bytes - b->done_bytes;
        b->done_bytes += (uint32_t)io->res < rest ? (uint32_t)io->res : rest;
        if (b->done_bytes < b->len_bytes) {
            block_read(b);
            return;
        }
    }
    block_waits(b);
}

/* ---- the whole ---- */

/* Starts reading as much as there are free blocks for. */
static void copy_feed(struct copy *c)
{
    struct range *r;
    while (c->free != NULL && (r = range_pick(c)) != NULL) {
        struct block *b = c->free;
        c->free = b->next;
        b->range = r;
        b->next = NULL;
        b->done_bytes = 0;
        b->len_bytes =
            extents_cut(c->map, &r->next, c->options->block_bytes, r->end, &b->offset);
        assert(b->len_bytes > 0);
        r->blocks++;
        if (!r->again) {
            *(c->window_last != NULL ? &c->window_last->next : &c->window_first) = b;
            c->window_last = b;
        }
        range_advance(r);
        block_read(b);
    }
}

static bool copy_done(struct copy *c)
{
    if (c->under_way > 0 || c->front != NULL ||
        extents_seek(c->map, &c->frontier) != UINT64_MAX)
        return false;
    for (size_t i = 0; i < RANGES_MAX; i++)
        if (c->ranges[i].state != RANGE_FREE)
            return false;
    return true;
}

/* The rate is a running mean over about two seconds: steady, and still honest about a stall. */
static void copy_tell(struct copy *c, bool at_end)
{
    int64_t now_ns = clock_now_ns();
    int64_t since_ns = now_ns - c->shown_at_ns;
    if (c->options->progress == NULL || (!at_end && since_ns < TICK_NS))
        return;
    struct copy_progress *p = &c->shown;
    double rate = (double)(c->answered_data - p->data_bytes) * 1e9 / (double)(since_ns + 1);
    double mean = p->bytes_per_s == 0 ? rate : (double)p->bytes_per_s * 0.87 + rate * 0.13;
    if (!at_end || p->bytes_per_s == 0)
        p->bytes_per_s = (uint64_t)mean;
    p->data_bytes = c->answered_data;
    p->bytes = c->answered_data + (c->hashed_to - c->hashed_data);
    uint64_t left = p->total_data_bytes - p->data_bytes;
    p->eta_ns = left == 0 ? 0 : -1;
    if (left > 0 && p->bytes_per_s > 0)
        p->eta_ns = (int64_t)((double)left / (double)p->bytes_per_s * 1e9);
    c->shown_at_ns = now_ns;
    c->options->progress(c->options->progress_arg, p);
}

static void copy_check_cancel(struct copy *c)
{
    if (c->failed || c->options->cancel == NULL || !*c->options->cancel)
        return;
    err_set(c->e, ERR_CANCELLED, 0, "%s%s: cancelled", c->src->place->url, c->src->name);
    copy_fail(c);
}

static void copy_check_drain(struct copy *c)
{
    if (!c->failed || c->stopped || clock_now_ns() - c->failed_at_ns < DRAIN_NS)
        return;
    c->src->place->ops->stop(c->src->place);
    c->dst->place->ops->stop(c->dst->place);
    c->stopped = true;
}

/* -1: the ring itself does not work any more, and I/O may be under way for ever. */
static int copy_loop(struct copy *c)
{
    struct ring *ring = c->dst->place->ring;
    while (c->failed ? c->under_way > 0 : !copy_done(c)) {
        copy_check_cancel(c);
        copy_check_drain(c);
        if (!c->failed)
            copy_feed(c);
        int rc = ring_turn(ring, TURN_NS);
        if (rc < 0) {
            if (!c->failed)
                err_set(c->e, ERR_IO, -rc, "the I/O ring broke");
            c->failed = true;
            return -1;
        }
        copy_tell(c, false);
    }
    return 0;
}

static void copy_free(struct copy *c)
{
    free(c->buffers);
    free(c->blocks);
    free(c);
}

static struct copy *copy_new(const struct copy_options *options, struct err *e)
{
    assert(options->block_bytes % 4096 == 0 && options->range_bytes % options->block_bytes == 0);
    struct copy *c = calloc(1, sizeof *c);
    void *buffers = NULL;
    if (c == NULL || (c->blocks = calloc(options->blocks, sizeof *c->blocks)) == NULL ||
        posix_memalign(&buffers, BUFFER_ALIGN_BYTES,
                       (size_t)options->blocks * options->block_bytes) != 0) {
        err_set(e, ERR_IO, ENOMEM, "%u blocks of %u bytes", options->blocks, options->block_bytes);
        if (c != NULL)
            copy_free(c);
        return NULL;
    }
    c->buffers = buffers;
    for (unsigned i = options->blocks; i-- > 0;) {
        struct block *b = &c->blocks[i];
        b->copy = c;
        b->buf = c->buffers + (size_t)i * options->block_bytes;
        b->next = c->free;
        c->free = b;
    }
    return c;
}

int copy_run(struct store_file *src, struct store_file *dst, const struct extents *map,
             const struct copy_options *options, struct checksum *sum, struct copy_stats *stats,
             struct err *e)
{
    struct copy *c = copy_new(options, e);
    if (c == NULL)
        return -1;
    c->src = src;
    c->dst = dst;
    c->map = map;
    c->options = options;
    c->sum = sum;
    c->stats = stats;
    c->e = e;
    c->shown.total_bytes = map->size_bytes;
    c->shown.total_data_bytes = map->data_bytes;
    c->shown_at_ns = clock_now_ns();

    if (copy_loop(c) < 0)
        return -1; /* the kernel may still write into the blocks: they are left to it */

    if (!c->failed) {
        checksum_add_zeros(sum, map->size_bytes - c->hashed_to);
        c->hashed_to = map->size_bytes;
        copy_tell(c, true);
    }
    int rc = c->failed ? -1 : 0;
    copy_free(c);
    return rc;
}
