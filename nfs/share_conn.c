/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libnfs connects, encodes requests, and calls back with answers from within nfs_service(). From the
 * connect on a guard stands between it and the server (nfs/share_guard.h), so that it decodes nothing but
 * answers. We own the waiting. While I/O is under way:
 *
 *   kick  a timer of 0, set by the first request of a turn: all requests of that turn are sent in one
 *         go
 *   poll  one-shot, re-armed after each event with what the guard wants by then (it wants POLLOUT
 *         only while something is unsent); cancelled when it wants more than was armed
 *   tick  every 100 ms nfs_service(): without it libnfs does not see that a request is too old
 *
 * libnfs must never reconnect by itself: it would resend blindly, without telling that verifiers
 * may have changed, and would put a new socket under the old number, behind the ring's back.
 *
 * The end. When the server closes, or libnfs says that the socket is beyond use, or on stop(),
 * the libnfs context is destroyed; that calls back for each request that is still unanswered, and
 * so completes our I/O. It is always done from a callback of the ring, never within a call of the
 * user.
 *
 * A blocking call is its caller's, on his stack, and libnfs never sees it: it gets a slot that lives
 * as long as the connection and points to the call while somebody waits. So it does no harm when
 * libnfs calls back late, or never: it forgets the callback of a connect that is still under way when
 * its context is destroyed, which is how each connect to a silent server ends.
 *
 * All I/O under way is also in a list of ours, in order of its start: what would have to be sent
 * again on another connection.
 */
#include "nfs/share_conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "nfs/share_cred.h"
#include "nfs/share_guard.h"
#include "nfs/share_wait.h"

enum { CONN_SYN_COUNT = 3 };

#define CONN_TICK_NS (100 * NS_PER_MS)

/* What libnfs holds for a callback: it lives as long as the connection. */
struct share_slot {
    struct share_call *call; /* NULL: nobody waits (any more) */
};

struct share_conn {
    struct share_carrier base;
    struct ring *ring;
    struct nfs_context *nfs;   /* NULL: lost */
    struct share_guard *guard; /* NULL: not connected yet */
    struct share_slot connecting, asking;
    bool open; /* it was connected, and has answered */
    const volatile sig_atomic_t *cancel;
    bool stopping;
    bool late;                     /* it is lost for that, */
    bool nonsense;                 /* or for what the server has sent */
    char why[256];                 /* then: that */
    struct store_io *first, *last; /* under way */
    short armed;                   /* events that `poll` waits for */
    struct ring_op poll, tick, kick;
    struct share_progress progress;
};

static struct share_conn *conn_of(struct share_carrier *c)
{
    return (struct share_conn *)c;
}

static void conn_serve(struct share_conn *c);
static void conn_arm(struct share_conn *c);

/* The socket to the server, and what it is to be polled for. */
static int conn_fd(const struct share_conn *c)
{
    return c->guard != NULL ? share_guard_fd(c->guard) : nfs_get_fd(c->nfs);
}

static short conn_events(const struct share_conn *c)
{
    return c->guard != NULL ? share_guard_events(c->guard) : (short)nfs_which_events(c->nfs);
}

/* ---- the list of I/O under way ---- */

static void conn_link(struct share_conn *c, struct store_io *io)
{
    share_progress_start(&c->progress, io, c->base.load == 0, c->nfs != NULL ? conn_fd(c) : -1);
    io->lane = c;
    io->next = NULL;
    io->prev = c->last;
    *(c->last != NULL ? &c->last->next : &c->first) = io;
    c->last = io;
    c->base.load++;
}

static void conn_unlink(struct share_conn *c, struct store_io *io)
{
    *(io->prev != NULL ? &io->prev->next : &c->first) = io->next;
    *(io->next != NULL ? &io->next->prev : &c->last) = io->prev;
    c->base.load--;
}

/* ---- waiting ---- */

