/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The destination starts the guest by itself when it has loaded the stream, so "cancel" is not one
 * command. While we ask the source to give up, the last byte may be on its way, and the destination
 * would start a guest that the source has just started again. So the destination is always disarmed
 * first: vm_ops.run(destination, false) is one step with respect to the end of loading, and its
 * answer splits the world in two:
 *
 *   incoming   it has not run there and will not start by itself: the source may be cancelled.
 *   stopped    it had been loaded, all of it: the guest has moved. It is let go on there, and the
 *              cancel came too late.
 *
 * Where the return path is on, or libvirt is in between, the source may have gone on by itself
 * meanwhile, and a destination that is stopped now may have run until we stopped it. It has not if it
 * was heard all the time and said neither RESUME nor STOP. Two sides that have run one guest on one
 * disk are never reported as one.
 *
 * If the destination does not answer, it must be known dead, and known not to have run the guest,
 * before the source may run. Else nothing is done at all, and it is reported that this is
 * uncertain, and what settles it. One case is left: the network is cut, so the stream has not moved
 * for a long time, and the guest still runs on the source. Then the source is cancelled all the
 * same, since what cannot be sent cannot arrive, and afterwards it has to turn out that the guest
 * has never stood; if it has, it is stopped again, and that is uncertain, too.
 */
#include "core/migrate/rollback.h"
#include "core/migrate/recover.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/log.h"
#include "core/text.h"

/* An event may come this much later than the answer to a command that was sent after it. */
#define ROLLBACK_EVENT_NS (300 * NS_PER_MS)

/* What an operator is advised to do. */
enum advice {
    ASK_DESTINATION, /* it may run the guest */
    ASK_SOURCE,      /* it may not run it any more; the destination will not */
    HAD_IT_THERE,    /* the destination has run the guest: what the source has is old */
    GO_ON_THERE,     /* the destination has loaded it all, and stands: nobody else may run it */
    START_ANEW,      /* what is left of the guest is on its disk */
    END_NEITHER,     /* each may be needed */
    STOP_BOTH,       /* both run, or may: their disk is written twice */
    LOOK_BESIDE,     /* the source runs it, and the destination may, too */
    SOURCE_IS_GONE,  /* the destination may have the guest, or may not */
};

static void rollback_hint(struct migration *m, enum advice what)
{
    const struct vm_commands *s = &m->plan->source->commands, *d = &m->plan->destination->commands;
    struct err *e = &m->why_unknown;
    switch (what) {
    case ASK_DESTINATION:
        err_hint(e, "look: %s; only if the guest does not run there: %s, then %s", d->look, d->end,
                 s->go_on);
        break;
    case ASK_SOURCE:
        err_hint(e, "the destination will not start it; look: %s; if it is paused: %s", s->look,
                 s->go_on);
        break;
    case HAD_IT_THERE:
        err_hint(e,
                 "the source must not run the guest any more; look: %s; %s; if it is paused on the "
                 "destination, and nowhere else: %s",
                 d->look, s->look, d->go_on);
        break;
    case GO_ON_THERE:
        err_hint(
            e,
            "the guest is on the destination; look: %s; if it is paused there: %s; the source must "
            "not run it any more: %s",
            d->look, d->go_on, s->end);
        break;
    case START_ANEW:
        err_hint(e, "end what is left of both sides (%s; %s), and start the guest from its disk",
                 s->end, d->end);
        break;
    case END_NEITHER:
        if (m->postcopy_begun && s->recover != NULL && d->recover != NULL)
            err_hint(e,
                     "end neither side, the guest may need both; look: %s; %s; if both say "
                     "postcopy-paused, and reach each other: %s; then %s",
                     s->look, d->look, d->recover, s->recover);
        else
            err_hint(e, "end neither side before both have been looked at: %s; %s", s->look,
                     d->look);
        break;
    case STOP_BOTH:
        err_hint(e,
                 "stop what runs (%s; %s); what both have written is on one disk: check it "
                 "before either goes on",
                 s->stop, d->stop);
        break;
    case LOOK_BESIDE:
        err_hint(
            e,
            "look: %s; if the guest runs there, too, stop both at once (%s; %s): what both have "
            "written is on one disk; if it does not: %s",
            d->look, s->stop, d->stop, d->end);
        break;
    case SOURCE_IS_GONE:
        err_hint(e,
                 "look: %s; if the guest is there, paused: %s; if there is none, start it from "
                 "its disk",
                 d->look, d->go_on);
        break;
    }
}

