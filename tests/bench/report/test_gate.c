/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/report/gate.h"
#include "core/clock.h"

enum { TRIALS = 4 };

struct rig {
    struct trial_series series;
    struct cells cells;
};

static struct trial_observer saw(int64_t silence_ms)
{
    return (struct trial_observer){
        .kind = OBSERVER_SERIAL, .silence_ns = silence_ms * NS_PER_MS, .quiet_ns = 5 * NS_PER_MS};
}

/* One cell, silent for 20, 40, 30, 25 ms. */
static void rig_fill(struct rig *r)
{
    static const int64_t silences_ms[TRIALS] = {20, 40, 30, 25};
    *r = (struct rig){.series = {.rounds = TRIALS, .n = TRIALS}};
    r->series.trials = calloc(TRIALS, sizeof *r->series.trials);
    assert_non_null(r->series.trials);
    for (unsigned i = 0; i < TRIALS; i++) {
        struct trial *t = &r->series.trials[i];
        trial_init(t, &(struct trial_cell){.guest = "linux", .setting = "default"});
        t->number = i + 1;
        t->observers_n = 1;
        t->observers[0] = saw(silences_ms[i]);
    }
}

static struct gate_verdict judge(struct rig *r, int64_t limit_ms)
{
    struct err e = {0};
    struct gate_verdict v;
    assert_int_equal(cells_open(&r->cells, &r->series, &e), 0);
    assert_int_equal(r->cells.n, 1);
    gate_judge(&r->cells.at[0], &r->series, limit_ms * NS_PER_MS, &v);
    cells_close(&r->cells);
    return v;
}

static void the_worst_trial_counts(void **state)
{
    (void)state;
    struct rig r;
    rig_fill(&r);
    struct gate_verdict v = judge(&r, 40);
    assert_false(v.beyond); /* as long as that is not beyond it */
    assert_int_equal(v.worst_ns, 40 * NS_PER_MS);
    assert_int_equal(v.trial, 2);
    assert_true(judge(&r, 39).beyond);
    r.series.trials[1].warm_up = true;
    assert_false(judge(&r, 39).beyond);
    trial_series_free(&r.series);
}

static void a_second_silence_counts(void **state)
{
    (void)state;
    static const struct {
        enum observer_place place;
        bool beyond;
    } rows[] = {{OBSERVER_BEFORE, false}, {OBSERVER_AFTER, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_fill(&r);
        struct trial_observer *v = &r.series.trials[2].observers[0];
        v->noticed = calloc(1, sizeof *v->noticed);
        assert_non_null(v->noticed);
        v->noticed[v->noticed_n++] =
            (struct trial_silence){.length_ns = 90 * NS_PER_MS, .place = rows[i].place};
        struct gate_verdict g = judge(&r, 50);
        assert_int_equal(g.beyond, rows[i].beyond);
        assert_int_equal(g.again, rows[i].beyond);
        assert_int_equal(g.trial, rows[i].beyond ? 3 : 2);
        trial_series_free(&r.series);
    }
}

/* What nobody has measured is not within a limit; what was not to be done is no fault. */
static void what_is_not_known_is_beyond(void **state)
{
    (void)state;
    static const struct {
        enum trial_end end;
        bool blind;
        size_t unknown;
    } rows[] = {{TRIAL_FAILED, false, 1},
                {TRIAL_NOT_CONVERGED, false, 1},
                {TRIAL_REFUSED, false, 0},
                {TRIAL_DONE, true, 1},
                {TRIAL_DONE, false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_fill(&r);
        r.series.trials[0].end = rows[i].end;
        if (rows[i].blind)
            r.series.trials[0].observers[0].silence_ns = TRIAL_NEVER;
        struct gate_verdict v = judge(&r, 1000);
        assert_int_equal(v.unknown, rows[i].unknown);
        assert_int_equal(v.beyond, rows[i].unknown > 0);
        trial_series_free(&r.series);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worst_trial_counts),
        cmocka_unit_test(a_second_silence_counts),
        cmocka_unit_test(what_is_not_known_is_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
