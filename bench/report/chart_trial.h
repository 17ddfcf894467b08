/* SPDX-License-Identifier: Apache-2.0 */
/* Charts of one trial. */
#ifndef BENCH_REPORT_CHART_TRIAL_H
#define BENCH_REPORT_CHART_TRIAL_H

#include "bench/migrate/trial.h"
#include "bench/report/page.h"

/* What the guest, the processors and the memory did, one below the other, with the passes and events
 * as lines and the silence shaded. Nothing without a time line. No curve has more than `points`. */
void chart_timeline(struct page *p, const struct trial *t, size_t points);

/* What the pause was made of, and the devices. Nothing where that is not known. */
void chart_pause(struct page *p, const struct trial *t);

#endif
