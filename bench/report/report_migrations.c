/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/report_migrations.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "bench/report/chart_cells.h"
#include "core/units.h"

const char *report_ms(char text[REPORT_TEXT_MAX], double ms)
{
    if (isnan(ms))
        snprintf(text, REPORT_TEXT_MAX, "–");
    else
        snprintf(text, REPORT_TEXT_MAX, ms < 99.95 ? "%.1f" : "%.0f", ms);
    return text;
}

static void report_cell_ms(struct page *p, double ms)
{
    char text[REPORT_TEXT_MAX];
    page_element(p, "td", "%s", report_ms(text, ms));
}

static void report_interval(struct page *p, const struct stats_interval *i)
{
    char low[REPORT_TEXT_MAX], high[REPORT_TEXT_MAX];
    if (isnan(i->low))
        page_element(p, "td", "–");
    else
        page_element(p, "td", "%s to %s", report_ms(low, i->low), report_ms(high, i->high));
}

/* ---- head ---- */

static void report_fact(struct page *p, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void report_fact(struct page *p, const char *name, const char *fmt, ...)
{
    char text[640];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    page_element(p, "dt", "%s", name);
    page_element(p, "dd", "%s", text);
}

static void report_when(struct page *p, const struct trial_series *s)
{
    int64_t first = INT64_MAX, last = INT64_MIN;
    char from[40] = "", to[40] = "";
    for (size_t i = 0; i < s->n; i++) {
        int64_t at = s->trials[i].started_epoch_ns;
        if (at == TRIAL_NEVER)
            continue;
        first = at < first ? at : first;
        last = at > last ? at : last;
    }
    if (first > last)
        return;
    time_t begin = (time_t)(first / 1000000000), end = (time_t)(last / 1000000000);
    struct tm tm;
    strftime(from, sizeof from, "%Y-%m-%d %H:%M", gmtime_r(&begin, &tm));
    strftime(to, sizeof to, "%Y-%m-%d %H:%M", gmtime_r(&end, &tm));
    report_fact(p, "measured", "%s to %s UTC", from, to);
}

static void report_head(const struct report_migrations *r, struct page *p)
{
    const struct trial_series *s = &r->results->series;
    size_t warm_ups = 0, counted = 0;
    for (size_t i = 0; i < s->n; i++) {
        warm_ups += s->trials[i].warm_up;
        counted += trial_counts(&s->trials[i]);
    }
    page_begin(p, "dl");
    report_when(p, s);
    report_fact(p, "trials", "%zu in %zu cell%s; %zu count; %zu more for warming up",
                s->n - warm_ups, r->cells->n, r->cells->n == 1 ? "" : "s", counted, warm_ups);
    report_fact(p, "machine", "%s, %ld core%s%s%s", s->kernel, s->cores, s->cores == 1 ? "" : "s",
                s->cpu[0] != '\0' ? " of " : "", s->cpu);
    report_fact(p, "versions", "godwit %s%s%s", s->godwit,
                s->libvirt[0] != '\0' ? ", libvirt " : "", s->libvirt);
    report_fact(p, "scenario", "%s, %u rounds, seed %" PRIu64, s->scenario, s->rounds, s->seed);
    report_fact(p, "command", "%s", s->command);
    page_end(p, "dl");
    if (r->results->mixed)
        page_element(p, "p class=note",
                     "The trials are of several runs on this machine; command, "
                     "versions and seed are those of the first.");
}

/* ---- the cells that are alike ---- */

static void report_context(struct page *p, const struct trial_cell *c)
{
    char ram[UNITS_TEXT_MAX], set[UNITS_TEXT_MAX], link[CHART_TEXT_MAX];
    page_element(p, "h2", "Migrations: %s guest, %s", c->guest, c->accel);
    page_begin(p, "dl");
    report_fact(p, "guest", "%s of memory, of which %s are written to; %u vCPU%s",
                units_format_size(ram, c->ram_bytes), units_format_size(set, c->working_set_bytes),
                c->vcpus, c->vcpus == 1 ? "" : "s");
    if (c->link_bytes_per_s > 0)
        report_fact(p, "link", "%s", chart_rate(link, c->link_bytes_per_s));
    if (strcmp(c->qemu[TRIAL_SOURCE], c->qemu[TRIAL_DESTINATION]) == 0)
        report_fact(p, "QEMU", "%s", c->qemu[TRIAL_SOURCE]);
    else
        report_fact(p, "QEMU", "%s to %s", c->qemu[TRIAL_SOURCE], c->qemu[TRIAL_DESTINATION]);
    page_end(p, "dl");
}

/* The routes that there are, each in its colour. */
static void report_legend(struct page *p, const struct cell *at, size_t n)
{
    unsigned routes = 0;
    for (size_t i = 0; i < n; i++)
        routes |= 1u << at[i].what->route;
    page_begin(p, "p");
    for (unsigned route = 0; route <= TRIAL_VIRSH; route++) {
        char tag[48];
        if (!(routes & 1u << route))
            continue;
        snprintf(tag, sizeof tag, "b style=color:%s", chart_route_colour((enum trial_route)route));
        page_element(p, tag, "■ %s", trial_route_name((enum trial_route)route));
    }
    page_end(p, "p");
}

/* What the settings' names stand for. */
static void report_settings(struct page *p, const struct cell *at, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        size_t before = 0;
        while (strcmp(at[before].what->setting, at[i].what->setting) != 0)
            before++;
        if (before < i || at[i].what->options[0] == '\0')
            continue;
        if (!any)
            page_begin(p, "dl");
        any = true;
        report_fact(p, at[i].what->setting, "%s", at[i].what->options);
    }
    if (any)
        page_end(p, "dl");
}

