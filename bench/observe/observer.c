/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * observer_open() opens everything, so that errors are the caller's, and then starts one thread
 * that alone touches the loop and the groups until it is joined. Three things cross: the mark (an
 * atomic time), an eventfd that says stop, and what the join hands over.
 *
 * What the kernel stamps, it stamps in CLOCK_REALTIME; what is needed is how long ago that was, so both clocks are
 * read at once and the age is subtracted from CLOCK_MONOTONIC. A stamp outside of what is possible means that
 * the clock was set in between.
 *
 * The thread wants to run the moment something arrives: it asks for a real-time priority, else for
 * a better nice value, and goes without where neither is allowed. How well that went is measured:
 * a tick every 2 ms tells how late the thread itself ran, and each silence carries the worst of its
 * own time. The tick also looks at the log files, for file systems that announce nothing.
 */
#include "bench/observe/observer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "bench/observe/observe.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/units.h"

#define TICK_NS (2 * NS_PER_MS)
#define PING_INTERVAL_NS (5 * NS_PER_MS)
#define PING_INTERVAL_MIN_NS NS_PER_MS
#define PING_INTERVAL_MAX_NS (60 * NS_PER_S)

struct observer {
    struct loop *loop;
    struct observe_group *groups[OBSERVER_SPECS_MAX];
    size_t groups_n;
    _Atomic int64_t mark_ns; /* INT64_MAX: none */
    int64_t opened_ns;

    int tick_fd, stop_fd;
    struct loop_fd *tick_watch, *stop_watch;
    int64_t tick_due_ns;

    pthread_t thread;
    bool stop; /* the thread's */
};

static void observer_on_tick(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct observer *o = arg;
    uint64_t ticks;
    if (read(o->tick_fd, &ticks, sizeof ticks) != (ssize_t)sizeof ticks)
        return;
    int64_t late_ns = clock_now_ns() - o->tick_due_ns;
    o->tick_due_ns += (int64_t)ticks * TICK_NS;
    for (size_t i = 0; i < o->groups_n; i++) {
        struct observe_group *g = o->groups[i];
        silence_late(&g->silence, late_ns);
        if (g->ops->tick != NULL)
            g->ops->tick(g);
    }
}

static void observer_on_stop(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct observer *o = arg;
    o->stop = true;
}

/* Real-time priority first, else a nice value: whatever this user may have. */
static void observer_hurry(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    const struct sched_param lowest = {.sched_priority = 1};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest) != 0)
        setpriority(PRIO_PROCESS, 0, -10); /* of this thread only, on Linux */
}

static void *observer_thread(void *arg)
{
    struct observer *o = arg;
    observer_hurry();
    while (!o->stop)
        loop_turn(o->loop, -1);
    for (size_t i = 0; i < o->groups_n; i++)
        o->groups[i]->ops->finish(o->groups[i]);
    int64_t ended_ns = clock_now_ns();
    for (size_t i = 0; i < o->groups_n; i++)
        silence_finish(&o->groups[i]->silence, o->opened_ns, ended_ns, &o->groups[i]->result);
    return NULL;
}

static int64_t observe_timespec_ns(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

int64_t observe_arrival_ns(struct msghdr *msg, int64_t from_ns, int64_t now_ns)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec stamp, real;
        memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        int64_t before_ns = clock_now_ns();
        clock_gettime(CLOCK_REALTIME, &real);
        int64_t middle_ns = before_ns + (clock_now_ns() - before_ns) / 2;
        int64_t at_ns = middle_ns - (observe_timespec_ns(&real) - observe_timespec_ns(&stamp));
        if (at_ns >= from_ns && at_ns <= now_ns)
            return at_ns;
    }
    return now_ns;
}

/* "serial:PATH": PATH; NULL for another spec. */
static const char *observer_spec_after(const char *spec, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(spec, prefix, n) == 0 && spec[n] != '\0' ? spec + n : NULL;
}

/* "ADDRESS[@INTERVAL]", taken apart in place. */
static int observer_parse_ping(char *address, int64_t *interval_ns, struct err *e)
{
    *interval_ns = PING_INTERVAL_NS;
    char *at = strrchr(address, '@');
    if (at == NULL)
        return 0;
    *at = '\0';
    if (units_parse_duration(at + 1, interval_ns, e) < 0)
        return err_wrap(e, "ping:%s", address);
    if (*address == '\0')
        return err_set(e, ERR_USAGE, 0, "ping:@%s has no address", at + 1);
    if (*interval_ns < PING_INTERVAL_MIN_NS || *interval_ns > PING_INTERVAL_MAX_NS)
        return err_set(e, ERR_USAGE, 0, "ping:%s: interval %s is not within 1ms … 60s", address,
                       at + 1);
    return 0;
}

static int observer_check_specs(const char *const *specs, size_t n, struct err *e)
{
    if (n == 0)
        return err_set(e, ERR_USAGE, 0, "there is nothing to observe");
    if (n > OBSERVER_SPECS_MAX)
        return err_set(e, ERR_USAGE, 0, "there are %zu things to observe, and at most %d can be", n,
                       OBSERVER_SPECS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (observer_spec_after(specs[i], "ping:") == NULL &&
            observer_spec_after(specs[i], "serial:") == NULL &&
            observer_spec_after(specs[i], "announce:") == NULL) {
            err_set(e, ERR_USAGE, 0, "'%s' cannot be observed", specs[i]);
            return err_hint(e, "say ping:ADDRESS, ping:ADDRESS@INTERVAL, serial:PATH, "
                               "announce:IFNAME or announce:IFNAME@MAC");
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(specs[i], specs[k]) == 0)
                return err_set(e, ERR_USAGE, 0, "'%s' is given twice", specs[i]);
    }
    return 0;
}

