/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * timeline_open() opens both sides in the caller's thread, so that errors are the caller's, and then
 * starts one thread that alone touches the loop and what it collects, until it is joined.
 *
 * A timer ticks every usage_ns. Each tick reads both processes; asks the source, if that is due and
 * the last question has been answered; and, now and then, looks for a process that is not known yet.
 * Nothing in the thread waits for an answer.
 *
 * The pause is what all this is to show, so the source is left alone in it: from its STOP on nothing
 * is asked until the migration or the guest goes on, or PAUSE_MAX_NS later. A bare source is asked
 * as soon as it has completed; a domain, whose libvirt then still has work to do in the pause, when
 * the guest runs on the destination, by when its QEMU may have gone.
 *
 * All is kept in absolute times, and made relative to the trial's start at the end. Whether QEMU's
 * own time stamps are of this machine's clock may also be known only then: by its process, found.
 */
#include "bench/migrate/timeline.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/proc_usage.h"
#include "core/clock.h"
#include "core/log.h"
#include "qmp/virt/watched.h"

#define USAGE_NS (10 * NS_PER_MS)
#define GAUGE_NS (10 * NS_PER_MS)
#define GAUGE_DOMAIN_NS (100 * NS_PER_MS)
#define GAUGE_IDLE_NS (100 * NS_PER_MS) /* while no migration is under way */
#define FIND_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (2 * NS_PER_S)

#define TRACE_POINTS "vmstate_downtime_*"

/* An event that is kept until it is known which of its times is right. */
struct kept_event {
    struct watch_event ev;
    enum trial_side side;
};

struct side {
    struct timeline *t;
    struct timeline_side want;
    enum trial_side which;
    struct watch *watch;      /* NULL: none */
    struct proc_usage *usage; /* NULL: not there (yet) */
    pid_t pid;                /* the last one; 0: never found */
    int64_t log_from;
};

struct timeline {
    struct loop *loop;
    struct side side[TRIAL_SIDES];
    int64_t usage_ns, gauge_ns; /* gauge_ns below 0: never */

    int tick_fd, stop_fd;
    struct loop_fd *tick_watch, *stop_watch;
    int64_t next_gauge_ns, next_find_ns;
    int64_t paused_ns; /* since when the source is left alone; 0: it is not */
    bool begun;        /* a migration was seen under way */
    bool busy;         /* and it is */

    struct trial_usage *usage;
    size_t usage_n, usage_size;
    struct trial_gauge *gauges;
    size_t gauges_n, gauges_size;
    struct kept_event *events;
    size_t events_n, events_size;
    struct watch_sample last;
    int64_t last_at_ns, asked_ns;

    pthread_t thread;
    int64_t cpu_ns;
    bool stop; /* the thread's */
};

/* Room for one more; false: there is no memory, and this one is not kept. */
static bool timeline_room(void *array, size_t n, size_t *size, size_t item)
{
    void **at = array;
    if (n < *size)
        return true;
    size_t more_n = *size > 0 ? *size * 2 : 1024;
    void *more = reallocarray(*at, more_n, item);
    if (more == NULL)
        return false;
    *at = more;
    *size = more_n;
    return true;
}

/* ---- the source's word ---- */

static void timeline_on_sample(void *arg, const struct watch_sample *s, const struct err *e)
{
    struct timeline *t = arg;
    if (s == NULL) {
        log_debug("timeline: %s", e->msg);
        return;
    }
    t->busy = vm_migration_busy(s->vm.migration);
    t->begun |= t->busy;
    if (!t->begun) /* what it says is of an earlier one */
        return;
    t->last = *s;
    /* it was true somewhere between question and answer */
    t->last_at_ns = t->asked_ns + (clock_now_ns() - t->asked_ns) / 2;
    if (!t->busy || !timeline_room(&t->gauges, t->gauges_n, &t->gauges_size, sizeof *t->gauges))
        return;
    t->gauges[t->gauges_n++] = (struct trial_gauge){
        .at_ns = t->last_at_ns,
        .pass = s->vm.passes,
        .transferred_bytes = s->vm.ram_transferred_bytes,
        .remaining_bytes = s->vm.ram_remaining_bytes,
        .dirty_bytes_per_s = s->vm.dirty_bytes_per_s,
        .bandwidth_bytes_per_s = s->vm.bandwidth_bytes_per_s,
        .throttle_percent = s->vm.throttle_percent,
    };
}

static void timeline_ask(struct timeline *t)
{
    struct watch *w = t->side[TRIAL_SOURCE].watch;
    int64_t asked_ns = clock_now_ns();
    if (t->gauge_ns < 0 || w == NULL || watch_lost(w) || !watch_ask(w, timeline_on_sample, t))
        return;
    t->asked_ns = asked_ns;
    t->next_gauge_ns = asked_ns +
                       (t->busy || t->gauge_ns > GAUGE_IDLE_NS ? t->gauge_ns : GAUGE_IDLE_NS);
}

