/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The source is asked for its word every MIGRATION_TICK_NS, and at once when it or the destination
 * has said something that changes what is to be done. STOP does not: in the pause QEMU's main loop
 * has better things to do than to answer us. Where the phase follows from the guest's vCPUs it
 * follows STOP and RESUME, dated when they came.
 */
#include "core/migration.h"

#include "core/log.h"

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

static void migration_tell(struct migration *m)
{
    if (m->plan->progress == NULL)
        return;
    struct migrate_progress p = {
        .phase = migration_phase(m),
        .elapsed_ns = clock_now_ns() - m->report->started_ns,
        .source = m->report->last,
    };
    m->plan->progress(m->plan->progress_arg, &p);
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
    if (migration_phase(m) == PHASE_PRECOPY && seen->stopped_ns > seen->resumed_ns)
        migration_enter(m, PHASE_SWITCHOVER, seen->stopped_ns);
    else if (migration_phase(m) == PHASE_SWITCHOVER && seen->resumed_ns > seen->stopped_ns)
        migration_enter(m, PHASE_PRECOPY, seen->resumed_ns);
}

int migration_wait(struct migration *m, bool givable, struct err *e)
{
    struct vm *s = m->plan->source, *d = m->plan->destination;
    struct loop *loop = s->loop;
    int64_t now_ns = clock_now_ns(), tick_ns = now_ns + MIGRATION_TICK_NS;
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

int migration_follow(struct migration *m, bool (*enough)(const struct migration *m), bool givable,
                     struct err *e)
{
    for (;;) {
        if (migration_ask_source(m, givable, e) < 0)
            return -1;
        migration_follow_pause(m);
        migration_tell(m);
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
