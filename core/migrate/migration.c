/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The source is asked for its word every MIGRATION_TICK_NS, and at once when it or the destination
 * has said something that changes what is to be done. STOP does not: in the pause QEMU's main loop
 * has better things to do than to answer us. Where the phase follows from the guest's vCPUs it
 * follows STOP and RESUME, dated when they came.
 */
#include "core/migrate/migration.h"

#include <inttypes.h>

#include "core/log.h"
#include "core/migrate/steer.h"
#include "core/text.h"
#include "core/units.h"

/* A stream that has not moved for so long will not: while the guest runs, and while it stands and
 * waits for it (and some downtime limits more, for what was promised is not a fault). */
#define MIGRATION_STALLED_NS (60 * NS_PER_S)
#define MIGRATION_STALLED_PAUSE_NS (20 * NS_PER_S)

void migration_enter(struct migration *m, enum phase to, int64_t at_ns)
{
    phase_set(&m->report->phases, m->report->phases.now, to, at_ns);
}

enum phase migration_phase(const struct migration *m)
{
    return m->report->phases.now;
}

void migration_begin_undo(struct migration *m)
{
    if (migration_phase(m) != PHASE_UNDOING)
        migration_enter(m, PHASE_UNDOING, clock_now_ns());
}

bool migration_all_sent(const struct migration *m)
{
    return m->report->last.migration == VM_MIGRATION_COMPLETED;
}

void migration_tell(struct migration *m, const struct control_action *decision,
                    const struct notice *notice)
{
    if (m->plan->progress == NULL)
        return;
    struct migrate_progress p = {
        .phase = migration_phase(m),
        .elapsed_ns = clock_now_ns() - m->report->started_ns,
        .source = m->report->last,
        .diverges = m->report->diverges && migration_phase(m) == PHASE_PRECOPY,
        .decision = decision,
        .notice = notice,
    };
    m->plan->progress(m->plan->progress_arg, &p);
}

static int64_t migration_need_ns(const struct vm_sample *s)
{
    double ns = s->bandwidth_bytes_per_s > 0
                    ? (double)s->ram_remaining_bytes * 1e9 / (double)s->bandwidth_bytes_per_s
                    : 0;
    return ns < 1e15 ? (int64_t)ns : 0;
}

