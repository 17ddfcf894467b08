/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * pair_move() is the whole of QEMU: a list of transitions, of which one that is possible is taken,
 * in an order that the seed decides. It is called between operations, inside of them, and instead of
 * each wait of the loop, which also drives the clock: so nothing here waits, and a run of thousands of
 * turns asks the kernel for nothing.
 */
#include "fake_vm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
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

const char *fake_fault_name(enum fake_fault fault)
{
    static const char *const names[] = {
        [FAKE_NO_FAULT] = "no fault",
        [FAKE_REFUSES] = "refuses",
        [FAKE_LOST_BEFORE] = "lost before",
        [FAKE_LOST_AFTER] = "lost after",
        [FAKE_INTERRUPT] = "interrupt",
        [FAKE_SOURCE_DIES] = "source dies",
        [FAKE_DESTINATION_DIES] = "destination dies",
        [FAKE_SOURCE_MUTE] = "source mute",
        [FAKE_DESTINATION_MUTE] = "destination mute",
        [FAKE_STREAM_BREAKS] = "stream breaks",
        [FAKE_STREAM_STALLS] = "stream stalls",
        [FAKE_LINK_CUT] = "link cut",
    };
    return names[fault];
}

static void pair_note(struct fake_pair *p, const char *what)
{
    size_t len = strlen(p->trail);
    if (len + strlen(what) + 2 < sizeof p->trail)
        sprintf(p->trail + len, " %s", what);
}

static void pair_assert(struct fake_pair *p)
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

static void side_says(struct fake_side *s, bool resumed)
{
    if (s == &s->pair->destination && s->pair->resume_unseen)
        s->vm.seen.gap = true;
    if (s->mute || s->vm.seen.gap)
        return;
    *(resumed ? &s->vm.seen.resumed_ns : &s->vm.seen.stopped_ns) = clock_now_ns();
    s->vm.changed = true;
}

static void side_resume(struct fake_side *s)
{
    if (s->run == VM_RUN_RUNNING)
        return;
    s->run = VM_RUN_RUNNING;
    side_says(s, true);
}

static void side_die(struct fake_side *s)
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
        side_says(s, false);
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
        side_resume(&p->source);
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
        side_resume(d);
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
static bool pair_move(struct fake_pair *p)
{
    unsigned first = pair_random(p) % MOVES;
    for (unsigned i = 0; i < MOVES; i++) {
        const struct move *m = &moves[(first + i) % MOVES];
        const struct fake_side *s = m->source ? &p->source : &p->destination;
        if (s->dead || (s->lags && !p->engine_done && pair_random(p) % 8 != 0) || !m->fn(p))
            continue;
        pair_note(p, m->name);
        pair_assert(p);
        return true;
    }
    return false;
}

static void pair_maybe_move(struct fake_pair *p)
{
    unsigned burst = pair_random(p) % 8 == 0 ? 6 : 3;
    for (unsigned n = pair_random(p) % burst; n > 0; n--)
        if (pair_random(p) % 8 >= p->hesitation)
            pair_move(p);
}

void fake_pair_quiesce(struct fake_pair *p)
{
    pair_note(p, "|");
    p->engine_done = true;
    while (pair_move(p))
        ;
}

static void pair_tick(struct fake_pair *p)
{
    the_clock_ns += TICK_NS;
    p->sent_bytes += p->connected && !p->broken && !p->stalled;
    pair_maybe_move(p);
    pair_assert(p);
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

/* ---- the operations ---- */

/* Who connects anew has not heard what was said meanwhile; of a process that ends all is heard. */
static int side_lost(struct fake_side *s, struct err *e)
{
    s->vm.seen.gap |= !s->dead;
    return err_set(e, ERR_LOST, 0, "%s: the connection is lost", s->vm.role);
}

static void pair_fault(struct fake_pair *p)
{
    switch (p->fault) {
    case FAKE_SOURCE_DIES: side_die(&p->source); break;
    case FAKE_DESTINATION_DIES: side_die(&p->destination); break;
    case FAKE_SOURCE_MUTE: p->source.mute = true; break;
    case FAKE_DESTINATION_MUTE: p->destination.mute = true; break;
    case FAKE_INTERRUPT: p->raised = raise(SIGINT) == 0; break;
    case FAKE_STREAM_BREAKS:
        p->broken = true;
        p->destination.mute |= p->mute_with_it;
        p->source.mute |= p->source_mute_with_it;
        break;
    case FAKE_STREAM_STALLS: p->stalled = true; break;
    case FAKE_LINK_CUT: p->stalled = p->destination.mute = true; break;
    default: break;
    }
}

/* Every operation begins with it. -1: it fails before it has done anything. */
static int side_begin(struct fake_side *s, const char *name, struct err *e)
{
    struct fake_pair *p = s->pair;
    char words[64];
    snprintf(words, sizeof words, "[%u %s.%s]", ++p->ops, s == &p->source ? "S" : "D", name);
    pair_maybe_move(p);
    pair_note(p, words);
    bool faulty = p->ops == p->fault_at_op;
    if (faulty) {
        pair_note(p, "!");
        pair_note(p, fake_fault_name(p->fault));
        pair_fault(p);
    }
    pair_assert(p);
    if (s->dead || s->mute || (faulty && p->fault == FAKE_LOST_BEFORE))
        return side_lost(s, e);
    if (faulty && p->fault == FAKE_REFUSES)
        return err_set(e, ERR_QMP, 0, "%s: %s: refused", s->vm.role, name);
    return 0;
}

/* … and ends with it. */
static int side_end(struct fake_side *s, struct err *e)
{
    struct fake_pair *p = s->pair;
    pair_assert(p);
    if (p->ops == p->fault_at_op && p->fault == FAKE_LOST_AFTER) {
        p->answer_lost = true;
        return side_lost(s, e);
    }
    return 0;
}

static struct fake_side *side(struct vm *vm)
{
    return (struct fake_side *)vm;
}

static int fake_probe(struct vm *vm, struct vm_facts *f, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "probe", e) < 0)
        return -1;
    *f = s->facts;
    f->run = s->run;
    f->migration = s->migration;
    return side_end(s, e);
}

