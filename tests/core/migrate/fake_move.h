/* SPDX-License-Identifier: Apache-2.0 */
/* What the two QEMUs of a fake_pair do by themselves, and the clock that drives it. For fake_vm.c. */
#ifndef TESTS_CORE_MIGRATE_FAKE_MOVE_H
#define TESTS_CORE_MIGRATE_FAKE_MOVE_H

#include "fake_vm.h"

/* One transition that is possible, if any is: then true; or perhaps one, as the pair hesitates. */
bool fake_pair_move(struct fake_pair *p);
void fake_pair_maybe_move(struct fake_pair *p);

/* After every change: what must never be seen. */
void fake_pair_assert(struct fake_pair *p);
void fake_pair_note(struct fake_pair *p, const char *what);

void fake_side_resume(struct fake_side *s);
void fake_side_die(struct fake_side *s);
/* Its RESUME or STOP. */
void fake_side_says(struct fake_side *s, bool resumed);
/* What it has said, and was late, comes. */
void fake_side_hear_all(struct fake_side *s);

/* It answers nothing, from now on for good, or for pair->silence_ns. */
void fake_side_fall_silent(struct fake_side *s);
bool fake_side_is_silent(const struct fake_side *s);

/* The clock begins anew, and moves this pair until it is stopped. */
void fake_clock_start(struct fake_pair *p);
void fake_clock_stop(const struct fake_pair *p);

#endif
