/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A comparison of relocations: in each round every tool copies the same files once, in an
 * order that is shuffled anew, each from the same warm state. What it has written is read back and
 * compared, and removed, outside of the clock.
 */
#ifndef BENCH_RELOCATE_COMPARE_H
#define BENCH_RELOCATE_COMPARE_H

#include <signal.h>
#include <sys/types.h>

#include "bench/relocate/image_set.h"
#include "bench/relocate/tool.h"
#include "bench/stats.h"

enum compare_outcome {
    COMPARE_NOT_RUN,
    COMPARE_RIGHT,
    COMPARE_WRONG,  /* it said done, and the copy is not the source */
    COMPARE_FAILED, /* it said itself that it failed; it is not run again */
};

struct compare_run {
    enum compare_outcome outcome;
    size_t place;          /* in the order of the round, from 0 */
    int64_t wall_ns;       /* from the first fork to the last wait */
    int64_t cpu_ns;        /* the tool's, user and system */
    int64_t server_cpu_ns; /* the server's meanwhile; -1: not known */
    uint64_t peak_bytes;   /* resident, of the largest process */
};

struct compare_entry {
    struct tool who;
    struct compare_run *run; /* one a round */
    struct err fault;        /* the first that is not COMPARE_RIGHT, if its class is set */
};

struct compare_progress {
    const char *doing; /* "warming up", "running", "checking" */
    const char *label;
    size_t round, rounds; /* the first is 1 */
    int64_t eta_ns;       /* -1: not known */
};

struct compare_options {
    enum tool_direction direction;
    const char *share; /* nfs://…, a directory */
    const char *local; /* of DIRECTION_FROM_SHARE */
    const char *sink;  /* nfs://…, or NULL */
    const char *only;  /* tool_list() */
    const struct tool_variant *variants;
    size_t variants_n;
    size_t rounds;
    uint64_t seed;
    bool cold;        /* take the source out of the page cache, and do not warm up anything */
    pid_t server_pid; /* whose CPU time is taken; 0: nobody's */
    const volatile sig_atomic_t *cancel;
    void (*progress)(void *arg, const struct compare_progress *p);
    void *progress_arg;
};

struct compare {
    const struct compare_options *options;
    struct image_set set;
    struct compare_entry *entry;
    size_t n;
    size_t rounds_begun;
    struct compare_ends *ends; /* private */
};

/* Reads the sources, opens all places, and refuses names that are taken there. */
int compare_open(struct compare *c, const struct compare_options *options, char *const *sources,
                 size_t n, struct err *e);

/*
 * Runs all rounds. 0 also when a tool fails. -1: the benchmark itself could not go on, or
 * was interrupted (ERR_CANCELLED); what has been measured until then is there. Nothing is left at
 * the places, unless the hint says so.
 */
int compare_run_all(struct compare *c, struct err *e);

void compare_close(struct compare *c);

/* Whether a run was wrong or has failed. */
bool compare_has_fault(const struct compare *c);

/* Of the right runs of a tool. */
struct compare_summary {
    size_t wrong;
    struct stats wall_s, cpu_s_per_gib, server_s_per_gib, peak_bytes;
    uint64_t bytes_per_s; /* data, at the median of the time */
    /* Its figure divided by that of the first tool in the same round. */
    struct stats wall_ratio, cpu_ratio, peak_ratio;
};

int compare_summary(const struct compare *c, size_t i, struct compare_summary *s, struct err *e);

#endif
