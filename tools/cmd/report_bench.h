/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit bench` prints: tables, JSON, progress. */
#ifndef TOOLS_CMD_REPORT_BENCH_H
#define TOOLS_CMD_REPORT_BENCH_H

#include <stdio.h>

#include "bench/machine.h"
#include "bench/relocate/compare.h"
#include "tools/cmd/progress.h"

struct report_bench {
    const char *result;    /* "done", "failed", "refused", "cancelled" */
    const char *direction; /* as on the command line */
    struct machine machine;
    struct compare compare;
    struct progress *progress;
};

/* compare_options' progress(); `arg` is a struct report_bench. */
void report_bench_progress(void *arg, const struct compare_progress *p);

void report_bench_text(const struct report_bench *r, FILE *to);
void report_bench_json(const struct report_bench *r, const struct err *e, FILE *to);

#endif
