/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Rounds: each measures all windows anew, is told, and adds to the curve of all rounds. A guest that is stopped
 * or migrated for a while has no rounds meanwhile; in the first round that is a refusal, for then there is
 * nothing to watch. What is not measured is told once, not in each round.
 *
 * A VM with a dirty ring that has written nothing any more since its ring was read may have been stopped by
 * that (qmp/dirty.h): it is said, and the ring is left alone from then on.
 */
#include "tools/cmd/watch_dirty.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/units.h"
#include "qmp/virt/watched.h"
#include "tools/cmd/command.h"
#include "tools/cmd/report_dirty.h"

struct dirty_call {
    const struct watch_dirty_options *opt;
    struct loop *loop;
    struct watch *watch;
    struct dirty_options measure;
    struct dirty_qemu qemu;
    struct dirty_view view;
    int64_t began_ns, deadline_ns; /* CLOCK_MONOTONIC; INT64_MAX: none */
    size_t headed;                 /* with so many windows; 0: not yet */
    enum curve_source headed_as;
    int idle_sys; /* why the last round was none, for it is told once */
    bool vcpus_wrote, metrics_failed;
};

static int dirty_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int dirty_parse_windows(const char *text, struct dirty_options *o, struct err *e)
{
    CLEANUP_FREE char *copy = strdup(text);
    char *rest = copy, *word;
    if (copy == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for --windows");
    while ((word = strsep(&rest, ",")) != NULL) {
        int64_t ns;
        if (o->windows == CURVE_POINTS_MAX)
            return err_set(e, ERR_USAGE, 0, "--windows: at most %d", CURVE_POINTS_MAX);
        if (units_parse_duration(word, &ns, e) < 0)
            return err_wrap(e, "--windows");
        if (ns < DIRTY_WINDOW_MIN_NS || ns > DIRTY_WINDOW_MAX_NS || ns % NS_PER_MS != 0)
            return err_set(e, ERR_USAGE, 0, "--windows: '%s' is not from 50ms to 60s, in whole ms",
                           word);
        o->windows_ns[o->windows++] = ns;
    }
    qsort(o->windows_ns, o->windows, sizeof *o->windows_ns, dirty_compare);
    for (size_t i = 1; i < o->windows; i++)
        if (o->windows_ns[i] == o->windows_ns[i - 1])
            return err_set(e, ERR_USAGE, 0, "--windows: one of '%s' is there twice", text);
    return 0;
}

static int dirty_check(struct dirty_call *c, struct err *e)
{
    const struct watch_dirty_options *o = c->opt;
    c->measure.vcpus = true;
    if (o->source >= 0)
        c->measure.source = CURVE_DIRTY_RING + (enum curve_source)o->source;
    return o->windows != NULL ? dirty_parse_windows(o->windows, &c->measure, e) : 0;
}

static int dirty_open(struct dirty_call *c, struct err *e)
{
    const char *target = c->opt->target;
    bool domain = strncmp(target, "qmp+", 4) != 0;
    const char *uri = c->opt->connect != NULL ? c->opt->connect : "qemu:///system";
    c->loop = loop_new(e);
    if (c->loop == NULL || loop_catch_signals(c->loop, e) < 0)
        return -1;
    c->watch = domain
                   ? virt_watch_domain(c->loop, uri, target, WATCH_OPEN_TIMEOUT_NS, NULL, NULL, e)
                   : watch_open(c->loop, target, WATCH_OPEN_TIMEOUT_NS, NULL, NULL, e);
    if (c->watch == NULL) {
        if (e->class != ERR_CANCELLED)
            e->class = ERR_REFUSED; /* nothing was touched */
        return -1;
    }
    if (c->opt->metrics != NULL && report_dirty_metrics(&c->view, c->opt->metrics, e) < 0) {
        e->class = ERR_REFUSED; /* better now than when it is missed */
        return -1;
    }
    c->began_ns = clock_now_ns();
    c->deadline_ns = c->opt->timeout_ns > 0 ? c->began_ns + c->opt->timeout_ns : INT64_MAX;
    return 0;
}

/* ---- what is told ---- */

static void dirty_tell_metrics(struct dirty_call *c)
{
    struct err e = {0};
    if (c->opt->metrics == NULL || report_dirty_metrics(&c->view, c->opt->metrics, &e) == 0)
        return;
    if (!c->metrics_failed)
        log_warn("%s; the watching goes on", e.msg);
    c->metrics_failed = true;
}

static void dirty_tell(struct dirty_call *c)
{
    const struct curve *now = &c->view.now.curve;
    dirty_tell_metrics(c);
    if (c->opt->json) {
        report_dirty_json(&c->view, STDOUT_FILENO);
        return;
    }
    if (c->headed != now->n || c->headed_as != now->source)
        report_dirty_head(&c->view, stdout);
    c->headed = now->n;
    c->headed_as = now->source;
    report_dirty_row(&c->view, stdout);
    fflush(stdout);
}

static void dirty_tell_end(struct dirty_call *c, const char *end)
{
    if (c->view.rounds == 0)
        return;
    c->view.end = end;
    c->view.elapsed_ns = clock_now_ns() - c->began_ns;
    if (c->opt->json)
        report_dirty_json(&c->view, STDOUT_FILENO);
    else
        report_dirty_summary(&c->view, stdout);
    fflush(stdout);
}

/* ---- the rounds ---- */

static void dirty_judge_ring(struct dirty_call *c)
{
    const struct dirty_result *r = &c->view.now;
    double sum = 0;
    for (size_t i = 0; i < r->vcpus; i++)
        sum += r->vcpu[i].bytes_per_s.low;
    if (r->vcpus > 0 && sum == 0 && curve_working_set(&r->curve) == 0 && c->vcpus_wrote) {
        log_warn(
            "%s has written nothing since its dirty ring was read: if this host's KVM does not "
            "empty it, the guest stands still, and will in a migration; the ring is not "
            "read any more",
            c->opt->target);
        c->measure.vcpus = false;
    }
    c->vcpus_wrote |= sum > 0;
}

static void dirty_take(struct dirty_call *c)
{
    struct dirty_view *v = &c->view;
    const struct curve *now = &v->now.curve;
    v->rounds++;
    v->epoch_ns = clock_epoch_ns();
    v->elapsed_ns = clock_now_ns() - c->began_ns;
    v->all.source = now->source;
    v->all.ram_bytes = now->ram_bytes;
    for (size_t i = 0; i < now->n; i++)
        (void)curve_add(&v->all, now->at[i].window_ns, now->at[i].bytes);
    dirty_judge_ring(c);
    c->idle_sys = 0;
    dirty_tell(c);
}

/* A round that came to nothing for a reason that passes. */
static bool dirty_goes_on(struct dirty_call *c, struct err *e)
{
    bool passes = (e->class == ERR_REFUSED && (e->sys == EAGAIN || e->sys == EBUSY)) ||
                  e->class == ERR_TIMEOUT;
    int sys = e->class == ERR_TIMEOUT ? ETIMEDOUT : e->sys;
    if (c->view.rounds == 0 || !passes)
        return false;
    if (c->idle_sys != sys)
        log_warn("%s: %s; it is tried again", c->opt->target, e->msg);
    c->idle_sys = sys;
    err_clear(e);
    return true;
}

static int dirty_rest(struct dirty_call *c, struct err *e)
{
    const bool never = false;
    struct err why = {0};
    int64_t until_ns = clock_now_ns() + c->opt->interval_ns;
    if (until_ns > c->deadline_ns)
        until_ns = c->deadline_ns;
    (void)loop_spin(c->loop, &never, until_ns, true, &why);
    if (why.class == ERR_TIMEOUT)
        return 0;
    *e = why;
    return -1;
}

/* 0: it was ended as asked, by *end. */
static int dirty_rounds(struct dirty_call *c, const char **end, struct err *e)
{
    for (;;) {
        int64_t left_ns = c->deadline_ns - clock_now_ns();
        *end = "timeout";
        if (left_ns <= 0)
            return 0;
        c->measure.budget_ns = c->deadline_ns == INT64_MAX ? 0 : left_ns;
        if (watch_dirty(c->watch, &c->measure, &c->qemu, &c->view.now, e) == 0)
            dirty_take(c);
        else if (!dirty_goes_on(c, e))
            return -1;
        *end = "rounds";
        if (c->opt->rounds > 0 && c->view.rounds >= c->opt->rounds)
            return 0;
        if (dirty_rest(c, e) < 0)
            return -1;
    }
}

static int dirty_exit(struct dirty_call *c, struct err *e)
{
    if (e->class == ERR_NONE)
        return c->view.rounds > 0 ? EXIT_DONE : EXIT_CANCELLED;
    if (e->class == ERR_CANCELLED && c->view.rounds > 0)
        return EXIT_DONE;
    if (e->class == ERR_CANCELLED) {
        err_clear(e);
        err_set(e, ERR_CANCELLED, 0, "the watching was interrupted before anything was measured");
    }
    return command_fail(e);
}

int watch_dirty_run(const struct watch_dirty_options *opt)
{
    struct dirty_call c = {.opt = opt, .view.target = opt->target};
    struct err e = {0};
    const char *end = "failed";
    signal(SIGPIPE, SIG_IGN);
    if (dirty_check(&c, &e) == 0 && dirty_open(&c, &e) == 0) {
        if (dirty_rounds(&c, &end, &e) < 0)
            end = e.class == ERR_CANCELLED ? "interrupted" : "failed";
        dirty_tell_end(&c, end);
    }
    int code = dirty_exit(&c, &e);
    watch_close(c.watch);
    loop_free(c.loop);
    return code;
}
