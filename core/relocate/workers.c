/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A worker is a thread with a ring, places of its own on it (so: connections of its own), and a
 * pipeline. Workers share the list of transfers, a stop flag and counters, nothing else.
 *
 * A worker that has room takes the next chunk: of a transfer that it holds already; else of any
 * that is open, which is how several come to work on one large image; else it opens the next
 * pending one, which is how many small ones are on their way at once. An image whose whole checksum
 * is made belongs to the worker that opened it. Whoever brings the last chunk of a phase home
 * begins the next phase, or finishes the image. Opening and finishing block that worker for some
 * round trips, while the kernel goes on with what it has under way.
 *
 * The caller's thread tells progress, tunes, and watches for the cancel. Workers above the number
 * that the tuner wants take nothing new; they are only started when they are wanted first.
 *
 * Failure. The first error stays and sets the stop flag; every worker lets what is under way come
 * back, closes its files, and ends.
 */
#include "core/relocate/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/relocate/bucket.h"
#include "core/relocate/place_set.h"
#include "core/relocate/tuner.h"

enum { HELD_MAX = 64 };

#define TURN_NS (100 * NS_PER_MS) /* how soon a worker sees the stop flag */
#define WAIT_NS (20 * NS_PER_MS)  /* of a thread that has nothing to do */
#define TELL_NS (250 * NS_PER_MS) /* how often progress is reported */

/* A transfer that a worker has open. */
struct held {
    struct transfer *t; /* NULL: free */
    struct transfer_handles handles;
    unsigned ranges; /* in the pipeline */
};

struct worker {
    struct workers *workers;
    unsigned index;
    pthread_t thread;
    struct ring *ring;
    struct copy *copy;
    struct place_set places;
    struct store_place *to; /* of them */
    struct held held[HELD_MAX];
};

struct workers {
    const struct workers_job *job;
    struct copy_counters counters;
    struct bucket bucket;
    _Atomic unsigned active; /* workers that may take something new */
    _Atomic unsigned depth;
    _Atomic uint32_t block_bytes;
    _Atomic bool stop;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* there is more to take, or the end */
    pthread_cond_t watched; /* for the caller's thread: the end */
    size_t first_open;      /* all before have ended */
    size_t first_pending;   /* all before have been begun */
    size_t begun_to;        /* none from here on has */
    size_t ended;
    struct err error;

    struct worker *workers;
    unsigned started;
    struct tuner tuner;
    struct relocate_progress shown;
    int64_t shown_at_ns;
};

static void workers_fail(struct workers *c, const struct err *why)
{
    pthread_mutex_lock(&c->lock);
    if (c->error.class == ERR_NONE)
        c->error = *why;
    c->stop = true;
    pthread_cond_broadcast(&c->changed);
    pthread_cond_signal(&c->watched);
    pthread_mutex_unlock(&c->lock);
}

/* ---- what is held ---- */

static struct held *worker_held(struct worker *w, const struct transfer *t)
{
    for (unsigned i = 0; i < HELD_MAX; i++)
        if (w->held[i].t == t)
            return &w->held[i];
    return NULL;
}

static void held_release(struct held *h)
{
    transfer_release(&h->handles);
    h->t = NULL;
}

/* Room for one more; what is idle gives way. The pipeline takes fewer ranges than HELD_MAX. */
static struct held *worker_hold(struct worker *w, struct transfer *t, struct err *e)
{
    struct held *h = worker_held(w, NULL);
    for (unsigned i = 0; h == NULL; i++) {
        assert(i < HELD_MAX);
        if (w->held[i].ranges == 0) {
            h = &w->held[i];
            held_release(h);
        }
    }
    struct store_place *from = place_set_get(&w->places, t->image.from, e);
    if (from == NULL)
        return NULL;
    *h = (struct held){.t = t, .handles = {.from = from, .to = w->to}};
    return h;
}

/* ---- phases ---- */

/* Under the lock: whether a phase has just come to its end. */
static bool transfer_drained(struct transfer *t)
{
    return t->outstanding == 0 && !transfer_left(t);
}

