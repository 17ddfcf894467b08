/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/simulate/simulate.h"
#include "core/clock.h"

#define MIB (UINT64_C(1) << 20)
#define COST_NS (10 * NS_PER_MS)

/* A GiB of data over 100 MiB/s, nothing of which is left to luck. */
static struct world_spec spec(double set_mib, double dirty_mib_per_s)
{
    struct world_spec s = {
        .guest = {.ram_bytes = 1024 * MIB, .first_pass_bytes = estimate_exactly(1024.0 * MIB)},
        .link = {.bytes_per_s = estimate_exactly(100.0 * MIB)},
        .costs = {.begin_ns = estimate_exactly(50.0 * NS_PER_MS),
                  .pause_ns = estimate_exactly(COST_NS),
                  .end_ns = estimate_exactly(30.0 * NS_PER_MS)},
        .plan = {.promise = {.max_throttle_percent = 99}, .pause_cost_ns = COST_NS},
        .limit_ns = 300 * NS_PER_MS,
        .longest_ns = 600 * NS_PER_S,
    };
    s.guest.curve = world_round_curve(s.guest.ram_bytes, set_mib * MIB, dirty_mib_per_s * MIB);
    return s;
}

static void test_an_idle_guest_takes_one_pass(void **state)
{
    (void)state;
    struct world_spec s = spec(64, 0);
    struct world_result r;
    world_run(&s, 1, &r);
    assert_int_equal(r.end, WORLD_DONE);
    assert_true(r.kept);
    assert_in_range(r.passes, 1, 2); /* the look before the switchover finds nothing */
    assert_true(fabs(r.bytes / (1024.0 * MIB * (1 + 9 / 4096.0)) - 1) < 0.001);
    /* all but what fits into the limit to begin with, and into one stretch of QEMU's, is sent before the pause */
    assert_true(r.pause_ns >= COST_NS && r.pause_ns <= COST_NS + 11 * NS_PER_MS);
    double sending_ns = 10.24 * (1 + 9 / 4096.0) * NS_PER_S;
    assert_true(fabs((double)r.total_ns - sending_ns - 90.0 * NS_PER_MS) < 1.0 * NS_PER_MS);
}

static void test_zero_pages_are_not_sent(void **state)
{
    (void)state;
    struct world_spec s = spec(64, 0);
    struct world_result r;
    s.guest.first_pass_bytes = estimate_exactly(0);
    world_run(&s, 1, &r);
    assert_true(fabs(r.bytes / (1024.0 * MIB * 9 / 4096.0) - 1) < 0.001);
    assert_true(r.total_ns < 150 * NS_PER_MS);
}

/* 300 MiB/s onto a link of 100, into more than fits into any pause that is allowed. */
static void test_three_times_the_link_never_ends_without_throttling(void **state)
{
    (void)state;
    struct world_spec s = spec(600, 300);
    struct simulated all;
    struct err e = {0};
    assert_int_equal(simulate_run(&s, 20, 1, &all, &e), 0);
    assert_int_equal(all.ends[WORLD_NEVER], 20);
    assert_int_equal(all.kept, 0);
    assert_int_equal(all.n, 0);
    simulate_free(&all);
    s.plan.promise.max_downtime_ns = 100 * NS_PER_MS; /* promised: given up, and not silently */
    assert_int_equal(simulate_run(&s, 20, 1, &all, &e), 0);
    assert_int_equal(all.ends[WORLD_ABORTED], 20);
    simulate_free(&all);
    s.plan.promise.allow =
        PROMISE_THROTTLE; /* a third of its processors' time is what the link carries */
    assert_int_equal(simulate_run(&s, 20, 1, &all, &e), 0);
    assert_int_equal(all.kept, 20);
    assert_true(all.throttle_percent >= 67);
    assert_true(all.pause_ms[all.n - 1] <= 100);
    simulate_free(&all);
    s.plan.promise.allow = PROMISE_POSTCOPY;
    assert_int_equal(simulate_run(&s, 20, 1, &all, &e), 0);
    assert_int_equal(all.ends[WORLD_DONE], 20);
    assert_true(all.pause_ms[all.n - 1] <= 10.001);
    simulate_free(&all);
}

