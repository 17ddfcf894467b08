/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * When the connection of a postcopy breaks, QEMU ends neither side: the source says "postcopy-paused" and keeps
 * the pages that are missing there; the destination's guest runs on until it needs one of them, and stands then.
 * It goes on when the destination is told to listen anew (migrate-recover) and the source to send what is
 * left there (migrate with resume). Until then the guest lives on both sides, and dies with either.
 *
 * Nothing here can make two of it: the source's guest stands since the switchover, and neither command lets it
 * run; a destination that has its guest loads no other. So an attempt may fail at any point, and the next one
 * begins with a look at both sides: whoever was here meanwhile, a person or another attempt whose answer was
 * lost, may have recovered it, and then there is nothing to be done.
 *
 * A side may not have noticed: a network that drops all leaves both in "postcopy-active". It is told that the
 * connection is broken (migrate-pause) when the stream has not moved for as long as migration_follow() waits,
 * or when the other side has noticed already.
 *
 * The first attempt is for a new port, since the old one may still be taken; the second for the one that was
 * given, since a firewall may let nothing else through; and so on.
 */
#include "core/migrate/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

#define RECOVER_FOR_NS (300 * NS_PER_S)
#define RECOVER_PAUSE_NS \
    (500 * NS_PER_MS) /* before the second attempt; then twice as long each time, up to */
#define RECOVER_PAUSE_MOST_NS (16 * NS_PER_S)
#define RECOVER_STEP_NS (15 * NS_PER_S) /* for a side to notice, and for the stream to run again */

enum { RECOVER_URI_MAX = 512 };

static bool recover_is_due(const struct migration *m)
{
    return m->postcopy_begun && m->plan->source->ops->recover != NULL &&
           m->plan->destination->ops->recover != NULL &&
           (m->report->last.migration == VM_MIGRATION_PAUSED || m->stalled);
}

/* Asks until the side is no more in `from`, or the step's time is over; *s is its last word. */
static int recover_await(struct vm *vm, enum vm_migration from, struct vm_sample *s, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + RECOVER_STEP_NS;
    for (;;) {
        if (vm->ops->sample(vm, s, e) < 0)
            return -1;
        if (s->migration != from || clock_now_ns() > deadline_ns)
            return 0;
        loop_sleep(vm->loop, MIGRATION_TICK_NS);
    }
}

/* The side knows that the connection is lost; it is told where it has not noticed. */
static int recover_settle(struct vm *vm, struct vm_sample *s, struct err *e)
{
    if (vm->ops->sample(vm, s, e) < 0)
        return -1;
    if (s->migration == VM_MIGRATION_POSTCOPY) {
        struct err refused = {0}; /* it has noticed just now */
        if (vm->ops->recover(vm, NULL, NULL, &refused) < 0)
            log_info("%s", refused.msg);
        if (recover_await(vm, VM_MIGRATION_POSTCOPY, s, e) < 0)
            return -1;
    }
    return 0;
}

/* "tcp:HOST:PORT" with another port: true. */
static bool recover_with_port(char uri[RECOVER_URI_MAX], const char *via, unsigned port)
{
    const char *colon = strrchr(via, ':');
    if (strncmp(via, "tcp:", 4) != 0 || colon == NULL || colon <= via + 4)
        return false;
    return snprintf(uri, RECOVER_URI_MAX, "%.*s:%u", (int)(colon - via), via, port) <
           RECOVER_URI_MAX;
}

/* The destination listens, at a port of its own choice if `anew`; *uri is where. */
static int recover_listen(struct migration *m, bool anew, char uri[RECOVER_URI_MAX], struct err *e)
{
    struct vm *d = m->plan->destination;
    unsigned port = 0;
    if (anew && recover_with_port(uri, m->plan->via, 0)) {
        if (d->ops->recover(d, uri, &port, e) < 0)
            return -1;
        recover_with_port(uri, m->plan->via, port);
        return 0;
    }
    snprintf(uri, RECOVER_URI_MAX, "%s", m->plan->via);
    return d->ops->recover(d, uri, NULL, e);
}

/* Whether the stream runs, or has ended well. */
static bool recover_runs(const struct vm_sample *s)
{
    return s->migration == VM_MIGRATION_POSTCOPY || s->migration == VM_MIGRATION_COMPLETED;
}

