/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/cmd/predict.h"

/* ---- text ---- */

static void report_time(char *text, size_t room, double ns)
{
    if (!isfinite(ns))
        snprintf(text, room, "no end");
    else if (ns < 9.95e6)
        snprintf(text, room, "%.1f ms", ns / 1e6);
    else if (ns < 9.95e8)
        snprintf(text, room, "%.0f ms", ns / 1e6);
    else if (ns < 600e9)
        snprintf(text, room, "%.1f s", ns / 1e9);
    else
        snprintf(text, room, "%.0f min", ns / 60e9);
}

static void report_bytes(char *text, size_t room, double bytes)
{
    char size[UNITS_TEXT_MAX];
    snprintf(text, room, "%s",
             units_format_size(size, isfinite(bytes) ? (uint64_t)bytes : UINT64_MAX));
}

static void report_count(char *text, size_t room, double n)
{
    snprintf(text, room, "%.0f", n);
}

static void report_percent(char *text, size_t room, double part)
{
    snprintf(text, room, part < 0.0995 ? "%.1f %%" : "%.0f %%", part * 100);
}

static void report_row(const char *name, const struct estimate *a,
                       void (*format)(char *text, size_t room, double value), FILE *to)
{
    char low[UNITS_TEXT_MAX + 8], likely[UNITS_TEXT_MAX + 8], high[UNITS_TEXT_MAX + 8];
    format(low, sizeof low, a->low);
    format(likely, sizeof likely, a->likely);
    format(high, sizeof high, a->high);
    fprintf(to, "%-12s %12s   %s to %s\n", name, likely, low, high);
}

static void report_verdict(const struct predict_input *in, const struct predict_result *r, FILE *to)
{
    const struct promise *p = &in->promise;
    char time[32];
    const char *says = r->verdict == PREDICT_KEPT       ? "yes"
                       : r->verdict == PREDICT_NOT_KEPT ? "no"
                                                        : "not known";
    if (!promise_is_made(p) && in->timeout_ns == 0) {
        fprintf(to, "%-12s %12s", "converges", says);
        if (r->answer.likelihood < 1 && r->answer.likelihood > 0)
            fprintf(to, "   in %.0f of 100 cases", 100 * r->answer.likelihood);
        fputc('\n', to);
        return;
    }
    fprintf(to, "%-12s %12s  ", "can be kept", says);
    if (p->max_downtime_ns > 0) {
        report_time(time, sizeof time, (double)p->max_downtime_ns);
        fprintf(to, " --max-downtime %s", time);
    }
    int64_t total_ns = p->max_time_ns > 0 ? p->max_time_ns : in->timeout_ns;
    if (total_ns > 0) {
        report_time(time, sizeof time, (double)total_ns);
        fprintf(to, " --%s %s", p->max_time_ns > 0 ? "max-time" : "timeout", time);
    }
    fputc('\n', to);
}

static void report_guest(const struct predict_input *in, FILE *to)
{
    const struct curve *c = &in->guest.curve;
    char size[UNITS_TEXT_MAX], low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX], time[32];
    fprintf(to, "\n%-12s %s, of which %s to %s are no zeros (%s)\n", "guest",
            units_format_size(size, in->source.ram_bytes),
            units_format_size(low, (uint64_t)in->guest.first_pass_bytes.low),
            units_format_size(high, (uint64_t)in->guest.first_pass_bytes.high),
            in->memory.pages > 0 ? "pages of it were looked at" : "a guess");
    if (in->source.run != VM_RUN_RUNNING) {
        fprintf(to, "%-12s nothing, for it is stopped\n", "dirties");
        return;
    }
    fprintf(to, "%-12s", "dirties");
    for (size_t i = 0; i < c->n; i++) {
        report_time(time, sizeof time, (double)c->at[i].window_ns);
        fprintf(to, "%s %s in %s", i > 0 ? "," : "",
                units_format_size(size, (uint64_t)c->at[i].bytes.likely), time);
    }
    fprintf(to, " (%s)\n", curve_source_name(c->source));
}

