/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit watch: observes while somebody else migrates a guest.
 *
 * Theory of operation
 *
 * The QEMU is asked every --interval, and what it says by itself makes that come sooner: that it
 * begins, that it has ended. In the pause it is left alone (PAUSE_MAX_NS at most): whoever drives
 * the migration has commands of its own to send then, and a domain's monitor takes one at a time.
 *
 * The end is what QEMU says it is, by an event or when asked. A connection that was lost is no end:
 * it is made again, unless the QEMU is known to have ended. A QEMU that is gone without a word is
 * reported as that, for the guest may be on either side, or on none. So may it be where postcopy was seen,
 * and the migration has not completed: the destination's guest ran before the source's knew the end.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/tune/curve.h"
#include "qmp/virt/watched.h"
#include "tools/cmd/command.h"
#include "tools/cmd/report_watch.h"
#include "tools/cmd/watch_dirty.h"

struct watch_options {
    const char *connect;
    bool wait;
    bool dirty;
    const char *windows;
    int source; /* WATCH_NOT_GIVEN: --dirty chooses */
    uint64_t rounds;
    int64_t timeout_ns;
    int64_t interval_ns;
    bool json;
    const char *metrics;
    bool verbose;
};

#define AT(field) offsetof(struct watch_options, field)

static const struct option_def options[] = {
    {"connect", 'c', OPTION_TEXT, "URI", "of a domain: the source's libvirt (qemu:///system)",
     AT(connect), 0, 0, NULL},
    {"wait", 'w', OPTION_FLAG, NULL, "wait for a migration to begin; without it there must be one",
     AT(wait), 0, 0, NULL},
    {"dirty", 'd', OPTION_FLAG, NULL,
     "measure what the guest dirties, while nobody migrates it, until Ctrl-C", AT(dirty), 0, 0,
     NULL},
    {"windows", 0, OPTION_TEXT, "TIME,TIME,...",
     "with --dirty: how long to count, up to 8 from 50ms to 60s (100ms,300ms,1s,3s; 1s,2s,4s before "
     "QEMU 8.2, which takes whole seconds)",
     AT(windows), 0, 0, NULL},
    {"source", 0, OPTION_CHOICE, "dirty-ring|dirty-bitmap|page-sampling",
     "with --dirty: who counts (the bitmap under KVM, else page sampling)", AT(source), 0, 0,
     &curve_source_names[CURVE_DIRTY_RING]},
    {"rounds", 0, OPTION_COUNT, "N", "with --dirty: end after so many rounds", AT(rounds), 1,
     1000000000, NULL},
    {"timeout", 0, OPTION_DURATION, "TIME", "watch no longer than this, the waiting included",
     AT(timeout_ns), 0, 0, NULL},
    {"interval", 'i', OPTION_DURATION, "TIME",
     "ask QEMU this often, or with --dirty rest so long between rounds (1s); a question takes a domain's monitor for some milliseconds",
     AT(interval_ns), 0, 0, NULL},
    {"metrics", 0, OPTION_TEXT, "FILE",
     "keep the values in FILE, for Prometheus (node_exporter's textfile collector: name it *.prom)",
     AT(metrics), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print one JSON object a line", AT(json), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more, also what goes over QMP", AT(verbose), 0, 0,
     NULL},
    OPTION_END,
};

#define WATCH_INTERVAL_NS NS_PER_S
#define WATCH_INTERVAL_MIN_NS (10 * NS_PER_MS)
#define WATCH_INTERVAL_MAX_NS (3600 * NS_PER_S)
#define WATCH_NOT_GIVEN (-1)

/* What takes longer than this is no pause any more. */
#define PAUSE_MAX_NS (2 * NS_PER_S)

/* A domain's QEMU is asked for its last word when libvirt has had time to let the guest run. */
#define LAST_WORD_DOMAIN_NS (50 * NS_PER_MS)
#define LAST_WORD_MAX_NS (2 * NS_PER_S)

/* A connection that was lost is tried again for so long: libvirtd takes some seconds to start. */
#define RECONNECT_MAX_NS (15 * NS_PER_S)
#define RECONNECT_PAUSE_NS (500 * NS_PER_MS)

