/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit relocate` tells: its result as text or JSON, and its progress. */
#ifndef TOOLS_REPORT_RELOCATE_H
#define TOOLS_REPORT_RELOCATE_H

#include <stdio.h>

#include "core/relocate.h"
#include "tools/progress.h"

struct report_relocate_file {
    const char *source; /* as the operator named it */
    char *destination;  /* URL */
    struct relocate_result result;
    bool done;
};

struct report_relocate {
    const char *result; /* "done", "failed", "refused", "cancelled" */
    struct report_relocate_file *files;
    size_t n;    /* that were begun; those that are done are told */
    size_t done;
    int64_t wall_ns, cpu_ns;
    struct progress *progress;
    const char *source; /* whose progress is told */
};

/* A copy_progress_fn; `arg` is a struct report_relocate. */
void report_relocate_progress(void *arg, const struct copy_progress *p);

void report_relocate_json(const struct report_relocate *r, const struct err *e, FILE *to);
void report_relocate_text(const struct report_relocate *r, FILE *to);

#endif
