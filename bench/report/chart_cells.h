/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charts of cells that are alike but for setting, route and dirty rate: small ones side by
 * side, with the same axes, and the same colour for a route everywhere.
 */
#ifndef BENCH_REPORT_CHART_CELLS_H
#define BENCH_REPORT_CHART_CELLS_H

#include "bench/report/cells.h"
#include "bench/report/page.h"

/* "#0072b2": distinct also to those who see fewer colours. */
const char *chart_route_colour(enum trial_route route);

enum { CHART_TEXT_MAX = 32 };

/* "64 MiB/s", "idle" */
const char *chart_rate(char text[CHART_TEXT_MAX], uint64_t bytes_per_s);

/* How many of the `n` cells from `at` on have the dirty rate of the first: they are neighbours. */
size_t chart_rate_cells(const struct cell *at, size_t n);

/* Every silence as a dot, median and interval; a chart a dirty rate. */
void chart_silences(struct page *p, const struct cell *at, size_t n);

/* Total time by dirty rate; a chart a setting. */
void chart_totals(struct page *p, const struct cell *at, size_t n, const struct trial_series *s);

/* Silence against that of the peer; a chart a dirty rate. */
void chart_ratios(struct page *p, const struct cells *all, const struct cell *at, size_t n,
                  uint64_t seed);

#endif
