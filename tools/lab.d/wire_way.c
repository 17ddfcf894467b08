/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One thread does all of a direction, so nothing is shared and nothing is locked. It reads what there
 * is, giving each frame the time at which it is due, hands on what is due, and sleeps in ppoll() until
 * there is more to read or the head of the queue is due, whichever comes first. Neither reading nor
 * writing goes on for longer than a batch: a flood must not keep what is due from leaving.
 *
 * The queue is a ring of {due, first page, length}. It is in order of due time because a frame is never
 * due before the one in front of it: jitter is that of the queues along a path, which make frames wait
 * and do not let them overtake. In a dense stream the due times are therefore those of the slowest
 * frames; what jitter is to a frame is seen where they are sparse.
 *
 * Frames lie in pages of a pool that is mapped once. Free ones are a stack, through next[]: a frame is
 * read into those on top (readv), and takes of them as many as it needs, in the order in which they are
 * linked already. So nothing is allocated or copied, and no more memory is ever touched than what was on
 * the way at once. When those that are left would not hold the largest frame, one that comes is dropped, as a
 * switch does that is full.
 *
 * Loss is drawn for each frame by itself. That it is a loss of packets is up to who makes the frames
 * (wire.c): there must be one packet in each.
 */
#include "tools/lab.d/wire_way.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"

enum {
    PAGE_BYTES = 2048, /* holds a frame of an Ethernet without offloads */
    PAGES = 32768,
    FRAME_PAGES =
        33, /* 64 KiB, the largest that TCP hands down, with its headers and a virtio_net_hdr */
    BATCH = 64,
};

struct frame {
    int64_t due_ns;
    uint32_t first, bytes;
};

struct wire_way {
    int from, to;
    struct wire_terms terms;
    char *pool;
    uint32_t next[PAGES]; /* of the same frame, or of those that are free */
    uint32_t free, free_n;
    struct frame queue[PAGES]; /* each has a page at least */
    uint32_t head, n;
    int64_t last_due_ns;
    uint64_t random; /* xorshift64*: never 0 */
    bool gone;
    struct wire_counts counts;
};

struct wire_way *wire_way_new(int from, int to, const struct wire_terms *t, struct err *e)
{
    struct wire_way *w = calloc(1, sizeof *w);
    char *pool = mmap(NULL, (size_t)PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w == NULL || pool == MAP_FAILED) {
        if (pool != MAP_FAILED)
            munmap(pool, (size_t)PAGES * PAGE_BYTES);
        free(w);
        err_set(e, ERR_IO, ENOMEM, "no memory for what is on the wire");
        return NULL;
    }
    w->from = from;
    w->to = to;
    w->terms = *t;
    w->pool = pool;
    w->free_n = PAGES;
    for (uint32_t i = 0; i < PAGES; i++)
        w->next[i] = i + 1;
    while (w->random == 0)
        if (getrandom(&w->random, sizeof w->random, 0) != sizeof w->random)
            abort(); /* getrandom(2): up to 256 bytes are whole once the pool is ready */
    return w;
}

void wire_way_free(struct wire_way *w)
{
    if (w == NULL)
        return;
    munmap(w->pool, (size_t)PAGES * PAGE_BYTES);
    free(w);
}

const struct wire_counts *wire_way_counts(const struct wire_way *w)
{
    return &w->counts;
}

/* From 0, with it, to 1, without it. */
static double way_draw(struct wire_way *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (double)((w->random * UINT64_C(2685821657736338717)) >> 11) /
           (double)(UINT64_C(1) << 53);
}

static int64_t way_due_ns(struct wire_way *w)
{
    int64_t due_ns = clock_now_ns() + w->terms.delay_ns;
    if (w->terms.jitter_ns > 0)
        due_ns += (int64_t)((2 * way_draw(w) - 1) * (double)w->terms.jitter_ns);
    if (due_ns < w->last_due_ns)
        due_ns = w->last_due_ns;
    return w->last_due_ns = due_ns;
}

