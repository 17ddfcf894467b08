/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/stats.h"

static void assert_stats(const struct stats *s, size_t n, double min, double q1, double median,
                         double q3, double max)
{
    assert_int_equal(s->n, n);
    assert_float_equal(s->min, min, 1e-9);
    assert_float_equal(s->q1, q1, 1e-9);
    assert_float_equal(s->median, median, 1e-9);
    assert_float_equal(s->q3, q3, 1e-9);
    assert_float_equal(s->max, max, 1e-9);
}

/* The expected values are those of R's quantile(). */
static void order_statistics(void **state)
{
    (void)state;
    double one[] = {7};
    struct stats s = stats_of(one, 1);
    assert_stats(&s, 1, 7, 7, 7, 7, 7);

    double two[] = {4, 1};
    s = stats_of(two, 2);
    assert_stats(&s, 2, 1, 1.75, 2.5, 3.25, 4);

    double odd[] = {9, -1, 4, 5, 100};
    s = stats_of(odd, 5);
    assert_stats(&s, 5, -1, 4, 5, 9, 100);

    double even[] = {6, 1, 3, 2, 5, 4};
    s = stats_of(even, 6);
    assert_stats(&s, 6, 1, 2.25, 3.5, 4.75, 6);
}

static void what_was_not_measured_does_not_count(void **state)
{
    (void)state;
    double values[] = {NAN, 3, NAN, 1, 2, NAN};
    struct stats s = stats_of(values, 6);
    assert_stats(&s, 3, 1, 1.5, 2, 2.5, 3);

    double none[] = {NAN, NAN};
    s = stats_of(none, 2);
    assert_int_equal(s.n, 0);
    assert_true(isnan(s.median));
    s = stats_of(NULL, 0);
    assert_int_equal(s.n, 0);
    assert_true(isnan(s.min) && isnan(s.max));
}

/* The second pair was disturbed; the median of the quotients is not, that of each side is. */
static void ratios_are_of_pairs(void **state)
{
    (void)state;
    const double a[] = {2, 30, 4};
    const double b[] = {1, 10, 2};
    double ratios[3];
    struct stats s = stats_ratio(a, b, 3, ratios);
    assert_stats(&s, 3, 2, 2, 2, 2.5, 3);
}

static void ratios_need_both_sides(void **state)
{
    (void)state;
    double a[] = {2, NAN, 4, 8, 1};
    const double b[] = {1, 1, NAN, 2, 0};
    struct stats s = stats_ratio(a, b, 5, a); /* in place */
    assert_stats(&s, 2, 2, 2.5, 3, 3.5, 4);
}

static void shuffles_are_permutations_and_repeat(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 50; round++) {
        size_t order[9], again[9];
        bool seen[9] = {false};
        stats_shuffle(1, round, order, 9);
        stats_shuffle(1, round, again, 9);
        assert_memory_equal(order, again, sizeof order);
        for (size_t i = 0; i < 9; i++) {
            assert_true(order[i] < 9);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

/* Each of three is at each place in a third of the rounds: 4 standard deviations are allowed. */
static void shuffles_favour_nobody(void **state)
{
    (void)state;
    enum { ROUNDS = 3000 };
    unsigned at[3][3] = {{0}};
    for (uint64_t round = 0; round < ROUNDS; round++) {
        size_t order[3];
        stats_shuffle(42, round, order, 3);
        for (size_t place = 0; place < 3; place++)
            at[order[place]][place]++;
    }
    for (size_t who = 0; who < 3; who++)
        for (size_t place = 0; place < 3; place++)
            assert_in_range(at[who][place], 1000 - 104, 1000 + 104);
}

static void seeds_differ(void **state)
{
    (void)state;
    size_t one[12], two[12];
    stats_shuffle(1, 0, one, 12);
    stats_shuffle(2, 0, two, 12);
    assert_memory_not_equal(one, two, sizeof one);
    stats_shuffle(1, 1, two, 12);
    assert_memory_not_equal(one, two, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_statistics),
        cmocka_unit_test(what_was_not_measured_does_not_count),
        cmocka_unit_test(ratios_are_of_pairs),
        cmocka_unit_test(ratios_need_both_sides),
        cmocka_unit_test(shuffles_are_permutations_and_repeat),
        cmocka_unit_test(shuffles_favour_nobody),
        cmocka_unit_test(seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
