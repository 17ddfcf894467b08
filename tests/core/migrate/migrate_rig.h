/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine against a model of two QEMUs (fake_vm.h), which asserts at every move that the guest
 * runs once. At the end what the engine reports is compared with what the model knows.
 */
#ifndef TESTS_CORE_MIGRATE_MIGRATE_RIG_H
#define TESTS_CORE_MIGRATE_MIGRATE_RIG_H

#include "core/migrate/migrate.h"
#include "fake_vm.h"

struct migrate_scenario {
    const char *name;
    bool postcopy, pause, quit_source, quit_destination, source_paused, never_converges, load_fails,
        fails_softly;
    bool resume_unseen, late_events;
    bool
        managed; /* libvirt on the source lets its guest go on where the destination's word is lost */
    int64_t timeout_ns;
    bool steered;                /* by this: */
    struct control_plan control; /* its postcopy is held */
    bool given_up;               /* and this is how it ends where nothing fails */
};

struct migrate_outcome {
    struct fake_pair pair;
    struct migrate_report report;
    struct err e;
    int rc;
    unsigned progress_calls;
    bool diverged;
};

/* A pair before its run, so that a test may change what it likes; the run; both. */
void migrate_rig_prepare(struct migrate_outcome *o, const struct migrate_scenario *sc,
                         enum fake_fault fault, unsigned at, uint32_t seed);
void migrate_rig_run(struct migrate_outcome *o, const struct migrate_scenario *sc);
void migrate_rig_play(struct migrate_outcome *o, const struct migrate_scenario *sc,
                      enum fake_fault fault, unsigned at, uint32_t seed);

/* That what is reported is what is. */
void migrate_rig_check(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                       uint32_t seed);

/* How many schedules: each pace with each lag, or $MIGRATE_SEEDS. */
enum { MIGRATE_RIG_SEEDS = 24 };
unsigned migrate_rig_seeds(void);

void migrate_rig_describe(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                          uint32_t seed);
/* With o, sc and seed of the run. */
#define CHECK(condition)                       \
    do {                                       \
        if (!(condition)) {                    \
            migrate_rig_describe(o, sc, seed); \
            fail_msg("not true: " #condition); \
        }                                      \
    } while (0)

#endif
