/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Blocks. A set of blocks, each with its buffer, goes round:
 *
 *   FREE → READING → WAITING → WRITING → FREE
 *
 * The source is read in order of offset, range after range; several reads are under way and may end
 * in any order, so WAITING blocks stand in the window, a queue in the order of reading. Only its
 * head moves on: it is digested and written at once, while it is in the processor's cache. A
 * short read or write is continued where it stopped. Zeros are not written: the destination is new
 * and reads as zeros there. Free blocks are a stack: a copy that needs few
 * touches little of its arena.
 *
 * Ranges. Durability is decided a range at a time:
 *
 *   SENDING     reads and writes are under way, or still to be started
 *   COMMITTING  every write was answered, and a COMMIT is under way; the next range is being sent
 *   DONE        durable; copy_take() gives it back, and the slot is FREE again
 *
 * A range leaves SENDING when all its data was sent and no block of it is under way. Answers that
 * were `stable` need no more proof. For the others the range keeps the verifier of the first, and
 * whether any differed. The COMMIT must give that same verifier; if not, the server may have lost
 * any of them (it restarted, or dropped its cache after an error): the range goes back to SENDING
 * from its start, read from the source again, not digested again, ahead of new data. A server that
 * fails MISMATCHES_MAX times is asked to make each write of that range durable by itself.
 *
 * Failure. The first error stays; nothing new is started; what is under way is waited for, since
 * its buffers are lent. Places that do not answer are told to stop() after DRAIN_NS, or
 * when for DRAIN_SILENT_NS nothing was answered.
 *
 * All state is in one struct, used by one thread: each worker has its own.
 */
#include "core/relocate/copy.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/relocate/arena.h"
#include "core/relocate/bucket.h"
#include "core/relocate/digest.h"
#include "core/relocate/zeros.h"

enum {
    RANGES_MAX = 32, /* being sent or committed at once: small images are one range each */
    MISMATCHES_MAX = 2,
    ZEROS_GRANULE_BYTES = 64 << 10, /* the least that is worth a gap between two writes */
};

#define DRAIN_NS (5 * NS_PER_S)
#define DRAIN_SILENT_NS (1 * NS_PER_S)

struct copy;

enum range_state { RANGE_FREE, RANGE_SENDING, RANGE_COMMITTING, RANGE_DONE };

struct range {
    struct copy *copy;
    struct copy_range r;
    enum range_state state;
    struct extents_cursor first; /* where what is to be read begins */
    struct extents_cursor next;  /* what is to be read next */
    struct digest digest;        /* its memory stays with the slot */
    bool sent;                   /* nothing is left to be read */
    bool again;                  /* it is being resent */
    unsigned blocks;             /* of it, under way */
    unsigned mismatches;
    bool unstable; /* some answer needs a COMMIT; then: */
    bool
        several; /* its answers, stable ones among them, came from several instances of the server */
    bool mixed;  /* they had different verifiers, or else all had this: */
    uint8_t verifier[STORE_VERIFIER_BYTES];
    struct store_io commit;
};

enum block_state { BLOCK_FREE, BLOCK_READING, BLOCK_WAITING, BLOCK_WRITING };

struct block {
    struct copy *copy;
    struct range *range;
    enum block_state state;
    bool last; /* of its range */
    uint64_t offset;
    uint32_t len_bytes;
    uint32_t done_bytes; /* of the read, then of the write */
    unsigned char *buf;
    struct block *next; /* in the stack of free blocks, or in the window */
    struct store_io io;
};

struct copy {
    struct copy_options options;
    unsigned depth;       /* of the blocks, so many may be used at once */
    uint32_t block_bytes; /* of a block, so much is used */
    struct err error;     /* the first */

    struct block *blocks;
    struct arena arena;
    struct block *free;
    unsigned used; /* blocks that are not free */
    struct block *window_first, *window_last;

    struct range ranges[RANGES_MAX];
    struct range *front; /* in which new data is being read; NULL: one must be given */
    unsigned n_ranges;   /* that are not free */

    unsigned under_way; /* I/O that will still call back */
    int64_t paused_until_ns;
    bool failed;
    bool stopped;
    int64_t failed_at_ns, answered_at_ns;
};

static void copy_answered(struct copy *c)
{
    c->under_way--;
    c->answered_at_ns = clock_now_ns();
}

static void copy_failing(struct copy *c)
{
    assert(c->error.class != ERR_NONE);
    c->failed = true;
    c->failed_at_ns = clock_now_ns();
}

/* An I/O that failed; only the first is kept. */
static void copy_io_failed(struct copy *c, const struct store_io *io, const char *what)
{
    if (c->failed)
        return;
    const struct store_file *f = io->file;
    err_set(&c->error, io->fault, -io->res, "%s%s: %s failed at offset %" PRIu64, f->place->url,
            f->name, what, io->offset);
    copy_failing(c);
}