static int fake_check(struct vm *vm, const struct vm_settings *set, struct err *e)
{
    (void)set;
    struct fake_side *s = side(vm);
    if (side_begin(s, "check", e) < 0)
        return -1;
    if (s->check_refuses)
        return err_set(e, ERR_REFUSED, 0, "%s: this cannot be done", vm->role);
    vm->proof.can = s->can_prove;
    return side_end(s, e);
}

static int fake_configure(struct vm *vm, const struct vm_settings *set, int64_t *limit_ns,
                          struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, set == NULL ? "restore" : "configure", e) < 0)
        return -1;
    p->changes++;
    s->configured = set != NULL;
    if (set != NULL) {
        *limit_ns = 300 * NS_PER_MS;
        s->configured_to_prove = vm->proof.on;
        p->return_path = set->postcopy || p->source.vm.may_go_on;
    }
    if (side_end(s, e) < 0) {
        s->configured = false; /* as the contract of a failing configure() wants it */
        return -1;
    }
    return 0;
}

static int fake_listen(struct vm *vm, const char *uri, struct err *e)
{
    (void)uri;
    struct fake_side *s = side(vm);
    if (side_begin(s, "listen", e) < 0)
        return -1;
    s->pair->changes++;
    s->pair->listening = s->pair->destination_armed = true;
    return side_end(s, e);
}

static int fake_start(struct vm *vm, const char *uri, struct err *e)
{
    (void)uri;
    struct fake_side *s = side(vm);
    if (side_begin(s, "start", e) < 0)
        return -1;
    s->pair->changes++;
    s->vm.seen = (struct vm_seen){0};
    s->migration = VM_MIGRATION_SETUP;
    pair_maybe_move(s->pair);
    return side_end(s, e);
}

static int fake_sample(struct vm *vm, struct vm_sample *out, struct err *e)
{
    struct fake_side *s = side(vm);
    *out = (struct vm_sample){0};
    if (side_begin(s, "sample", e) < 0)
        return -1;
    out->migration = s->migration;
    out->passes = s->passes;
    if (s->pair->never_converges && s->passes > 2 && s == &s->pair->source) {
        out->stuck_passes = (unsigned)s->passes - 2;
        out->dirty_bytes_per_s = out->bandwidth_bytes_per_s = 10 << 20;
        out->ram_remaining_bytes = 100 << 20;
    }
    out->ram_transferred_bytes = s->pair->sent_bytes;
    pair_maybe_move(s->pair); /* query-migrate and query-status are two commands */
    if (s->dead)
        return side_lost(s, e);
    out->run = s->run;
    return side_end(s, e);
}

static int fake_switch_over(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "switch_over", e) < 0)
        return -1;
    if (s->migration == VM_MIGRATION_SETUP || s->migration == VM_MIGRATION_NONE)
        return err_set(e, ERR_QMP, 0, "no migration");
    s->pair->changes++;
    s->pair->start_postcopy = true; /* the migration thread looks at it at its next turn */
    return side_end(s, e);
}

static int destination_run(struct fake_side *d, bool on)
{
    struct fake_pair *p = d->pair;
    if (on && d->run == VM_RUN_STOPPED && p->source.run == VM_RUN_RUNNING && !p->source.dead)
        fail_msg("the destination was let run beside the source:%s", p->trail);
    if (d->run == VM_RUN_INCOMING)
        p->destination_armed = on;
    else if (on)
        side_resume(d);
    else if (d->run == VM_RUN_RUNNING) {
        d->run = VM_RUN_STOPPED;
        side_says(d, false);
    }
    return 0;
}

