/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what is known to what can be promised, and if it cannot, what would have to change. A throttle, more
 * bandwidth and a longer pause are tried in the model, one at a time: the least that is enough is what is
 * told.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/text.h"
#include "core/units.h"
#include "tools/cmd/predict.h"

/* Without a promise: from here on it converges, up to there it does not; between it is not known. */
#define JUDGE_CONVERGES 0.6
#define JUDGE_DOES_NOT 0.3

/* What a tracked page costs its writer, once a pass: a fault that KVM handles, or TCG's slow path. */
#define JUDGE_FAULT_NS ((struct estimate){0.7e3, 2.5e3, 10e3})

/* How far each remedy is looked for. */
#define JUDGE_BANDWIDTH_MOST 1024.0
#define JUDGE_THROTTLE_MOST 99
#define JUDGE_HALVINGS 9

struct judge {
    const struct predict_input *in;
    struct model_promise promise;
    bool promised;
    bool limit_given;
};

/* ---- one question ---- */

/* Precopy that is cut short always ends. */
static bool judge_is_cut(const struct judge *j)
{
    return j->in->settings->postcopy || j->in->settings->pause;
}

/* With this much of the dirt and of the link. True: kept. */
static bool judge_try(const struct judge *j, double dirt, double bandwidth, int64_t *limit_ns,
                      struct model_answer *a)
{
    struct model_guest guest = j->in->guest;
    struct model_link link = j->in->link;
    struct estimate as_measured = guest.skew.likely > 0 ? guest.skew : estimate_exactly(1);
    guest.skew = estimate_scale(as_measured, dirt);
    link.bytes_per_s = estimate_scale(link.bytes_per_s, bandwidth);
    link.limit_bytes_per_s *= bandwidth;
    *limit_ns = j->in->limit_ns;
    if (judge_is_cut(j)) {
        const struct vm_settings *s = j->in->settings;
        const struct model_cut cut = {.passes = s->passes > 0 ? s->passes : 1,
                                      .postcopy = s->postcopy};
        model_predict_cut(&guest, &link, &j->in->costs, *limit_ns, &cut, a);
        return model_keeps(a, &j->promise);
    }
    if (j->promised && !j->limit_given) {
        int64_t found_ns = model_limit_for(&guest, &link, &j->in->costs, &j->promise, a);
        *limit_ns = found_ns > 0 ? found_ns : *limit_ns;
        return found_ns > 0;
    }
    model_predict(&guest, &link, &j->in->costs, *limit_ns, a);
    return j->promised ? model_keeps(a, &j->promise) : a->likelihood >= JUDGE_CONVERGES;
}

/* ---- the least that is enough ---- */

/* Percent of throttling; 0: even the most is not enough. */
static unsigned judge_throttle(const struct judge *j)
{
    int64_t limit_ns;
    struct model_answer a;
    unsigned good = JUDGE_THROTTLE_MOST, bad = 0;
    if (!judge_try(j, (100 - good) / 100.0, 1, &limit_ns, &a))
        return 0;
    while (good - bad > 1) {
        unsigned between = (good + bad) / 2;
        if (judge_try(j, (100 - between) / 100.0, 1, &limit_ns, &a))
            good = between;
        else
            bad = between;
    }
    return good;
}

/* How many times the bandwidth; 0: no bandwidth is enough. */
static double judge_bandwidth(const struct judge *j)
{
    int64_t limit_ns;
    struct model_answer a;
    double good = JUDGE_BANDWIDTH_MOST, bad = 1;
    if (!judge_try(j, 1, good, &limit_ns, &a))
        return 0;
    for (int i = 0; i < JUDGE_HALVINGS; i++) {
        double between = sqrt(good * bad);
        *(judge_try(j, 1, between, &limit_ns, &a) ? &good : &bad) = between;
    }
    return good;
}

/* ---- words ---- */

static void judge_add(struct predict_result *r, const char *remedy)
{
    if (r->remedies_n < PREDICT_REMEDIES_MAX)
        r->remedies[r->remedies_n++] = remedy;
}

