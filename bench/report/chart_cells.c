/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/chart_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

enum {
    CHART_WIDE = 600, /* two side by side */
    CHART_LANE = 15,  /* pixels: one route of one setting */
    CHART_TITLE = 34, /* pixels, as the next */
    CHART_AXIS = 48,
    CHART_ROUTES = TRIAL_VIRSH + 1,
};

const char *chart_route_colour(enum trial_route route)
{
    static const char *const colours[] = {[TRIAL_QMP] = "#00805c",
                                          [TRIAL_DIRECT] = "#0072b2",
                                          [TRIAL_NATIVE] = "#aa3377",
                                          [TRIAL_VIRSH] = "#c24e00"};
    return colours[route];
}

const char *chart_rate(char text[CHART_TEXT_MAX], uint64_t bytes_per_s)
{
    if (bytes_per_s == 0)
        snprintf(text, CHART_TEXT_MAX, "idle");
    else
        snprintf(text, CHART_TEXT_MAX, "%.4g MiB/s", (double)bytes_per_s / (1 << 20));
    return text;
}

size_t chart_rate_cells(const struct cell *at, size_t n)
{
    size_t same = 0;
    while (same < n && at[same].what->dirty_bytes_per_s == at->what->dirty_bytes_per_s)
        same++;
    return same;
}

/* ---- axes ---- */

/* The largest 1, 2 or 5 times a power of ten that is not above `value`, or the next above it. */
static double chart_round(double value, bool up)
{
    static const double steps[] = {1, 2, 5, 10};
    double decade = pow(10, floor(log10(value)));
    double below = decade;
    for (size_t i = 0; i < 4; i++) {
        double step = steps[i] * decade;
        if (up && step >= value * (1 - 1e-9))
            return step;
        if (step <= value * (1 + 1e-9))
            below = step;
    }
    return below;
}

/* A logarithmic axis from below `low` to above `high`, with more labels than a power of ten has:
 * the times of one chart are often within one. */
static void chart_log_axis(FILE *to, char axis, double low, double high)
{
    static const int steps[] = {1, 2, 5};
    low = chart_round(low, false);
    high = chart_round(high * 1.02, true);
    bool few = high / low < 200;
    fprintf(to, "set logscale %c\nset %crange [%g:%g]\nset %ctics (", axis, axis, low, high, axis);
    const char *comma = "";
    for (int decade = (int)floor(log10(low)); pow(10, decade) <= high * 1.001; decade++)
        for (int i = 0; i < (few ? 3 : 1); i++) {
            double at = steps[i] * pow(10, decade);
            fprintf(to, "%s'%g' %g", comma, at, at);
            comma = ", ";
        }
    fputs(")\n", to);
}

struct chart_range {
    double low, high; /* low > high: nothing yet */
};

