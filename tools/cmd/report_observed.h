/* SPDX-License-Identifier: Apache-2.0 */
/* What observers saw, as text or JSON: the same whoever asked for them. */
#ifndef TOOLS_CMD_REPORT_OBSERVED_H
#define TOOLS_CMD_REPORT_OBSERVED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/observe/observer.h"
#include "core/json.h"

/* What observers saw, and what it is measured by. */
struct report_observed {
    const struct observer_result *at;
    size_t n;
    int64_t started_ns;          /* what times count from */
    struct observer_pause pause; /* as far as it is known otherwise */
};

/* As list "observers" in `o`; nothing when there were none. */
void report_observed_json(struct json *o, const struct report_observed *r);

void report_observed_text(const struct report_observed *r, FILE *to);

#endif