/* The guest has run on the destination, by that side's own words. */
static bool rollback_has_run(const struct migration *m)
{
    const struct vm_seen *seen = &m->plan->destination->seen;
    return seen->ran || seen->resumed_ns != 0 || seen->stopped_ns != 0;
}

__attribute__((format(printf, 3, 4))) static void rollback_unknown(
    struct migration *m, enum advice what, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *words = text_keep_v(fmt, ap);
    va_end(ap);
    m->report->guest = MIGRATE_GUEST_UNKNOWN;
    err_clear(&m->why_unknown);
    err_set(&m->why_unknown, ERR_UNCERTAIN, 0, "%s", words);
    if (rollback_has_run(
            m)) /* the disk has moved on: to ask whether it runs there now is not enough */
        what = what == ASK_DESTINATION || what == ASK_SOURCE ? HAD_IT_THERE
               : what == LOOK_BESIDE                         ? STOP_BOTH
                                                             : what;
    rollback_hint(m, what);
}

/* The guest is on the destination. If postcopy took it there, its memory has to follow first. */
static void rollback_moved(struct migration *m)
{
    struct err e = {0};
    struct vm *s = m->plan->source;
    struct vm_sample last;
    if (m->postcopy_begun && recover_follow(m, &e) < 0) {
        rollback_unknown(m, END_NEITHER, "postcopy was broken off: %s", e.msg);
        return;
    }
    m->report->guest = MIGRATE_GUEST_DESTINATION;
    if (s->ops->sample(s, &last, &e) == 0) /* for the record */
        m->report->last = last;
}

/* Having handed everything over, the source may still let its guest run again by itself. */
static bool rollback_source_may_go_on(const struct migration *m)
{
    return m->plan->settings.postcopy || m->plan->source->may_go_on;
}

/* Whether "completed" is this migration's word: an earlier one's stays until the next has begun, and
 * leaves the guest as it was. */
static bool rollback_handed_over(const struct migration *m, const struct vm_sample *now)
{
    bool earlier = m->report->source.migration == VM_MIGRATION_COMPLETED &&
                   (now->run == VM_RUN_RUNNING || now->run == VM_RUN_STOPPED);
    return now->migration == VM_MIGRATION_COMPLETED && !earlier;
}

/* Its guest stands, and it has not decided yet: it says "failed" a moment before it lets its guest run. */
static bool rollback_source_undecided(const struct migration *m, const struct vm_sample *now)
{
    return rollback_source_may_go_on(m) && m->was_running && now->run == VM_RUN_FINISHING &&
           now->migration != VM_MIGRATION_COMPLETED && now->migration != VM_MIGRATION_PAUSED;
}

/* The source's QEMU starts the guest again by itself when its migration fails. *silent: it does not
 * tell whether it has, or will, and is not known to be dead. */
static bool rollback_source_runs(struct migration *m, bool *silent)
{
    struct vm *s = m->plan->source;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_CONFIRM_NS;
    for (;;) {
        struct err e = {0};
        struct vm_sample now;
        bool answers = s->ops->sample(s, &now, &e) == 0;
        bool undecided = answers && rollback_source_undecided(m, &now);
        *silent = undecided || (!answers && !vm_death_proven(s->ops->death(s)));
        if (!undecided || clock_now_ns() > deadline_ns)
            return answers && now.run == VM_RUN_RUNNING;
        loop_sleep(s->loop, MIGRATION_TICK_NS / 10);
    }
}

/* … and its migration is over, so that this is not the guest that is about to leave. */
static bool rollback_source_kept_it(struct migration *m)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    return s->ops->sample(s, &now, &e) == 0 && now.run == VM_RUN_RUNNING &&
           !vm_migration_busy(now.migration);
}

/*
 * Of a destination that is dead: whether its guest did anything. RESUME is said before the vCPUs
 * run, and all that was said is here, unless there is a gap; and then the source tells whether it
 * had sent everything. With a return path it may have, and say "failed" all the same.
 * Source: QEMU 10.0, system/cpus.c, vm_prepare_start().
 */
static bool rollback_may_have_run(struct migration *m)
{
    const struct vm_seen *seen = &m->plan->destination->seen;
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    if (rollback_has_run(m) || !seen->gap)
        return rollback_has_run(m);
    return rollback_source_may_go_on(m) || s->ops->sample(s, &now, &e) < 0 ||
           rollback_handed_over(m, &now) || now.migration == VM_MIGRATION_DEVICE;
}

