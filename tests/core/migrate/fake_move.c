/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * pair_move() is the whole of QEMU: a list of transitions, of which one that is possible is taken,
 * in an order that the seed decides. It is called between operations, inside of them, and instead of
 * each wait of the loop, which also drives the clock: so nothing here waits, and a run of thousands of
 * turns asks the kernel for nothing.
 */
#include "fake_move.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"

#define TICK_NS (20 * NS_PER_MS)
#define CLOCK_START_NS (1000 * NS_PER_S)
#define CLOCK_END_NS (CLOCK_START_NS + 3600 * NS_PER_S) /* an hour: it hangs */

static int64_t the_clock_ns = CLOCK_START_NS;
static struct fake_pair *the_pair; /* between its init and its close */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)id;
    the_clock_ns += NS_PER_US; /* whoever spins on the clock alone gets on, too */
    ts->tv_sec = the_clock_ns / NS_PER_S;
    ts->tv_nsec = the_clock_ns % NS_PER_S;
    return 0;
}

int64_t fake_clock_ns(void)
{
    return the_clock_ns;
}

void fake_pair_note(struct fake_pair *p, const char *what)
{
    size_t n = strlen(what);
    if (p->trail_n + n + 2 > sizeof p->trail)
        return;
    p->trail[p->trail_n++] = ' ';
    memcpy(p->trail + p->trail_n, what, n + 1);
    p->trail_n += n;
}

void fake_pair_assert(struct fake_pair *p)
{
    bool source = !p->source.dead && p->source.run == VM_RUN_RUNNING;
    bool destination = !p->destination.dead && p->destination.run == VM_RUN_RUNNING;
    p->destination_ran |= destination;
    p->both_ran |= source && p->destination_ran;
    if (source && destination && !p->twice_by_qemu)
        fail_msg("both sides run the guest:%s", p->trail);
    if (source && p->destination_ran && !p->twice_by_qemu)
        fail_msg("the source runs a guest that has already run on the destination:%s", p->trail);
    p->twice_by_qemu &= source && p->destination_ran; /* the next time needs an excuse of its own */
    if (p->source_quit && !(p->loaded || p->destination.dead))
        fail_msg("the source was ended while its memory was needed:%s", p->trail);
    if (the_clock_ns > CLOCK_END_NS)
        fail_msg("it hangs:%s", p->trail);
}

/* QEMU is about to start a second guest by itself: that one start is not the engine's fault. */
static void pair_excuse(struct fake_pair *p, bool second)
{
    p->twice_by_qemu |= second;
    p->qemu_race |= second;
}

static uint32_t pair_random(struct fake_pair *p)
{
    p->seed = p->seed * 1664525u + 1013904223u;
    return p->seed >> 16;
}

bool fake_side_is_silent(const struct fake_side *s)
{
    return s->mute || the_clock_ns < s->silent_until_ns;
}

/* The connection has gone, with what was on it. */
void fake_side_fall_silent(struct fake_side *s)
{
    s->pair->was_silent = true;
    s->late_n = 0;
    if (s->pair->silence_ns == 0)
        s->mute = true;
    else
        s->silent_until_ns = the_clock_ns + s->pair->silence_ns;
}

static void side_hear(struct fake_side *s, bool resumed)
{
    *(resumed ? &s->vm.seen.resumed_ns : &s->vm.seen.stopped_ns) = clock_now_ns();
    s->vm.seen.io_error = !resumed && s->pair->io_error && s == &s->pair->source;
    s->vm.changed = true;
}

/* In the order in which it was said. */
static void side_hear_until(struct fake_side *s, int64_t until_ns)
{
    unsigned n = 0;
    while (n < s->late_n && s->late[n].due_ns <= until_ns)
        side_hear(s, s->late[n++].resumed);
    s->late_n -= n;
    memmove(s->late, s->late + n, s->late_n * sizeof *s->late);
}

void fake_side_hear_all(struct fake_side *s)
{
    side_hear_until(s, INT64_MAX);
}

void fake_side_says(struct fake_side *s, bool resumed)
{
    if (s == &s->pair->destination && s->pair->resume_unseen)
        s->vm.seen.gap = true;
    if (fake_side_is_silent(s) || s->silent_until_ns != 0 || s->vm.seen.gap)
        return;
    if (!s->pair->late_events) {
        side_hear(s, resumed);
        return;
    }
    assert_true(s->late_n < FAKE_LATE_EVENTS);
    s->late[s->late_n].resumed = resumed;
    s->late[s->late_n++].due_ns = the_clock_ns + pair_random(s->pair) % 13 * TICK_NS;
}

