/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C where nothing could be ended in good order: a call that hangs for ever, on a path whose server
 * is gone, in a thread that no signal reaches but the last one.
 */
#ifndef TOOLS_CMD_HUNG_H
#define TOOLS_CMD_HUNG_H

#include <pthread.h>
#include <stdbool.h>

/* What is to be said of where things are, "nothing was touched", and how many seconds what goes well may take
 * to end in good order. NULL: just now it is not to be ended at all. Called from another thread. */
typedef const char *hung_state_fn(const void *arg, int *grace_s);

enum { HUNG_GRACE_S = 2 /* of what only looks */ };

struct hung {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool runs, over;
    hung_state_fn *state;
    const void *arg;
};

/*
 * From here to hung_end() SIGINT and SIGTERM set relocate_interrupted, also while this thread hangs; when
 * that has not ended it in the time that state() gives, the process ends by itself, with a message that
 * names the last path that was looked at (core/looking.h), and EXIT_CANCELLED. So state() is only to give
 * one where it may be killed. Without a thread to be had all is as if it was not called.
 */
void hung_begin(struct hung *h, hung_state_fn *state, const void *arg);
void hung_end(struct hung *h);

#endif
