/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_dirty.h"

#include <math.h>

#include "core/json.h"
#include "core/units.h"
#include "tools/cmd/metrics_file.h"

static double report_s(int64_t ns)
{
    return (double)ns / 1e9;
}

static const char *report_size(char text[UNITS_TEXT_MAX], double bytes)
{
    return units_format_size(text, bytes > 0 ? (uint64_t)llround(bytes) : 0);
}

/* ---- for people ---- */

/* A cell of two words: "12.30 MiB/s". */
enum { CELL = 14 };

void report_dirty_head(const struct dirty_view *v, FILE *to)
{
    fprintf(to, "%8s  %-13s", "TIME", "SOURCE");
    for (size_t i = 0; i < v->now.curve.n; i++) {
        char head[32];
        snprintf(head, sizeof head, "IN %g s", report_s(v->now.curve.at[i].window_ns));
        fprintf(to, " %*s", CELL, head);
    }
    fprintf(to, " %*s %*s\n", CELL + 3, "WORKING SET", CELL, "HOT SET");
}

static void report_vcpus(const struct dirty_view *v, FILE *to)
{
    char rate[UNITS_TEXT_MAX];
    if (v->now.vcpus == 0)
        return;
    fprintf(to, "%8s  by vCPU:", "");
    for (size_t i = 0; i < v->now.vcpus; i++)
        fprintf(to, "%s %u %s/s", i > 0 ? "," : "", v->now.vcpu[i].id,
                report_size(rate, v->now.vcpu[i].bytes_per_s.likely));
    fputc('\n', to);
}

void report_dirty_row(const struct dirty_view *v, FILE *to)
{
    const struct curve *c = &v->now.curve;
    char time[24], text[UNITS_TEXT_MAX], cell[UNITS_TEXT_MAX + 8];
    snprintf(time, sizeof time, "%.1f s", report_s(v->elapsed_ns));
    fprintf(to, "%8s  %-13s", time, curve_source_name(c->source));
    for (size_t i = 0; i < c->n; i++) {
        report_size(text, curve_rate(c, c->at[i].window_ns).likely);
        snprintf(cell, sizeof cell, "%s/s", text);
        fprintf(to, " %*s", CELL, cell);
    }
    snprintf(cell, sizeof cell, "%s%s",
             curve_is_flat(c) ? "" : ">= ", report_size(text, (double)curve_working_set(c)));
    fprintf(to, " %*s", CELL + 3, cell);
    fprintf(to, " %*s\n", CELL, report_size(text, (double)curve_hot_set(c)));
    report_vcpus(v, to);
}

