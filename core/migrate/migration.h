/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One migration in progress: between core/migrate/migrate.c, which runs the steps, and
 * core/migrate/rollback.c, which finds the way back from a failure. Not for others.
 */
#ifndef CORE_MIGRATE_MIGRATION_H
#define CORE_MIGRATE_MIGRATION_H

#include "core/clock.h"
#include "core/migrate/migrate.h"

/* How often the source is asked, and progress reported. */
#define MIGRATION_TICK_NS (100 * NS_PER_MS)
/* After the source's last byte: loading device state takes milliseconds, a hung disk server
 * longer. */
#define MIGRATION_CONFIRM_NS (60 * NS_PER_S)
/* How long a side whose connection is lost is asked again: its daemon may be restarting. */
#define MIGRATION_LOST_NS (30 * NS_PER_S)

/* How precopy is ended before it converges. */
enum migration_cut { MIGRATION_CUT_NONE, MIGRATION_CUT_PAUSE, MIGRATION_CUT_POSTCOPY };

struct migration {
    const struct migrate_plan *plan;
    struct migrate_report *report;
    struct control control; /* of plan->control */
    struct notice_state notice;
    enum migration_cut cut;
    int64_t begun_ns;     /* when the stream was started */
    bool was_running;     /* the guest ran before: else it stays stopped after */
    bool postcopy_begun;  /* the source was told to, or may have been */
    bool paused;          /* we have stopped the guest on the source: so it arrives stopped */
    bool stalled;         /* given up because the stream did not move */
    bool unconfirmed;     /* … and the source is cancelled without the destination's answer */
    uint64_t moved_bytes; /* how far the stream was, and when it came there */
    int64_t moved_ns;
    int interrupts_reported;
    bool divergence_reported;
    struct err why_unknown; /* set with report->guest = unknown */
};

enum phase migration_phase(const struct migration *m);
void migration_enter(struct migration *m, enum phase to, int64_t at_ns);
/* Before the first thing is undone. */
void migration_begin_undo(struct migration *m);

/* Reports progress; `decision` and `notice` are NULL, or of just now. */
void migration_tell(struct migration *m, const struct control_action *decision,
                    const struct notice *notice);

/* Before a side is asked: what it says from now on is news. */
void migration_look(struct migration *m);

/* Waits for news since migration_look(), or for the next tick. An interrupt (ERR_CANCELLED) or the
 * plan's timeout (ERR_TIMEOUT) ends it if the migration is `givable`: may still be given up. */
int migration_wait(struct migration *m, bool givable, struct err *e);

/*
 * Follows the source until `enough` says so of report->last. -1: the migration is over in another
 * way, postcopy has lost its connection, the source does not answer, the stream does not
 * move (m->stalled then), or see migration_wait().
 */
int migration_follow(struct migration *m, bool (*enough)(const struct migration *m), bool givable,
                     struct err *e);

/*
 * A side has not answered, *e tells why. A lost connection is no reason to give up a migration that
 * goes on all the same: true, with *e cleared and after a tick, if it is worth asking again, for
 * the hypervisor may live and the deadline has not passed.
 */
bool migration_ask_again(struct vm *vm, int64_t deadline_ns, struct err *e);

/* An `enough`: the source has handed over everything. */
bool migration_all_sent(const struct migration *m);

#endif