/* ---- the headline table ---- */

/* The row above the cells of one dirty rate. */
static void report_rate_row(struct page *p, uint64_t rate, unsigned columns)
{
    char tag[32], text[CHART_TEXT_MAX];
    snprintf(tag, sizeof tag, "td colspan=%u", columns);
    page_begin(p, "tr class=group");
    page_element(p, tag, "dirty rate: %s", chart_rate(text, rate));
    page_end(p, "tr");
}

/* Begins a row with the names of the cell; the setting's only where it changes. */
static void report_row_begin(struct page *p, const struct cell *at, size_t i)
{
    char tag[64];
    bool first = i == 0 || strcmp(at[i].what->setting, at[i - 1].what->setting) != 0 ||
                 at[i].what->dirty_bytes_per_s != at[i - 1].what->dirty_bytes_per_s;
    page_begin(p, first ? "tr class=first" : "tr");
    page_element(p, "td class=t", "%s", first ? at[i].what->setting : "");
    snprintf(tag, sizeof tag, "td class=t style=color:%s", chart_route_colour(at[i].what->route));
    page_element(p, tag, "%s", trial_route_name(at[i].what->route));
}

static void report_ends(struct page *p, const struct cell *c)
{
    char text[96] = "";
    size_t len = 0;
    for (int end = TRIAL_DONE + 1; end < CELLS_ENDS && len < sizeof text; end++)
        if (c->ends[end] > 0)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%zu %s", len > 0 ? ", " : "",
                                    c->ends[end], trial_end_name((enum trial_end)end));
    page_element(p, "td class=t", "%s", text);
}

static void report_headline_row(struct page *p, const struct cell *at, size_t i)
{
    const struct cells_sample *s = &at[i].sample[CELLS_SILENCE];
    char letters[16];
    report_row_begin(p, at, i);
    page_element(p, "td", "%zu", s->stats.n);
    report_cell_ms(p, s->stats.median);
    report_interval(p, &s->interval);
    report_cell_ms(p, stats_tail(s->sorted, s->stats.n, 0.95));
    report_cell_ms(p, stats_tail(s->sorted, s->stats.n, 0.99));
    report_cell_ms(p, s->stats.min);
    report_cell_ms(p, s->stats.max);
    report_cell_ms(p, at[i].sample[CELLS_ALL_SILENCES].stats.median);
    if (at[i].again > 0)
        page_element(p, "td", "%zu", at[i].again);
    else
        page_element(p, "td", "%s", "");
    report_cell_ms(p, at[i].sample[CELLS_QEMU].stats.median);
    report_cell_ms(p, at[i].sample[CELLS_TOTAL].stats.median);
    trial_marks_text(at[i].marks, letters);
    if (at[i].marked > 0)
        page_element(p, "td class=t", "%zu (%s)", at[i].marked, letters);
    else
        page_element(p, "td", "%s", "");
    report_ends(p, &at[i]);
    page_end(p, "tr");
}

