/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "bench/report/trial_file.h"
#include "core/cleanup.h"
#include "tests/bench/report/trial_fixture.h"

static char dir[] = "/tmp/godwit-test-trial.XXXXXX";
static char path[PATH_MAX]; /* of place() */

static const char *place(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/godwit-test-trial.XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    return rmdir(dir);
}

static size_t files_in_dir(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void write_text(const char *name, const char *text)
{
    FILE *to = fopen(place(name), "w");
    assert_non_null(to);
    fputs(text, to);
    assert_int_equal(fclose(to), 0);
}

static void write_all(const struct trial_series *s)
{
    struct err e = {0};
    for (size_t i = 0; i < s->n; i++)
        assert_int_equal(trial_file_write(dir, s, &s->trials[i], &e), 0);
}

static void series(struct trial_series *s, bool timelines)
{
    const struct trial_fixture small = {.settings = 2,
                                        .rates = 4,
                                        .routes = 2,
                                        .rounds = 2,
                                        .timelines = timelines,
                                        .slower = 1,
                                        .seed = 3};
    trial_fixture_series(s, &small);
    struct trial_device *device = &s->trials[0].pause.devices[0];
    snprintf(device->name, sizeof device->name, "\"quoted\" \\ <b> é");
}

static void assert_same_observer(const struct trial_observer *a, const struct trial_observer *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->what, b->what);
    assert_memory_equal(&a->silence_ns, &b->silence_ns,
                        offsetof(struct trial_observer, noticed) -
                            offsetof(struct trial_observer, silence_ns));
    assert_true(a->noticed_sum_ns == b->noticed_sum_ns);
    assert_int_equal(a->noticed_count, b->noticed_count);
    assert_int_equal(a->noticed_n, b->noticed_n);
    for (size_t i = 0; i < a->noticed_n; i++) {
        assert_true(a->noticed[i].began_ns == b->noticed[i].began_ns);
        assert_true(a->noticed[i].length_ns == b->noticed[i].length_ns);
        assert_true(a->noticed[i].late_ns == b->noticed[i].late_ns);
        assert_int_equal(a->noticed[i].place, b->noticed[i].place);
        assert_int_equal(a->noticed[i].open, b->noticed[i].open);
    }
}

static void assert_same(const struct trial *a, const struct trial *b)
{
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->round, b->round);
    assert_int_equal(a->place, b->place);
    assert_int_equal(a->warm_up, b->warm_up);
    assert_true(trial_cell_same(&a->cell, &b->cell));
    assert_true(a->started_epoch_ns == b->started_epoch_ns);
    assert_int_equal(a->end, b->end);
    assert_int_equal(a->marks, b->marks);
    assert_int_equal(a->error.class, b->error.class);
    assert_string_equal(a->error.msg, b->error.msg);
    assert_float_equal(a->load_1m, b->load_1m, 1e-3);
    assert_true(a->total_ns == b->total_ns);
    assert_true(a->qemu_downtime_ns == b->qemu_downtime_ns);
    assert_true(a->qemu_total_ns == b->qemu_total_ns);
    assert_int_equal(a->transferred_bytes, b->transferred_bytes);
    assert_int_equal(a->passes, b->passes);
    assert_int_equal(a->observers_n, b->observers_n);
    for (size_t i = 0; i < a->observers_n; i++)
        assert_same_observer(&a->observers[i], &b->observers[i]);
    assert_memory_equal(&a->pause, &b->pause, offsetof(struct trial_pause, devices));
    assert_int_equal(a->pause.devices_n, b->pause.devices_n);
    for (size_t i = 0; i < a->pause.devices_n; i++) {
        assert_string_equal(a->pause.devices[i].name, b->pause.devices[i].name);
        assert_true(a->pause.devices[i].save_ns == b->pause.devices[i].save_ns);
        assert_true(a->pause.devices[i].load_ns == b->pause.devices[i].load_ns);
    }
}