static const char *judge_ms(int64_t ns)
{
    return ns < 10 * NS_PER_S ? text_keep("%" PRIi64 "ms", (ns + NS_PER_MS - 1) / NS_PER_MS)
                              : text_keep("%" PRIi64 "s", (ns + NS_PER_S - 1) / NS_PER_S);
}

static const char *judge_rate(double bytes_per_s)
{
    char rate[UNITS_TEXT_MAX];
    return text_keep("%s/s", units_format_size(rate, (uint64_t)bytes_per_s));
}

/* The nearest to what is promised that can be had. */
static void judge_smallest(const struct judge *j, struct predict_result *r)
{
    const struct predict_input *in = j->in;
    r->smallest_pause_ns =
        model_smallest_pause(&in->guest, &in->link, &in->costs, &r->smallest_limit_ns);
    if (r->smallest_pause_ns == 0 || !j->promised || j->limit_given)
        return;
    r->limit_ns = r->smallest_limit_ns;
    r->limit_from = PREDICT_LIMIT_CHOSEN;
    model_predict(&in->guest, &in->link, &in->costs, r->limit_ns, &r->answer);
}

static void judge_remedy_pause(const struct judge *j, struct predict_result *r)
{
    if (r->smallest_pause_ns == 0)
        return;
    const char *limit = judge_ms(r->smallest_limit_ns), *pause = judge_ms(r->smallest_pause_ns);
    if (j->promise.pause_ns > 0 && r->smallest_pause_ns > j->promise.pause_ns)
        judge_add(r, text_keep("--max-downtime %s, the smallest that can be kept", pause));
    else if (j->limit_given && r->smallest_limit_ns > r->limit_ns)
        judge_add(r,
                  text_keep("--downtime-limit %s: the guest would stand %s at most", limit, pause));
    else if (!j->promised && r->smallest_limit_ns > r->limit_ns)
        judge_add(r, text_keep("--max-downtime %s, or --downtime-limit %s", pause, limit));
}

static void judge_remedies(const struct judge *j, struct predict_result *r)
{
    const struct predict_input *in = j->in;
    double most = in->link.limit_bytes_per_s, bandwidth = judge_bandwidth(j);
    judge_remedy_pause(j, r);
    if (bandwidth > 0 && most > 0 && bandwidth * most < in->link.bytes_per_s.low)
        judge_add(r, text_keep("--max-bandwidth %s", judge_rate(bandwidth * most)));
    else if (bandwidth > 0)
        judge_add(r, text_keep("a link of %s, %.1f times as fast%s",
                               judge_rate(in->link.bytes_per_s.likely * bandwidth), bandwidth,
                               most > 0 ? ", and no --max-bandwidth" : ""));
    unsigned throttle = judge_throttle(j);
    if (throttle > 0 && (in->promise.allow & PROMISE_THROTTLE))
        judge_add(r, text_keep("--max-slowdown %u%%", throttle));
    else if (throttle > 0)
        judge_add(r,
                  text_keep("a guest that writes %u%% less (--allow throttle --max-slowdown %u%%, "
                            "or --set auto-converge=on)",
                            throttle, throttle));
    if (in->link_from == PREDICT_LINK_GUESSED || in->link_from == PREDICT_LINK_CARD)
        judge_add(
            r,
            text_keep("--link RATE, if it is known what the link carries: that is a guess here"));
    if (in->settings->multifd_channels == 0 && !judge_is_cut(j))
        judge_add(r, text_keep("--postcopy, which always ends"));
}

static const char *judge_why(const struct judge *j, const struct predict_result *r)
{
    const struct model_answer *a = &r->answer;
    const struct model_link *link = &j->in->link;
    bool held = link->limit_bytes_per_s > 0;
    double sends = held ? fmin(link->limit_bytes_per_s, link->bytes_per_s.likely)
                        : link->bytes_per_s.likely;
    char floor[UNITS_TEXT_MAX], may[UNITS_TEXT_MAX];
    units_format_size(floor, a->floor_bytes);
    if (a->likelihood <= JUDGE_DOES_NOT)
        return text_keep("passes do not get below %s, and with a limit of %s about %s may be left",
                         floor, judge_ms(r->limit_ns),
                         units_format_size(may, (uint64_t)(sends * (double)r->limit_ns / 1e9)));
    if (a->likelihood < 0.95)
        return text_keep("it converges in %.0f of 100 cases only", 100 * a->likelihood);
    if (j->promise.pause_ns > 0 && a->pause_ns.high > (double)j->promise.pause_ns)
        return text_keep("the pause may be as long as %s, and %s is promised",
                         judge_ms((int64_t)a->pause_ns.high), judge_ms(j->promise.pause_ns));
    return text_keep("it may take %s, and %s is promised", judge_ms((int64_t)a->total_ns.high),
                     judge_ms(j->promise.total_ns));
}

