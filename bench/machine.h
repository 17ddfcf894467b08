/* SPDX-License-Identifier: Apache-2.0 */
/* What a benchmark ran on: without that its figures say nothing. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

enum { MACHINE_TEXT_MAX = 96 };

struct machine {
    char kernel[MACHINE_TEXT_MAX]; /* "Linux 6.1.0" */
    char cpu[MACHINE_TEXT_MAX];    /* "" where /proc/cpuinfo does not tell */
    long cores;                    /* that we may use */
    double load[3];                /* averages of 1, 5 and 15 minutes; below zero: not known */
};

void machine_look(struct machine *m);

/* The version of `program`: what it says itself, or that of the Debian package that has it; ""
 * where neither can be found out. */
void machine_version(const char *program, char version[MACHINE_TEXT_MAX]);

#endif
