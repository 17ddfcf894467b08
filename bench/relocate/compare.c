/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/relocate/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/relocate/compare_run.h"
#include "core/cleanup.h"
#include "core/clock.h"

static const double gib = 1 << 30;

/* ---- opening ---- */

static int compare_list(struct compare *c, struct err *e)
{
    const struct compare_options *o = c->options;
    CLEANUP_FREE struct tool *list = calloc(TOOLS_MAX, sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot list the tools");
    c->n = tool_list(list, o->direction, o->variants, o->variants_n, o->sink != NULL, o->only, e);
    if (c->n == 0)
        return -1;
    c->entry = calloc(c->n, sizeof *c->entry);
    for (size_t i = 0; i < c->n; i++) {
        if (c->entry != NULL) {
            c->entry[i].who = list[i];
            c->entry[i].run = calloc(o->rounds, sizeof *c->entry[i].run);
        }
        if (c->entry == NULL || c->entry[i].run == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot list the tools");
    }
    return 0;
}

static bool compare_uses(const struct compare *c, enum tool_end end)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entry[i].who.from == end || c->entry[i].who.to == end)
            return true;
    return false;
}

/* A benchmark removes what has the names of its files: so nothing of that may be there before. */
static int compare_check_absent(struct compare *c, struct scratch *s, struct err *e)
{
    if (c->set.root != NULL)
        return scratch_check_absent(s, c->set.directory, e);
    for (size_t i = 0; i < c->set.n; i++)
        if (scratch_check_absent(s, c->set.image[i].name, e) < 0)
            return -1;
    return scratch_check_leftovers(s, "", image_set_has, &c->set, e);
}

static int compare_open_ends(struct compare *c, struct err *e)
{
    static const enum tool_end written[] = {END_LOCAL, END_SHARE, END_SINK};
    const struct compare_options *o = c->options;
    struct compare_ends *ends = c->ends = calloc(1, sizeof *ends);
    if (ends == NULL || (ends->ring = ring_new(RING_AUTO, e)) == NULL)
        return ends == NULL ? err_set(e, ERR_IO, ENOMEM, "cannot open the places") : -1;
    ends->where[END_LOCAL] = o->local;
    ends->where[END_SHARE] = o->share;
    ends->where[END_SINK] = o->sink;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        enum tool_end end = written[i];
        if (!compare_uses(c, end))
            continue;
        ends->at[end] = scratch_open(ends->ring, ends->where[end], o->cancel, e);
        if (ends->at[end] == NULL || compare_check_absent(c, ends->at[end], e) < 0)
            return -1;
    }
    return 0;
}

static int compare_check_server(pid_t pid, struct err *e)
{
    clockid_t clock;
    int rc = pid != 0 ? clock_getcpuclockid(pid, &clock) : 0;
    return rc == 0 ? 0
                   : err_set(e, ERR_USAGE, rc, "--server-pid: cannot read the CPU time of %d",
                             (int)pid);
}

int compare_open(struct compare *c, const struct compare_options *options, char *const *sources,
                 size_t n, struct err *e)
{
    *c = (struct compare){.options = options};
    if (compare_check_server(options->server_pid, e) < 0 || compare_list(c, e) < 0 ||
        image_set_open(&c->set, sources, n, e) < 0 || compare_open_ends(c, e) < 0) {
        compare_close(c);
        return -1;
    }
    return 0;
}

void compare_close(struct compare *c)
{
    for (size_t i = 0; i < END_COUNT && c->ends != NULL; i++)
        scratch_close(c->ends->at[i]);
    if (c->ends != NULL)
        ring_free(c->ends->ring);
    for (size_t i = 0; i < c->n && c->entry != NULL; i++)
        free(c->entry[i].run);
    free(c->ends);
    free(c->entry);
    image_set_close(&c->set);
    *c = (struct compare){0};
}

/* ---- rounds ---- */

/* What is reported of progress. */
struct compare_teller {
    const struct compare *c;
    const char *label;
    size_t runs_done, runs;
    int64_t began_ns;
};

static void compare_tell(void *arg, const char *doing)
{
    const struct compare_teller *t = arg;
    const struct compare_options *o = t->c->options;
    int64_t eta_ns = -1;
    if (t->runs_done > 0)
        eta_ns = (int64_t)((double)(clock_now_ns() - t->began_ns) / (double)t->runs_done *
                           (double)(t->runs - t->runs_done));
    const struct compare_progress p = {
        .doing = doing,
        .label = t->label,
        .round = t->c->rounds_begun,
        .rounds = o->rounds,
        .eta_ns = eta_ns,
    };
    if (o->progress != NULL)
        o->progress(o->progress_arg, &p);
}

static bool compare_is_out(const struct compare *c, const struct compare_entry *entry)
{
    if (entry->who.missing)
        return true;
    for (size_t r = 0; r < c->rounds_begun; r++)
        if (entry->run[r].outcome == COMPARE_FAILED)
            return true;
    return false;
}

