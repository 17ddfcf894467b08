/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/gate.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/units.h"

enum { SERIES_LINE_MAX = 256 };

static void series_cell_text(const struct trial_cell *c, char text[SERIES_LINE_MAX])
{
    char dirty[UNITS_TEXT_MAX], link[UNITS_TEXT_MAX];
    int n = snprintf(text, SERIES_LINE_MAX, "%s, %s, %s/s dirty", c->setting,
                     trial_route_name(c->route), units_format_size(dirty, c->dirty_bytes_per_s));
    if (c->link_bytes_per_s > 0)
        snprintf(text + n, SERIES_LINE_MAX - (size_t)n, ", link %s/s",
                 units_format_size(link, c->link_bytes_per_s));
}

void report_series_plan(const struct scenario *s, uint64_t seed, FILE *to)
{
    size_t n = scenario_cells(s);
    CLEANUP_FREE size_t *order = calloc(n, sizeof *order);
    fprintf(to, "%zu cells, %u rounds, %zu trials; seed %llu. The first round:\n", n, s->rounds,
            n * s->rounds, (unsigned long long)seed);
    if (order == NULL)
        return;
    scenario_order(s, seed, 0, order);
    for (size_t i = 0; i < n; i++) {
        struct trial_cell cell;
        char text[SERIES_LINE_MAX];
        scenario_cell(s, order[i], &cell);
        series_cell_text(&cell, text);
        fprintf(to, "%4zu  %s%s%s%s\n", i + 1, text, cell.options[0] != '\0' ? " (" : "",
                cell.options, cell.options[0] != '\0' ? ")" : "");
    }
}

static void series_progress_json(const struct progress *p, const struct series_progress *now)
{
    const struct trial *t = now->next != NULL ? now->next : now->last;
    struct json *o = json_new();
    json_text(o, "event", now->next != NULL ? "begins" : "ended");
    json_u64(o, "trial", t->number);
    json_u64(o, "done", now->done);
    json_u64(o, "trials", now->all);
    json_text(o, "setting", t->cell.setting);
    json_text(o, "route", trial_route_name(t->cell.route));
    json_s(o, "eta_s", now->left_ns);
    if (now->next == NULL) {
        json_text(o, "end", trial_end_name(t->end));
        json_ms(o, "silence_ms", trial_silence_ns(t));
    }
    json_line(o, p->fd);
}

static void series_ended(const struct trial *t, char text[SERIES_LINE_MAX])
{
    int64_t silence_ns = trial_silence_ns(t);
    char marks[16];
    trial_marks_text(t->marks, marks);
    if (t->end != TRIAL_DONE)
        snprintf(text, SERIES_LINE_MAX, "%s: %.180s", trial_end_name(t->end), t->error.msg);
    else if (silence_ns == TRIAL_NEVER)
        snprintf(text, SERIES_LINE_MAX, "done, but no observer saw the switchover");
    else
        snprintf(text, SERIES_LINE_MAX, "silent for %.1f ms, total %.0f ms %s",
                 (double)silence_ns / 1e6, (double)t->total_ns / 1e6, marks);
}

/* On a terminal one line is rewritten; elsewhere each trial leaves one, for a run takes hours. */
void report_series_progress(struct progress *p, const struct series_progress *now)
{
    char cell[SERIES_LINE_MAX], what[SERIES_LINE_MAX], line[2 * SERIES_LINE_MAX + 64];
    if (p->fd >= 0)
        series_progress_json(p, now);
    const struct trial *t = now->next != NULL ? now->next : now->last;
    series_cell_text(&t->cell, cell);
    if (now->next != NULL && p->terminal) {
        int64_t left_s = now->left_ns / NS_PER_S;
        snprintf(line, sizeof line, "trial %zu of %zu: %s%s", now->done + 1, now->all, cell,
                 now->left_ns < 0 ? "" : "; ");
        size_t n = strlen(line);
        if (now->left_ns >= 0)
            snprintf(line + n, sizeof line - n, "%lld min %lld s left", (long long)(left_s / 60),
                     (long long)(left_s % 60));
        progress_line(p, line);
    } else if (now->next == NULL) {
        progress_clear(p);
        series_ended(t, what);
        fprintf(stderr, "%4zu/%zu  %s: %s\n", now->done, now->all, cell, what);
    }
}

/* What cells that are not alike differ in. */
static void series_heading(const struct trial_cell *c, FILE *to)
{
    char ram[UNITS_TEXT_MAX], set[UNITS_TEXT_MAX], link[UNITS_TEXT_MAX];
    fprintf(to, "%s guest, %s, %s of memory, %s written to, %u vCPU%s; QEMU %s to %s; link %s%s\n",
            c->guest, c->accel, units_format_size(ram, c->ram_bytes),
            units_format_size(set, c->working_set_bytes), c->vcpus, c->vcpus == 1 ? "" : "s",
            c->qemu[TRIAL_SOURCE], c->qemu[TRIAL_DESTINATION],
            c->link_bytes_per_s > 0 ? units_format_size(link, c->link_bytes_per_s) : "unlimited",
            c->link_bytes_per_s > 0 ? "/s" : "");
}

static const char *series_ms(char buf[24], double ms)
{
    if (isnan(ms))
        snprintf(buf, 24, "-");
    else
        snprintf(buf, 24, ms < 1000 ? "%.1f" : "%.0f", ms);
    return buf;
}

