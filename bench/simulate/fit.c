/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/simulate/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/units.h"

/* What such numbers usually are off by, where there are few trials. */
#define FIT_SPREAD 0.1
/* Between two gauges: shorter ones are rounding. */
#define FIT_GAUGE_NS (20 * NS_PER_MS)
/* While sockets fill; and for so long it must have been seen after that. */
#define FIT_BEGIN_NS (100 * NS_PER_MS)
enum { FIT_CASES_MIN = 2 };

/* ---- one trial ---- */

/* Of the stretches after the first, while sockets fill. */
static double fit_rate(const struct trial_timeline *l, int64_t until_ns)
{
    double bytes = 0, ns = 0;
    const struct trial_gauge *first = NULL, *before = NULL;
    for (size_t i = 0; i < l->gauges_n && l->gauges[i].at_ns < until_ns; i++) {
        const struct trial_gauge *g = &l->gauges[i];
        if (g->transferred_bytes == UINT64_MAX || g->transferred_bytes == 0)
            continue;
        first = first == NULL ? g : first;
        if (before != NULL && g->at_ns - before->at_ns < FIT_GAUGE_NS)
            continue;
        if (before != NULL && before->at_ns - first->at_ns >= FIT_BEGIN_NS &&
            g->transferred_bytes > before->transferred_bytes) {
            bytes += (double)(g->transferred_bytes - before->transferred_bytes);
            ns += (double)(g->at_ns - before->at_ns);
        }
        before = g;
    }
    return ns >= (double)FIT_BEGIN_NS ? bytes * (double)NS_PER_S / ns : NAN;
}

/* What had been sent when the second pass was seen; of one that never came, all. */
static double fit_first_pass(const struct trial *t)
{
    const struct trial_timeline *l = &t->timeline;
    for (size_t i = 0; i < l->gauges_n; i++)
        if (l->gauges[i].pass != UINT64_MAX && l->gauges[i].pass > 1)
            return (double)l->gauges[i].transferred_bytes;
    return t->transferred_bytes > 0 ? (double)t->transferred_bytes : NAN;
}

static double fit_begin(const struct trial_timeline *l)
{
    for (size_t i = 0; i < l->events_n; i++)
        if (l->events[i].side == TRIAL_SOURCE && strcmp(l->events[i].name, "MIGRATION") == 0 &&
            strcmp(l->events[i].detail, "active") == 0 && l->events[i].at_ns >= 0)
            return (double)l->events[i].at_ns;
    return NAN;
}

/* The median of what QEMU said while it was throttled by nobody. */
static double fit_dirty(const struct trial_timeline *l)
{
    CLEANUP_FREE double *seen = calloc(l->gauges_n + 1, sizeof *seen);
    size_t n = 0;
    for (size_t i = 0; seen != NULL && i < l->gauges_n; i++)
        if (l->gauges[i].dirty_bytes_per_s > 0 && l->gauges[i].dirty_bytes_per_s != UINT64_MAX &&
            l->gauges[i].throttle_percent == 0)
            seen[n++] = (double)l->gauges[i].dirty_bytes_per_s;
    return n > 0 ? estimate_quantile(seen, n, 0.5) : NAN;
}

struct fit_case fit_look(const struct trial *t)
{
    const struct trial_pause *p = &t->pause;
    struct fit_case c = {NAN, NAN, NAN, NAN, NAN, NAN};
    if (t->end != TRIAL_DONE || t->warm_up || p->stopped_ns == TRIAL_NEVER ||
        p->resumed_ns == TRIAL_NEVER)
        return c;
    c.bytes_per_s = fit_rate(&t->timeline, p->stopped_ns);
    c.begin_ns = fit_begin(&t->timeline);
    c.end_ns = (double)(t->total_ns - p->resumed_ns);
    c.first_pass_bytes = fit_first_pass(t);
    c.dirty_bytes_per_s = fit_dirty(&t->timeline);
    int64_t sending_ns = p->ram_sent_ns != TRIAL_NEVER ? p->ram_sent_ns - p->stopped_ns : 0;
    c.pause_ns = (double)(p->resumed_ns - p->stopped_ns - (sending_ns > 0 ? sending_ns : 0));
    return c;
}

/* ---- a cell ---- */

