/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine and both QEMUs did while one of them was migrated: processor time and memory of
 * both processes, what the source said when it was asked, the events of both.
 *
 *     struct timeline *t = timeline_open(side, NULL, &e);
 *     started_ns = clock_now_ns();
 *     …                            the migration
 *     timeline_stop(t, started_ns, &result);
 *
 * A QEMU that is not there yet, or goes away, is no error: what it would have reported is missing.
 */
#ifndef BENCH_MIGRATE_TIMELINE_H
#define BENCH_MIGRATE_TIMELINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "bench/migrate/trace_log.h"
#include "bench/migrate/trial.h"
#include "core/err.h"
#include "qmp/watch.h"

/* All texts may be NULL, and must outlive the timeline. */
struct timeline_side {
    pid_t pid;                    /* 0: not known */
    const char *process_pattern;  /* then the QEMU on this machine whose command line has this text,
                                    and that is not the other side's; looked for until it is found.
                                    Of a domain: "guest=NAME," */
    const char *qmp;              /* its endpoint; the one that the migration does not use */
    const char *connect, *domain; /* or a domain: libvirt's URI and the domain's name */
    bool events_only;             /* a domain that need not be there yet; never asked */
    bool trace;                   /* switch vmstate_downtime_* on, where it can be asked */
    const char *log_path;         /* where this QEMU's trace points are written */
};

struct timeline_options {
    int64_t usage_ns;        /* between looks at the processes; 0: 10 ms */
    int64_t gauge_ns;        /* between questions to a bare source; 0: 10 ms; below 0: none */
    int64_t gauge_domain_ns; /* to a domain; 0: 100 ms; below 0: none. libvirt needs the monitor for
                                itself in the pause: from STOP on it is not asked until the guest
                                runs again somewhere */
};

struct timeline;

struct timeline_result {
    struct trial_timeline timeline;    /* all but the beats; TRIAL times, relative to the start */
    struct trace_log log[TRIAL_SIDES]; /* the same */
    struct watch_sample last;          /* the source's last word; last_at_ns is TRIAL_NEVER: none */
    int64_t last_at_ns;
    pid_t pid[TRIAL_SIDES]; /* 0: not known */
};

/*
 * Opens both sides and starts to sample, in a thread of its own. NULL options: all defaults.
 * ERR_USAGE, ERR_REFUSED, ERR_LOST, …: a side that was named cannot be watched.
 */
struct timeline *timeline_open(const struct timeline_side side[TRIAL_SIDES],
                               const struct timeline_options *options, struct err *e);

/* Ends the thread and frees the timeline. Events and samples from before started_ns have times
 * below zero. */
void timeline_stop(struct timeline *t, int64_t started_ns, struct timeline_result *result);

void timeline_result_free(struct timeline_result *r); /* what it owns, not itself */

#endif
