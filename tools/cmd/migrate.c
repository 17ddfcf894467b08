/* SPDX-License-Identifier: Apache-2.0 */
/* godwit migrate SRC DST: one live migration, of a libvirt domain or between two bare QEMUs. */
#include <limits.h>

#include "bench/observe/observer.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/migrate/migrate.h"
#include "qmp/dirty.h"
#include "qmp/virt/address.h"
#include "qmp/virt/route.h"
#include "qmp/vm_qmp.h"
#include "tools/cmd/command.h"
#include "tools/cmd/migrate_costs.h"
#include "tools/cmd/migrate_request.h"
#include "tools/cmd/migrate_sides.h"
#include "tools/cmd/migrate_trace.h"
#include "tools/cmd/report_migrate.h"

struct migrate_run {
    struct migrate_request request;
    struct migrate_sides sides;
    struct observer *observer;
    struct observer_result seen[OPTION_LIST_MAX];
    size_t seen_n;
    int64_t silence_ns; /* of the switchover, as they saw it; -1: they did not, or there are none */
    bool silent;        /* still, when the observers were stopped */
    struct progress progress;
    struct migrate_rates rates;
    struct dirty_result dirty; /* before it begins; where it may be throttled */
    struct throttle_vcpu vcpu[THROTTLE_VCPUS_MAX];
    struct migrate_report report;
    struct migrate_trace trace;
    struct err
        definition; /* the guest has moved; set: what was to become of its definition has not */
};

static int migrate_open(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->request.opt;
    if (migrate_sides_open(&r->sides, &r->request, e) < 0)
        return -1;
    if (o->observe.n > 0) {
        r->observer = observer_open(o->observe.at, o->observe.n, e);
        if (r->observer == NULL)
            return err_wrap(e, "--observe");
        loop_sleep(r->sides.loop, NS_PER_S); /* how it is while nothing happens */
        observer_mark(r->observer);
    }
    return 0;
}

static void migrate_progress(void *arg, const struct migrate_progress *p)
{
    struct migrate_run *r = arg;
    if (p->decision == NULL && p->notice == NULL)
        migrate_rates_follow(&r->rates, p);
    report_migrate_progress(&r->progress, p);
}

/* What it has cost helps to predict the next one, and nothing more: no home to write to is no fault. One that did
 * not converge has shown what the link carries. */
static void migrate_learn(const struct migrate_run *r)
{
    char path[PATH_MAX];
    struct err e = {0};
    struct costs_key key;
    struct costs_case seen = migrate_costs_case(&r->report, &r->request.settings, &r->rates,
                                                r->sides.destination->seen.resumed_ns,
                                                r->silent ? -1 : r->silence_ns);
    migrate_costs_key(&r->request, migrate_sides_route(&r->sides, &r->request), &r->report.source,
                      &r->report.destination, &key);
    if (costs_path(path, sizeof path, &e) < 0 || costs_learn(path, &key, &seen, &e) < 0)
        log_info("what this migration has cost is not kept: %s", e.msg);
}

#define MIGRATE_MEASURE_NS (3500 * NS_PER_MS)

/* A question to a domain's QEMU takes its job for some milliseconds. */
#define MIGRATE_NEAR_DOMAIN_NS (20 * NS_PER_MS)

/* A pause costs as much as nine of ten have cost at most, and a link carries as much as in nine of ten at least. */
static void migrate_look_up(void *arg, const struct vm_facts *source,
                            const struct vm_facts *destination, struct migrate_known *known)
{
    struct migrate_run *r = arg;
    CLEANUP_COSTS struct costs *c = costs_new();
    char path[PATH_MAX];
    struct err ignored = {0}; /* then it is what was shipped */
    struct costs_key key;
    struct costs_found found;
    if (c != NULL && costs_path(path, sizeof path, &ignored) == 0)
        costs_read(c, path, &ignored);
    migrate_costs_key(&r->request, migrate_sides_route(&r->sides, &r->request), source, destination,
                      &key);
    costs_find(c, &key, &found);
    r->trace.record.inputs.found = found;
    if (r->request.opt.observe.n > 0) /* what is promised is about what observers see */
        found.costs.pause_ns = estimate_add(found.costs.pause_ns, found.warm_up_ns);
    known->pause_cost_ns = (int64_t)found.costs.pause_ns.high;
    known->link_bytes_per_s = found.link_cases > 0 ? found.bytes_per_s.low : 0;
}

/* What the guest dirties, for a throttle that is no stronger than it must be. It takes 1.4 s, which a
 * promised time has in it; a guest that cannot be measured is judged by its passes. */
