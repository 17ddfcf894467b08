/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The points are kept as measured. To be asked they are made to rise, by the nearest rising curve (least
 * squares, pooling neighbours that fall): it is done with the same weights to all three ends, and such a
 * curve is no lower for higher points, so that low <= likely <= high stays true.
 *
 * Why a power of time, U = b (t/w)^a with 0 <= a <= 1: it goes from "in proportion" (each page once) to
 * "flat" (all seen), it bends in the right direction, it stays between the two bounds that bending alone
 * gives, and what programs touch grows about so (Denning's working sets, footprints of caches). A guest that
 * writes its memory round and round has a kink instead, which no fit finds: that is in the interval.
 */
#include <math.h>
#include <string.h>

#include "core/tune/curve.h"

/* What of a single window is known of the longer ones: half way between flat and in proportion. */
#define CURVE_POWER_UNKNOWN 0.5

#define CURVE_FLAT 1.1

#define NS_OF_S 1e9

const char *const curve_source_names[] = {"none", "dirty-ring", "dirty-bitmap", "page-sampling",
                                          NULL};

const char *curve_source_name(enum curve_source source)
{
    return curve_source_names[source];
}

int curve_add(struct curve *c, int64_t window_ns, struct estimate bytes)
{
    size_t i = 0;
    if (window_ns <= 0 || !estimate_is_sound(bytes))
        return -1;
    while (i < c->n && c->at[i].window_ns < window_ns)
        i++;
    struct curve_point *p = &c->at[i];
    if (i < c->n && p->window_ns == window_ns) {
        p->bytes = estimate_merge(p->bytes, p->windows, bytes, 1);
        p->windows++;
        return 0;
    }
    if (c->n == CURVE_POINTS_MAX)
        return -1;
    memmove(p + 1, p, (c->n - i) * sizeof *p);
    *p = (struct curve_point){window_ns, bytes, 1};
    c->n++;
    return 0;
}

/* ---- made to rise ---- */

/* The values of neighbours that fall are replaced by their mean, until none falls any more. */
static void curve_raise(double *values, const double *weights, size_t n)
{
    struct {
        double mean, weight;
        size_t end;
    } pools[CURVE_POINTS_MAX];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        double mean = values[i], weight = weights[i];
        for (; used > 0 && pools[used - 1].mean >= mean; used--) {
            double before = pools[used - 1].weight;
            mean = (pools[used - 1].mean * before + mean * weight) / (before + weight);
            weight += before;
        }
        pools[used].mean = mean;
        pools[used].weight = weight;
        pools[used++].end = i + 1;
    }
    for (size_t k = 0, i = 0; k < used; k++)
        for (; i < pools[k].end; i++)
            values[i] = pools[k].mean;
}

/* The points as they are asked for, into `at`. */
static void curve_smooth(const struct curve *c, struct curve_point *at)
{
    double low[CURVE_POINTS_MAX], likely[CURVE_POINTS_MAX], high[CURVE_POINTS_MAX];
    double weights[CURVE_POINTS_MAX] = {0},
           most = c->ram_bytes > 0 ? (double)c->ram_bytes : INFINITY;
    for (size_t i = 0; i < c->n; i++) {
        struct estimate bytes = estimate_clamp(c->at[i].bytes, 0, most);
        low[i] = bytes.low;
        likely[i] = bytes.likely;
        high[i] = bytes.high;
        weights[i] = c->at[i].windows;
    }
    curve_raise(low, weights, c->n);
    curve_raise(likely, weights, c->n);
    curve_raise(high, weights, c->n);
    for (size_t i = 0; i < c->n; i++) {
        at[i] = c->at[i];
        at[i].bytes = (struct estimate){low[i], likely[i], high[i]};
    }
}

/* ---- asked ---- */

static double curve_line(double from_ns, double from, double to_ns, double to, double ns)
{
    return from + (to - from) * (ns - from_ns) / (to_ns - from_ns);
}

