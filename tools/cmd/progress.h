/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the progress of long work goes: to a line on the terminal that is rewritten in place, and,
 * with --progress=FD, as one JSON object a line to a descriptor.
 */
#ifndef TOOLS_CMD_PROGRESS_H
#define TOOLS_CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct progress {
    int fd;          /* -1: none */
    bool explain;    /* decisions are printed as they are taken */
    bool terminal;   /* standard error is one, and nothing else is logged there */
    int64_t next_ns; /* the terminal's line is rewritten a few times a second only */
};

/* `fd_text` is the value of --progress or NULL; ERR_USAGE when it is not an open descriptor.
 * Ignores SIGPIPE from here on. */
int progress_init(struct progress *p, const char *fd_text, bool verbose, struct err *e);

void progress_line(struct progress *p, const char *line);

/* Takes the terminal's line away, before something else is printed. */
void progress_clear(struct progress *p);

#endif
