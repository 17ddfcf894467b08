/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of `godwit migrate` and `godwit predict` on the command line. */
#ifndef TOOLS_CMD_PROMISE_H
#define TOOLS_CMD_PROMISE_H

#include "core/migrate/migrate.h"
#include "core/tune/promise.h"
#include "tools/cmd/option.h"

struct promise_options {
    int64_t max_downtime_ns, max_time_ns;
    const char *max_slowdown, *allow;
    int on_miss;
};

/* Of a struct promise_options. */
extern const struct option_def promise_option_table[];

/* Before the options are parsed. */
void promise_options_init(struct promise_options *o);

/* Understands them, beside the other settings of the same command line. ERR_USAGE: a unit is missing, or they
 * contradict each other or the settings. */
int promise_check(const struct promise_options *o, const struct vm_settings *settings,
                  struct promise *p, struct err *e);

/*
 * With observers a promised --max-downtime is about the silence that they see. Judges *pause by it: by
 * `silence_ns`, that of the switchover, which is a lower bound if it is still `open`. What cannot be known,
 * MIGRATE_LIMIT_UNKNOWN, is never taken for kept; that the switchover did not wait for a limit stays so.
 */
void promise_judge_silence(struct migrate_pause *pause, int64_t promised_ns, int64_t silence_ns,
                           bool open);

#endif
