/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A migration is the table of steps below; core/phase.h says what each phase allows and where the
 * guest runs in it. Three decisions carry the rest.
 *
 * 1. The destination starts the guest itself when it has loaded the stream (vm_ops.listen arms it),
 *    so no command of ours stands inside the pause.
 *
 * 2. Because of that, "cancel" is not one command. While we ask the source to give up, the last
 *    byte may be on its way, and the destination would start a guest that the source has just
 *    started again. So the destination is always disarmed first: vm_ops.run(destination, false) is
 *    one step with respect to the end of loading, and its answer splits the world in two:
 *
 *      incoming   it has not run there and will not start by itself. The source may be cancelled.
 *      stopped    it had been loaded, all of it: the guest has moved. It is let go on there, and
 *                 the cancel came too late.
 *
 *    If the destination does not answer, it must be known dead before the source may run; else
 *    nothing is done at all, and the operator is told that this is uncertain.
 *    This is migrate_settle(), the one way back from every failure after the start.
 *
 * 3. The source is never told to run, and never ended, on a guess.
 */
#include "core/migrate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/step.h"

#define MIGRATE_TICK_NS (100 * NS_PER_MS)
/* After the source's last byte: loading device state takes milliseconds, a hung disk server longer. */
#define MIGRATE_CONFIRM_NS (60 * NS_PER_S)
/* How long a source whose connection is lost is asked again. */
#define MIGRATE_LOST_NS (30 * NS_PER_S)

#define SPLIT_HINT "end neither QEMU before query-migrate of both has been looked at"

struct migrate {
    const struct migrate_plan *plan;
    struct migrate_report *report;
    bool was_running;      /* the guest ran before: else it shall stay stopped after */
    bool postcopy_begun;   /* the source was told to: there is no way back, whatever came of it */
    int interrupts_told;
    struct err why_unknown; /* set with report->guest = unknown */
};

static void migrate_enter(struct migrate *m, enum phase to, int64_t at_ns)
{
    phase_set(&m->report->phases, m->report->phases.now, to, at_ns);
}

static enum phase migrate_phase(const struct migrate *m)
{
    return m->report->phases.now;
}

/* Before the first thing is undone. */
static void migrate_begin_undo(struct migrate *m)
{
    if (migrate_phase(m) != PHASE_UNDOING)
        migrate_enter(m, PHASE_UNDOING, clock_now_ns());
}

static bool migrate_all_sent(struct migrate *m)
{
    return m->report->last.migration == VM_MIGRATION_COMPLETED;
}

static int migrate_follow(struct migrate *m, bool (*enough)(struct migrate *m), bool givable,
                          struct err *e);

static void migrate_tell(struct migrate *m)
{
    if (m->plan->progress == NULL)
        return;
    struct migrate_progress p = {
        .phase = migrate_phase(m),
        .elapsed_ns = clock_now_ns() - m->report->started_ns,
        .source = m->report->last,
    };
    m->plan->progress(m->plan->progress_arg, &p);
}

/* ---- before anything is touched ---- */

static int migrate_probe(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    const struct migrate_plan *p = m->plan;
    if (p->source->ops->probe(p->source, &m->report->source, e) < 0 ||
        p->destination->ops->probe(p->destination, &m->report->destination, e) < 0)
        return -1;
    m->was_running = m->report->source.run == VM_RUN_RUNNING;
    return 0;
}

static bool migrate_busy(enum vm_migration m)
{
    return m != VM_MIGRATION_NONE && m != VM_MIGRATION_CANCELLED && m != VM_MIGRATION_FAILED &&
           m != VM_MIGRATION_COMPLETED;
}

