/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_CMD_BENCH_H
#define TOOLS_CMD_BENCH_H

#include "tools/command.h"

extern const struct command command_bench_relocate;

#endif
