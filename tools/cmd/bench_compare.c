/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench compare BEFORE AFTER: whether a change has made migrations faster or slower. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/cells.h"
#include "bench/report/report_migrations.h"
#include "bench/report/trial_file.h"
#include "core/json.h"
#include "core/log.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/report_series.h"

enum { BEFORE, AFTER, COMPARE_SIDES };

static const struct {
    enum cells_measure measure;
    const char *name, *key;
} compared[] = {
    {CELLS_SILENCE, "silence", "silence_ms"},
    {CELLS_TOTAL, "total", "total_ms"},
};

enum { COMPARED = sizeof compared / sizeof *compared };

struct compare_call {
    bool json, verbose;
    int64_t fail_above_ns; /* of the silences after; below 0: not given */
    bool beyond;
    const char *path[COMPARE_SIDES];
    struct trial_results results[COMPARE_SIDES];
    struct cells cells[COMPARE_SIDES];
    size_t verdicts[STATS_SLOWER + 1];
    bool alike;        /* all cells, but for setting, route and dirty rate */
    size_t fewer_done; /* cells with a smaller share of trials that were done */
};

#define AT(field) offsetof(struct compare_call, field)

static const struct option_def options[] = {
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"fail-above", 0, OPTION_DURATION, "TIME",
     "exit 1 also when the worst trial of a cell was silent for longer (50ms), or one could not be "
     "measured",
     AT(fail_above_ns), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

/* The cell on the other side, which is the same but for QEMU's versions: an upgrade is a change to
 * be judged, too. NULL: none. */
static const struct cell *compare_other(const struct cells *other, const struct cell *c)
{
    const struct cell *found = NULL;
    for (size_t i = 0; i < other->n; i++) {
        struct trial_cell what = *other->at[i].what;
        if (trial_cell_same(&what, c->what))
            return &other->at[i];
        memcpy(what.qemu, c->what->qemu, sizeof what.qemu);
        if (!trial_cell_same(&what, c->what))
            continue;
        if (found != NULL) /* which of them it should be judged by, nobody has said */
            return NULL;
        found = &other->at[i];
    }
    return found;
}

/* Those that were measured and did not end on the destination cannot be slow, and are worse. */
static bool compare_worse_end(const struct cell *before, const struct cell *after)
{
    return after->ends[TRIAL_DONE] * before->n < before->ends[TRIAL_DONE] * after->n;
}

static struct stats_contrast compare_contrast(const struct compare_call *c,
                                              const struct cell *after, const struct cell *before,
                                              size_t measure)
{
    return cells_contrast(after, before, compared[measure].measure, c->results[AFTER].series.seed);
}

static void compare_count(struct compare_call *c)
{
    const struct cells *a = &c->cells[AFTER];
    c->alike = a->n > 0;
    for (int side = 0; side < COMPARE_SIDES; side++)
        for (size_t i = 0; i < c->cells[side].n; i++)
            c->alike = c->alike && cells_alike(a->at[0].what, c->cells[side].at[i].what);
    for (size_t i = 0; i < c->cells[AFTER].n; i++) {
        const struct cell *after = &c->cells[AFTER].at[i];
        const struct cell *before = compare_other(&c->cells[BEFORE], after);
        for (size_t m = 0; before != NULL && m < COMPARED; m++)
            c->verdicts[compare_contrast(c, after, before, m).verdict]++;
        c->fewer_done += before != NULL && compare_worse_end(before, after);
    }
}

static bool compare_machine_same(const struct compare_call *c)
{
    const struct trial_series *a = &c->results[BEFORE].series, *b = &c->results[AFTER].series;
    return strcmp(a->cpu, b->cpu) == 0 && strcmp(a->kernel, b->kernel) == 0 && a->cores == b->cores;
}

/* ---- text ---- */

enum { COMPARE_NAME_MAX = 256 };

/* "linux tcg 64 MiB/s default direct", and the rest where not all cells are alike in it. */
static const char *compare_name(char text[COMPARE_NAME_MAX], const struct compare_call *call,
                                const struct trial_cell *c)
{
    int n = snprintf(text, COMPARE_NAME_MAX, "%s %s %.4g MiB/s %s %s", c->guest, c->accel,
                     (double)c->dirty_bytes_per_s / (1 << 20), c->setting,
                     trial_route_name(c->route));
    if (!call->alike)
        snprintf(text + n, COMPARE_NAME_MAX - (size_t)n, " %.4g/%.4g MiB, %u vCPU, link %.4g MiB/s",
                 (double)c->working_set_bytes / (1 << 20), (double)c->ram_bytes / (1 << 20),
                 c->vcpus, (double)c->link_bytes_per_s / (1 << 20));
    return text;
}

static void compare_row(const char *name, int width, size_t m, const struct cell *before,
                        const struct cell *after, const struct stats_contrast *r)
{
    const struct stats *x = &before->sample[compared[m].measure].stats;
    const struct stats *y = &after->sample[compared[m].measure].stats;
    char was[REPORT_TEXT_MAX] = "-", is[REPORT_TEXT_MAX] = "-", ratio[16] = "-", interval[32] = "-";
    if (x->n > 0)
        report_ms(was, x->median);
    if (y->n > 0)
        report_ms(is, y->median);
    if (!isnan(r->ratio))
        snprintf(ratio, sizeof ratio, "%.2f", r->ratio);
    if (!isnan(r->interval.low))
        snprintf(interval, sizeof interval, "%.2f to %.2f", r->interval.low, r->interval.high);
    printf("%-*s  %-7s %4zu %4zu %9s %9s %6s  %-13s %s\n", width, m == 0 ? name : "",
           compared[m].name, x->n, y->n, was, is, ratio, interval, stats_verdict_name(r->verdict));
}

static int compare_width(const struct compare_call *c)
{
    char name[COMPARE_NAME_MAX];
    size_t width = 4;
    for (int side = 0; side < COMPARE_SIDES; side++)
        for (size_t i = 0; i < c->cells[side].n; i++) {
            size_t len = strlen(compare_name(name, c, c->cells[side].at[i].what));
            width = len > width ? len : width;
        }
    return (int)width;
}

/* The cells that only one side has. */
static void compare_alone(const struct compare_call *c, int side)
{
    char name[COMPARE_NAME_MAX];
    for (size_t i = 0; i < c->cells[side].n; i++) {
        const struct cell *cell = &c->cells[side].at[i];
        if (compare_other(&c->cells[!side], cell) == NULL)
            printf("only in %s: %s (%zu trial%s)\n", c->path[side],
                   compare_name(name, c, cell->what), cell->n, cell->n == 1 ? "" : "s");
    }
}

static void compare_text(const struct compare_call *c)
{
    int width = compare_width(c);
    for (int side = 0; side < COMPARE_SIDES; side++)
        printf("%s %s: godwit %s, %s, %ld cores of %s\n", side == BEFORE ? "before" : "after ",
               c->path[side], c->results[side].series.godwit, c->results[side].series.kernel,
               c->results[side].series.cores, c->results[side].series.cpu);
    printf("\n%-*s  %-7s %4s %4s %9s %9s %7s  %s\n", width, "medians, ms", "", "n", "n", "before",
           "after", "×", "95 %"); /* × is two bytes for printf() */
    for (size_t i = 0; i < c->cells[AFTER].n; i++) {
        const struct cell *after = &c->cells[AFTER].at[i];
        const struct cell *before = compare_other(&c->cells[BEFORE], after);
        char name[COMPARE_NAME_MAX];
        for (size_t m = 0; before != NULL && m < COMPARED; m++) {
            struct stats_contrast r = compare_contrast(c, after, before, m);
            compare_row(compare_name(name, c, after->what), width, m, before, after, &r);
        }
        if (before != NULL && compare_worse_end(before, after))
            printf("%-*s  done    %4zu %4zu  of %zu and %zu: fewer\n", width, "",
                   before->ends[TRIAL_DONE], after->ends[TRIAL_DONE], before->n, after->n);
    }
    fputs("\n", stdout);
    compare_alone(c, BEFORE);
    compare_alone(c, AFTER);
    printf("%zu faster, %zu slower, %zu cannot tell; %zu cells with fewer trials that were done\n",
           c->verdicts[STATS_FASTER], c->verdicts[STATS_SLOWER], c->verdicts[STATS_CANNOT_TELL],
           c->fewer_done);
}

/* ---- JSON ---- */

static void compare_json_cell(struct json *o, const struct trial_cell *c)
{
    json_text(o, "guest", c->guest);
    json_text(o, "accel", c->accel);
    json_text(o, "setting", c->setting);
    json_text(o, "route", trial_route_name(c->route));
    json_text(o, "options", c->options);
    json_u64(o, "ram_bytes", c->ram_bytes);
    json_u64(o, "working_set_bytes", c->working_set_bytes);
    json_u64(o, "vcpus", c->vcpus);
    json_u64(o, "dirty_bytes_per_s", c->dirty_bytes_per_s);
    json_u64(o, "link_bytes_per_s", c->link_bytes_per_s);
    json_text(o, "qemu_source", c->qemu[TRIAL_SOURCE]);
    json_text(o, "qemu_destination", c->qemu[TRIAL_DESTINATION]);
}

static void compare_json_measure(struct json *o, size_t m, const struct cell *before,
                                 const struct cell *after, const struct stats_contrast *r)
{
    const struct stats *x = &before->sample[compared[m].measure].stats;
    const struct stats *y = &after->sample[compared[m].measure].stats;
    struct json *to = json_node(o, compared[m].key);
    json_u64(to, "before_n", x->n);
    json_u64(to, "after_n", y->n);
    json_number(to, "before", x->median);
    json_number(to, "after", y->median);
    json_number(to, "ratio", r->ratio);
    json_number(to, "ratio_low", r->interval.low);
    json_number(to, "ratio_high", r->interval.high);
    json_text(to, "verdict", stats_verdict_name(r->verdict));
}

static void compare_json_alone(struct json *list, const struct compare_call *c, int side)
{
    for (size_t i = 0; i < c->cells[side].n; i++)
        if (compare_other(&c->cells[!side], &c->cells[side].at[i]) == NULL)
            compare_json_cell(json_item(list), c->cells[side].at[i].what);
}

static void compare_json(const struct compare_call *c)
{
    struct json *o = json_new();
    json_text(o, "kind", "migration-comparison");
    json_text(o, "before", c->path[BEFORE]);
    json_text(o, "after", c->path[AFTER]);
    json_flag(o, "same_machine", compare_machine_same(c));
    json_u64(o, "faster", c->verdicts[STATS_FASTER]);
    json_u64(o, "slower", c->verdicts[STATS_SLOWER]);
    json_u64(o, "cannot_tell", c->verdicts[STATS_CANNOT_TELL]);
    json_u64(o, "fewer_done", c->fewer_done);
    struct json *list = json_list(o, "cells");
    for (size_t i = 0; i < c->cells[AFTER].n; i++) {
        const struct cell *after = &c->cells[AFTER].at[i];
        const struct cell *before = compare_other(&c->cells[BEFORE], after);
        if (before == NULL)
            continue;
        struct json *item = json_item(list);
        compare_json_cell(json_node(item, "cell"), after->what);
        json_u64(item, "before_trials", before->n);
        json_u64(item, "before_done", before->ends[TRIAL_DONE]);
        json_u64(item, "after_trials", after->n);
        json_u64(item, "after_done", after->ends[TRIAL_DONE]);
        for (size_t m = 0; m < COMPARED; m++) {
            struct stats_contrast r = compare_contrast(c, after, before, m);
            compare_json_measure(item, m, before, after, &r);
        }
    }
    compare_json_alone(json_list(o, "only_before"), c, BEFORE);
    compare_json_alone(json_list(o, "only_after"), c, AFTER);
    json_print(o, stdout);
}

/* ---- */

static int compare_do(struct compare_call *c, struct err *e)
{
    for (int side = 0; side < COMPARE_SIDES; side++)
        if (trial_results_read(&c->results[side], &c->path[side], 1, e) < 0 ||
            cells_open(&c->cells[side], &c->results[side].series, e) < 0)
            return -1;
    compare_count(c);
    if (c->verdicts[STATS_FASTER] + c->verdicts[STATS_SLOWER] + c->verdicts[STATS_CANNOT_TELL] == 0)
        return err_set(e, ERR_REFUSED, 0, "%s and %s have no cell in common", c->path[BEFORE],
                       c->path[AFTER]);
    if (!compare_machine_same(c))
        log_warn("%s and %s were measured on different machines", c->path[BEFORE], c->path[AFTER]);
    if (c->json)
        compare_json(c);
    else
        compare_text(c);
    return 0;
}

static int compare_main(const struct command *self, int argc, char **argv)
{
    struct compare_call c = {.fail_above_ns = -1};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c, argc, argv, 2, 2, &code);
    if (first < 0)
        return code;
    command_log_level(c.verbose ? LOG_DEBUG : LOG_WARN);
    c.path[BEFORE] = argv[first];
    c.path[AFTER] = argv[first + 1];
    int rc = report_series_check_gate(c.fail_above_ns, &e);
    if (rc == 0)
        rc = compare_do(&c, &e);
    fflush(stdout);
    if (rc == 0 && c.fail_above_ns > 0)
        c.beyond = report_series_gate(&c.cells[AFTER], &c.results[AFTER].series, c.fail_above_ns,
                                      stderr) > 0;
    for (int side = 0; side < COMPARE_SIDES; side++) {
        cells_close(&c.cells[side]);
        trial_results_free(&c.results[side]);
    }
    if (rc < 0)
        return command_fail(&e);
    return c.beyond || c.verdicts[STATS_SLOWER] + c.fewer_done > 0 ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_bench_compare = {
    .name = "bench compare",
    .operands = "BEFORE AFTER",
    .summary = "Compare two results of bench migrate, cell by cell",
    .details =
        "BEFORE and AFTER are directories that bench migrate has made, or their summary.json.\n"
        "×: the median after, as many times as before; faster or slower when the 95 % interval of\n"
        "that, by bootstrap, does not cover 1; below 5 trials it cannot tell. QEMU's versions\n"
        "may differ. Of many cells that are alike, one in 40 looks slower by chance: measure it\n"
        "again. Exit code 0: nothing is slower; 1: something is, or a smaller share of its trials\n"
        "was done, or --fail-above holds of AFTER; 2: results that cannot be read, or have no cell in common.\n",
    .options = options,
    .run = compare_main,
};
