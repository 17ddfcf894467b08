/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bench/report/chart_cells.h"
#include "bench/report/chart_trial.h"
#include "bench/report/report_migrations.h"
#include "core/units.h"

/* A page of 288 trials is to stay one that a browser opens at once. */
enum { TRIAL_POINTS = 600, TRIAL_POINTS_OF_MANY = 200, TRIAL_MANY = 48 };

static double trial_ms(int64_t ns)
{
    return ns == TRIAL_NEVER ? NAN : (double)ns / 1e6;
}

static void trial_facts(struct page *p, const struct trial *t)
{
    char total[REPORT_TEXT_MAX], qemu[REPORT_TEXT_MAX], sent[UNITS_TEXT_MAX], marks[16];
    trial_marks_text(t->marks, marks);
    page_element(
        p, "p class=note",
        "Round %u, place %u; total %s ms, QEMU's downtime %s ms; %s transferred in %" PRIu64
        " passes; load before %.2f%s%s",
        t->round, t->place, report_ms(total, trial_ms(t->total_ns)),
        report_ms(qemu, trial_ms(t->qemu_downtime_ns)),
        units_format_size(sent, t->transferred_bytes), t->passes, t->load_1m,
        marks[0] != '\0' ? "; marks " : "", marks);
    for (size_t i = 0; i < t->observers_n; i++) {
        const struct trial_observer *v = &t->observers[i];
        char silence[REPORT_TEXT_MAX], late[REPORT_TEXT_MAX], each[REPORT_TEXT_MAX];
        page_element(p, "p class=note",
                     "%s: silent for %s ms (a sign of life each %s ms before; the "
                     "observer late by %s ms)",
                     v->what, report_ms(silence, trial_ms(v->silence_ns)),
                     report_ms(each, trial_ms(v->median_interval_ns)),
                     report_ms(late, trial_ms(v->late_ns)));
        if (v->clock_step_ns != TRIAL_NEVER)
            page_element(p, "p class=note",
                         "The guest's clock went %+.1f ms against ours in the move",
                         trial_ms(v->clock_step_ns));
        if (v->quiet_ns != TRIAL_NEVER)
            page_element(p, "p class=note",
                         "%" PRIu64
                         " silence%s above %d times the quiet level of %s ms, %s ms in all",
                         v->noticed_count, v->noticed_count == 1 ? "" : "s", OBSERVER_QUIET_TIMES,
                         report_ms(each, trial_ms(v->quiet_ns)),
                         report_ms(silence, trial_ms(v->noticed_sum_ns)));
    }
    if (t->error.class != ERR_NONE)
        page_element(p, "p class=note", "%s: %s", trial_end_name(t->end), t->error.msg);
}

/* All silences that stood out, of each observer. */
static void trial_silences(struct page *p, const struct trial *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->observers_n; i++)
        n += t->observers[i].noticed_n;
    if (n == 0)
        return;
    page_begin(p, trial_silences_after(t) > 0 ? "details open" : "details");
    page_element(p, "summary", "Every silence above %d times the quiet level",
                 OBSERVER_QUIET_TIMES);
    page_table(p, "<observer|quiet, ms|from, ms|length, ms|<place|observer late, ms");
    for (size_t i = 0; i < t->observers_n; i++)
        for (size_t k = 0; k < t->observers[i].noticed_n; k++) {
            const struct trial_silence *s = &t->observers[i].noticed[k];
            const char *place = observer_place_name(s->place);
            page_begin(p, "tr");
            page_element(p, "td class=t", "%s", t->observers[i].what);
            page_element(p, "td", "%.1f", trial_ms(t->observers[i].quiet_ns));
            page_element(p, "td", "%.1f", trial_ms(s->began_ns));
            page_element(p, "td", "%.1f", trial_ms(s->length_ns));
            page_element(p, "td class=t", "%s%s", place != NULL ? place : "",
                         s->open ? ", still silent" : "");
            page_element(p, "td", "%.1f", trial_ms(s->late_ns));
            page_end(p, "tr");
        }
    page_end(p, "table");
    page_end(p, "details");
}

static void trial_events(struct page *p, const struct trial_timeline *l)
{
    if (l->events_n == 0)
        return;
    page_begin(p, "details");
    page_element(p, "summary", "Events");
    page_table(p, "ms|<side|<event|<");
    for (size_t i = 0; i < l->events_n; i++) {
        const struct trial_event *v = &l->events[i];
        page_begin(p, "tr");
        page_element(p, "td", "%.3f", (double)v->at_ns / 1e6);
        page_element(p, "td class=t", "%s", v->side == TRIAL_SOURCE ? "source" : "destination");
        page_element(p, "td class=t", "%s", v->name);
        page_element(p, "td class=t", "%s", v->detail);
        page_end(p, "tr");
    }
    page_end(p, "table");
    page_end(p, "details");
}

static int report_trial(const struct report_migrations *r, size_t i, struct page *p, bool open,
                        size_t points, struct err *e)
{
    const struct trial *t = &r->results->series.trials[i];
    char silence[REPORT_TEXT_MAX], rate[CHART_TEXT_MAX];
    if (trial_results_timeline(r->results, i, e) < 0)
        return -1;
    page_begin(p, open ? "details open" : "details");
    page_element(p, "summary", "%s, %s, %s: trial %u, silence %s ms", t->cell.setting,
                 trial_route_name(t->cell.route), chart_rate(rate, t->cell.dirty_bytes_per_s),
                 t->number, report_ms(silence, trial_ms(trial_silence_ns(t))));
    trial_facts(p, t);
    chart_timeline(p, t, points);
    chart_pause(p, t);
    trial_silences(p, t);
    trial_events(p, &t->timeline);
    page_end(p, "details");
    trial_results_forget_timeline(r->results, i);
    return 0;
}

int report_trials(const struct report_migrations *r, const struct cell *at, size_t n,
                  struct page *p, struct err *e)
{
    size_t points = r->cells->n > TRIAL_MANY ? TRIAL_POINTS_OF_MANY : TRIAL_POINTS;
    page_element(p, "h3", "A typical trial of each cell");
    page_element(
        p, "p class=note",
        "That with the median silence: what the guest, the processors and the memory did "
        "(the silence is shaded, passes and events are lines), and what the pause was made "
        "of.");
    for (size_t i = 0; i < n; i++) {
        if (at[i].ends[TRIAL_REFUSED] == at[i].n)
            continue; /* nothing was started */
        if (report_trial(r, at[i].typical, p, n == 1, points, e) < 0)
            return -1;
    }
    return 0;
}

int report_trials_by_number(const struct report_migrations *r, struct page *p, struct err *e)
{
    const struct trial_series *s = &r->results->series;
    for (size_t k = 0; k < r->trials_n; k++) {
        bool any = false;
        if (k == 0)
            page_element(p, "h2", "Trials by number");
        for (size_t i = 0; i < s->n; i++) {
            if (s->trials[i].number != r->trials[k])
                continue;
            any = true;
            if (report_trial(r, i, p, true, TRIAL_POINTS, e) < 0)
                return -1;
        }
        if (!any)
            return err_set(e, ERR_REFUSED, 0, "--trial: there is no trial %" PRIu64, r->trials[k]);
    }
    return 0;
}
