/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/throttle.h"

#define MIB 1048576.0

static struct curve random_writes(double set_mib, double mib_per_s)
{
    static const int64_t windows_ns[] = {50 * NS_PER_MS, 200 * NS_PER_MS, NS_PER_S, 3 * NS_PER_S};
    struct curve c = {.source = CURVE_DIRTY_BITMAP, .ram_bytes = 1 << 30};
    for (size_t i = 0; i < sizeof windows_ns / sizeof *windows_ns; i++) {
        double pages = mib_per_s * (double)windows_ns[i] / 1e9 / set_mib;
        curve_add(&c, windows_ns[i], estimate_exactly(set_mib * MIB * (1 - exp(-pages))));
    }
    return c;
}

static unsigned needed(const struct curve *c, double rate_mib, double pass_mib, double fits_mib)
{
    const struct throttle_need n = {.curve = c,
                                    .skew = 1,
                                    .rate_bytes_per_s = rate_mib * MIB,
                                    .pass_bytes = pass_mib * MIB,
                                    .fits_bytes = fits_mib * MIB};
    return throttle_needed(&n, 1, 99);
}

static void test_what_is_needed(void **state)
{
    (void)state;
    struct curve c = random_writes(400, 200);
    unsigned slow = needed(&c, 100, 300, 10), fast = needed(&c, 150, 300, 10);
    /* passes begin with three quarters of the one before if 200 x (1 - p) = 100 x 0.75 */
    assert_true(slow >= 58 && slow <= 67);
    assert_true(fast < slow);
    assert_int_equal(needed(&c, 1000, 300, 10), 1); /* it would have shrunk by itself */
    assert_int_equal(needed(&c, 1, 300, 0.001), 100);
    assert_int_equal(needed(&c, 0, 300, 10), 100);
}

/* A hot set is dirty again after the shortest pass: only what comes below it needs more. */
static void test_a_hot_set_needs_more_the_less_is_to_be_left(void **state)
{
    (void)state;
    struct curve c = random_writes(300, 600);
    unsigned large = needed(&c, 100, 300, 280), small = needed(&c, 100, 300, 10);
    assert_true(large < small);
    assert_true(small <= 99);
}

static void test_more_than_the_curve_says(void **state)
{
    (void)state;
    struct curve c = random_writes(400, 200);
    struct throttle_need n = {.curve = &c,
                              .skew = 1.5,
                              .rate_bytes_per_s = 100 * MIB,
                              .pass_bytes = 300 * MIB,
                              .fits_bytes = 10 * MIB};
    assert_true(throttle_needed(&n, 1, 99) > needed(&c, 100, 300, 10));
    assert_int_equal(throttle_needed(&n, 1, 30), 31); /* none that is allowed */
    assert_int_equal(throttle_needed(&n, 95, 99), 95);
}

static double sum(const struct throttle_vcpu *v, size_t n)
{
    double all = 0;
    for (size_t i = 0; i < n; i++)
        all += v[i].limit_bytes_per_s > 0 ? v[i].limit_bytes_per_s : v[i].bytes_per_s;
    return all;
}

static void test_the_hottest_come_first(void **state)
{
    (void)state;
    struct throttle_vcpu v[] = {{.id = 0, .bytes_per_s = 10 * MIB},
                                {.id = 1, .bytes_per_s = 300 * MIB},
                                {.id = 2, .bytes_per_s = 100 * MIB},
                                {.id = 3, .bytes_per_s = 0}};
    assert_int_equal(throttle_limit_vcpus(v, 4, 30, 90), 1);
    assert_true(v[1].limit_bytes_per_s > 0);
    assert_true(fabs(sum(v, 4) - 410 * 0.7 * MIB) < MIB);
    assert_int_equal(throttle_limit_vcpus(v, 4, 60, 90), 2); /* down to one level */
    assert_true(fabs(v[1].limit_bytes_per_s - v[2].limit_bytes_per_s) < 1);
    assert_true(fabs(sum(v, 4) - 410 * 0.4 * MIB) < MIB);
    assert_int_equal(throttle_limit_vcpus(v, 4, 0, 90), 0);
}

static void test_none_is_cut_by_more_than_is_allowed(void **state)
{
    (void)state;
    struct throttle_vcpu v[] = {{.id = 0, .bytes_per_s = 10 * MIB},
                                {.id = 1, .bytes_per_s = 300 * MIB}};
    assert_int_equal(throttle_limit_vcpus(v, 2, 50, 20), 2);
    assert_true(fabs(v[0].limit_bytes_per_s - 8 * MIB) < 1);
    assert_true(fabs(v[1].limit_bytes_per_s - 240 * MIB) < 1);
    assert_int_equal(throttle_limit_vcpus(v, 0, 50, 20), 0);
}

static void test_what_qemu_would_not_hold(void **state)
{
    (void)state;
    struct throttle_vcpu v[] = {{.id = 0, .bytes_per_s = 300e6, .limit_bytes_per_s = 200e6},
                                {.id = 1, .bytes_per_s = 10e6}};
    assert_true(throttle_limits_hold(v, 2));
    v[1].limit_bytes_per_s = 5e6;
    assert_false(throttle_limits_hold(v, 2));
    v[0].limit_bytes_per_s = v[1].limit_bytes_per_s = 0;
    assert_false(throttle_limits_hold(v, 2));
    assert_false(throttle_limits_hold(v, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_needed),
        cmocka_unit_test(test_a_hot_set_needs_more_the_less_is_to_be_left),
        cmocka_unit_test(test_more_than_the_curve_says),
        cmocka_unit_test(test_the_hottest_come_first),
        cmocka_unit_test(test_none_is_cut_by_more_than_is_allowed),
        cmocka_unit_test(test_what_qemu_would_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
