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

/* Writes 0 … n-1 in an order that `seed` and `round` determine; all orders are equally likely. */
void stats_shuffle(uint64_t seed, uint64_t round, size_t *order, size_t n);

#endif
