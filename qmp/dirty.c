/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Before each window it is looked whether the guest runs and is not migrating, and after it again: what was
 * counted between two such looks is of a guest that ran, but for one that was stopped and resumed in between.
 *
 * A measurement is started and then asked for until it is "measured". Who else may start one at any moment is
 * not known, so an answer counts only if it is of our source, length and number of pages; one that was started
 * by somebody else right after ours had ended is seen by that, or makes no difference.
 *
 * Which sources a VM has, only the attempt tells: with a dirty ring QEMU refuses the bitmap before it touches
 * anything, without one the ring.
 */
#include "qmp/dirty.h"

#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/command.h"
#include "qmp/field.h"

#define DIRTY_TIMEOUT_NS (10 * NS_PER_S)
#define DIRTY_SLACK_NS (10 * NS_PER_S)

/* What QEMU may take beyond a window: the checksums, its threads on a busy host. */
#define DIRTY_GRACE_NS (5 * NS_PER_S)

/* Between two questions whether it is measured. */
#define DIRTY_POLL_MIN_NS (10 * NS_PER_MS)
#define DIRTY_POLL_MAX_NS (200 * NS_PER_MS)

/* Pages that are drawn in all: an interval of 1 % of RAM where a tenth of it is dirtied, and 256 MiB to be read
 * at each end of a window. Of a GiB QEMU draws between 128 and 16384. */
#define DIRTY_SAMPLES 65536
#define DIRTY_SAMPLES_MIN 128
#define DIRTY_SAMPLES_MAX 16384
#define DIRTY_SAMPLES_UNASKED 512 /* where it cannot be told how many */

#define GIB (UINT64_C(1) << 30)

struct dirty_run {
    struct loop *loop;
    struct qmp_client *c;
    struct dirty_qemu *q;
    const struct dirty_options *opt;
    int64_t deadline_ns;
};

int dirty_learn(struct qmp_client *c, struct dirty_qemu *q, struct err *e)
{
    const char *const command = "calc-dirty-rate";
    const struct qmp_schema *s = qmp_query_schema(c, e);
    if (s == NULL)
        return -1;
    bool there = qmp_schema_kind(s, command, "calc-time") != QMP_KIND_NONE;
    *q = (struct dirty_qemu){
        .milliseconds = qmp_schema_has_value(s, command, "calc-time-unit", "millisecond"),
        .has_sample_pages = qmp_schema_kind(s, command, "sample-pages") != QMP_KIND_NONE,
        .has_mode = qmp_schema_kind(s, command, "mode") != QMP_KIND_NONE,
        .has_ring = qmp_schema_has_value(s, command, "mode", "dirty-ring"),
        .has_bitmap = qmp_schema_has_value(s, command, "mode", "dirty-bitmap"),
    };
    if (!there)
        return err_set(e, ERR_REFUSED, 0, "this QEMU cannot measure dirty pages: it has no %s",
                       command);
    if (qmp_query_kvm(c, &q->kvm, e) < 0 || qmp_query_ram(c, &q->ram_bytes, e) < 0)
        return -1;
    q->known = true;
    return 0;
}

/* ---- the guest ---- */

static int dirty_look(struct dirty_run *r, struct err *e)
{
    enum vm_run run;
    struct vm_sample s = {0};
    if (qmp_query_status(r->c, &run, e) < 0 || qmp_query_migrate(r->c, &s, e) < 0)
        return -1;
    if (vm_migration_busy(s.migration)) {
        err_set(e, ERR_REFUSED, 0, "the guest is being migrated: its dirty pages are not measured");
        e->sys = EBUSY;
        return err_hint(e, "'godwit watch' without --dirty shows what the migration counts");
    }
    if (run != VM_RUN_RUNNING) {
        err_set(e, ERR_REFUSED, 0, "the guest does not run: it dirties nothing");
        e->sys = EAGAIN;
        return -1;
    }
    return 0;
}

/* ---- one measurement ---- */

static int dirty_rest(struct dirty_run *r, int64_t ns, struct err *e)
{
    const bool never = false;
    struct err why = {0};
    (void)loop_spin(r->loop, &never, clock_now_ns() + ns, true, &why);
    if (why.class == ERR_TIMEOUT)
        return 0;
    *e = why;
    return -1;
}

