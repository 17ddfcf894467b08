/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A migration is the table of steps below; core/migrate/phase.h says what each phase allows and where the
 * guest runs in it. Three decisions carry the rest.
 *
 * 1. The destination starts the guest itself when it has loaded the stream (vm_ops.listen arms it),
 *    so no command of ours stands inside the pause.
 *
 * 2. Because of that, giving up is not one command: core/migrate/rollback.c is the one way back from every
 *    failure after the start.
 *
 * 3. The source is never told to run, and never ended, on a guess.
 */
#include "core/migrate/migrate.h"

#include "core/log.h"
#include "core/migrate/match.h"
#include "core/migrate/recover.h"
#include "core/migrate/rollback.h"
#include "core/migrate/steer.h"
#include "core/step.h"

/* ---- before anything is touched ---- */

static int migrate_probe(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    const struct migrate_plan *p = m->plan;
    if (p->source->ops->probe(p->source, &m->report->source, e) < 0 ||
        p->destination->ops->probe(p->destination, &m->report->destination, e) < 0)
        return -1;
    m->was_running = m->report->source.run == VM_RUN_RUNNING;
    return 0;
}

static int migrate_check(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    const struct migrate_plan *p = m->plan;
    if (match_facts(&m->report->source, &m->report->destination, e) < 0)
        return -1;
    if (p->source->ops->check(p->source, &p->settings, e) < 0 ||
        p->destination->ops->check(p->destination, &p->settings, e) < 0 || steer_check(m, e) < 0)
        return -1;
    p->source->proof.on = p->destination->proof.on = p->source->proof.can &&
                                                     p->destination->proof.can;
    if (!p->source->proof.on || m->report->source.uuid[0] == '\0' ||
        m->report->destination.uuid[0] == '\0')
        log_info(
            "that the stream comes to the right destination is not proven by the guest's UUID: %s",
            p->source->proof.on ? "it has none on both sides" : "not both hypervisors can");
    m->report->touched = true; /* from here on */
    migration_enter(m, PHASE_PREPARING, clock_now_ns());
    return 0;
}

/* ---- preparing ---- */

static int migrate_configure_source(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source;
    return source->ops->configure(source, &m->plan->settings, &m->report->downtime_limit_ns, e);
}

static int migrate_set_first_limit(void *ctx, struct err *e)
{
    return steer_begin(ctx, e);
}

static void migrate_restore_source(void *ctx)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source;
    struct err e = {0};
    migration_begin_undo(m);
    if (m->report->guest != MIGRATE_GUEST_SOURCE) /* it may still be migrating */
        return;
    if (source->ops->configure(source, NULL, NULL, &e) < 0)
        log_warn("cannot put the source's migration settings back: %s", e.msg);
}

static int migrate_configure_destination(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *destination = m->plan->destination;
    int64_t ignored_ns;
    return destination->ops->configure(destination, &m->plan->settings, &ignored_ns, e);
}

/* What configure() has made for this migration is of no use any more, and must leave no trace. One
 * that was there before may be tried again, or be dead; the guest does not depend on it. */
static void migrate_discard_destination(void *ctx)
{
    struct migration *m = ctx;
    struct vm *destination = m->plan->destination;
    struct err e = {0};
    migration_begin_undo(m);
    if (m->report->guest != MIGRATE_GUEST_SOURCE)
        return;
    if (m->plan->quit_destination) {
        if (destination->ops->quit(destination, &e) < 0)
            log_warn("the destination's hypervisor is left over: %s", e.msg);
    } else if (!m->unconfirmed && destination->ops->configure(destination, NULL, NULL, &e) < 0) {
        log_info("the destination's migration settings are not put back: %s", e.msg);
    }
}

