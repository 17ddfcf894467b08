/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of its memory a guest dirties, against time: distinct bytes that are dirtied within a window,
 * by the window's length. A page that is written a thousand times within it counts once, because a pass of
 * a migration has to send it once: so this is what is dirty again after a pass of that length.
 *
 * Such a curve never falls, and for a guest that goes on in the same way it rises ever slower: what is
 * dirtied in the second half of a window has partly been dirtied in the first. What is between, below and
 * beyond the windows that were measured rests on that.
 */
#ifndef CORE_TUNE_CURVE_H
#define CORE_TUNE_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tune/estimate.h"

enum { CURVE_POINTS_MAX = 8 };

/* Who counted; what each is biased by is said in qmp/dirty.h. */
enum curve_source { CURVE_NONE, CURVE_DIRTY_RING, CURVE_DIRTY_BITMAP, CURVE_PAGE_SAMPLING };

struct curve_point {
    int64_t window_ns;
    struct estimate bytes;
    unsigned windows; /* how many of this length were measured */
};

/* Starts as {0} with what is known of source and RAM. */
struct curve {
    enum curve_source source;
    uint64_t ram_bytes;                      /* nothing is above it; 0: not known */
    struct curve_point at[CURVE_POINTS_MAX]; /* by length, as they were measured: not smoothed */
    size_t n;
};

/* By enum curve_source: "none", "dirty-ring", "dirty-bitmap", "page-sampling", and NULL. */
extern const char *const curve_source_names[];
const char *curve_source_name(enum curve_source source);

/* One window more. Windows of equal length become one point (estimate_merge()). -1: the window is not
 * above 0, the estimate is not sound, or it would be one length too many; nothing was changed. */
int curve_add(struct curve *c, int64_t window_ns, struct estimate bytes);

/*
 * Distinct bytes dirtied within `ns`. All three rise with ns and are never above ram_bytes; of ns <= 0, or
 * with no point, 0. At a window that was measured it is that, smoothed where a longer one measured less.
 *  - Between two windows: `low` is on the straight line, `high` on a line from 0 through the shorter up to
 *    the longer one's, `likely` on the power of time that goes through both.
 *  - Below the shortest: in proportion; `high` is the shortest one's, for it may all be dirtied at once.
 *  - Beyond the longest: `low` stays (all was seen), `high` goes on by the steepest last slope that the
 *    intervals allow, `likely` by the power of time of the last two (0.5 where there is just one).
 */
struct estimate curve_bytes(const struct curve *c, int64_t ns);

/* The same a second: what a pass of this length has to outrun. Of ns <= 0 it is 0. */
struct estimate curve_rate(const struct curve *c, int64_t ns);

/* Bytes that the guest works on: those dirtied within the longest window that was measured. */
uint64_t curve_working_set(const struct curve *c);

/* Whether the curve is flat there: a window twice as long would have 10 % more at most. Else the working
 * set is at least what is reported. With one point it is not known: false. */
bool curve_is_flat(const struct curve *c);

/* Bytes that are dirtied over and over: where the line through the two shortest windows meets time 0.
 * However short a pass gets, about so much is dirty again after it. With one point it is not known: 0. */
uint64_t curve_hot_set(const struct curve *c);

#endif