static int migrate_check_source(const struct vm_facts *s, struct err *e)
{
    if (migrate_busy(s->migration))
        return err_set(e, ERR_REFUSED, 0, "source: a migration is already under way");
    if (s->run == VM_RUN_MIGRATED || s->run == VM_RUN_FINISHING) {
        err_set(e, ERR_REFUSED, 0, "source: its guest has already been migrated away");
        return err_hint(e, "end this QEMU when its guest is known to run elsewhere; if it runs nowhere,"
                           " 'cont' takes it back");
    }
    if (s->run != VM_RUN_RUNNING && s->run != VM_RUN_STOPPED)
        return err_set(e, ERR_REFUSED, 0, "source: it has no running or paused guest");
    return 0;
}

static int migrate_check_destination(const struct vm_facts *d, struct err *e)
{
    if (d->run == VM_RUN_INCOMING && d->migration == VM_MIGRATION_NONE)
        return 0;
    if (d->run == VM_RUN_INCOMING)
        err_set(e, ERR_REFUSED, 0, "destination: its incoming migration has already been started");
    else
        err_set(e, ERR_REFUSED, 0, "destination: it does not wait for an incoming migration");
    return err_hint(e, "start the destination's QEMU anew, with -incoming defer");
}

static int migrate_check_pair(const struct vm_facts *s, const struct vm_facts *d, struct err *e)
{
    if (s->peer_pid > 0 && s->peer_pid == d->peer_pid)
        return err_set(e, ERR_REFUSED, 0, "source and destination are the same QEMU");
    if (strcmp(s->machine, d->machine) != 0) {
        err_set(e, ERR_REFUSED, 0, "machine types differ: %s on the source, %s on the destination",
                s->machine, d->machine);
        return err_hint(e, "start the destination's QEMU with -machine %s", s->machine);
    }
    if (s->ram_bytes != d->ram_bytes)
        return err_set(e, ERR_REFUSED, 0,
                       "RAM sizes differ: %" PRIu64 " MiB on the source, %" PRIu64 " MiB on the destination",
                       s->ram_bytes >> 20, d->ram_bytes >> 20);
    if (s->vcpus != d->vcpus)
        return err_set(e, ERR_REFUSED, 0, "vCPUs differ: %u on the source, %u on the destination",
                       s->vcpus, d->vcpus);
    if (s->kvm != d->kvm)
        return err_set(e, ERR_REFUSED, 0, "accelerators differ: %s on the source, %s on the destination",
                       s->kvm ? "KVM" : "TCG", d->kvm ? "KVM" : "TCG");
    return 0;
}

static int migrate_check(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    const struct migrate_plan *p = m->plan;
    const struct vm_facts *s = &m->report->source, *d = &m->report->destination;
    if (s->peer_pid > 0 && s->peer_pid == d->peer_pid)
        return migrate_check_pair(s, d, e);
    if (migrate_check_source(s, e) < 0 || migrate_check_destination(d, e) < 0 ||
        migrate_check_pair(s, d, e) < 0)
        return -1;
    if (p->source->ops->check(p->source, &p->settings, e) < 0 ||
        p->destination->ops->check(p->destination, &p->settings, e) < 0)
        return -1;
    m->report->touched = true; /* from here on */
    migrate_enter(m, PHASE_PREPARING, clock_now_ns());
    return 0;
}

/* ---- preparing ---- */

static int migrate_configure_source(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *source = m->plan->source;
    return source->ops->configure(source, &m->plan->settings, &m->report->downtime_limit_ns, e);
}

static void migrate_restore_source(void *ctx)
{
    struct migrate *m = ctx;
    struct vm *source = m->plan->source;
    struct err e = {0};
    migrate_begin_undo(m);
    if (source->ops->configure(source, NULL, NULL, &e) < 0)
        log_warn("cannot put the source's migration settings back: %s", e.msg);
}

static int migrate_configure_destination(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *destination = m->plan->destination;
    int64_t ignored_ns;
    return destination->ops->configure(destination, &m->plan->settings, &ignored_ns, e);
}

