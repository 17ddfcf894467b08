/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit watch --dirty` shows of a guest's dirty pages: rows for people, a JSON object a line for
 * programs, and a file for Prometheus. */
#ifndef TOOLS_CMD_REPORT_DIRTY_H
#define TOOLS_CMD_REPORT_DIRTY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"
#include "qmp/dirty.h"

struct dirty_view {
    const char *target;      /* as the user named it */
    unsigned rounds;         /* that have been measured */
    struct dirty_result now; /* of the last round; {0} before the first */
    struct curve
        all; /* of all rounds: their intervals have the guest's own ups and downs in them */
    int64_t elapsed_ns; /* since the watching began */
    int64_t epoch_ns;   /* CLOCK_REALTIME of the last round's end */
    const char *end;    /* "interrupted", "rounds", "timeout", "failed"; NULL: it goes on */
};

/* The heading is that of the windows of the last round. */
void report_dirty_head(const struct dirty_view *v, FILE *to);
void report_dirty_row(const struct dirty_view *v, FILE *to);
void report_dirty_summary(const struct dirty_view *v, FILE *to);

/* "event": "sample", of the last round; "end", of all rounds, when there is an end. */
void report_dirty_json(const struct dirty_view *v, int fd);

/* Replaces the file as a whole. ERR_IO. */
int report_dirty_metrics(const struct dirty_view *v, const char *path, struct err *e);

#endif
