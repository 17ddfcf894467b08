/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit bench migrate`, for `godwit bench tune`, which leaves out trials that are not worth it. */
#ifndef TOOLS_CMD_BENCH_MIGRATE_H
#define TOOLS_CMD_BENCH_MIGRATE_H

#include "bench/migrate/series.h"
#include "tools/cmd/bench_place.h"
#include "tools/cmd/option.h"
#include "tools/cmd/progress.h"

enum { MIGRATE_PATH_MAX = 4096 };

struct bench_migrate_arguments {
    bool local, json, dry_run, verbose;
    const char *out, *guests, *lab_tools, *qemu, *progress_fd;
    int64_t fail_above_ns; /* below 0: not given */
    uint64_t rounds, seed; /* 0: the scenario's; not given */
};

/* Of a struct bench_migrate_arguments. */
extern const struct option_def bench_migrate_options[];

struct bench_migrate {
    struct bench_migrate_arguments arg;
    const char *file; /* NULL: built in */
    char *text;
    struct scenario scenario;
    char out[MIGRATE_PATH_MAX];
    struct bench_place place;
    struct trial_series series; /* the results, old and new */
    size_t room;
    bool *has; /* by number */
    struct progress progress;

    /* Of a race; all NULL: each trial is wanted. */
    void *race;
    int (*begin)(void *race, const struct scenario *s, struct err *e); /* before anything is made */
    bool (*wants)(void *race, const struct bench_migrate *m, unsigned number);
    void (*noted)(void *race, const struct bench_migrate *m, const struct trial *t);
};

/* With `arg` and `file` set, and progress.fd -1: measures, and keeps what it has measured. */
int bench_migrate_do(struct bench_migrate *m, int argc, char **argv, struct err *e);
void bench_migrate_free(struct bench_migrate *m); /* what it owns, not itself */

#endif