/* Nothing has been sent to it: it must only not start by itself any more. */
static void migrate_disarm(void *ctx)
{
    struct migration *m = ctx;
    struct vm *destination = m->plan->destination;
    struct err e = {0};
    enum vm_run now;
    migration_begin_undo(m);
    if (m->report->guest != MIGRATE_GUEST_SOURCE)
        return;
    if (destination->ops->run(destination, false, &now, &e) < 0)
        log_info("%s", e.msg); /* dead: disarmed enough */
}

static int migrate_listen(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *destination = m->plan->destination;
    if (destination->ops->listen(destination, m->plan->via, e) == 0)
        return 0;
    migrate_disarm(m); /* it may be armed already */
    return -1;
}

/* ---- precopy, switchover, the end ---- */

static int migrate_start(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source;
    m->plan->destination->seen = (struct vm_seen){0};
    if (source->ops->start(source, m->plan->via, e) < 0) {
        rollback_migration(m); /* it may have begun: only the answer is known to be missing */
        return -1;
    }
    m->begun_ns = clock_now_ns();
    migration_enter(m, PHASE_PRECOPY, m->begun_ns);
    return 0;
}

/* Before postcopy, or a pause, one full pass at least: what is not dirtied again need not be sent
 * after it. */
static bool migrate_passes_sent(const struct migration *m)
{
    unsigned asked = m->plan->settings.passes;
    return m->report->last.passes > (asked > 0 ? asked : 1) || migration_all_sent(m);
}

static bool migrate_cut_or_sent(const struct migration *m)
{
    return m->cut != MIGRATION_CUT_NONE || migration_all_sent(m);
}

static bool migrate_switched(const struct migration *m)
{
    enum vm_migration now = m->report->last.migration;
    return now == VM_MIGRATION_POSTCOPY || now == VM_MIGRATION_PAUSED || migration_all_sent(m);
}

static int migrate_precopy(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    const struct vm_settings *s = &m->plan->settings;
    bool after_passes = s->pause || (s->postcopy && !s->postcopy_held);
    if (migration_follow(m, after_passes ? migrate_passes_sent : migrate_cut_or_sent, true, e) < 0)
        return -1;
    if (after_passes)
        m->cut = s->pause ? MIGRATION_CUT_PAUSE : MIGRATION_CUT_POSTCOPY;
    return 0;
}

/* Whether it came too late, for the last pass had begun, the destination will tell. */
static int migrate_pause(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source;
    enum vm_run now;
    if (m->cut != MIGRATION_CUT_PAUSE || !m->was_running || migration_all_sent(m))
        return 0;
    if (source->ops->run(source, false, &now, e) < 0)
        return -1;
    m->paused = true;
    return migration_follow(m, migration_all_sent, true, e);
}

static void migrate_undo_start(void *ctx)
{
    rollback_migration(ctx);
}

/* From the moment that postcopy runs the guest there, its memory is on both sides. */
static int migrate_postcopy(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source;
    if (m->cut != MIGRATION_CUT_POSTCOPY || migration_all_sent(m))
        return 0;
    int rc = source->ops->switch_over(source, e);
    m->postcopy_begun = rc == 0 || e->class != ERR_QMP; /* no answer is not a no */
    if (rc < 0)
        return -1;
    return migration_follow(m, migrate_switched, false, e);
}

static int migrate_drain(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    if (migration_all_sent(m))
        return 0;
    if (migration_phase(m) == PHASE_PRECOPY) /* no STOP: a lost connection, or a paused guest */
        migration_enter(m, PHASE_SWITCHOVER, clock_now_ns());
    migration_enter(m, PHASE_POSTCOPY, clock_now_ns());
    return recover_follow(m, e);
}

/*
 * QEMU says "completed" after it has started the guest, if it ever does: one that was stopped on
 * the source, before or by somebody in the middle, or has powered off there, arrives as it was.
 */
