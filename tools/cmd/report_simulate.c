/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "bench/simulate/fit.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/cmd/bench_simulate.h"

/* ---- text ---- */

/* "1.2 s", "38 ms", "-". */
static const char *simulate_time(double ms, char text[16])
{
    if (isnan(ms))
        snprintf(text, 16, "-");
    else if (ms < 10000)
        snprintf(text, 16, "%.0f ms", ms);
    else
        snprintf(text, 16, "%.1f s", ms / 1000);
    return text;
}

static void simulate_print_spread(struct simulate_spread s, FILE *to)
{
    char low[16], median[16], high[16], both[48];
    snprintf(both, sizeof both, "(%s … %s)", simulate_time(s.low, low),
             simulate_time(s.high, high));
    fprintf(to, " %9s %-23s", simulate_time(s.median, median), isnan(s.median) ? "" : both);
}

static double simulate_percent(unsigned part, unsigned all)
{
    return all > 0 ? 100.0 * part / all : 0;
}

static void simulate_print_row(const struct simulate_row *r, FILE *to)
{
    char set[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], link[UNITS_TEXT_MAX], sent[UNITS_TEXT_MAX];
    const struct simulated *s = &r->simulated;
    struct simulate_spread bytes = simulate_spread(s->bytes, s->n);
    fprintf(to, "%10s %10s/s %10s/s %5.0f%% %5.0f%% %5.0f%%",
            units_format_size(set, (uint64_t)r->working_set_bytes),
            units_format_size(rate, (uint64_t)r->dirty_bytes_per_s),
            units_format_size(link, (uint64_t)r->link_bytes_per_s),
            simulate_percent(s->ends[WORLD_DONE], s->runs), simulate_percent(s->kept, s->runs),
            simulate_percent(s->ends[WORLD_REFUSED] + s->ends[WORLD_ABORTED], s->runs));
    simulate_print_spread(simulate_spread(s->total_ms, s->n), to);
    simulate_print_spread(simulate_spread(s->pause_ms, s->n), to);
    fprintf(to, " %s\n", s->n > 0 ? units_format_size(sent, (uint64_t)bytes.median) : "-");
}

static void simulate_print_pair(const char *what, const double *simulated, size_t n,
                                const double *measured, size_t measured_n, FILE *to)
{
    char a[16], b[16];
    struct simulate_spread s = simulate_spread(simulated, n),
                           m = simulate_spread(measured, measured_n);
    fprintf(to, "  %-6s simulated %9s, measured %9s: ratio %.2f, distance %.2f\n", what,
            simulate_time(s.median, a), simulate_time(m.median, b), s.median / m.median,
            fit_distance(simulated, n, measured, measured_n));
}

static void simulate_print_fit(const struct simulate_row *r, FILE *to)
{
    char sent[UNITS_TEXT_MAX], was[UNITS_TEXT_MAX];
    const struct simulated *s = &r->simulated;
    const struct simulate_measured *m = &r->measured;
    fprintf(to, "%s: %zu trials\n", r->cell, m->n);
    if (r->skipped != NULL) {
        fprintf(to, "  not simulated: %s\n", r->skipped);
        return;
    }
    if (s->n == 0 || m->n == 0) {
        fprintf(to, "  simulated %zu of %u done, measured %zu\n", s->n, s->runs, m->n);
        return;
    }
    simulate_print_pair("total", s->total_ms, s->n, m->total_ms, m->n, to);
    if (m->pause_n > 0)
        simulate_print_pair("pause", s->pause_ms, s->n, m->pause_ms, m->pause_n, to);
    double bytes = simulate_spread(s->bytes, s->n).median,
           meant = simulate_spread(m->bytes, m->n).median;
    fprintf(to, "  bytes  simulated %9s, measured %9s: ratio %.2f, distance %.2f\n",
            units_format_size(sent, (uint64_t)bytes), units_format_size(was, (uint64_t)meant),
            bytes / meant, fit_distance(s->bytes, s->n, m->bytes, m->n));
}

static uint64_t simulate_all(const struct simulate_call *c)
{
    uint64_t all = 0;
    for (size_t i = 0; i < c->n; i++)
        all += c->rows[i].simulated.runs;
    return all;
}