static void chart_range_add(struct chart_range *r, double value)
{
    if (!(value > 0)) /* nor NAN: the axis is logarithmic */
        return;
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

/* ---- lanes: what a chart of one dirty rate has from top to bottom ---- */

/* Where each cell's lane is: those of a setting close together, a gap between settings. Returns the
 * height of all. */
static double chart_lanes(const struct cell *at, size_t n, double *lane, FILE *tics)
{
    double y = 0, first = 0;
    const char *comma = "";
    fputs("set ytics scale 0 (", tics);
    for (size_t i = 0; i < n; i++) {
        bool begins = i == 0 || strcmp(at[i].what->setting, at[i - 1].what->setting) != 0;
        bool ends = i + 1 == n || strcmp(at[i].what->setting, at[i + 1].what->setting) != 0;
        y += i == 0 ? 1 : begins ? 1.6 : 1;
        if (begins)
            first = y;
        lane[i] = y;
        if (!ends)
            continue;
        fputs(comma, tics);
        plot_text(tics, at[i].what->setting);
        fprintf(tics, " %g", (first + y) / 2);
        comma = ", ";
    }
    fprintf(tics, ")\nset yrange [%g:0]\n", y + 1);
    return y + 1;
}

/* Begins a chart of lanes; the height is known only after its lanes are. */
static FILE *chart_lanes_begin(struct page *p, const struct cell *at, size_t n, double *lane,
                               const char *what)
{
    char rate[CHART_TEXT_MAX];
    size_t settings = 1;
    for (size_t i = 1; i < n; i++)
        settings += strcmp(at[i].what->setting, at[i - 1].what->setting) != 0;
    double lanes = (double)n + 1 + 0.6 * (double)(settings - 1);
    double height = CHART_TITLE + CHART_AXIS + ceil(lanes * (double)CHART_LANE);
    FILE *to = page_chart(p, CHART_WIDE, (unsigned)height);
    fprintf(to, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n",
            1 - (double)CHART_TITLE / height, (double)CHART_AXIS / height);
    chart_lanes(at, n, lane, to);
    chart_rate(rate, at->what->dirty_bytes_per_s);
    fprintf(to, "set title 'dirty rate: %s' font ',13' offset 0,-0.7\n", rate);
    fprintf(to, "set xlabel '%s' offset 0,0.5\nunset key\n", what);
    fputs("set grid xtics lc rgb '#dddddd' lt 1\nset border 3 lc rgb '#888888'\n"
          "set tics nomirror textcolor rgb '#1a1a1a'\n",
          to);
    return to;
}

/* A line for the interval and a bar for the median, for each lane of $m: x, low, high, y. */
static void chart_lanes_medians(FILE *to, unsigned route, const char *colour)
{
    fprintf(to,
            "$m%u using 2:4:($3-$2):(0) with vectors nohead lw 2.5 lc rgb '%s', "
            "$m%u using 1:($4-0.42):(0):(0.84) with vectors nohead lw 2.5 lc rgb '%s'",
            route, colour, route, colour);
}

/* ---- silences ---- */

/* $d: a dot for each value, apart from each other; $m: median and interval. Returns whether there
 * is any. */
static bool chart_silence_data(FILE *to, const struct cell *at, size_t n, const double *lane,
                               enum trial_route route)
{
    bool any = false;
    fprintf(to, "$d%u << EOD\n", route);
    for (size_t i = 0; i < n; i++) {
        const struct cells_sample *s = &at[i].sample[CELLS_SILENCE];
        for (size_t k = 0; at[i].what->route == route && k < s->stats.n; k++) {
            any = true;
            fprintf(to, "%.3f %.3f\n", s->sorted[k], lane[i] + (double)(k * 7 % 10) / 20 - 0.225);
        }
    }
    fprintf(to, "EOD\n$m%u << EOD\n", route);
    for (size_t i = 0; i < n; i++) {
        const struct cells_sample *s = &at[i].sample[CELLS_SILENCE];
        if (at[i].what->route != route || s->stats.n == 0)
            continue;
        bool known = !isnan(s->interval.low);
        fprintf(to, "%.3f %.3f %.3f %g\n", s->stats.median,
                known ? s->interval.low : s->stats.median,
                known ? s->interval.high : s->stats.median, lane[i]);
    }
    fputs("EOD\n", to);
    return any;
}

static void chart_silences_of_rate(struct page *p, const struct cell *at, size_t n,
                                   const struct chart_range *range)
{
    CLEANUP_FREE double *lane = calloc(n, sizeof *lane);
    bool any[CHART_ROUTES];
    if (lane == NULL)
        return;
    FILE *to = chart_lanes_begin(p, at, n, lane, "silence, ms");
    chart_log_axis(to, 'x', range->low, range->high);
    for (unsigned route = 0; route < CHART_ROUTES; route++)
        any[route] = chart_silence_data(to, at, n, lane, (enum trial_route)route);
    fputs("plot NaN", to);
    for (unsigned route = 0; route < CHART_ROUTES; route++) {
        const char *colour = chart_route_colour((enum trial_route)route);
        if (!any[route])
            continue;
        /* the dots are half transparent: where many are is darker */
        fprintf(to, ", $d%u using 1:2 with points pt 7 ps 0.45 lc rgb '#80%s', ", route,
                colour + 1);
        chart_lanes_medians(to, route, colour);
    }
    fputs("\n", to);
}

void chart_silences(struct page *p, const struct cell *at, size_t n)
{
    struct chart_range range = {INFINITY, 0};
    for (size_t i = 0; i < n; i++) {
        chart_range_add(&range, at[i].sample[CELLS_SILENCE].stats.min);
        chart_range_add(&range, at[i].sample[CELLS_SILENCE].stats.max);
    }
    if (range.high == 0)
        return;
    page_begin(p, "div class=charts");
    for (size_t i = 0, same; i < n; i += same) {
        same = chart_rate_cells(at + i, n - i);
        chart_silences_of_rate(p, at + i, same, &range);
    }
    page_end(p, "div");
}

/* ---- total time ---- */

enum { CHART_RATES_MAX = 32 };

struct chart_totals {
    uint64_t rates[CHART_RATES_MAX];
    size_t rates_n;
    struct chart_range range;
    const struct trial_series *series;
};

static size_t chart_rate_index(const struct chart_totals *c, uint64_t rate)
{
    size_t i = 0;
    while (i < c->rates_n && c->rates[i] != rate)
        i++;
    return i;
}

/* On the axis of the rates: each has a place of its own, as 0 has none on a logarithmic one. The
 * routes are a bit apart, so that their intervals do not cover each other. */
static double chart_rate_place(const struct chart_totals *c, const struct trial_cell *what)
{
    return (double)chart_rate_index(c, what->dirty_bytes_per_s) + 0.04 * (double)(int)what->route;
}

/* Those that were given up have no total, but have taken so long. */
static double chart_given_up_ms(const struct chart_totals *c, const struct cell *cell, size_t i)
{
    const struct trial *t = &c->series->trials[cell->trials[i]];
    return t->end == TRIAL_NOT_CONVERGED && t->total_ns > 0 ? (double)t->total_ns / 1e6 : NAN;
}

static void chart_totals_look(struct chart_totals *c, const struct cell *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t rate = at[i].what->dirty_bytes_per_s;
        if (chart_rate_index(c, rate) == c->rates_n && c->rates_n < CHART_RATES_MAX)
            c->rates[c->rates_n++] = rate;
        chart_range_add(&c->range, at[i].sample[CELLS_TOTAL].stats.median);
        chart_range_add(&c->range, at[i].sample[CELLS_TOTAL].interval.low);
        chart_range_add(&c->range, at[i].sample[CELLS_TOTAL].interval.high);
        for (size_t k = 0; k < at[i].n; k++)
            chart_range_add(&c->range, chart_given_up_ms(c, &at[i], k));
    }
}