/* The power of time that goes through both, from 0 to 1. */
static double curve_power(const struct curve_point *a, const struct curve_point *b)
{
    if (b->bytes.likely <= 0)
        return 0;
    if (a->bytes.likely <= 0)
        return 1;
    double power = log(b->bytes.likely / a->bytes.likely) /
                   log((double)b->window_ns / (double)a->window_ns);
    return power > 1 ? 1 : power;
}

static struct estimate curve_below(const struct curve_point *first, double ns)
{
    struct estimate in_proportion = estimate_scale(first->bytes, ns / (double)first->window_ns);
    in_proportion.high = first->bytes.high;
    return in_proportion;
}

static struct estimate curve_between(const struct curve_point *a, const struct curve_point *b,
                                     double ns)
{
    double a_ns = (double)a->window_ns, b_ns = (double)b->window_ns;
    double low = curve_line(a_ns, a->bytes.low, b_ns, b->bytes.low, ns);
    double likely = curve_line(a_ns, a->bytes.likely, b_ns, b->bytes.likely, ns);
    double high = curve_line(a_ns, a->bytes.high, b_ns, b->bytes.high, ns);
    /* where it does not bend as it should, the straight line is the best there is */
    if (a->bytes.likely > 0)
        likely = fmax(likely, a->bytes.likely * pow(ns / a_ns, curve_power(a, b)));
    high = fmax(high, fmin(a->bytes.high * ns / a_ns, b->bytes.high));
    return (struct estimate){low, fmin(likely, b->bytes.likely), fmax(high, likely)};
}

static struct estimate curve_beyond(const struct curve_point *before,
                                    const struct curve_point *last, double ns)
{
    double last_ns = (double)last->window_ns;
    double power = CURVE_POWER_UNKNOWN, slope = last->bytes.high / last_ns;
    if (before != NULL) {
        power = curve_power(before, last);
        slope = fmin(slope, (last->bytes.high - before->bytes.low) /
                                (double)(last->window_ns - before->window_ns));
    }
    double likely = last->bytes.likely * pow(ns / last_ns, power);
    double high = last->bytes.high + slope * (ns - last_ns);
    return (struct estimate){last->bytes.low, likely, fmax(high, likely)};
}

struct estimate curve_bytes(const struct curve *c, int64_t ns)
{
    struct curve_point at[CURVE_POINTS_MAX];
    if (c->n == 0 || ns <= 0)
        return estimate_exactly(0);
    curve_smooth(c, at);
    size_t i = 0;
    while (i < c->n && at[i].window_ns < ns)
        i++;
    struct estimate bytes;
    if (i < c->n && at[i].window_ns == ns)
        bytes = at[i].bytes;
    else if (i == 0)
        bytes = curve_below(&at[0], (double)ns);
    else if (i < c->n)
        bytes = curve_between(&at[i - 1], &at[i], (double)ns);
    else
        bytes = curve_beyond(i > 1 ? &at[i - 2] : NULL, &at[i - 1], (double)ns);
    return c->ram_bytes > 0 ? estimate_clamp(bytes, 0, (double)c->ram_bytes) : bytes;
}

struct estimate curve_rate(const struct curve *c, int64_t ns)
{
    if (ns <= 0)
        return estimate_exactly(0);
    return estimate_scale(curve_bytes(c, ns), NS_OF_S / (double)ns);
}

uint64_t curve_working_set(const struct curve *c)
{
    return c->n == 0 ? 0 : (uint64_t)llround(curve_bytes(c, c->at[c->n - 1].window_ns).likely);
}

bool curve_is_flat(const struct curve *c)
{
    if (c->n < 2)
        return false;
    int64_t longest_ns = c->at[c->n - 1].window_ns;
    return curve_bytes(c, 2 * longest_ns).likely <= CURVE_FLAT * curve_bytes(c, longest_ns).likely;
}

uint64_t curve_hot_set(const struct curve *c)
{
    if (c->n < 2)
        return 0;
    struct estimate a = curve_bytes(c, c->at[0].window_ns);
    struct estimate b = curve_bytes(c, c->at[1].window_ns);
    double hot =
        curve_line((double)c->at[0].window_ns, a.likely, (double)c->at[1].window_ns, b.likely, 0);
    return hot > 0 ? (uint64_t)llround(hot) : 0;
}
