/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/simulate/fit.h"
#include "core/clock.h"

#define MIB (UINT64_C(1) << 20)

static void test_the_distance_is_that_of_kolmogorov_and_smirnov(void **state)
{
    (void)state;
    const double a[] = {1, 2, 3, 4}, same[] = {1, 2, 3, 4}, far[] = {5, 6}, half[] = {3, 4, 5, 6},
                 ties[] = {1, 1, 1, 4};
    assert_true(fit_distance(a, 4, same, 4) <= 0);
    assert_true(fabs(fit_distance(a, 4, far, 2) - 1) < 1e-9);
    assert_true(fabs(fit_distance(far, 2, a, 4) - 1) < 1e-9);
    assert_true(fabs(fit_distance(a, 4, half, 4) - 0.5) < 1e-9);
    assert_true(fabs(fit_distance(a, 4, ties, 4) - 0.5) < 1e-9);
    assert_true(isnan(fit_distance(a, 0, half, 4)));
}

/* 50 MiB/s from 100 ms on, the second pass at 1100 ms, the pause from 1500 to 1530 of which 10 are sending. */
static void make_trial(struct trial *t, struct trial_gauge *gauges, size_t n)
{
    static struct trial_event begin = {
        .at_ns = 100 * NS_PER_MS, .side = TRIAL_SOURCE, .name = "MIGRATION", .detail = "active"};
    for (size_t i = 0; i < n; i++)
        gauges[i] = (struct trial_gauge){
            .at_ns = 100 * NS_PER_MS + (int64_t)i * 50 * NS_PER_MS,
            .pass = i < 20 ? 1 : 2,
            .transferred_bytes = 1 + i * 5 * MIB / 2,
            .dirty_bytes_per_s = i < 20 ? 0 : 3 * MIB,
        };
    *t = (struct trial){
        .end = TRIAL_DONE,
        .total_ns = 1600 * NS_PER_MS,
        .transferred_bytes = 70 * MIB,
        .pause = {.stopped_ns = 1500 * NS_PER_MS,
                  .ram_sent_ns = 1510 * NS_PER_MS,
                  .resumed_ns = 1530 * NS_PER_MS},
        .timeline = {.gauges = gauges, .gauges_n = n, .events = &begin, .events_n = 1},
    };
}

static void test_a_trial_tells_what_it_cost(void **state)
{
    (void)state;
    struct trial t;
    struct trial_gauge gauges[28];
    make_trial(&t, gauges, 28);
    struct fit_case c = fit_look(&t);
    assert_true(fabs(c.bytes_per_s / (50.0 * MIB) - 1) < 0.001);
    assert_true(fabs(c.begin_ns - 100.0 * NS_PER_MS) < 1);
    assert_true(fabs(c.pause_ns - 20.0 * NS_PER_MS) < 1);
    assert_true(fabs(c.end_ns - 70.0 * NS_PER_MS) < 1);
    assert_true(fabs(c.first_pass_bytes - 50.0 * MIB) < 2);
    assert_true(fabs(c.dirty_bytes_per_s - 3.0 * MIB) < 1);
    t.end = TRIAL_NOT_CONVERGED;
    assert_true(isnan(fit_look(&t).pause_ns));
}

static void test_a_cell_becomes_a_world(void **state)
{
    (void)state;
    struct trial t;
    struct trial_gauge gauges[28];
    struct err e = {0};
    struct world_spec spec;
    struct fit_case cases[3];
    struct trial_cell cell = {.ram_bytes = 64 * MIB,
                              .working_set_bytes = 8 * MIB,
                              .dirty_bytes_per_s = 4 * MIB,
                              .options = "downtime-limit=20ms max-bandwidth=50M"};
    make_trial(&t, gauges, 28);
    for (size_t i = 0; i < 3; i++)
        cases[i] = fit_look(&t);
    assert_int_equal(fit_make(&cell, cases, 3, &spec, &e), 0);
    assert_int_equal(spec.limit_ns, 20 * NS_PER_MS);
    assert_true(spec.plan.keep_limit);
    assert_true(fabs(spec.link.limit_bytes_per_s - 50.0 * MIB) < 1);
    assert_true(fabs(spec.costs.pause_ns.likely - 20.0 * NS_PER_MS) < 1);
    /* what its processor let it do, not what it was told */
    assert_true(fabs(curve_rate(&spec.guest.curve, NS_PER_S).likely / (3.0 * MIB) - 1) < 0.01);
    assert_int_equal(curve_working_set(&spec.guest.curve), 8 * MIB);
}

static void test_what_is_not_simulated_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        enum trial_route route;
        const char *says;
    } rows[] = {
        {"postcopy", TRIAL_QMP, "'postcopy' is not simulated"},
        {"downtime-limit=20ms multifd=4", TRIAL_QMP, "'multifd=4' is not simulated"},
        {"", TRIAL_VIRSH, "virsh is not simulated"},
        {"", TRIAL_QMP, "fewer than 2 trials tell the link's rate"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = {0};
        struct world_spec spec;
        struct fit_case none[1] = {{NAN, NAN, NAN, NAN, NAN, NAN}};
        struct trial_cell cell = {.ram_bytes = MIB, .route = rows[i].route};
        snprintf(cell.options, sizeof cell.options, "%s", rows[i].options);
        assert_int_equal(fit_make(&cell, none, 1, &spec, &e), -1);
        assert_string_equal(e.msg, rows[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_distance_is_that_of_kolmogorov_and_smirnov),
        cmocka_unit_test(test_a_trial_tells_what_it_cost),
        cmocka_unit_test(test_a_cell_becomes_a_world),
        cmocka_unit_test(test_what_is_not_simulated_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
