/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "core/tune/estimate.h"

/* So many cases have 90 % of all cases between the least and the most of them: (n - 1) / (n + 1). */
#define ESTIMATE_MANY 19

/* How many cases the usual spread counts like. */
#define ESTIMATE_USUAL_CASES 4.0

/* Below 0 is what this rounds to it. */
static struct estimate estimate_around(double likely, double below, double above)
{
    return (struct estimate){below < likely ? likely - below : 0, likely, likely + above};
}

struct estimate estimate_add_independent(struct estimate a, struct estimate b)
{
    return estimate_around(a.likely + b.likely, hypot(a.likely - a.low, b.likely - b.low),
                           hypot(a.high - a.likely, b.high - b.likely));
}

/* 0 times what nothing bounds is 0 here: of nothing there is nothing. */
static double estimate_product(double a, double b)
{
    return a == 0 || b == 0 ? 0 : a * b;
}

struct estimate estimate_multiply(struct estimate a, struct estimate b)
{
    return (struct estimate){estimate_product(a.low, b.low), estimate_product(a.likely, b.likely),
                             estimate_product(a.high, b.high)};
}

struct estimate estimate_divide(struct estimate a, struct estimate b)
{
    assert(b.likely > 0);
    double low = isinf(b.high) ? 0 : a.low / b.high;
    double high = a.high == 0 ? 0 : b.low == 0 ? INFINITY : a.high / b.low;
    return (struct estimate){low, a.likely / b.likely, high};
}

static double estimate_within(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

struct estimate estimate_clamp(struct estimate a, double low, double high)
{
    return (struct estimate){estimate_within(a.low, low, high),
                             estimate_within(a.likely, low, high),
                             estimate_within(a.high, low, high)};
}

struct estimate estimate_min(struct estimate a, struct estimate b)
{
    return (struct estimate){fmin(a.low, b.low), fmin(a.likely, b.likely), fmin(a.high, b.high)};
}

struct estimate estimate_max(struct estimate a, struct estimate b)
{
    return (struct estimate){fmax(a.low, b.low), fmax(a.likely, b.likely), fmax(a.high, b.high)};
}

static int estimate_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, what is at `at`, between neighbours if need be. */
static double estimate_at(const double *values, size_t n, double at)
{
    size_t below = (size_t)at;
    if (below + 1 >= n)
        return values[n - 1];
    return values[below] + (at - (double)below) * (values[below + 1] - values[below]);
}

double estimate_pick(struct estimate a, double z)
{
    double far = fabs(z) / ESTIMATE_Z, end = z < 0 ? a.low : a.high;
    if (end == a.likely) /* NOLINT(clang-diagnostic-float-equal): exactly known */
        return a.likely;
    if (a.low > 0)
        return isinf(end) ? a.likely * (1 + 9 * far) : a.likely * pow(end / a.likely, far);
    if (isinf(end))
        return a.likely * (1 + 9 * far);
    return fmax(0, a.likely + (end - a.likely) * far);
}

double estimate_quantile(double *values, size_t n, double part)
{
    assert(n > 0);
    qsort(values, n, sizeof *values, estimate_compare);
    return estimate_at(values, n, part * (double)(n - 1));
}

/* The 95 % quantile of Student's t, by its expansion around the normal one; from 3 degrees of freedom on
 * it is right to 2 %. Source: Abramowitz and Stegun, 26.7.5. */
static double estimate_student(double freedom)
{
    const double z = ESTIMATE_Z, z3 = z * z * z, z5 = z3 * z * z;
    return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom * freedom);
}

static struct estimate estimate_from_few(const double *values, size_t n, double median,
                                         double usual_spread)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        mean += values[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    double usual = usual_spread * mean;
    double freedom = (double)(n - 1) + ESTIMATE_USUAL_CASES;
    double deviation = sqrt((squares + ESTIMATE_USUAL_CASES * usual * usual) / freedom);
    double half = estimate_student(freedom) * deviation * sqrt(1 + 1 / (double)n);
    return estimate_around(median, half, half);
}

struct estimate estimate_from_cases(double *values, size_t n, double usual_spread)
{
    double median = estimate_quantile(values, n, 0.5);
    if (n < ESTIMATE_MANY)
        return estimate_from_few(values, n, median, usual_spread);
    /* 1 of n + 1 next cases is below the least of n, and so on */
    double cut = 0.05 * (double)(n + 1) - 1;
    return (struct estimate){estimate_at(values, n, cut), median,
                             estimate_at(values, n, (double)(n - 1) - cut)};
}

/* How far an end is from the likely value, of two accounts whose likely values are apart themselves. */
static double estimate_pooled(double a, double apart_a, double share_a, double b, double apart_b)
{
    const double z = ESTIMATE_Z;
    return sqrt(share_a * (a * a + z * z * apart_a * apart_a) +
                (1 - share_a) * (b * b + z * z * apart_b * apart_b));
}

struct estimate estimate_merge(struct estimate a, unsigned cases_a, struct estimate b,
                               unsigned cases_b)
{
    double all = (double)cases_a + (double)cases_b;
    double share = all > 0 ? (double)cases_a / all : 0.5;
    double likely = share * a.likely + (1 - share) * b.likely;
    double apart_a = a.likely - likely, apart_b = b.likely - likely;
    double below = estimate_pooled(a.likely - a.low, apart_a, share, b.likely - b.low, apart_b);
    double above = estimate_pooled(a.high - a.likely, apart_a, share, b.high - b.likely, apart_b);
    return estimate_around(likely, below, above);
}
