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

/* Below 20 and 100 values there is nothing beyond p95 and p99. The expected values are R's. */
static void tails_need_enough_values(void **state)
{
    (void)state;
    double values[100];
    for (size_t i = 0; i < 100; i++)
        values[i] = (double)(i + 1);
    assert_true(isnan(stats_tail(values, 0, 0.95)));
    assert_true(isnan(stats_tail(values, 19, 0.95)));
    assert_float_equal(stats_tail(values, 20, 0.95), 19.05, 1e-9);
    assert_true(isnan(stats_tail(values, 99, 0.99)));
    assert_float_equal(stats_tail(values, 100, 0.99), 99.01, 1e-9);
}

static void intervals_repeat_and_hold_the_median(void **state)
{
    (void)state;
    double values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    struct stats_interval one = stats_median_interval(values, 11, 7);
    struct stats_interval two = stats_median_interval(values, 11, 7);
    assert_true(one.low == two.low && one.high == two.high);
    /* By the binomial distribution the resampled median is below 3 with 0.7 %, below 4 with 5.1 %. */
    assert_float_equal(one.low, 3, 1e-9);
    assert_float_equal(one.high, 9, 1e-9);

    double same[] = {5, 5, 5, 5, 5};
    one = stats_median_interval(same, 5, 1);
    assert_true(one.low == 5 && one.high == 5);
    one = stats_median_interval(same, 4, 1);
    assert_true(isnan(one.low) && isnan(one.high));
    one = stats_median_interval(NULL, 0, 1);
    assert_true(isnan(one.low) && isnan(one.high));
}

/* Skewed, as times are: the exponential of a sum of uniform numbers, whose median is `median`. */
static void simulate(double *values, size_t n, double median, uint32_t *random)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            *random = *random * 1664525 + 1013904223;
            sum += (double)(*random >> 8) / (1 << 24) - 0.5;
        }
        values[i] = median * exp(sum);
    }
    stats_of(values, n);
}

/* Of 500 samples some 475 intervals must cover the true median; 450 are 5 standard deviations less. */
static void intervals_cover_the_truth(void **state)
{
    (void)state;
    uint32_t random = 1;
    unsigned median = 0, ratio = 0, wrong = 0;
    for (uint64_t i = 0; i < 500; i++) {
        double a[20], b[20];
        simulate(a, 20, 50, &random);
        simulate(b, 20, 50, &random);
        struct stats_interval m = stats_median_interval(a, 20, i);
        struct stats_contrast c = stats_contrast(a, 20, b, 20, i);
        median += m.low <= 50 && 50 <= m.high;
        ratio += c.interval.low <= 1 && 1 <= c.interval.high;
        wrong += c.verdict != STATS_CANNOT_TELL;
    }
    assert_in_range(median, 450, 495);
    assert_in_range(ratio, 450, 499);
    assert_int_equal(wrong, 500 - ratio);
}

static void verdicts(void **state)
{
    (void)state;
    double slow[] = {100, 101, 102, 103, 104}, fast[] = {50, 51, 52, 53, 54};
    struct stats_contrast c = stats_contrast(fast, 5, slow, 5, 1);
    assert_float_equal(c.ratio, 52.0 / 102, 1e-9);
    assert_true(c.interval.low >= 50.0 / 104 && c.interval.high <= 54.0 / 100);
    assert_int_equal(c.verdict, STATS_FASTER);
    c = stats_contrast(slow, 5, fast, 5, 1);
    assert_int_equal(c.verdict, STATS_SLOWER);
    c = stats_contrast(slow, 5, slow, 5, 1);
    assert_float_equal(c.ratio, 1, 1e-9);
    assert_int_equal(c.verdict, STATS_CANNOT_TELL);
    c = stats_contrast(fast, 4, slow, 5, 1); /* too few */
    assert_float_equal(c.ratio, 51.5 / 102, 1e-9);
    assert_true(isnan(c.interval.low));
    assert_int_equal(c.verdict, STATS_CANNOT_TELL);
    c = stats_contrast(fast, 5, NULL, 0, 1);
    assert_true(isnan(c.ratio));
    double zeros[] = {0, 0, 0, 0, 0};
    c = stats_contrast(fast, 5, zeros, 5, 1);
    assert_true(isnan(c.ratio));
    assert_int_equal(c.verdict, STATS_CANNOT_TELL);
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
        cmocka_unit_test(tails_need_enough_values),
        cmocka_unit_test(intervals_repeat_and_hold_the_median),
        cmocka_unit_test(intervals_cover_the_truth),
        cmocka_unit_test(verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
