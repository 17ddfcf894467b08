/* SPDX-License-Identifier: Apache-2.0 */
/* godwit watch --dirty: what a guest dirties while nobody migrates it. */
#ifndef TOOLS_CMD_WATCH_DIRTY_H
#define TOOLS_CMD_WATCH_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct watch_dirty_options {
    const char *target;  /* a domain, or an endpoint that begins with "qmp+" */
    const char *connect; /* of a domain: its libvirt; NULL: the system's */
    const char *windows; /* "100ms,1s"; NULL: the usual ones */
    int source;          /* from CURVE_DIRTY_RING on; -1: it chooses */
    uint64_t rounds;     /* 0: until it is ended */
    int64_t timeout_ns;  /* < 0: none */
    int64_t interval_ns; /* between two rounds */
    bool json;
    const char *metrics;
};

/* Runs until its end, and returns the exit code: 0 it was ended as asked, and at least one round was told; 1 it
 * failed; 2 refused, nothing was touched; 3 it was interrupted before a round was told. */
int watch_dirty_run(const struct watch_dirty_options *opt);

#endif