static void conn_lose(struct share_conn *c)
{
    struct nfs_context *nfs = c->nfs;
    if (nfs == NULL)
        return;
    c->nfs = NULL;
    c->base.lost = true;
    ring_cancel(c->ring, &c->poll);
    if (c->base.load > 0)
        log_debug("nfs: connection lost with %u requests under way: %s", c->base.load,
                  nfs_get_error(nfs));
    nfs_destroy_context(nfs);
    share_guard_free(TAKE(c->guard));
}

/* The guard is at the end: the server has closed, or sent what is no answer. */
static void conn_lose_guarded(struct share_conn *c)
{
    const char *why = share_guard_why(c->guard);
    c->nonsense = why != NULL;
    if (why != NULL)
        snprintf(c->why, sizeof c->why, "%s has sent %s", c->progress.what, why);
    if (why != NULL && c->base.load > 0)
        log_warn("%s%s%s", c->progress.who != NULL ? c->progress.who : "",
                 c->progress.who != NULL ? ": " : "", c->why);
    conn_lose(c);
}

static void conn_polled(void *arg, int res)
{
    struct share_conn *c = arg;
    if (res > 0)
        conn_serve(c);
    conn_arm(c);
}

/* Is the server silent, or has it forgotten one? */
static bool conn_late(struct share_conn *c)
{
    int64_t now_ns = clock_now_ns();
    if (share_progress_silent(&c->progress, conn_fd(c), now_ns))
        return true;
    for (struct store_io *io = c->first; io != NULL; io = io->next)
        if (share_progress_overtaken(&c->progress, io, now_ns))
            return true;
    return false;
}

static void conn_ticked(void *arg, int res)
{
    struct share_conn *c = arg;
    (void)res;
    c->late = c->nfs != NULL && c->base.load > 0 && conn_late(c);
    if (c->stopping || c->late)
        conn_lose(c);
    conn_serve(c);
    conn_arm(c);
}

static void conn_kicked(void *arg, int res)
{
    struct share_conn *c = arg;
    (void)res;
    conn_serve(c);
    conn_arm(c);
}

/* libnfs and the guard in turn, as long as either has something for the other. */
static void conn_serve(struct share_conn *c)
{
    for (bool more = true; more && c->nfs != NULL && !c->stopping;) {
        struct pollfd p = {.fd = nfs_get_fd(c->nfs), .events = (short)nfs_which_events(c->nfs)};
        more = poll(&p, 1, 0) > 0;
        if (nfs_service(c->nfs, more ? p.revents : 0) < 0) {
            conn_lose(c);
            return;
        }
        int passed = c->guard != NULL ? share_guard_pass(c->guard) : 0;
        more = more || passed > 0;
        if (passed < 0)
            conn_lose_guarded(c);
    }
}

/* Sees to it that poll and tick are armed as long as an answer is awaited. */
static void conn_arm(struct share_conn *c)
{
    if (c->nfs == NULL || c->base.load == 0) {
        ring_cancel(c->ring, &c->poll);
        return;
    }
    int fd = conn_fd(c);
    short wanted = conn_events(c);
    if (!ring_busy(&c->poll)) {
        c->armed = wanted;
        ring_poll(c->ring, &c->poll, fd, wanted, conn_polled, c);
    } else if ((wanted & ~c->armed) != 0) {
        ring_cancel(c->ring, &c->poll);
    }
    if (!ring_busy(&c->tick))
        ring_after(c->ring, &c->tick, CONN_TICK_NS, conn_ticked, c);
}

/* ---- asynchronous I/O ---- */

static void conn_finish(struct store_io *io, int res, enum err_class fault)
{
    struct share_conn *c = io->lane;
    conn_unlink(c, io);
    if (fault == ERR_NONE || fault == ERR_NFS || fault == ERR_PROTO)
        share_progress_answered(&c->progress, io);
    io->res = res;
    io->fault = fault;
    io->done(io);
}