/* What read(2) and write(2) say of a device that has been taken away; when it is down it is EIO. */
static bool way_is_gone(void)
{
    return errno == EBADFD || errno == EBADF || errno == ENODEV || errno == EPIPE ||
           errno == ECONNRESET;
}

/* The first pages of those that are free, or of a frame; their number. */
static int way_pages(const struct wire_way *w, uint32_t page, size_t bytes, struct iovec *at)
{
    int n = 0;
    for (size_t left = bytes; left > 0; page = w->next[page], n++) {
        size_t here = left < PAGE_BYTES ? left : PAGE_BYTES;
        at[n] = (struct iovec){w->pool + (size_t)page * PAGE_BYTES, here};
        left -= here;
    }
    return n;
}

static void way_queue(struct wire_way *w, size_t bytes)
{
    uint32_t pages = (uint32_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
    struct frame *f = &w->queue[(w->head + w->n++) % PAGES];
    *f = (struct frame){.due_ns = way_due_ns(w), .first = w->free, .bytes = (uint32_t)bytes};
    w->free_n -= pages;
    for (uint32_t i = 0; i < pages; i++)
        w->free = w->next[w->free];
}

/* Takes up to a batch of what has come. */
static void way_take(struct wire_way *w)
{
    struct iovec at[FRAME_PAGES];
    for (int i = 0; i < BATCH; i++) {
        int n = way_pages(w, w->free, (size_t)FRAME_PAGES * PAGE_BYTES, at);
        ssize_t bytes = readv(w->from, at, n);
        if (bytes <= 0) {
            w->gone = w->gone || bytes == 0 || way_is_gone();
            return;
        }
        if (w->terms.loss > 0 && way_draw(w) < w->terms.loss)
            w->counts.lost++;
        else if (w->free_n < 2 * FRAME_PAGES) /* the next one needs what this one would leave */
            w->counts.full++;
        else
            way_queue(w, (size_t)bytes);
    }
}

static void way_release(struct wire_way *w, const struct frame *f)
{
    uint32_t pages = (f->bytes + PAGE_BYTES - 1) / PAGE_BYTES, last = f->first;
    for (uint32_t i = 1; i < pages; i++)
        last = w->next[last];
    w->next[last] = w->free;
    w->free = f->first;
    w->free_n += pages;
}

/* Hands on up to a batch of what is due. */
static void way_hand_on(struct wire_way *w)
{
    struct iovec at[FRAME_PAGES];
    for (int i = 0; i < BATCH && w->n > 0; i++) {
        const struct frame *f = &w->queue[w->head];
        int64_t late_ns = clock_now_ns() - f->due_ns;
        if (late_ns < 0)
            return;
        if (late_ns > w->counts.late_max_ns)
            w->counts.late_max_ns = late_ns;
        if (writev(w->to, at, way_pages(w, f->first, f->bytes, at)) >= 0) {
            w->counts.frames++;
            w->counts.bytes += f->bytes;
        } else if (way_is_gone()) {
            w->gone = true;
            return;
        } /* else it is a device that is down, or has no room: a lost frame as any other */
        way_release(w, f);
        w->head = (w->head + 1) % PAGES;
        w->n--;
    }
}

static void way_wait(struct wire_way *w)
{
    struct pollfd ends[] = {{.fd = w->from, .events = POLLIN}, {.fd = w->to}};
    int64_t ns = w->n > 0 ? w->queue[w->head].due_ns - clock_now_ns() : -1;
    const struct timespec until = {ns / NS_PER_S, ns % NS_PER_S}, now = {0};
    const struct timespec *time = w->n == 0 ? NULL : ns > 0 ? &until : &now;
    if (ppoll(ends, 2, time, NULL) > 0)
        w->gone = ((ends[0].revents | ends[1].revents) & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

void wire_way_run(struct wire_way *w)
{
    prctl(PR_SET_TIMERSLACK, 1);
    while (!w->gone) {
        way_take(w);
        way_hand_on(w);
        if (!w->gone)
            way_wait(w);
    }
}
