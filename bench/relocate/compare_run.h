/* SPDX-License-Identifier: Apache-2.0 */
/* One run of one tool, with what comes before and after it. Private to bench/relocate/compare.c. */
#ifndef BENCH_RELOCATE_COMPARE_RUN_H
#define BENCH_RELOCATE_COMPARE_RUN_H

#include "bench/relocate/compare.h"
#include "bench/relocate/scratch.h"
#include "core/ring.h"

struct compare_ends {
    struct ring *ring;
    struct scratch *at[END_COUNT]; /* NULL: nobody uses that end, or it needs no scratch */
    const char *where[END_COUNT];  /* as the operator wrote it */
};

/* Calls compare_options' progress(). */
typedef void compare_tell_fn(void *arg, const char *doing);

/* Fills in *run, and the entry's fault. 0, also when the tool failed; -1: we did. */
int compare_run_one(struct compare *c, struct compare_entry *entry, struct compare_run *run,
                    compare_tell_fn *tell, void *arg, struct err *e);

/* Removes from `end` everything that has a name of ours, and with `leftovers` what an interrupted
 * godwit has left of it. */
int compare_run_clear(struct compare *c, enum tool_end end, bool leftovers, struct err *e);

#endif
