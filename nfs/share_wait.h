/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a server: until a deadline, with a word in the log when it takes long, and an end when
 * the operator stops it.
 */
#ifndef NFS_SHARE_WAIT_H
#define NFS_SHARE_WAIT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/err.h"

#define SHARE_WAIT_STEP_NS (100 * NS_PER_MS) /* a wait in poll() is no longer */
#define SHARE_WAIT_WORD_NS (3 * NS_PER_S)    /* after so long without an answer a word is said */

struct share_wait {
    const char *who;               /* the share, as it is called in messages */
    const char *what;              /* what does not answer: "its port mapper (rpcbind, port 111)" */
    int64_t start_ns, deadline_ns; /* CLOCK_MONOTONIC */
    const volatile sig_atomic_t *cancel; /* NULL, or the operator's wish to stop */
    bool connecting;                     /* nothing was asked yet: it can be stopped at once */
    bool was_cancelled; /* before the wait began: what is asked now is to tidy up */
    bool said;
};

/* Sets start_ns and was_cancelled. */
void share_wait_begin(struct share_wait *w);

/* After each step. -1: ERR_TIMEOUT or ERR_CANCELLED; what was asked last counts as lost. */
int share_wait_step(struct share_wait *w, struct err *e);

/* The word: once in a while, whoever waits in however many threads. */
void share_wait_say(const char *who, const char *what, int64_t silent_ns);

/* The same of a server that answers, but only that it is busy (NFS3ERR_JUKEBOX): once it has been so long
 * enough. */
void share_wait_busy(const char *who, int64_t busy_ns);

#endif
