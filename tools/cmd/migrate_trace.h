/* SPDX-License-Identifier: Apache-2.0 */
/* The file of `godwit migrate --trace`. */
#ifndef TOOLS_CMD_MIGRATE_TRACE_H
#define TOOLS_CMD_MIGRATE_TRACE_H

#include <stdio.h>

#include "core/migrate/migrate.h"

struct migrate_trace {
    const char *path; /* lent */
    FILE *file;       /* NULL: there is none */
    struct trace record;
};

/* Before anything is touched; a file that is there stays as it is until migrate_trace_close(). `path` NULL:
 * none is wanted. ERR_REFUSED: it cannot be written. */
int migrate_trace_open(struct migrate_trace *t, const char *path, struct err *e);

/* Writes it. That it cannot be written is said, and is no fault of the migration. */
void migrate_trace_close(struct migrate_trace *t, const char *result, const char *route,
                         const struct migrate_report *report);

#endif
