/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to an NFS server: libnfs's, driven by our ring.
 *
 * It can be a carrier; and, while no I/O is under way, it does blocking calls with a deadline. A
 * connection that was lost stays lost.
 */
#ifndef NFS_SHARE_CONN_H
#define NFS_SHARE_CONN_H

#include <signal.h>

#include "nfs/compat.h"
#include "nfs/share_carrier.h"
#include "nfs/share_progress.h"

struct share_conn;

struct share_target {
    const char *host; /* best an address: a name is resolved by libnfs, in its own time */
    int port;
    int program;        /* NFS_PROGRAM or MOUNT_PROGRAM; version 3 of both */
    int64_t timeout_ns; /* of each request of a carrier */
    const char *who;    /* NULL, or the share in messages; stays with the connection */
    const volatile sig_atomic_t *cancel; /* NULL, or the operator's wish to stop; likewise */
};

/* Connects, by the deadline (CLOCK_MONOTONIC). NULL: ERR_LOST, ERR_TIMEOUT, ERR_CANCELLED; the
 * reason is no more than that: share_dial_probe() finds it. */
struct share_conn *share_conn_open(struct ring *ring, const struct share_target *target,
                                   int64_t deadline_ns, struct err *e);

/* No I/O may be under way. May turn the ring. NULL is fine. */
void share_conn_close(struct share_conn *c);

bool share_conn_lost(const struct share_conn *c);

/* Before a blocking call: whether it lives; false also when the server has closed it meanwhile. Not
 * from within callbacks. */
bool share_conn_check(struct share_conn *c);

/* The connection as a carrier; closing either closes both. */
struct share_carrier *share_conn_carrier(struct share_conn *c);

int share_conn_fd(const struct share_conn *c);

/* What it is called in messages, given to another. */
void share_conn_name(const struct share_conn *c, struct share_progress *named);

/* Closes an idle connection, but for its socket: that is the caller's from there on, without
 * O_NONBLOCK. -1: errno. */
int share_conn_detach(struct share_conn *c);

/*
 * A blocking call. The caller queues a raw call on share_conn_rpc() with share_conn_answered() as
 * the callback and share_conn_slot() as its argument, and then waits. `take` sees the answer while it
 * is valid. After the wait the call is the caller's alone, whatever libnfs still does.
 */
struct share_call {
    void (*take)(struct share_call *call, void *answer);
    void *to; /* for take() */
    bool done;
    int rpc_status;
};

/* The errno that says best what an NFS status says; libnfs's own table has STALE and others as
 * EIO. */
int share_conn_errno(nfsstat3 status);

struct rpc_context *share_conn_rpc(struct share_conn *c);
void *share_conn_slot(struct share_conn *c, struct share_call *call);
void share_conn_answered(struct rpc_context *rpc, int status, void *answer, void *slot);

/*
 * Waits for the answer, if the call was `queued`. 0: take() has run; what the server answered may
 * still be an error. -1: ERR_LOST or ERR_TIMEOUT; the connection is lost.
 */
int share_conn_wait(struct share_conn *c, struct share_call *call, bool queued, int64_t deadline_ns,
                    struct err *e);

#endif
