/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>

static int stats_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values; `p` between 0 and 1. */
static double stats_quantile(const double *sorted, size_t n, double p)
{
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

struct stats stats_of(double *values, size_t n)
{
    size_t measured = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            values[measured++] = values[i];
    if (measured == 0)
        return (struct stats){0, NAN, NAN, NAN, NAN, NAN};
    qsort(values, measured, sizeof *values, stats_compare);
    return (struct stats){
        .n = measured,
        .min = values[0],
        .q1 = stats_quantile(values, measured, 0.25),
        .median = stats_quantile(values, measured, 0.5),
        .q3 = stats_quantile(values, measured, 0.75),
        .max = values[measured - 1],
    };
}

struct stats stats_ratio(const double *a, const double *b, size_t n, double *ratios)
{
    for (size_t i = 0; i < n; i++)
        ratios[i] = b[i] > 0 ? a[i] / b[i] : NAN; /* the comparison is false for NAN */
    return stats_of(ratios, n);
}

/* SplitMix64: each state gives a good number, so that a seed may be as simple as 1. */
static uint64_t stats_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Below `n`. Numbers from the incomplete last stretch of n are thrown away, as they would favour
 * the low ones. */
static uint64_t stats_random_below(uint64_t *state, uint64_t n)
{
    uint64_t most = UINT64_MAX - UINT64_MAX % n;
    uint64_t r;
    do
        r = stats_random(state);
    while (r >= most);
    return r % n;
}

void stats_shuffle(uint64_t seed, uint64_t round, size_t *order, size_t n)
{
    /* Mixed, because neighbouring states of SplitMix64 follow each other in one sequence. */
    uint64_t state = seed;
    state = stats_random(&state) ^ round;
    state = stats_random(&state);
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)stats_random_below(&state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