/* Under the lock: others may look at it, and take of it. */
static void transfer_show(struct workers *c, struct transfer *t, uint64_t work_bytes)
{
    t->work_bytes = work_bytes;
    t->state = t->phase == TRANSFER_END ? TRANSFER_ENDED : TRANSFER_OPEN;
    pthread_cond_broadcast(&c->changed);
}

/*
 * Nobody else has a chunk of it. Goes on to the next phase, and over phases in which there is
 * nothing to do; at the end finishes the image.
 */
static int worker_advance(struct worker *w, struct held *h, struct err *e)
{
    struct workers *c = w->workers;
    struct transfer *t = h->t;
    for (;;) {
        enum transfer_phase next;
        if (transfer_end_phase(t, &h->handles, &next, e) < 0)
            return -1;
        uint64_t work_bytes = transfer_work_bytes(t); /* then its maps are given back */
        if (next == TRANSFER_END && transfer_finish(t, &h->handles, &next, e) < 0)
            return -1;
        if (next != TRANSFER_END)
            work_bytes = transfer_work_bytes(t);
        pthread_mutex_lock(&c->lock);
        t->phase = next;
        t->cursor = 0;
        bool ended = next == TRANSFER_END;
        bool drained = !ended && transfer_drained(t);
        if (!drained)
            transfer_show(c, t, work_bytes);
        c->ended += ended;
        if (c->ended == c->job->n)
            pthread_cond_signal(&c->watched);
        pthread_mutex_unlock(&c->lock);
        if (ended)
            held_release(h);
        if (!drained)
            return 0;
    }
}

/* A range came back. */
static int worker_took(struct worker *w, const struct copy_range *r, struct err *e)
{
    struct workers *c = w->workers;
    struct transfer *t = r->owner;
    struct held *h = worker_held(w, t);
    if (transfer_took(t, &h->handles, r, e) < 0)
        return -1;
    h->ranges--;
    pthread_mutex_lock(&c->lock);
    t->outstanding--;
    bool drained = transfer_drained(t);
    if (drained)
        t->state = TRANSFER_OPENING; /* nobody looks at it until it is advanced */
    pthread_mutex_unlock(&c->lock);
    return drained ? worker_advance(w, h, e) : 0;
}

/* ---- taking ---- */

/* Files that are kept open keep their room on a disk, even when they were removed. */
static void worker_tidy(struct worker *w)
{
    bool over[HELD_MAX] = {false};
    pthread_mutex_lock(&w->workers->lock);
    for (unsigned i = 0; i < HELD_MAX; i++)
        over[i] = w->held[i].t != NULL && w->held[i].t->state == TRANSFER_ENDED;
    pthread_mutex_unlock(&w->workers->lock);
    for (unsigned i = 0; i < HELD_MAX; i++)
        if (over[i])
            held_release(&w->held[i]);
}

/* Under the lock: an open transfer with a chunk to be taken, first of those that are held. */
static struct transfer *workers_find_open(struct workers *c, struct worker *w, bool parked)
{
    for (unsigned i = 0; i < HELD_MAX; i++) {
        struct transfer *t = w->held[i].t;
        if (t == NULL || t->state != TRANSFER_OPEN) /* only then others leave it alone */
            continue;
        bool others = parked && t->whole == NULL; /* can take it as well */
        if (!others && transfer_left(t))
            return t;
    }
    if (parked)
        return NULL;
    while (c->first_open < c->begun_to && c->job->transfers[c->first_open]->state == TRANSFER_ENDED)
        c->first_open++;
    for (size_t i = c->first_open; i < c->begun_to; i++) {
        struct transfer *t = c->job->transfers[i];
        if (t->state != TRANSFER_OPEN)
            continue;
        bool alone = t->whole != NULL && t->owner != w->index;
        if (!alone && transfer_left(t))
            return t;
    }
    return NULL;
}

/* Under the lock: the next one to begin. An overlay waits for what it is based on, so that it never
 * stands there without. */
static struct transfer *workers_find_pending(struct workers *c)
{
    struct transfer **t = c->job->transfers;
    while (c->first_pending < c->job->n && t[c->first_pending]->state != TRANSFER_PENDING)
        c->first_pending++;
    for (size_t i = c->first_pending; i < c->job->n; i++) {
        bool waits = t[i]->after != NULL && t[i]->after->state != TRANSFER_ENDED;
        if (t[i]->state != TRANSFER_PENDING || waits)
            continue;
        c->begun_to = i + 1 > c->begun_to ? i + 1 : c->begun_to;
        t[i]->state = TRANSFER_OPENING;
        t[i]->phase = transfer_phase_after(t[i], 0);
        return t[i];
    }
    return NULL;
}