/* What libnfs was given last, while it is served. */
static enum shape_outcome conn_outcome(const struct share_conn *c)
{
    return c->nfs != NULL && c->guard != NULL ? share_guard_outcome(c->guard) : SHAPE_RESULTS;
}

/* No answer of NFS's: a refusal by RPC, or what became of the request is not known. */
static void conn_finish_lost(struct store_io *io, int rpc_status)
{
    struct share_conn *c = io->lane;
    if (c->stopping)
        conn_finish(io, -ECANCELED, ERR_CANCELLED);
    else if (conn_outcome(c) == SHAPE_AUTH)
        conn_finish(io, -EACCES, ERR_NFS);
    else if (c->nonsense || conn_outcome(c) == SHAPE_FOREIGN)
        conn_finish(io, -EPROTO, ERR_PROTO);
    else if (c->late || rpc_status == RPC_STATUS_TIMEOUT)
        conn_finish(io, -ETIMEDOUT, ERR_TIMEOUT);
    else
        conn_finish(io, -ECONNRESET, ERR_LOST);
}

int share_conn_errno(nfsstat3 status)
{
    switch (status) {
    case NFS3ERR_NAMETOOLONG: return ENAMETOOLONG;
    case NFS3ERR_NOTEMPTY: return ENOTEMPTY;
    case NFS3ERR_DQUOT: return EDQUOT;
    case NFS3ERR_STALE: return ESTALE;
    case NFS3ERR_REMOTE: return EREMOTE;
    case NFS3ERR_NOTSUPP: return EOPNOTSUPP;
    case NFS3ERR_TOOSMALL: return EINVAL;
    case NFS3ERR_JUKEBOX: return EAGAIN;
    default:
        /* The others below 100 have the number that Unix gave them. */
        return status > 0 && (int)status <= NFS3ERR_MLINK ? (int)status : EIO;
    }
}

static void conn_finish_refused(struct store_io *io, nfsstat3 status)
{
    log_debug("nfs: %s", nfsstat3_to_str((int)status));
    conn_finish(io, -share_conn_errno(status), ERR_NFS);
}

static void conn_has_read(struct rpc_context *rpc, int status, void *data, void *arg)
{
    struct store_io *io = arg;
    const READ3res *res = data;
    (void)rpc;
    if (status != RPC_STATUS_SUCCESS) {
        conn_finish_lost(io, status);
    } else if (res->status != NFS3_OK) {
        conn_finish_refused(io, res->status);
    } else {
        const READ3resok *ok = &res->READ3res_u.resok;
        bool sane = compat_read_take(ok, io->buf, io->len_bytes) &&
                    (ok->count > 0 || ok->eof != 0 || io->len_bytes == 0);
        conn_finish(io, sane ? (int)ok->count : -EPROTO, ERR_PROTO);
    }
}

static void conn_written(struct rpc_context *rpc, int status, void *data, void *arg)
{
    struct store_io *io = arg;
    const WRITE3res *res = data;
    (void)rpc;
    if (status != RPC_STATUS_SUCCESS) {
        conn_finish_lost(io, status);
    } else if (res->status != NFS3_OK) {
        conn_finish_refused(io, res->status);
    } else {
        const WRITE3resok *ok = &res->WRITE3res_u.resok;
        io->stable = ok->committed != UNSTABLE;
        memcpy(io->verifier, ok->verf, sizeof io->verifier);
        conn_finish(io, ok->count <= io->len_bytes ? (int)ok->count : -EPROTO, ERR_PROTO);
    }
}

static void conn_committed(struct rpc_context *rpc, int status, void *data, void *arg)
{
    struct store_io *io = arg;
    const COMMIT3res *res = data;
    (void)rpc;
    if (status != RPC_STATUS_SUCCESS) {
        conn_finish_lost(io, status);
    } else if (res->status != NFS3_OK) {
        conn_finish_refused(io, res->status);
    } else {
        memcpy(io->verifier, res->COMMIT3res_u.resok.verf, sizeof io->verifier);
        conn_finish(io, 0, ERR_NONE);
    }
}