static void series_row(const struct cell *c, FILE *to)
{
    const struct cells_sample *silence = &c->sample[CELLS_SILENCE];
    char dirty[UNITS_TEXT_MAX], b[7][24], ends[96] = "", marks[16];
    const double p95 = stats_tail(silence->sorted, silence->stats.n, 0.95);
    for (int end = TRIAL_DONE + 1; end < CELLS_ENDS; end++)
        if (c->ends[end] > 0) {
            size_t n = strlen(ends);
            snprintf(ends + n, sizeof ends - n, " %zu %s", c->ends[end],
                     trial_end_name((enum trial_end)end));
        }
    if (c->again > 0) {
        size_t n = strlen(ends);
        snprintf(ends + n, sizeof ends - n, " %zu again", c->again);
    }
    trial_marks_text(c->marks, marks);
    fprintf(to, "%-16.16s %-7s %12s %3zu %8s %8s %8s %8s  %6s-%-7s %8s %8s%s%s%s\n",
            c->what->setting, trial_route_name(c->what->route),
            units_format_size(dirty, c->what->dirty_bytes_per_s), silence->stats.n,
            series_ms(b[0], silence->stats.median), series_ms(b[1], p95),
            series_ms(b[2], silence->stats.min), series_ms(b[3], silence->stats.max),
            series_ms(b[4], silence->interval.low), series_ms(b[5], silence->interval.high),
            series_ms(b[6], c->sample[CELLS_QEMU].stats.median),
            series_ms((char[24]){0}, c->sample[CELLS_TOTAL].stats.median), ends,
            marks[0] != '\0' ? "  marks " : "", marks);
}

void report_series_text(const struct trial_series *s, FILE *to)
{
    struct cells cells;
    struct err e = {0};
    if (cells_open(&cells, s, &e) < 0)
        return;
    fputs("Silence seen from outside, in ms; \"QEMU\" is the downtime that it reports itself.\n",
          to);
    fprintf(to, "%-16s %-7s %12s %3s %8s %8s %8s %8s  %14s %8s %8s\n", "setting", "route",
            "dirty/s", "n", "median", "p95", "min", "max", "95 % of median", "QEMU", "total");
    for (size_t i = 0; i < cells.n; i++) {
        if (i == 0 || !cells_alike(cells.at[i - 1].what, cells.at[i].what))
            series_heading(cells.at[i].what, to);
        series_row(&cells.at[i], to);
    }
    fputs(
        "p95 is shown from 20 trials on, an interval from 5. Marks: b no observer saw the\n"
        "switchover, e a longer silence elsewhere, l the observer was late, o the guest stayed away,\n"
        "2 a heartbeat came twice, s processor time went elsewhere. \"again\": silent once more after the\n"
        "switchover, in so many trials.\n",
        to);
    cells_close(&cells);
}

/* ---- --fail-above ---- */

int report_series_check_gate(int64_t limit_ns, struct err *e)
{
    return limit_ns != 0 ? 0 : err_set(e, ERR_USAGE, 0, "--fail-above: must be above 0");
}

/* "default, direct, 64 MiB/s dirty: 61.2 ms in trial 12". */
static void series_gate_cell(const struct cell *c, const struct gate_verdict *v, FILE *to)
{
    char name[SERIES_LINE_MAX];
    series_cell_text(c->what, name);
    fprintf(to, "%s guest, %s, %s:", c->what->guest, c->what->accel, name);
    if (v->worst_ns != TRIAL_NEVER)
        fprintf(to, " %.1f ms in trial %u%s", (double)v->worst_ns / 1e6, v->trial,
                v->again ? ", after the switchover" : "");
    if (v->unknown > 0)
        fprintf(to, "%s %zu of %zu trials have no silence that could be known",
                v->worst_ns != TRIAL_NEVER ? ";" : "", v->unknown, c->n);
}

size_t report_series_gate(const struct cells *cells, const struct trial_series *s, int64_t limit_ns,
                          FILE *to)
{
    size_t beyond = 0;
    int64_t worst_ns = TRIAL_NEVER;
    for (size_t i = 0; i < cells->n; i++) {
        struct gate_verdict v;
        gate_judge(&cells->at[i], s, limit_ns, &v);
        beyond += v.beyond;
        worst_ns = v.worst_ns > worst_ns ? v.worst_ns : worst_ns;
    }
    fprintf(to, "--fail-above %.10gms: ", (double)limit_ns / 1e6);
    if (beyond == 0 && worst_ns == TRIAL_NEVER)
        fputs("nothing was measured", to);
    else if (beyond == 0)
        fprintf(to, "within it in each of %zu cell%s; the worst trial %.1f ms", cells->n,
                cells->n == 1 ? "" : "s", (double)worst_ns / 1e6);
    else
        fprintf(to, "BEYOND it in %zu of %zu cell%s: ", beyond, cells->n, cells->n == 1 ? "" : "s");
    for (size_t i = 0, told = 0; i < cells->n && told < beyond; i++) {
        struct gate_verdict v;
        gate_judge(&cells->at[i], s, limit_ns, &v);
        if (!v.beyond)
            continue;
        fputs(told++ > 0 ? " | " : "", to);
        series_gate_cell(&cells->at[i], &v, to);
    }
    fputc('\n', to);
    return beyond == 0 && worst_ns == TRIAL_NEVER ? 1 : beyond;
}

void report_series_json(const char *dir, FILE *to)
{
    char path[4096 + 16], buf[4096];
    snprintf(path, sizeof path, "%s/summary.json", dir);
    FILE *from = fopen(path, "re");
    for (size_t n; from != NULL && (n = fread(buf, 1, sizeof buf, from)) > 0;)
        fwrite(buf, 1, n, to);
    if (from != NULL)
        fclose(from);
}