static void report_link(const struct predict_input *in, FILE *to)
{
    const struct estimate *b = &in->link.bytes_per_s;
    char low[UNITS_TEXT_MAX], likely[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX], rtt[32];
    fprintf(to, "%-12s %s/s, %s to %s; ", "link", units_format_size(likely, (uint64_t)b->likely),
            units_format_size(low, (uint64_t)b->low), units_format_size(high, (uint64_t)b->high));
    switch (in->link_from) {
    case PREDICT_LINK_GIVEN: fputs("as --link says", to); break;
    case PREDICT_LINK_LEARNED:
        fprintf(to, "by %u earlier migration%s from %s to %s", in->found.link_cases,
                in->found.link_cases == 1 ? "" : "s", in->key.source_host,
                in->key.destination_host);
        break;
    case PREDICT_LINK_CARD: fprintf(to, "a guess by the speed of %s", in->wire.device); break;
    case PREDICT_LINK_GUESSED: fputs("a guess: --link RATE if it is known", to); break;
    }
    if (in->wire.rtt_ns > 0) {
        report_time(rtt, sizeof rtt, (double)in->wire.rtt_ns);
        fprintf(to, "; round trip %s", rtt);
    }
    fputc('\n', to);
}

static void report_costs(const struct predict_input *in, FILE *to)
{
    static const char *const of[] = {
        [COSTS_SHIPPED] = "as measured elsewhere, for there was no migration yet",
        [COSTS_ELSEWHERE] = "between other hosts",
        [COSTS_HOSTS] = "between these hosts, of other guests",
        [COSTS_ALIKE] = "between these hosts, of guests of this shape",
    };
    char time[32];
    report_time(time, sizeof time, in->costs.pause_ns.likely);
    fprintf(to, "%-12s %s of each pause, ", "fixed costs", time);
    if (in->found.cases > 0)
        fprintf(to, "by %u earlier migration%s ", in->found.cases, in->found.cases == 1 ? "" : "s");
    fprintf(to, "%s\n", of[in->found.from]);
}

static void report_settings(const struct predict_input *in, const struct predict_result *r,
                            FILE *to)
{
    static const char *const of[] = {
        [PREDICT_LIMIT_QEMU] = "as QEMU is set to",
        [PREDICT_LIMIT_GIVEN] = "as given",
        [PREDICT_LIMIT_CHOSEN] = "so that the promise is kept",
    };
    char limit[32];
    report_time(limit, sizeof limit, (double)r->limit_ns);
    fprintf(to, "%-12s route %s, downtime limit %s (%s)", "settings", in->route, limit,
            of[r->limit_from]);
    if (r->throttle_percent > 0)
        fprintf(to, ", throttled by %u %%", r->throttle_percent);
    if (r->postcopy)
        fputs(", postcopy after one pass", to);
    fputc('\n', to);
}

void report_predict_text(const struct predict_input *in, const struct predict_result *r, FILE *to)
{
    const struct model_answer *a = &r->answer;
    report_verdict(in, r, to);
    if (a->converges) {
        report_row("total time", &a->total_ns, report_time, to);
        report_row("pause", &a->pause_ns, report_time, to);
        report_row("sent", &a->bytes, report_bytes, to);
        report_row("passes", &a->passes, report_count, to);
        report_row("slow-down", &r->slowdown, report_percent, to);
    }
    report_guest(in, to);
    report_link(in, to);
    report_costs(in, to);
    report_settings(in, r, to);
    if (r->why != NULL)
        fprintf(to, "\n%-12s %s\n", "why", r->why);
    for (size_t i = 0; i < r->remedies_n; i++)
        fprintf(to, "%-12s %s\n", i == 0 ? "what helps" : "", r->remedies[i]);
}

/* ---- JSON ---- */

static void report_estimate(struct json *o, const char *key, const struct estimate *a, double unit)
{
    if (a == NULL) {
        json_text(o, key, NULL);
        return;
    }
    struct json *e = json_node(o, key);
    json_number(e, "low", a->low / unit);
    json_number(e, "likely", a->likely / unit);
    json_number(e, "high", isfinite(a->high) ? a->high / unit : NAN);
}

static void report_answer_json(struct json *o, const struct predict_result *r)
{
    const struct model_answer *a = &r->answer;
    json_flag(o, "converges", a->converges);
    json_number(o, "likelihood", a->likelihood);
    report_estimate(o, "total_ms", a->converges ? &a->total_ns : NULL, 1e6);
    report_estimate(o, "pause_ms", a->converges ? &a->pause_ns : NULL, 1e6);
    report_estimate(o, "bytes", a->converges ? &a->bytes : NULL, 1);
    report_estimate(o, "passes", a->converges ? &a->passes : NULL, 1);
    report_estimate(o, "slowdown", a->converges ? &r->slowdown : NULL, 1);
    json_u64(o, "floor_bytes", a->floor_bytes);
}