static void copy_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- ranges ---- */

/* What was read is taken into account, in order; after the last block of a range, the rest. */
static void range_digest(struct range *r, uint64_t offset, const unsigned char *buf, uint32_t len,
                         bool last)
{
    struct copy_range *given = &r->r;
    digest_add(&r->digest, offset, buf, len);
    if (given->whole != NULL) {
        checksum_add_zeros(given->whole, offset - *given->whole_to);
        checksum_add(given->whole, buf, len);
        *given->whole_to = offset + len;
    }
    if (last) {
        digest_end(&r->digest, given->end, given->digest);
        given->stray = r->digest.stray;
    }
}

static void range_commit_done(struct store_io *io);

static void range_restart(struct range *r)
{
    r->state = RANGE_SENDING;
    r->next = r->first;
    r->sent = false;
    r->again = true;
    r->unstable = r->mixed = r->r.written = r->several = false;
}

static void range_commit(struct range *r)
{
    struct copy *c = r->copy;
    r->state = RANGE_COMMITTING;
    r->commit = (struct store_io){
        .file = r->r.dst,
        .offset = r->r.start,
        .len_bytes = (uint32_t)(r->r.end - r->r.start),
        .done = range_commit_done,
        .arg = r,
    };
    c->under_way++;
    copy_count(&c->options.counters->commit, 1);
    r->r.dst->place->ops->commit(&r->commit);
}

/* Called whenever one of the conditions may have become true. */
static void range_settle(struct range *r)
{
    if (r->copy->failed || r->state != RANGE_SENDING || !r->sent || r->blocks > 0)
        return;
    if (r->unstable) {
        range_commit(r);
        return;
    }
    if (r->several) /* which no single instance of the server has all of: */
        memset(r->r.verifier, 0, sizeof r->r.verifier);
    r->state = RANGE_DONE;
}

static void range_commit_done(struct store_io *io)
{
    struct range *r = io->arg;
    struct copy *c = r->copy;
    copy_answered(c);
    if (io->res < 0) {
        copy_io_failed(c, io, "commit");
    } else if (!r->mixed && memcmp(r->verifier, io->verifier, sizeof r->verifier) == 0) {
        if (r->several)
            memset(r->r.verifier, 0, sizeof r->r.verifier);
        r->state = RANGE_DONE;
    } else {
        r->mismatches++;
        log_warn("%s%s: the server's write verifier changed; sending %" PRIu64 " to %" PRIu64
                 " again%s",
                 r->r.dst->place->url, r->r.dst->name, r->r.start, r->r.end,
                 r->mismatches >= MISMATCHES_MAX ? ", each write to be stable" : "");
        range_restart(r);
    }
}

static void range_answer(struct range *r, const struct store_io *io)
{
    if (!r->r.written)
        memcpy(r->r.verifier, io->verifier, sizeof r->r.verifier);
    else if (memcmp(r->r.verifier, io->verifier, sizeof r->r.verifier) != 0)
        r->several = true;
    r->r.written = true;
    if (io->stable)
        return;
    if (!r->unstable)
        memcpy(r->verifier, io->verifier, sizeof r->verifier);
    else if (memcmp(r->verifier, io->verifier, sizeof r->verifier) != 0)
        r->mixed = true;
    r->unstable = true;
}

/* The range to read from next: one to be sent again has precedence. NULL: none for now. */
static struct range *range_pick(struct copy *c)
{
    for (size_t i = 0; i < RANGES_MAX; i++) {
        struct range *r = &c->ranges[i];
        if (r->state == RANGE_SENDING && r->again && !r->sent)
            return r;
    }
    return c->front;
}

/* After each cut: is that all of it? */
static void range_advance(struct range *r)
{
    if (extents_seek(r->r.read, &r->next) < r->r.end)
        return;
    r->sent = true;
    if (r->copy->front == r)
        r->copy->front = NULL;
}

/* ---- blocks ---- */

static void block_free(struct block *b)
{
    struct copy *c = b->copy;
    struct range *r = b->range;
    b->state = BLOCK_FREE;
    b->next = c->free;
    c->free = b;
    c->used--;
    r->blocks--;
    range_settle(r);
}

static void block_done(struct block *b)
{
    if (!b->range->again)
        copy_count(&b->copy->options.counters->done_bytes, b->len_bytes);
    block_free(b);
}

static void block_write_done(struct store_io *io);

