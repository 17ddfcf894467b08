/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/cells.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- order ---- */

#define CELLS_ORDER(a, b) (((a) > (b)) - ((a) < (b)))

static int cells_order_context(const struct trial_cell *a, const struct trial_cell *b)
{
    const int by[] = {
        strcmp(a->guest, b->guest),
        strcmp(a->accel, b->accel),
        CELLS_ORDER(a->ram_bytes, b->ram_bytes),
        CELLS_ORDER(a->working_set_bytes, b->working_set_bytes),
        CELLS_ORDER(a->vcpus, b->vcpus),
        CELLS_ORDER(a->link_bytes_per_s, b->link_bytes_per_s),
        strverscmp(a->qemu[TRIAL_SOURCE], b->qemu[TRIAL_SOURCE]),
        strverscmp(a->qemu[TRIAL_DESTINATION], b->qemu[TRIAL_DESTINATION]),
    };
    for (size_t i = 0; i < sizeof by / sizeof *by; i++)
        if (by[i] != 0)
            return by[i];
    return 0;
}

static int cells_order_setting(const char *a, const char *b)
{
    int a_default = strcmp(a, "default") == 0, b_default = strcmp(b, "default") == 0;
    return a_default != b_default ? b_default - a_default : strverscmp(a, b);
}

static int cells_order_cell(const struct trial_cell *a, const struct trial_cell *b)
{
    const int by[] = {
        cells_order_context(a, b),
        CELLS_ORDER(a->dirty_bytes_per_s, b->dirty_bytes_per_s),
        cells_order_setting(a->setting, b->setting),
        strcmp(a->options, b->options),
        CELLS_ORDER(a->route, b->route),
    };
    for (size_t i = 0; i < sizeof by / sizeof *by; i++)
        if (by[i] != 0)
            return by[i];
    return 0;
}

static int cells_order(const void *a, const void *b)
{
    const struct trial *x = *(const struct trial *const *)a, *y = *(const struct trial *const *)b;
    int order = cells_order_cell(&x->cell, &y->cell);
    return order != 0 ? order : CELLS_ORDER(x->number, y->number);
}

bool cells_alike(const struct trial_cell *a, const struct trial_cell *b)
{
    return cells_order_context(a, b) == 0;
}

/* ---- measures ---- */

static double cells_ms(int64_t ns)
{
    return ns == TRIAL_NEVER ? NAN : (double)ns / 1e6;
}

static double cells_seen_by(const struct trial *t, enum observer_kind kind)
{
    for (size_t i = 0; i < t->observers_n; i++)
        if (t->observers[i].kind == kind)
            return cells_ms(t->observers[i].silence_ns);
    return NAN;
}

static double cells_traced(const struct trial_pause *p)
{
    if (p->stopped_ns == TRIAL_NEVER || p->resumed_ns == TRIAL_NEVER)
        return NAN;
    return cells_ms(p->resumed_ns - p->stopped_ns);
}

static double cells_value(const struct trial *t, enum cells_measure measure)
{
    if (t->end != TRIAL_DONE)
        return NAN;
    switch (measure) {
    case CELLS_SILENCE: return cells_ms(trial_silence_ns(t));
    case CELLS_TOTAL: return cells_ms(t->total_ns);
    case CELLS_QEMU: return cells_ms(t->qemu_downtime_ns);
    case CELLS_SERIAL: return cells_seen_by(t, OBSERVER_SERIAL);
    case CELLS_PING: return cells_seen_by(t, OBSERVER_PING);
    case CELLS_TRACED: return cells_traced(&t->pause);
    case CELLS_ALL_SILENCES: return cells_ms(trial_all_silences_ns(t));
    case CELLS_MEASURES: break;
    }
    return NAN;
}