/* QEMU heeds it only while the guest runs. */
static void source_halt(struct fake_side *s)
{
    if (s->run != VM_RUN_RUNNING)
        return;
    s->run = VM_RUN_STOPPED;
    side_says(s, false);
}

static int fake_run(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, on ? "cont" : "stop", e) < 0) {
        p->stop_refused |= !on;
        return -1;
    }
    p->changes++;
    bool ran = s->run == VM_RUN_RUNNING;
    if (s == &p->destination)
        destination_run(s, on);
    else if (on && s->run == VM_RUN_FINISHING)
        return err_set(e, ERR_QMP, 0, "cont: Migration is not finalized yet");
    else if (on && p->destination_ran)
        fail_msg("the source was let run a guest that has run on the destination:%s", p->trail);
    else if (on)
        side_resume(s);
    else
        source_halt(s);
    pair_assert(p);
    pair_maybe_move(p); /* query-status is a second command */
    if (s->restarts && !on && ran)
        side_resume(s);
    if (s->dead)
        return side_lost(s, e);
    *now = s->run;
    s->mute |= p->then_mute && s == &p->destination && p->ops > p->fault_at_op;
    return side_end(s, e);
}

static bool side_settled(const struct fake_side *s)
{
    return s->migration == VM_MIGRATION_NONE || s->migration == VM_MIGRATION_CANCELLED ||
           s->migration == VM_MIGRATION_FAILED || s->migration == VM_MIGRATION_COMPLETED;
}

/* migrate_cancel: what has been written to the socket still arrives. */
static int fake_cancel(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, "cancel", e) < 0)
        return -1;
    p->changes++;
    if (!side_settled(s)) {
        s->migration = VM_MIGRATION_CANCELLING;
        p->broken = true;
    }
    for (int i = 0; i < 1000 && !side_settled(s) && !s->dead; i++)
        pair_move(p);
    if (s->dead)
        return side_lost(s, e);
    if (!side_settled(s))
        return err_set(e, ERR_TIMEOUT, 0, "the cancelled migration does not end");
    return side_end(s, e);
}

static enum vm_death fake_death(struct vm *vm)
{
    const struct fake_side *s = side(vm);
    return s->dead ? VM_DEATH_PROCESS_GONE : s->mute ? VM_DEATH_NO_ANSWER : VM_DEATH_LIVES;
}

static int fake_quit(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "quit", e) < 0)
        return -1;
    s->pair->changes++;
    s->pair->source_quit |= s == &s->pair->source;
    s->pair->destination_quit |= s == &s->pair->destination;
    side_die(s);
    pair_assert(s->pair);
    return side_end(s, e);
}

static void fake_close(struct vm *vm)
{
    (void)vm;
}

static const struct vm_ops fake_ops = {
    .route = "fake",
    .probe = fake_probe,
    .check = fake_check,
    .configure = fake_configure,
    .listen = fake_listen,
    .start = fake_start,
    .sample = fake_sample,
    .switch_over = fake_switch_over,
    .run = fake_run,
    .cancel = fake_cancel,
    .death = fake_death,
    .quit = fake_quit,
    .close = fake_close,
};

/* As long as commands with long names and URIs are; each ends in a word that shows it is whole. */
#define LONG_50 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
#define LONG_400 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50
#define COMMAND(what) FAKE_COMMAND_BEGIN " " what " " LONG_400 LONG_400 " " FAKE_COMMAND_END
#define COMMANDS(side)                                                                             \
    {                                                                                              \
        .look = COMMAND(side "-look"), .end = COMMAND(side "-end"), .stop = COMMAND(side "-stop"), \
        .go_on = COMMAND(side "-go-on"),                                                           \
    }

static void side_init(struct fake_pair *p, struct fake_side *s, struct loop *loop, const char *role,
                      enum vm_run run)
{
    *s = (struct fake_side){.vm = {.ops = &fake_ops,
                                   .loop = loop,
                                   .role = role,
                                   .commands = s == &p->source
                                                   ? (struct vm_commands)COMMANDS("source")
                                                   : (struct vm_commands)COMMANDS("destination")},
                            .pair = p,
                            .run = run,
                            .facts = {.hypervisor = "QEMU 10.0.0",
                                      .version = {10, 0, 0},
                                      .machine = "pc-q35-10.0",
                                      .ram_bytes = 1 << 28,
                                      .vcpus = 2,
                                      .peer_pid = s == &p->source ? 10 : 11}};
}

void fake_pair_init(struct fake_pair *p, struct loop *loop)
{
    *p = (struct fake_pair){.seed = 1};
    the_clock_ns = CLOCK_START_NS;
    side_init(p, &p->source, loop, "source", VM_RUN_RUNNING);
    side_init(p, &p->destination, loop, "destination", VM_RUN_INCOMING);
    the_pair = p;
}

void fake_pair_close(struct fake_pair *p)
{
    assert_ptr_equal(p, the_pair);
    the_pair = NULL;
}
