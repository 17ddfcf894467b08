/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Reads, writes and commits have their effect either at once or when they are answered: a COMMIT
 * that does not wait for the answers of its writes finds some of them not there yet. What is muted
 * is not given to the ring, until stop().
 */
#include "memory_world.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/clock.h"

struct memory_place *memory_place_of(struct store_place *p)
{
    struct memory_place *place = (struct memory_place *)p;
    assert(pthread_equal(place->thread, pthread_self()));
    return place;
}

static void io_read(struct memory_server *s, struct store_io *io)
{
    const struct memory_image *image = ((struct memory_file *)io->file)->image;
    uint64_t size = image->attr.size_bytes;
    if (s->faults.end_early)
        size /= 2;
    uint64_t room = io->offset < size ? size - io->offset : 0;
    if (room < (uint64_t)io->res)
        io->res = (int)room;
    if (io->res > 0)
        memcpy(io->buf, image->cached + io->offset, (size_t)io->res);
    s->read_bytes += (uint64_t)io->res;
}

/* From here on what was written counts, beside the extents that it was added with. */
static void image_use_pages(struct memory_image *image)
{
    for (size_t i = 0; i < image->n_extents; i++) {
        const struct store_extent *x = &image->extents[i];
        size_t first = x->offset / MEMORY_PAGE;
        memset(image->pages + first, 1, memory_image_pages(x->offset + x->len_bytes) - first);
    }
    image->n_extents = 0;
}

static void io_write(struct memory_server *s, struct store_io *io)
{
    struct memory_image *image = ((struct memory_file *)io->file)->image;
    const struct memory_faults *x = &s->faults;
    uint64_t end = io->offset + (uint64_t)io->res;
    io->stable = x->always_stable || (io->want_stable && !x->lie);
    io->res = x->writes_nothing ? 0 : io->res;
    s->verifier += x->new_verifiers;
    memset(io->verifier, s->verifier, sizeof io->verifier);
    s->stable_writes += io->stable;
    if (io->res <= 0)
        return;
    if (end > image->attr.size_bytes)
        memory_image_resize(image, end);
    image_use_pages(image);
    memcpy(image->cached + io->offset, io->buf, (size_t)io->res);
    if (x->corrupt_at > 0 && (x->only == NULL || memory_name_ends(io->file->name, x->only)) &&
        ++s->counted_writes == x->corrupt_at) {
        image->cached[io->offset + (uint64_t)io->res / 2] ^= 4;
        s->corrupted++;
    }
    if (io->stable)
        memcpy(image->durable + io->offset, image->cached + io->offset, (size_t)io->res);
    for (size_t page = io->offset / MEMORY_PAGE; page < memory_image_pages(end); page++) {
        image->attr.used_bytes += image->pages[page] ? 0 : MEMORY_PAGE;
        image->pages[page] = 1;
    }
    s->written_bytes += (uint64_t)io->res;
    memory_image_touch(s, image);
}

static void io_commit(struct memory_server *s, struct store_io *io)
{
    struct memory_image *image = ((struct memory_file *)io->file)->image;
    uint64_t size = image->attr.size_bytes;
    uint64_t room = io->offset < size ? size - io->offset : 0;
    uint64_t n = io->len_bytes == 0 || io->len_bytes > room ? room : io->len_bytes;
    if (n > 0)
        memcpy(image->durable + io->offset, image->cached + io->offset, n);
    s->verifier += s->faults.new_verifiers;
    memset(io->verifier, s->verifier, sizeof io->verifier);
}

static void io_effect(struct memory_server *s, struct store_io *io)
{
    enum memory_op op = (enum memory_op)io->tries;
    if (op == MEMORY_READ)
        io_read(s, io);
    else if (op == MEMORY_WRITE)
        io_write(s, io);
    else
        io_commit(s, io);
}

static void place_unlink(struct memory_place *p, struct store_io *io)
{
    *(io->prev != NULL ? &io->prev->next : &p->under_way) = io->next;
    if (io->next != NULL)
        io->next->prev = io->prev;
}

/* `lane` is set as long as the effect is still to come. */
static void answer(void *arg, int res)
{
    struct store_io *io = arg;
    struct memory_file *f = (struct memory_file *)io->file;
    struct memory_place *p = memory_place_of(f->base.place);
    struct memory_server *s = p->server;
    pthread_mutex_lock(&s->world->lock);
    if (res < 0) {
        io->res = res;
        io->fault = ERR_CANCELLED;
    } else if (s->world->dead) {
        io->res = -ECONNRESET;
        io->fault = ERR_LOST;
    } else if (io->lane != NULL) {
        io_effect(s, io);
    }
    f->under_way--;
    place_unlink(p, io);
    pthread_mutex_unlock(&s->world->lock);
    bool outer = p->in_done;
    p->in_done = true;
    io->done(io);
    p->in_done = outer;
}