static int fit_take_word(const char *word, struct world_spec *spec, struct err *e)
{
    static const char limit[] = "downtime-limit=", bandwidth[] = "max-bandwidth=";
    if (strncmp(word, limit, strlen(limit)) == 0) {
        spec->plan.keep_limit = true;
        return units_parse_duration(word + strlen(limit), &spec->limit_ns, e);
    }
    if (strncmp(word, bandwidth, strlen(bandwidth)) == 0) {
        uint64_t rate;
        if (units_parse_rate(word + strlen(bandwidth), &rate, e) < 0)
            return -1;
        spec->link.limit_bytes_per_s = (double)rate;
        return 0;
    }
    return strcmp(word, "unobserved") == 0
               ? 0
               : err_set(e, ERR_REFUSED, 0, "'%s' is not simulated", word);
}

static int fit_take_options(const struct trial_cell *cell, struct world_spec *spec, struct err *e)
{
    char text[sizeof cell->options], *rest = text;
    memcpy(text, cell->options, sizeof text);
    if (cell->route == TRIAL_VIRSH)
        return err_set(e, ERR_REFUSED, 0, "virsh is not simulated");
    for (char *word; (word = strsep(&rest, " \t")) != NULL;)
        if (*word != '\0' && fit_take_word(word, spec, e) < 0)
            return -1;
    return 0;
}

enum { FIT_FIELDS = sizeof(struct fit_case) / sizeof(double) };

/* -1: too few trials tell it. */
static int fit_estimate(struct fit_case *cases, size_t n, size_t field, double *room,
                        struct estimate *to)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        double values[FIT_FIELDS];
        memcpy(values, &cases[i], sizeof values);
        if (!isnan(values[field]))
            room[known++] = fmax(values[field], 0);
    }
    if (known < FIT_CASES_MIN)
        return -1;
    *to = estimate_from_cases(room, known, FIT_SPREAD);
    return 0;
}

int fit_make(const struct trial_cell *cell, struct fit_case *cases, size_t n,
             struct world_spec *spec, struct err *e)
{
    *spec = (struct world_spec){
        .guest = {.ram_bytes = cell->ram_bytes},
        .plan = {.promise = {.max_throttle_percent = 99}},
        .limit_ns = 300 * NS_PER_MS,
        .longest_ns = 600 * NS_PER_S,
    };
    if (fit_take_options(cell, spec, e) < 0)
        return -1;
    if (cell->ram_bytes == 0)
        return err_set(e, ERR_REFUSED, 0, "what the guest has and does is not known");
    const struct {
        size_t field;
        struct estimate *to;
        const char *what;
    } needs[] = {
        {0, &spec->link.bytes_per_s, "the link's rate"},
        {1, &spec->costs.begin_ns, "when it begins"},
        {2, &spec->costs.pause_ns, "the pause"},
        {3, &spec->costs.end_ns, "the end"},
        {4, &spec->guest.first_pass_bytes, "the first pass"},
    };
    CLEANUP_FREE double *room = calloc(n + 1, sizeof *room);
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (room == NULL || fit_estimate(cases, n, needs[i].field, room, needs[i].to) < 0)
            return err_set(e, ERR_REFUSED, 0, "fewer than %d trials tell %s", FIT_CASES_MIN,
                           needs[i].what);
    spec->guest.first_pass_bytes =
        estimate_clamp(spec->guest.first_pass_bytes, 0, (double)cell->ram_bytes);
    struct estimate dirty;
    double rate = (double)cell->dirty_bytes_per_s;
    spec->guest.curve = world_round_curve(cell->ram_bytes, (double)cell->working_set_bytes, rate);
    if (rate > 0 && fit_estimate(cases, n, 5, room, &dirty) == 0 && dirty.likely < rate)
        spec->guest.curve = world_round_curve(cell->ram_bytes, (double)cell->working_set_bytes,
                                              dirty.likely); /* its processor does not let it */
    return 0;
}

double fit_distance(const double *a, size_t a_n, const double *b, size_t b_n)
{
    double most = 0;
    if (a_n == 0 || b_n == 0)
        return NAN;
    for (size_t i = 0, k = 0; i < a_n && k < b_n;) {
        double at = fmin(a[i], b[k]);
        while (i < a_n && a[i] <= at)
            i++;
        while (k < b_n && b[k] <= at)
            k++;
        most = fmax(most, fabs((double)i / (double)a_n - (double)k / (double)b_n));
    }
    return most;
}