/* Nothing has been sent to it: it only shall not start by itself any more. */
static void migrate_disarm(void *ctx)
{
    struct migrate *m = ctx;
    struct vm *destination = m->plan->destination;
    struct err e = {0};
    enum vm_run now;
    migrate_begin_undo(m);
    if (m->report->guest != MIGRATE_GUEST_SOURCE)
        return;
    if (destination->ops->run(destination, false, &now, &e) < 0)
        log_info("destination: %s", e.msg); /* dead: disarmed enough */
}

static int migrate_listen(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *destination = m->plan->destination;
    if (destination->ops->listen(destination, m->plan->via, e) == 0)
        return 0;
    migrate_disarm(m); /* it may be armed already */
    return -1;
}

/* ---- where the guest is ---- */

__attribute__((format(printf, 3, 4))) static void
migrate_unknown(struct migrate *m, const char *hint, const char *fmt, ...)
{
    char words[sizeof m->why_unknown.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    m->report->guest = MIGRATE_GUEST_UNKNOWN;
    err_clear(&m->why_unknown);
    err_set(&m->why_unknown, ERR_UNCERTAIN, 0, "%s", words);
    err_hint(&m->why_unknown, "%s", hint);
}

/* The guest is on the destination. If postcopy took it there, its memory shall follow first. */
static void migrate_moved(struct migrate *m)
{
    struct err e = {0};
    if (m->postcopy_begun && migrate_follow(m, migrate_all_sent, false, &e) < 0)
        migrate_unknown(m, SPLIT_HINT, "postcopy was broken off: %s", e.msg);
    else
        m->report->guest = MIGRATE_GUEST_DESTINATION;
}

/* The source's QEMU starts the guest again by itself when its migration fails. */
static bool migrate_source_runs(struct migrate *m)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    return s->ops->sample(s, &now, &e) == 0 && now.run == VM_RUN_RUNNING;
}

/*
 * Of a destination that is dead: whether its guest did anything. RESUME is said before the vCPUs run,
 * and all that was said is here, unless there is a gap; and then the source tells whether it had sent
 * everything. With a return path it may have, and say "failed" all the same.
 * Source: QEMU 10.0, system/cpus.c, vm_prepare_start().
 */
static bool migrate_may_have_run(struct migrate *m)
{
    const struct vm_seen *seen = &m->plan->destination->seen;
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    if (seen->resumed_ns != 0 || !seen->gap)
        return seen->resumed_ns != 0;
    return m->plan->settings.postcopy || s->ops->sample(s, &now, &e) < 0 ||
           now.migration == VM_MIGRATION_COMPLETED || now.migration == VM_MIGRATION_DEVICE;
}

/*
 * Makes sure that the destination does not start the guest. True: it does not and will not. False:
 * the guest has moved (*guest = destination) or that cannot be known (*guest = unknown).
 */
static bool migrate_hold_destination(struct migrate *m)
{
    struct vm *d = m->plan->destination;
    struct err e = {0};
    enum vm_run now = VM_RUN_UNKNOWN;
    bool answered = d->ops->run(d, false, &now, &e) == 0;
    if (answered && now == VM_RUN_INCOMING)
        return true;
    if (!answered && d->ops->known_dead(d)) {
        if (migrate_may_have_run(m)) { /* the disk has moved on: the source must not go on */
            migrate_unknown(m, "start the guest anew from its disk, and end the source's QEMU",
                            "the destination's QEMU has ended, and %s run the guest",
                            d->seen.resumed_ns != 0 ? "had" : "may have");
            return false;
        }
        log_info("the destination's hypervisor has ended");
        return true;
    }
    if (answered && (now == VM_RUN_SHUTDOWN || !m->was_running)) {
        migrate_moved(m);
        return false;
    }
    if (answered && now == VM_RUN_STOPPED && migrate_source_runs(m)) {
        if (d->seen.resumed_ns == 0)
            return true;
        migrate_unknown(m, "continue neither before their disk has been looked at",
                        "both sides have run the guest; the destination has been stopped");
        return false;
    }
    if (answered && now == VM_RUN_STOPPED) {
        log_info("the guest had already been loaded: it goes on, on the destination");
        if (d->ops->run(d, true, &now, &e) == 0 && now == VM_RUN_RUNNING) {
            migrate_moved(m);
            return false;
        }
    }
    migrate_unknown(m, "ask its QEMU for query-status; only when it is ended, 'cont' on the source",
                    "the destination does not tell whether it runs the guest%s%s",
                    answered ? "" : ": ", e.msg);
    return false;
}

