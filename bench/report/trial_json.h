/* SPDX-License-Identifier: Apache-2.0 */
/* A trial as JSON, and back: the fields. bench/report/trial_file.c has the files. */
#ifndef BENCH_REPORT_TRIAL_JSON_H
#define BENCH_REPORT_TRIAL_JSON_H

#include "bench/migrate/trial.h"
#include "core/json.h"

void trial_json_head(struct json *o, const struct trial_series *s); /* all but the trials */
void trial_json(struct json *o, const struct trial *t);             /* all but the time line */
void trial_json_timeline(struct json *o, const struct trial_timeline *l);

/* ERR_REFUSED names the field. What was read until then is the caller's to free. */
int trial_json_read_head(const struct json_place *top, struct trial_series *s, struct err *e);
int trial_json_read(const struct json_place *p, struct trial *t, struct err *e);
int trial_json_read_timeline(const struct json_place *p, struct trial_timeline *l, struct err *e);

#endif