/* The guest has run on the source all the time: the last of it is sent only when it stands. */
static bool rollback_never_stood(const struct migration *m)
{
    const struct vm_seen *seen = &m->plan->source->seen;
    return m->was_running && !m->postcopy_begun && seen->stopped_ns == 0 && !seen->gap;
}

/* The destination does not answer. True: it does not run the guest, and will not; or, with m->unconfirmed
 * set, so it is if the guest turns out not to have stood until the migration is cancelled. */
static bool rollback_never_ran(struct migration *m, const struct err *unanswered)
{
    struct vm *d = m->plan->destination;
    enum vm_death death = d->ops->death(d);
    bool dead = vm_death_proven(death);
    if (!dead && m->stalled && rollback_never_stood(m)) {
        log_warn("the destination does not answer, and nothing gets there: %s", unanswered->msg);
        m->unconfirmed = true;
        return true;
    }
    if (!dead) {
        bool beside = rollback_source_kept_it(m);
        rollback_unknown(m, beside ? LOOK_BESIDE : ASK_DESTINATION,
                         "%sthe destination does not tell whether it runs the guest%s: %s",
                         beside ? "the guest runs on the source, and " : "", beside ? ", too" : "",
                         unanswered->msg);
        return false;
    }
    if (rollback_may_have_run(m)) { /* the disk has moved on: the source must not go on */
        rollback_unknown(m, START_ANEW,
                         "the destination's QEMU has ended (%s), and %s run the guest",
                         vm_death_reason(death), rollback_has_run(m) ? "had" : "may have");
        return false;
    }
    log_info("the destination's hypervisor has ended: %s", vm_death_reason(death));
    return true;
}

/*
 * The source runs the guest, and the destination, which was told to hold it, is `now`. True: it has
 * never run there, and will not.
 */
static bool rollback_beside_source(struct migration *m, enum vm_run now)
{
    struct vm *d = m->plan->destination;
    loop_sleep(d->loop,
               ROLLBACK_EVENT_NS); /* what it said before it answered comes by another way */
    if (now == VM_RUN_RUNNING)
        rollback_unknown(m, STOP_BOTH, "both sides run the guest");
    else if (rollback_has_run(m) || now == VM_RUN_SHUTDOWN)
        rollback_unknown(m, STOP_BOTH,
                         "both sides have run the guest; it runs on the source, and the "
                         "destination %s",
                         now == VM_RUN_STOPPED    ? "has been stopped"
                         : now == VM_RUN_SHUTDOWN ? "has powered it off"
                                                  : "has it no more");
    else if ((now == VM_RUN_STOPPED && !d->seen.gap) || rollback_never_stood(m))
        return true;
    else
        rollback_unknown(m, STOP_BOTH,
                         "the guest runs on the source, and may have run on the "
                         "destination, too%s",
                         now == VM_RUN_STOPPED ? ", which has been stopped" : "");
    return false;
}

/* Lets a side run that no other will run beside. One that does not answer may have done it: it is looked at
 * before it is told again. */
static int rollback_let_run(struct vm *vm, enum vm_run *now, struct err *e)
{
    struct vm_sample s;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_LOST_NS;
    while (vm->ops->run(vm, true, now, e) < 0) {
        do
            if (!migration_ask_again(vm, deadline_ns, e))
                return -1;
        while (vm->ops->sample(vm, &s, e) < 0);
        *now = s.run;
        if (s.run == VM_RUN_RUNNING)
            return 0;
    }
    return 0;
}

/* It had been loaded, and the source does not run it: so it goes on there. */
static bool rollback_resume_destination(struct migration *m)
{
    struct vm *d = m->plan->destination;
    struct err e = {0};
    enum vm_run now;
    log_info("the guest had already been loaded: it goes on, on the destination");
    if (rollback_let_run(d, &now, &e) == 0 && now == VM_RUN_RUNNING) {
        rollback_moved(m);
        return false;
    }
    rollback_unknown(m, GO_ON_THERE,
                     "the destination does not start the guest that it has loaded%s%s",
                     e.class != ERR_NONE ? ": " : "", e.msg);
    return false;
}

/*
 * Makes sure that the destination does not start the guest. True: it does not and will not. False:
 * the guest has moved (*guest = destination) or that cannot be known (*guest = unknown).
 */
