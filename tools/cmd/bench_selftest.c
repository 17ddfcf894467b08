/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench selftest: known pauses, and what the observers make of them. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/migrate/selftest.h"
#include "bench/stats.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/bench_place.h"
#include "tools/cmd/progress.h"

struct bench_selftest {
    bool local, json, verbose;
    const char *guests, *lab_tools, *qemu;
    uint64_t times, seed;
    struct scenario scenario;
    struct bench_place place;
    struct progress progress;
    struct selftest_stop *stops;
    enum observer_kind kinds[TRIAL_OBSERVERS_MAX];
    size_t observers_n;
};

#define AT(field) offsetof(struct bench_selftest, field)

static const struct option_def options[] = {
    {"local", 0, OPTION_FLAG, NULL,
     "the bare-metal guest on this machine, by its serial port; else the Linux guest in the lab, by "
     "serial port and ping",
     AT(local), 0, 0, NULL},
    {"times", 0, OPTION_COUNT, "N", "of each length (50)", AT(times), 1, 10000, NULL},
    {"qemu", 0, OPTION_TEXT, "PROGRAM|TREE", "with --local: this QEMU", AT(qemu), 0, 0, NULL},
    {"seed", 0, OPTION_COUNT, "N", "of the order (1)", AT(seed), 0, UINT32_MAX, NULL},
    {"guests", 0, OPTION_TEXT, "DIR", "where the built-in guests are (beside this program)",
     AT(guests), 0, 0, NULL},
    {"lab-tools", 0, OPTION_TEXT, "DIR", "where lab, guest and domain are (./tools)", AT(lab_tools),
     0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object, with every stop", AT(json),
     0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

static const char in_lab[] = "where = lab\nguest = linux\nroute = qmp\nping = 10.77.0.150\n"
                             "dirty-rate = 4M\nsetting none =\n";
static const char here[] = "where = local\nguest = bare\nworking-set = 4M\ndirty-rate = 4M\n"
                           "setting none =\n";

static void selftest_progress(void *arg, size_t done, size_t all)
{
    struct bench_selftest *b = arg;
    char line[64];
    snprintf(line, sizeof line, "stop %zu of %zu", done, all);
    progress_line(&b->progress, line);
}

static int selftest_do(struct bench_selftest *b, struct err *e)
{
    struct trial_cell cell;
    int rc = -1;
    if (b->qemu != NULL && !b->local)
        return err_set(e, ERR_USAGE, 0, "--qemu: the lab's hosts have their QEMUs already");
    if (b->qemu != NULL && strlen(b->qemu) >= sizeof b->scenario.qemu[0])
        return err_set(e, ERR_USAGE, 0, "--qemu: the path is too long");
    if (scenario_parse(b->local ? here : in_lab, "selftest", &b->scenario, e) < 0)
        return -1;
    for (int side = 0; b->qemu != NULL && side < TRIAL_SIDES; side++)
        snprintf(b->scenario.qemu[side], sizeof b->scenario.qemu[side], "%s", b->qemu);
    scenario_cell(&b->scenario, 0, &cell);
    const struct selftest_options o = {
        .times = (unsigned)b->times,
        .seed = b->seed,
        .progress = selftest_progress,
        .arg = b,
        .cancel = bench_catch_signals(),
    };
    b->stops = calloc(SELFTEST_LENGTHS * b->times, sizeof *b->stops);
    if (b->stops == NULL)
        return err_set(e, ERR_IO, 0, "there is no memory for so many stops");
    if (progress_init(&b->progress, NULL, b->verbose, e) < 0 ||
        bench_place_find(&b->place, &b->scenario, b->guests, b->lab_tools, e) < 0 ||
        bench_place_make_scratch(&b->place, e) < 0)
        return -1;
    const struct testbed_options where = {
        .scenario = &b->scenario,
        .godwit = b->place.godwit,
        .guests = b->place.guests,
        .lab_tools = b->place.lab_tools,
        .scratch = b->place.scratch,
        .cancel = o.cancel,
    };
    struct testbed *testbed = testbed_open(&where, e);
    if (testbed != NULL && testbed_begin(testbed, &cell, e) == 0)
        rc = selftest_run(testbed, &o, b->stops, b->kinds, &b->observers_n, e);
    testbed_close(testbed);
    progress_clear(&b->progress);
    return rc;
}

/* ---- what is said ---- */

struct selftest_row {
    size_t verdict[SELFTEST_OFF + 1];
    struct stats off_ms, period_ms; /* what the observer saw too much */
    struct stats before_ms, after_ms;
};

static int selftest_row(const struct bench_selftest *b, size_t observer, size_t length,
                        struct selftest_row *row, struct err *e)
{
    size_t n = SELFTEST_LENGTHS * b->times;
    CLEANUP_FREE double *values = calloc(4 * n, sizeof *values);
    double *off = values, *period = off + n, *before = period + n, *after = before + n;
    size_t used = 0;
    *row = (struct selftest_row){0};
    if (values == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot sum up the stops");
    for (size_t i = 0; i < n; i++) {
        const struct selftest_stop *s = &b->stops[i];
        const struct selftest_look *l = &s->look[observer];
        if (s->length != length)
            continue;
        row->verdict[selftest_judge(s, observer)]++;
        off[used] = l->silence_ns != TRIAL_NEVER ? (double)(l->silence_ns - s->true_ns) / 1e6 : NAN;
        before[used] = (double)l->before_ns / 1e6;
        after[used] = (double)l->after_ns / 1e6;
        period[used++] = (double)l->period_ns / 1e6;
    }
    row->off_ms = stats_of(off, used);
    row->period_ms = stats_of(period, used);
    row->before_ms = stats_of(before, used);
    row->after_ms = stats_of(after, used);
    return 0;
}

static const char *selftest_kind(enum observer_kind kind)
{
    return kind == OBSERVER_PING ? "ping" : "serial";
}

static size_t selftest_text(const struct bench_selftest *b)
{
    size_t outside = 0;
    struct err e = {0};
    printf("A guest stopped by QMP for a known time, %" PRIu64 " times each, and what the "
           "observers saw, in ms.\n%-8s %8s %8s %9s %9s %9s %8s %8s  %s\n",
           b->times, "observer", "stopped", "period", "too much:", "min", "max", "before", "after",
           "within 1 ms + period; as late as it says; off");
    for (size_t o = 0; o < b->observers_n; o++)
        for (size_t l = 0; l < SELFTEST_LENGTHS; l++) {
            struct selftest_row row;
            if (selftest_row(b, o, l, &row, &e) < 0)
                return 1;
            printf("%-8s %8lld %8.2f %9.2f %9.2f %9.2f %8.2f %8.2f  %zu of %" PRIu64 "; %zu; %zu\n",
                   selftest_kind(b->kinds[o]), (long long)(selftest_lengths_ns[l] / NS_PER_MS),
                   row.period_ms.median, row.off_ms.median, row.off_ms.min, row.off_ms.max,
                   row.before_ms.median, row.after_ms.median, row.verdict[SELFTEST_WITHIN],
                   b->times, row.verdict[SELFTEST_LATE], row.verdict[SELFTEST_OFF]);
            outside += row.verdict[SELFTEST_LATE] + row.verdict[SELFTEST_OFF];
        }
    puts(
        "too much: silence minus stop, its median. before, after: medians from the last sign of life to "
        "STOP,\nand from RESUME to the first.");
    return outside;
}

static size_t selftest_json(const struct bench_selftest *b)
{
    static const char *const verdicts[] = {"within", "late", "off"};
    size_t outside = 0;
    struct json *o = json_new();
    json_text(o, "kind", "selftest");
    struct json *list = json_list(o, "stops");
    for (size_t i = 0; i < SELFTEST_LENGTHS * b->times; i++) {
        const struct selftest_stop *s = &b->stops[i];
        struct json *item = json_item(list);
        json_ms(item, "asked_ms", selftest_lengths_ns[s->length]);
        json_ms(item, "stopped_ms", s->true_ns);
        json_ms(item, "at_most_ms", s->most_ns);
        struct json *looks = json_list(item, "observers");
        for (size_t k = 0; k < b->observers_n; k++) {
            struct json *look = json_item(looks);
            enum selftest_verdict verdict = selftest_judge(s, k);
            json_text(look, "kind", selftest_kind(b->kinds[k]));
            json_ms(look, "silence_ms", s->look[k].silence_ns);
            json_signed_ms(look, "before_ms", s->look[k].before_ns);
            json_signed_ms(look, "after_ms", s->look[k].after_ns);
            json_ms(look, "period_ms", s->look[k].period_ns);
            json_ms(look, "observer_late_ms", s->look[k].late_ns);
            json_text(look, "verdict", verdicts[verdict]);
            outside += verdict != SELFTEST_WITHIN;
        }
    }
    json_u64(o, "outside", outside);
    json_print(o, stdout);
    return outside;
}

static int bench_selftest_main(const struct command *self, int argc, char **argv)
{
    CLEANUP_FREE struct bench_selftest *b = calloc(1, sizeof *b);
    struct err e = {0};
    int code;
    if (b == NULL) {
        err_set(&e, ERR_IO, ENOMEM, "cannot begin the benchmark");
        return command_fail(&e);
    }
    b->times = 50;
    b->seed = 1;
    b->progress.fd = -1;
    if (command_parse(self, b, argc, argv, 0, 0, &code) < 0)
        return code;
    command_log_level(b->verbose ? LOG_DEBUG : LOG_WARN);
    int rc = selftest_do(b, &e);
    size_t outside = rc < 0 ? 0 : b->json ? selftest_json(b) : selftest_text(b);
    bench_place_remove_scratch(&b->place);
    free(b->stops);
    if (rc < 0)
        return command_fail(&e);
    if (outside == 0)
        return EXIT_DONE;
    fprintf(stderr,
            "godwit: error: %zu looks were off by more than 1 ms and a period: figures of "
            "this machine, as it is now, are no better than that\n",
            outside);
    return EXIT_FAILED;
}

const struct command command_bench_selftest = {
    .name = "bench selftest",
    .operands = "",
    .summary = "Known pauses of a guest: can the observers be trusted here",
    .details =
        "The guest is stopped by QMP for 5, 20, 100 and 500 ms in random order. It stood for at least\n"
        "the time between QEMU's STOP and RESUME, and at most from our sending stop to the answer to\n"
        "cont. Exit code 1: an observer was outside of that by more than 1 ms and, at the upper end,\n"
        "the period between two signs of life.\n",
    .options = options,
    .run = bench_selftest_main,
};