/*
 * The source has handed over everything, the destination was disarmed in the middle of it: either
 * it gets to the end, stopped, and is let go on; or it does not, and the guest stays.
 */
static bool migrate_await_loaded(struct migrate *m)
{
    struct vm *d = m->plan->destination;
    int64_t deadline_ns = clock_now_ns() + MIGRATE_CONFIRM_NS;
    while (clock_now_ns() < deadline_ns) {
        struct err e = {0};
        struct vm_sample s;
        if (d->ops->sample(d, &s, &e) < 0)
            return false;
        if (s.run != VM_RUN_INCOMING)
            return true;
        if (s.migration == VM_MIGRATION_FAILED)
            return false;
        loop_sleep(m->plan->source->loop, MIGRATE_TICK_NS);
    }
    return false;
}

/* QEMU says that a migration is over a little before its run state says so; `cont` is refused until. */
static int migrate_await_finished(struct migrate *m, struct vm_sample *now, struct err *e)
{
    struct vm *s = m->plan->source;
    int64_t deadline_ns = clock_now_ns() + MIGRATE_CONFIRM_NS;
    while (now->run == VM_RUN_FINISHING && clock_now_ns() < deadline_ns) {
        loop_sleep(s->loop, MIGRATE_TICK_NS / 10);
        if (s->ops->sample(s, now, e) < 0)
            return -1;
    }
    return 0;
}

/* The destination is held: the source shall have the guest, as it was before. */
static void migrate_keep_on_source(struct migrate *m)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    if (s->ops->sample(s, &now, &e) < 0)
        goto lost;
    if (migrate_busy(now.migration) &&
        (s->ops->cancel(s, &e) < 0 || s->ops->sample(s, &now, &e) < 0))
        goto lost;
    if (migrate_await_finished(m, &now, &e) < 0)
        goto lost;
    m->report->last = now;

    if (now.migration == VM_MIGRATION_COMPLETED && migrate_await_loaded(m) &&
        !migrate_hold_destination(m))
        return;
    if (m->was_running && now.run != VM_RUN_RUNNING && now.run != VM_RUN_SHUTDOWN) {
        if (s->ops->run(s, true, &now.run, &e) < 0)
            goto lost;
        if (now.run != VM_RUN_RUNNING) {
            err_set(&e, ERR_UNCERTAIN, 0, "the source does not go on");
            goto lost;
        }
    }
    m->report->guest = MIGRATE_GUEST_SOURCE;
    return;

lost:
    if (!s->ops->known_dead(s))
        migrate_unknown(m, "ask the source's QEMU for query-status; the destination will not start",
                        "the source does not tell how its guest is: %s", e.msg);
    else if (!migrate_await_loaded(m) || migrate_hold_destination(m)) /* all of it had gone over? */
        migrate_unknown(m, "start the guest anew from its disk, and end the destination's QEMU",
                        "the source's QEMU has ended in the middle: the guest runs nowhere");
}

/* Postcopy was asked for: true, unless the source says that it is not what is going on. */
static bool migrate_memory_split(struct migrate *m)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    return m->postcopy_begun &&
           (s->ops->sample(s, &now, &e) < 0 || now.migration == VM_MIGRATION_POSTCOPY ||
            now.migration == VM_MIGRATION_PAUSED || now.migration == VM_MIGRATION_UNKNOWN);
}

