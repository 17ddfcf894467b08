/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program and reports what it cost. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct child_cost {
    int64_t cpu_ns;      /* user and system, of all its threads and children */
    uint64_t peak_bytes; /* most resident memory */
};

/*
 * Runs argv[0], found along PATH, and waits for it. Adds to *cost: CPU time is summed up, of the
 * peaks the highest stays. 0: it ended with exit code 0. ERR_IO: it ended otherwise, and the last
 * line that it said is in the message; ERR_CANCELLED: *cancel was not 0, and it was ended.
 */
int child_run(const char *const *argv, const volatile sig_atomic_t *cancel, struct child_cost *cost,
              struct err *e);

struct child_end {
    int exit_code;              /* 128 + the signal that ended it, as a shell has it */
    int64_t began_ns, ended_ns; /* CLOCK_MONOTONIC: before the fork, after the wait */
};

/* The same with its standard output and standard error on `out` and `talk`. 0 whatever its exit
 * code is; -1: ERR_IO, it could not be started; ERR_CANCELLED, it was ended, and *end is set. */
int child_run_to(const char *const *argv, int out, int talk, const volatile sig_atomic_t *cancel,
                 struct child_end *end, struct err *e);

enum { CHILD_SAID_MAX = 120 };

/* Of what a program has written to file `out`, the last line that says something. */
void child_last_line(int out, char line[CHILD_SAID_MAX]);

/* The first line that a program says, without its newline; "" when it fails, or takes seconds. */
void child_first_line(const char *const *argv, char *line, size_t size);

#endif
