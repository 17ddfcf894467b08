/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller: what a migration's samples call for, given what was promised. Pure: it knows no
 * clock and no hypervisor, so that a recorded run can be put through it again.
 *
 * QEMU switches over as soon as what is left can be sent within its downtime limit. So the limit is the
 * rudder: it is what was promised less what the pause costs beside the sending of RAM; it is kept below
 * that while passes still shrink, since the next moment will be a better one, and it is raised to what
 * the smallest pass needs when they do not shrink any more. Where that is beyond what was promised,
 * there is a ladder: throttle, postcopy, and at last what the promise says of a miss; each only if it
 * is allowed.
 */
#ifndef CORE_TUNE_CONTROL_H
#define CORE_TUNE_CONTROL_H

#include "core/migrate/vm.h"
#include "core/tune/policy.h"
#include "core/tune/promise.h"
#include "core/tune/throttle.h"

/* What does not change while it runs. */
struct control_plan {
    struct promise promise;
    int64_t
        pause_cost_ns;  /* of the pause beside the sending of RAM: last look for dirty pages, device
                              state, the destination's load, resume */
    int64_t limit_ns;   /* the hypervisor's downtime limit as it is set, and the most where no pause
                              is promised */
    bool keep_limit;    /* somebody named it: it is not ours */
    int64_t timeout_ns; /* when to give up, or what timeout_miss says; 0: never */
    enum promise_on_miss timeout_miss; /* PROMISE_ABORT, _TO_PAUSE or _TO_POSTCOPY */
    bool
        wordless; /* its actions tell no reason: for those who play many migrations, of which nobody
                      reads all, and each text would be kept */
    enum policy policy;        /* another's steps in its place; the promise does not count then */
    const struct curve *curve; /* what the guest dirties undisturbed, lent; NULL: its passes
                                          have to tell */
    const struct throttle_vcpu *vcpu; /* each that can be limited by itself, lent */
    size_t vcpus;                     /* 0: all or none */
};

enum control_what {
    CONTROL_NOTHING,
    CONTROL_LIMIT,    /* the downtime limit becomes limit_ns */
    CONTROL_VCPUS,    /* vCPUs are limited as control.vcpu says */
    CONTROL_THROTTLE, /* all vCPUs may be throttled up to throttle_percent */
    CONTROL_POSTCOPY,
    CONTROL_PAUSE,
    CONTROL_ABORT,
    CONTROL_WHATS, /* how many there are */
};

struct control_action {
    enum control_what what;
    int64_t at_ns; /* since the begin */
    int64_t limit_ns;
    unsigned throttle_percent; /* of VCPUS: by how much less they dirty together */
    size_t vcpus_limited;
    bool miss;       /* of POSTCOPY, PAUSE, ABORT and LIMIT: what was promised is not kept */
    const char *why; /* with the numbers behind it; kept (core/text.h) */
};

/* What it knows from one sample to the next. Starts with control_init(). */
struct control {
    struct control_plan plan;
    int64_t limit_ns; /* in force */
    struct policy_state others;
    unsigned throttle_percent; /* likewise */

    int64_t at_ns; /* of the last sample */
    uint64_t passes;
    int64_t pass_at_ns;  /* when this pass began, */
    uint64_t pass_bytes; /* and what was left then */
    uint64_t
        smallest_bytes; /* the least with which a pass has begun since the last change of throttle */
    unsigned stuck;     /* passes in a row that were no smaller than the smallest before */

    struct throttle_vcpu vcpu[THROTTLE_VCPUS_MAX]; /* the limits in force */
    size_t vcpus;
    bool by_limits;          /* they are how this guest is slowed down */
    int64_t throttled_ns;    /* when more of it was last asked for, */
    uint64_t throttled_pass; /* and in which pass; 0: never */
    uint64_t in_force_pass;  /* in which it had its effect; 0: not yet */
    struct curve seen;       /* what passes have told, where nobody else does */
    double skew;             /* of plan.curve, by what passes tell; 0: not known */

    int64_t
        fits_since_ns; /* since when what is left would fit into the most that is allowed; 0: it does not */
    int64_t diverges_since_ns;

    int64_t rate_at_ns; /* of the wire's rate, over a second */
    uint64_t rate_at_bytes, rate_bytes_per_s;
};

/* ERR_REFUSED: what was promised is below what a pause costs; the message has the least that can be
 * kept. */
int control_init(struct control *c, const struct control_plan *plan, struct err *e);

/* limit_ns: what the hypervisor is set to, where that was not known before. Returns the limit to begin
 * with. */
int64_t control_begin(struct control *c, int64_t limit_ns);

/* A sample of the source in precopy, `at_ns` after the begin. At most one action at a time. */
void control_step(struct control *c, const struct vm_sample *s, int64_t at_ns,
                  struct control_action *action);

/* When the next sample is due: 100 ms while it streams, 5 ms near the end. */
int64_t control_tick_ns(const struct control *c, const struct vm_sample *s);

/* "limit", "throttle", …: for --json. */
const char *control_what_name(enum control_what what);

#endif
