/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/report/cells.h"
#include "tests/bench/report/trial_fixture.h"

static const struct trial_fixture all = {
    .settings = 8, .rates = 4, .routes = 3, .rounds = 6, .slower = 1, .seed = 11};

static void open_all(struct trial_series *s, struct cells *c)
{
    struct err e = {0};
    trial_fixture_series(s, &all);
    assert_int_equal(cells_open(c, s, &e), 0);
}

static void close_all(struct trial_series *s, struct cells *c)
{
    cells_close(c);
    trial_series_free(s);
}

static void each_trial_is_in_one_cell(void **state)
{
    (void)state;
    struct trial_series s;
    struct cells c;
    size_t n = 0;
    open_all(&s, &c);
    assert_int_equal(c.n, 8 * 4 * 3);
    for (size_t i = 0; i < c.n; i++) {
        size_t ends = 0;
        n += c.at[i].n;
        for (size_t end = 0; end < CELLS_ENDS; end++)
            ends += c.at[i].ends[end];
        assert_int_equal(ends, c.at[i].n);
        for (size_t k = 0; k < c.at[i].n; k++) {
            const struct trial *t = &s.trials[c.at[i].trials[k]];
            assert_true(trial_cell_same(&t->cell, c.at[i].what));
            assert_false(t->warm_up);
        }
        assert_true(c.at[i].sample[CELLS_SILENCE].stats.n == c.at[i].ends[TRIAL_DONE]);
    }
    assert_int_equal(n, 8 * 4 * 3 * 5); /* the first round is for warming up */
    close_all(&s, &c);
}

static void the_order_is_for_reading(void **state)
{
    (void)state;
    struct trial_series s;
    struct cells c;
    open_all(&s, &c);
    assert_string_equal(c.at[0].what->setting, "default");
    assert_int_equal(c.at[0].what->route, TRIAL_DIRECT);
    assert_int_equal(c.at[1].what->route, TRIAL_NATIVE);
    assert_int_equal(c.at[2].what->route, TRIAL_VIRSH);
    assert_string_equal(c.at[3].what->setting, "auto-converge");
    for (size_t i = 1; i < c.n; i++)
        assert_true(c.at[i].what->dirty_bytes_per_s >= c.at[i - 1].what->dirty_bytes_per_s);
    close_all(&s, &c);
}

static void peers_are_found(void **state)
{
    (void)state;
    struct trial_series s;
    struct cells c;
    open_all(&s, &c);
    for (size_t i = 0; i < c.n; i++) {
        const struct cell *peer = cells_peer(&c, &c.at[i]);
        if (c.at[i].what->route == TRIAL_VIRSH) {
            assert_null(peer);
            continue;
        }
        assert_non_null(peer);
        assert_int_equal(peer->what->route, TRIAL_VIRSH);
        assert_true(peer->what->dirty_bytes_per_s == c.at[i].what->dirty_bytes_per_s);
        /* virsh was refused that one */
        bool same = strcmp(c.at[i].what->setting, "postcopy") != 0;
        assert_string_equal(peer->what->setting, same ? c.at[i].what->setting : "default");
    }
    close_all(&s, &c);
}

static void typical_trials_have_the_median(void **state)
{
    (void)state;
    struct trial_series s;
    struct cells c;
    open_all(&s, &c);
    const struct cell *cell = &c.at[0];
    assert_int_equal(cell->n, 5); /* an odd number: one has it */
    double ms = (double)trial_silence_ns(&s.trials[cell->typical]) / 1e6;
    assert_float_equal(ms, cell->sample[CELLS_SILENCE].stats.median, 1e-9);
    close_all(&s, &c);
}

static void meters_differ(void **state)
{
    (void)state;
    struct trial_series s;
    struct cells c;
    open_all(&s, &c);
    const struct cells_sample *by = c.at[0].sample;
    double silence = by[CELLS_SILENCE].stats.median;
    assert_float_equal(by[CELLS_SERIAL].stats.median, silence, 1e-9);
    assert_float_equal(by[CELLS_PING].stats.median, silence + 4, 0.01);
    assert_float_equal(by[CELLS_QEMU].stats.median, (float)silence * 0.7F, 0.01);
    assert_float_equal(by[CELLS_TRACED].stats.median, (float)silence * 0.78F, 0.01);
    close_all(&s, &c);
}

static void nothing_gives_no_cells(void **state)
{
    (void)state;
    struct trial_series none = {0};
    struct cells c;
    struct err e = {0};
    assert_int_equal(cells_open(&c, &none, &e), 0);
    assert_int_equal(c.n, 0);
    cells_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_trial_is_in_one_cell),
        cmocka_unit_test(the_order_is_for_reading),
        cmocka_unit_test(peers_are_found),
        cmocka_unit_test(typical_trials_have_the_median),
        cmocka_unit_test(meters_differ),
        cmocka_unit_test(nothing_gives_no_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