static bool rollback_hold_destination(struct migration *m)
{
    struct vm *d = m->plan->destination;
    struct err e = {0};
    enum vm_run now = VM_RUN_UNKNOWN;
    bool silent;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_LOST_NS;
    while (d->ops->run(d, false, &now, &e) < 0)
        if (m->stalled || !migration_ask_again(d, deadline_ns, &e))
            return rollback_never_ran(m, &e);
    if (now == VM_RUN_INCOMING && !rollback_has_run(m))
        return true;
    if (rollback_source_runs(m, &silent))
        return rollback_beside_source(m, now);
    if (silent && rollback_source_may_go_on(m))
        rollback_unknown(m, END_NEITHER,
                         "the destination has had the guest, and the source does not tell "
                         "whether it runs it, too");
    else if (now == VM_RUN_INCOMING)
        rollback_unknown(m, START_ANEW, "the destination had run the guest, and has it no more");
    else if (now == VM_RUN_SHUTDOWN || now == VM_RUN_RUNNING ||
             (!m->was_running && now != VM_RUN_UNKNOWN))
        rollback_moved(m);
    else if (now == VM_RUN_STOPPED)
        return rollback_resume_destination(m);
    else
        rollback_unknown(m, ASK_DESTINATION,
                         "the destination does not tell whether it runs the guest");
    return false;
}

enum loaded { LOADED, NOT_LOADED, LOADED_UNKNOWN };

/*
 * The source has handed over everything, the destination was disarmed in the middle of it: either
 * it gets to the end, stopped, and is let go on; or it does not, and the guest stays.
 */
static enum loaded rollback_await_loaded(struct migration *m)
{
    struct vm *d = m->plan->destination;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_CONFIRM_NS;
    while (clock_now_ns() < deadline_ns) {
        struct err e = {0};
        struct vm_sample s;
        if (d->ops->sample(d, &s, &e) < 0)
            return LOADED_UNKNOWN;
        if (s.run != VM_RUN_INCOMING)
            return LOADED;
        if (s.migration == VM_MIGRATION_FAILED)
            return NOT_LOADED;
        loop_sleep(m->plan->source->loop, MIGRATION_TICK_NS);
    }
    return NOT_LOADED; /* it waits, held, and will go on waiting */
}

/* QEMU says that a migration is over a little before its run state does; until then it refuses
 * `cont`. */
static int rollback_await_finished(struct migration *m, struct vm_sample *now, struct err *e)
{
    struct vm *s = m->plan->source;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_CONFIRM_NS;
    while (now->run == VM_RUN_FINISHING && clock_now_ns() < deadline_ns) {
        loop_sleep(s->loop, MIGRATION_TICK_NS / 10);
        while (s->ops->sample(s, now, e) < 0)
            if (!migration_ask_again(s, deadline_ns, e))
                return -1;
    }
    return 0;
}

/* The source was cancelled without the answer of the destination: whether that was right. */
static bool rollback_check_unconfirmed(struct migration *m, const struct vm_sample *now)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    enum vm_run stopped;
    loop_sleep(s->loop, ROLLBACK_EVENT_NS);
    if (rollback_never_stood(m) && now->run == VM_RUN_RUNNING)
        return true;
    if (s->ops->run(s, false, &stopped, &e) < 0)
        log_warn("the source cannot be stopped: %s", e.msg);
    rollback_unknown(m, ASK_DESTINATION,
                     "the stream moved again in the last moment: either side may "
                     "have the guest");
    return false;
}

/* A source whose daemon is restarting is worth waiting for: the destination is held, and a guest
 * that is known to be on the source needs nobody's help. */
static int rollback_cancel(struct migration *m, struct vm_sample *now, struct err *e)
{
    struct vm *s = m->plan->source;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_LOST_NS;
    for (;;) {
        if (s->ops->sample(s, now, e) == 0 &&
            (!vm_migration_busy(now->migration) ||
             (s->ops->cancel(s, e) == 0 && s->ops->sample(s, now, e) == 0))) {
            if (now->migration == VM_MIGRATION_COMPLETED && !rollback_handed_over(m, now))
                now->migration = VM_MIGRATION_NONE; /* this one has not begun */
            return rollback_await_finished(m, now, e);
        }
        if (!migration_ask_again(s, deadline_ns, e))
            return -1;
    }
}

/* The source's QEMU has ended in the middle, with the destination held. Nowhere is said only where
 * that is known. */