static int observer_add(struct observer *o, struct observe_group *g)
{
    if (g == NULL)
        return -1;
    o->groups[o->groups_n++] = g;
    return 0;
}

/* All serial specs from `first` on, which is the first of them. */
static int observer_open_serials(struct observer *o, const char *const *specs, size_t n,
                                 size_t first, const struct observe_context *c, struct err *e)
{
    const char *paths[OBSERVER_SPECS_MAX];
    int indexes[OBSERVER_SPECS_MAX];
    size_t found = 0;
    for (size_t i = first; i < n; i++) {
        const char *path = observer_spec_after(specs[i], "serial:");
        if (path == NULL)
            continue;
        paths[found] = path;
        indexes[found++] = (int)i;
    }
    return observer_add(o, observe_serial_open(paths, indexes, found, c, e));
}

static int observer_open_ping(struct observer *o, const char *text, int spec, bool opening,
                              const struct observe_context *c, struct err *e)
{
    CLEANUP_FREE char *address = strdup(text);
    int64_t interval_ns;
    if (address == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot make an observer");
    if (observer_parse_ping(address, &interval_ns, e) < 0)
        return -1;
    return opening ? observer_add(o, observe_ping_open(address, interval_ns, spec, c, e)) : 0;
}

/* All are parsed before anything is opened. */
static int observer_open_groups(struct observer *o, const char *const *specs, size_t n,
                                struct observer_beats *beats, struct err *e)
{
    const struct observe_context c = {o->loop, &o->mark_ns, &o->tick_due_ns, beats};
    for (int opening = 0; opening < 2; opening++) {
        bool serials = false;
        for (size_t i = 0; i < n; i++) {
            const char *ping = observer_spec_after(specs[i], "ping:");
            const char *announce = observer_spec_after(specs[i], "announce:");
            int rc = 0;
            if (ping != NULL)
                rc = observer_open_ping(o, ping, (int)i, opening, &c, e);
            else if (announce != NULL)
                rc = opening ? observer_add(o, observe_announce_open(announce, &c, e))
                             : observe_announce_check(announce, e);
            else if (opening && !serials)
                rc = observer_open_serials(o, specs, n, i, &c, e);
            serials |= ping == NULL && announce == NULL;
            if (rc < 0)
                return -1;
        }
    }
    return 0;
}

static int observer_arm(struct observer *o, struct err *e)
{
    o->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    o->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (o->stop_fd < 0 || o->tick_fd < 0)
        return err_set(e, ERR_IO, errno, "cannot make an observer");
    o->stop_watch = loop_fd_add(o->loop, o->stop_fd, EPOLLIN, observer_on_stop, o, e);
    if (o->stop_watch == NULL)
        return -1;
    o->tick_watch = loop_fd_add(o->loop, o->tick_fd, EPOLLIN, observer_on_tick, o, e);
    if (o->tick_watch == NULL)
        return -1;

    o->opened_ns = clock_now_ns();
    o->tick_due_ns = o->opened_ns + TICK_NS;
    const struct itimerspec every = {
        .it_interval = {.tv_nsec = TICK_NS},
        .it_value = {.tv_sec = o->tick_due_ns / NS_PER_S, .tv_nsec = o->tick_due_ns % NS_PER_S}};
    if (timerfd_settime(o->tick_fd, TFD_TIMER_ABSTIME, &every, NULL) < 0)
        return err_set(e, ERR_IO, errno, "cannot start the clock of an observer");
    return 0;
}

/* Signals are for the threads that expect them: this one gets none. */
static int observer_start(struct observer *o, struct err *e)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&o->thread, NULL, observer_thread, o);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return err_set(e, ERR_IO, rc, "cannot start the thread of an observer");
    return 0;
}

static void observer_free(struct observer *o)
{
    for (size_t i = 0; i < o->groups_n; i++)
        o->groups[i]->ops->close(o->groups[i]);
    loop_fd_del(o->tick_watch);
    loop_fd_del(o->stop_watch);
    if (o->tick_fd >= 0)
        close(o->tick_fd);
    if (o->stop_fd >= 0)
        close(o->stop_fd);
    loop_free(o->loop);
    free(o);
}

struct observer *observer_open(const char *const *specs, size_t n, struct err *e)
{
    return observer_open_beats(specs, n, NULL, e);
}

struct observer *observer_open_beats(const char *const *specs, size_t n,
                                     struct observer_beats *beats, struct err *e)
{
    if (observer_check_specs(specs, n, e) < 0)
        return NULL;
    struct observer *o = calloc(1, sizeof *o);
    if (o == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot make an observer");
        return NULL;
    }
    o->tick_fd = o->stop_fd = -1;
    atomic_init(&o->mark_ns, INT64_MAX);
    o->loop = loop_new(e);
    if (o->loop == NULL || observer_open_groups(o, specs, n, beats, e) < 0 ||
        observer_arm(o, e) < 0 || observer_start(o, e) < 0) {
        observer_free(o);
        return NULL;
    }
    return o;
}

void observer_mark(struct observer *o)
{
    atomic_store_explicit(&o->mark_ns, clock_now_ns(), memory_order_release);
}

size_t observer_stop(struct observer *o, struct observer_result *results, size_t n)
{
    const uint64_t one = 1;
    ssize_t rc = write(o->stop_fd, &one, sizeof one);
    assert(rc == (ssize_t)sizeof one);
    (void)rc;
    pthread_join(o->thread, NULL);

    size_t given = o->groups_n < n ? o->groups_n : n;
    for (size_t i = 0; i < given; i++)
        results[i] = o->groups[i]->result;
    observer_free(o);
    return given;
}
