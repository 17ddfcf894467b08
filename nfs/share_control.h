/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the server: connecting, and the procedures that block, with patience. */
#ifndef NFS_SHARE_CONTROL_H
#define NFS_SHARE_CONTROL_H

#include "nfs/share_conn.h"
#include "nfs/share_place.h"

/* To NFS_PROGRAM or MOUNT_PROGRAM of the place's server. The port mapper is asked once. NULL: ERR_LOST,
 * ERR_TIMEOUT or ERR_CANCELLED; the message names stage and port, the hint a remedy. */
struct share_conn *share_control_connect(struct share_place *p, int program, int64_t deadline_ns,
                                         struct err *e);

struct share_try {
    int64_t deadline_ns;
    unsigned stale; /* so often a handle was stale: what was looked up is to be looked up again */
};

/* Asks something on `c`; run again from its start when the reason of its failure may pass. */
typedef int share_ask_fn(struct share_place *p, struct share_conn *c, void *arg,
                         const struct share_try *t, struct err *e);

/*
 * Runs `ask` on the control connection until it is answered: again on a new connection, when that
 * was lost; again later, when the server is busy; and again twice, when a handle is stale: with the
 * names looked up anew, and with the share mounted anew. Gives up after `patience_ns`, and after
 * a second or three if `cancel` was set before, once: what is then asked for is only to tidy up.
 */
int share_control_ask(struct share_place *p, share_ask_fn *ask, void *arg, int64_t patience_ns,
                      struct err *e);

/* After such an answer: where the server has denied it, what that comes of mostly, and a remedy. */
void share_control_hint_denied(const struct share_place *p, struct err *e);

#endif