static int cells_sample(struct cell *c, enum cells_measure measure, const struct trial_series *s,
                        struct err *e)
{
    struct cells_sample *sample = &c->sample[measure];
    sample->sorted = calloc(c->n, sizeof *sample->sorted);
    if (sample->sorted == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot sort the results");
    for (size_t i = 0; i < c->n; i++)
        sample->sorted[i] = cells_value(&s->trials[c->trials[i]], measure);
    sample->stats = stats_of(sample->sorted, c->n);
    sample->interval = stats_median_interval(sample->sorted, sample->stats.n, s->seed);
    return 0;
}

static void cells_typical(struct cell *c, const struct trial_series *s)
{
    double median = c->sample[CELLS_SILENCE].stats.median, nearest = INFINITY;
    c->typical = c->trials[0];
    for (size_t i = 0; i < c->n; i++) {
        double away = fabs(cells_value(&s->trials[c->trials[i]], CELLS_SILENCE) - median);
        if (away < nearest) { /* false for NAN */
            nearest = away;
            c->typical = c->trials[i];
        }
    }
}

/* ---- cells ---- */

/* Of `n` neighbours in the order. */
static int cells_fill(struct cell *c, struct trial *const *sorted, size_t n,
                      const struct trial_series *s, struct err *e)
{
    c->what = &sorted[0]->cell;
    c->trials = calloc(n, sizeof *c->trials);
    if (c->trials == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot sort the results");
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        c->trials[i] = (size_t)(sorted[i] - s->trials);
        c->ends[sorted[i]->end]++;
        c->marks |= sorted[i]->marks;
        c->marked += sorted[i]->marks != 0;
        c->again += sorted[i]->end == TRIAL_DONE && trial_silences_after(sorted[i]) > 0;
    }
    for (int m = 0; m < CELLS_MEASURES; m++)
        if (cells_sample(c, (enum cells_measure)m, s, e) < 0)
            return -1;
    cells_typical(c, s);
    return 0;
}

int cells_open(struct cells *c, const struct trial_series *s, struct err *e)
{
    *c = (struct cells){0};
    struct trial **sorted = calloc(s->n + 1, sizeof(struct trial *));
    c->at = calloc(s->n + 1, sizeof *c->at);
    int rc = 0;
    size_t n = 0;
    if (sorted == NULL || c->at == NULL)
        rc = err_set(e, ERR_IO, ENOMEM, "cannot sort the results");
    for (size_t i = 0; rc == 0 && i < s->n; i++)
        if (!s->trials[i].warm_up)
            sorted[n++] = &s->trials[i];
    if (n > 0)
        qsort(sorted, n, sizeof *sorted, cells_order);
    for (size_t i = 0, end; rc == 0 && i < n; i = end) {
        for (end = i + 1; end < n && trial_cell_same(&sorted[i]->cell, &sorted[end]->cell);)
            end++;
        rc = cells_fill(&c->at[c->n++], sorted + i, end - i, s, e);
    }
    free(sorted);
    if (rc < 0)
        cells_close(c);
    return rc;
}

void cells_close(struct cells *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->at[i].trials);
        for (int m = 0; m < CELLS_MEASURES; m++)
            free(c->at[i].sample[m].sorted);
    }
    free(c->at);
    *c = (struct cells){0};
}

const struct cell *cells_peer(const struct cells *c, const struct cell *of)
{
    const struct cell *by_default = NULL;
    if (of->what->route == TRIAL_VIRSH)
        return NULL;
    for (size_t i = 0; i < c->n; i++) {
        const struct trial_cell *what = c->at[i].what;
        if (what->route != TRIAL_VIRSH || !cells_alike(what, of->what) ||
            what->dirty_bytes_per_s != of->what->dirty_bytes_per_s ||
            c->at[i].sample[CELLS_SILENCE].stats.n == 0)
            continue;
        if (strcmp(what->setting, of->what->setting) == 0)
            return &c->at[i];
        if (strcmp(what->setting, "default") == 0)
            by_default = &c->at[i];
    }
    return by_default;
}

struct stats_contrast cells_contrast(const struct cell *a, const struct cell *b,
                                     enum cells_measure measure, uint64_t seed)
{
    const struct cells_sample *x = &a->sample[measure], *y = &b->sample[measure];
    return stats_contrast(x->sorted, x->stats.n, y->sorted, y->stats.n, seed);
}
