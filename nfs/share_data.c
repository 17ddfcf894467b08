/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Every I/O passes through here on its way to the carrier, and with our done() back. One that
 * failed for a reason that may pass is kept in the list of those that wait, and started again:
 *
 *   busy   (NFS3ERR_JUKEBOX) alone, by a timer of its own, after as long as it has failed so far
 *   lost   the carrier is; so all that was under way comes back. One timer of the place, `repair`,
 *          connects anew, with backoff, and then starts all that wait
 *   stale  `repair` has the file's name looked up, and starts it again: once for a file, and once for
 *          an I/O that was sent with the old handle
 *
 * An I/O that has failed for timeout_ns since its first failure has failed. All answers that come
 * after a loss are good ones: a write or read can be done twice, and a verifier tells by itself
 * whether the server has forgotten something meanwhile.
 *
 * The first connection is made like one that was lost, only sooner and in silence. The loss counts
 * as over not with the connection, but with the first answer that comes over it: a server may
 * accept connections, and be unable to do more.
 *
 * Connecting and looking up block the thread; so `repair` does one attempt, bounded in time, each
 * time. It runs from the ring, where a carrier cannot be closed, since that turns the ring: dead
 * ones are kept until there are too many; by then the oldest has been called back for everything
 * that it has ever started, and does not turn it.
 */
#include "nfs/share_data.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_control.h"
#include "nfs/share_file.h"
#include "nfs/share_lane.h"
#include "nfs/share_wait.h"

enum { DATA_READ, DATA_WRITE, DATA_COMMIT };
enum { DATA_DEAD_MAX = 4 };

#define DATA_CONNECT_NS (5 * NS_PER_S)
#define DATA_PAUSE_MIN_NS (100 * NS_PER_MS)
#define DATA_PAUSE_MAX_NS (10 * NS_PER_S)
#define DATA_TURN_NS (100 * NS_PER_MS)

struct share_data {
    struct share_place *place;
    struct ring *ring;
    int64_t timeout_ns;
    struct share_carrier *carrier; /* NULL: none */
    struct share_carrier *dead[DATA_DEAD_MAX];
    unsigned n_dead;
    unsigned count;                /* I/Os that are not done, wherever they are */
    struct store_io *first, *last; /* that wait; with a timer under way, if they are busy */
    struct ring_op repair;
    int64_t pause_ns;
    int64_t lost_ns; /* since then; 0: not lost */
    bool stopping;
};

static void data_repair(void *arg, int res);

static struct share_data *data_of(const struct store_io *io)
{
    return io->by;
}

/* ---- the list of those that wait ---- */

static void data_link(struct share_data *d, struct store_io *io)
{
    io->next = NULL;
    io->prev = d->last;
    *(d->last != NULL ? &d->last->next : &d->first) = io;
    d->last = io;
}

static void data_unlink(struct share_data *d, struct store_io *io)
{
    *(io->prev != NULL ? &io->prev->next : &d->first) = io->next;
    *(io->next != NULL ? &io->next->prev : &d->last) = io->prev;
}

static void data_arm(struct share_data *d, int64_t after_ns)
{
    if (!ring_busy(&d->repair))
        ring_after(d->ring, &d->repair, after_ns, data_repair, d);
}

static int64_t data_clamp_pause(int64_t pause_ns)
{
    if (pause_ns < DATA_PAUSE_MIN_NS)
        return DATA_PAUSE_MIN_NS;
    return pause_ns < DATA_PAUSE_MAX_NS ? pause_ns : DATA_PAUSE_MAX_NS;
}

/* Up to a quarter less, so that workers do not come back all at once. */
static int64_t data_next_pause(struct share_data *d)
{
    d->pause_ns = data_clamp_pause(2 * d->pause_ns);
    return d->pause_ns - clock_now_ns() % (d->pause_ns / 4);
}

/* ---- one I/O ---- */