static int migrate_measure(struct migrate_run *r, struct control_plan *control, struct err *e)
{
    const struct dirty_options options = {
        .windows_ns = {100 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_S},
        .windows = 3,
        .budget_ns = MIGRATE_MEASURE_NS,
        .vcpus = true,
    };
    struct dirty_qemu qemu = {.known = false};
    struct err none = {0};
    struct qmp_client *c = vm_qmp_client((struct vm_qmp *)r->sides.source, &none);
    int64_t began_ns = clock_now_ns(), *most_ns = &control->promise.max_time_ns;
    if ((control->promise.allow & PROMISE_THROTTLE) == 0)
        return 0;
    if (c == NULL || dirty_measure(r->sides.loop, c, &options, &qemu, &r->dirty, &none) < 0) {
        if (none.class == ERR_CANCELLED)
            return err_set(e, ERR_CANCELLED, 0, "cancelled");
        log_info("what the guest dirties is not measured before: %s", none.msg);
        return 0;
    }
    if (r->dirty.curve.n > 0)
        control->curve = &r->dirty.curve;
    for (size_t i = 0; i < r->dirty.vcpus && i < THROTTLE_VCPUS_MAX; i++)
        r->vcpu[i] = (struct throttle_vcpu){.id = r->dirty.vcpu[i].id,
                                            .bytes_per_s = r->dirty.vcpu[i].bytes_per_s.likely};
    control->vcpu = r->vcpu;
    control->vcpus = r->dirty.vcpus;
    if (*most_ns > clock_now_ns() - began_ns)
        *most_ns -= clock_now_ns() - began_ns;
    return 0;
}

static int migrate_run_once(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->request.opt;
    bool domain = r->sides.route != NULL;
    struct control_plan control = r->request.control;
    if (migrate_measure(r, &control, e) < 0)
        return -1;
    r->progress.explain = o->explain;
    const struct migrate_plan plan = {
        .source = r->sides.source,
        .destination = r->sides.destination,
        .settings = r->request.settings,
        .via = o->via,
        .control = &control,
        .look_up = migrate_look_up,
        .look_up_arg = r,
        .trace = o->trace != NULL ? &r->trace.record : NULL,
        .near_tick_ns = domain ? MIGRATE_NEAR_DOMAIN_NS : 0,
        .timeout_ns = o->timeout_ns > 0 && control.timeout_ns == 0 ? o->timeout_ns : 0,
        .quit_source = o->quit_source || domain,
        .quit_destination = domain,
        .progress = migrate_progress,
        .progress_arg = r,
    };
    return migrate_run(&plan, &r->report, e);
}

/* True if it is worth another try: the direct route was refused, with nothing done, and the native
 * one is to be taken. */
static bool migrate_fall_back(struct migrate_run *r, struct err *e)
{
    struct err unable = {0};
    if (r->sides.route == NULL || r->report.guest != MIGRATE_GUEST_SOURCE || !r->report.touched ||
        !virt_route_fall_back(r->sides.route, e, &unable))
        return false;
    log_warn("%s; taking the native route", e->msg);
    err_clear(e);
    r->sides.source = r->sides.route->source;
    r->sides.destination = r->sides.route->destination;
    return true;
}

static struct report_observed migrate_observed(const struct migrate_run *r)
{
    struct report_observed observed = {r->seen, r->seen_n, r->report.started_ns, {-1, -1}};
    if (r->sides.source == NULL || r->sides.destination == NULL)
        return observed;
    int64_t stopped_ns = r->sides.source->seen.stopped_ns;
    int64_t resumed_ns = r->sides.destination->seen.resumed_ns;
    if (stopped_ns > 0)
        observed.pause.stopped_ns = stopped_ns;
    if (resumed_ns >= stopped_ns && resumed_ns > 0)
        observed.pause.resumed_ns = resumed_ns;
    return observed;
}

/* The first signs of life on the other side, and some more; then what it was like from outside, which is what
 * is promised about where it is looked at. */
static void migrate_stop_observing(struct migrate_run *r)
{
    loop_sleep(r->sides.loop, NS_PER_S);
    r->seen_n = observer_stop(r->observer, r->seen, OPTION_LIST_MAX);
    r->observer = NULL;
    struct observer_pause pause = migrate_observed(r).pause;
    observer_find_pause(r->seen, r->seen_n, &pause);
    if (r->report.guest != MIGRATE_GUEST_DESTINATION)
        return;
    r->silence_ns = observer_switchover_ns(r->seen, r->seen_n, &pause, &r->silent);
    if (r->request.control.promise.max_downtime_ns > 0)
        promise_judge_silence(&r->report.pause, r->request.control.promise.max_downtime_ns,
                              r->silence_ns, r->silent);
}