/* ---- the verdict ---- */

/* What writes are slowed down by being tracked; a throttle comes on top. */
static struct estimate judge_slowdown(const struct judge *j, unsigned throttle_percent)
{
    const struct predict_input *in = j->in;
    struct estimate pages = estimate_scale(curve_rate(&in->guest.curve, NS_PER_S), 1.0 / 4096);
    unsigned vcpus = in->source.vcpus > 0 ? in->source.vcpus : 1;
    struct estimate part =
        estimate_scale(estimate_multiply(pages, JUDGE_FAULT_NS), 1e-9 / (double)vcpus);
    double throttle = throttle_percent / 100.0;
    return estimate_clamp(estimate_add(part, estimate_exactly(throttle)), 0, 1);
}

static void judge_allowed_throttle(const struct judge *j, struct predict_result *r)
{
    const struct promise *p = &j->in->promise;
    unsigned percent = judge_throttle(j);
    if (percent == 0 || percent > p->max_throttle_percent)
        return;
    judge_try(j, (100 - percent) / 100.0, 1, &r->limit_ns, &r->answer);
    r->throttle_percent = percent;
    r->verdict = PREDICT_KEPT;
}

static bool judge_allowed_postcopy(const struct judge *j, struct predict_result *r)
{
    const struct model_cut cut = {.passes = 1, .postcopy = true};
    struct model_answer a;
    model_predict_cut(&j->in->guest, &j->in->link, &j->in->costs, j->in->limit_ns, &cut, &a);
    if (!model_keeps(&a, &j->promise))
        return false;
    r->answer = a;
    r->postcopy = true;
    return true;
}

static void judge_precopy(const struct judge *j, struct predict_result *r)
{
    const struct promise *p = &j->in->promise;
    bool kept = judge_try(j, 1, 1, &r->limit_ns, &r->answer);
    double likelihood = r->answer.likelihood;
    r->verdict = kept                                          ? PREDICT_KEPT
                 : j->promised || likelihood <= JUDGE_DOES_NOT ? PREDICT_NOT_KEPT
                                                               : PREDICT_UNCERTAIN;
    if (kept && j->promised && !j->limit_given && !judge_is_cut(j))
        r->limit_from = PREDICT_LIMIT_CHOSEN;
    if (!kept && (p->allow & PROMISE_THROTTLE))
        judge_allowed_throttle(j, r);
    if (r->verdict != PREDICT_KEPT && (p->allow & PROMISE_POSTCOPY) && judge_allowed_postcopy(j, r))
        r->verdict = PREDICT_KEPT;
}

void predict_judge(const struct predict_input *in, struct predict_result *r)
{
    const struct vm_settings *s = in->settings;
    struct judge j = {
        .in = in,
        .promise = {.pause_ns = in->promise.max_downtime_ns,
                    .total_ns = in->promise.max_time_ns > 0 ? in->promise.max_time_ns
                                                            : in->timeout_ns},
        .limit_given = s->downtime_limit_ns > 0,
    };
    j.promised = j.promise.pause_ns > 0 || j.promise.total_ns > 0;
    *r = (struct predict_result){
        .limit_ns = in->limit_ns,
        .limit_from = j.limit_given ? PREDICT_LIMIT_GIVEN : PREDICT_LIMIT_QEMU,
    };
    judge_precopy(&j, r);
    r->slowdown = judge_slowdown(&j, r->throttle_percent);
    if (r->verdict == PREDICT_KEPT)
        return;
    if (!judge_is_cut(&j))
        judge_smallest(&j, r);
    r->why = judge_why(&j, r);
    judge_remedies(&j, r);
}