/* ---- events ---- */

static bool event_is(const struct watch_event *ev, const char *name, const char *detail)
{
    return strcmp(ev->name, name) == 0 && (detail == NULL || strcmp(ev->detail, detail) == 0);
}

static void timeline_note_pause(struct timeline *t, enum trial_side side,
                                const struct watch_event *ev)
{
    bool domain = t->side[TRIAL_SOURCE].want.domain != NULL;
    if (side == TRIAL_SOURCE && event_is(ev, "STOP", NULL)) {
        t->paused_ns = ev->arrived_ns;
        return;
    }
    if (event_is(ev, "RESUME", NULL) || event_is(ev, "MIGRATION", "failed") ||
        event_is(ev, "MIGRATION", "cancelled") ||
        (!domain && side == TRIAL_SOURCE && event_is(ev, "MIGRATION", "completed"))) {
        t->paused_ns = 0;
        timeline_ask(t);
    }
}

static void timeline_on_event(void *arg, const struct watch_event *ev)
{
    struct side *s = arg;
    struct timeline *t = s->t;
    if (ev == NULL)
        return;
    if (event_is(ev, "MIGRATION", "setup") && s->which == TRIAL_SOURCE) {
        t->begun = t->busy = true;
        t->next_gauge_ns = 0;
    }
    if (timeline_room(&t->events, t->events_n, &t->events_size, sizeof *t->events))
        t->events[t->events_n++] = (struct kept_event){*ev, s->which};
    if (t->tick_watch != NULL) /* else it is still being opened */
        timeline_note_pause(t, s->which, ev);
}

/* ---- processes ---- */

static void side_take_process(struct side *s, pid_t pid)
{
    struct err none = {0};
    s->usage = pid > 0 ? proc_usage_open(pid, &none) : NULL;
    if (s->usage != NULL)
        s->pid = pid;
}

static void side_find_process(struct side *s)
{
    const struct side *other = &s->t->side[s->which == TRIAL_SOURCE];
    if (s->usage == NULL && s->want.process_pattern != NULL)
        side_take_process(s, proc_find_qemu(s->want.process_pattern, other->pid));
}

static void side_read_process(struct side *s, struct trial_usage *u)
{
    struct proc_usage_sample sample = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    if (s->usage != NULL && !proc_usage_read(s->usage, &sample)) {
        proc_usage_close(s->usage);
        s->usage = NULL;
    }
    u->side[s->which].vcpu_cpu_ns = sample.vcpu_cpu_ns;
    u->side[s->which].migration_cpu_ns = sample.migration_cpu_ns;
    u->side[s->which].all_cpu_ns = sample.all_cpu_ns;
    u->side[s->which].rss_bytes = sample.rss_bytes;
}

static void timeline_read_processes(struct timeline *t, int64_t now_ns)
{
    if (!timeline_room(&t->usage, t->usage_n, &t->usage_size, sizeof *t->usage))
        return;
    struct trial_usage *u = &t->usage[t->usage_n];
    u->at_ns = now_ns;
    for (int i = 0; i < TRIAL_SIDES; i++)
        side_read_process(&t->side[i], u);
    if (t->side[TRIAL_SOURCE].usage != NULL || t->side[TRIAL_DESTINATION].usage != NULL)
        t->usage_n++;
}

/* ---- the thread ---- */

static void timeline_on_tick(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct timeline *t = arg;
    uint64_t ticks;
    if (read(t->tick_fd, &ticks, sizeof ticks) != (ssize_t)sizeof ticks)
        return;
    int64_t now_ns = clock_now_ns();
    timeline_read_processes(t, now_ns);
    if (t->paused_ns != 0 && now_ns - t->paused_ns > PAUSE_MAX_NS)
        t->paused_ns = 0;
    /* half a tick early is better than half a tick late */
    if (t->paused_ns == 0 && now_ns + t->usage_ns / 2 >= t->next_gauge_ns)
        timeline_ask(t);
    if (now_ns >= t->next_find_ns) {
        t->next_find_ns = now_ns + FIND_NS;
        for (int i = 0; i < TRIAL_SIDES; i++)
            side_find_process(&t->side[i]);
    }
}

static void timeline_on_stop(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct timeline *t = arg;
    t->stop = true;
}

static void *timeline_thread(void *arg)
{
    struct timeline *t = arg;
    struct timespec used;
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    while (!t->stop)
        loop_turn(t->loop, -1);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    t->cpu_ns = used.tv_sec * NS_PER_S + used.tv_nsec;
    return NULL;
}

/* ---- opening ---- */