static void conn_start_failed(void *arg, int res)
{
    struct store_io *io = arg;
    struct share_conn *c = io->lane;
    (void)res;
    if (c->nfs == NULL)
        conn_finish_lost(io, RPC_STATUS_ERROR);
    else
        conn_finish(io, -ENOMEM, ERR_NFS);
}

/* After a request was queued with libnfs, or could not be. */
static void conn_started(struct share_conn *c, struct store_io *io, bool queued)
{
    conn_link(c, io);
    if (!queued)
        ring_after(c->ring, &io->op, 0, conn_start_failed, io);
    else if (!ring_busy(&c->kick))
        ring_after(c->ring, &c->kick, 0, conn_kicked, c);
}

static nfs_fh3 conn_fh(const struct share_fh *fh)
{
    return (nfs_fh3){.data = {.data_len = fh->len, .data_val = (char *)(uintptr_t)fh->val}};
}

static void conn_read(struct share_carrier *carrier, const struct share_fh *fh, struct store_io *io)
{
    struct share_conn *c = conn_of(carrier);
    bool queued = false;
    if (c->nfs != NULL) {
        READ3args args = {.file = conn_fh(fh), .offset = io->offset, .count = io->len_bytes};
        queued = COMPAT_READ(nfs_get_rpc_context(c->nfs), conn_has_read, io->buf, io->len_bytes,
                             &args, io);
    }
    conn_started(c, io, queued);
}

static void conn_write(struct share_carrier *carrier, const struct share_fh *fh,
                       struct store_io *io)
{
    struct share_conn *c = conn_of(carrier);
    bool queued = false;
    if (c->nfs != NULL) {
        WRITE3args args = {
            .file = conn_fh(fh),
            .offset = io->offset,
            .count = io->len_bytes,
            .stable = io->want_stable ? FILE_SYNC : UNSTABLE,
            .data = {.data_len = io->len_bytes, .data_val = io->buf},
        };
        queued = COMPAT_CALL(nfs3_write, nfs_get_rpc_context(c->nfs), conn_written, &args, io);
    }
    conn_started(c, io, queued);
}

static void conn_commit(struct share_carrier *carrier, const struct share_fh *fh,
                        struct store_io *io)
{
    struct share_conn *c = conn_of(carrier);
    bool queued = false;
    if (c->nfs != NULL) {
        COMMIT3args args = {.file = conn_fh(fh), .offset = io->offset, .count = io->len_bytes};
        queued = COMPAT_CALL(nfs3_commit, nfs_get_rpc_context(c->nfs), conn_committed, &args, io);
    }
    conn_started(c, io, queued);
}

static void conn_stop(struct share_carrier *carrier)
{
    struct share_conn *c = conn_of(carrier);
    c->stopping = true;
    if (ring_busy(&c->tick))
        ring_cancel(c->ring, &c->tick);
    else
        ring_after(c->ring, &c->tick, 0, conn_ticked, c);
}

static bool conn_check(struct share_carrier *carrier)
{
    return share_conn_check(conn_of(carrier));
}

static void conn_close(struct share_carrier *carrier)
{
    share_conn_close(conn_of(carrier));
}

static const struct share_carrier_ops conn_ops = {
    .name = "libnfs",
    .read = conn_read,
    .write = conn_write,
    .commit = conn_commit,
    .stop = conn_stop,
    .check = conn_check,
    .close = conn_close,
};

/* libnfs's own timeout counts from when a request is queued: from here on ours is the one. */
struct share_carrier *share_conn_carrier(struct share_conn *c)
{
    if (c->nfs != NULL)
        nfs_set_timeout(c->nfs, -1);
    return &c->base;
}

/* ---- blocking calls ---- */

struct rpc_context *share_conn_rpc(struct share_conn *c)
{
    return nfs_get_rpc_context(c->nfs);
}

void *share_conn_slot(struct share_conn *c, struct share_call *call)
{
    c->asking.call = call;
    return &c->asking;
}

