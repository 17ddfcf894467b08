/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tune/throttle.h"

#include <math.h>

#define THROTTLE_SHRINK 0.75
#define THROTTLE_PASSES_PER_TRY 1.25
#define THROTTLE_TOLERANCE_BYTES_PER_S 25e6
/* A limit that takes less than a hundredth is none. */
#define THROTTLE_NEXT_TO_NOTHING 0.99
#define THROTTLE_ROUNDS 50

/* From as long as they are now down to those that fit. */
static bool throttle_shrinks(const struct throttle_need *n, unsigned percent)
{
    double last_ns = n->fits_bytes / n->rate_bytes_per_s * 1e9;
    double pass_ns = n->pass_bytes / n->rate_bytes_per_s * 1e9;
    double runs = (100.0 - percent) / 100;
    for (double ns = pass_ns; ns > last_ns; ns /= THROTTLE_PASSES_PER_TRY) {
        double dirtied = n->skew * curve_bytes(n->curve, (int64_t)(ns * runs)).likely;
        if (dirtied > ns / 1e9 * n->rate_bytes_per_s * THROTTLE_SHRINK)
            return false;
    }
    return true;
}

unsigned throttle_needed(const struct throttle_need *n, unsigned from, unsigned most_percent)
{
    unsigned percent = from;
    if (n->rate_bytes_per_s <= 0 || n->fits_bytes <= 0)
        return most_percent + 1;
    while (percent <= most_percent && !throttle_shrinks(n, percent))
        percent++;
    return percent;
}

/* What is left of them all when none dirties more than `level`, or than it must be let. */
static double throttle_sum(const struct throttle_vcpu *v, size_t n, double level, double least_part)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fmin(v[i].bytes_per_s, fmax(level, v[i].bytes_per_s * least_part));
    return sum;
}

size_t throttle_limit_vcpus(struct throttle_vcpu *v, size_t n, unsigned percent,
                            unsigned most_percent)
{
    double low = 0, high = 0, least_part = (100.0 - most_percent) / 100;
    size_t limited = 0;
    for (size_t i = 0; i < n; i++)
        high = fmax(high, v[i].bytes_per_s);
    double wanted = throttle_sum(v, n, high, 1) * (100.0 - percent) / 100;
    for (int i = 0; i < THROTTLE_ROUNDS; i++) {
        double level = (low + high) / 2;
        if (throttle_sum(v, n, level, least_part) > wanted)
            high = level;
        else
            low = level;
    }
    for (size_t i = 0; i < n; i++) {
        double limit = fmax(high, v[i].bytes_per_s * least_part);
        bool cuts = limit < v[i].bytes_per_s * THROTTLE_NEXT_TO_NOTHING;
        v[i].limit_bytes_per_s = cuts ? limit : 0;
        limited += cuts;
    }
    return limited;
}

bool throttle_limits_hold(const struct throttle_vcpu *v, size_t n)
{
    size_t limited = 0;
    for (size_t i = 0; i < n; i++) {
        bool has = v[i].limit_bytes_per_s > 0;
        if (has && v[i].bytes_per_s - v[i].limit_bytes_per_s < THROTTLE_TOLERANCE_BYTES_PER_S)
            return false;
        limited += has;
    }
    return limited > 0;
}