static int dirty_query(struct dirty_run *r, struct dirty_answer *a, struct err *e)
{
    struct json_object *answer = NULL, *args = NULL;
    if (r->q->milliseconds) {
        args = json_object_new_object();
        json_object_object_add(args, "calc-time-unit", json_object_new_string("millisecond"));
    }
    if (qmp_client_call(r->c, "query-dirty-rate", args, DIRTY_TIMEOUT_NS, true, &answer, e) < 0)
        return -1;
    int rc = dirty_answer_read(answer, r->q->milliseconds, a, e);
    json_object_put(answer);
    return rc < 0 ? err_wrap(e, "query-dirty-rate") : 0;
}

/* Until nothing is being measured: somebody else's, or if `begun` ours, which may not have started yet. */
static int dirty_await(struct dirty_run *r, bool begun, struct dirty_answer *a, struct err *e)
{
    int64_t pause_ns = DIRTY_POLL_MIN_NS;
    for (;;) {
        if (dirty_query(r, a, e) < 0)
            return -1;
        if (a->status == DIRTY_MEASURED || (!begun && a->status == DIRTY_UNSTARTED))
            return 0;
        if (clock_now_ns() >= r->deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "QEMU is still measuring dirty pages %s",
                           begun ? "long after it should have ended" : "for somebody else");
        if (dirty_rest(r, pause_ns, e) < 0)
            return -1;
        pause_ns = pause_ns * 3 / 2 < DIRTY_POLL_MAX_NS ? pause_ns * 3 / 2 : DIRTY_POLL_MAX_NS;
    }
}

static uint64_t dirty_sample_pages(const struct dirty_qemu *q)
{
    if (!q->has_sample_pages)
        return DIRTY_SAMPLES_UNASKED;
    uint64_t per_gib = q->ram_bytes > 0 ? DIRTY_SAMPLES * GIB / q->ram_bytes : DIRTY_SAMPLES_MAX;
    return per_gib < DIRTY_SAMPLES_MIN   ? DIRTY_SAMPLES_MIN
           : per_gib > DIRTY_SAMPLES_MAX ? DIRTY_SAMPLES_MAX
                                         : per_gib;
}

static struct json_object *dirty_arguments(const struct dirty_qemu *q, enum curve_source source,
                                           int64_t window_ns)
{
    struct json_object *args = json_object_new_object();
    int64_t unit_ns = q->milliseconds ? NS_PER_MS : NS_PER_S;
    json_object_object_add(args, "calc-time", json_object_new_int64(window_ns / unit_ns));
    if (q->milliseconds)
        json_object_object_add(args, "calc-time-unit", json_object_new_string("millisecond"));
    if (q->has_mode)
        json_object_object_add(args, "mode", json_object_new_string(curve_source_name(source)));
    if (source == CURVE_PAGE_SAMPLING && q->has_sample_pages)
        json_object_object_add(args, "sample-pages",
                               json_object_new_int64((int64_t)dirty_sample_pages(q)));
    return args;
}

/* Somebody else may be quicker: then theirs is waited for, and ours tried again. A refusal is ERR_QMP. */
static int dirty_start(struct dirty_run *r, enum curve_source source, int64_t window_ns,
                       int64_t *asked_ns, struct err *e)
{
    for (;;) {
        struct dirty_answer other;
        struct err why = {0};
        if (dirty_await(r, false, &other, e) < 0)
            return -1;
        *asked_ns = clock_now_ns();
        if (qmp_client_call(r->c, "calc-dirty-rate", dirty_arguments(r->q, source, window_ns),
                            DIRTY_TIMEOUT_NS, true, NULL, &why) == 0)
            return 0;
        if (why.class != ERR_QMP || strstr(why.msg, "already being measured") == NULL ||
            clock_now_ns() >= r->deadline_ns) {
            *e = why;
            return -1;
        }
    }
}

static bool dirty_is_ours(const struct dirty_run *r, const struct dirty_answer *a,
                          enum curve_source source, int64_t window_ns)
{
    bool drawn = source == CURVE_PAGE_SAMPLING && r->q->has_sample_pages;
    return a->status == DIRTY_MEASURED && a->source == source && a->window_ns >= window_ns &&
           (!drawn || a->sample_pages == dirty_sample_pages(r->q));
}