static int worker_open_next(struct worker *w, struct transfer *t, struct err *e)
{
    struct held *h = worker_hold(w, t, e);
    if (h == NULL)
        return -1;
    t->image.state = RELOCATE_COPYING;
    t->owner = w->index;
    if (t->phases != 0 && transfer_open(t, &h->handles, e) < 0)
        return -1;
    pthread_mutex_lock(&w->workers->lock);
    bool drained = t->phases == 0 || transfer_drained(t);
    if (!drained)
        transfer_show(w->workers, t, transfer_work_bytes(t));
    pthread_mutex_unlock(&w->workers->lock);
    return drained ? worker_advance(w, h, e) : 0;
}

static int worker_range(struct worker *w, struct transfer *t, size_t chunk, struct err *e)
{
    struct held *h = worker_held(w, t);
    if (h != NULL && h->handles.phase != t->phase) {
        assert(h->ranges == 0);
        held_release(h);
        h = NULL;
    }
    if (h == NULL) {
        h = worker_hold(w, t, e);
        if (h == NULL || transfer_join(t, &h->handles, t->phase, e) < 0)
            return -1;
    }
    struct copy_range r;
    transfer_range(t, &h->handles, chunk, &r);
    h->ranges++;
    copy_give(w->copy, &r);
    return 0;
}

/* 1: took something, or got on with something; 0: there is nothing for now; -1. */
static int worker_take(struct worker *w, struct err *e)
{
    struct workers *c = w->workers;
    bool parked = w->index >= c->active;
    size_t chunk = 0;
    pthread_mutex_lock(&c->lock);
    struct transfer *open = workers_find_open(c, w, parked), *pending = NULL;
    if (open != NULL)
        chunk = transfer_next(open);
    else if (!parked)
        pending = workers_find_pending(c);
    pthread_mutex_unlock(&c->lock);
    if (open != NULL)
        return worker_range(w, open, chunk, e) < 0 ? -1 : 1;
    if (pending != NULL)
        return worker_open_next(w, pending, e) < 0 ? -1 : 1;
    return 0;
}

/* ---- the worker's thread ---- */

/* One round: takes, moves, gives back. 0: there is nothing to do just now; 1; -1. */
static int worker_round(struct worker *w, struct err *e)
{
    struct workers *c = w->workers;
    copy_tune(w->copy, c->depth, c->block_bytes);
    worker_tidy(w);
    int took = 1;
    while (took > 0 && copy_wants(w->copy))
        if ((took = worker_take(w, e)) < 0)
            return -1;
    const struct err *why = copy_error(w->copy);
    if (why == NULL && copy_idle(w->copy))
        return took;
    if (why == NULL)
        copy_turn(w->copy, TURN_NS);
    why = copy_error(w->copy);
    if (why != NULL) {
        *e = *why;
        return -1;
    }
    struct copy_range r;
    while (copy_take(w->copy, &r))
        if (worker_took(w, &r, e) < 0)
            return -1;
    return 1;
}

/* CLOCK_REALTIME, which a condition variable takes by default, WAIT_NS from now. */
static struct timespec workers_soon(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += WAIT_NS;
    ts.tv_sec += ts.tv_nsec / NS_PER_S;
    ts.tv_nsec %= NS_PER_S;
    return ts;
}

/* Waits until there may be something to do; whether all is over. */
static bool workers_wait(struct workers *c, pthread_cond_t *cond)
{
    struct timespec soon = workers_soon();
    pthread_mutex_lock(&c->lock);
    if (!c->stop && c->ended < c->job->n)
        pthread_cond_timedwait(cond, &c->lock, &soon);
    bool over = c->stop || c->ended == c->job->n;
    pthread_mutex_unlock(&c->lock);
    return over;
}

