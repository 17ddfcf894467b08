/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trials on disk: DIR/trial-0001.json for each, with its time line, and DIR/summary.json for all,
 * without. Each file also says what was run, and on what: it stands alone.
 *
 * Times are in ms with three decimals, so that they come back rounded to µs; null is TRIAL_NEVER,
 * and UINT64_MAX of a counter.
 */
#ifndef BENCH_REPORT_TRIAL_FILE_H
#define BENCH_REPORT_TRIAL_FILE_H

#include "bench/migrate/trial.h"
#include "core/err.h"

/*
 * Write DIR/trial-NUMBER.json and DIR/summary.json; of `head`, the former takes all but its trials.
 * A file is there whole or not at all: it is on the disk before it gets its name, and the one that
 * it replaces stays until then. ERR_IO: it could not be written, and nothing is left of it.
 */
int trial_file_write(const char *dir, const struct trial_series *head, const struct trial *t,
                     struct err *e);
int trial_file_write_summary(const char *dir, const struct trial_series *s, struct err *e);

/* What was read. */
struct trial_results {
    struct trial_series series; /* the facts are those of the first file; the trials have no time
                                   lines */
    char **files;               /* of each trial, the one with its time line; NULL: there is none */
    bool headed;                /* the series has its facts */
    bool mixed;                 /* the files are of several runs */
};

/*
 * Reads directories, summaries and trial files; what comes twice counts once. ERR_REFUSED: one
 * cannot be read, is something else, of another schema, or was measured on another machine than the
 * first.
 */
int trial_results_read(struct trial_results *r, const char *const *paths, size_t n, struct err *e);
void trial_results_free(struct trial_results *r);

/* Reads the time line of trial `i` into it; it stays empty where there is none. */
int trial_results_timeline(struct trial_results *r, size_t i, struct err *e);
void trial_results_forget_timeline(struct trial_results *r, size_t i);

/* The "kind" of a results file, or "" where it names none (those of bench relocate). */
int trial_file_kind(const char *path, char kind[32], struct err *e);

#endif