static void rollback_without_source(struct migration *m, enum vm_death death)
{
    struct vm *d = m->plan->destination;
    enum loaded loaded = m->unconfirmed ? LOADED_UNKNOWN : rollback_await_loaded(m);
    if (loaded == LOADED && !rollback_hold_destination(m))
        return;
    if (loaded == LOADED_UNKNOWN &&
        (!vm_death_proven(d->ops->death(d)) || rollback_may_have_run(m)))
        rollback_unknown(
            m, SOURCE_IS_GONE,
            "the source's QEMU has ended in the middle (%s), and the destination does not "
            "tell whether it has the guest",
            vm_death_reason(death));
    else
        rollback_unknown(m, START_ANEW,
                         "the source's QEMU has ended in the middle (%s): the guest runs nowhere",
                         vm_death_reason(death));
}

/* The destination is held: the source is to have the guest, as it was before. */
static void rollback_keep_on_source(struct migration *m)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    if (rollback_cancel(m, &now, &e) < 0)
        goto lost;
    m->report->last = now;
    if (m->unconfirmed && !rollback_check_unconfirmed(m, &now))
        return;

    if (now.migration == VM_MIGRATION_COMPLETED && rollback_await_loaded(m) == LOADED &&
        !rollback_hold_destination(m))
        return;
    if (m->was_running && now.run != VM_RUN_RUNNING && now.run != VM_RUN_SHUTDOWN) {
        if (rollback_let_run(s, &now.run, &e) < 0)
            goto lost;
        if (now.run != VM_RUN_RUNNING) {
            err_set(&e, ERR_UNCERTAIN, 0, "the source does not go on");
            goto lost;
        }
    }
    m->report->guest = MIGRATE_GUEST_SOURCE;
    return;

lost:;
    enum vm_death death = s->ops->death(s);
    if (vm_death_proven(death))
        rollback_without_source(m, death);
    else
        rollback_unknown(m, ASK_SOURCE, "the source does not tell how its guest is: %s", e.msg);
}

enum split { NOT_SPLIT, SPLIT, SPLIT_UNKNOWN };

/* Whether postcopy runs the guest there with part of its memory here; a source that does not answer is asked
 * again for so long. */
static enum split rollback_memory_split(struct migration *m, int64_t patience_ns)
{
    struct vm *s = m->plan->source;
    struct err e = {0};
    struct vm_sample now;
    int64_t deadline_ns = clock_now_ns() + patience_ns;
    if (!m->postcopy_begun)
        return NOT_SPLIT;
    while (s->ops->sample(s, &now, &e) < 0)
        if (!migration_ask_again(s, deadline_ns, &e))
            return SPLIT_UNKNOWN;
    if (now.migration == VM_MIGRATION_UNKNOWN)
        return SPLIT_UNKNOWN;
    return now.migration == VM_MIGRATION_POSTCOPY || now.migration == VM_MIGRATION_PAUSED
               ? SPLIT
               : NOT_SPLIT;
}

/*
 * Postcopy was asked for, and has begun as far as the source knows, or it does not tell. Where its last
 * error check comes after the package the source may still fail, and let its guest go on by itself: a
 * destination that still waits must not start it later. True: it does not, and has not.
 * Source: QEMU 10.0, migration/migration.c, postcopy_start().
 */
static bool rollback_hold_waiting(struct migration *m)
{
    struct vm *d = m->plan->destination;
    struct err e = {0};
    struct vm_sample there;
    enum vm_run now;
    return d->ops->sample(d, &there, &e) == 0 && there.run == VM_RUN_INCOMING &&
           d->ops->run(d, false, &now, &e) == 0 && now == VM_RUN_INCOMING && !rollback_has_run(m);
}

void rollback_migration(struct migration *m)
{
    migration_begin_undo(m);
    enum split split = rollback_memory_split(m, 0);
    bool held = split != NOT_SPLIT && rollback_hold_waiting(m);
    if (split == SPLIT_UNKNOWN) /* after the destination was held: until then it could begin */
        split = rollback_memory_split(m, MIGRATION_LOST_NS);
    if (split == NOT_SPLIT) {
        if (held || rollback_hold_destination(m))
            rollback_keep_on_source(m);
    } else if (held) {
        rollback_unknown(m, ASK_SOURCE, "%s; the destination, which has not run the guest, is held",
                         split == SPLIT ? "postcopy was broken off"
                                        : "the source does not tell whether postcopy has begun");
    } else {
        rollback_unknown(m, END_NEITHER,
                         "postcopy was broken off: either side may lack pages of the other");
    }
}
