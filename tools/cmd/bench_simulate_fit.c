/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/cells.h"
#include "bench/report/trial_file.h"
#include "bench/simulate/fit.h"
#include "core/text.h"
#include "core/units.h"
#include "tools/cmd/bench_simulate.h"

void simulate_row_free(struct simulate_row *r)
{
    simulate_free(&r->simulated);
    free(r->measured.total_ms);
    free(r->measured.pause_ms);
    free(r->measured.bytes);
}

static void fit_name(const struct trial_cell *c, char *name, size_t room)
{
    char ram[UNITS_TEXT_MAX], set[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], link[UNITS_TEXT_MAX];
    snprintf(name, room, "%s %s, %s of %s at %s/s, link %s, %s", c->setting,
             trial_route_name(c->route), units_format_size(set, c->working_set_bytes),
             units_format_size(ram, c->ram_bytes), units_format_size(rate, c->dirty_bytes_per_s),
             c->link_bytes_per_s > 0 ? units_format_size(link, c->link_bytes_per_s) : "none",
             c->accel);
}

static void fit_measure(struct simulate_measured *m, const struct trial *t)
{
    const struct trial_pause *p = &t->pause;
    if (t->end != TRIAL_DONE)
        return;
    m->total_ms[m->n] = (double)t->total_ns / 1e6;
    m->bytes[m->n++] = (double)t->transferred_bytes;
    if (p->stopped_ns != TRIAL_NEVER && p->resumed_ns != TRIAL_NEVER)
        m->pause_ms[m->pause_n++] = (double)(p->resumed_ns - p->stopped_ns) / 1e6;
}

static int fit_read_cell(struct trial_results *results, const struct cell *cell,
                         struct simulate_row *row, struct fit_case *cases, struct err *e)
{
    struct simulate_measured *m = &row->measured;
    m->total_ms = calloc(cell->n + 1, sizeof(double));
    m->pause_ms = calloc(cell->n + 1, sizeof(double));
    m->bytes = calloc(cell->n + 1, sizeof(double));
    if (m->total_ms == NULL || m->pause_ms == NULL || m->bytes == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    for (size_t i = 0; i < cell->n; i++) {
        size_t at = cell->trials[i];
        if (trial_results_timeline(results, at, e) < 0)
            return -1;
        cases[i] = fit_look(&results->series.trials[at]);
        fit_measure(m, &results->series.trials[at]);
        trial_results_forget_timeline(results, at);
    }
    (void)stats_of(m->total_ms, m->n);
    (void)stats_of(m->pause_ms, m->pause_n);
    (void)stats_of(m->bytes, m->n);
    return 0;
}

static int fit_cell(struct simulate_call *c, struct trial_results *results, const struct cell *cell,
                    struct simulate_row *row, struct err *e)
{
    struct world_spec spec;
    struct err unable = {0};
    CLEANUP_FREE struct fit_case *cases = calloc(cell->n + 1, sizeof *cases);
    fit_name(cell->what, row->cell, sizeof row->cell);
    row->working_set_bytes = (double)cell->what->working_set_bytes;
    row->dirty_bytes_per_s = (double)cell->what->dirty_bytes_per_s;
    if (cases == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    if (fit_read_cell(results, cell, row, cases, e) < 0)
        return -1;
    if (fit_make(cell->what, cases, cell->n, &spec, &unable) < 0) {
        row->skipped = text_keep("%s", unable.msg);
        return 0;
    }
    row->link_bytes_per_s = spec.link.bytes_per_s.likely;
    return simulate_run(&spec, (unsigned)c->runs, c->seed, &row->simulated, e);
}

int simulate_fit(struct simulate_call *c, struct err *e)
{
    struct trial_results results = {0};
    struct cells cells = {0};
    int rc = trial_results_read(&results, c->fit.at, c->fit.n, e);
    if (rc == 0)
        rc = cells_open(&cells, &results.series, e);
    if (rc == 0 && cells.n == 0)
        rc = err_set(e, ERR_REFUSED, 0, "--fit: there are no trials");
    c->rows = rc == 0 ? calloc(cells.n, sizeof *c->rows) : NULL;
    if (rc == 0 && c->rows == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    for (size_t i = 0; rc == 0 && i < cells.n; i++) {
        c->n++;
        rc = fit_cell(c, &results, &cells.at[i], &c->rows[i], e);
    }
    cells_close(&cells);
    trial_results_free(&results);
    return rc;
}
