/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of `godwit bench report` about migrations. */
#ifndef BENCH_REPORT_REPORT_MIGRATIONS_H
#define BENCH_REPORT_REPORT_MIGRATIONS_H

#include "bench/report/cells.h"
#include "bench/report/page.h"
#include "bench/report/trial_file.h"

enum { REPORT_TRIALS_MAX = 16, REPORT_TEXT_MAX = 24 };

struct report_migrations {
    struct trial_results *results;
    const struct cells *cells;
    uint64_t trials[REPORT_TRIALS_MAX]; /* numbers of those to be shown on their own */
    size_t trials_n;
};

/* ERR_REFUSED: a trial of that number is not among the results. */
int report_migrations(const struct report_migrations *r, struct page *p, struct err *e);

/* bench/report/report_trial.c: the trials themselves, typical ones of each cell and those by number. */
int report_trials(const struct report_migrations *r, const struct cell *at, size_t n,
                  struct page *p, struct err *e);
int report_trials_by_number(const struct report_migrations *r, struct page *p, struct err *e);

/* "12.3", and an en dash for NAN. */
const char *report_ms(char text[REPORT_TEXT_MAX], double ms);

#endif
