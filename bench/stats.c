/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static int stats_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stats_quantile(const double *sorted, size_t n, double p)
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

/* Mixed, because neighbouring states of SplitMix64 follow each other in one sequence. */
static uint64_t stats_random_start(uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    state = stats_random(&state) ^ stream;
    return stats_random(&state);
}

void stats_shuffle(uint64_t seed, uint64_t round, size_t *order, size_t n)
{
    uint64_t state = stats_random_start(seed, round);
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)stats_random_below(&state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

double stats_tail(const double *sorted, size_t n, double p)
{
    const double rounding = 1e-9; /* 20 * (1 - 0.95) is a bit less than 1 */
    return (double)n * (1 - p) > 1 - rounding ? stats_quantile(sorted, n, p) : NAN;
}

/* ---- bootstrap ---- */

enum { STATS_RESAMPLES = 2000, STATS_ENOUGH = 5 };

/* The median of n draws with replacement. They are counted, not sorted: `sorted` is. */
static double stats_resampled_median(const double *sorted, size_t n, uint64_t *state,
                                     unsigned *drawn)
{
    double middle[2] = {0};
    size_t below = 0;
    memset(drawn, 0, n * sizeof *drawn);
    for (size_t i = 0; i < n; i++)
        drawn[stats_random_below(state, n)]++;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) { /* the values at places (n - 1) / 2 and n / 2 */
            size_t place = (n - 1 + (size_t)k) / 2;
            if (place >= below && place < below + drawn[i])
                middle[k] = sorted[i];
        }
        below += drawn[i];
    }
    return (middle[0] + middle[1]) / 2;
}

static struct stats_interval stats_middle(double *medians)
{
    qsort(medians, STATS_RESAMPLES, sizeof *medians, stats_compare);
    return (struct stats_interval){stats_quantile(medians, STATS_RESAMPLES, 0.025),
                                   stats_quantile(medians, STATS_RESAMPLES, 0.975)};
}

struct stats_interval stats_median_interval(const double *sorted, size_t n, uint64_t seed)
{
    double medians[STATS_RESAMPLES];
    CLEANUP_FREE unsigned *drawn = calloc(n + 1, sizeof *drawn);
    if (n < STATS_ENOUGH || drawn == NULL)
        return (struct stats_interval){NAN, NAN};
    uint64_t state = stats_random_start(seed, n);
    for (size_t i = 0; i < STATS_RESAMPLES; i++)
        medians[i] = stats_resampled_median(sorted, n, &state, drawn);
    return stats_middle(medians);
}

/* NAN where a resample of b has its median at 0. */
static struct stats_interval stats_ratio_interval(const double *a, size_t a_n, const double *b,
                                                  size_t b_n, uint64_t seed)
{
    const struct stats_interval unknown = {NAN, NAN};
    double ratios[STATS_RESAMPLES];
    CLEANUP_FREE unsigned *drawn = calloc(a_n + b_n, sizeof *drawn);
    if (a_n < STATS_ENOUGH || b_n < STATS_ENOUGH || drawn == NULL)
        return unknown;
    uint64_t state = stats_random_start(seed, a_n ^ b_n << 32);
    for (size_t i = 0; i < STATS_RESAMPLES; i++) {
        double above = stats_resampled_median(a, a_n, &state, drawn);
        double below = stats_resampled_median(b, b_n, &state, drawn);
        if (!(below > 0))
            return unknown;
        ratios[i] = above / below;
    }
    return stats_middle(ratios);
}

struct stats_contrast stats_contrast(const double *a, size_t a_n, const double *b, size_t b_n,
                                     uint64_t seed)
{
    struct stats_contrast c = {.ratio = NAN, .interval = {NAN, NAN}};
    double below = b_n > 0 ? stats_quantile(b, b_n, 0.5) : NAN;
    if (a_n == 0 || !(below > 0))
        return c;
    c.ratio = stats_quantile(a, a_n, 0.5) / below;
    c.interval = stats_ratio_interval(a, a_n, b, b_n, seed);
    if (c.interval.high < 1) /* false for NAN */
        c.verdict = STATS_FASTER;
    else if (c.interval.low > 1)
        c.verdict = STATS_SLOWER;
    return c;
}

const char *stats_verdict_name(enum stats_verdict verdict)
{
    static const char *const names[] = {
        [STATS_CANNOT_TELL] = "cannot tell", [STATS_FASTER] = "faster", [STATS_SLOWER] = "slower"};
    return names[verdict];
}
