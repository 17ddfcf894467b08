/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/tune/estimate.h"

#define assert_near(value, expected, off) assert_true(fabs((value) - (expected)) <= (off))

static void assert_is(struct estimate a, double low, double likely, double high)
{
    assert_true(estimate_is_sound(a));
    assert_near(a.low, low, 1e-6 * (1 + low));
    assert_near(a.likely, likely, 1e-6 * (1 + likely));
    if (isinf(high))
        assert_true(isinf(a.high));
    else
        assert_near(a.high, high, 1e-6 * (1 + high));
}

static void test_ends_meet(void **state)
{
    (void)state;
    struct estimate a = {1, 2, 4}, b = {10, 20, 40}, none = estimate_exactly(0);
    struct estimate endless = {1, 2, INFINITY};
    assert_is(estimate_add(a, b), 11, 22, 44);
    assert_is(estimate_scale(a, 3), 3, 6, 12);
    assert_is(estimate_multiply(a, b), 10, 40, 160);
    assert_is(estimate_multiply(none, endless), 0, 0, 0);
    assert_is(estimate_divide(b, a), 2.5, 10, 40);
    assert_is(estimate_divide(b, endless), 0, 10, 40);
    assert_is(estimate_divide(b, (struct estimate){0, 2, 4}), 2.5, 10, INFINITY);
    assert_is(estimate_divide(none, (struct estimate){0, 2, 4}), 0, 0, 0);
    assert_is(estimate_clamp(b, 0, 30), 10, 20, 30);
    assert_is(estimate_clamp(b, 15, 18), 15, 18, 18);
    assert_is(estimate_min(b, estimate_exactly(15)), 10, 15, 15);
    assert_is(estimate_max(b, estimate_exactly(15)), 15, 20, 40);
}

static void test_independent_ones_even_out(void **state)
{
    (void)state;
    struct estimate a = {7, 10, 16}, b = {16, 20, 28};
    assert_is(estimate_add_independent(a, b), 25, 30, 40);
    assert_is(estimate_add_independent(a, (struct estimate){1, 2, INFINITY}), 12 - hypot(3, 1), 12,
              INFINITY);
}

static void test_what_is_sound(void **state)
{
    (void)state;
    assert_true(estimate_is_sound((struct estimate){0, 0, INFINITY}));
    assert_false(estimate_is_sound((struct estimate){-1, 0, 1}));
    assert_false(estimate_is_sound((struct estimate){2, 1, 3}));
    assert_false(estimate_is_sound((struct estimate){0, 2, 1}));
    assert_false(estimate_is_sound((struct estimate){0, NAN, 1}));
    assert_false(estimate_is_sound((struct estimate){0, 1, NAN}));
    assert_false(estimate_is_sound((struct estimate){0, INFINITY, INFINITY}));
}

static void test_quantiles(void **state)
{
    (void)state;
    double values[] = {5, 1, 4, 2, 3}, one[] = {7};
    assert_near(estimate_quantile(values, 5, 0.5), 3, 1e-9);
    assert_near(estimate_quantile(values, 5, 0), 1, 1e-9);
    assert_near(estimate_quantile(values, 5, 1), 5, 1e-9);
    assert_near(estimate_quantile(values, 5, 0.875), 4.5, 1e-9);
    assert_near(estimate_quantile(one, 1, 0.9), 7, 1e-9);
}

/* A number from a normal distribution, near enough: the sum of 12 even ones. */
static double draw(double mean, double deviation)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += drand48();
    return mean + deviation * sum;
}

/* In how many of 4000 draws the next case is within what the `n` cases before it gave. */
static double share_held(size_t n, double deviation, double usual_spread)
{
    unsigned held = 0;
    enum { DRAWS = 4000 };
    for (int i = 0; i < DRAWS; i++) {
        double values[64];
        for (size_t k = 0; k < n; k++)
            values[k] = draw(100, deviation);
        struct estimate a = estimate_from_cases(values, n, usual_spread);
        double next = draw(100, deviation);
        assert_true(estimate_is_sound(a));
        held += next >= a.low && next <= a.high;
    }
    return (double)held / (double)DRAWS;
}

/* What the interval is for: the next case is in it nine times of ten, from one case as from many. */
static void test_the_interval_holds_the_next_case(void **state)
{
    (void)state;
    static const size_t numbers[] = {1, 2, 3, 5, 10, 18, 19, 30, 64};
    srand48(1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double held = share_held(numbers[i], 10, 0.1);
        assert_in_range((int)(1000 * held), 860, 960);
    }
    /* steadier than usual, or wilder: many cases count more than what is usual */
    assert_in_range((int)(1000 * share_held(18, 20, 0.1)), 830, 960);
    assert_in_range((int)(1000 * share_held(18, 5, 0.1)), 860, 990);
}

static void test_one_case_is_no_certainty(void **state)
{
    (void)state;
    double one[] = {100}, same[] = {100, 100, 100}, zero[] = {0, 0};
    struct estimate a = estimate_from_cases(one, 1, 0.1), b = estimate_from_cases(same, 3, 0.1);
    assert_true(a.low < 80 && a.high > 120);
    assert_true(b.low > a.low && b.low < 100);
    assert_is(estimate_from_cases(zero, 2, 0.1), 0, 0, 0);
}

static void test_two_accounts_of_one_thing(void **state)
{
    (void)state;
    struct estimate a = {90, 100, 110}, b = {190, 200, 210};
    assert_is(estimate_merge(a, 3, a, 5), 90, 100, 110);
    struct estimate both = estimate_merge(a, 1, b, 1), most = estimate_merge(a, 9, b, 1);
    assert_near(both.likely, 150, 1e-6);
    assert_true(both.low < 80 && both.high > 220); /* they disagree */
    assert_near(most.likely, 110, 1e-6);
    assert_true(estimate_is_sound(both) && estimate_is_sound(most));
    assert_is(estimate_merge(a, 1, (struct estimate){0, 0, INFINITY}, 1),
              fmax(0, 50 - sqrt(0.5 * (100 + 0) + 1.6449 * 1.6449 * 2500)), 50, INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_meet),
        cmocka_unit_test(test_independent_ones_even_out),
        cmocka_unit_test(test_what_is_sound),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_the_interval_holds_the_next_case),
        cmocka_unit_test(test_one_case_is_no_certainty),
        cmocka_unit_test(test_two_accounts_of_one_thing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