static bool halved(const struct memory_server *s, const struct store_io *io)
{
    unsigned every = s->faults.short_every;
    unsigned n = s->done[MEMORY_READ] + s->done[MEMORY_WRITE];
    return every > 0 && io->buf != NULL && n % every == 0;
}

/* Enters, and has its effect now or leaves it to answer(). */
static void io_enter(struct memory_server *s, enum memory_op op, struct store_io *io)
{
    enum memory_death part;
    io->tries = op;
    io->lane = NULL;
    io->fault = ERR_IO;
    int rc = memory_enter(s, op, io->file->name, io, &part);
    io->res = op == MEMORY_COMMIT ? 0 : (int)io->len_bytes;
    if ((halved(s, io) || part == DEATH_HALF) && io->len_bytes > MEMORY_PAGE)
        io->res = (int)(io->len_bytes / 2 / MEMORY_PAGE * MEMORY_PAGE);
    bool late = rc == 0 && s->faults.shuffle && memory_world_random(s->world) % 2;
    if (late)
        io->lane = s;
    else if (part == DEATH_AFTER || (part == DEATH_HALF && op == MEMORY_WRITE))
        io_effect(s, io);
    if (rc < 0)
        io->res = rc;
}

static void io_start(enum memory_op op, struct store_io *io)
{
    struct memory_file *f = (struct memory_file *)io->file;
    struct memory_place *p = memory_place_of(f->base.place);
    struct memory_server *s = p->server;
    const struct memory_faults *x = &s->faults;
    assert(io->done != NULL);
    if (op != MEMORY_COMMIT) {
        uint32_t mask = f->base.align_bytes - 1;
        assert(io->len_bytes <= s->io_max_bytes);
        assert(((uintptr_t)io->buf & mask) == 0 || (io->offset & mask) != 0); /* a file's end */
    }
    assert(op == MEMORY_READ || f->writable);

    pthread_mutex_lock(&s->world->lock);
    unsigned before = s->done[op] + 1;
    if ((op == MEMORY_WRITE && before == x->crash_at_write) ||
        (op == MEMORY_COMMIT && (before == x->crash_at_commit || x->crash_always)))
        memory_crash(s, false);
    if (op == MEMORY_WRITE && before == x->forget_at_write)
        memory_forget(s, "-part");
    if (op == MEMORY_WRITE && before == x->renew_at_write && x->renews_too != NULL)
        memory_rename_handles(x->renews_too, NULL);
    if (op == MEMORY_WRITE && before == x->renew_at_write)
        memory_rename_handles(s, x->empties_renewed ? "-part" : NULL);
    if (s->generation_may_change) /* its handle is stale, and is looked up again */
        f->base.attr.generation = f->image->attr.generation;
    io_enter(s, op, io);
    int64_t delay_ns = x->delay_ns;
    if (x->shuffle)
        delay_ns += (int64_t)(memory_world_random(s->world) % (200 * NS_PER_US));
    if (x->late_before_crash && s->crashes == 0)
        delay_ns = 2 * NS_PER_MS;
    if (op == MEMORY_COMMIT && s->done[MEMORY_WRITE] < x->renew_at_write)
        delay_ns += x->renewal_delay_ns;
    bool mute = x->mute && !s->world->dead &&
                (x->only == NULL || memory_name_ends(f->name, x->only));
    pthread_mutex_unlock(&s->world->lock);

    f->under_way++;
    io->prev = NULL;
    io->next = p->under_way;
    if (p->under_way != NULL)
        p->under_way->prev = io;
    p->under_way = io;
    if (!mute || p->stopped)
        ring_after(p->base.ring, &io->op, delay_ns, answer, io);
}

void memory_read(struct store_io *io)
{
    io_start(MEMORY_READ, io);
}

void memory_write(struct store_io *io)
{
    io_start(MEMORY_WRITE, io);
}

void memory_commit(struct store_io *io)
{
    io_start(MEMORY_COMMIT, io);
}

void memory_stop(struct store_place *place)
{
    struct memory_place *p = memory_place_of(place);
    pthread_mutex_lock(&p->server->world->lock);
    p->server->stopped++;
    pthread_mutex_unlock(&p->server->world->lock);
    p->stopped = true;
    for (struct store_io *io = p->under_way; io != NULL; io = io->next) {
        if (!ring_busy(&io->op))
            ring_after(p->base.ring, &io->op, NS_PER_S, answer, io);
        ring_cancel(p->base.ring, &io->op);
    }
}
