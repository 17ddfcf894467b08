/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The phases of a live migration, each with its contract. At every instant exactly one side may
 * run the guest; the column "guest" says which.
 *
 *   phase        guest runs on        what may be done               what undo means
 *   -----------  -------------------  -----------------------------  ----------------------------
 *   planned      source               anything read-only             nothing was touched
 *   preparing    source               set capabilities, parameters,  put the source's settings
 *                                     arm and open the destination   back, disarm the destination
 *   precopy      source               sample, tune, cancel, start    disarm the destination, then
 *                                     postcopy                       cancel on the source
 *   switchover   nobody               wait, cancel                   as in precopy, but it may be
 *                                                                    found that the guest has moved
 *   postcopy     destination          wait only                      none: its memory is on both
 *   confirming   destination, as      ask the destination until it   if the destination is known to
 *                soon as it says so   says so                        be dead: continue the source
 *   done         destination          release the source             none
 *   undoing      source or            find out which, roll back      -
 *                destination
 *   failed       source               nothing                        -
 *   uncertain    not known            nothing: a person must look    -
 *
 * switchover begins when the source says STOP, so no command of ours stands inside the pause.
 */
#ifndef CORE_MIGRATE_PHASE_H
#define CORE_MIGRATE_PHASE_H

#include <stddef.h>
#include <stdint.h>

enum phase {
    PHASE_PLANNED,
    PHASE_PREPARING,
    PHASE_PRECOPY,
    PHASE_SWITCHOVER,
    PHASE_POSTCOPY,
    PHASE_CONFIRMING,
    PHASE_DONE,
    PHASE_UNDOING,
    PHASE_FAILED,
    PHASE_UNCERTAIN,
    PHASE_COUNT
};

enum { PHASE_LOG_MAX = 16 };

struct phase_entry {
    enum phase phase;
    int64_t at_ns; /* CLOCK_MONOTONIC */
};

typedef void phase_fn(void *arg, enum phase from, enum phase to, int64_t at_ns);

/* Where a migration is, and when it came there. Written by phase_init() and phase_set() only. */
struct phase_track {
    enum phase now;
    struct phase_entry log[PHASE_LOG_MAX];
    size_t logged;
    phase_fn *observer; /* may be NULL */
    void *observer_arg;
};

/* Planned, as of now. */
void phase_init(struct phase_track *p, phase_fn *observer, void *arg);

/*
 * Moves from `from`, which must be the present phase, to `to`, which the table of legal moves must
 * allow: both are asserted, for a wrong move is a bug of ours. `at_ns` is when it happened, which
 * may be a little earlier than when it was noticed.
 */
void phase_set(struct phase_track *p, enum phase from, enum phase to, int64_t at_ns);

const char *phase_name(enum phase phase);

#endif