static void report_headline(struct page *p, const struct cell *at, size_t n)
{
    page_element(p, "h3", "The silence, in ms");
    page_begin(p, "div class=wide");
    page_table(
        p,
        "<setting|<route|n|median|95 % interval|p95|p99|min|max|all, median|again in|QEMU's median|"
        "total, median|<marked|<not done");
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || at[i].what->dirty_bytes_per_s != at[i - 1].what->dirty_bytes_per_s)
            report_rate_row(p, at[i].what->dirty_bytes_per_s, 15);
        report_headline_row(p, at, i);
    }
    page_end(p, "table");
    page_end(p, "div");
    page_element(
        p, "p class=note",
        "The silence: from the guest's last sign of life on the source to its first on "
        "the destination, as seen from outside, on the serial port or else by ping. n: trials "
        "that are done and have one. The interval is of the median, by bootstrap, from 5 "
        "trials on; p95 takes 20 trials, p99 takes 100.");
    page_element(
        p, "p class=note",
        "All: every silence of a trial that is longer than %d times its quiet level, which nine of "
        "ten intervals before did not exceed, in sum. Again in: trials in which an observer saw the "
        "guest silent once more after the switchover, as when the network was not told of the move.",
        OBSERVER_QUIET_TIMES);
    page_element(
        p, "p class=note",
        "Marks: b no observer saw the guest change sides; e the longest silence was "
        "another; l the observer ran late; o the guest had not come back; 2 heartbeats came twice; "
        "s others had the processors. Marked trials count.");
}

/* What the trials that are not done say, once each. */
static void report_errors(const struct report_migrations *r, struct page *p, const struct cell *at,
                          size_t n)
{
    const struct trial *trials = r->results->series.trials;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const char *last = "";
        for (size_t k = 0; k < at[i].n; k++) {
            const struct trial *t = &trials[at[i].trials[k]];
            char rate[CHART_TEXT_MAX];
            if (t->error.class == ERR_NONE || strcmp(t->error.msg, last) == 0)
                continue;
            if (!any) {
                page_begin(p, "details");
                page_element(p, "summary", "What those that are not done say");
                page_begin(p, "ul");
            }
            any = true;
            last = t->error.msg;
            page_element(p, "li", "%s, %s, %s: trial %u %s: %s", t->cell.setting,
                         trial_route_name(t->cell.route),
                         chart_rate(rate, t->cell.dirty_bytes_per_s), t->number,
                         trial_end_name(t->end), last);
        }
    }
    if (any) {
        page_end(p, "ul");
        page_end(p, "details");
    }
}

/* ---- against the peer ---- */

static void report_contrast(struct page *p, const struct stats_contrast *c)
{
    char tag[32];
    if (isnan(c->ratio)) {
        page_element(p, "td", "–");
        page_element(p, "td", "–");
        page_element(p, "td class=t", "%s", stats_verdict_name(c->verdict));
        return;
    }
    page_element(p, "td", "%.2f", c->ratio);
    if (isnan(c->interval.low))
        page_element(p, "td", "–");
    else
        page_element(p, "td", "%.2f to %.2f", c->interval.low, c->interval.high);
    snprintf(tag, sizeof tag, "td class=\"t %s\"",
             c->verdict == STATS_CANNOT_TELL ? "" : stats_verdict_name(c->verdict));
    page_element(p, tag, "%s", stats_verdict_name(c->verdict));
}

static void report_peer_row(const struct report_migrations *r, struct page *p,
                            const struct cell *at, size_t i, const struct cell *peer)
{
    uint64_t seed = r->results->series.seed;
    struct stats_contrast silence = cells_contrast(&at[i], peer, CELLS_SILENCE, seed);
    struct stats_contrast total = cells_contrast(&at[i], peer, CELLS_TOTAL, seed);
    report_row_begin(p, at, i);
    page_element(p, "td class=t", "virsh %s", peer->what->setting);
    report_contrast(p, &silence);
    report_contrast(p, &total);
    page_end(p, "tr");
}