struct watch_call {
    struct watch_options opt;
    struct watch_view view;
    struct loop *loop;
    struct watch *watch;
    bool domain;
    bool terminal; /* rows are rewritten in place */
    bool headed;
    int64_t began_ns, next_ns, deadline_ns; /* CLOCK_MONOTONIC; deadline INT64_MAX: none */
    int64_t paused_ns;                      /* 0: not in the pause */
    bool unanswered;                        /* connected again, and not answered since */
    struct watch_sample first;              /* what it said before anything was seen to begin */
    uint64_t
        behind_pass; /* since which pass the guest has dirtied more than was sent; 0: it has not */
    bool metrics_failed;
};

/* ---- what is seen ---- */

static void watch_begin(struct watch_call *c)
{
    if (c->view.begun)
        return;
    c->view.begun = true;
    c->began_ns = clock_now_ns();
    c->view.began_epoch_ns = clock_epoch_ns();
}

static void watch_end(struct watch_call *c, enum watch_end end)
{
    if (c->view.end != WATCH_GOES_ON)
        return;
    c->view.end = end;
    c->view.ended_epoch_ns = clock_epoch_ns();
    c->view.elapsed_ns = c->view.begun ? clock_now_ns() - c->began_ns : 0;
}

static enum watch_end watch_end_of(enum vm_migration m)
{
    return m == VM_MIGRATION_COMPLETED   ? WATCH_COMPLETED
           : m == VM_MIGRATION_FAILED    ? WATCH_FAILED
           : m == VM_MIGRATION_CANCELLED ? WATCH_CANCELLED
                                         : WATCH_GOES_ON;
}

static void watch_on_event(void *arg, const struct watch_event *ev)
{
    static const struct {
        const char *status;
        enum watch_end end;
    } ends[] = {
        {"completed", WATCH_COMPLETED}, {"failed", WATCH_FAILED}, {"cancelled", WATCH_CANCELLED}};
    struct watch_call *c = arg;
    if (ev == NULL)
        return;
    log_debug("event %s %s", ev->name, ev->detail);
    if (strcmp(ev->name, "STOP") == 0)
        c->paused_ns = ev->arrived_ns;
    else if (strcmp(ev->name, "RESUME") == 0)
        c->paused_ns = 0;
    if (strcmp(ev->name, "MIGRATION") != 0)
        return;
    if (strcmp(ev->detail, "setup") == 0) {
        if (!c->view.begun) { /* what was known is of an earlier one */
            c->view.sample = (struct watch_sample){0};
            c->view.postcopy = false;
        }
        watch_begin(c);
        c->next_ns = 0;
    }
    if (strncmp(ev->detail, "postcopy-", 9) == 0)
        c->view.postcopy = true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (strcmp(ev->detail, ends[i].status) != 0)
            continue;
        if (c->view.begun)
            watch_end(c, ends[i].end);
        else
            c->next_ns = 0; /* the answer that tells of it as begun may be on its way */
    }
}

/* An earlier migration's words are not this one's. */
static bool watch_is_news(const struct watch_call *c, const struct watch_sample *s)
{
    return c->view.sampled && (s->vm.migration != c->first.vm.migration ||
                               s->vm.ram_transferred_bytes != c->first.vm.ram_transferred_bytes ||
                               s->total_ns != c->first.total_ns);
}

/* QEMU's bandwidth is that of the last moments, and low where there was little to send: only when
 * the guest has been ahead for a whole pass it counts. */
static void watch_judge(struct watch_call *c, const struct watch_sample *s)
{
    if (!watch_falls_behind(s))
        c->behind_pass = 0;
    else if (c->behind_pass == 0)
        c->behind_pass = s->vm.passes;
    c->view.diverges = c->behind_pass != 0 && s->vm.passes > c->behind_pass;
}

/* `of_this`: it was asked for when this migration had been seen to begin. The event of that may also
 * overtake an answer that is of an earlier one. */
