/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A thread of its own waits for the section to end. A signal for the process is given to the thread that
 * hangs, which does not come to its handler; but it is pending for all, and this one takes it from there,
 * with the signals blocked. What then ends the process also ends the call: the kernel lets those that wait
 * for a server be killed.
 *
 * The time to end in good order counts anew in each state: what was stopped in the copy has its own for
 * tidying up.
 */
#include "tools/cmd/hung.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/err.h"
#include "core/looking.h"
#include "tools/cmd/command.h"
#include "tools/cmd/relocate_call.h"

enum { HUNG_TURN_NS = 100000000 };

static void hung_tell(const char *state)
{
    char path[LOOKING_TEXT_MAX];
    struct err e = {0};
    looking_text(path);
    err_set(&e, ERR_CANCELLED, 0, "interrupted while %s%s does not answer; %s",
            *path != '\0' ? "" : "something", path, state);
    err_hint(&e, "is it on a mount whose server is gone? 'umount -l' takes that away");
    err_print(&e, "godwit", stderr);
}

static void hung_take_signals(void)
{
    const struct timespec at_once = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigtimedwait(&set, NULL, &at_once) > 0)
        relocate_interrupted = 1;
}

static void *hung_run(void *arg)
{
    struct hung *h = arg;
    int64_t since_ns = 0; /* it was interrupted, in this state */
    const char *was = NULL;
    pthread_mutex_lock(&h->lock);
    while (!h->over) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += HUNG_TURN_NS;
        until.tv_sec += until.tv_nsec / NS_PER_S;
        until.tv_nsec %= NS_PER_S;
        pthread_cond_timedwait(&h->ended, &h->lock, &until);
        hung_take_signals();
        if (h->over || !relocate_interrupted)
            continue;
        int grace_s = HUNG_GRACE_S;
        const char *state = h->state(h->arg, &grace_s);
        if (state != was)
            since_ns = clock_now_ns();
        was = state;
        if (state == NULL || clock_now_ns() - since_ns < grace_s * NS_PER_S)
            continue;
        hung_tell(state);
        _exit(EXIT_CANCELLED);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

void hung_begin(struct hung *h, hung_state_fn *state, const void *arg)
{
    sigset_t all, before;
    *h = (struct hung){.state = state, .arg = arg};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->ended, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    h->runs = pthread_create(&h->thread, NULL, hung_run, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void hung_end(struct hung *h)
{
    pthread_mutex_lock(&h->lock);
    h->over = true;
    pthread_cond_signal(&h->ended);
    pthread_mutex_unlock(&h->lock);
    if (h->runs)
        pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->ended);
    pthread_mutex_destroy(&h->lock);
}
