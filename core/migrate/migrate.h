/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The migration engine: moves one guest from one vm to another (core/migrate/vm.h), and always knows, or
 * says that it does not know, on which side the guest runs.
 */
#ifndef CORE_MIGRATE_MIGRATE_H
#define CORE_MIGRATE_MIGRATE_H

#include "core/migrate/phase.h"
#include "core/migrate/vm.h"
#include "core/tune/control.h"
#include "core/tune/notice.h"
#include "core/tune/trace.h"

enum migrate_guest { MIGRATE_GUEST_SOURCE, MIGRATE_GUEST_DESTINATION, MIGRATE_GUEST_UNKNOWN };

struct migrate_progress {
    enum phase phase;
    int64_t elapsed_ns;
    struct vm_sample source;
    bool diverges; /* pass after pass no less is left: by itself it will not end */
    const struct control_action *decision; /* that was taken just now; NULL: none */
    const struct notice *notice;           /* of what was found just now; NULL: nothing */
};

typedef void migrate_progress_fn(void *arg, const struct migrate_progress *p);

/* From earlier migrations. */
struct migrate_known {
    int64_t pause_cost_ns;   /* control->pause_cost_ns */
    double link_bytes_per_s; /* what the link between these hosts carries at least; 0: not known */
};

/* What to do. Const from the first command on. */
struct migrate_plan {
    struct vm *source, *destination; /* both in the same loop */
    struct vm_settings settings;
    const char *via;    /* "tcp:HOST:PORT" or "unix:/path": where the stream goes */
    int64_t timeout_ns; /* 0: none. For precopy; what has been sent whole is not given up */
    bool quit_source;   /* end the source's hypervisor when the guest is known to run elsewhere */
    bool quit_destination; /* end the destination's when the guest is known to stay */
    /* What steers precopy; NULL: nothing, and the hypervisor's limit decides. limit_ns of it is not
     * read: it is what the source is set to. */
    const struct control_plan *control;
    /* What is known, now that both sides are. NULL: control->pause_cost_ns is set, and nothing else. */
    void (*look_up)(void *arg, const struct vm_facts *source, const struct vm_facts *destination,
                    struct migrate_known *known);
    void *look_up_arg;
    struct trace *trace;           /* what the controller sees and does is recorded; may be NULL */
    int64_t near_tick_ns;          /* the source is asked no more often than this */
    migrate_progress_fn *progress; /* some ten times a second; may be NULL */
    void *progress_arg;
};

/* Whether the pause kept the downtime limit. */
enum migrate_limit {
    MIGRATE_LIMIT_UNKNOWN,   /* the pause was not seen, or there was none */
    MIGRATE_LIMIT_NOT_MEANT, /* --pause or postcopy: the switchover did not wait for it */
    MIGRATE_LIMIT_KEPT,
    MIGRATE_LIMIT_MISSED,
};

/* The pause beside its limit. Times are of events as they reached us; -1: not known. */
struct migrate_pause {
    enum migrate_limit limit;
    int64_t excess_ns;   /* above the limit; 0 where it was kept */
    int64_t sending_ns;  /* of the pause: until the source had handed over the last byte */
    int64_t starting_ns; /* … and from then until the destination ran */
};

enum { MIGRATE_DECISIONS_MAX = 64 };

/* What came of it; complete on failure, too. */
struct migrate_report {
    enum migrate_guest guest;
    bool touched; /* false: nothing was changed on either side */
    struct phase_track phases;
    int64_t started_ns, ended_ns;
    int64_t downtime_limit_ns;    /* what was promised; else the hypervisor's own */
    int64_t downtime_observed_ns; /* the destination's RESUME after the source's STOP, as they
                                     reached us; -1 where one of the two was not seen */
    struct migrate_pause pause;
    unsigned recovered; /* how often postcopy had lost its connection, and was taken up again */
    bool diverges;      /* it did not converge, when it was last seen in precopy */
    bool missed; /* what was promised could not be kept, and what was asked for then was done */
    struct control_action decisions[MIGRATE_DECISIONS_MAX];
    size_t decisions_n, decisions_dropped;
    struct notice notices[NOTICE_KINDS];
    size_t notices_n;
    struct vm_facts source, destination;
    struct vm_sample last; /* the source's last word on the migration */
};

/*
 * Blocks, turning the loop. 0: the guest is on the destination. -1 with the error, and then
 * report->guest says where it is: on the source (the error's class tells whether it failed, was
 * refused with nothing touched, or was cancelled), or unknown (class ERR_UNCERTAIN, and the message
 * says what to look at). A cancel that comes too late is a success.
 */
int migrate_run(const struct migrate_plan *plan, struct migrate_report *report, struct err *e);

const char *migrate_guest_name(enum migrate_guest guest);

#endif