static void watch_take(struct watch_call *c, const struct watch_sample *s, bool of_this)
{
    struct watch_view *v = &c->view;
    bool busy = vm_migration_busy(s->vm.migration), news = watch_is_news(c, s);
    if (busy || (!v->begun && news))
        watch_begin(c);
    if (!v->sampled)
        c->first = *s;
    v->sampled = true;
    if (v->begun && !busy && !news && !of_this)
        return;
    watch_judge(c, s);
    v->postcopy |= s->vm.migration == VM_MIGRATION_POSTCOPY ||
                   s->vm.migration == VM_MIGRATION_PAUSED;
    v->sampled_epoch_ns = clock_epoch_ns();
    v->sample = *s;
    if (!v->begun)
        return;
    if (v->end == WATCH_GOES_ON)
        v->elapsed_ns = clock_now_ns() - c->began_ns;
    if (!busy && watch_end_of(s->vm.migration) != WATCH_GOES_ON)
        watch_end(c, watch_end_of(s->vm.migration));
}

/* ---- what is reported ---- */

static void watch_report_metrics(struct watch_call *c)
{
    struct err e = {0};
    if (c->opt.metrics == NULL || report_watch_metrics(&c->view, c->opt.metrics, &e) == 0)
        return;
    if (!c->metrics_failed)
        log_warn("%s; the watching goes on", e.msg);
    c->metrics_failed = true;
}

static void watch_report_row(struct watch_call *c)
{
    char line[240];
    if (!c->headed)
        report_watch_head(stdout);
    c->headed = true;
    report_watch_row(&c->view, line, sizeof line);
    printf(c->terminal ? "\r%s\033[K" : "%s\n", line);
    fflush(stdout);
}

static void watch_report(struct watch_call *c)
{
    watch_report_metrics(c);
    if (!c->view.begun || c->view.end != WATCH_GOES_ON ||
        c->view.sample.vm.migration == VM_MIGRATION_NONE) /* nothing was said of this one yet */
        return;
    if (c->opt.json)
        report_watch_json(&c->view, STDOUT_FILENO);
    else
        watch_report_row(c);
}

static void watch_report_end(struct watch_call *c)
{
    watch_report_metrics(c);
    if (!c->view.begun)
        return;
    if (c->terminal && c->headed)
        putchar('\n');
    if (c->opt.json)
        report_watch_json(&c->view, STDOUT_FILENO);
    else
        report_watch_summary(&c->view, stdout);
    fflush(stdout);
}

/* ---- the watching ---- */

/* A wait of so long, or up to --timeout. */
static int64_t watch_left_ns(const struct watch_call *c, int64_t most_ns)
{
    int64_t left_ns = c->deadline_ns - clock_now_ns();
    return left_ns < 0 ? 0 : left_ns < most_ns ? left_ns : most_ns;
}

static int watch_connect(struct watch_call *c, int64_t timeout_ns, struct err *e)
{
    const char *target = c->view.target;
    const char *uri = c->opt.connect != NULL ? c->opt.connect : "qemu:///system";
    c->watch = c->domain ? virt_watch_domain(c->loop, uri, target, timeout_ns, watch_on_event, c, e)
                         : watch_open(c->loop, target, timeout_ns, watch_on_event, c, e);
    return c->watch != NULL ? 0 : -1;
}

static int watch_stop(const struct watch_call *c, const char *why, struct err *e)
{
    return err_set(e, ERR_CANCELLED, 0, "the watching %s; %s", why,
                   c->view.unreachable ? "the connection was lost before, and not made again"
                   : c->view.begun     ? "the migration goes on"
                                       : "no migration has begun");
}

/* That nobody listens on a unix socket any more; or libvirt's own word. A network that is down, a
 * libvirtd that starts again, or another client in the socket are no end. */
static bool watch_proves_end(const struct watch_call *c, const struct err *why)
{
    if (c->domain)
        return why->class == ERR_REFUSED || (why->class == ERR_LOST && why->sys == ENOENT);
    return strncmp(c->view.target, "qmp+unix:", 9) == 0 &&
           (why->sys == ECONNREFUSED || why->sys == ENOENT);
}

static int watch_give_up(struct watch_call *c, bool ended, struct err *e)
{
    c->view.unreachable = !ended;
    if (!c->view.begun)
        return err_set(e, ERR_UNCERTAIN, 0, "%s %s, and no migration was seen", c->view.target,
                       ended ? "has ended" : "cannot be reached any more");
    watch_end(c, WATCH_LOST);
    return 0;
}

