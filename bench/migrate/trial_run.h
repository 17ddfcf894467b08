/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one trial: the migration, and all that looks at it. */
#ifndef BENCH_MIGRATE_TRIAL_RUN_H
#define BENCH_MIGRATE_TRIAL_RUN_H

#include "bench/migrate/testbed.h"

/* What the command that migrates has said, for whoever understands it: fills in what QEMU has
 * reported. `out` is a file with its standard output. */
typedef void trial_hear_fn(struct trial *t, int out);

struct trial_call {
    const struct scenario_setting *setting;
    trial_hear_fn *hear;
    bool unobserved; /* without time line: to see what that costs */
    const volatile sig_atomic_t *cancel;
};

/*
 * The guest that `s` has is moved as t->cell says. Fills in the rest of *t, which owns it. 0: it
 * was measured, however it ended; *settled tells whether the guest can be moved again. -1: it could
 * not be measured: ERR_CANCELLED, or the testbed is at fault.
 */
int trial_run(struct testbed *s, const struct trial_call *call, struct trial *t, bool *settled,
              struct err *e);

#endif
