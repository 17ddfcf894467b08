/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order statistics of a few measurements. A benchmark on a shared machine has outliers to one side,
 * so nothing here is a mean.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

struct stats {
    size_t n; /* 0: the others are NAN */
    double min, q1, median, q3, max;
};

/* Of the `n` values that are not NAN, which stands for "not measured". Quartiles are interpolated
 * linearly (as by default in R and NumPy). Sorts `values`. */
struct stats stats_of(double *values, size_t n);

/*
 * Of a[i] / b[i], for pairs that were measured under like conditions: what disturbs both of a pair
 * cancels out. Pairs with a NAN, or with b[i] not above 0, do not count. Leaves the quotients in
 * `ratios`, which has room for n and may be `a`.
 */
struct stats stats_ratio(const double *a, const double *b, size_t n, double *ratios);

/* Of n > 0 sorted values, linear between neighbours; `p` from 0 (the least) to 1. */
double stats_quantile(const double *sorted, size_t n, double p);

/*
 * The p-quantile (0.95, 0.99) of `n` sorted values, as stats_of() leaves them. NAN where fewer than
 * one of them is expected beyond it: p95 takes 20 values, p99 takes 100. Below that the quantile is
 * the maximum in other words, and would grow with n.
 */
double stats_tail(const double *sorted, size_t n, double p);

struct stats_interval {
    double low, high; /* NAN: not known */
};

/*
 * 95 % intervals by the percentile bootstrap: of 2000 samples drawn with replacement, the middle
 * 95 % of their medians. The same seed gives the same interval. NAN below 5 values, which do not
 * have enough different medians to be resampled. Values are sorted, as stats_of() leaves them.
 */
struct stats_interval stats_median_interval(const double *sorted, size_t n, uint64_t seed);

enum stats_verdict { STATS_CANNOT_TELL, STATS_FASTER, STATS_SLOWER };

/* Two samples of times that are not paired. */
struct stats_contrast {
    double ratio; /* median of a / median of b; NAN: b's is not above 0, or one has no value */
    struct stats_interval interval; /* of it: both are resampled */
    enum stats_verdict verdict; /* of a; STATS_CANNOT_TELL when the interval covers 1 or is NAN */
};

struct stats_contrast stats_contrast(const double *a, size_t a_n, const double *b, size_t b_n,
                                     uint64_t seed);

const char *stats_verdict_name(enum stats_verdict verdict); /* "faster", "slower", "cannot tell" */

/* Writes 0 … n-1 in an order that `seed` and `round` determine; all orders are equally likely. */
void stats_shuffle(uint64_t seed, uint64_t round, size_t *order, size_t n);

#endif