/* $t: place, median, low, high; $x: where trials were given up. */
static void chart_totals_data(FILE *to, const struct chart_totals *c, const struct cell *at,
                              size_t n, const char *setting, enum trial_route route, bool any[2])
{
    fprintf(to, "$t%u << EOD\n", route);
    for (size_t i = 0; i < n; i++) {
        const struct cells_sample *s = &at[i].sample[CELLS_TOTAL];
        if (at[i].what->route != route || strcmp(at[i].what->setting, setting) != 0 ||
            s->stats.n == 0)
            continue;
        bool known = !isnan(s->interval.low);
        any[0] = true;
        fprintf(to, "%g %.3f %.3f %.3f\n", chart_rate_place(c, at[i].what), s->stats.median / 1e3,
                (known ? s->interval.low : s->stats.median) / 1e3,
                (known ? s->interval.high : s->stats.median) / 1e3);
    }
    fprintf(to, "EOD\n$x%u << EOD\n", route);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < at[i].n; k++) {
            double ms = chart_given_up_ms(c, &at[i], k);
            if (at[i].what->route != route || strcmp(at[i].what->setting, setting) != 0 ||
                isnan(ms))
                continue;
            any[1] = true;
            fprintf(to, "%g %.3f\n", chart_rate_place(c, at[i].what), ms / 1e3);
        }
    fputs("EOD\n", to);
}

static void chart_totals_of_setting(struct page *p, const struct chart_totals *c,
                                    const struct cell *at, size_t n, const char *setting)
{
    FILE *to = page_chart(p, 300, 260);
    bool any[CHART_ROUTES][2] = {{false}};
    fputs("set title ", to);
    plot_text(to, setting);
    fputs(" font ',13'\nunset key\nset border 3 lc rgb '#888888'\n"
          "set tics nomirror textcolor rgb '#1a1a1a'\nset grid ytics lc rgb '#dddddd' lt 1\n"
          "set ylabel 'total, s'\nset xlabel 'dirty rate, MiB/s'\n",
          to);
    chart_log_axis(to, 'y', c->range.low / 1e3, c->range.high / 1e3);
    fprintf(to, "set xrange [-0.3:%g]\nset xtics (", (double)c->rates_n - 0.6);
    for (size_t i = 0; i < c->rates_n; i++)
        fprintf(to, "%s'%.4g' %zu", i > 0 ? ", " : "", (double)c->rates[i] / (1 << 20), i);
    fputs(")\n", to);
    for (unsigned route = 0; route < CHART_ROUTES; route++)
        chart_totals_data(to, c, at, n, setting, (enum trial_route)route, any[route]);
    fputs("plot NaN", to);
    for (unsigned route = 0; route < CHART_ROUTES; route++) {
        const char *colour = chart_route_colour((enum trial_route)route);
        if (any[route][0])
            fprintf(to,
                    ", $t%u using 1:2 with linespoints pt 7 ps 0.5 lw 1.5 lc rgb '%s', $t%u using "
                    "1:3:(0):($4-$3) with vectors nohead lw 2.5 lc rgb '%s'",
                    route, colour, route, colour);
        if (any[route][1])
            fprintf(to, ", $x%u using 1:2 with points pt 2 ps 0.9 lw 1.5 lc rgb '%s'", route,
                    colour);
    }
    fputs("\n", to);
}