static int side_open_watch(struct side *s, struct err *e)
{
    const struct timeline_side *want = &s->want;
    struct loop *loop = s->t->loop;
    const char *uri = want->connect != NULL ? want->connect : "qemu:///system";
    if (want->qmp != NULL)
        s->watch = watch_open(loop, want->qmp, WATCH_OPEN_TIMEOUT_NS, timeline_on_event, s, e);
    else if (want->domain != NULL && want->events_only)
        s->watch = virt_watch_events(loop, uri, want->domain, timeline_on_event, s, e);
    else if (want->domain != NULL)
        s->watch = virt_watch_domain(loop, uri, want->domain, WATCH_OPEN_TIMEOUT_NS,
                                     timeline_on_event, s, e);
    else
        return 0;
    return s->watch != NULL ? 0 : -1;
}

static int side_open(struct side *s, struct err *e)
{
    struct err old = {0};
    if (side_open_watch(s, e) < 0)
        return -1;
    if (s->want.trace && s->watch != NULL && watch_trace(s->watch, TRACE_POINTS, true, &old) < 0)
        log_debug("timeline: no trace points: %s", old.msg); /* before QEMU 8.2 there are none */
    if (s->want.log_path != NULL)
        s->log_from = trace_log_end(s->want.log_path);
    pid_t pid = s->want.pid;
    if (pid == 0 && s->watch != NULL)
        pid = (pid_t)watch_pid(s->watch);
    side_take_process(s, pid);
    side_find_process(s);
    return 0;
}

static int timeline_arm(struct timeline *t, struct err *e)
{
    t->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    t->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->stop_fd < 0 || t->tick_fd < 0)
        return err_set(e, ERR_IO, errno, "cannot open a time line");
    t->stop_watch = loop_fd_add(t->loop, t->stop_fd, EPOLLIN, timeline_on_stop, t, e);
    if (t->stop_watch == NULL)
        return -1;
    t->tick_watch = loop_fd_add(t->loop, t->tick_fd, EPOLLIN, timeline_on_tick, t, e);
    if (t->tick_watch == NULL)
        return -1;
    const struct timespec every = {t->usage_ns / NS_PER_S, t->usage_ns % NS_PER_S};
    const struct itimerspec ticks = {.it_interval = every, .it_value = every};
    if (timerfd_settime(t->tick_fd, 0, &ticks, NULL) < 0)
        return err_set(e, ERR_IO, errno, "cannot start the clock of a time line");
    return 0;
}

/* Signals are for the threads that expect them: this one gets none. */
static int timeline_start(struct timeline *t, struct err *e)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&t->thread, NULL, timeline_thread, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return err_set(e, ERR_IO, rc, "cannot start the thread of a time line");
    return 0;
}

static void timeline_free(struct timeline *t)
{
    for (int i = 0; i < TRIAL_SIDES; i++) {
        watch_close(t->side[i].watch);
        proc_usage_close(t->side[i].usage);
    }
    loop_fd_del(t->tick_watch);
    loop_fd_del(t->stop_watch);
    if (t->tick_fd >= 0)
        close(t->tick_fd);
    if (t->stop_fd >= 0)
        close(t->stop_fd);
    loop_free(t->loop);
    free(t->usage);
    free(t->gauges);
    free(t->events);
    free(t);
}

static int64_t timeline_or(int64_t wanted_ns, int64_t usual_ns)
{
    return wanted_ns != 0 ? wanted_ns : usual_ns;
}

static void timeline_set(struct timeline *t, const struct timeline_side side[TRIAL_SIDES],
                         const struct timeline_options *o)
{
    bool domain = side[TRIAL_SOURCE].qmp == NULL;
    *t = (struct timeline){
        .tick_fd = -1,
        .stop_fd = -1,
        .last_at_ns = TRIAL_NEVER,
        .usage_ns = timeline_or(o->usage_ns, USAGE_NS),
        .gauge_ns = domain ? timeline_or(o->gauge_domain_ns, GAUGE_DOMAIN_NS)
                           : timeline_or(o->gauge_ns, GAUGE_NS),
    };
    for (int i = 0; i < TRIAL_SIDES; i++)
        t->side[i] = (struct side){.t = t, .want = side[i], .which = (enum trial_side)i};
}

struct timeline *timeline_open(const struct timeline_side side[TRIAL_SIDES],
                               const struct timeline_options *options, struct err *e)
{
    static const struct timeline_options usual;
    struct timeline *t = malloc(sizeof *t);
    if (t == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot open a time line");
        return NULL;
    }
    timeline_set(t, side, options != NULL ? options : &usual);
    t->loop = loop_new(e);
    if (t->loop == NULL || side_open(&t->side[TRIAL_SOURCE], e) < 0 ||
        side_open(&t->side[TRIAL_DESTINATION], e) < 0 || timeline_arm(t, e) < 0 ||
        timeline_start(t, e) < 0) {
        timeline_free(t);
        return NULL;
    }
    return t;
}

