/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "tools/cmd/bench_tune.h"

struct tune_row {
    struct trial_cell cell;
    struct stats stats; /* of the trials that did not fail, in ms */
    unsigned trials, failed;
    unsigned dropped_in;
};

static void tune_row(const struct tune *t, size_t candidate, double *room, struct tune_row *row)
{
    const struct trial_series *s = &t->measure.series;
    size_t n = 0;
    *row = (struct tune_row){.dropped_in = race_dropped_in(t->race, candidate)};
    scenario_cell(&t->measure.scenario, candidate, &row->cell);
    for (size_t i = 0; i < s->n; i++) {
        const struct trial *trial = &s->trials[i];
        if (strcmp(trial->cell.setting, row->cell.setting) != 0 ||
            trial->cell.route != row->cell.route)
            continue;
        double value = tune_value(t, trial);
        row->trials++;
        row->failed += !isfinite(value);
        if (isfinite(value))
            room[n++] = value;
    }
    row->stats = stats_of(room, n);
}

/* ---- text ---- */

static void tune_print_row(const struct tune_row *r, bool best, FILE *to)
{
    fprintf(to, "%-16s %-7s %6u %6u", r->cell.setting, trial_route_name(r->cell.route), r->trials,
            r->failed);
    if (r->stats.n > 0)
        fprintf(to, " %9.1f %9.1f-%-9.1f", r->stats.median, r->stats.q1, r->stats.q3);
    else
        fprintf(to, " %9s %19s", "-", "");
    if (r->dropped_in > 0)
        fprintf(to, " dropped after round %u", r->dropped_in);
    fprintf(to, "%s\n", best ? " BEST" : "");
}

void report_tune_text(const struct tune *t, FILE *to)
{
    CLEANUP_FREE double *room = calloc(t->measure.series.n + 1, sizeof *room);
    if (room == NULL || t->race == NULL)
        return;
    size_t best = race_best(t->race);
    fprintf(to, "%s in ms, %u rounds\n%-16s %-7s %6s %6s %9s %19s\n",
            t->goal == TUNE_TOTAL ? "The whole migration" : "The guest's silence",
            race_rounds(t->race), "setting", "route", "trials", "failed", "median",
            "the middle half");
    for (size_t i = 0; i < t->candidates; i++) {
        struct tune_row row;
        tune_row(t, i, room, &row);
        tune_print_row(&row, i == best, to);
    }
    fprintf(to, "%zu trials; a full grid of %u rounds has %zu\n", race_trials(t->race),
            t->measure.scenario.rounds, t->candidates * t->measure.scenario.rounds);
    if (race_left(t->race) > 1)
        fprintf(
            to,
            "%zu were left, which could not be told apart: the best may be another of them; more "
            "--trials, or a quieter machine, tell\n",
            race_left(t->race));
    if (t->profile[0] != '\0')
        fprintf(to, "profile  %s\n", t->profile);
    if (t->page[0] != '\0')
        fprintf(to, "evidence %s\n", t->page);
}

/* ---- JSON ---- */

static void tune_json_row(struct json *o, const struct tune_row *r)
{
    json_text(o, "setting", r->cell.setting);
    json_text(o, "options", r->cell.options);
    json_text(o, "route", trial_route_name(r->cell.route));
    json_u64(o, "trials", r->trials);
    json_u64(o, "failed", r->failed);
    json_number(o, "median_ms", r->stats.median);
    json_number(o, "q1_ms", r->stats.q1);
    json_number(o, "q3_ms", r->stats.q3);
    if (r->dropped_in > 0)
        json_u64(o, "dropped_in", r->dropped_in);
    else
        json_text(o, "dropped_in", NULL);
}

void report_tune_json(const struct tune *t, const struct err *e, FILE *to)
{
    struct json *o = json_new();
    CLEANUP_FREE double *room = calloc(t->measure.series.n + 1, sizeof *room);
    if (t->race != NULL && room != NULL) {
        size_t best = race_best(t->race);
        struct trial_cell cell;
        scenario_cell(&t->measure.scenario, best, &cell);
        json_text(o, "goal", t->goal == TUNE_TOTAL ? "total" : "silence");
        json_u64(o, "rounds", race_rounds(t->race));
        json_u64(o, "trials", race_trials(t->race));
        json_u64(o, "left", race_left(t->race));
        json_u64(o, "grid_trials", t->candidates * t->measure.scenario.rounds);
        json_text(o, "best", t->profile[0] != '\0' ? cell.setting : NULL);
        json_text(o, "profile", t->profile[0] != '\0' ? t->profile : NULL);
        json_text(o, "page", t->page[0] != '\0' ? t->page : NULL);
        struct json *list = json_list(o, "candidates");
        for (size_t i = 0; i < t->candidates; i++) {
            struct tune_row row;
            tune_row(t, i, room, &row);
            tune_json_row(json_item(list), &row);
        }
    }
    json_error(o, e);
    json_print(o, to);
}