/* What of the block is to be written next: zeros are passed over. 0: nothing any more. */
static uint32_t block_cut(struct block *b)
{
    const unsigned char *at = b->buf + b->done_bytes;
    uint32_t left = b->len_bytes - b->done_bytes;
    size_t zeros = zeros_run(at, left, ZEROS_GRANULE_BYTES);
    b->done_bytes += (uint32_t)zeros;
    left -= (uint32_t)zeros;
    return left == 0 ? 0 : (uint32_t)zeros_data_run(at + zeros, left, ZEROS_GRANULE_BYTES);
}

/* The rest of the block; after a short write, or before zeros, that is not all of it. */
static void block_write(struct block *b)
{
    struct copy *c = b->copy;
    uint32_t len = b->range->r.dst != NULL ? block_cut(b) : 0;
    if (len == 0) {
        block_done(b);
        return;
    }
    b->state = BLOCK_WRITING;
    b->io = (struct store_io){
        .file = b->range->r.dst,
        .buf = b->buf + b->done_bytes,
        .offset = b->offset + b->done_bytes,
        .len_bytes = len,
        .want_stable = b->range->mismatches >= MISMATCHES_MAX,
        .done = block_write_done,
        .arg = b,
    };
    c->under_way++;
    copy_count(&c->options.counters->write, 1);
    if (b->range->again)
        copy_count(&c->options.counters->resent, 1);
    b->io.file->place->ops->write(&b->io);
}

