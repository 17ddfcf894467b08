/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit bench migrate` says: its plan, its progress, its table. */
#ifndef TOOLS_CMD_REPORT_SERIES_H
#define TOOLS_CMD_REPORT_SERIES_H

#include <stdio.h>

#include "bench/migrate/series.h"
#include "bench/report/cells.h"
#include "tools/cmd/progress.h"

void report_series_plan(const struct scenario *s, uint64_t seed, FILE *to);
void report_series_progress(struct progress *p, const struct series_progress *now);
void report_series_text(const struct trial_series *s, FILE *to);
/* The cells beside the limit of --fail-above, those that are beyond it by name; a last line on what came of it.
 * Returns how many are beyond. */
size_t report_series_gate(const struct cells *cells, const struct trial_series *s, int64_t limit_ns,
                          FILE *to);
/* The option's value: below 0 it was not given. ERR_USAGE: it is no limit. */
int report_series_check_gate(int64_t limit_ns, struct err *e);
/* The summary file of that directory. */
void report_series_json(const char *dir, FILE *to);

#endif
