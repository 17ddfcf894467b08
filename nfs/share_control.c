/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * All connections go to the same two ports and are alike; a file handle is good on each. READ,
 * WRITE and COMMIT have a connection of their own (share_data), and so has the mount protocol, for
 * a moment. What blocks goes over the control connection. That one is idle while a file is copied,
 * and servers close what is idle; so it is looked at before each use, and opened anew if need be.
 *
 * A request whose answer got lost may have been done or not. That is for the one who asks: most can
 * be asked twice, and CREATE, RENAME and REMOVE know what to make of "exists" and "not found".
 */
#include "nfs/share_control.h"

#include <errno.h>
#include <poll.h>

#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_mount.h"
#include "nfs/share_names.h"

#define CONTROL_CONNECT_NS (5 * NS_PER_S)
#define CONTROL_CANCELLED_NS (8 * NS_PER_S) /* for tidying up, after Ctrl-C */
#define CONTROL_PAUSE_MIN_NS (100 * NS_PER_MS)
#define CONTROL_PAUSE_MAX_NS (10 * NS_PER_S)

struct share_conn *share_control_connect(struct share_place *p, int program, int64_t deadline_ns,
                                         struct err *e)
{
    const struct share_target t = {
        .host = p->url.host,
        .port = program == NFS_PROGRAM ? p->url.nfs_port : p->url.mount_port,
        .program = program,
        .timeout_ns = p->options.timeout_ns / 2,
    };
    return share_conn_open(p->base.ring, &t, deadline_ns, e);
}

static int64_t control_earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* The control connection, alive. NULL: there is no server any more. */
static struct share_conn *control_live(struct share_place *p, int64_t deadline_ns, struct err *e)
{
    if (p->control != NULL && share_conn_check(p->control))
        return p->control;
    deadline_ns = control_earlier(deadline_ns, clock_now_ns() + CONTROL_CONNECT_NS);
    struct share_conn *c = share_control_connect(p, NFS_PROGRAM, deadline_ns, e);
    if (c == NULL)
        return NULL;
    share_conn_close(p->control);
    p->control = c;
    return c;
}

static bool control_cancelled(const struct share_place *p)
{
    return p->options.cancel != NULL && *p->options.cancel != 0;
}

/* false: there is no time for that. */
static bool control_pause(const struct share_place *p, int64_t pause_ns, int64_t deadline_ns)
{
    int64_t until_ns = clock_now_ns() + pause_ns;
    if (until_ns > deadline_ns)
        return false;
    while (clock_now_ns() < until_ns && !control_cancelled(p))
        poll(NULL, 0, 20);
    return !control_cancelled(p);
}

static bool control_renew(struct share_place *p, struct share_try *t, int64_t deadline_ns)
{
    share_names_forget(p);
    if (++t->stale == 1)
        return true;
    struct err e = {0};
    if (t->stale > 2 || share_mount_find(p, deadline_ns, &e) < 0)
        return false;
    log_debug("%s: mounted again, its handle was stale", p->text);
    return true;
}

int share_control_ask(struct share_place *p, share_ask_fn *ask, void *arg, int64_t patience_ns,
                      struct err *e)
{
    if (control_cancelled(p))
        patience_ns = control_earlier(patience_ns, CONTROL_CANCELLED_NS);
    int64_t deadline_ns = clock_now_ns() + patience_ns;
    int64_t pause_ns = 0; /* at once, the first time: the connection may just have been idle */
    struct share_try t = {0};
    for (;;) {
        struct share_conn *c = control_live(p, deadline_ns, e);
        t.deadline_ns =
            control_earlier(deadline_ns, clock_now_ns() + p->options.timeout_ns / 2);
        int rc = c != NULL ? ask(p, c, arg, &t, e) : -1;
        if (rc >= 0)
            return rc;
        if (e->class == ERR_NFS && e->sys == ESTALE) {
            if (!control_renew(p, &t, deadline_ns))
                return -1;
        } else if (e->class == ERR_LOST || e->class == ERR_TIMEOUT ||
                   (e->class == ERR_NFS && e->sys == EAGAIN)) {
            if (!control_pause(p, pause_ns, deadline_ns))
                return -1;
            pause_ns = control_earlier(2 * pause_ns, CONTROL_PAUSE_MAX_NS);
            if (pause_ns == 0)
                pause_ns = CONTROL_PAUSE_MIN_NS;
        } else {
            return -1;
        }
        log_debug("%s: %s: asking again", p->text, e->msg);
        err_clear(e);
    }
}