static void report_peers(const struct report_migrations *r, struct page *p, const struct cell *at,
                         size_t n)
{
    uint64_t rate = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct cell *peer = cells_peer(r->cells, &at[i]);
        if (peer == NULL)
            continue;
        if (rate == UINT64_MAX) {
            page_element(p, "h3", "Against virsh");
            report_legend(p, at, n);
            chart_ratios(p, r->cells, at, n, r->results->series.seed);
            page_begin(p, "div class=wide");
            page_table(p, "<setting|<route|<against|silence, ×|95 % interval|<the silence is|"
                          "total, ×|95 % interval|<the total time is");
        }
        if (rate != at[i].what->dirty_bytes_per_s)
            report_rate_row(p, at[i].what->dirty_bytes_per_s, 9);
        rate = at[i].what->dirty_bytes_per_s;
        report_peer_row(r, p, at, i, peer);
    }
    if (rate == UINT64_MAX)
        return;
    page_end(p, "table");
    page_end(p, "div");
    page_element(p, "p class=note",
                 "×: the median as many times as that of virsh with the same setting and dirty "
                 "rate, or with the default where virsh has no such setting. Faster and slower: "
                 "the 95 %% interval, by bootstrap, does not cover 1; from 5 trials on each side.");
}

/* ---- four numbers for one pause ---- */

static void report_vantages(struct page *p, const struct cell *at, size_t n)
{
    static const enum cells_measure by[] = {CELLS_SERIAL, CELLS_PING, CELLS_QEMU, CELLS_TRACED};
    page_element(p, "h3", "The pause by four meters: medians, in ms");
    page_begin(p, "div class=wide");
    page_table(p, "<setting|<route|silence, serial|silence, ping|QEMU's downtime|"
                  "vCPUs stopped to running");
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || at[i].what->dirty_bytes_per_s != at[i - 1].what->dirty_bytes_per_s)
            report_rate_row(p, at[i].what->dirty_bytes_per_s, 6);
        report_row_begin(p, at, i);
        for (size_t k = 0; k < sizeof by / sizeof *by; k++)
            report_cell_ms(p, at[i].sample[by[k]].stats.median);
        page_end(p, "tr");
    }
    page_end(p, "table");
    page_end(p, "div");
    page_element(p, "p class=note",
                 "The first two are what a user of the guest sees; QEMU's downtime is what it "
                 "reports itself; the last is by QEMU's events and trace points on both sides.");
}

/* ---- all ---- */

static int report_alike(const struct report_migrations *r, const struct cell *at, size_t n,
                        struct page *p, struct err *e)
{
    report_context(p, at->what);
    report_settings(p, at, n);
    report_headline(p, at, n);
    report_errors(r, p, at, n);
    page_element(p, "h3", "Every silence");
    report_legend(p, at, n);
    chart_silences(p, at, n);
    page_element(p, "p class=note",
                 "A dot is a trial. The upright bar is the median, the line across it the 95 %% "
                 "interval of the median. Logarithmic.");
    if (chart_rate_cells(at, n) < n) {
        page_element(p, "h3", "Total time by dirty rate");
        report_legend(p, at, n);
        chart_totals(p, at, n, &r->results->series);
        page_element(p, "p class=note",
                     "Medians with their 95 %% intervals. A cross is a trial that was given up, at "
                     "the time when it was.");
    }
    report_peers(r, p, at, n);
    report_vantages(p, at, n);
    return report_trials(r, at, n, p, e);
}

int report_migrations(const struct report_migrations *r, struct page *p, struct err *e)
{
    const struct cells *c = r->cells;
    report_head(r, p);
    if (report_trials_by_number(r, p, e) < 0)
        return -1;
    for (size_t i = 0, end; i < c->n; i = end) {
        for (end = i + 1; end < c->n && cells_alike(c->at[i].what, c->at[end].what);)
            end++;
        if (report_alike(r, c->at + i, end - i, p, e) < 0)
            return -1;
    }
    return 0;
}