/* Between two tries. */
static int watch_rest(struct watch_call *c, struct err *e)
{
    const bool never = false;
    struct err why = {0};
    int64_t until_ns = clock_now_ns() + watch_left_ns(c, RECONNECT_PAUSE_NS);
    if (loop_spin(c->loop, &never, until_ns, true, &why) < 0 && why.class == ERR_CANCELLED)
        return watch_stop(c, "was interrupted", e);
    return 0;
}

/* The connection was lost; the QEMU may live. */
static int watch_connect_again(struct watch_call *c, struct err *e)
{
    int64_t give_up_ns = clock_now_ns() + RECONNECT_MAX_NS;
    watch_close(c->watch);
    c->watch = NULL;
    c->next_ns = c->paused_ns = 0;             /* what was said meanwhile is not known */
    if (c->unanswered && watch_rest(c, e) < 0) /* it accepts, and closes */
        return -1;
    c->unanswered = true;
    while (c->view.end == WATCH_GOES_ON) {
        struct err why = {0};
        if (watch_connect(c, watch_left_ns(c, WATCH_OPEN_TIMEOUT_NS), &why) == 0) {
            log_warn("the connection to %s was lost, and made again", c->view.target);
            c->view.unreachable = false;
            return 0;
        }
        bool ended = watch_proves_end(c, &why);
        if (ended || c->view.unreachable || why.class == ERR_CANCELLED)
            log_debug("%s", why.msg);
        else
            log_warn("the connection was lost, and is tried again: %s", why.msg);
        c->view.unreachable = true;
        if (why.class == ERR_CANCELLED)
            return watch_stop(c, "was interrupted", e);
        int64_t now_ns = clock_now_ns();
        if (!ended && now_ns >= c->deadline_ns)
            return watch_stop(c, "has reached its --timeout", e);
        if (ended || now_ns >= give_up_ns)
            return watch_give_up(c, ended, e);
        if (watch_rest(c, e) < 0)
            return -1;
    }
    return 0;
}

static int watch_look(struct watch_call *c, struct err *e)
{
    struct watch_sample s;
    struct err why = {0};
    bool of_this = c->view.begun;
    if (watch_sample(c->watch, watch_left_ns(c, WATCH_ASK_TIMEOUT_NS), &s, &why) == 0) {
        c->unanswered = false;
        watch_take(c, &s, of_this);
        return 0;
    }
    if (why.class == ERR_LOST || watch_lost(c->watch))
        return 0; /* the loop sees to it */
    if (why.class == ERR_TIMEOUT || why.class == ERR_QMP) {
        log_debug("%s", why.msg);
        return 0;
    }
    *e = why;
    return -1;
}

static bool watch_has_last_word(const struct watch_call *c)
{
    return watch_end_of(c->view.sample.vm.migration) != WATCH_GOES_ON;
}

/* libvirt has its numbers when it has tidied up after the migration. */
static void watch_ask_libvirt(struct watch_call *c)
{
    for (int64_t ns = 0; ns < LAST_WORD_MAX_NS; ns += LAST_WORD_DOMAIN_NS) {
        struct err none = {0};
        if (watch_completed(c->watch, &c->view.sample, &none) == 0) {
            c->view.counted_by = "libvirt";
            return;
        }
        log_debug("%s", none.msg);
        loop_sleep(c->loop, LAST_WORD_DOMAIN_NS);
    }
}

/* Where the end was reported by an event the numbers are still those of before. */
static void watch_last_word(struct watch_call *c)
{
    struct err none = {0};
    if (c->watch == NULL)
        return;
    if (c->domain && !watch_has_last_word(c))
        loop_sleep(c->loop, LAST_WORD_DOMAIN_NS);
    if (!watch_has_last_word(c) && !watch_lost(c->watch) && watch_look(c, &none) < 0)
        log_debug("%s", none.msg);
    if (c->view.end != WATCH_COMPLETED)
        return;
    if (watch_has_last_word(c))
        c->view.counted_by = "QEMU";
    else if (c->domain)
        watch_ask_libvirt(c);
}

static bool watch_in_pause(struct watch_call *c, int64_t now_ns)
{
    if (c->paused_ns != 0 && now_ns - c->paused_ns > PAUSE_MAX_NS)
        c->paused_ns = 0;
    return c->paused_ns != 0 && c->view.begun;
}

