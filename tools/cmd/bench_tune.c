/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench tune SCENARIO: which of its settings moves this guest best, found by a race (bench/tune/race.h). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/child.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/bench_tune.h"
#include "tools/cmd/profile.h"

/* What a full grid would be: so many trials of each. */
#define TUNE_ROUNDS 20
#define TUNE_PART 4

#define AT(field) offsetof(struct tune, field)

/* In the order of enum tune_goal. */
static const char *const goals[] = {"silence", "total", NULL};

static const struct option_def options[] = {
    {"goal", 0, OPTION_CHOICE, "silence|total",
     "what should be short: the guest's silence as it is seen from outside (without this), or all of the "
     "migration",
     AT(goal), 0, 0, goals},
    {"write", 0, OPTION_TEXT, "FILE", "write the profile there (profile, among the results)",
     AT(write), 0, 0, NULL},
    {"trials", 0, OPTION_COUNT, "N",
     "at most so many, but for the first round (a quarter of --rounds times the candidates)",
     AT(trials), 1, 1000000, NULL},
    {"migrate", 0, OPTION_TABLE, NULL, NULL, AT(measure.arg), 0, 0, bench_migrate_options},
    OPTION_END,
};

/* ---- the race ---- */

/* One guest, and the routes that a profile can name. */
static int tune_begin(void *arg, const struct scenario *s, struct err *e)
{
    struct tune *t = arg;
    bool one = s->ram_bytes.n == 1 && s->working_set_bytes.n == 1 && s->vcpus.n == 1 &&
               s->dirty_bytes_per_s.n == 1 && s->link_bytes_per_s.n == 1;
    t->candidates = scenario_cells(s);
    if (!one)
        return err_set(e, ERR_USAGE, 0,
                       "a tuning run is of one guest: give each of ram, vcpus, "
                       "working-set, dirty-rate and link one value");
    for (size_t i = 0; i < s->routes.n; i++)
        if (s->routes.at[i] == TRIAL_VIRSH)
            return err_set(e, ERR_USAGE, 0, "route = virsh: no profile of godwit's can say that");
    if (t->candidates < 2)
        return err_set(e, ERR_USAGE, 0,
                       "there is nothing to choose: give more settings, or routes");
    t->order = calloc(t->candidates, sizeof *t->order);
    t->order_round = SIZE_MAX;
    size_t all = t->candidates * s->rounds;
    t->race = race_new(t->candidates, s->rounds,
                       t->trials > 0 ? t->trials : (all + TUNE_PART - 1) / TUNE_PART, e);
    if (t->race != NULL && t->order == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot begin the race");
    return t->race != NULL ? 0 : -1;
}

/* Which candidate a trial is of, and in *round its round. */
static size_t tune_candidate(struct tune *t, const struct bench_migrate *m, unsigned number,
                             unsigned *round)
{
    *round = (unsigned)((number - 1) / t->candidates);
    if (t->order_round != *round)
        scenario_order(&m->scenario, m->series.seed, *round, t->order);
    t->order_round = *round;
    return t->order[(number - 1) % t->candidates];
}

static bool tune_wants(void *arg, const struct bench_migrate *m, unsigned number)
{
    struct tune *t = arg;
    unsigned round;
    size_t candidate = tune_candidate(t, m, number, &round);
    return round >= race_rounds(t->race) && race_wants(t->race, candidate);
}

double tune_value(const struct tune *t, const struct trial *trial)
{
    int64_t ns = t->goal == TUNE_TOTAL ? trial->total_ns : trial_silence_ns(trial);
    return trial->end == TRIAL_DONE && ns != TRIAL_NEVER ? (double)ns / 1e6 : INFINITY;
}

static void tune_noted(void *arg, const struct bench_migrate *m, const struct trial *trial)
{
    struct tune *t = arg;
    unsigned round;
    size_t candidate = tune_candidate(t, m, trial->number, &round);
    race_note(t->race, candidate, tune_value(t, trial));
}

/* ---- what comes of it ---- */

static void tune_write_head(const struct tune *t, size_t candidate, FILE *to)
{
    const struct bench_migrate *m = &t->measure;
    char date[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof date, "%Y-%m-%d", localtime_r(&now, &tm));
    fprintf(to, "# %s: setting '%s' of the scenario '%s', by godwit bench tune (%s)\n", date,
            scenario_setting_of(&m->scenario, candidate)->name, m->scenario.name, goals[t->goal]);
    fprintf(to, "# best of %zu candidates in %u rounds, %zu trials\n", t->candidates,
            race_rounds(t->race), race_trials(t->race));
}

char *tune_profile_text(const struct tune *t, size_t candidate)
{
    const struct scenario_setting *s = scenario_setting_of(&t->measure.scenario, candidate);
    struct trial_cell cell;
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return NULL;
    scenario_cell(&t->measure.scenario, candidate, &cell);
    tune_write_head(t, candidate, to);
    fprintf(to, "version = %d\n", PROFILE_VERSION);
    if (cell.route != TRIAL_QMP)
        fprintf(to, "route = %s\n", trial_route_name(cell.route));
    for (size_t i = 0; i < s->n; i++) {
        const struct scenario_word *w = &s->words[i];
        if (strcmp(w->name, SCENARIO_UNOBSERVED) == 0)
            continue;
        fprintf(to, "%s%s = %s\n", scenario_is_option(w->name) ? "" : "set ", w->name,
                w->value[0] != '\0' ? w->value : "on");
    }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

/* What is written can be read: a word that only the bench takes is found here. */
static int tune_check_profile(const char *text, struct err *e)
{
    CLEANUP_FREE struct migrate_request *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot check the profile");
    migrate_request_init(r);
    return profile_apply(text, "the profile", &r->opt, e);
}

static int tune_write_profile(struct tune *t, size_t best, struct err *e)
{
    char path[sizeof t->profile];
    CLEANUP_FREE char *text = tune_profile_text(t, best);
    if (text == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot make the profile");
    if (tune_check_profile(text, e) < 0)
        return -1;
    if (t->write != NULL)
        snprintf(path, sizeof path, "%s", t->write);
    else
        snprintf(path, sizeof path, "%s/profile", t->measure.out);
    FILE *to = fopen(path, "we");
    if (to == NULL)
        return err_set(e, ERR_IO, errno, "%s: cannot make it", path);
    fputs(text, to);
    if (fclose(to) != 0)
        return err_set(e, ERR_IO, errno, "%s: cannot write it", path);
    memcpy(t->profile, path, sizeof path);
    return 0;
}

/* The evidence; gnuplot draws it, and without it there is none. */
static void tune_write_page(struct tune *t)
{
    struct child_cost cost = {0};
    struct err e = {0};
    snprintf(t->page, sizeof t->page, "%s/report.html", t->measure.out);
    const char *const words[] = {
        t->measure.place.godwit, "bench", "report", t->measure.out, "-o", t->page, NULL};
    if (child_run(words, bench_catch_signals(), &cost, &e) == 0)
        return;
    log_warn("there is no page: %s", e.msg);
    t->page[0] = '\0';
}

static bool tune_has_arrived(const struct tune *t, size_t candidate)
{
    const struct trial_series *s = &t->measure.series;
    struct trial_cell cell;
    scenario_cell(&t->measure.scenario, candidate, &cell);
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->trials[i].cell.setting, cell.setting) == 0 &&
            s->trials[i].cell.route == cell.route && isfinite(tune_value(t, &s->trials[i])))
            return true;
    return false;
}

static int tune_do(struct tune *t, int argc, char **argv, struct err *e)
{
    if (bench_migrate_do(&t->measure, argc, argv, e) < 0 || t->measure.arg.dry_run)
        return e->class != ERR_NONE ? -1 : 0;
    size_t best = race_best(t->race);
    tune_write_page(t);
    if (!tune_has_arrived(t, best))
        return err_set(e, ERR_IO, 0, "no candidate has moved this guest, and been seen to");
    return tune_write_profile(t, best, e);
}

static int tune_finish(struct tune *t, int rc, struct err *e)
{
    progress_clear(&t->measure.progress);
    if (t->measure.arg.json)
        report_tune_json(t, e, stdout);
    else if (t->measure.series.n > 0)
        report_tune_text(t, stdout);
    if (rc == 0)
        return EXIT_DONE;
    if (t->measure.series.n > 0 && e->hint == NULL)
        err_hint(e, "what was measured is in %s; the same with --out %s goes on from there",
                 t->measure.out, t->measure.out);
    return command_fail(e);
}

static int tune_main(const struct command *self, int argc, char **argv)
{
    CLEANUP_FREE struct tune *t = calloc(1, sizeof *t);
    struct err e = {0};
    int code;
    if (t == NULL) {
        err_set(&e, ERR_IO, ENOMEM, "cannot begin the race");
        return command_fail(&e);
    }
    t->measure.progress.fd = -1;
    t->measure.arg.fail_above_ns = -1;
    int first = command_parse(self, t, argc, argv, 0, 1, &code);
    if (first < 0)
        return code;
    command_log_level(t->measure.arg.verbose ? LOG_DEBUG : LOG_WARN);
    t->measure.file = first < argc ? argv[first] : NULL;
    t->measure.arg.rounds = t->measure.arg.rounds > 0 ? t->measure.arg.rounds : TUNE_ROUNDS;
    t->measure.race = t;
    t->measure.begin = tune_begin;
    t->measure.wants = tune_wants;
    t->measure.noted = tune_noted;
    int rc = tune_do(t, argc, argv, &e);
    code = tune_finish(t, rc, &e);
    bench_migrate_free(&t->measure);
    race_free(t->race);
    free(t->order);
    return code;
}

const struct command command_bench_tune = {
    .name = "bench tune",
    .operands = "[SCENARIO]",
    .summary = "Find the settings that move a guest best, by a race, and write them as a profile",
    .details =
        "SCENARIO is that of bench migrate with one guest; its settings, and routes, are the\n"
        "candidates; without one they are those of the built-in set. They are tried in rounds (20,\n"
        "whatever the scenario says), and those that are beaten are dropped. The trials are kept as\n"
        "those of bench migrate, with a page that shows them, and the best becomes a profile for\n"
        "'godwit migrate --profile'. Exit code 0: it was found; 1: it could not go on, or no\n"
        "candidate has moved the guest; 2: that cannot be raced; 3: interrupted.\n",
    .options = options,
    .run = tune_main,
};