void report_dirty_summary(const struct dirty_view *v, FILE *to)
{
    const struct curve *c = &v->all;
    char low[UNITS_TEXT_MAX], likely[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    if (c->n == 0)
        return;
    fprintf(to, "Distinct memory dirtied, by %s, of %u round%s:\n", curve_source_name(c->source),
            v->rounds, v->rounds > 1 ? "s" : "");
    for (size_t i = 0; i < c->n; i++) {
        struct estimate a = curve_bytes(c, c->at[i].window_ns);
        fprintf(to, "  in %4g s  %s (%s to %s)\n", report_s(c->at[i].window_ns),
                report_size(likely, a.likely), report_size(low, a.low), report_size(high, a.high));
    }
    fprintf(to, "  working set  %s%s, hot set  %s\n", curve_is_flat(c) ? "" : "at least ",
            report_size(likely, (double)curve_working_set(c)),
            report_size(low, (double)curve_hot_set(c)));
}

/* ---- for programs ---- */

static void json_estimate(struct json *o, const char *key, struct estimate a)
{
    struct json *at = json_node(o, key);
    json_number(at, "low", round(a.low));
    json_number(at, "likely", round(a.likely));
    json_number(at, "high", isinf(a.high) ? NAN : round(a.high));
}

static void json_curve(struct json *o, const struct curve *c)
{
    json_text(o, "source", curve_source_name(c->source));
    json_u64(o, "ram_bytes", c->ram_bytes);
    struct json *list = json_list(o, "windows");
    for (size_t i = 0; i < c->n; i++) {
        struct json *at = json_item(list);
        json_ms(at, "window_ms", c->at[i].window_ns);
        json_u64(at, "measured", c->at[i].windows);
        json_estimate(at, "bytes", curve_bytes(c, c->at[i].window_ns));
        json_estimate(at, "bytes_per_s", curve_rate(c, c->at[i].window_ns));
    }
    json_u64(o, "working_set_bytes", curve_working_set(c));
    json_flag(o, "working_set_is_whole", curve_is_flat(c));
    json_u64(o, "hot_set_bytes", curve_hot_set(c));
}

static void json_vcpus(struct json *o, const struct dirty_result *r)
{
    if (r->vcpus == 0)
        return;
    json_ms(o, "vcpus_window_ms", r->vcpus_window_ns);
    struct json *list = json_list(o, "vcpus");
    for (size_t i = 0; i < r->vcpus; i++) {
        struct json *at = json_item(list);
        json_u64(at, "id", r->vcpu[i].id);
        json_estimate(at, "bytes_per_s", r->vcpu[i].bytes_per_s);
    }
}

void report_dirty_json(const struct dirty_view *v, int fd)
{
    struct json *o = json_new();
    json_text(o, "event", v->end != NULL ? "end" : "sample");
    json_text(o, "target", v->target);
    if (v->end != NULL)
        json_text(o, "result", v->end);
    json_u64(o, "rounds", v->rounds);
    json_ms(o, "t_ms", v->elapsed_ns);
    json_curve(o, v->end != NULL ? &v->all : &v->now.curve);
    if (v->end == NULL)
        json_vcpus(o, &v->now);
    json_line(o, fd);
}

/* ---- for Prometheus ---- */

static void metrics_value(FILE *to, const struct dirty_view *v, const char *name, const char *label,
                          const char *label_value, double value)
{
    fprintf(to, "%s{target=\"", name);
    metrics_label(to, v->target);
    if (label != NULL)
        fprintf(to, "\",%s=\"%s", label, label_value);
    fprintf(to, "\"} %.15g\n", value);
}

static void metrics_single(FILE *to, const struct dirty_view *v, const char *name, const char *help,
                           double value)
{
    metrics_head(to, name, "gauge", help);
    metrics_value(to, v, name, NULL, NULL, value);
}

enum end { END_LOW, END_LIKELY, END_HIGH };

static void metrics_windows(FILE *to, const struct dirty_view *v, const char *name,
                            const char *help, enum end end)
{
    const struct curve *c = &v->now.curve;
    metrics_head(to, name, "gauge", help);
    for (size_t i = 0; i < c->n; i++) {
        char window[32];
        struct estimate a = curve_bytes(c, c->at[i].window_ns);
        double value = end == END_LOW ? a.low : end == END_HIGH ? a.high : a.likely;
        snprintf(window, sizeof window, "%g", report_s(c->at[i].window_ns));
        if (isfinite(value))
            metrics_value(to, v, name, "seconds", window, round(value));
    }
}

static void metrics_vcpus(FILE *to, const struct dirty_view *v)
{
    const char *const name = "godwit_dirty_vcpu_bytes_per_second";
    if (v->now.vcpus == 0)
        return;
    metrics_head(to, name, "gauge",
                 "What a vCPU dirties, as the dirty ring counts: a page may count more than once.");
    for (size_t i = 0; i < v->now.vcpus; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", v->now.vcpu[i].id);
        metrics_value(to, v, name, "vcpu", id, round(v->now.vcpu[i].bytes_per_s.likely));
    }
}

static void metrics_write(FILE *to, const void *arg)
{
    const struct dirty_view *v = arg;
    const struct curve *c = &v->now.curve;
    metrics_single(to, v, "godwit_dirty_rounds", "Rounds that have been measured.", v->rounds);
    if (c->n == 0)
        return;
    metrics_single(to, v, "godwit_dirty_timestamp_seconds", "When the last round ended.",
                   report_s(v->epoch_ns));
    metrics_head(to, "godwit_dirty_source", "gauge", "1 for what counted the pages.");
    metrics_value(to, v, "godwit_dirty_source", "source", curve_source_name(c->source), 1);
    metrics_windows(to, v, "godwit_dirty_bytes", "Distinct memory dirtied within a time.",
                    END_LIKELY);
    metrics_windows(to, v, "godwit_dirty_low_bytes", "It is not less than this.", END_LOW);
    metrics_windows(to, v, "godwit_dirty_high_bytes", "It is not more than this.", END_HIGH);
    metrics_single(to, v, "godwit_dirty_working_set_bytes",
                   "Distinct memory dirtied within the longest time.",
                   (double)curve_working_set(c));
    metrics_single(to, v, "godwit_dirty_hot_set_bytes",
                   "Memory that is dirty again however short a time.", (double)curve_hot_set(c));
    metrics_vcpus(to, v);
}

int report_dirty_metrics(const struct dirty_view *v, const char *path, struct err *e)
{
    return metrics_file_write(path, metrics_write, v, e);
}
