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
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "nfs/share_dial.h"
#include "nfs/share_mount.h"
#include "nfs/share_names.h"
#include "nfs/share_wait.h"

#define CONTROL_CONNECT_NS (5 * NS_PER_S)
#define CONTROL_PROBE_NS (1 * NS_PER_S) /* at least, to tell why connecting has failed */
#define CONTROL_TIDY_NS (3 * NS_PER_S)  /* for tidying up, after Ctrl-C, */
#define CONTROL_SILENT_NS \
    (1 * NS_PER_S) /* and where the server has been silent for as long before */
#define CONTROL_PAUSE_MIN_NS (100 * NS_PER_MS)
#define CONTROL_PAUSE_MAX_NS (10 * NS_PER_S)

static int64_t control_earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static bool control_cancelled(const struct share_place *p)
{
    return p->options.cancel != NULL && *p->options.cancel != 0;
}

/* Connects to the port that is given, known, or asked for. */
static struct share_conn *control_connect_at(struct share_place *p, const struct share_address *a,
                                             int program, int64_t deadline_ns, struct err *e)
{
    const struct share_dial d = {.who = p->text,
                                 .host = p->host,
                                 .mapper_port = p->mapper_port,
                                 .cancel = p->options.cancel};
    bool nfs = program == NFS_PROGRAM;
    int given = nfs ? p->url.nfs_port : p->url.mount_port;
    int *known = nfs ? &p->nfs_port : &p->mount_port;
    if (given != 0)
        *known = given;
    if (*known == 0 && share_dial_port(&d, a, program, deadline_ns, known, e) < 0)
        return NULL;
    const struct share_target t = {
        .host = a->text,
        .port = *known,
        .program = program,
        .timeout_ns = p->options.timeout_ns / 2,
        .who = p->text,
        .cancel = p->options.cancel,
    };
    struct share_conn *c = share_conn_open(p->base.ring, &t, deadline_ns, e);
    if (c != NULL || e->class == ERR_CANCELLED)
        return c;
    if (e->class != ERR_TIMEOUT)
        *known = 0; /* a server that was started again may be elsewhere */
    int64_t probe_ns = clock_now_ns() + CONTROL_PROBE_NS;
    struct err why = {0};
    if (share_dial_probe(&d, a, program, t.port, given != 0,
                         probe_ns > deadline_ns ? probe_ns : deadline_ns, &why) < 0)
        *e = why;
    return NULL;
}

/* Each address in turn, with an equal part of the time that is left. */
struct share_conn *share_control_connect(struct share_place *p, int program, int64_t deadline_ns,
                                         struct err *e)
{
    const struct share_dial d = {.who = p->text, .host = p->host};
    struct share_address at[SHARE_ADDRESSES_MAX];
    unsigned n;
    bool tidies = control_cancelled(p);
    if (tidies && p->given_up)
        return err_set(e, ERR_TIMEOUT, 0, "the server does not answer"), NULL;
    if (tidies)
        deadline_ns = control_earlier(deadline_ns, clock_now_ns() + CONTROL_SILENT_NS);
    if (share_dial_resolve(&d, p->url.host, at, &n, e) < 0)
        return NULL;
    for (unsigned i = 0;; i++) {
        int64_t now_ns = clock_now_ns();
        int64_t part_ns = deadline_ns > now_ns ? (deadline_ns - now_ns) / (n - i) : 0;
        struct share_conn *c = control_connect_at(p, &at[i], program, now_ns + part_ns, e);
        p->given_up = p->given_up || (c == NULL && tidies && i + 1 == n);
        if (c != NULL || e->class == ERR_CANCELLED || i + 1 == n)
            return c;
        log_debug("%s: %s: trying the next address", p->text, e->msg);
        err_clear(e);
    }
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

static bool control_unanswered(const struct err *e)
{
    return e->class == ERR_LOST || e->class == ERR_TIMEOUT;
}

static bool control_is_busy(const struct err *e)
{
    return e->class == ERR_NFS && e->sys == EAGAIN;
}

/* There is no time to ask again. A server that is busy has not said no. */
static int control_give_up(int64_t since_ns, struct err *e)
{
    if (!control_is_busy(e))
        return -1;
    err_clear(e);
    return err_set(e, ERR_NFS, EAGAIN, "the server has been busy for %d s (NFS3ERR_JUKEBOX)",
                   (int)((clock_now_ns() - since_ns) / NS_PER_S));
}

static int control_ask(struct share_place *p, share_ask_fn *ask, void *arg, int64_t deadline_ns,
                       struct err *e)
{
    int64_t pause_ns = 0; /* at once, the first time: the connection may just have been idle */
    struct share_try t = {0};
    const int64_t start_ns = clock_now_ns();
    for (;;) {
        struct share_conn *c = control_live(p, deadline_ns, e);
        t.deadline_ns = control_earlier(deadline_ns, clock_now_ns() + p->options.timeout_ns / 2);
        int rc = c != NULL ? ask(p, c, arg, &t, e) : -1;
        if (rc >= 0)
            return rc;
        if (e->class == ERR_NFS && e->sys == ESTALE) {
            if (!control_renew(p, &t, deadline_ns))
                return -1;
        } else if (control_unanswered(e) || control_is_busy(e)) {
            if (control_is_busy(e))
                share_wait_busy(p->text, clock_now_ns() - start_ns);
            if (!control_pause(p, pause_ns, deadline_ns))
                return control_give_up(start_ns, e);
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

int share_control_ask(struct share_place *p, share_ask_fn *ask, void *arg, int64_t patience_ns,
                      struct err *e)
{
    bool tidies = control_cancelled(p);
    int64_t now_ns = clock_now_ns();
    if (tidies && p->given_up)
        return err_set(e, ERR_TIMEOUT, 0, "the server does not answer");
    if (tidies)
        patience_ns = control_earlier(patience_ns, now_ns - p->answered_ns > CONTROL_SILENT_NS
                                                       ? CONTROL_SILENT_NS
                                                       : CONTROL_TIDY_NS);
    int rc = control_ask(p, ask, arg, now_ns + patience_ns, e);
    bool answered = rc >= 0 || !control_unanswered(e);
    if (answered)
        p->answered_ns = clock_now_ns();
    p->given_up = p->given_up || (!answered && control_cancelled(p));
    return rc;
}

void share_control_hint_denied(const struct share_place *p, struct err *e)
{
    if (e->class != ERR_NFS || e->hint != NULL)
        return;
    if (e->sys == EROFS)
        err_hint(e,
                 "the export is read-only for this host, or its file system is: export %s with rw "
                 "(exportfs -v on %s shows it; ganesha: Access_Type = RW)",
                 p->url.path, p->host);
    else if ((e->sys == EACCES || e->sys == EPERM) && geteuid() == 0)
        err_hint(
            e,
            "root is another user there (root_squash, the default, or all_squash): export %s with "
            "no_root_squash, and without all_squash, for this host (ganesha: Squash = "
            "No_Root_Squash), or let everybody write in the directory",
            p->url.path);
    else if (e->sys == EACCES || e->sys == EPERM)
        err_hint(
            e,
            "user %u, group %u may not do that in the directory, or the export makes all users one "
            "(all_squash)",
            (unsigned)geteuid(), (unsigned)getegid());
}