static int watch_no_migration(const struct watch_call *c, struct err *e)
{
    const char *earlier = watch_state_name(c->view.sample.vm.migration);
    if (c->view.sample.vm.migration == VM_MIGRATION_NONE)
        err_set(e, ERR_REFUSED, 0, "%s: no migration is under way", c->view.target);
    else
        err_set(e, ERR_REFUSED, 0, "%s: no migration is under way; the last one: %s",
                c->view.target, earlier);
    return err_hint(e, "--wait waits for one to begin");
}

static int watch_do(struct watch_call *c, struct err *e)
{
    while (c->view.end == WATCH_GOES_ON) {
        int64_t now_ns = clock_now_ns();
        if (loop_interrupts(c->loop) > 0)
            return watch_stop(c, "was interrupted", e);
        if (now_ns >= c->deadline_ns)
            return watch_stop(c, "has reached its --timeout", e);
        if (watch_lost(c->watch) && watch_connect_again(c, e) < 0)
            return -1;
        if (c->view.end == WATCH_GOES_ON && now_ns >= c->next_ns && !watch_in_pause(c, now_ns)) {
            /* before the question: what comes after it is not in the answer, and may ask anew */
            c->next_ns = now_ns + c->opt.interval_ns;
            if (watch_look(c, e) < 0)
                return -1;
            if (!c->view.begun && !c->opt.wait && c->view.sampled)
                return watch_no_migration(c, e);
            watch_report(c);
        }
        int64_t until_ns = c->next_ns < c->deadline_ns ? c->next_ns : c->deadline_ns;
        now_ns = clock_now_ns();
        if (watch_in_pause(c, now_ns) && until_ns < now_ns)
            until_ns = now_ns + WATCH_INTERVAL_MIN_NS;
        if (c->view.end == WATCH_GOES_ON && !watch_lost(c->watch))
            loop_turn(c->loop, until_ns > now_ns ? until_ns - now_ns : 0);
    }
    watch_last_word(c);
    return 0;
}

static int watch_check(struct watch_call *c, struct err *e)
{
    const struct watch_options *o = &c->opt;
    c->domain = strncmp(c->view.target, "qmp+", 4) != 0;
    if (!c->domain && o->connect != NULL)
        return err_set(e, ERR_USAGE, 0, "--connect is for libvirt domains, and '%s' is a bare QEMU",
                       c->view.target);
    if (o->timeout_ns == 0)
        return err_set(e, ERR_USAGE, 0, "--timeout: must be above 0; without it there is none");
    if (o->interval_ns < WATCH_INTERVAL_MIN_NS || o->interval_ns > WATCH_INTERVAL_MAX_NS)
        return err_set(e, ERR_USAGE, 0, "--interval: must be from 10ms to 1h");
    if (o->metrics != NULL && o->metrics[0] == '\0')
        return err_set(e, ERR_USAGE, 0, "--metrics: needs the name of a file");
    if (o->dirty && o->wait)
        return err_set(e, ERR_USAGE, 0,
                       "--wait is for a migration, and --dirty watches a guest that has none");
    if (!o->dirty && (o->windows != NULL || o->source != WATCH_NOT_GIVEN || o->rounds > 0))
        return err_set(e, ERR_USAGE, 0, "%s goes with --dirty only",
                       o->windows != NULL             ? "--windows"
                       : o->source != WATCH_NOT_GIVEN ? "--source"
                                                      : "--rounds");
    return 0;
}

static int watch_dirty_main(const struct watch_call *c)
{
    const struct watch_options *o = &c->opt;
    const struct watch_dirty_options opt = {.target = c->view.target,
                                            .connect = o->connect,
                                            .windows = o->windows,
                                            .source = o->source,
                                            .rounds = o->rounds,
                                            .timeout_ns = o->timeout_ns,
                                            .interval_ns = o->interval_ns,
                                            .json = o->json,
                                            .metrics = o->metrics};
    return watch_dirty_run(&opt);
}

static int watch_open_all(struct watch_call *c, struct err *e)
{
    c->loop = loop_new(e);
    if (c->loop == NULL || loop_catch_signals(c->loop, e) < 0 ||
        watch_connect(c, WATCH_OPEN_TIMEOUT_NS, e) < 0)
        return -1;
    if (c->opt.metrics != NULL && report_watch_metrics(&c->view, c->opt.metrics, e) < 0) {
        e->class = ERR_REFUSED; /* better now than when it is missed */
        return -1;
    }
    c->deadline_ns = c->opt.timeout_ns > 0 ? clock_now_ns() + c->opt.timeout_ns : INT64_MAX;
    return 0;
}