static void report_guest_json(struct json *o, const struct predict_input *in)
{
    const struct curve *c = &in->guest.curve;
    json_u64(o, "ram_bytes", in->source.ram_bytes);
    json_u64(o, "vcpus", in->source.vcpus);
    json_text(o, "accelerator", in->source.kvm ? "kvm" : "tcg");
    json_text(o, "machine", in->source.machine);
    report_estimate(o, "not_zero_bytes", &in->guest.first_pass_bytes, 1);
    json_flag(o, "looked_at_memory", in->memory.pages > 0);
    json_text(o, "dirty_source", curve_source_name(c->source));
    struct json *list = json_list(o, "dirtied");
    for (size_t i = 0; i < c->n; i++) {
        struct json *point = json_item(list);
        json_ms(point, "window_ms", c->at[i].window_ns);
        report_estimate(point, "bytes", &c->at[i].bytes, 1);
    }
}

static void report_link_json(struct json *o, const struct predict_input *in)
{
    static const char *const from[] = {
        [PREDICT_LINK_GUESSED] = "guess",
        [PREDICT_LINK_CARD] = "card",
        [PREDICT_LINK_LEARNED] = "learned",
        [PREDICT_LINK_GIVEN] = "given",
    };
    report_estimate(o, "bytes_per_s", &in->link.bytes_per_s, 1);
    json_text(o, "from", from[in->link_from]);
    json_u64(o, "migrations", in->found.link_cases);
    json_text(o, "source_host", in->key.source_host);
    json_text(o, "destination_host", in->key.destination_host);
    json_text(o, "device", in->wire.device[0] != '\0' ? in->wire.device : NULL);
    json_ms(o, "rtt_ms", in->wire.rtt_ns);
}

static void report_costs_json(struct json *o, const struct predict_input *in)
{
    static const char *const from[] = {
        [COSTS_SHIPPED] = "shipped",
        [COSTS_ELSEWHERE] = "other-hosts",
        [COSTS_HOSTS] = "other-guests",
        [COSTS_ALIKE] = "alike",
    };
    report_estimate(o, "begin_ms", &in->costs.begin_ns, 1e6);
    report_estimate(o, "pause_ms", &in->costs.pause_ns, 1e6);
    report_estimate(o, "end_ms", &in->costs.end_ns, 1e6);
    json_text(o, "from", from[in->found.from]);
    json_u64(o, "migrations", in->found.cases);
}

static void report_settings_json(struct json *o, const struct predict_input *in,
                                 const struct predict_result *r)
{
    static const char *const from[] = {
        [PREDICT_LIMIT_QEMU] = "qemu",
        [PREDICT_LIMIT_GIVEN] = "given",
        [PREDICT_LIMIT_CHOSEN] = "chosen",
    };
    json_text(o, "route", in->route);
    json_text(o, "route_reason", in->route_reason);
    json_ms(o, "downtime_limit_ms", r->limit_ns);
    json_text(o, "downtime_limit_from", from[r->limit_from]);
    json_u64(o, "needed_throttle_percent", r->throttle_percent);
    json_flag(o, "postcopy", r->postcopy || in->settings->postcopy);
}

static void report_promise_json(struct json *o, const struct predict_input *in,
                                const struct predict_result *r)
{
    const struct promise *p = &in->promise;
    json_ms(o, "max_downtime_ms", p->max_downtime_ns > 0 ? p->max_downtime_ns : -1);
    json_ms(o, "max_time_ms", p->max_time_ns > 0 ? p->max_time_ns : -1);
    json_ms(o, "timeout_ms", in->timeout_ns > 0 ? in->timeout_ns : -1);
    json_ms(o, "smallest_max_downtime_ms", r->smallest_pause_ns > 0 ? r->smallest_pause_ns : -1);
}

void report_predict_json(const struct predict_input *in, const struct predict_result *r,
                         const struct err *e, int64_t took_ns, FILE *to)
{
    static const char *const verdicts[] = {
        [PREDICT_KEPT] = "kept",
        [PREDICT_NOT_KEPT] = "not-kept",
        [PREDICT_UNCERTAIN] = "uncertain",
    };
    struct json *o = json_new();
    json_text(o, "verdict", r != NULL ? verdicts[r->verdict] : NULL);
    json_ms(o, "took_ms", took_ns);
    if (r != NULL) {
        report_answer_json(o, r);
        report_promise_json(json_node(o, "promise"), in, r);
        report_settings_json(json_node(o, "settings"), in, r);
        report_guest_json(json_node(o, "guest"), in);
        report_link_json(json_node(o, "link"), in);
        report_costs_json(json_node(o, "costs"), in);
        json_text(o, "why", r->why);
        struct json *list = json_list(o, "remedies");
        for (size_t i = 0; i < r->remedies_n; i++)
            json_text(json_item(list), "text", r->remedies[i]);
    }
    json_error(o, e);
    json_print(o, to);
}