/* ---- the end ---- */

static int64_t timeline_relative(int64_t at_ns, int64_t started_ns)
{
    return at_ns == TRIAL_NEVER ? TRIAL_NEVER : at_ns - started_ns;
}

/* Sorted by time: those of two sides came by two ways, but each side's in their order. They are few
 * and nearly in order. */
static void timeline_give_events(struct timeline *t, int64_t started_ns, struct trial_timeline *out)
{
    int64_t last_ns[TRIAL_SIDES] = {INT64_MIN, INT64_MIN};
    out->events = calloc(t->events_n + 1, sizeof *out->events);
    if (out->events == NULL)
        return;
    for (size_t i = 0; i < t->events_n; i++) {
        const struct kept_event *k = &t->events[i];
        bool here = k->ev.here || t->side[k->side].pid != 0;
        struct trial_event ev = {.side = k->side,
                                 .at_ns = (here ? k->ev.stamp_ns : k->ev.arrived_ns) - started_ns};
        snprintf(ev.name, sizeof ev.name, "%s", k->ev.name);
        snprintf(ev.detail, sizeof ev.detail, "%s", k->ev.detail);
        if (ev.at_ns < last_ns[k->side]) /* as exact as the two clocks can be compared */
            ev.at_ns = last_ns[k->side];
        last_ns[k->side] = ev.at_ns;
        size_t at = out->events_n++;
        for (; at > 0 && out->events[at - 1].at_ns > ev.at_ns; at--)
            out->events[at] = out->events[at - 1];
        out->events[at] = ev;
    }
}

static void timeline_give_log(const struct side *s, int64_t started_ns, struct trace_log *log)
{
    struct err e = {0};
    if (s->want.log_path == NULL)
        return;
    if (trace_log_read(s->want.log_path, s->log_from, log, &e) < 0)
        log_warn("timeline: %s", e.msg);
    for (size_t i = 0; i < log->n; i++)
        log->lines[i].at_ns = timeline_relative(log->lines[i].at_ns, started_ns);
}

static void timeline_give(struct timeline *t, int64_t started_ns, struct timeline_result *r)
{
    *r = (struct timeline_result){
        .timeline = {.usage = t->usage,
                     .usage_n = t->usage_n,
                     .gauges = t->gauges,
                     .gauges_n = t->gauges_n,
                     .sampling_cpu_ns = t->cpu_ns},
        .last = t->last,
        .last_at_ns = timeline_relative(t->last_at_ns, started_ns),
        .pid = {t->side[TRIAL_SOURCE].pid, t->side[TRIAL_DESTINATION].pid},
    };
    t->usage = NULL;
    t->gauges = NULL;
    for (size_t i = 0; i < r->timeline.usage_n; i++)
        r->timeline.usage[i].at_ns -= started_ns;
    for (size_t i = 0; i < r->timeline.gauges_n; i++)
        r->timeline.gauges[i].at_ns -= started_ns;
    timeline_give_events(t, started_ns, &r->timeline);
    for (int i = 0; i < TRIAL_SIDES; i++)
        timeline_give_log(&t->side[i], started_ns, &r->log[i]);
}

/* A domain's QEMU may have been ended before it could be asked: then libvirt knows. */
static void timeline_ask_libvirt(struct timeline *t)
{
    struct side *s = &t->side[TRIAL_SOURCE];
    struct err none = {0};
    if (s->watch == NULL || s->want.domain == NULL || t->last_at_ns == TRIAL_NEVER ||
        t->last.vm.migration == VM_MIGRATION_COMPLETED)
        return;
    if (watch_completed(s->watch, &t->last, &none) < 0)
        log_debug("timeline: %s", none.msg);
}

void timeline_stop(struct timeline *t, int64_t started_ns, struct timeline_result *result)
{
    const uint64_t one = 1;
    ssize_t rc = write(t->stop_fd, &one, sizeof one);
    assert(rc == (ssize_t)sizeof one);
    (void)rc;
    pthread_join(t->thread, NULL);
    t->gauge_ns = -1; /* what closing answers must not ask again */
    timeline_ask_libvirt(t);
    timeline_give(t, started_ns, result);
    timeline_free(t);
}

void timeline_result_free(struct timeline_result *r)
{
    free(r->timeline.usage);
    free(r->timeline.gauges);
    free(r->timeline.events);
    free(r->timeline.beats);
    for (int i = 0; i < TRIAL_SIDES; i++)
        trace_log_free(&r->log[i]);
    *r = (struct timeline_result){0};
}