/* The last of it: the record is the caller's again. */
static void data_finish(struct share_data *d, struct store_io *io, int res, enum err_class fault)
{
    d->count--;
    if (d->count == 0)
        d->stopping = false;
    io->res = res;
    io->fault = fault;
    io->done = io->then;
    io->done(io);
}

static void data_send(struct share_data *d, struct store_io *io)
{
    const struct share_fh *fh = &((const struct share_file *)io->file)->fh;
    if (d->stopping || d->carrier == NULL || d->carrier->lost) {
        data_link(d, io);
        if (!ring_busy(&d->repair))
            data_arm(d, d->lost_ns == 0 ? 0 : data_next_pause(d));
        return;
    }
    switch (io->what) {
    case DATA_READ: d->carrier->ops->read(d->carrier, fh, io); break;
    case DATA_WRITE: d->carrier->ops->write(d->carrier, fh, io); break;
    default: d->carrier->ops->commit(d->carrier, fh, io);
    }
}

static bool data_expired(const struct share_data *d, const struct store_io *io, int64_t now_ns)
{
    return io->since_ns != 0 && now_ns - io->since_ns >= d->timeout_ns;
}

static void data_busy_over(void *arg, int res)
{
    struct store_io *io = arg;
    struct share_data *d = data_of(io);
    (void)res;
    data_unlink(d, io);
    if (d->stopping)
        data_finish(d, io, -ECANCELED, ERR_CANCELLED);
    else
        data_send(d, io);
}

/* To wait for as long as it has failed doubles the pause each time. */
static void data_busy(struct share_data *d, struct store_io *io)
{
    int64_t now_ns = clock_now_ns();
    if (io->since_ns == 0)
        io->since_ns = now_ns;
    int64_t busy_ns = now_ns - io->since_ns;
    if (data_expired(d, io, now_ns)) {
        log_warn("%s: given up after %d s: the server is busy (NFS3ERR_JUKEBOX)", d->place->text,
                 (int)(busy_ns / NS_PER_S));
        data_finish(d, io, io->res, io->fault);
        return;
    }
    share_wait_busy(d->place->text, busy_ns);
    data_link(d, io);
    ring_after(d->ring, &io->op, data_clamp_pause(busy_ns), data_busy_over, io);
}

static void data_lose(struct share_data *d, int64_t since_ns, const char *why)
{
    if (d->lost_ns != 0)
        return;
    d->lost_ns = since_ns;
    d->pause_ns = 0;
    log_warn("%s: %s, trying again for %d s", d->place->text, why, (int)(d->timeout_ns / NS_PER_S));
}

static void data_lost(struct share_data *d, struct store_io *io)
{
    int64_t now_ns = clock_now_ns();
    bool late = io->fault == ERR_TIMEOUT;
    data_lose(d, late ? now_ns - d->timeout_ns / 2 : now_ns,
              late ? "the server does not answer" : "connection lost");
    if (io->since_ns == 0)
        io->since_ns = d->lost_ns;
    if (data_expired(d, io, now_ns)) {
        data_finish(d, io, io->res, io->fault);
        return;
    }
    data_link(d, io);
    if (!ring_busy(&d->repair))
        data_arm(d, data_next_pause(d));
}

static void data_stale(struct share_data *d, struct store_io *io)
{
    struct share_file *f = (struct share_file *)io->file;
    f->stale = f->stale || !f->renewed;
    if (io->since_ns == 0)
        io->since_ns = clock_now_ns();
    data_link(d, io);
    data_arm(d, 0);
}

static void data_answered(struct share_data *d)
{
    if (d->lost_ns == 0)
        return;
    log_warn("%s: the server answers again, after %.1f s", d->place->text,
             (double)(clock_now_ns() - d->lost_ns) / NS_PER_S);
    d->lost_ns = 0;
}

