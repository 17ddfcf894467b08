/* SPDX-License-Identifier: Apache-2.0 */
/* What observers saw, as text or JSON: the same whoever asked for them. */
#ifndef TOOLS_CMD_REPORT_OBSERVED_H
#define TOOLS_CMD_REPORT_OBSERVED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/observe/observer.h"
#include "core/json.h"

/* As list "observers" in `o`; nothing when there were none. Times count from `started_ns`. */
void report_observed_json(struct json *o, const struct observer_result *observed, size_t n,
                          int64_t started_ns);

void report_observed_text(const struct observer_result *observed, size_t n, FILE *to);

#endif