/* One window of one source. ERR_QMP: this VM does not have it. */
static int dirty_window(struct dirty_run *r, enum curve_source source, int64_t window_ns,
                        struct dirty_answer *a, int64_t *longest_ns, struct err *e)
{
    for (;;) {
        int64_t asked_ns;
        if (dirty_look(r, e) < 0 || dirty_start(r, source, window_ns, &asked_ns, e) < 0 ||
            dirty_rest(r, window_ns, e) < 0)
            return -1;
        /* it was begun in time, and its length is known */
        if (r->deadline_ns < clock_now_ns() + DIRTY_GRACE_NS)
            r->deadline_ns = clock_now_ns() + DIRTY_GRACE_NS;
        if (dirty_await(r, true, a, e) < 0)
            return -1;
        *longest_ns = clock_now_ns() - asked_ns;
        if (dirty_look(r, e) < 0)
            return -1;
        if (dirty_is_ours(r, a, source, window_ns) && a->rate_mib_per_s >= 0)
            return 0;
        if (dirty_is_ours(r, a, source, window_ns))
            return err_set(e, ERR_REFUSED, 0, "QEMU could not find out a dirty rate by %s",
                           curve_source_name(source));
        log_debug("what QEMU has measured is somebody else's");
        if (clock_now_ns() >= r->deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0,
                           "somebody else has measurements of dirty pages made all the time");
    }
}

/* ---- the curve ---- */

static struct estimate dirty_bytes(const struct dirty_qemu *q, const struct dirty_answer *a,
                                   int64_t asked_ns, int64_t longest_ns)
{
    bool twice = !q->milliseconds;
    int64_t ns = a->window_ns;
    uint64_t pages = dirty_sample_pages(q) * q->ram_bytes / GIB;
    struct estimate bytes = a->source == CURVE_PAGE_SAMPLING
                                ? dirty_sampled(a->rate_mib_per_s, ns, pages, q->ram_bytes)
                            : a->source == CURVE_DIRTY_RING
                                ? dirty_ringed(a, ns, twice)
                                : dirty_counted(a->rate_mib_per_s, ns, twice);
    return dirty_shortened(bytes, asked_ns, ns, longest_ns);
}

static void dirty_take_vcpus(const struct dirty_run *r, const struct dirty_answer *a,
                             struct dirty_result *out)
{
    double per_s = 1e9 / (double)a->window_ns;
    out->vcpus = a->vcpus;
    out->vcpus_window_ns = a->window_ns;
    for (size_t i = 0; i < a->vcpus; i++) {
        struct estimate bytes =
            dirty_counted(a->vcpu_mib_per_s[i], a->window_ns, !r->q->milliseconds);
        out->vcpu[i] = (struct dirty_vcpu){a->vcpu_id[i], estimate_scale(bytes, per_s)};
    }
}

/* What QEMU takes of the lengths that are wanted; returns how many. */
static size_t dirty_windows(const struct dirty_run *r, int64_t *windows)
{
    static const int64_t usual_ms[] = {100, 300, 1000, 3000}, usual_s[] = {1, 2, 4};
    size_t n = 0;
    if (r->opt->windows == 0) {
        n = r->q->milliseconds ? sizeof usual_ms / sizeof *usual_ms
                               : sizeof usual_s / sizeof *usual_s;
        for (size_t i = 0; i < n; i++)
            windows[i] = r->q->milliseconds ? usual_ms[i] * NS_PER_MS : usual_s[i] * NS_PER_S;
        return n;
    }
    int64_t unit_ns = r->q->milliseconds ? NS_PER_MS : NS_PER_S;
    for (size_t i = 0; i < r->opt->windows; i++) {
        int64_t ns = (r->opt->windows_ns[i] + unit_ns - 1) / unit_ns * unit_ns;
        if (n == 0 || ns > windows[n - 1])
            windows[n++] = ns;
    }
    return n;
}

static int dirty_check(const struct dirty_options *opt, struct err *e)
{
    for (size_t i = 0; i < opt->windows; i++) {
        int64_t ns = opt->windows_ns[i];
        if (i >= CURVE_POINTS_MAX || ns < DIRTY_WINDOW_MIN_NS || ns > DIRTY_WINDOW_MAX_NS ||
            (i > 0 && ns <= opt->windows_ns[i - 1]))
            return err_set(
                e, ERR_USAGE, 0,
                "the windows to measure must be up to %d, from 50 ms to 60 s, the shortest first",
                CURVE_POINTS_MAX);
    }
    return 0;
}