void report_simulate_text(const struct simulate_call *c, FILE *to)
{
    if (c->fit.n == 0)
        fprintf(to, "%10s %12s %12s %6s %6s %6s %9s %-23s %9s %-23s %s\n", "set", "dirtied", "link",
                "done", "kept", "ended", "total", "", "pause", "", "sent");
    for (size_t i = 0; i < c->n; i++)
        (c->fit.n == 0 ? simulate_print_row : simulate_print_fit)(&c->rows[i], to);
    fprintf(to, "%" PRIu64 " migrations in %.2f s, %.0f a second\n", simulate_all(c),
            (double)c->took_ns / 1e9, (double)simulate_all(c) * 1e9 / (double)(c->took_ns + 1));
}

/* ---- JSON ---- */

static void simulate_json_spread(struct json *o, const char *key, const double *sorted, size_t n)
{
    struct simulate_spread s = simulate_spread(sorted, n);
    struct json *to = json_node(o, key);
    json_number(to, "p5", s.low);
    json_number(to, "median", s.median);
    json_number(to, "p95", s.high);
}

/* Bytes are whole. */
static void simulate_json_bytes(struct json *o, const char *key, double bytes)
{
    if (isnan(bytes))
        json_text(o, key, NULL);
    else
        json_u64(o, key, (uint64_t)llround(bytes));
}

static void simulate_json_sent(struct json *o, const double *sorted, size_t n)
{
    struct simulate_spread s = simulate_spread(sorted, n);
    struct json *to = json_node(o, "sent_bytes");
    simulate_json_bytes(to, "p5", s.low);
    simulate_json_bytes(to, "median", s.median);
    simulate_json_bytes(to, "p95", s.high);
}

static void simulate_json_difference(struct json *o, const char *key, const double *a, size_t a_n,
                                     const double *b, size_t b_n)
{
    struct json *to = json_node(o, key);
    json_number(to, "ratio", simulate_spread(a, a_n).median / simulate_spread(b, b_n).median);
    json_number(to, "distance", fit_distance(a, a_n, b, b_n));
}

static void simulate_json_fit(struct json *o, const struct simulate_row *r)
{
    const struct simulate_measured *m = &r->measured;
    const struct simulated *s = &r->simulated;
    json_text(o, "cell", r->cell);
    json_text(o, "skipped", r->skipped);
    struct json *measured = json_node(o, "measured");
    json_u64(measured, "done", m->n);
    simulate_json_spread(measured, "total_ms", m->total_ms, m->n);
    simulate_json_spread(measured, "pause_ms", m->pause_ms, m->pause_n);
    simulate_json_sent(measured, m->bytes, m->n);
    struct json *difference = json_node(o, "difference");
    simulate_json_difference(difference, "total_ms", s->total_ms, s->n, m->total_ms, m->n);
    simulate_json_difference(difference, "pause_ms", s->pause_ms, s->n, m->pause_ms, m->pause_n);
    simulate_json_difference(difference, "sent_bytes", s->bytes, s->n, m->bytes, m->n);
}

static void simulate_json_row(struct json *o, const struct simulate_row *r, bool fit)
{
    const struct simulated *s = &r->simulated;
    simulate_json_bytes(o, "working_set_bytes", r->working_set_bytes);
    simulate_json_bytes(o, "dirty_bytes_per_s", r->dirty_bytes_per_s);
    simulate_json_bytes(o, "link_bytes_per_s", r->link_bytes_per_s);
    json_u64(o, "runs", s->runs);
    for (int i = 0; i < WORLD_ENDS; i++)
        json_u64(o, world_end_name((enum world_end)i), s->ends[i]);
    json_u64(o, "kept", s->kept);
    json_u64(o, "throttle_percent", s->throttle_percent);
    json_number(o, "decisions", s->decisions);
    simulate_json_spread(o, "total_ms", s->total_ms, s->n);
    simulate_json_spread(o, "pause_ms", s->pause_ms, s->n);
    simulate_json_sent(o, s->bytes, s->n);
    if (fit)
        simulate_json_fit(o, r);
}

void report_simulate_json(const struct simulate_call *c, const struct err *e, FILE *to)
{
    struct json *o = json_new();
    if (e->class == ERR_NONE) {
        json_u64(o, "seed", c->seed);
        json_u64(o, "migrations", simulate_all(c));
        struct json *points = json_list(o, "points");
        for (size_t i = 0; i < c->n; i++)
            simulate_json_row(json_item(points), &c->rows[i], c->fit.n > 0);
    }
    json_error(o, e);
    json_print(o, to);
}