void share_conn_answered(struct rpc_context *rpc, int status, void *answer, void *arg)
{
    struct share_slot *slot = arg;
    struct share_call *call = slot->call;
    (void)rpc;
    if (call == NULL)
        return;
    slot->call = NULL;
    call->rpc_status = status;
    call->done = true;
    if (status == RPC_STATUS_SUCCESS && call->take != NULL)
        call->take(call, answer);
}

/* Outside of the ring: nothing else is to be waited for. */
static void conn_wait_once(struct share_conn *c)
{
    struct pollfd p = {.fd = conn_fd(c), .events = conn_events(c)};
    poll(&p, 1, (int)(SHARE_WAIT_STEP_NS / NS_PER_MS));
    conn_serve(c);
}

/* Why no results came. */
static int conn_unanswered(const struct share_conn *c, const struct share_call *call, struct err *e)
{
    const char *what = c->progress.what;
    if (c->nonsense)
        return err_set(e, ERR_PROTO, 0, "%s", c->why);
    if (call->done && conn_outcome(c) == SHAPE_AUTH)
        return err_set(e, ERR_NFS, EACCES, "%s refuses our credential (AUTH_SYS, user %u)", what,
                       (unsigned)geteuid());
    if (call->done && conn_outcome(c) == SHAPE_FOREIGN)
        return err_set(e, ERR_PROTO, 0, "%s does not know what it was asked", what);
    return call->done && call->rpc_status == RPC_STATUS_TIMEOUT
               ? err_set(e, ERR_TIMEOUT, 0, "no answer from %s", what)
               : err_set(e, ERR_LOST, 0, "the connection to %s was lost", what);
}

/* Until it is answered, or the connection is lost, or it is late. */
static int conn_await(struct share_conn *c, struct share_call *call, int64_t deadline_ns,
                      struct err *e)
{
    struct share_wait w = {.who = c->progress.who,
                           .what = c->progress.what,
                           .deadline_ns = deadline_ns,
                           .cancel = c->cancel,
                           .connecting = !c->open};
    share_wait_begin(&w);
    conn_serve(c);
    while (!call->done && c->nfs != NULL) {
        conn_wait_once(c);
        if (!call->done && share_wait_step(&w, e) < 0)
            break;
    }
    if (call->done && call->rpc_status == RPC_STATUS_SUCCESS)
        return 0;
    if (e->class == ERR_NONE)
        conn_unanswered(c, call, e);
    if (c->nfs != NULL)
        log_debug("nfs: %s", nfs_get_error(c->nfs));
    conn_lose(c); /* may call back, or not */
    return -1;
}

int share_conn_wait(struct share_conn *c, struct share_call *call, bool queued, int64_t deadline_ns,
                    struct err *e)
{
    int rc;
    assert(c->base.load == 0);
    if (queued) {
        rc = conn_await(c, call, deadline_ns, e);
    } else {
        conn_lose(c);
        rc = err_set(e, ERR_LOST, ENOMEM, "the request could not be queued");
    }
    c->connecting.call = c->asking.call = NULL;
    return rc;
}

/* ---- opening and closing ---- */

/* TCP, and then a question that any server of that program answers. */
static int conn_connect(struct share_conn *c, const struct share_target *t, int64_t deadline_ns,
                        struct err *e)
{
    struct share_call connect = {0}, null = {0};
    c->connecting.call = &connect;
    bool queued = rpc_connect_async(share_conn_rpc(c), t->host, t->port, share_conn_answered,
                                    &c->connecting) == 0;
    if (share_conn_wait(c, &connect, queued, deadline_ns, e) < 0)
        return -1;
    c->guard = share_guard_new(nfs_get_fd(c->nfs));
    if (c->guard == NULL)
        return err_set(e, ERR_IO, errno, "cannot watch over the connection to %s",
                       c->progress.what);
    void *slot = share_conn_slot(c, &null);
    queued = t->program == NFS_PROGRAM
                 ? COMPAT_NULL(nfs3_null, share_conn_rpc(c), share_conn_answered, slot)
                 : COMPAT_NULL(mount3_null, share_conn_rpc(c), share_conn_answered, slot);
    return share_conn_wait(c, &null, queued, deadline_ns, e);
}