static void test_a_working_set_that_fits_sets_the_pause(void **state)
{
    (void)state;
    struct world_spec s = spec(10, 1000); /* 10 MiB are dirty again after each pass: 100 ms */
    struct world_result r;
    world_run(&s, 1, &r);
    assert_int_equal(r.end, WORLD_DONE);
    assert_true(r.pause_ns > 90 * NS_PER_MS && r.pause_ns < 150 * NS_PER_MS);
}

static void test_a_promise_below_the_cost_is_refused(void **state)
{
    (void)state;
    struct world_spec s = spec(10, 1);
    struct world_result r;
    s.plan.promise.max_downtime_ns = 5 * NS_PER_MS;
    world_run(&s, 1, &r);
    assert_int_equal(r.end, WORLD_REFUSED);
    assert_false(r.kept);
    assert_true(r.bytes <= 0);
}

/* In the pause max-bandwidth does not hold. */
static void test_max_bandwidth_slows_down_all_but_the_pause(void **state)
{
    (void)state;
    struct world_spec s = spec(10, 1000);
    struct world_result r;
    s.link.limit_bytes_per_s = 50.0 * MIB;
    s.plan.promise.max_downtime_ns = 400 * NS_PER_MS;
    world_run(&s, 1, &r);
    assert_int_equal(r.end, WORLD_DONE);
    assert_true(r.total_ns > 20 * NS_PER_S);
    assert_true(r.pause_ns < 150 * NS_PER_MS);
}

static void test_the_same_seed_has_the_same_migrations(void **state)
{
    (void)state;
    struct world_spec s = spec(200, 60);
    struct simulated a, b, other;
    struct err e = {0};
    s.link.bytes_per_s = (struct estimate){80.0 * MIB, 100.0 * MIB, 120.0 * MIB};
    s.costs.pause_ns = (struct estimate){4e6, 1e7, 4e7};
    assert_int_equal(simulate_run(&s, 50, 7, &a, &e), 0);
    assert_int_equal(simulate_run(&s, 50, 7, &b, &e), 0);
    assert_int_equal(simulate_run(&s, 50, 1007, &other, &e), 0);
    assert_int_equal(a.n, 50);
    assert_int_equal(b.n, 50);
    assert_memory_equal(a.total_ms, b.total_ms, 50 * sizeof(double));
    assert_memory_equal(a.pause_ms, b.pause_ms, 50 * sizeof(double));
    assert_memory_equal(a.bytes, b.bytes, 50 * sizeof(double));
    assert_memory_not_equal(a.total_ms, other.total_ms, 50 * sizeof(double));
    assert_true(a.pause_ms[49] > 2 * a.pause_ms[0]); /* they are not all one */
    simulate_free(&a);
    simulate_free(&b);
    simulate_free(&other);
}

/* 90 % of the migrations are within the interval that was given. */
static void test_what_is_drawn_has_the_spread_that_was_given(void **state)
{
    (void)state;
    struct world_spec s = spec(64, 0);
    struct simulated all;
    struct err e = {0};
    unsigned inside = 0;
    s.costs.begin_ns = (struct estimate){1e9, 2e9, 3e9};
    assert_int_equal(simulate_run(&s, 2000, 1, &all, &e), 0);
    for (size_t i = 0; i < all.n; i++)
        inside += all.total_ms[i] > 11250 && all.total_ms[i] < 13350;
    assert_in_range(inside, 1740, 1860);
    simulate_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_guest_takes_one_pass),
        cmocka_unit_test(test_zero_pages_are_not_sent),
        cmocka_unit_test(test_three_times_the_link_never_ends_without_throttling),
        cmocka_unit_test(test_a_working_set_that_fits_sets_the_pause),
        cmocka_unit_test(test_a_promise_below_the_cost_is_refused),
        cmocka_unit_test(test_max_bandwidth_slows_down_all_but_the_pause),
        cmocka_unit_test(test_the_same_seed_has_the_same_migrations),
        cmocka_unit_test(test_what_is_drawn_has_the_spread_that_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