static int recover_refused(const struct vm *vm, const struct vm_sample *s, struct err *e)
{
    return err_set(e, ERR_QMP, 0, "the %s's migration cannot be recovered any more%s%s", vm->role,
                   s->reason != NULL ? ": " : "", s->reason != NULL ? s->reason : "");
}

/* 0: the stream runs again. ERR_QMP with *over: no attempt will help. */
static int recover_attempt(struct migration *m, bool anew, bool *over, struct err *e)
{
    struct vm *s = m->plan->source, *d = m->plan->destination;
    struct vm_sample here, there;
    char uri[RECOVER_URI_MAX];
    if (s->ops->sample(s, &here, e) < 0)
        return -1;
    if (recover_runs(&here) && !m->stalled)
        return 0; /* somebody else has done it, or an attempt whose answer was lost */
    if (recover_settle(s, &here, e) < 0 || recover_settle(d, &there, e) < 0)
        return -1;
    m->stalled = false; /* both have been told */
    if (here.migration == VM_MIGRATION_COMPLETED)
        return 0;
    *over = !vm_migration_busy(here.migration) || !vm_migration_busy(there.migration);
    if (*over)
        return vm_migration_busy(here.migration) ? recover_refused(d, &there, e)
                                                 : recover_refused(s, &here, e);
    if (recover_listen(m, anew, uri, e) < 0 || s->ops->recover(s, uri, NULL, e) < 0 ||
        recover_await(s, VM_MIGRATION_PAUSED, &here, e) < 0)
        return -1;
    if (recover_runs(&here))
        return 0;
    return err_set(e, ERR_LOST, 0, "no connection to %s within %d s", uri,
                   (int)(RECOVER_STEP_NS / NS_PER_S));
}

static bool recover_side_is_dead(struct vm *vm, struct err *e)
{
    enum vm_death death = vm->ops->death(vm);
    if (!vm_death_proven(death))
        return false;
    err_set(e, ERR_LOST, 0, "postcopy has lost its connection, and the %s's QEMU has ended (%s)",
            vm->role, vm_death_reason(death));
    return true;
}

static bool recover_sleep(struct vm *vm, int64_t ns, int interrupts)
{
    int64_t until_ns = clock_now_ns() + ns;
    while (clock_now_ns() < until_ns && loop_interrupts(vm->loop) == interrupts)
        loop_sleep(vm->loop, MIGRATION_TICK_NS);
    return loop_interrupts(vm->loop) == interrupts;
}

/* Until the stream runs again. */
static int recover_connection(struct migration *m, struct err *e)
{
    struct vm *s = m->plan->source, *d = m->plan->destination;
    int64_t deadline_ns = clock_now_ns() + RECOVER_FOR_NS, pause_ns = RECOVER_PAUSE_NS;
    int interrupts = loop_interrupts(s->loop);
    log_warn(
        "postcopy has lost its connection: the guest is on the destination, a part of its memory still "
        "on the source; until they are connected again it needs both, and is lost if either ends");
    for (unsigned attempt = 1;; attempt++) {
        struct err failed = {0};
        bool over = false;
        if (recover_attempt(m, attempt % 2 == 1, &over, &failed) == 0)
            break;
        log_info("attempt %u to recover postcopy: %s", attempt, failed.msg);
        if (recover_side_is_dead(s, e) || recover_side_is_dead(d, e))
            return -1;
        if (over || clock_now_ns() > deadline_ns || !recover_sleep(s, pause_ns, interrupts))
            return err_set(
                e, ERR_LOST, 0,
                "postcopy has lost its connection, and %u attempt%s to recover it failed: %s",
                attempt, attempt == 1 ? "" : "s", failed.msg);
        pause_ns = 2 * pause_ns < RECOVER_PAUSE_MOST_NS ? 2 * pause_ns : RECOVER_PAUSE_MOST_NS;
    }
    m->moved_ns = 0;
    m->report->recovered++;
    log_warn("postcopy is connected again, and goes on");
    return 0;
}

int recover_follow(struct migration *m, struct err *e)
{
    while (migration_follow(m, migration_all_sent, false, e) < 0) {
        if (!recover_is_due(m))
            return -1;
        err_clear(e);
        if (recover_connection(m, e) < 0)
            return -1;
    }
    return 0;
}
