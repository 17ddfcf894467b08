/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit bench simulate`: what is asked (bench_simulate.c), taken from results (bench_simulate_fit.c) and told
 * (report_simulate.c). */
#ifndef TOOLS_CMD_BENCH_SIMULATE_H
#define TOOLS_CMD_BENCH_SIMULATE_H

#include <stdio.h>

#include "bench/simulate/simulate.h"
#include "tools/cmd/option.h"
#include "tools/cmd/promise.h"

enum { SIMULATE_LIST_MAX = 16 };

struct simulate_list {
    uint64_t at[SIMULATE_LIST_MAX];
    size_t n;
};

/* What was measured: sorted, in ms and bytes. */
struct simulate_measured {
    double *total_ms, *pause_ms, *bytes;
    size_t n, pause_n;
};

struct simulate_row {
    double working_set_bytes, dirty_bytes_per_s, link_bytes_per_s;
    struct simulated simulated;

    /* with --fit */
    char cell[128];
    const char *skipped; /* why there is nothing simulated; kept. NULL: there is */
    struct simulate_measured measured;
};

struct simulate_call {
    uint64_t ram_bytes, data_bytes;
    const char *working_sets, *dirty_rates, *links, *begin, *pause_cost, *end;
    uint64_t link_spread;
    int64_t downtime_limit_ns;
    uint64_t max_bandwidth;
    struct promise_options promise;
    int64_t longest_ns;
    uint64_t runs, seed;
    struct option_list fit;
    bool json;

    struct simulate_list sets, rates, wires;
    struct world_spec spec; /* but for what the points differ in */
    struct simulate_row *rows;
    size_t n;
    int64_t took_ns;
};

void simulate_row_free(struct simulate_row *r);

/* Reads the results, and makes a row of each cell. ERR_REFUSED: they are none. */
int simulate_fit(struct simulate_call *c, struct err *e);

void report_simulate_text(const struct simulate_call *c, FILE *to);
void report_simulate_json(const struct simulate_call *c, const struct err *e, FILE *to);

#endif
