/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit relocate` tells: its result as text or JSON, and its progress. */
#ifndef TOOLS_CMD_REPORT_RELOCATE_H
#define TOOLS_CMD_REPORT_RELOCATE_H

#include <stdio.h>

#include "core/relocate/relocate.h"
#include "tools/cmd/progress.h"

struct report_relocate {
    const char *result;              /* "done", "failed", "refused", "cancelled" */
    const struct relocate *relocate; /* NULL: it was not even planned */
    const char *to_url;
    bool verify_only;
    int64_t wall_ns, cpu_ns;
    struct progress *progress;
};

/* A relocate_progress_fn; `arg` is a struct report_relocate. */
void report_relocate_progress(void *arg, const struct relocate_progress *p);

void report_relocate_json(const struct report_relocate *r, const struct err *e, FILE *to);
void report_relocate_text(const struct report_relocate *r, FILE *to);

/* After a run that ended early: what stands where. */
void report_relocate_where(const struct report_relocate *r, FILE *to);

#endif
