/* SPDX-License-Identifier: Apache-2.0 */
/* A file of metrics in Prometheus' text format, for node_exporter's textfile collector:
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef TOOLS_CMD_METRICS_FILE_H
#define TOOLS_CMD_METRICS_FILE_H

#include <stdio.h>

#include "core/err.h"

typedef void metrics_write_fn(FILE *to, const void *arg);

/* Replaces the file as a whole, so that a reader never sees half of one. ERR_IO. */
int metrics_file_write(const char *path, metrics_write_fn *fn, const void *arg, struct err *e);

/* HELP and TYPE; `name` is whole ("godwit_dirty_rounds"). */
void metrics_head(FILE *to, const char *name, const char *type, const char *help);

/* A label's value: a backslash, a quote and a newline are escaped. */
void metrics_label(FILE *to, const char *value);

#endif
