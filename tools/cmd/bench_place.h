/* SPDX-License-Identifier: Apache-2.0 */
/* Where the benchmarks that migrate find what they need beside themselves, and a private
 * directory for their sockets. */
#ifndef TOOLS_CMD_BENCH_PLACE_H
#define TOOLS_CMD_BENCH_PLACE_H

#include "bench/migrate/scenario.h"
#include "core/err.h"

enum { BENCH_PLACE_MAX = 4096 };

struct bench_place {
    char godwit[BENCH_PLACE_MAX]; /* this program */
    char guests[BENCH_PLACE_MAX], lab_tools[BENCH_PLACE_MAX];
    char scratch[64]; /* "": none */
};

/* `guests` and `lab_tools` are what the operator said, or NULL. ERR_REFUSED: what the scenario
 * needs is not there. */
int bench_place_find(struct bench_place *p, const struct scenario *s, const char *guests,
                     const char *lab_tools, struct err *e);

int bench_place_make_scratch(struct bench_place *p, struct err *e);
void bench_place_remove_scratch(struct bench_place *p);

#endif