/* libnfs takes the address that "fe80::1%eth0" resolves to, but not its interface: without one, a
 * link-local address is nowhere. */
static void conn_bind(struct nfs_context *nfs, const char *host)
{
    char name[IF_NAMESIZE];
    const char *zone = strchr(host, ':') != NULL ? strchr(host, '%') : NULL;
    if (zone == NULL)
        return;
    unsigned index = if_nametoindex(zone + 1);
    if (index == 0)
        index = (unsigned)strtoul(zone + 1, NULL, 10);
    if (if_indextoname(index, name) != NULL)
        nfs_set_interface(nfs, name);
}

struct share_conn *share_conn_open(struct ring *ring, const struct share_target *target,
                                   int64_t deadline_ns, struct err *e)
{
    struct share_conn *c = calloc(1, sizeof *c);
    if (c == NULL || (c->nfs = nfs_init_context()) == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "connection to %s", text_url_host(target->host));
        free(c);
        return NULL;
    }
    c->base.ops = &conn_ops;
    c->ring = ring;
    c->progress.timeout_ns = target->timeout_ns;
    conn_bind(c->nfs, target->host);
    const struct codec_cred cred = share_cred_own();
    share_cred_give(share_conn_rpc(c), &cred);
    c->progress.who = target->who;
    c->cancel = target->cancel;
    snprintf(c->progress.what, sizeof c->progress.what, "%s (port %d)",
             target->program == NFS_PROGRAM ? "the NFS server" : "mountd", target->port);
    nfs_set_autoreconnect(c->nfs, 0);
    nfs_set_timeout(c->nfs, (int)(target->timeout_ns / NS_PER_MS));
    nfs_set_tcp_syncnt(c->nfs, CONN_SYN_COUNT);
    c->open = conn_connect(c, target, deadline_ns, e) == 0;
    if (c->open)
        return c;
    share_conn_close(c);
    return NULL;
}

void share_conn_close(struct share_conn *c)
{
    if (c == NULL)
        return;
    assert(c->base.load == 0);
    conn_lose(c);
    ring_cancel(c->ring, &c->poll);
    ring_cancel(c->ring, &c->tick);
    ring_cancel(c->ring, &c->kick);
    while (ring_busy(&c->poll) || ring_busy(&c->tick) || ring_busy(&c->kick))
        if (ring_turn(c->ring, CONN_TICK_NS) < 0)
            return; /* the ring is broken and may still call: leave it the record */
    free(c);
}

bool share_conn_lost(const struct share_conn *c)
{
    return c->nfs == NULL;
}

/* On an idle connection there is nothing to read, but its end. */
bool share_conn_check(struct share_conn *c)
{
    assert(c->base.load == 0);
    if (c->nfs == NULL)
        return false;
    struct pollfd p = {.fd = conn_fd(c), .events = POLLIN};
    if (poll(&p, 1, 0) != 0)
        conn_lose(c);
    return c->nfs != NULL;
}

int share_conn_fd(const struct share_conn *c)
{
    return conn_fd(c);
}

void share_conn_name(const struct share_conn *c, struct share_progress *named)
{
    named->who = c->progress.who;
    memcpy(named->what, c->progress.what, sizeof named->what);
}

int share_conn_detach(struct share_conn *c)
{
    int fd = fcntl(conn_fd(c), F_DUPFD_CLOEXEC, 0);
    int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags >= 0)
        flags = fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    int saved = errno;
    share_conn_close(c);
    if (fd >= 0 && flags < 0)
        close(fd);
    errno = saved;
    return flags < 0 ? -1 : fd;
}