static bool migrate_has_arrived(const struct migration *m, const struct vm_sample *destination)
{
    bool loaded = destination->run != VM_RUN_INCOMING && destination->run != VM_RUN_UNKNOWN;
    return destination->run == VM_RUN_RUNNING ||
           (loaded && (!m->was_running || destination->migration == VM_MIGRATION_COMPLETED));
}

/* One that was stopped by us arrives stopped, and is let go on. */
static int migrate_look_there(const struct migration *m, struct vm_sample *s, struct err *e)
{
    struct vm *d = m->plan->destination;
    if (d->seen.resumed_ns != 0)
        return 0;
    if (d->ops->sample(d, s, e) < 0)
        return -1;
    if (!m->paused || s->run != VM_RUN_STOPPED || s->migration != VM_MIGRATION_COMPLETED)
        return 0;
    return d->ops->run(d, true, &s->run, e);
}

/* Done means that the destination says so. */
static int migrate_confirm(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *d = m->plan->destination;
    int64_t deadline_ns = clock_now_ns() + MIGRATION_CONFIRM_NS;
    if (migration_phase(m) == PHASE_PRECOPY)
        migration_enter(m, PHASE_SWITCHOVER, clock_now_ns());
    migration_enter(m, PHASE_CONFIRMING, clock_now_ns());
    for (;;) {
        struct vm_sample s = {0};
        migration_look(m);
        if (migrate_look_there(m, &s, e) < 0) {
            if (!migration_ask_again(d, deadline_ns, e))
                return -1;
            continue;
        }
        if (d->seen.resumed_ns != 0 || migrate_has_arrived(m, &s))
            break;
        if (s.migration == VM_MIGRATION_FAILED)
            return err_set(e, ERR_QMP, 0, "the destination could not load the guest: %s",
                           s.reason != NULL ? s.reason : "it does not say why");
        if (clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "the destination has not started the guest");
        if (migration_wait(m, false, e) < 0)
            return -1;
    }
    m->report->guest = MIGRATE_GUEST_DESTINATION;
    migration_enter(m, PHASE_DONE, clock_now_ns());
    return 0;
}

/* The guest is safe: what cannot be tidied up now is worth a warning, no more. Its next migration
 * must not begin with our settings. */
static int migrate_release(void *ctx, struct err *e)
{
    struct migration *m = ctx;
    struct vm *source = m->plan->source, *destination = m->plan->destination;
    (void)e;
    struct err restore = {0}, quit = {0};
    /* first what could do harm if we were killed now */
    if (!m->plan->quit_source && source->ops->configure(source, NULL, NULL, &restore) < 0)
        log_info("cannot put the source's migration settings back: %s", restore.msg);
    err_clear(&restore);
    if (m->plan->quit_source && source->ops->quit(source, &quit) < 0)
        log_warn("the source is left over, stopped, and must not run again: %s; end it: %s",
                 quit.msg, source->commands.end);
    if (destination->ops->configure(destination, NULL, NULL, &restore) < 0)
        log_warn("cannot put the destination's migration settings back: %s", restore.msg);
    return 0;
}

static const struct step steps[] = {
    {"probe both sides", migrate_probe, NULL, 0},
    {"compare and check", migrate_check, NULL, 0},
    {"configure the source", migrate_configure_source, migrate_restore_source, 0},
    {"set the first downtime limit", migrate_set_first_limit, NULL, 0},
    {"configure the destination", migrate_configure_destination, migrate_discard_destination, 0},
    {"arm the destination and listen", migrate_listen, migrate_disarm, 0},
    {"start", migrate_start, migrate_undo_start, 0},
    {"precopy", migrate_precopy, NULL, 0},
    {"pause", migrate_pause, NULL, 0},
    {"switch over", migrate_postcopy, NULL, STEP_POINT_OF_NO_RETURN},
    {"send what is left", migrate_drain, NULL, 0},
    {"confirm", migrate_confirm, NULL, 0},
    {"tidy up", migrate_release, NULL, 0},
};