/* "the guest dirties 40 MiB/s, 20 MiB/s are sent, and 100 MiB are left": kept. */
static const char *migration_state(const struct vm_sample *s)
{
    char dirty[UNITS_TEXT_MAX], sent[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
    units_format_size(sent, s->bandwidth_bytes_per_s);
    units_format_size(left, s->ram_remaining_bytes);
    if (s->passes <= 1)
        return text_keep("the first pass over RAM goes on, %s/s are sent, and %s are left", sent,
                         left);
    return text_keep("the guest dirties %s/s, %s/s are sent, and %s are left",
                     units_format_size(dirty, s->dirty_bytes_per_s), sent, left);
}

/* What makes it end. */
static const char *migration_remedies(const struct migration *m)
{
    int64_t need_ns = migration_need_ns(&m->report->last);
    const char *limit =
        need_ns > m->report->downtime_limit_ns
            ? text_keep("--downtime-limit %" PRIi64 "ms (what is left takes so long to "
                        "send; now %" PRIi64 "ms), ",
                        need_ns / NS_PER_MS + 1, m->report->downtime_limit_ns / NS_PER_MS)
            : "";
    return text_keep("what makes it end: %s--postcopy, --pause, more bandwidth%s, or a guest that "
                     "writes less (--set auto-converge=on)",
                     limit,
                     m->plan->settings.max_bandwidth_bytes_per_s > 0
                         ? " (--max-bandwidth limits it)"
                     : m->plan->settings.multifd_channels == 0 ? " (--multifd)"
                                                               : "");
}

/* Pass after pass no less is left, and the guest dirties about what is sent, or it has been so for
 * three passes: bandwidth and dirty rate are of the last moments, and may mislead. */
static void migration_judge(struct migration *m)
{
    const struct vm_sample *s = &m->report->last;
    const struct vm_settings *set = &m->plan->settings;
    if (migration_phase(m) != PHASE_PRECOPY || s->migration != VM_MIGRATION_ACTIVE || set->pause ||
        (set->postcopy && !set->postcopy_held))
        return;
    bool ahead = s->dirty_bytes_per_s >= s->bandwidth_bytes_per_s / 10 * 9;
    m->report->diverges = s->stuck_passes >= (ahead ? 1 : 3);
    if (!m->report->diverges || m->divergence_reported)
        return;
    m->divergence_reported = true;
    log_warn("the migration does not converge: %s, no less than in the pass before; %s",
             migration_state(s), migration_remedies(m));
}

static int migration_source_over(const struct vm_sample *s, struct err *e)
{
    const char *what = s->migration == VM_MIGRATION_FAILED      ? "failed"
                       : s->migration == VM_MIGRATION_CANCELLED ? "was cancelled by somebody else"
                                                                : "has vanished";
    return err_set(e, ERR_QMP, 0, "the migration %s%s%s", what, s->reason != NULL ? ": " : "",
                   s->reason != NULL ? s->reason : "");
}

/* The phase follows what the source has said of its vCPUs. */
static void migration_follow_pause(struct migration *m)
{
    const struct vm_seen *seen = &m->plan->source->seen;
    if (migration_phase(m) == PHASE_PRECOPY && seen->stopped_ns > seen->resumed_ns &&
        !seen->io_error)
        migration_enter(m, PHASE_SWITCHOVER, seen->stopped_ns);
    else if (migration_phase(m) == PHASE_SWITCHOVER && seen->resumed_ns > seen->stopped_ns)
        migration_enter(m, PHASE_PRECOPY, seen->resumed_ns);
}

static int migration_cancelled(const struct migration *m, struct err *e)
{
    if (!m->report->diverges)
        return err_set(e, ERR_CANCELLED, 0, "cancelled");
    err_set(e, ERR_CANCELLED, 0, "cancelled; it did not converge: %s",
            migration_state(&m->report->last));
    return err_hint(e, "%s", migration_remedies(m));
}

static int migration_timed_out(const struct migration *m, struct err *e)
{
    err_set(e, ERR_TIMEOUT, 0, "not converged within the timeout: %s",
            migration_state(&m->report->last));
    return err_hint(e, "%s",
                    m->report->last.passes > 1
                        ? migration_remedies(m)
                        : "give a longer --timeout, or more bandwidth: one pass needs more");
}

int migration_wait(struct migration *m, bool givable, struct err *e)
{
    struct vm *s = m->plan->source, *d = m->plan->destination;
    struct loop *loop = s->loop;
    int64_t now_ns = clock_now_ns(), tick_ns = now_ns + steer_tick_ns(m);
    if (!givable && loop_interrupts(loop) > m->interrupts_reported) {
        m->interrupts_reported = loop_interrupts(loop);
        log_warn("the switchover has begun: it is too late to cancel, and safe to wait");
    }
    while (!s->changed && !d->changed && (now_ns = clock_now_ns()) < tick_ns) {
        if (givable && loop_interrupts(loop) > 0)
            return migration_cancelled(m, e);
        if (givable && m->plan->timeout_ns > 0 &&
            now_ns - m->report->started_ns > m->plan->timeout_ns)
            return migration_timed_out(m, e);
        loop_turn(loop, tick_ns - now_ns);
    }
    migration_follow_pause(m);
    return 0;
}

void migration_look(struct migration *m)
{
    m->plan->source->changed = m->plan->destination->changed = false;
}

bool migration_ask_again(struct vm *vm, int64_t deadline_ns, struct err *e)
{
    bool lost = e->class == ERR_LOST || e->class == ERR_TIMEOUT || e->class == ERR_IO;
    if (!lost || clock_now_ns() >= deadline_ns || vm_death_proven(vm->ops->death(vm)))
        return false;
    log_info("%s: asking again", e->msg);
    err_clear(e);
    loop_sleep(vm->loop, MIGRATION_TICK_NS);
    return true;
}

static int migration_ask_source(struct migration *m, bool givable, struct err *e)
{
    struct vm *source = m->plan->source;
    struct vm_sample now;
    int64_t deadline_ns = 0;
    migration_look(m);
    while (source->ops->sample(source, &now, e) < 0) {
        if (deadline_ns == 0)
            deadline_ns = clock_now_ns() + MIGRATION_LOST_NS;
        if ((givable && loop_interrupts(source->loop) > 0) ||
            !migration_ask_again(source, deadline_ns, e))
            return -1;
    }
    m->report->last = now;
    return 0;
}

static int migration_check_moves(struct migration *m, struct err *e)
{
    uint64_t bytes = m->report->last.ram_transferred_bytes;
    int64_t now_ns = clock_now_ns();
    bool pause = migration_phase(m) == PHASE_SWITCHOVER;
    int64_t limit_ns = pause ? MIGRATION_STALLED_PAUSE_NS + 4 * m->report->downtime_limit_ns
                             : MIGRATION_STALLED_NS;
    if (m->moved_ns == 0 || bytes != m->moved_bytes) {
        m->moved_bytes = bytes;
        m->moved_ns = now_ns;
    }
    if (now_ns - m->moved_ns < limit_ns)
        return 0;
    m->stalled = true;
    return err_set(e, ERR_TIMEOUT, 0, "nothing has been sent for %d s%s: is the network cut?",
                   (int)(limit_ns / NS_PER_S), pause ? ", and the guest stands" : "");
}

static void migration_notice(struct migration *m)
{
    struct migrate_report *r = m->report;
    struct notice found;
    if (!notice_step(&m->notice, &r->last, clock_now_ns() - m->begun_ns, &found))
        return;
    log_info("noticed: %s", found.why);
    r->notices[r->notices_n++] = found;
    migration_tell(m, NULL, &found);
}

int migration_follow(struct migration *m, bool (*enough)(const struct migration *m), bool givable,
                     struct err *e)
{
    for (;;) {
        if (migration_ask_source(m, givable, e) < 0)
            return -1;
        migration_follow_pause(m);
        migration_judge(m);
        migration_tell(m, NULL, NULL);
        migration_notice(m);
        if (givable && migration_phase(m) == PHASE_PRECOPY && steer_precopy(m, e) < 0)
            return -1;
        if (enough(m))
            return 0;
        if (m->report->last.migration == VM_MIGRATION_PAUSED) /* for good, if nobody recovers it */
            return err_set(e, ERR_LOST, 0, "postcopy has lost its connection");
        if (!vm_migration_busy(m->report->last.migration))
            return migration_source_over(&m->report->last, e);
        if (migration_check_moves(m, e) < 0)
            return -1;
        if (migration_wait(m, givable, e) < 0)
            return -1;
    }
}
