/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What describes benchmarks and what they leave: scenarios, and files of results. An input is a byte
 * that says which, and the file.
 */
#include "bench/migrate/scenario.h"
#include "bench/report/trial_file.h"
#include "tests/fuzz/fuzz.h"

static void scenario(const uint8_t *data, size_t size)
{
    struct scenario s;
    struct err e = {0};
    char *text = fuzz_text(data, size);
    int rc = scenario_parse(text, "a file", &s, &e);
    fuzz_check_err(rc == 0, &e);
    for (size_t i = 0, n = rc == 0 ? scenario_cells(&s) : 0; i < n && i < 64; i++) {
        struct trial_cell cell;
        scenario_cell(&s, i, &cell);
    }
    free(text);
}

static void results(const uint8_t *data, size_t size)
{
    struct trial_results r = {0};
    struct err e = {0}, kind_e = {0};
    char kind[32];
    const char *path = fuzz_file("results.json", data, size);
    fuzz_check_err(trial_file_kind(path, kind, &kind_e) == 0, &kind_e);
    int rc = trial_results_read(&r, &path, 1, &e);
    fuzz_check_err(rc == 0, &e);
    for (size_t i = 0; rc == 0 && i < r.series.n; i++) {
        struct err line = {0};
        fuzz_check_err(trial_results_timeline(&r, i, &line) == 0, &line);
    }
    trial_results_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] == 's')
        scenario(data + 1, size - 1);
    else
        results(data + 1, size - 1);
    return 0;
}
