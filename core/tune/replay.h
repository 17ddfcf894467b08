/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded migration, put through the controller again: what it decides now, beside what was done then. Pure.
 *
 * The samples are of the migration as it went. Once the controller has decided otherwise, what follows is its
 * answer to a world that it would not have made: so the first difference tells most.
 */
#ifndef CORE_TUNE_REPLAY_H
#define CORE_TUNE_REPLAY_H

#include "core/tune/trace.h"

struct replay_decision {
    struct control_action now, then; /* .what is CONTROL_NOTHING where nothing was decided */
    bool same;                       /* but for their words */
};

struct replay {
    bool same;               /* all of it */
    const char *refused_now; /* kept; NULL: it was begun */
    bool refused_then;
    struct replay_decision
        *decisions; /* the limit to begin with is the first, where it was begun */
    size_t n;
};

/* -1: there is no memory. */
int replay_run(const struct trace *t, struct replay *out, struct err *e);
void replay_free(struct replay *r);

#endif
