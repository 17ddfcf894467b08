/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number that is not known exactly: the interval that should hold 90 % of the cases, and what is most
 * likely. low <= likely <= high, none is below 0, none is NAN; `high` may be INFINITY: nothing bounds it.
 * What is made from such numbers by the functions here is one again.
 */
#ifndef CORE_TUNE_ESTIMATE_H
#define CORE_TUNE_ESTIMATE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

struct estimate {
    double low, likely, high;
};

/* What is known without doubt. */
static inline struct estimate estimate_exactly(double value)
{
    return (struct estimate){value, value, value};
}

/* Whether it keeps the rules above. */
static inline bool estimate_is_sound(struct estimate a)
{
    return a.low >= 0 && a.low <= a.likely && a.likely <= a.high && isfinite(a.likely);
}

/* Ends meet ends, as if both were off in the same direction: never too narrow. */
static inline struct estimate estimate_add(struct estimate a, struct estimate b)
{
    return (struct estimate){a.low + b.low, a.likely + b.likely, a.high + b.high};
}

/* The sum of what is known to vary independently of each other: narrower than estimate_add(). */
struct estimate estimate_add_independent(struct estimate a, struct estimate b);

/* By a number from 0 on that is known. */
static inline struct estimate estimate_scale(struct estimate a, double factor)
{
    return (struct estimate){a.low * factor, a.likely * factor, a.high * factor};
}

struct estimate estimate_multiply(struct estimate a, struct estimate b);

/* Ends meet the opposite ends. Where `b` may be 0, `high` is INFINITY; its likely must not be. */
struct estimate estimate_divide(struct estimate a, struct estimate b);

/* All three kept from leaving [low, high]. */
struct estimate estimate_clamp(struct estimate a, double low, double high);

/* The smaller and the larger, end by end. */
struct estimate estimate_min(struct estimate a, struct estimate b);
struct estimate estimate_max(struct estimate a, struct estimate b);

/* What 5 % are beyond, of the normal distribution, in standard deviations. */
#define ESTIMATE_Z 1.6448536

/* The case that is `z` standard deviations off what is likely, `low` and `high` being where 5 % begin: for
 * those who play many cases, with `z` drawn from the normal distribution. */
double estimate_pick(struct estimate a, double z);

/* Where the two halves of many draws are equal: of n > 0 values, which are sorted in place, the one at
 * `part` (0 the least, 0.5 the median, 1 the most), linear between neighbours. */
double estimate_quantile(double *values, size_t n, double part);

/*
 * What the next case will be, from n > 0 cases seen, which are sorted in place. `likely` is their median.
 * From 19 on (so many have 90 % of the cases between their least and their most) the ends are quantiles;
 * below that they are those of Student's prediction interval, in which `usual_spread`, the standard
 * deviation that such cases usually have as a part of their size (0.1: 10 %), counts like 4 cases: so
 * that one case alone is no certainty.
 */
struct estimate estimate_from_cases(double *values, size_t n, double usual_spread);

/* Two accounts of the same thing as one, by how many cases each comes from. Its interval has their
 * disagreement in it. */
struct estimate estimate_merge(struct estimate a, unsigned cases_a, struct estimate b,
                               unsigned cases_b);

#endif