void fake_side_resume(struct fake_side *s)
{
    if (s->run == VM_RUN_RUNNING)
        return;
    s->run = VM_RUN_RUNNING;
    fake_side_says(s, true);
}

void fake_side_die(struct fake_side *s)
{
    s->dead = true;
    s->vm.changed = true;
    s->pair->broken = true;
}

/* ---- what the source does by itself ---- */

static bool source_setup(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_SETUP || p->stalled)
        return false;
    p->connected = p->listening && !p->destination.dead && !p->broken;
    s->migration = p->connected ? VM_MIGRATION_ACTIVE : VM_MIGRATION_FAILED;
    s->passes = 1;
    return true;
}

static bool source_pass(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_ACTIVE || p->broken || p->stalled ||
        s->run == VM_RUN_FINISHING)
        return false;
    if (p->never_converges || s->passes < 3)
        return ++s->passes <= 3;
    return false;
}

static bool source_stop(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    bool converged = s->passes >= 3 && (!p->never_converges || s->run == VM_RUN_STOPPED);
    if (s->migration != VM_MIGRATION_ACTIVE || p->broken || p->stalled ||
        s->run == VM_RUN_FINISHING || !(converged || p->start_postcopy))
        return false;
    p->sent_stopped = s->run != VM_RUN_RUNNING;
    if (!p->sent_stopped)
        fake_side_says(s, false);
    s->run = VM_RUN_FINISHING;
    return true;
}

static bool source_device(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_ACTIVE || s->run != VM_RUN_FINISHING || p->broken ||
        p->stalled)
        return false;
    if (p->start_postcopy) {
        s->migration = VM_MIGRATION_POSTCOPY;
        p->package_sent = true;
    } else {
        s->migration = VM_MIGRATION_DEVICE;
    }
    return true;
}

/* Its last look for an error of the stream comes after the package; until then it may fail. */
static bool source_past_package(struct fake_pair *p)
{
    if (p->source.migration != VM_MIGRATION_POSTCOPY || p->broken || p->past_package)
        return false;
    p->past_package = true;
    p->broken |= p->breaks_in_postcopy;
    return true;
}

static bool source_last_byte(struct fake_pair *p)
{
    enum vm_migration m = p->source.migration;
    if (!(m == VM_MIGRATION_DEVICE || (m == VM_MIGRATION_POSTCOPY && p->past_package)) ||
        p->broken || p->stalled || p->all_sent)
        return false;
    p->all_sent = true;
    return true;
}

static bool source_complete(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if ((s->migration != VM_MIGRATION_DEVICE && s->migration != VM_MIGRATION_POSTCOPY) ||
        !p->all_sent || (p->return_path && !p->loaded))
        return false;
    s->migration = VM_MIGRATION_COMPLETED; /* without the big lock: the run state comes later */
    s->vm.seen.sent_ns = clock_now_ns();
    s->vm.changed = true;
    return true;
}

static bool source_postmigrate(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_COMPLETED || s->run != VM_RUN_FINISHING)
        return false;
    s->run = VM_RUN_MIGRATED;
    return true;
}

static bool source_notice_break(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    bool done = p->all_sent && (!p->return_path || p->loaded);
    if (!p->broken || done)
        return false;
    if (s->migration == VM_MIGRATION_POSTCOPY && p->past_package)
        s->migration = VM_MIGRATION_PAUSED;
    else if (s->migration == VM_MIGRATION_POSTCOPY || s->migration == VM_MIGRATION_ACTIVE ||
             s->migration == VM_MIGRATION_DEVICE)
        s->migration = VM_MIGRATION_FAILED;
    else
        return false;
    s->vm.changed = true;
    return true;
}

static void source_go_on(struct fake_pair *p)
{
    if (p->sent_stopped)
        p->source.run = VM_RUN_STOPPED;
    else
        fake_side_resume(&p->source);
}

static bool source_after_failure(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_FAILED || s->run != VM_RUN_FINISHING)
        return false;
    pair_excuse(p, p->destination_ran);
    source_go_on(p);
    return true;
}

static bool source_cancelled(struct fake_pair *p)
{
    struct fake_side *s = &p->source;
    if (s->migration != VM_MIGRATION_CANCELLING)
        return false;
    if (s->run == VM_RUN_FINISHING)
        source_go_on(p);
    else
        s->migration = VM_MIGRATION_CANCELLED;
    return true;
}

/* ---- what the destination does by itself ---- */

static void destination_begin(struct fake_pair *p)
{
    struct fake_side *d = &p->destination;
    if (p->destination_armed && !p->sent_stopped) {
        /* not afterwards: the engine has had its chance to disarm it */
        pair_excuse(p, p->source.run == VM_RUN_RUNNING && !p->engine_done);
        fake_side_resume(d);
    } else {
        d->run = VM_RUN_STOPPED;
    }
    d->vm.changed = true;
}