static int watch_fail_postcopy(const struct watch_call *c, struct err *e)
{
    err_clear(e);
    err_set(e, ERR_UNCERTAIN, 0, "%s: the migration %s after postcopy had begun", c->view.target,
            c->view.end == WATCH_FAILED ? "has failed" : "was cancelled");
    err_hint(e,
             "look at both sides, which of them runs the guest (virsh domstate, or query-status) "
             "before anything is started or ended");
    return command_fail(e);
}

/* The exit codes of the man page: where the guest is, as far as this QEMU tells. */
static int watch_exit(const struct watch_call *c, struct err *e)
{
    switch (c->view.end) {
    case WATCH_COMPLETED: return EXIT_DONE;
    case WATCH_FAILED:
    case WATCH_CANCELLED: return c->view.postcopy ? watch_fail_postcopy(c, e) : EXIT_FAILED;
    case WATCH_LOST:
        err_clear(e);
        err_set(e, ERR_UNCERTAIN, 0, "%s %s, and did not say how its migration went",
                c->view.target, c->view.unreachable ? "cannot be reached any more" : "has ended");
        err_hint(e, "look whether the guest runs on the destination before anything is started");
        return command_fail(e);
    case WATCH_GOES_ON: break;
    }
    /* nothing was watched: nothing can be said of where the guest is; nor if it goes on unwatched */
    if (e->class != ERR_CANCELLED && e->class != ERR_UNCERTAIN) {
        e->class = c->view.begun ? ERR_UNCERTAIN : ERR_REFUSED;
        if (c->view.begun)
            err_hint(e, "the migration may go on: ask whoever drives it, or 'godwit watch' again");
    }
    return command_fail(e);
}

static int watch_main(const struct command *self, int argc, char **argv)
{
    struct watch_call c = {.opt = {.timeout_ns = WATCH_NOT_GIVEN,
                                   .source = WATCH_NOT_GIVEN,
                                   .interval_ns = WATCH_INTERVAL_NS}};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c.opt, argc, argv, 1, 1, &code);
    if (first < 0)
        return code;
    command_log_level(c.opt.verbose ? LOG_DEBUG : LOG_WARN);
    signal(SIGPIPE, SIG_IGN);
    c.view.target = argv[first];
    c.terminal = !c.opt.json && !c.opt.verbose && isatty(STDOUT_FILENO);

    if (watch_check(&c, &e) < 0)
        return command_fail(&e);
    if (c.opt.dirty)
        return watch_dirty_main(&c);
    if (watch_open_all(&c, &e) == 0) {
        (void)watch_do(&c, &e);
        watch_report_end(&c);
    }
    code = watch_exit(&c, &e);
    watch_close(c.watch);
    loop_free(c.loop);
    return code;
}

const struct command command_watch = {
    .name = "watch",
    .operands = "DOMAIN|QEMU",
    .summary = "Observe while somebody else migrates a guest, or what a guest dirties",
    .details =
        "DOMAIN is a libvirt domain on the source, by name or UUID; QEMU is qmp+unix:/path,\n"
        "qmp+tcp:HOST:PORT or qmp+ssh://[user@]HOST/path, a monitor that nobody else is\n"
        "connected to. Nothing is set and nothing is stopped; Ctrl-C ends the watching only.\n"
        "Exit code: 0 the migration has completed, 1 it has failed or was cancelled and the\n"
        "guest is on the source, 2 there was none to watch, 3 the watching ended first\n"
        "(Ctrl-C, --timeout), 4 look at both sides, where the guest runs: QEMU ended or was lost\n"
        "without a word of how it went, or it has failed or was cancelled in postcopy.\n"
        "With --dirty: 0 it ended as asked (Ctrl-C, --timeout, --rounds), 1 it has failed, 2 the\n"
        "guest does not run, is being migrated, or has not what was named, 3 interrupted before\n"
        "anything was measured. With a dirty ring it tells the rates of vCPUs.\n",
    .options = options,
    .run = watch_main,
};
