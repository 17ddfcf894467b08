/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit migrate` tells: its result as text or JSON, and its progress. */
#ifndef TOOLS_CMD_REPORT_MIGRATE_H
#define TOOLS_CMD_REPORT_MIGRATE_H

#include <stdio.h>

#include "core/migrate/migrate.h"
#include "tools/cmd/progress.h"
#include "tools/cmd/report_observed.h"

struct report_migrate {
    const char *
        result; /* "done", "incomplete" (the guest has moved, its definition has not), "failed", "refused", "cancelled", "uncertain" */
    const char *route;        /* NULL: none was chosen yet */
    const char *route_reason; /* NULL: there was no choice */
    const struct vm_settings *settings;
    const struct migrate_report *report;
    struct report_observed observed;
    int64_t silence_ns;    /* of the switchover, as observers saw it; -1: not */
    bool promised_silence; /* the pause was judged by that */
};

/* A migrate_progress_fn; `arg` is a struct progress. */
void report_migrate_progress(void *arg, const struct migrate_progress *m);

/* A line of --explain. */
void report_decision_text(const struct control_action *a, FILE *to);

void report_migrate_json(const struct report_migrate *r, const struct err *e, FILE *to);
void report_migrate_text(const struct report_migrate *r, FILE *to);

#endif