static bool destination_connected(struct fake_pair *p)
{
    if (!p->connected || p->destination.migration != VM_MIGRATION_NONE)
        return false;
    p->destination.migration = VM_MIGRATION_ACTIVE;
    return true;
}

static bool destination_package(struct fake_pair *p)
{
    struct fake_side *d = &p->destination;
    if (!p->package_sent || d->run != VM_RUN_INCOMING || d->migration != VM_MIGRATION_ACTIVE)
        return false;
    d->migration = VM_MIGRATION_POSTCOPY;
    destination_begin(p);
    return true;
}

static bool destination_fail(struct fake_pair *p)
{
    if (p->fails_softly)
        p->destination.migration = VM_MIGRATION_FAILED;
    else
        p->destination.dead = true;
    p->destination.vm.changed = true;
    p->broken = true;
    return true;
}

static bool destination_load(struct fake_pair *p)
{
    struct fake_side *d = &p->destination;
    bool waits = d->run == VM_RUN_INCOMING && d->migration == VM_MIGRATION_ACTIVE &&
                 !p->package_sent;
    if (!p->all_sent || p->loaded || !(waits || d->migration == VM_MIGRATION_POSTCOPY))
        return false;
    if (p->load_fails && waits)
        return destination_fail(p);
    p->loaded = true;
    d->migration = VM_MIGRATION_COMPLETED;
    if (waits)
        destination_begin(p);
    return true;
}

static bool destination_notice_break(struct fake_pair *p)
{
    struct fake_side *d = &p->destination;
    if (!p->broken || p->all_sent || p->package_sent || d->migration != VM_MIGRATION_ACTIVE)
        return false;
    return destination_fail(p);
}

typedef bool move_fn(struct fake_pair *p);

static const struct move {
    const char *name;
    move_fn *fn;
    bool source;
} moves[] = {
    {"s:setup", source_setup, true},
    {"s:pass", source_pass, true},
    {"s:stop", source_stop, true},
    {"s:device", source_device, true},
    {"s:past-package", source_past_package, true},
    {"s:last-byte", source_last_byte, true},
    {"s:complete", source_complete, true},
    {"s:postmigrate", source_postmigrate, true},
    {"s:break", source_notice_break, true},
    {"s:go-on", source_after_failure, true},
    {"s:cancelled", source_cancelled, true},
    {"d:connected", destination_connected, false},
    {"d:package", destination_package, false},
    {"d:load", destination_load, false},
    {"d:break", destination_notice_break, false},
};

enum { MOVES = sizeof moves / sizeof *moves };

/* One transition, if there is one. */
bool fake_pair_move(struct fake_pair *p)
{
    unsigned first = pair_random(p) % MOVES;
    for (unsigned i = 0; i < MOVES; i++) {
        const struct move *m = &moves[(first + i) % MOVES];
        const struct fake_side *s = m->source ? &p->source : &p->destination;
        if (s->dead || (s->lags && !p->engine_done && pair_random(p) % 8 != 0) || !m->fn(p))
            continue;
        fake_pair_note(p, m->name);
        fake_pair_assert(p);
        return true;
    }
    return false;
}

void fake_pair_maybe_move(struct fake_pair *p)
{
    unsigned burst = pair_random(p) % 8 == 0 ? 6 : 3;
    for (unsigned n = pair_random(p) % burst; n > 0; n--)
        if (pair_random(p) % 8 >= p->hesitation)
            fake_pair_move(p);
}

void fake_pair_quiesce(struct fake_pair *p)
{
    fake_pair_note(p, "|");
    p->engine_done = true;
    p->broken |= p->breaks_afterwards;
    while (fake_pair_move(p))
        ;
}

static void pair_tick(struct fake_pair *p)
{
    the_clock_ns += TICK_NS;
    p->sent_bytes += p->connected && !p->broken && !p->stalled;
    side_hear_until(&p->source, the_clock_ns);
    side_hear_until(&p->destination, the_clock_ns);
    fake_pair_maybe_move(p);
    fake_pair_assert(p);
}

int __real_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);

/* Of all descriptors of the loop only the one for signals can be ready. */
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    (void)timeout_ms;
    assert_non_null(the_pair);
    pair_tick(the_pair);
    if (!the_pair->raised)
        return 0;
    the_pair->raised = false;
    return __real_epoll_wait(epfd, events, max, 0);
}

void fake_clock_start(struct fake_pair *p)
{
    the_clock_ns = CLOCK_START_NS;
    the_pair = p;
}

void fake_clock_stop(const struct fake_pair *p)
{
    assert_ptr_equal(p, the_pair);
    the_pair = NULL;
}