/* The way back: afterwards report->guest is right, or unknown and why_unknown tells. */
static void migrate_settle(struct migrate *m)
{
    migrate_begin_undo(m);
    if (migrate_memory_split(m))
        migrate_unknown(m, SPLIT_HINT,
                        "postcopy was broken off: either side may lack pages of the other");
    else if (migrate_hold_destination(m))
        migrate_keep_on_source(m);
}

/* ---- precopy, switchover, the end ---- */

static int migrate_start(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *source = m->plan->source;
    m->plan->destination->seen = (struct vm_seen){0};
    if (source->ops->start(source, m->plan->via, e) < 0) {
        migrate_settle(m); /* it may have begun: only the answer is known to be missing */
        return -1;
    }
    migrate_enter(m, PHASE_PRECOPY, clock_now_ns());
    return 0;
}

static int migrate_source_over(const struct vm_sample *s, struct err *e)
{
    const char *what = s->migration == VM_MIGRATION_FAILED      ? "failed"
                       : s->migration == VM_MIGRATION_CANCELLED ? "was cancelled by somebody else"
                                                                : "has vanished";
    return err_set(e, ERR_QMP, 0, "the migration %s%s%s", what, s->reason[0] != '\0' ? ": " : "",
                   s->reason);
}

/* The phase follows what the source has said of its vCPUs. */
static void migrate_follow_pause(struct migrate *m)
{
    const struct vm_seen *seen = &m->plan->source->seen;
    if (migrate_phase(m) == PHASE_PRECOPY && seen->stopped_ns > seen->resumed_ns)
        migrate_enter(m, PHASE_SWITCHOVER, seen->stopped_ns);
    else if (migrate_phase(m) == PHASE_SWITCHOVER && seen->resumed_ns > seen->stopped_ns)
        migrate_enter(m, PHASE_PRECOPY, seen->resumed_ns);
}

/* Waits for news since migrate_look(), or for the next tick; an interrupt or the plan's deadline ends it if `givable`. */
static int migrate_wait(struct migrate *m, bool givable, struct err *e)
{
    struct vm *s = m->plan->source, *d = m->plan->destination;
    struct loop *loop = s->loop;
    int64_t now_ns = clock_now_ns(), tick_ns = now_ns + MIGRATE_TICK_NS;
    if (!givable && loop_interrupts(loop) > m->interrupts_told) {
        m->interrupts_told = loop_interrupts(loop);
        log_warn("the switchover has begun: it is too late to cancel, and safe to wait");
    }
    while (!s->changed && !d->changed && (now_ns = clock_now_ns()) < tick_ns) {
        if (givable && loop_interrupts(loop) > 0)
            return err_set(e, ERR_CANCELLED, 0, "cancelled");
        if (givable && m->plan->timeout_ns > 0 &&
            now_ns - m->report->started_ns > m->plan->timeout_ns)
            return err_set(e, ERR_TIMEOUT, 0, "not converged within the timeout");
        loop_turn(loop, tick_ns - now_ns);
    }
    migrate_follow_pause(m);
    return 0;
}

/* Before a side is asked: what it says from now on is news. */
static void migrate_look(struct migrate *m)
{
    m->plan->source->changed = m->plan->destination->changed = false;
}

/*
 * The source's word. A connection that is lost is no reason to give up a migration that goes on all
 * the same: it is made anew, unless QEMU itself has ended.
 */
static int migrate_ask_source(struct migrate *m, bool givable, struct err *e)
{
    struct vm *source = m->plan->source;
    struct vm_sample now;
    int64_t deadline_ns = clock_now_ns() + MIGRATE_LOST_NS;
    migrate_look(m);
    while (source->ops->sample(source, &now, e) < 0) {
        bool again = (e->class == ERR_LOST || e->class == ERR_TIMEOUT) &&
                     clock_now_ns() < deadline_ns && !source->ops->known_dead(source) &&
                     !(givable && loop_interrupts(source->loop) > 0);
        if (!again)
            return -1;
        log_info("%s: asking again", e->msg);
        err_clear(e);
        loop_sleep(source->loop, MIGRATE_TICK_NS);
    }
    m->report->last = now;
    return 0;
}