static void worker_work(struct worker *w, struct err *e)
{
    struct workers *c = w->workers;
    bool over = false;
    while (!c->stop && !over) {
        int rc = worker_round(w, e);
        if (rc < 0)
            workers_fail(c, e);
        else if (rc == 0)
            over = workers_wait(c, &c->changed);
    }
    if (!c->stop)
        return;
    const struct err stopped = {.class = ERR_CANCELLED, .msg = "stopped"};
    copy_fail(w->copy, &stopped);
    while (!copy_idle(w->copy))
        if (copy_turn(w->copy, TURN_NS) < 0)
            return;
}

static int worker_open(struct worker *w, struct err *e)
{
    const struct workers_job *job = w->workers->job;
    const struct relocate_options *o = job->options;
    w->ring = w->places.ring = ring_new(o->ring, e);
    if (w->ring == NULL)
        return -1;
    w->to = place_set_get(&w->places, job->to, e);
    if (w->to == NULL)
        return -1;
    uint32_t block = w->workers->tuner.max.block_bytes;
    uint64_t blocks = o->flight_bytes / o->workers_max / block;
    const struct copy_options copy = {
        .ring = w->ring,
        .blocks = blocks < 1              ? 1
                  : blocks < o->depth_max ? (unsigned)blocks
                                          : o->depth_max,
        .block_bytes = block,
        .bucket = o->bytes_per_s > 0 ? &w->workers->bucket : NULL,
        .counters = &w->workers->counters,
    };
    w->copy = copy_new(&copy, e);
    return w->copy != NULL ? 0 : -1;
}

/* With I/O that may be under way for ever, since the ring broke, all is left to the kernel. */
static void worker_close(struct worker *w)
{
    if (w->copy != NULL && !copy_idle(w->copy))
        return;
    for (unsigned i = 0; i < HELD_MAX; i++)
        if (w->held[i].t != NULL)
            held_release(&w->held[i]);
    place_set_close(&w->places);
    copy_free(w->copy);
    ring_free(w->ring);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct err e = {0};
    if (worker_open(w, &e) < 0)
        workers_fail(w->workers, &e);
    else
        worker_work(w, &e);
    worker_close(w);
    return NULL;
}

/* ---- the caller's thread ---- */

static int workers_start(struct workers *c, unsigned wanted, struct err *e)
{
    while (c->started < wanted) {
        struct worker *w = &c->workers[c->started];
        *w = (struct worker){.workers = c, .index = c->started};
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc != 0)
            return err_set(e, ERR_IO, rc, "cannot start a worker's thread");
        c->started++;
    }
    return 0;
}

static void workers_set(struct workers *c, const struct tuner_setting *s)
{
    log_debug("tuner: %u workers, %u blocks of %u KiB each", s->workers, s->depth,
              s->block_bytes >> 10);
    c->depth = s->depth;
    c->block_bytes = s->block_bytes;
    c->active = s->workers;
}

static void workers_tune(struct workers *c, int64_t now_ns)
{
    struct err e = {0};
    if (c->job->options->fixed || c->job->options->bytes_per_s > 0 ||
        !tuner_sample(&c->tuner, c->counters.done_bytes, now_ns))
        return;
    if (workers_start(c, c->tuner.now.workers, &e) < 0)
        log_warn("%s", e.msg);
    workers_set(c, &c->tuner.now);
}

/* What is done and to be done, of all transfers. */
static void workers_sum(struct workers *c, struct relocate_progress *p)
{
    uint64_t work = 0, bytes = 0;
    p->name = NULL;
    p->images = c->job->n;
    pthread_mutex_lock(&c->lock);
    p->images_done = c->ended;
    for (size_t i = 0; i < c->job->n; i++) {
        const struct transfer *t = c->job->transfers[i];
        work += t->work_bytes;
        bytes += t->image.bytes;
        if (t->state != TRANSFER_ENDED && t->state != TRANSFER_PENDING && p->name == NULL)
            p->name = t->image.name;
    }
    pthread_mutex_unlock(&c->lock);
    p->total_data_bytes = work;
    p->total_bytes = bytes;
}