static void data_done(struct store_io *io)
{
    struct share_data *d = data_of(io);
    bool lost = io->res < 0 && (io->fault == ERR_LOST || io->fault == ERR_TIMEOUT);
    if (io->res >= 0 || io->fault == ERR_NFS) {
        d->place->answered_ns = clock_now_ns();
        data_answered(d);
    }
    if (io->res >= 0)
        data_finish(d, io, io->res, ERR_NONE);
    else if (d->stopping)
        data_finish(d, io, -ECANCELED, ERR_CANCELLED);
    else if (lost)
        data_lost(d, io);
    else if (io->fault == ERR_NFS && io->res == -EAGAIN)
        data_busy(d, io);
    else if (io->fault == ERR_NFS && io->res == -ESTALE && io->tries++ == 0)
        data_stale(d, io);
    else
        data_finish(d, io, io->res, io->fault);
}

static void data_start(struct share_data *d, struct store_io *io, int what)
{
    d->count++;
    io->by = d;
    io->what = what;
    io->then = io->done;
    io->done = data_done;
    io->since_ns = 0;
    io->tries = 0;
    data_send(d, io);
}

void share_data_read(struct share_data *d, struct store_io *io)
{
    data_start(d, io, DATA_READ);
}

void share_data_write(struct share_data *d, struct store_io *io)
{
    data_start(d, io, DATA_WRITE);
}

void share_data_commit(struct share_data *d, struct store_io *io)
{
    data_start(d, io, DATA_COMMIT);
}

/* ---- connecting ---- */

static void data_bury(struct share_data *d)
{
    if (d->carrier == NULL)
        return;
    if (d->n_dead == DATA_DEAD_MAX) {
        d->dead[0]->ops->close(d->dead[0]);
        for (unsigned i = 1; i < d->n_dead; i++)
            d->dead[i - 1] = d->dead[i];
        d->n_dead--;
    }
    d->dead[d->n_dead++] = d->carrier;
    d->carrier = NULL;
}

/* libnfs always connects; then it is decided who speaks. */
static struct share_carrier *data_connect(struct share_data *d, struct err *e)
{
    struct share_place *p = d->place;
    int64_t patience_ns = d->timeout_ns / 2 < DATA_CONNECT_NS ? d->timeout_ns / 2 : DATA_CONNECT_NS;
    struct share_conn *c = share_control_connect(p, NFS_PROGRAM, clock_now_ns() + patience_ns, e);
    if (c == NULL)
        return NULL;
    bool own = p->options.path != SHARE_PATH_LIBNFS && share_lane_fits(c);
    struct share_carrier *carrier = own ? share_lane_adopt(d->ring, c, d->timeout_ns / 2, e)
                                        : share_conn_carrier(c);
    if (carrier != NULL)
        log_debug("%s: connected for data, by %s", p->text, carrier->ops->name);
    return carrier;
}

/* Those that wait without a timer of their own, unlinked, in order. */
static struct store_io *data_take_waiting(struct share_data *d)
{
    struct store_io *taken = NULL, **end = &taken, *io, *next;
    for (io = d->first; io != NULL; io = next) {
        next = io->next;
        if (ring_busy(&io->op))
            continue;
        data_unlink(d, io);
        io->next = NULL;
        *end = io;
        end = &io->next;
    }
    return taken;
}

static void data_cancel_waiting(struct share_data *d)
{
    for (struct store_io *io = d->first; io != NULL; io = io->next)
        ring_cancel(d->ring, &io->op); /* those that have a timer; it calls back */
    for (struct store_io *io = data_take_waiting(d), *next; io != NULL; io = next) {
        next = io->next;
        data_finish(d, io, -ECANCELED, ERR_CANCELLED);
    }
}

/* No connection: ends those for which it has been so for too long. */
static void data_give_up(struct share_data *d, const struct err *why)
{
    int64_t now_ns = clock_now_ns();
    bool given_up = false;
    data_lose(d, now_ns, why->msg);
    for (struct store_io *io = data_take_waiting(d), *next; io != NULL; io = next) {
        next = io->next;
        if (io->since_ns == 0)
            io->since_ns = d->lost_ns;
        if (!data_expired(d, io, now_ns)) {
            data_link(d, io);
            continue;
        }
        if (!given_up)
            log_warn("%s: given up after %d s: %s", d->place->text,
                     (int)((now_ns - d->lost_ns) / NS_PER_S), why->msg);
        given_up = true;
        data_finish(d, io, -ECONNRESET, ERR_LOST);
    }
    if (d->first != NULL)
        data_arm(d, data_next_pause(d));
}

