/* SPDX-License-Identifier: Apache-2.0 */
/* Many migrations that do not take place (bench/simulate/world.h), and how they are distributed. */
#ifndef BENCH_SIMULATE_SIMULATE_H
#define BENCH_SIMULATE_SIMULATE_H

#include "bench/simulate/world.h"
#include "bench/stats.h"
#include "core/cleanup.h"

/* The middle, and where 90 % are; NAN where there is none. */
struct simulate_spread {
    double low, median, high;
};

struct simulated {
    unsigned runs, ends[WORLD_ENDS], kept;
    unsigned throttle_percent; /* the most there was in any */
    double decisions;          /* a migration, on average */
    /* Of those that were done, sorted: ms and bytes. */
    double *total_ms, *pause_ms, *bytes;
    size_t n;
};

/* The first is played with `seed`, the next with the one after it. -1: there is no memory. */
int simulate_run(const struct world_spec *spec, unsigned runs, uint64_t seed, struct simulated *out,
                 struct err *e);
void simulate_free(struct simulated *s);

struct simulate_spread simulate_spread(const double *sorted, size_t n);

#endif
