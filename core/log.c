/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "core/cleanup.h"

static log_sink_fn *the_sink;

void log_set_sink(log_sink_fn *sink)
{
    the_sink = sink;
}

void log_say(enum log_level level, const char *fmt, ...)
{
    if (the_sink == NULL)
        return;

    CLEANUP_FREE char *line = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&line, fmt, ap) < 0)
        line = NULL;
    va_end(ap);
    the_sink(level, line != NULL ? line : fmt);
}
