/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulation needs to know, taken from migrations that were measured (bench/migrate/trial.h): of one cell the
 * link's rate, the fixed costs and what the first pass has to send, each with the spread that the trials had. What
 * the guest dirties is what the cell says: the built-in guests do as they are told, if their processor lets them.
 */
#ifndef BENCH_SIMULATE_FIT_H
#define BENCH_SIMULATE_FIT_H

#include "bench/migrate/trial.h"
#include "bench/simulate/world.h"

/* What one trial tells; NAN: it does not. */
struct fit_case {
    double bytes_per_s, begin_ns, pause_ns, end_ns, first_pass_bytes, dirty_bytes_per_s;
};

/* `t` with its time line. */
struct fit_case fit_look(const struct trial *t);

/* ERR_REFUSED: the cell has something that is not simulated (postcopy, multifd, virsh, …), or too little was
 * measured. The values in `cases` are rearranged. */
int fit_make(const struct trial_cell *cell, struct fit_case *cases, size_t n,
             struct world_spec *spec, struct err *e);

/* From 0 (the same) to 1 how far two samples are apart: the distance of Kolmogorov and Smirnov. Sorted; NAN: one
 * has no value. */
double fit_distance(const double *a, size_t a_n, const double *b, size_t b_n);

#endif
