/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench report RESULTS...: what was measured, as one page for a browser. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/report/page.h"
#include "bench/report/report_migrations.h"
#include "bench/report/report_relocations.h"
#include "bench/report/trial_file.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "core/units.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/report_series.h"

enum { REPORT_OPERANDS_MAX = 100000 };

struct report_call {
    const char *output;
    struct option_list trials;
    int64_t fail_above_ns; /* below 0: not given */
    bool verbose;

    const char **migrations, **relocations; /* the operands by what they are */
    size_t migrations_n, relocations_n;
    struct trial_results results;
    struct cells cells;
};

#define AT(field) offsetof(struct report_call, field)

static const struct option_def options[] = {
    {"output", 'o', OPTION_TEXT, "FILE", "write the page there (report.html); - is standard output",
     AT(output), 0, 0, NULL},
    {"trial", 0, OPTION_LIST, "N", "also show the trial of this number", AT(trials), 0, 0, NULL},
    {"fail-above", 0, OPTION_DURATION, "TIME",
     "the page is written, and the exit code is 1, when the worst trial of a cell was silent for longer (50ms), or one could not be "
     "measured",
     AT(fail_above_ns), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

/* Results of bench relocate name no kind; all else is for bench/report/trial_file.c to read or refuse. */
static int report_sort(struct report_call *c, char **operands, size_t n, struct err *e)
{
    c->migrations = calloc(n, sizeof *c->migrations);
    c->relocations = calloc(n, sizeof *c->relocations);
    if (c->migrations == NULL || c->relocations == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot read so many results");
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        char kind[32] = "directory";
        if ((stat(operands[i], &st) < 0 || !S_ISDIR(st.st_mode)) &&
            trial_file_kind(operands[i], kind, e) < 0)
            return -1;
        if (kind[0] == '\0')
            c->relocations[c->relocations_n++] = operands[i];
        else
            c->migrations[c->migrations_n++] = operands[i];
    }
    return 0;
}

static int report_numbers(const struct report_call *c, struct report_migrations *r, struct err *e)
{
    for (size_t i = 0; i < c->trials.n; i++)
        if (units_parse_count(c->trials.at[i], 1, UINT32_MAX, &r->trials[r->trials_n++], e) < 0)
            return err_wrap(e, "--trial");
    return 0;
}

static int report_fill(struct report_call *c, struct page *p, struct err *e)
{
    if (c->fail_above_ns > 0 && c->migrations_n == 0)
        return err_set(e, ERR_USAGE, 0, "--fail-above: there are no results of bench migrate");
    struct report_migrations r = {.results = &c->results, .cells = &c->cells};
    if (report_numbers(c, &r, e) < 0)
        return -1;
    if (r.trials_n > 0 && c->migrations_n == 0)
        return err_set(e, ERR_USAGE, 0, "--trial: there are no results of bench migrate");
    if (c->migrations_n > 0 &&
        (trial_results_read(&c->results, c->migrations, c->migrations_n, e) < 0 ||
         cells_open(&c->cells, &c->results.series, e) < 0 || report_migrations(&r, p, e) < 0))
        return -1;
    for (size_t i = 0; i < c->relocations_n; i++)
        if (report_relocations(c->relocations[i], p, e) < 0)
            return -1;
    return 0;
}

/* Beside its final name first, so that a page that is there stays whole until the new one is. */
static int report_write_file(struct page *p, const char *path, struct err *e)
{
    char new[PATH_MAX];
    if (snprintf(new, sizeof new, "%s.new", path) >= (int)sizeof new)
        return err_set(e, ERR_IO, ENAMETOOLONG, "%s: cannot write it", path);
    FILE *to = fopen(new, "we");
    if (to == NULL)
        return err_set(e, ERR_IO, errno, "%s: cannot make it", new);
    int rc = page_write(p, bench_catch_signals(), to, e);
    if (fclose(to) != 0 && rc == 0)
        rc = err_set(e, ERR_IO, errno, "%s: cannot write it", new);
    if (rc == 0 && rename(new, path) < 0)
        rc = err_set(e, ERR_IO, errno, "%s: cannot replace it", path);
    if (rc < 0)
        unlink(new);
    return rc;
}

static int report_do(struct report_call *c, char **operands, size_t n, struct err *e)
{
    if (report_sort(c, operands, n, e) < 0)
        return -1;
    struct page *p = page_open("godwit bench report", e);
    if (p == NULL)
        return -1;
    int rc = report_fill(c, p, e);
    if (rc == 0)
        rc = strcmp(c->output, "-") == 0 ? page_write(p, bench_catch_signals(), stdout, e)
                                         : report_write_file(p, c->output, e);
    page_close(p);
    return rc;
}

static int report_main(const struct command *self, int argc, char **argv)
{
    struct report_call c = {.output = "report.html", .fail_above_ns = -1};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c, argc, argv, 1, REPORT_OPERANDS_MAX, &code);
    if (first < 0)
        return code;
    command_log_level(c.verbose ? LOG_DEBUG : LOG_WARN);
    bool beyond = false;
    int rc = report_series_check_gate(c.fail_above_ns, &e);
    if (rc == 0)
        rc = report_do(&c, argv + first, (size_t)(argc - first), &e);
    if (rc == 0 && strcmp(c.output, "-") != 0)
        puts(c.output);
    fflush(stdout);
    if (rc == 0 && c.fail_above_ns > 0)
        beyond = report_series_gate(&c.cells, &c.results.series, c.fail_above_ns, stderr) > 0;
    cells_close(&c.cells);
    trial_results_free(&c.results);
    free(c.migrations);
    free(c.relocations);
    if (rc < 0)
        return command_fail(&e);
    return beyond ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_bench_report = {
    .name = "bench report",
    .operands = "RESULTS...",
    .summary = "Show what bench migrate and bench relocate have measured, as an HTML page",
    .details =
        "RESULTS are directories that bench migrate has made, their summary.json or single\n"
        "trials, and files of bench relocate --json. The page is one file that needs no network,\n"
        "report.html here unless -o says another; its name is printed. gnuplot draws the charts.\n"
        "Exit code 1: --fail-above; 2: results that cannot be read, or are of something else; no gnuplot.\n",
    .options = options,
    .run = report_main,
};