/* The rate is a running mean over about two seconds: steady, and still honest about a stall. */
static void workers_tell(struct workers *c, int64_t now_ns, bool at_end)
{
    const struct relocate_options *o = c->job->options;
    int64_t since_ns = now_ns - c->shown_at_ns;
    if (o->progress == NULL || (!at_end && since_ns < TELL_NS))
        return;
    struct relocate_progress *p = &c->shown;
    uint64_t done = c->counters.done_bytes;
    double rate = (double)(done - p->data_bytes) * 1e9 / (double)(since_ns + 1);
    double mean = p->bytes_per_s == 0 ? rate : (double)p->bytes_per_s * 0.87 + rate * 0.13;
    if (!at_end || p->bytes_per_s == 0)
        p->bytes_per_s = (uint64_t)mean;
    workers_sum(c, p);
    p->data_bytes = done;
    if (p->total_data_bytes < done)
        p->total_data_bytes = done;
    uint64_t left = p->total_data_bytes - done;
    double share = p->total_data_bytes > 0 ? (double)done / (double)p->total_data_bytes : 0;
    uint64_t bytes = at_end && c->ended == c->job->n ? p->total_bytes
                                                     : (uint64_t)(share * (double)p->total_bytes);
    if (bytes > p->bytes)
        p->bytes = bytes;
    p->eta_ns = left == 0 ? 0 : -1;
    if (left > 0 && p->bytes_per_s > 0)
        p->eta_ns = (int64_t)((double)left / (double)p->bytes_per_s * 1e9);
    c->shown_at_ns = now_ns;
    o->progress(o->progress_arg, p);
}

static void workers_watch(struct workers *c)
{
    const volatile sig_atomic_t *cancel = c->job->options->cancel;
    while (!workers_wait(c, &c->watched)) {
        int64_t now_ns = clock_now_ns();
        if (cancel != NULL && *cancel) {
            struct err e = {0};
            err_set(&e, ERR_CANCELLED, 0, "cancelled");
            workers_fail(c, &e);
        }
        workers_tell(c, now_ns, false);
        workers_tune(c, now_ns);
    }
}

static void workers_count(struct workers *c)
{
    struct relocate_totals *t = c->job->totals;
    t->written_bytes = c->counters.written_bytes;
    t->read = c->counters.read;
    t->write = c->counters.write;
    t->commit = c->counters.commit;
    t->resent = c->counters.resent;
    t->workers = c->active;
    t->depth = c->depth;
    t->block_bytes = c->block_bytes;
}

/* No more workers than can find something to do. */
static unsigned workers_most(const struct workers_job *job)
{
    uint64_t chunks = 0;
    for (size_t i = 0; i < job->n; i++) {
        const struct transfer *t = job->transfers[i];
        chunks += transfer_may_be_shared(t) ? 1 + t->work_bytes / job->options->chunk_bytes : 1;
    }
    return chunks < job->options->workers_max ? (unsigned)chunks : job->options->workers_max;
}

int workers_run(const struct workers_job *job, struct err *e)
{
    if (job->n == 0)
        return 0;
    const struct relocate_options *o = job->options;
    struct workers *c = calloc(1, sizeof *c);
    if (c == NULL || (c->workers = calloc(o->workers_max, sizeof *c->workers)) == NULL) {
        free(c);
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %u workers", o->workers_max);
    }
    c->job = job;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    pthread_cond_init(&c->watched, NULL);
    int64_t now_ns = c->shown_at_ns = clock_now_ns();
    if (o->bytes_per_s > 0)
        bucket_init(&c->bucket, o->bytes_per_s, now_ns);
    const struct tuner_setting max = {workers_most(job), o->depth_max, o->block_bytes};
    tuner_init(&c->tuner, &max, now_ns);
    workers_set(c, o->fixed ? &max : &c->tuner.now);

    struct err cannot = {0};
    if (workers_start(c, c->active, &cannot) < 0)
        workers_fail(c, &cannot);
    workers_watch(c);
    for (unsigned i = 0; i < c->started; i++)
        pthread_join(c->workers[i].thread, NULL);
    workers_tell(c, clock_now_ns(), true);
    workers_count(c);
    bool failed = c->error.class != ERR_NONE;
    if (failed)
        *e = c->error;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    pthread_cond_destroy(&c->watched);
    if (o->bytes_per_s > 0)
        bucket_destroy(&c->bucket);
    free(c->workers);
    free(c);
    return failed ? -1 : 0;
}
