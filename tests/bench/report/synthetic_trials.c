/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes results of a series that nobody has run, for tests of bench report and bench compare:
 *
 *   synthetic-trials DIR SETTINGS RATES ROUTES ROUNDS TIMELINES SLOWER SEED
 *
 * TIMELINES is 0 or 1; SLOWER as many times as long, 1 for a plain one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench/report/trial_file.h"
#include "tests/bench/report/trial_fixture.h"

int main(int argc, char **argv)
{
    if (argc != 9) {
        fputs("usage: synthetic-trials DIR SETTINGS RATES ROUTES ROUNDS TIMELINES SLOWER SEED\n",
              stderr);
        return 2;
    }
    struct trial_fixture f = {.settings = (unsigned)atoi(argv[2]),
                              .rates = (unsigned)atoi(argv[3]),
                              .routes = (unsigned)atoi(argv[4]),
                              .rounds = (unsigned)atoi(argv[5]),
                              .timelines = atoi(argv[6]) != 0,
                              .slower = atof(argv[7]),
                              .seed = (uint64_t)atoi(argv[8])};
    struct trial_series s;
    struct err e = {0};
    trial_fixture_series(&s, &f);
    mkdir(argv[1], 0777);
    int rc = 0;
    for (size_t i = 0; rc == 0 && f.timelines && i < s.n; i++)
        rc = trial_file_write(argv[1], &s, &s.trials[i], &e);
    if (rc == 0)
        rc = trial_file_write_summary(argv[1], &s, &e);
    if (rc < 0)
        err_print(&e, "synthetic-trials", stderr);
    trial_series_free(&s);
    return rc < 0;
}
