/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A race: of some candidates that can be tried again and again, each time with another luck, the one with the least
 * value is looked for, with fewer trials than to try all of them equally often. Pure.
 *
 * All that are still in the race are tried once a round, so that what disturbs a round disturbs all alike: values are
 * compared within their round, by rank, and nothing is assumed of how they are distributed. From the third round on
 * those are dropped that are beaten: where Friedman's test says that not all are alike, each whose sum of ranks is
 * further from the least than Conover's test allows; of the last two the one that has lost so many rounds as chance does
 * in 5 % of the cases at most (sign test). This is the F-race (Birattari, Stützle, Paquete, Varrentrapp 2002). The level
 * is not corrected for the many looks: a candidate that is near the best may be dropped, one that is first never is.
 *
 * A trial that failed is INFINITY: worse than all that did not, and as bad as another.
 */
#ifndef BENCH_TUNE_RACE_H
#define BENCH_TUNE_RACE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum { RACE_ROUNDS_MIN = 3 };

struct race;

/* So many rounds at most, and so many trials. NULL: no memory. */
struct race *race_new(size_t candidates, unsigned rounds_max, size_t trials_max, struct err *e);
void race_free(struct race *r); /* NULL is fine */

/* Whether it should be tried in the round that goes on, or will come next. */
bool race_wants(const struct race *r, size_t candidate);
bool race_is_over(const struct race *r);

/* Of the round that goes on, in any order; with the last that it wants the round is over, and is judged. What it does
 * not want is ignored. */
void race_note(struct race *r, size_t candidate, double value);

/* The best so far: of those that are still in the race the one whose values, each as a part of its round's median,
 * have the least median. */
size_t race_best(const struct race *r);

size_t race_left(const struct race *r);     /* that are still in the race */
unsigned race_rounds(const struct race *r); /* that are over */
unsigned race_dropped_in(const struct race *r,
                         size_t candidate); /* the round, from 1; 0: it is in the race */
size_t race_trials(const struct race *r);

#endif