static void block_write_done(struct store_io *io)
{
    struct block *b = io->arg;
    struct copy *c = b->copy;
    copy_answered(c);
    if (io->res >= 0 &&
        (io->res == 0 || (uint32_t)io->res > io->len_bytes || (io->want_stable && !io->stable))) {
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
    copy_count(&c->options.counters->written_bytes, (uint64_t)io->res);
    b->done_bytes += (uint32_t)io->res;
    block_write(b);
}

/* Digests and sends what has come to the head of the window. */
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
        range_digest(b->range, b->offset, b->buf, b->len_bytes, b->last);
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
    struct store_file *src = b->range->r.src;
    uint32_t align = src->align_bytes;
    uint32_t len = b->len_bytes - b->done_bytes;
    b->state = BLOCK_READING;
    b->io = (struct store_io){
        .file = src,
        .buf = b->buf + b->done_bytes,
        .offset = b->offset + b->done_bytes,
        .len_bytes = b->done_bytes == 0 ? (len + align - 1) & ~(align - 1) : len,
        .done = block_read_done,
        .arg = b,
    };
    c->under_way++;
    copy_count(&c->options.counters->read, 1);
    src->place->ops->read(&b->io);
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
    const struct store_file *src = io->file;
    copy_answered(c);
    if (io->res == 0 && !c->failed) {
        err_set(&c->error, ERR_IO, 0, "%s%s: ends at %" PRIu64 ": it was changed under the copy",
                src->place->url, src->name, io->offset);
        copy_failing(c);
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

/* Whether the limit lets us read the next block now; if not, until when to wait. */
static bool copy_may_read(struct copy *c, struct range *r)
{
    if (c->options.bucket == NULL)
        return true;
    int64_t now_ns = clock_now_ns();
    if (now_ns < c->paused_until_ns)
        return false;
    uint64_t left = r->r.end - extents_seek(r->r.read, &r->next);
    uint32_t bytes = left < c->block_bytes ? (uint32_t)left : c->block_bytes;
    int64_t wait_ns = bucket_take(c->options.bucket, bytes, now_ns);
    c->paused_until_ns = wait_ns > 0 ? now_ns + wait_ns : 0;
    return wait_ns == 0;
}

/* Starts reading as much as there are free blocks for. */
static void copy_feed(struct copy *c)
{
    struct range *r;
    while (c->used < c->depth && (r = range_pick(c)) != NULL && copy_may_read(c, r)) {
        struct block *b = c->free;
        arena_use(&c->arena, b->buf);
        c->free = b->next;
        c->used++;
        b->range = r;
        b->next = NULL;
        b->done_bytes = 0;
        b->len_bytes = extents_cut(r->r.read, &r->next, c->block_bytes, r->r.end, &b->offset);
        assert(b->len_bytes > 0);
        r->blocks++;
        if (!r->again) {
            *(c->window_last != NULL ? &c->window_last->next : &c->window_first) = b;
            c->window_last = b;
        }
        range_advance(r);
        b->last = r->sent;
        block_read(b);
    }
}

bool copy_wants(const struct copy *c)
{
    return !c->failed && c->front == NULL && c->used < c->depth && c->n_ranges < RANGES_MAX;
}

void copy_give(struct copy *c, const struct copy_range *given)
{
    struct range *r = c->ranges;
    while (r->state != RANGE_FREE)
        r++;
    struct digest digest = r->digest;
    *r = (struct range){.copy = c, .r = *given, .state = RANGE_SENDING, .digest = digest};
    digest_begin(&r->digest, given->data, given->start);
    r->r.stray = UINT64_MAX;
    r->r.written = false;
    r->first = r->next = extents_at(given->read, given->start);
    c->n_ranges++;
    if (extents_seek(given->read, &r->next) < given->end) {
        c->front = r;
    } else {
        digest_end(&r->digest, given->end, r->r.digest);
        r->state = RANGE_DONE;
    }
}

bool copy_take(struct copy *c, struct copy_range *taken)
{
    for (size_t i = 0; i < RANGES_MAX; i++) {
        struct range *r = &c->ranges[i];
        if (r->state != RANGE_DONE)
            continue;
        *taken = r->r;
        r->state = RANGE_FREE;
        c->n_ranges--;
        return true;
    }
    return false;
}

bool copy_idle(const struct copy *c)
{
    return c->under_way == 0 && (c->failed || c->n_ranges == 0);
}

const struct err *copy_error(const struct copy *c)
{
    return c->failed ? &c->error : NULL;
}

void copy_fail(struct copy *c, const struct err *why)
{
    if (c->failed)
        return;
    c->error = *why;
    copy_failing(c);
}

static void copy_stop_files(const struct copy_range *r)
{
    r->src->place->ops->stop(r->src->place);
    if (r->dst != NULL)
        r->dst->place->ops->stop(r->dst->place);
}

static void copy_check_drain(struct copy *c)
{
    int64_t now_ns = clock_now_ns();
    bool goes_on =
        now_ns - c->failed_at_ns < DRAIN_SILENT_NS ||
        (now_ns - c->answered_at_ns < DRAIN_SILENT_NS && now_ns - c->failed_at_ns < DRAIN_NS);
    if (!c->failed || c->stopped || goes_on)
        return;
    for (size_t i = 0; i < RANGES_MAX; i++)
        if (c->ranges[i].state != RANGE_FREE)
            copy_stop_files(&c->ranges[i].r);
    c->stopped = true;
}

int copy_turn(struct copy *c, int64_t timeout_ns)
{
    copy_check_drain(c);
    if (!c->failed)
        copy_feed(c);
    if (c->used < c->depth && c->paused_until_ns > 0) {
        int64_t pause_ns = c->paused_until_ns - clock_now_ns();
        if (pause_ns < timeout_ns)
            timeout_ns = pause_ns > 0 ? pause_ns : 0;
    }
    int rc = ring_turn(c->options.ring, timeout_ns);
    if (rc < 0 && !c->failed) {
        err_set(&c->error, ERR_IO, -rc, "the I/O ring broke");
        copy_failing(c);
    }
    return rc < 0 ? -1 : 0;
}

void copy_tune(struct copy *c, unsigned depth, uint32_t block_bytes)
{
    assert(depth > 0 && block_bytes > 0 && block_bytes % 4096 == 0);
    c->depth = depth < c->options.blocks ? depth : c->options.blocks;
    c->block_bytes = block_bytes < c->options.block_bytes ? block_bytes : c->options.block_bytes;
}

void copy_free(struct copy *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < RANGES_MAX; i++)
        digest_free(&c->ranges[i].digest);
    if (c->under_way > 0)
        return; /* the kernel may still write into the blocks: they are left to it */
    arena_free(&c->arena);
    free(c->blocks);
    free(c);
}

static int copy_make_blocks(struct copy *c)
{
    c->blocks = calloc(c->options.blocks, sizeof *c->blocks);
    if (c->blocks == NULL || arena_new(&c->arena, c->options.ring,
                                       (size_t)c->options.blocks * c->options.block_bytes) < 0)
        return -1;
    for (unsigned i = c->options.blocks; i-- > 0;) {
        struct block *b = &c->blocks[i];
        b->copy = c;
        b->buf = c->arena.memory + (size_t)i * c->options.block_bytes;
        b->next = c->free;
        c->free = b;
    }
    return 0;
}

struct copy *copy_new(const struct copy_options *options, struct err *e)
{
    assert(options->blocks > 0 && options->block_bytes % 4096 == 0);
    struct copy *c = calloc(1, sizeof *c);
    if (c == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate a worker");
        return NULL;
    }
    c->options = *options;
    copy_tune(c, options->blocks, options->block_bytes);
    bool made = copy_make_blocks(c) == 0;
    for (size_t i = 0; i < RANGES_MAX && made; i++)
        made = digest_new(&c->ranges[i].digest) == 0;
    if (!made) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %u blocks of %u bytes", options->blocks,
                options->block_bytes);
        copy_free(c);
        return NULL;
    }
    return c;
}
