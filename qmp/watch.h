/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at one QEMU and its migration, which somebody else drives. It only reads, with
 * watch_trace() and watch_dirty() as exceptions: it never sets a capability or parameter, so a QEMU that was
 * not told to send MIGRATION events (capability "events") sends none.
 *
 * A monitor's socket serves one client at a time: a QEMU that another client talks to is watched
 * by a second socket (-qmp may be given twice). A domain is watched by libvirt's passthrough: it
 * takes the domain's job for some 3 to 8 ms a question, so ask it rarely.
 */
#ifndef QMP_WATCH_H
#define QMP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/err.h"
#include "core/loop.h"
#include "core/migrate/vm.h"
#include "qmp/endpoint.h"

struct watch;

/* What QEMU says of its migration. */
struct watch_sample {
    struct vm_sample vm; /* all but `run` */
    uint64_t postcopy_bytes, postcopy_requests;
    int64_t setup_ns, total_ns; /* 0: not reported */
};

struct watch_event {
    char name[40];      /* "STOP", "MIGRATION", "MIGRATION_PASS" */
    char detail[64];    /* MIGRATION: its status, "active"; MIGRATION_PASS: "3"; else "" */
    int64_t arrived_ns; /* CLOCK_MONOTONIC: when it came here */
    int64_t stamp_ns;   /* QEMU's own time stamp, as CLOCK_MONOTONIC of this machine: right where
                           QEMU's clock is this machine's */
    bool here;          /* it is known to be: the endpoint names this machine */
};

/* From within loop_turn(). ev == NULL: the QEMU has ended, or was lost; nothing more comes. */
typedef void watch_event_fn(void *arg, const struct watch_event *ev);

/* The answer to watch_ask(), once: s == NULL tells that there is none, and *e why. */
typedef void watch_sample_fn(void *arg, const struct watch_sample *s, const struct err *e);

/* What is usual for those who have no deadline of their own. */
#define WATCH_OPEN_TIMEOUT_NS (5 * NS_PER_S)
#define WATCH_ASK_TIMEOUT_NS (30 * NS_PER_S)

/*
 * "qmp+unix:/path" and the like (qmp/endpoint.h). `on_event` may be NULL. `timeout_ns` is for each of
 * connecting, greeting and negotiation. Errors are those of qmp_client_open(); ERR_TIMEOUT also where
 * another client has the socket.
 */
struct watch *watch_open(struct loop *loop, const char *endpoint, int64_t timeout_ns,
                         watch_event_fn *on_event, void *arg, struct err *e);

/* A QEMU that is found by somebody's help; qmp/virt/watched.h has libvirt's. */
struct watch_source {
    void *of;
    struct qmp_endpoint
        ep;        /* scheme QMP_CARRIED without a carrier: it cannot be asked, only heard */
    int events_fd; /* non-blocking: gives a struct watch_event a read; -1: they come by `ep` */
    bool here;     /* it is on this machine */
    /* What he keeps of a migration of a QEMU that has ended before it could be asked: watch_completed(). */
    int (*completed)(const void *of, struct watch_sample *s, struct err *e);
    void (*close)(void *of);
};

/* `source->of` is closed with the watch, or if this fails. */
struct watch *watch_open_source(struct loop *loop, const struct watch_source *source,
                                int64_t timeout_ns, watch_event_fn *on_event, void *arg,
                                struct err *e);

/* Asks; one question at a time: false, and no answer will come, while one is under way. */
bool watch_ask(struct watch *w, watch_sample_fn *fn, void *arg);

/* Asks, and turns the loop until the answer is there. An interrupt ends the waiting. */
int watch_sample(struct watch *w, int64_t timeout_ns, struct watch_sample *s, struct err *e);

/*
 * For a domain's QEMU that has ended before it could be asked: what libvirt keeps of the migration,
 * put into *s, which has the last answer. The downtime is libvirt's count then, from its own stop to
 * its own start of the guest. ERR_REFUSED: a bare QEMU; ERR_VIRT: libvirt has nothing (yet).
 */
int watch_completed(struct watch *w, struct watch_sample *s, struct err *e);

/* The guest runs, is stopped, …; turns the loop. */
int watch_run(struct watch *w, enum vm_run *run, struct err *e);

/* What the guest dirties, as dirty_measure() (qmp/dirty.h) asks it. */
struct dirty_options;
struct dirty_qemu;
struct dirty_result;
int watch_dirty(struct watch *w, const struct dirty_options *opt, struct dirty_qemu *q,
                struct dirty_result *out, struct err *e);

/* Switches trace points on or off, by a pattern ("vmstate_downtime_*"): they go where QEMU's log
 * goes. This changes QEMU's state, if not the guest's. */
int watch_trace(struct watch *w, const char *pattern, bool on, struct err *e);

/* For those who make events: a CLOCK_REALTIME time as CLOCK_MONOTONIC; 0, not known: the arrival. */
int64_t watch_stamp(int64_t epoch_ns, int64_t arrived_ns);

bool watch_lost(const struct watch *w);

/* Of a QEMU on this machine that is reached by a unix socket; else 0. */
int64_t watch_pid(const struct watch *w);

/* A pending answer comes from here, with ERR_CANCELLED. NULL is fine. */
void watch_close(struct watch *w);

#endif