void chart_totals(struct page *p, const struct cell *at, size_t n, const struct trial_series *s)
{
    struct chart_totals c = {.range = {INFINITY, 0}, .series = s};
    chart_totals_look(&c, at, n);
    if (c.range.high == 0)
        return;
    page_begin(p, "div class=charts");
    for (size_t i = 0; i < n; i++) {
        size_t before = 0; /* the cell is the first with its setting */
        while (strcmp(at[before].what->setting, at[i].what->setting) != 0)
            before++;
        if (before == i)
            chart_totals_of_setting(p, &c, at, n, at[i].what->setting);
    }
    page_end(p, "div");
}

/* ---- ratios ---- */

static void chart_ratios_of_rate(struct page *p, const struct cell *at, size_t n,
                                 const struct stats_contrast *contrast,
                                 const struct chart_range *range)
{
    CLEANUP_FREE double *lane = calloc(n, sizeof *lane);
    bool any[CHART_ROUTES] = {false};
    if (lane == NULL)
        return;
    FILE *to = chart_lanes_begin(p, at, n, lane, "silence, times that of virsh");
    chart_log_axis(to, 'x', range->low, range->high);
    fputs("set arrow from 1, graph 0 to 1, graph 1 nohead lw 1.5 lc rgb '#444444'\n", to);
    for (unsigned route = 0; route < CHART_ROUTES; route++) {
        fprintf(to, "$m%u << EOD\n", route);
        for (size_t i = 0; i < n; i++) {
            const struct stats_contrast *c = &contrast[i];
            if (at[i].what->route != route)
                continue;
            bool known = !isnan(c->interval.low);
            any[route] = true;
            fprintf(to, "%.4f %.4f %.4f %g\n", c->ratio, known ? c->interval.low : c->ratio,
                    known ? c->interval.high : c->ratio, lane[i]);
        }
        fputs("EOD\n", to);
    }
    fputs("plot NaN", to);
    for (unsigned route = 0; route < CHART_ROUTES; route++)
        if (any[route]) {
            fputs(", ", to);
            chart_lanes_medians(to, route, chart_route_colour((enum trial_route)route));
        }
    fputs("\n", to);
}

void chart_ratios(struct page *p, const struct cells *all, const struct cell *at, size_t n,
                  uint64_t seed)
{
    CLEANUP_FREE struct stats_contrast *contrast = calloc(n, sizeof *contrast);
    CLEANUP_FREE struct cell *some = calloc(n, sizeof *some); /* those that have a peer */
    struct chart_range range = {1, 1};
    size_t some_n = 0;
    for (size_t i = 0; contrast != NULL && some != NULL && i < n; i++) {
        const struct cell *peer = cells_peer(all, &at[i]);
        if (peer == NULL)
            continue;
        struct stats_contrast c = cells_contrast(&at[i], peer, CELLS_SILENCE, seed);
        if (!(c.ratio > 0))
            continue;
        chart_range_add(&range, c.ratio);
        chart_range_add(&range, c.interval.low);
        chart_range_add(&range, c.interval.high);
        contrast[some_n] = c;
        some[some_n++] = at[i];
    }
    page_begin(p, "div class=charts");
    for (size_t i = 0, same; i < some_n; i += same) {
        same = chart_rate_cells(some + i, some_n - i);
        chart_ratios_of_rate(p, some + i, same, contrast + i, &range);
    }
    page_end(p, "div");
}