/*
 * Follows the source until `enough` says so of a sample. While the guest is paused the source is
 * asked only at the tick: an event tells the end, and its main loop has better things to do.
 */
static int migrate_follow(struct migrate *m, bool (*enough)(struct migrate *m), bool givable,
                          struct err *e)
{
    for (;;) {
        if (migrate_ask_source(m, givable, e) < 0)
            return -1;
        migrate_follow_pause(m);
        migrate_tell(m);
        if (enough(m))
            return 0;
        if (m->report->last.migration == VM_MIGRATION_PAUSED) /* for good, if nobody recovers it */
            return err_set(e, ERR_LOST, 0, "postcopy has lost its connection");
        if (!migrate_busy(m->report->last.migration))
            return migrate_source_over(&m->report->last, e);
        if (migrate_wait(m, givable, e) < 0)
            return -1;
    }
}

/* Postcopy is given one full pass first: what is not dirtied again is never asked for over the wire. */
static bool migrate_first_pass_sent(struct migrate *m)
{
    return m->report->last.passes >= 2 || migrate_all_sent(m);
}

static bool migrate_switched(struct migrate *m)
{
    return m->report->last.migration == VM_MIGRATION_POSTCOPY || migrate_all_sent(m);
}

static int migrate_precopy(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    return migrate_follow(m, m->plan->settings.postcopy ? migrate_first_pass_sent : migrate_all_sent,
                          true, e);
}

static void migrate_undo_start(void *ctx)
{
    migrate_settle(ctx);
}

/* From the moment that postcopy runs the guest there, its memory is on both sides. */
static int migrate_postcopy(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *source = m->plan->source;
    if (!m->plan->settings.postcopy || migrate_all_sent(m))
        return 0;
    int rc = source->ops->switch_over(source, e);
    m->postcopy_begun = rc == 0 || e->class != ERR_QMP; /* no answer is not a no */
    if (rc < 0)
        return -1;
    return migrate_follow(m, migrate_switched, false, e);
}

static int migrate_drain(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    if (migrate_all_sent(m))
        return 0;
    if (migrate_phase(m) == PHASE_PRECOPY) /* the STOP was not seen: a lost connection */
        migrate_enter(m, PHASE_SWITCHOVER, clock_now_ns());
    migrate_enter(m, PHASE_POSTCOPY, clock_now_ns());
    return migrate_follow(m, migrate_all_sent, false, e);
}

/*
 * QEMU says "completed" after it has started the guest, if it ever does: one that was stopped on the
 * source, before or by somebody in the middle, or has powered off there, arrives as it was.
 */
static bool migrate_has_arrived(const struct migrate *m, const struct vm_sample *destination)
{
    bool loaded = destination->run != VM_RUN_INCOMING && destination->run != VM_RUN_UNKNOWN;
    return destination->run == VM_RUN_RUNNING ||
           (loaded && (!m->was_running || destination->migration == VM_MIGRATION_COMPLETED));
}

/* Done means that the destination says so. */
static int migrate_confirm(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *d = m->plan->destination;
    int64_t deadline_ns = clock_now_ns() + MIGRATE_CONFIRM_NS;
    if (migrate_phase(m) == PHASE_PRECOPY)
        migrate_enter(m, PHASE_SWITCHOVER, clock_now_ns());
    migrate_enter(m, PHASE_CONFIRMING, clock_now_ns());
    for (;;) {
        struct vm_sample s = {0};
        migrate_look(m);
        if (d->seen.resumed_ns == 0 && d->ops->sample(d, &s, e) < 0)
            return -1;
        if (d->seen.resumed_ns != 0 || migrate_has_arrived(m, &s))
            break;
        if (s.migration == VM_MIGRATION_FAILED)
            return err_set(e, ERR_QMP, 0, "the destination could not load the guest: %s", s.reason);
        if (clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "the destination has not started the guest");
        if (migrate_wait(m, false, e) < 0)
            return -1;
    }
    m->report->guest = MIGRATE_GUEST_DESTINATION;
    migrate_enter(m, PHASE_DONE, clock_now_ns());
    return 0;
}