static int compare_round(struct compare *c, size_t round, struct compare_teller *t, struct err *e)
{
    size_t order[TOOLS_MAX];
    stats_shuffle(c->options->seed, round, order, c->n);
    for (size_t place = 0; place < c->n; place++, t->runs_done++) {
        struct compare_entry *entry = &c->entry[order[place]];
        struct compare_run *run = &entry->run[round];
        if (compare_is_out(c, entry))
            continue;
        *run = (struct compare_run){.place = place, .server_cpu_ns = -1};
        t->label = entry->who.label;
        if (compare_run_one(c, entry, run, compare_tell, t, e) < 0)
            return err_wrap(e, "%s", entry->who.label);
    }
    return 0;
}

/* The ends that tools read from, but the source itself, get the files first. */
static int compare_supply(struct compare *c, struct compare_teller *t, struct err *e)
{
    static const enum tool_end supplied[] = {END_SHARE, END_SINK};
    for (size_t k = 0; k < sizeof supplied / sizeof *supplied; k++) {
        struct scratch *s = NULL;
        for (size_t i = 0; i < c->n; i++)
            if (c->entry[i].who.from == supplied[k])
                s = c->ends->at[supplied[k]];
        if (s == NULL)
            continue;
        t->label = c->ends->where[supplied[k]];
        compare_tell(t, "supplying");
        if (c->set.root != NULL && scratch_make_directory(s, c->set.directory, e) < 0)
            return -1;
        for (size_t i = 0; i < c->set.n; i++)
            if (scratch_put(s, c->set.image[i].path, c->set.image[i].name, e) < 0)
                return -1;
    }
    return 0;
}

static int compare_clear(struct compare *c, struct err *e)
{
    for (enum tool_end end = 0; end < END_COUNT; end++)
        if (compare_run_clear(c, end, false, e) < 0)
            return -1;
    return 0;
}

int compare_run_all(struct compare *c, struct err *e)
{
    struct compare_teller t = {.c = c, .runs = c->n * c->options->rounds};
    int rc = compare_supply(c, &t, e);
    t.began_ns = clock_now_ns();
    for (size_t round = 0; rc == 0 && round < c->options->rounds; round++) {
        c->rounds_begun = round + 1;
        rc = compare_round(c, round, &t, e);
    }
    struct err clearing = {0};
    if (compare_clear(c, &clearing) == 0)
        return rc;
    if (rc < 0)
        return err_hint(e, "cleaning up failed, too: %s", clearing.msg);
    *e = clearing;
    return -1;
}

bool compare_has_fault(const struct compare *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entry[i].fault.class != ERR_NONE)
            return true;
    return false;
}

/* ---- figures ---- */

typedef double compare_figure_fn(const struct compare *c, const struct compare_run *run);

static double compare_wall(const struct compare *c, const struct compare_run *run)
{
    (void)c;
    return (double)run->wall_ns / 1e9;
}

static double compare_cpu(const struct compare *c, const struct compare_run *run)
{
    return (double)run->cpu_ns / 1e9 / ((double)c->set.data_bytes / gib);
}

static double compare_server(const struct compare *c, const struct compare_run *run)
{
    if (run->server_cpu_ns < 0)
        return NAN;
    return (double)run->server_cpu_ns / 1e9 / ((double)c->set.data_bytes / gib);
}

static double compare_peak(const struct compare *c, const struct compare_run *run)
{
    (void)c;
    return (double)run->peak_bytes;
}

static void compare_column(const struct compare *c, size_t i, compare_figure_fn *figure,
                           double *column)
{
    for (size_t r = 0; r < c->rounds_begun; r++) {
        const struct compare_run *run = &c->entry[i].run[r];
        column[r] = run->outcome == COMPARE_RIGHT ? figure(c, run) : NAN;
    }
}

/* The figure's statistics in *own, and those of its ratio to the first tool's in *ratio. */
static void compare_figures(const struct compare *c, size_t i, compare_figure_fn *figure,
                            double *room, struct stats *own, struct stats *ratio)
{
    size_t n = c->rounds_begun;
    double *mine = room, *first = room + n;
    compare_column(c, i, figure, mine);
    compare_column(c, 0, figure, first);
    if (ratio != NULL)
        *ratio = stats_ratio(mine, first, n, first);
    *own = stats_of(mine, n);
}

int compare_summary(const struct compare *c, size_t i, struct compare_summary *s, struct err *e)
{
    CLEANUP_FREE double *room = calloc(2 * c->options->rounds, sizeof *room);
    if (room == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot sum up the runs");
    *s = (struct compare_summary){0};
    for (size_t r = 0; r < c->rounds_begun; r++)
        s->wrong += c->entry[i].run[r].outcome == COMPARE_WRONG;
    compare_figures(c, i, compare_wall, room, &s->wall_s, &s->wall_ratio);
    compare_figures(c, i, compare_cpu, room, &s->cpu_s_per_gib, &s->cpu_ratio);
    compare_figures(c, i, compare_peak, room, &s->peak_bytes, &s->peak_ratio);
    compare_figures(c, i, compare_server, room, &s->server_s_per_gib, NULL);
    if (s->wall_s.n > 0)
        s->bytes_per_s = (uint64_t)((double)c->set.data_bytes / s->wall_s.median);
    return 0;
}