static int migrate_do(struct migrate_run *r, struct err *e)
{
    int rc = migrate_run_once(r, e);
    if (rc < 0 && migrate_fall_back(r, e))
        rc = migrate_run_once(r, e);
    if (rc == 0 && r->sides.route != NULL)
        virt_route_finish(r->sides.route, &r->definition);
    if (r->observer != NULL)
        migrate_stop_observing(r);
    return rc;
}

static void migrate_close(struct migrate_run *r)
{
    if (r->observer != NULL)
        observer_stop(r->observer, r->seen, OPTION_LIST_MAX);
    migrate_sides_close(&r->sides);
}

static const char *migrate_result(int rc, const struct migrate_report *r, const struct err *e)
{
    if (rc == 0)
        return "done";
    if (e->class == ERR_CANCELLED)
        return "cancelled";
    if (e->class == ERR_UNCERTAIN)
        return "uncertain";
    return r->touched ? "failed" : "refused";
}

static int migrate_finish(struct migrate_run *r, int rc, const struct err *e)
{
    const struct report_migrate report = {
        .result = rc == 0 && r->definition.class != ERR_NONE ? "incomplete"
                                                             : migrate_result(rc, &r->report, e),
        .route = migrate_sides_route(&r->sides, &r->request),
        .route_reason = r->sides.route != NULL ? r->sides.route->reason : NULL,
        .settings = &r->request.settings,
        .report = &r->report,
        .observed = migrate_observed(r),
        .silence_ns = r->silence_ns,
        .promised_silence = r->seen_n > 0 && r->request.control.promise.max_downtime_ns > 0,
    };
    progress_clear(&r->progress);
    migrate_trace_close(&r->trace, report.result, report.route, &r->report);
    if (r->request.opt.json)
        report_migrate_json(&report, rc == 0 ? &r->definition : e, stdout);
    else if (rc == 0)
        report_migrate_text(&report, stdout);
    if (rc == 0 && r->definition.class == ERR_NONE)
        return EXIT_DONE;
    if (rc == 0) {
        command_fail(&r->definition);
        return EXIT_UNCERTAIN; /* where the guest is is known, and not all is as it was asked for */
    }
    int code = command_fail(e);
    if (!r->report.touched && code == EXIT_FAILED)
        code = EXIT_REFUSED;
    else if (r->report.touched && code == EXIT_REFUSED)
        code = EXIT_FAILED;
    if (code == EXIT_FAILED || code == EXIT_CANCELLED)
        fputs("godwit: the guest is on the source, as before\n", stderr);
    return code;
}

static int migrate_main(const struct command *self, int argc, char **argv)
{
    struct migrate_run r = {
        .progress = {.fd = -1},
        .silence_ns = -1,
    };
    struct err e = {0};
    int code;
    migrate_request_init(&r.request);
    int first = command_parse(self, &r.request.opt, argc, argv, 2, 2, &code);
    if (first < 0)
        return code;
    command_log_level(r.request.opt.verbose ? LOG_DEBUG : LOG_WARN);

    int rc = -1;
    if (migrate_request_check(&r.request, argv + first, &e) == 0 &&
        progress_init(&r.progress, r.request.opt.progress_fd, r.request.opt.verbose, &e) == 0 &&
        migrate_trace_open(&r.trace, r.request.opt.trace, &e) == 0 && migrate_open(&r, &e) == 0)
        rc = migrate_do(&r, &e);
    code = migrate_finish(&r, rc, &e);
    if (rc == 0 || migrate_rates_link(&r.rates) > 0)
        migrate_learn(&r);
    migrate_close(&r);
    return code;
}

const struct command command_migrate = {
    .name = "migrate",
    .operands = "SRC DST",
    .summary = "Move a running guest from one host, or QEMU, to another",
    .details =
        "SRC is a libvirt domain, by name or UUID, and DST the libvirt that it is to go to:\n"
        "qemu+ssh://[user@]HOST/system. Or both are QEMUs: qmp+unix:/path, qmp+tcp:HOST:PORT\n"
        "or qmp+ssh://[user@]HOST/path; DST then has the same machine, was started with\n"
        "-incoming defer, and the source's QEMU is left stopped. Ctrl-C cancels, and says\n"
        "where the guest is.\n",
    .options = migrate_request_options,
    .run = migrate_main,
};