static void assert_same_timeline(const struct trial_timeline *a, const struct trial_timeline *b)
{
    assert_int_equal(a->usage_n, b->usage_n);
    for (size_t i = 0; i < a->usage_n; i++)
        assert_memory_equal(&a->usage[i], &b->usage[i], sizeof a->usage[i]);
    assert_int_equal(a->gauges_n, b->gauges_n);
    for (size_t i = 0; i < a->gauges_n; i++) {
        assert_memory_equal(&a->gauges[i], &b->gauges[i],
                            offsetof(struct trial_gauge, throttle_percent));
        assert_int_equal(a->gauges[i].throttle_percent, b->gauges[i].throttle_percent);
    }
    assert_int_equal(a->events_n, b->events_n);
    for (size_t i = 0; i < a->events_n; i++) {
        assert_true(a->events[i].at_ns == b->events[i].at_ns);
        assert_int_equal(a->events[i].side, b->events[i].side);
        assert_string_equal(a->events[i].name, b->events[i].name);
        assert_string_equal(a->events[i].detail, b->events[i].detail);
    }
    assert_int_equal(a->beats_n, b->beats_n);
    for (size_t i = 0; i < a->beats_n; i++) {
        assert_true(a->beats[i].at_ns == b->beats[i].at_ns);
        assert_int_equal(a->beats[i].seq, b->beats[i].seq);
        assert_int_equal(a->beats[i].work, b->beats[i].work);
        assert_int_equal(a->beats[i].side, b->beats[i].side);
    }
    assert_true(a->sampling_cpu_ns == b->sampling_cpu_ns);
}

static void assert_same_series(const struct trial_series *a, const struct trial_series *b)
{
    assert_string_equal(a->command, b->command);
    assert_string_equal(a->scenario, b->scenario);
    assert_string_equal(a->godwit, b->godwit);
    assert_string_equal(a->libvirt, b->libvirt);
    assert_string_equal(a->kernel, b->kernel);
    assert_string_equal(a->cpu, b->cpu);
    assert_int_equal(a->cores, b->cores);
    assert_int_equal(a->seed, b->seed);
    assert_int_equal(a->rounds, b->rounds);
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        assert_same(&a->trials[i], &b->trials[i]);
}

static void assert_reads(const char *what, const struct trial_series *s, struct trial_results *r)
{
    struct err e = {0};
    if (trial_results_read(r, &what, 1, &e) < 0)
        fail_msg("%s", e.msg);
    assert_same_series(s, &r->series);
}

static void trials_come_back(void **state)
{
    (void)state;
    struct trial_series s;
    struct trial_results r;
    struct err e = {0};
    series(&s, true);
    write_all(&s);
    assert_int_equal(files_in_dir(), s.n);
    assert_reads(dir, &s, &r);
    for (size_t i = 0; i < s.n; i++) {
        assert_int_equal(r.series.trials[i].timeline.usage_n, 0);
        assert_int_equal(trial_results_timeline(&r, i, &e), 0);
        assert_same_timeline(&s.trials[i].timeline, &r.series.trials[i].timeline);
    }
    trial_results_free(&r);
    trial_series_free(&s);
}

static void summaries_come_back(void **state)
{
    (void)state;
    struct trial_series s;
    struct trial_results r;
    struct err e = {0};
    series(&s, true);
    write_all(&s);
    assert_int_equal(trial_file_write_summary(dir, &s, &e), 0);
    assert_reads(dir, &s, &r);
    assert_int_equal(trial_results_timeline(&r, 5, &e), 0); /* from its own file */
    assert_same_timeline(&s.trials[5].timeline, &r.series.trials[5].timeline);
    trial_results_free(&r);

    assert_int_equal(unlink(place("trial-0006.json")), 0);
    assert_reads(place("summary.json"), &s, &r);
    assert_int_equal(trial_results_timeline(&r, 5, &e), 0);
    assert_int_equal(r.series.trials[5].timeline.usage_n, 0);
    trial_results_free(&r);
    trial_series_free(&s);
}

/* A run that was killed after its last summary has more trials than that. */
static void old_summaries_are_left_aside(void **state)
{
    (void)state;
    struct trial_series s;
    struct trial_results r;
    struct err e = {0};
    series(&s, false);
    size_t n = s.n;
    s.n = 3;
    assert_int_equal(trial_file_write_summary(dir, &s, &e), 0);
    s.n = n;
    write_all(&s);
    assert_reads(dir, &s, &r);
    trial_results_free(&r);
    trial_series_free(&s);
}

static void what_comes_twice_counts_once(void **state)
{
    (void)state;
    struct trial_series s;
    struct trial_results r;
    struct err e = {0};
    series(&s, false);
    write_all(&s);
    char one[PATH_MAX];
    snprintf(one, sizeof one, "%s", place("trial-0002.json"));
    const char *const both[] = {one, dir};
    assert_int_equal(trial_results_read(&r, both, 2, &e), 0);
    assert_int_equal(r.series.n, s.n);
    assert_false(r.mixed);
    trial_results_free(&r);
    trial_series_free(&s);
}