/* That which is measured with, if this VM has it. */
static int dirty_choose(const struct dirty_run *r, enum curve_source *source, struct err *e)
{
    const struct dirty_qemu *q = r->q;
    *source = r->opt->source;
    if (*source == CURVE_NONE)
        *source = q->kvm && q->has_bitmap && !q->uses_ring ? CURVE_DIRTY_BITMAP
                                                           : CURVE_PAGE_SAMPLING;
    if (*source == CURVE_PAGE_SAMPLING)
        return 0;
    if (!q->kvm)
        return err_set(e, ERR_REFUSED, 0,
                       "%s needs KVM, which this guest does not run on: only page-sampling counts",
                       curve_source_name(*source));
    if (*source == CURVE_DIRTY_BITMAP ? !q->has_bitmap : !q->has_ring)
        return err_set(e, ERR_REFUSED, 0, "this QEMU has no %s", curve_source_name(*source));
    return 0;
}

/* QEMU said no to a source: with a ring it is no fault, if there was a choice. */
static bool dirty_may_sample(const struct dirty_run *r, enum curve_source *source, struct err *e)
{
    if (e->class != ERR_QMP)
        return false;
    if (r->opt->source != CURVE_NONE || *source == CURVE_PAGE_SAMPLING) {
        e->class = ERR_REFUSED;
        err_hint(
            e, *source == CURVE_DIRTY_RING
                   ? "a dirty ring is given to a VM when it starts: -accel kvm,dirty-ring-size=4096"
                   : "a VM with a dirty ring has no dirty bitmap; page-sampling works with any");
        return false;
    }
    log_debug("%s: this VM has a dirty ring", e->msg);
    err_clear(e);
    r->q->uses_ring = *source == CURVE_DIRTY_BITMAP;
    *source = CURVE_PAGE_SAMPLING;
    return true;
}

static int dirty_measure_curve(struct dirty_run *r, struct dirty_result *out, struct err *e)
{
    int64_t windows[CURVE_POINTS_MAX];
    size_t n = dirty_windows(r, windows);
    enum curve_source source;
    if (dirty_choose(r, &source, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct dirty_answer a;
        int64_t longest_ns;
        if (out->curve.n > 0 && clock_now_ns() + windows[i] > r->deadline_ns)
            break;
        while (dirty_window(r, source, windows[i], &a, &longest_ns, e) < 0)
            if (!dirty_may_sample(r, &source, e))
                return -1;
        out->curve.source = source;
        curve_add(&out->curve, windows[i], dirty_bytes(r->q, &a, windows[i], longest_ns));
        if (source == CURVE_DIRTY_RING)
            dirty_take_vcpus(r, &a, out);
    }
    return 0;
}

/* What only the ring knows. A VM that has none has lost nothing. */
static int dirty_measure_vcpus(struct dirty_run *r, struct dirty_result *out, struct err *e)
{
    struct dirty_answer a;
    int64_t longest_ns, window_ns = r->q->milliseconds ? 100 * NS_PER_MS : NS_PER_S;
    if (!r->opt->vcpus || out->vcpus > 0 || !r->q->uses_ring || !r->q->has_ring)
        return 0;
    if (dirty_window(r, CURVE_DIRTY_RING, window_ns, &a, &longest_ns, e) == 0) {
        dirty_take_vcpus(r, &a, out);
        return 0;
    }
    if (e->class != ERR_QMP)
        return -1;
    log_debug("%s", e->msg);
    err_clear(e);
    return 0;
}

static int64_t dirty_budget_ns(const struct dirty_run *r)
{
    int64_t windows[CURVE_POINTS_MAX], need_ns = DIRTY_SLACK_NS;
    size_t n = dirty_windows(r, windows);
    for (size_t i = 0; i < n; i++)
        need_ns += windows[i];
    return r->opt->budget_ns > 0 ? r->opt->budget_ns : need_ns;
}

int dirty_measure(struct loop *loop, struct qmp_client *c, const struct dirty_options *opt,
                  struct dirty_qemu *q, struct dirty_result *out, struct err *e)
{
    struct dirty_run r = {.loop = loop, .c = c, .q = q, .opt = opt};
    *out = (struct dirty_result){0};
    if (dirty_check(opt, e) < 0 || (!q->known && dirty_learn(c, q, e) < 0))
        return -1;
    out->curve.ram_bytes = q->ram_bytes;
    r.deadline_ns = clock_now_ns() + dirty_budget_ns(&r);
    if (dirty_measure_curve(&r, out, e) < 0 || dirty_measure_vcpus(&r, out, e) < 0) {
        *out = (struct dirty_result){0};
        return -1;
    }
    return 0;
}
