/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit bench migrate: a scenario's migrations, measured one by one, into a directory of results.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/machine.h"
#include "bench/report/trial_file.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/key_lines.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/bench_migrate.h"
#include "tools/cmd/report_series.h"
#include "version.h"

#define AT(field) offsetof(struct bench_migrate_arguments, field)

const struct option_def bench_migrate_options[] = {
    {"local", 0, OPTION_FLAG, NULL,
     "without a scenario: the built-in set between two QEMUs of this machine", AT(local), 0, 0,
     NULL},
    {"out", 'o', OPTION_TEXT, "DIR",
     "where the results go (godwit-bench-DATE); one that has some of this scenario is continued",
     AT(out), 0, 0, NULL},
    {"rounds", 0, OPTION_COUNT, "N", "repeats of each cell (the scenario's)", AT(rounds), 1, 1000,
     NULL},
    {"seed", 0, OPTION_COUNT, "N", "shuffle the rounds as that run did", AT(seed), 1, UINT32_MAX,
     NULL},
    {"qemu", 0, OPTION_TEXT, "PROGRAM|TREE",
     "on this machine: both sides' QEMU, where the scenario names none (the one that PATH finds)",
     AT(qemu), 0, 0, NULL},
    {"guests", 0, OPTION_TEXT, "DIR", "where the built-in guests are (beside this program)",
     AT(guests), 0, 0, NULL},
    {"lab-tools", 0, OPTION_TEXT, "DIR", "where lab, guest and domain are (./tools)", AT(lab_tools),
     0, 0, NULL},
    {"dry-run", 'n', OPTION_FLAG, NULL, "print the cells and the order of the first round only",
     AT(dry_run), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the summary as one JSON object", AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

/* A gate is no part of a race. */
static const struct option_def options[] = {
    {"fail-above", 0, OPTION_DURATION, "TIME",
     "exit 1 when the worst trial of a cell was silent for longer (50ms), or one could not be "
     "measured",
     AT(fail_above_ns), 0, 0, NULL},
    {"migrate", 0, OPTION_TABLE, NULL, NULL, 0, 0, 0, bench_migrate_options},
    OPTION_END,
};

/* ---- what is to be done ---- */

static int migrate_read_scenario(struct bench_migrate *m, struct err *e)
{
    if (m->file != NULL && m->arg.local) {
        err_set(e, ERR_USAGE, 0, "--local: a scenario says where it runs");
        return err_hint(e, "write where = local into %s", m->file);
    }
    m->text = m->file != NULL
                  ? key_lines_read(m->file, e)
                  : strdup(scenario_built_in(m->arg.local ? SCENARIO_LOCAL : SCENARIO_LAB));
    if (m->text == NULL)
        return e->class != ERR_NONE ? -1 : err_set(e, ERR_IO, ENOMEM, "cannot read the scenario");
    const char *name = m->file != NULL ? m->file : m->arg.local ? "built-in-local" : "built-in-lab";
    if (scenario_parse(m->text, name, &m->scenario, e) < 0)
        return -1;
    if (m->arg.qemu != NULL && m->scenario.where == SCENARIO_LAB)
        return err_set(e, ERR_USAGE, 0, "--qemu: the lab's hosts have their QEMUs already");
    if (m->arg.qemu != NULL && strlen(m->arg.qemu) >= sizeof m->scenario.qemu[0])
        return err_set(e, ERR_USAGE, 0, "--qemu: the path is too long");
    for (int side = 0; m->arg.qemu != NULL && side < TRIAL_SIDES; side++)
        if (m->scenario.qemu[side][0] == '\0')
            snprintf(m->scenario.qemu[side], sizeof m->scenario.qemu[side], "%s", m->arg.qemu);
    if (m->arg.rounds > 0)
        m->scenario.rounds = (unsigned)m->arg.rounds;
    return 0;
}

/* ---- the results ---- */

static int migrate_make_directory(struct bench_migrate *m, struct err *e)
{
    time_t now = time(NULL);
    struct tm tm;
    if (m->arg.out != NULL)
        snprintf(m->out, sizeof m->out, "%s", m->arg.out);
    else
        strftime(m->out, sizeof m->out, "godwit-bench-%Y-%m-%dT%H%M%S", localtime_r(&now, &tm));
    if (mkdir(m->out, 0777) < 0 && errno != EEXIST)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot make the directory", m->out);
    return 0;
}

/* The scenario is kept with the results: they are continued only by the same. */
static int migrate_claim(struct bench_migrate *m, bool *found, struct err *e)
{
    char path[MIGRATE_PATH_MAX + 16];
    struct err absent = {0};
    snprintf(path, sizeof path, "%s/scenario", m->out);
    CLEANUP_FREE char *there = key_lines_read(path, &absent);
    *found = there != NULL;
    if (there != NULL && strcmp(there, m->text) == 0)
        return 0;
    if (there != NULL) {
        err_set(e, ERR_REFUSED, 0, "%s: has results of another scenario", m->out);
        return err_hint(e, "give another --out; its own scenario is %s", path);
    }
    char summary[MIGRATE_PATH_MAX + 16];
    snprintf(summary, sizeof summary, "%s/summary.json", m->out);
    if (access(summary, F_OK) == 0)
        return err_set(e, ERR_REFUSED, 0, "%s: has results, and no scenario to continue", m->out);
    FILE *to = fopen(path, "wex");
    if (to == NULL)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot make it", path);
    fputs(m->text, to);
    return fclose(to) == 0 ? 0 : err_set(e, ERR_IO, errno, "%s: cannot write it", path);
}

static int migrate_add(struct bench_migrate *m, struct trial *t, struct err *e)
{
    if (m->series.n == m->room) {
        size_t room = m->room > 0 ? 2 * m->room : 64;
        struct trial *trials = realloc(m->series.trials, room * sizeof *trials);
        if (trials == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
        m->series.trials = trials;
        m->room = room;
    }
    m->series.trials[m->series.n++] = *t;
    m->has[t->number] = true;
    if (m->noted != NULL)
        m->noted(m->race, m, t);
    return 0;
}

static uint64_t migrate_any_seed(void)
{
    uint32_t seed = 1;
    (void)!getrandom(&seed, sizeof seed, 0);
    return seed > 0 ? seed : 1;
}

/* The summary has one head for all its trials: they must have been measured alike. */
static int migrate_check_same(const struct bench_migrate *m, const struct trial_series *old,
                              struct err *e)
{
    const struct trial_series *now = &m->series;
    const struct {
        const char *what, *was, *is;
    } facts[] = {
        {"godwit", old->godwit, now->godwit},
        {"kernel", old->kernel, now->kernel},
        {"processor", old->cpu, now->cpu},
        {"libvirt", old->libvirt, now->libvirt},
    };
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (strcmp(facts[i].was, facts[i].is) != 0) {
            err_set(e, ERR_REFUSED, 0, "%s was begun with %s %s, and this is %s", m->out,
                    facts[i].what, facts[i].was, facts[i].is);
            return err_hint(e, "give another --out");
        }
    if (m->arg.seed == 0 || m->arg.seed == old->seed)
        return 0;
    return err_set(e, ERR_REFUSED, 0, "--seed: %s was begun with %llu", m->out,
                   (unsigned long long)old->seed);
}

/* Those of a run that was interrupted. */
static int migrate_read_results(struct bench_migrate *m, struct err *e)
{
    char path[MIGRATE_PATH_MAX + 16];
    struct trial_results old;
    const char *const paths[] = {m->out};
    snprintf(path, sizeof path, "%s/summary.json", m->out);
    if (access(path, F_OK) < 0)
        return 0;
    if (trial_results_read(&old, paths, 1, e) < 0)
        return -1;
    int rc = migrate_check_same(m, &old.series, e);
    if (rc == 0)
        m->series.seed = old.series.seed;
    for (size_t i = 0; rc == 0 && i < old.series.n; i++)
        if (old.series.trials[i].number <= scenario_cells(&m->scenario) * m->scenario.rounds) {
            rc = migrate_add(m, &old.series.trials[i], e);
            old.series.trials[i] = (struct trial){0};
        }
    trial_results_free(&old);
    return rc;
}

static void migrate_head(struct bench_migrate *m, int argc, char **argv)
{
    struct trial_series *s = &m->series;
    struct machine machine;
    size_t n = 0;
    machine_look(&machine);
    n += (size_t)snprintf(s->command, sizeof s->command, "godwit bench");
    for (int i = 0; i < argc && n < sizeof s->command; i++)
        n += (size_t)snprintf(s->command + n, sizeof s->command - n, " %s", argv[i]);
    snprintf(s->godwit, sizeof s->godwit, "%s", GODWIT_VERSION);
    snprintf(s->scenario, sizeof s->scenario, "%s", m->scenario.name);
    snprintf(s->kernel, sizeof s->kernel, "%s", machine.kernel);
    snprintf(s->cpu, sizeof s->cpu, "%s", machine.cpu);
    s->cores = machine.cores;
    s->rounds = m->scenario.rounds;
    s->seed = m->arg.seed != 0 ? m->arg.seed : migrate_any_seed();
    if (m->scenario.where == SCENARIO_LAB)
        child_first_line((const char *const[]){"virsh", "--version", NULL}, s->libvirt,
                         sizeof s->libvirt);
}

/* ---- running ---- */

static bool migrate_has(void *arg, unsigned number)
{
    const struct bench_migrate *m = arg;
    return m->has[number] || (m->wants != NULL && !m->wants(m->race, m, number));
}

/* The trial's file first: a summary names no trial that is not there. */
static int migrate_keep(void *arg, const struct trial *t, struct err *e)
{
    struct bench_migrate *m = arg;
    struct trial short_one;
    if (trial_file_write(m->out, &m->series, t, e) < 0 || trial_copy_short(t, &short_one, e) < 0)
        return -1;
    if (migrate_add(m, &short_one, e) < 0)
        return -1;
    return trial_file_write_summary(m->out, &m->series, e);
}

/* Of godwit migrate --json. Another program says nothing that could be read, and that is no error. */
static void migrate_hear(struct trial *t, int out)
{
    char path[32];
    struct err none = {0}, e = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", out);
    struct json *said = json_open(path, &none);
    if (said == NULL)
        return;
    struct json_place top = json_top(said);
    struct json_place ram = json_get(&top, "ram", &e), downtime = json_get(&top, "downtime_ms", &e);
    struct json_place error = json_get(&top, "error", &e);
    if (downtime.value != NULL) {
        int64_t ns = json_get_ms(&downtime, "qemu", &e);
        t->qemu_downtime_ns = e.class == ERR_NONE ? ns : TRIAL_NEVER;
    }
    if (ram.value != NULL) {
        uint64_t sent = json_get_u64(&ram, "transferred_bytes", &e);
        uint64_t passes = json_get_u64(&ram, "passes", &e);
        t->transferred_bytes = sent != UINT64_MAX ? sent : 0;
        t->passes = passes != UINT64_MAX ? passes : 0;
    }
    if (error.value != NULL) {
        const char *class = json_get_text(&error, "class", &e);
        const char *message = json_get_text(&error, "message", &e);
        bool timeout = class != NULL && strcmp(class, err_class_name(ERR_TIMEOUT)) == 0;
        bool refused = class != NULL && (strcmp(class, err_class_name(ERR_REFUSED)) == 0 ||
                                         strcmp(class, err_class_name(ERR_USAGE)) == 0);
        err_set(&t->error,
                timeout   ? ERR_TIMEOUT
                : refused ? ERR_REFUSED
                          : ERR_IO,
                0, "%s", message != NULL ? message : "");
    }
    json_close(said);
}

static void migrate_progress(void *arg, const struct series_progress *p)
{
    struct bench_migrate *m = arg;
    report_series_progress(&m->progress, p);
}

static int migrate_measure(struct bench_migrate *m, struct err *e)
{
    const struct series_options o = {
        .scenario = &m->scenario,
        .seed = m->series.seed,
        .rounds = m->scenario.rounds,
        .hear = migrate_hear,
        .has = migrate_has,
        .keep = migrate_keep,
        .progress = migrate_progress,
        .arg = m,
        .cancel = bench_catch_signals(),
    };
    const struct testbed_options where = {
        .scenario = &m->scenario,
        .godwit = m->place.godwit,
        .guests = m->place.guests,
        .lab_tools = m->place.lab_tools,
        .scratch = m->place.scratch,
        .cancel = o.cancel,
    };
    if (bench_place_make_scratch(&m->place, e) < 0)
        return -1;
    struct testbed *testbed = testbed_open(&where, e);
    int rc = testbed != NULL ? series_run(testbed, &o, e) : -1;
    testbed_close(testbed);
    return rc;
}

int bench_migrate_do(struct bench_migrate *m, int argc, char **argv, struct err *e)
{
    bool found;
    if (report_series_check_gate(m->arg.fail_above_ns, e) < 0)
        return -1;
    if (migrate_read_scenario(m, e) < 0 ||
        (m->begin != NULL && m->begin(m->race, &m->scenario, e) < 0))
        return -1;
    size_t all = scenario_cells(&m->scenario) * m->scenario.rounds;
    m->has = calloc(all + 1, sizeof *m->has);
    if (m->has == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    migrate_head(m, argc, argv);
    if (m->arg.dry_run) {
        report_series_plan(&m->scenario, m->series.seed, stdout);
        return 0;
    }
    if (progress_init(&m->progress, m->arg.progress_fd, m->arg.verbose, e) < 0 ||
        bench_place_find(&m->place, &m->scenario, m->arg.guests, m->arg.lab_tools, e) < 0 ||
        migrate_make_directory(m, e) < 0 || migrate_claim(m, &found, e) < 0 ||
        (found && migrate_read_results(m, e) < 0))
        return -1;
    fprintf(stderr, "%zu trials into %s, seed %llu%s\n", all - m->series.n, m->out,
            (unsigned long long)m->series.seed, m->series.n > 0 ? "; the others are there" : "");
    return migrate_measure(m, e);
}

/* A gate for other people's CI: its word is the last one. */
static int migrate_gate(const struct bench_migrate *m)
{
    struct cells cells;
    struct err e = {0};
    if (cells_open(&cells, &m->series, &e) < 0)
        return command_fail(&e);
    size_t beyond = report_series_gate(&cells, &m->series, m->arg.fail_above_ns, stderr);
    cells_close(&cells);
    return beyond > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int migrate_finish(struct bench_migrate *m, int rc, struct err *e)
{
    progress_clear(&m->progress);
    if (m->series.n > 0 && m->arg.json)
        report_series_json(m->out, stdout);
    else if (m->series.n > 0)
        report_series_text(&m->series, stdout);
    if (rc < 0 && m->series.n > 0 && e->hint == NULL)
        err_hint(e, "what was measured is in %s; the same with --out %s goes on from there", m->out,
                 m->out);
    if (rc < 0)
        return command_fail(e);
    if (!m->arg.dry_run)
        fprintf(stderr, "godwit bench report %s -o report.html draws it\n", m->out);
    if (m->arg.fail_above_ns > 0 && !m->arg.dry_run) {
        fflush(stdout);
        return migrate_gate(m);
    }
    return EXIT_DONE;
}

void bench_migrate_free(struct bench_migrate *m)
{
    bench_place_remove_scratch(&m->place);
    trial_series_free(&m->series);
    free(m->has);
    free(m->text);
}

static int bench_migrate_main(const struct command *self, int argc, char **argv)
{
    CLEANUP_FREE struct bench_migrate *m = calloc(1, sizeof *m);
    struct err e = {0};
    int code;
    if (m == NULL) {
        err_set(&e, ERR_IO, ENOMEM, "cannot begin the benchmark");
        return command_fail(&e);
    }
    m->progress.fd = -1;
    m->arg.fail_above_ns = -1;
    int first = command_parse(self, &m->arg, argc, argv, 0, 1, &code);
    if (first < 0)
        return code;
    command_log_level(m->arg.verbose ? LOG_DEBUG : LOG_WARN);
    m->file = first < argc ? argv[first] : NULL;
    int rc = bench_migrate_do(m, argc, argv, &e);
    code = migrate_finish(m, rc, &e);
    bench_migrate_free(m);
    return code;
}

const struct command command_bench_migrate = {
    .name = "bench migrate",
    .operands = "[SCENARIO]",
    .summary = "Measure migrations from outside: settings and routes compared",
    .details =
        "SCENARIO is a file; the man page has its keys. Without one a built-in set runs between the\n"
        "hosts of tools/lab, or with --local between two QEMUs of this machine.\n"
        "Each trial goes to a file of its own in DIR, all of them to DIR/summary.json. Exit code\n"
        "0: all were measured, also those that failed; 1: it could not go on, or --fail-above; 3:\n"
        "interrupted.\n",
    .options = options,
    .run = bench_migrate_main,
};
