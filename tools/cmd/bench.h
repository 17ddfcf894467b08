/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_CMD_BENCH_H
#define TOOLS_CMD_BENCH_H

#include <signal.h>

#include "tools/cmd/command.h"

extern const struct command command_bench_migrate;
extern const struct command command_bench_compare;
extern const struct command command_bench_observe;
extern const struct command command_bench_relocate;
extern const struct command command_bench_replay;
extern const struct command command_bench_report;
extern const struct command command_bench_selftest;
extern const struct command command_bench_simulate;
extern const struct command command_bench_tune;

/* From now on SIGINT, SIGTERM and SIGHUP only set the flag that is returned. */
const volatile sig_atomic_t *bench_catch_signals(void);

#endif
