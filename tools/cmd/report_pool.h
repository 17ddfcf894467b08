/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit relocate --pool` tells: its plan and its result, as text or JSON. */
#ifndef TOOLS_CMD_REPORT_POOL_H
#define TOOLS_CMD_REPORT_POOL_H

#include <stdio.h>

#include "core/pool/move.h"
#include "tools/cmd/relocate_call.h"

struct report_pool {
    const struct pool_move *move;
    const struct relocate_arguments *arg; /* what was asked for */
    const char *result; /* "planned", "done", "undone", "deleted", or how it failed */
};

void report_pool_text(const struct report_pool *r, FILE *to);
void report_pool_json(const struct report_pool *r, const struct err *e, FILE *to);

/* After a run that ended early: what stands where. */
void report_pool_where(const struct pool_move *m, FILE *to);

#endif
