/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One epoll instance holds the caller's descriptors and a signalfd. Timers are few (a handful of
 * deadlines), so they are a plain list that is scanned for the next one at each turn; a timerfd
 * each would cost a descriptor and a system call for nothing.
 *
 * A callback may delete any watch, also one whose event is later in the batch that epoll has
 * already returned. Deleted objects are therefore only marked dead and unlinked; their memory is
 * given back after the batch, when no event can point to them any more.
 */
#include "core/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"

struct loop_fd {
    struct loop *loop;
    int fd;
    loop_fd_fn *fn;
    void *arg;
    bool dead;
    struct loop_fd *next_dead;
};

struct loop_timer {
    struct loop *loop;
    int64_t at_ns;
    loop_timer_fn *fn;
    void *arg;
    bool fired;
    struct loop_timer *next;
};

struct loop {
    int epfd;
    int sigfd;
    sigset_t old_mask;
    int interrupts;
    bool turning;
    unsigned live_fds;
    struct loop_fd *signal_watch;
    struct loop_fd *dead;
    struct loop_timer *timers;
};

struct loop *loop_new(struct err *e)
{
    CLEANUP_FREE struct loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for the event loop");
        return NULL;
    }
    l->sigfd = -1;
    l->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epfd < 0) {
        err_set(e, ERR_IO, errno, "cannot make an epoll descriptor");
        return NULL;
    }
    return TAKE(l);
}

static void loop_bury(struct loop *l)
{
    while (l->dead != NULL) {
        struct loop_fd *w = l->dead;
        l->dead = w->next_dead;
        free(w);
    }
}

static void loop_on_signal(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct loop *l = arg;
    struct signalfd_siginfo si;
    while (read(l->sigfd, &si, sizeof si) == (ssize_t)sizeof si)
        l->interrupts++;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    loop_fd_del(l->signal_watch);
    if (l->sigfd >= 0) {
        loop_on_signal(l, 0); /* one that is still pending would kill us when it is unblocked */
        close(l->sigfd);
        pthread_sigmask(SIG_SETMASK, &l->old_mask, NULL);
    }
    assert(l->live_fds == 0 && l->timers == NULL);
    loop_bury(l);
    close(l->epfd);
    free(l);
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t epoll_events, loop_fd_fn *fn,
                            void *arg, struct err *e)
{
    CLEANUP_FREE struct loop_fd *w = calloc(1, sizeof *w);
    if (w == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for the event loop");
        return NULL;
    }
    *w = (struct loop_fd){.loop = l, .fd = fd, .fn = fn, .arg = arg};

    struct epoll_event ev = {.events = epoll_events, .data.ptr = w};
    if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        err_set(e, ERR_IO, errno, "the event loop cannot watch descriptor %d", fd);
        return NULL;
    }
    l->live_fds++;
    return TAKE(w);
}

void loop_fd_set(struct loop_fd *w, uint32_t epoll_events)
{
    struct epoll_event ev = {.events = epoll_events, .data.ptr = w};
    int rc = epoll_ctl(w->loop->epfd, EPOLL_CTL_MOD, w->fd, &ev);
    assert(rc == 0); /* fails only for a descriptor closed behind our back */
    (void)rc;
}

void loop_fd_del(struct loop_fd *w)
{
    if (w == NULL)
        return;
    assert(!w->dead);
    struct loop *l = w->loop;
    epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
    w->dead = true;
    w->next_dead = l->dead;
    l->dead = w;
    l->live_fds--;
}

struct loop_timer *loop_timer_add(struct loop *l, int64_t after_ns, loop_timer_fn *fn, void *arg,
                                  struct err *e)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for the event loop");
        return NULL;
    }
    *t = (struct loop_timer){
        .loop = l, .at_ns = clock_now_ns() + after_ns, .fn = fn, .arg = arg, .next = l->timers};
    l->timers = t;
    return t;
}

void loop_timer_del(struct loop_timer *t)
{
    if (t == NULL)
        return;
    struct loop_timer **at = &t->loop->timers;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
}

/* The callback may delete or add timers, so the scan starts anew after each one. */
static void loop_run_timers(struct loop *l)
{
    int64_t now_ns = clock_now_ns();
    struct loop_timer *t = l->timers;
    while (t != NULL) {
        if (!t->fired && t->at_ns <= now_ns) {
            t->fired = true;
            t->fn(t->arg);
            t = l->timers;
        } else {
            t = t->next;
        }
    }
}

static int64_t loop_next_timer_ns(const struct loop *l)
{
    int64_t next_ns = INT64_MAX;
    for (const struct loop_timer *t = l->timers; t != NULL; t = t->next)
        if (!t->fired && t->at_ns < next_ns)
            next_ns = t->at_ns;
    return next_ns;
}

int loop_catch_signals(struct loop *l, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &l->old_mask);

    l->sigfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->sigfd < 0)
        return err_set(e, ERR_IO, errno, "cannot make a signalfd");
    l->signal_watch = loop_fd_add(l, l->sigfd, EPOLLIN, loop_on_signal, l, e);
    return l->signal_watch == NULL ? -1 : 0;
}

int loop_interrupts(const struct loop *l)
{
    return l->interrupts;
}

/* epoll_wait counts milliseconds: round up, else a timer 0.9 ms away would spin. */
static int loop_wait_ms(const struct loop *l, int64_t timeout_ns)
{
    int64_t wait_ns = timeout_ns < 0 ? INT64_MAX : timeout_ns;
    int64_t next_ns = loop_next_timer_ns(l);
    if (next_ns != INT64_MAX) {
        int64_t until_ns = next_ns - clock_now_ns();
        if (until_ns < 0)
            until_ns = 0;
        if (until_ns < wait_ns)
            wait_ns = until_ns;
    }
    if (wait_ns == INT64_MAX)
        return -1;
    int64_t ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 3600000 ? 3600000 : (int)ms;
}

void loop_turn(struct loop *l, int64_t timeout_ns)
{
    assert(!l->turning); /* a nested turn would bury watches that the outer batch still names */
    l->turning = true;
    struct epoll_event ev[16];
    int n = epoll_wait(l->epfd, ev, 16, loop_wait_ms(l, timeout_ns));
    for (int i = 0; i < n; i++) {
        struct loop_fd *w = ev[i].data.ptr;
        if (!w->dead)
            w->fn(w->arg, ev[i].events);
    }
    loop_bury(l);
    loop_run_timers(l);
    loop_bury(l);
    l->turning = false;
}

void loop_sleep(struct loop *l, int64_t ns)
{
    int64_t end_ns = clock_now_ns() + ns, now_ns;
    while ((now_ns = clock_now_ns()) < end_ns)
        loop_turn(l, end_ns - now_ns);
}

int loop_spin(struct loop *l, const bool *done, int64_t deadline_ns, bool interruptible,
              struct err *e)
{
    while (!*done) {
        if (interruptible && l->interrupts > 0)
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        int64_t left_ns = -1;
        if (deadline_ns >= 0) {
            left_ns = deadline_ns - clock_now_ns();
            if (left_ns <= 0)
                return err_set(e, ERR_TIMEOUT, 0, "no answer in time");
        }
        loop_turn(l, left_ns);
    }
    return 0;
}