static int64_t migrate_observed_ns(const struct migrate_plan *p)
{
    int64_t stopped_ns = p->source->seen.stopped_ns, resumed_ns = p->destination->seen.resumed_ns;
    bool switched = stopped_ns > 0 && !p->source->seen.io_error && resumed_ns >= stopped_ns;
    return switched ? resumed_ns - stopped_ns : -1;
}

/* Where STOP or RESUME was not seen QEMU's own count is a lower bound, which can only miss. */
static void migrate_judge_pause(const struct migration *m)
{
    const struct migrate_plan *p = m->plan;
    struct migrate_report *r = m->report;
    const struct vm_seen *from = &p->source->seen;
    int64_t observed_ns = migrate_observed_ns(p), limit_ns = r->downtime_limit_ns;
    int64_t pause_ns = observed_ns >= 0 ? observed_ns : r->last.downtime_ns;
    r->downtime_observed_ns = observed_ns;
    r->pause = (struct migrate_pause){.excess_ns = -1, .sending_ns = -1, .starting_ns = -1};
    if (r->guest != MIGRATE_GUEST_DESTINATION || r->source.run != VM_RUN_RUNNING ||
        p->source->seen.io_error)
        return;
    if (observed_ns >= 0 && from->sent_ns >= from->stopped_ns &&
        from->sent_ns - from->stopped_ns <= observed_ns) {
        r->pause.sending_ns = from->sent_ns - from->stopped_ns;
        r->pause.starting_ns = observed_ns - r->pause.sending_ns;
    }
    if (m->cut != MIGRATION_CUT_NONE)
        r->pause.limit = MIGRATE_LIMIT_NOT_MEANT;
    else if (pause_ns > limit_ns)
        r->pause.limit = MIGRATE_LIMIT_MISSED;
    else if (observed_ns >= 0)
        r->pause.limit = MIGRATE_LIMIT_KEPT;
    if (r->pause.limit == MIGRATE_LIMIT_KEPT || r->pause.limit == MIGRATE_LIMIT_MISSED)
        r->pause.excess_ns = pause_ns > limit_ns ? pause_ns - limit_ns : 0;
}

/*
 * Ends in a final phase. A failure before the point of no return has been undone, and so settled,
 * by the step engine; a later one is settled here. *e becomes unset if the guest has moved after
 * all.
 */
static void migrate_after_failure(struct migration *m, bool returnable, struct err *e)
{
    if (m->report->touched && !returnable) {
        rollback_migration(m);
        if (m->report->guest == MIGRATE_GUEST_SOURCE) {
            migrate_discard_destination(m);
            migrate_restore_source(m);
        }
    }

    enum phase end = PHASE_FAILED;
    if (m->report->guest == MIGRATE_GUEST_DESTINATION) {
        end = PHASE_DONE;
        err_clear(e);
    } else if (m->report->guest == MIGRATE_GUEST_UNKNOWN) {
        end = PHASE_UNCERTAIN;
        *e = m->why_unknown;
    } else if (m->report->touched) {
        migration_begin_undo(m); /* the first step that touches anything has failed */
    }
    migration_enter(m, end, clock_now_ns());
}

int migrate_run(const struct migrate_plan *plan, struct migrate_report *report, struct err *e)
{
    *report = (struct migrate_report){.guest = MIGRATE_GUEST_SOURCE, .downtime_observed_ns = -1};
    struct migration m = {.plan = plan, .report = report};
    bool returnable;

    report->started_ns = clock_now_ns();
    phase_init(&report->phases, NULL, NULL);
    int rc = step_run(steps, sizeof steps / sizeof *steps, &m, &returnable, e);
    if (rc < 0) {
        migrate_after_failure(&m, returnable, e);
        if (report->guest == MIGRATE_GUEST_DESTINATION)
            rc = migrate_release(&m, e);
    }
    report->ended_ns = clock_now_ns();
    migrate_judge_pause(&m);
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