/* The guest is safe: that its old home does not go away is worth a warning, no more. */
static int migrate_release(void *ctx, struct err *e)
{
    struct migrate *m = ctx;
    struct vm *source = m->plan->source;
    (void)e;
    struct err quit = {0};
    if (m->plan->quit_source && source->ops->quit(source, &quit) < 0)
        log_warn("the source's QEMU does not quit: %s", quit.msg);
    return 0;
}

static const struct step steps[] = {
    {"probe both sides", migrate_probe, NULL, 0},
    {"compare and check", migrate_check, NULL, 0},
    {"configure the source", migrate_configure_source, migrate_restore_source, 0},
    {"configure the destination", migrate_configure_destination, NULL, 0},
    {"arm the destination and listen", migrate_listen, migrate_disarm, 0},
    {"start", migrate_start, migrate_undo_start, 0},
    {"precopy", migrate_precopy, NULL, 0},
    {"switch over", migrate_postcopy, NULL, STEP_POINT_OF_NO_RETURN},
    {"send what is left", migrate_drain, NULL, 0},
    {"confirm", migrate_confirm, NULL, 0},
    {"release the source", migrate_release, NULL, 0},
};

static int64_t migrate_observed_ns(const struct migrate_plan *p)
{
    int64_t stopped_ns = p->source->seen.stopped_ns, resumed_ns = p->destination->seen.resumed_ns;
    return stopped_ns == 0 || resumed_ns < stopped_ns ? -1 : resumed_ns - stopped_ns;
}

/*
 * Ends in a final phase. A failure before the point of no return has been undone, and so settled, by
 * the step engine; a later one is settled here. *e becomes unset if the guest has moved after all.
 */
static void migrate_after_failure(struct migrate *m, bool returnable, struct err *e)
{
    if (m->report->touched && !returnable) {
        migrate_settle(m);
        if (m->report->guest == MIGRATE_GUEST_SOURCE)
            migrate_restore_source(m);
    }

    enum phase end = PHASE_FAILED;
    if (m->report->guest == MIGRATE_GUEST_DESTINATION) {
        end = PHASE_DONE;
        err_clear(e);
    } else if (m->report->guest == MIGRATE_GUEST_UNKNOWN) {
        end = PHASE_UNCERTAIN;
        *e = m->why_unknown;
    } else if (m->report->touched) {
        migrate_begin_undo(m); /* the first step that touches anything has failed */
    }
    migrate_enter(m, end, clock_now_ns());
}

int migrate_run(const struct migrate_plan *plan, struct migrate_report *report, struct err *e)
{
    *report = (struct migrate_report){.guest = MIGRATE_GUEST_SOURCE, .downtime_observed_ns = -1};
    struct migrate m = {.plan = plan, .report = report};
    bool returnable;

    phase_init(&report->phases, NULL, NULL);
    report->started_ns = clock_now_ns();
    int rc = step_run(steps, sizeof steps / sizeof *steps, &m, &returnable, e);
    if (rc < 0) {
        migrate_after_failure(&m, returnable, e);
        if (report->guest == MIGRATE_GUEST_DESTINATION)
            rc = migrate_release(&m, e);
    }
    report->ended_ns = clock_now_ns();
    report->downtime_observed_ns = migrate_observed_ns(plan);
    return rc;
}

const char *migrate_guest_name(enum migrate_guest guest)
{
    static const char *const names[] = {
        [MIGRATE_GUEST_SOURCE] = "source",
        [MIGRATE_GUEST_DESTINATION] = "destination",
        [MIGRATE_GUEST_UNKNOWN] = "unknown",
    };
    return names[guest];
}
