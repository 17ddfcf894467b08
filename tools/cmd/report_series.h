/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit bench migrate` says: its plan, its progress, its table. */
#ifndef TOOLS_CMD_REPORT_SERIES_H
#define TOOLS_CMD_REPORT_SERIES_H

#include <stdio.h>

#include "bench/migrate/series.h"
#include "tools/cmd/progress.h"

void report_series_plan(const struct scenario *s, uint64_t seed, FILE *to);
void report_series_progress(struct progress *p, const struct series_progress *now);
void report_series_text(const struct trial_series *s, FILE *to);
/* The summary file of that directory. */
void report_series_json(const char *dir, FILE *to);

#endif