enum data_renewed { DATA_FRESH, DATA_STALE, DATA_NOT_NOW };

/* Asked once for all I/Os of a file. */
static enum data_renewed data_renew(struct share_data *d, struct share_file *f)
{
    struct err e = {0};
    if (!f->stale)
        return DATA_FRESH;
    bool same = share_file_renew(f, &e) == 0;
    if (!same)
        log_debug("%s: %s", d->place->text, e.msg);
    if (!same && (e.class == ERR_LOST || e.class == ERR_TIMEOUT || e.class == ERR_CANCELLED ||
                  e.sys == EAGAIN))
        return DATA_NOT_NOW;
    f->stale = false;
    f->renewed = true;
    return same ? DATA_FRESH : DATA_STALE;
}

/* Starts all that wait; with the one exception, which is tried again later. */
static void data_send_waiting(struct share_data *d)
{
    bool asked_in_vain = false; /* it takes seconds: once each time */
    for (struct store_io *io = data_take_waiting(d), *next; io != NULL; io = next) {
        struct share_file *f = (struct share_file *)io->file;
        next = io->next;
        enum data_renewed now = asked_in_vain && f->stale ? DATA_NOT_NOW : data_renew(d, f);
        asked_in_vain = asked_in_vain || now == DATA_NOT_NOW;
        if (now == DATA_FRESH)
            data_send(d, io);
        else if (now == DATA_STALE)
            data_finish(d, io, -ESTALE, ERR_NFS);
        else if (data_expired(d, io, clock_now_ns()))
            data_finish(d, io, -ECONNRESET, ERR_LOST);
        else
            data_link(d, io);
    }
    if (asked_in_vain)
        data_arm(d, data_next_pause(d));
}

static void data_repair(void *arg, int res)
{
    struct share_data *d = arg;
    struct err e = {0};
    (void)res;
    if (d->stopping) {
        data_cancel_waiting(d);
        return;
    }
    if (d->first == NULL)
        return;
    if (d->carrier != NULL && d->carrier->lost)
        data_bury(d);
    if (d->carrier == NULL && (d->carrier = data_connect(d, &e)) == NULL) {
        data_give_up(d, &e);
        return;
    }
    data_send_waiting(d);
}

/* ---- the port ---- */

unsigned share_data_load(const struct share_data *d)
{
    return d->count;
}

void share_data_stop(struct share_data *d)
{
    if (d->count == 0)
        return;
    d->stopping = true;
    if (d->carrier != NULL) {
        d->carrier->ops->stop(d->carrier);
        data_bury(d);
    }
    if (ring_busy(&d->repair))
        ring_cancel(d->ring, &d->repair);
    else
        data_arm(d, 0);
}

struct share_data *share_data_new(struct share_place *p)
{
    struct share_data *d = calloc(1, sizeof *d);
    if (d != NULL) {
        d->place = p;
        d->ring = p->base.ring;
        d->timeout_ns = p->options.timeout_ns;
    }
    return d;
}

static void data_close_dead(struct share_data *d)
{
    for (unsigned i = 0; i < d->n_dead; i++)
        d->dead[i]->ops->close(d->dead[i]);
    d->n_dead = 0;
}

void share_data_check(struct share_data *d)
{
    if (d->count > 0)
        return;
    if (d->carrier != NULL && !d->carrier->ops->check(d->carrier))
        data_bury(d);
}

void share_data_close(struct share_data *d)
{
    if (d == NULL)
        return;
    assert(d->count == 0);
    data_bury(d);
    data_close_dead(d);
    ring_cancel(d->ring, &d->repair);
    while (ring_busy(&d->repair))
        if (ring_turn(d->ring, DATA_TURN_NS) < 0)
            return; /* the ring is broken and may still call: leave it the record */
    free(d);
}