static void assert_refused(const char *what, const char *expected)
{
    struct trial_results r;
    struct err e = {0};
    assert_int_equal(trial_results_read(&r, &what, 1, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    if (strstr(e.msg, expected) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, expected);
}

static void others_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused(dir, "neither summary.json nor trial-*.json");
    assert_refused("/nonexistent/x.json", "/nonexistent/x.json: cannot be read: No such file");
    write_text("x.json", "{\"schema\": 1, \"contestants\": []}");
    assert_refused(place("x.json"), "x.json: is of the kind 'none'");
    write_text("x.json", "{\"schema\": 2, \"kind\": \"migration-trial\"}");
    assert_refused(place("x.json"), "x.json: schema 2; this godwit reads schema 1");
    write_text("x.json", "{\"kind\": \"migration-trial\"}");
    assert_refused(place("x.json"), "schema: is missing");
    write_text("x.json", "[1, 2]");
    assert_refused(place("x.json"), "is no JSON object");
    write_text("x.json", "{\"schema\": 1,");
    assert_refused(place("x.json"), "is no JSON object");
    write_text("x.json", "");
    assert_refused(place("x.json"), "is no JSON object");
}

/* Replaces the first `from` in trial 1 by `to`. */
static void spoil(const struct trial_series *s, const char *from, const char *to)
{
    struct err e = {0};
    static char text[1 << 20];
    assert_int_equal(trial_file_write(dir, s, &s->trials[0], &e), 0);
    FILE *f = fopen(place("trial-0001.json"), "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strstr(text, from);
    assert_non_null(at);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fclose(f), 0);
}

static void faults_are_named(void **state)
{
    (void)state;
    struct trial_series s;
    series(&s, false);
    const char *const cases[][3] = {
        {"\"vcpus\": 2", "\"vcpus\": -2", "trial.cell.vcpus: below zero"},
        {"\"vcpus\": 2", "\"vcpus\": 2.5", "trial.cell.vcpus: not a whole number"},
        {"\"vcpus\": 2", "\"cpus\": 2", "trial.cell.vcpus: is missing"},
        {"\"late_ms\": 0.400", "\"late_ms\": \"0.4\"", "trial.observers[0].late_ms: not a number"},
        {"\"setting\": \"default\"", "\"setting\": \"0123456789012345678901234567890123\"",
         "trial.cell.setting: is too long"},
        {"\"route\": \"direct\"", "\"route\": \"flight\"", "'flight' is not known"},
        {"\"end\": \"done\"", "\"end\": null", "trial.end: is missing"},
        {"\"machine\"", "\"engine\"", "machine.kernel: is missing"},
        {"\"observers\": [", "\"observers\": true, \"x\": [", "trial.observers: not a list"},
        {"\"total_ms\": ", "\"total_ms\": 1e300, \"x\": ", "trial.total_ms: not a time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spoil(&s, cases[i][0], cases[i][1]);
        assert_refused(place("trial-0001.json"), cases[i][2]);
    }
    trial_series_free(&s);
}

static void other_machines_are_refused(void **state)
{
    (void)state;
    struct trial_series s;
    struct err e = {0};
    series(&s, false);
    assert_int_equal(trial_file_write(dir, &s, &s.trials[0], &e), 0);
    s.cores = 64;
    assert_int_equal(trial_file_write(dir, &s, &s.trials[1], &e), 0);
    assert_refused(dir, "another machine");
    trial_series_free(&s);
}

/* Stands for a full disk: a file that may not become larger. */
static void full_disks_cost_nothing_earlier(void **state)
{
    (void)state;
    struct trial_series s;
    struct trial_results r;
    struct err e = {0};
    series(&s, true);
    assert_int_equal(trial_file_write(dir, &s, &s.trials[0], &e), 0);
    struct rlimit kept, small = {.rlim_cur = 4096};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    small.rlim_max = kept.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int first = trial_file_write(dir, &s, &s.trials[0], &e);
    struct err other = {0};
    int second = trial_file_write(dir, &s, &s.trials[1], &other);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    assert_int_equal(first, -1);
    assert_int_equal(second, -1);
    assert_int_equal(e.class, ERR_IO);
    assert_int_equal(e.sys, EFBIG);
    assert_non_null(strstr(e.msg, "trial-0001.json: cannot write it: File too large"));
    assert_int_equal(files_in_dir(), 1);
    s.n = 1;
    assert_reads(dir, &s, &r);
    trial_results_free(&r);
    s.n = 32;
    trial_series_free(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(trials_come_back),
        TEST(summaries_come_back),
        TEST(old_summaries_are_left_aside),
        TEST(what_comes_twice_counts_once),
        TEST(others_are_refused_by_name),
        TEST(faults_are_named),
        TEST(other_machines_are_refused),
        TEST(full_disks_cost_nothing_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
