/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C where nothing could be ended in good order: a call that hangs for ever, on a path whose server
 * is gone, in a thread that no signal reaches but the last one.
 */
#ifndef TOOLS_CMD_HUNG_H
#define TOOLS_CMD_HUNG_H

#include <pthread.h>
#include <stdbool.h>

struct hung {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool runs, over;
    const char *state; /* what is to be said of where things are: "nothing was touched" */
};

/*
 * From here to hung_end() SIGINT and SIGTERM set relocate_interrupted, also while this thread hangs; when
 * that has not ended it two seconds later, the process ends by itself, with a message that names the last
 * path that was looked at (core/looking.h), and EXIT_CANCELLED. So only around what may be killed at any
 * point. Without a thread to be had all is as if it was not called.
 */
void hung_begin(struct hung *h, const char *state);
void hung_end(struct hung *h);

#endif
