/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/curve.h"

#define MIB 1048576.0
#define RAM (1024 * MIB)

#define assert_near(value, expected, off) assert_true(fabs((value) - (expected)) <= (off))

static struct estimate about(double bytes, double part)
{
    return (struct estimate){bytes * (1 - part), bytes, bytes * (1 + part)};
}

static void assert_no_point(const struct curve *c)
{
    assert_true(curve_bytes(c, NS_PER_S).high == 0);
    assert_true(curve_rate(c, NS_PER_S).high == 0);
    assert_int_equal(curve_working_set(c), 0);
    assert_int_equal(curve_hot_set(c), 0);
    assert_false(curve_is_flat(c));
}

/* From a millisecond to a quarter of an hour it rises, is sound, and stays below RAM. */
static void assert_lawful(const struct curve *c)
{
    struct estimate before = {0, 0, 0};
    for (int64_t ns = NS_PER_MS; ns < 900 * NS_PER_S; ns += ns / 23 + 1) {
        struct estimate now = curve_bytes(c, ns);
        assert_true(estimate_is_sound(now));
        assert_true(now.low >= before.low - 1 && now.likely >= before.likely - 1 &&
                    now.high >= before.high - 1);
        assert_true(c->ram_bytes == 0 || now.high <= (double)c->ram_bytes);
        assert_near(curve_rate(c, ns).likely * (double)ns / 1e9, now.likely, 1);
        before = now;
    }
}

static void test_points_are_sorted_and_merged(void **state)
{
    (void)state;
    struct curve c = {.source = CURVE_DIRTY_RING, .ram_bytes = (uint64_t)RAM};
    assert_no_point(&c);
    assert_int_equal(curve_add(&c, NS_PER_S, about(80 * MIB, 0.1)), 0);
    assert_int_equal(curve_add(&c, 100 * NS_PER_MS, about(10 * MIB, 0.1)), 0);
    assert_int_equal(curve_add(&c, 300 * NS_PER_MS, about(30 * MIB, 0.1)), 0);
    assert_int_equal(curve_add(&c, NS_PER_S, about(120 * MIB, 0.1)), 0);
    assert_int_equal(c.n, 3);
    assert_true(c.at[0].window_ns == 100 * NS_PER_MS && c.at[1].window_ns == 300 * NS_PER_MS);
    assert_int_equal(c.at[2].windows, 2);
    assert_near(c.at[2].bytes.likely, 100 * MIB, 1);
    assert_true(c.at[2].bytes.low < 80 * MIB && c.at[2].bytes.high > 120 * MIB);
    assert_lawful(&c);
}

static void test_what_is_no_point_changes_nothing(void **state)
{
    (void)state;
    struct curve c = {.ram_bytes = (uint64_t)RAM};
    assert_int_equal(curve_add(&c, 0, about(MIB, 0.1)), -1);
    assert_int_equal(curve_add(&c, -5, about(MIB, 0.1)), -1);
    assert_int_equal(curve_add(&c, 5, (struct estimate){2, 1, 3}), -1);
    assert_int_equal(curve_add(&c, 5, estimate_exactly(NAN)), -1);
    assert_no_point(&c);
    for (int i = 1; i <= CURVE_POINTS_MAX; i++)
        assert_int_equal(curve_add(&c, i * NS_PER_S, about(i * MIB, 0.1)), 0);
    struct curve full = c;
    assert_int_equal(curve_add(&c, 99, about(MIB, 0.1)), -1);
    assert_memory_equal(&c, &full, sizeof c);
    assert_int_equal(curve_add(&c, 3 * NS_PER_S, about(MIB, 0.1)), 0); /* one more of a length */
}

/* Whatever was measured, noise included: it rises, and low <= likely <= high <= RAM. */
static void test_any_points_make_a_lawful_curve(void **state)
{
    (void)state;
    srand48(2);
    for (int round = 0; round < 300; round++) {
        struct curve c = {.ram_bytes = round % 3 == 0 ? 0 : (uint64_t)(64 * MIB)};
        int n = 1 + (int)(drand48() * (CURVE_POINTS_MAX + 3));
        for (int i = 0; i < n; i++) {
            int64_t window_ns = (int64_t)(1 + drand48() * 20) * 100 * NS_PER_MS;
            double bytes = drand48() < 0.2 ? 0 : drand48() * 100 * MIB;
            struct estimate e = about(bytes, drand48());
            if (drand48() < 0.1)
                e.high = INFINITY;
            (void)curve_add(&c, window_ns, e);
        }
        if (c.ram_bytes > 0)
            assert_lawful(&c);
        for (int64_t ns = NS_PER_MS; ns < 900 * NS_PER_S; ns += ns / 7 + 1)
            assert_true(estimate_is_sound(curve_bytes(&c, ns)));
        assert_true(curve_hot_set(&c) <= curve_working_set(&c));
    }
}

/* What a guest dirties in t seconds that writes `hot` bytes all the time, and a working set of `warm`
 * bytes here and there, each page `often` times a second. */
static double mixed(double hot, double warm, double often, double t)
{
    return hot * (1 - exp(-1000 * t)) + warm * (1 - exp(-often * t));
}

/* A guest of that kind, measured well at a few windows: what it dirties in any other is in the interval. */
static void test_the_interval_holds_what_was_not_measured(void **state)
{
    (void)state;
    static const double often[] = {0.01, 0.2, 1, 5, 50};
    for (size_t i = 0; i < sizeof often / sizeof *often; i++) {
        for (double hot = 0; hot <= 32 * MIB; hot += 16 * MIB) {
            struct curve c = {.ram_bytes = (uint64_t)RAM};
            static const int64_t windows_ms[] = {100, 300, 1000, 3000};
            for (size_t k = 0; k < 4; k++)
                curve_add(&c, windows_ms[k] * NS_PER_MS,
                          about(mixed(hot, 256 * MIB, often[i], (double)windows_ms[k] / 1e3),
                                0.02));
            for (int64_t ns = 2 * NS_PER_MS; ns < 600 * NS_PER_S; ns += ns / 11 + 1) {
                double real = mixed(hot, 256 * MIB, often[i], (double)ns / 1e9);
                struct estimate e = curve_bytes(&c, ns);
                assert_true(e.low <= real * 1.0001 && real <= e.high * 1.0001);
                if (ns >= 100 * NS_PER_MS && ns <= 3000 * NS_PER_MS)
                    assert_true(e.likely > 0.8 * real && e.likely < 1.2 * real);
            }
            assert_lawful(&c);
            assert_true((double)curve_hot_set(&c) >= 0.95 * hot);
        }
    }
}

static void test_below_between_and_beyond(void **state)
{
    (void)state;
    struct curve c = {.ram_bytes = (uint64_t)RAM};
    curve_add(&c, NS_PER_S, (struct estimate){80, 100, 120});
    struct estimate below = curve_bytes(&c, NS_PER_S / 4), beyond = curve_bytes(&c, 4 * NS_PER_S);
    assert_near(below.low, 20, 1e-6);
    assert_near(below.likely, 25, 1e-6);
    assert_near(below.high, 120, 1e-6);
    assert_near(beyond.low, 80, 1e-6); /* all was seen */
    assert_near(beyond.likely, 200, 1e-6);
    assert_near(beyond.high, 480, 1e-6); /* nothing is dirtied twice */
    curve_add(&c, 4 * NS_PER_S, (struct estimate){120, 150, 160});
    struct estimate between = curve_bytes(&c, 2 * NS_PER_S);
    assert_near(between.low, 80 + 40 / 3.0, 1e-6);
    assert_near(between.likely, 100 * sqrt(1.5), 1e-6); /* half way of two doublings */
    assert_near(between.high, 160, 1e-6);
    beyond = curve_bytes(&c, 16 * NS_PER_S);
    assert_near(beyond.low, 120, 1e-6);
    assert_near(beyond.likely, 225, 1e-6);
    assert_near(beyond.high, 160 + 12 * 80 / 3.0, 1e-6);
}

/* A longer window that measured less is noise: both are reported as their mean. */
static void test_what_falls_is_smoothed(void **state)
{
    (void)state;
    struct curve c = {.ram_bytes = (uint64_t)RAM};
    curve_add(&c, NS_PER_S, about(110 * MIB, 0.1));
    curve_add(&c, 2 * NS_PER_S, about(90 * MIB, 0.1));
    assert_near(curve_bytes(&c, NS_PER_S).likely, 100 * MIB, 1);
    assert_near(curve_bytes(&c, 2 * NS_PER_S).likely, 100 * MIB, 1);
    assert_near(c.at[0].bytes.likely, 110 * MIB, 1); /* as it was measured */
    assert_true(curve_is_flat(&c));
    assert_int_equal(curve_hot_set(&c), curve_working_set(&c));
}

static void test_working_set_and_hot_set(void **state)
{
    (void)state;
    struct curve c = {.ram_bytes = (uint64_t)RAM}, stream = c;
    /* 20 MiB over and over, and 10 MiB/s of new ones */
    curve_add(&c, NS_PER_S / 10, about(21 * MIB, 0.02));
    curve_add(&c, NS_PER_S, about(30 * MIB, 0.02));
    curve_add(&c, 10 * NS_PER_S, about(120 * MIB, 0.02));
    assert_near((double)curve_hot_set(&c), 20 * MIB, 0.01 * MIB);
    assert_near((double)curve_working_set(&c), 120 * MIB, 1);
    assert_false(curve_is_flat(&c)); /* it is more, in a longer window */
    /* new ones only: nothing is hot */
    curve_add(&stream, NS_PER_S, about(100 * MIB, 0.02));
    curve_add(&stream, 2 * NS_PER_S, about(200 * MIB, 0.02));
    assert_int_equal(curve_hot_set(&stream), 0);
    /* idle */
    struct curve idle = {.ram_bytes = (uint64_t)RAM};
    curve_add(&idle, NS_PER_S, estimate_exactly(0));
    curve_add(&idle, 2 * NS_PER_S, estimate_exactly(0));
    assert_int_equal(curve_working_set(&idle), 0);
    assert_true(curve_is_flat(&idle));
    assert_lawful(&idle);
}

static void test_nothing_is_above_ram(void **state)
{
    (void)state;
    struct curve c = {.ram_bytes = (uint64_t)(100 * MIB)};
    curve_add(&c, NS_PER_S, (struct estimate){50 * MIB, 90 * MIB, INFINITY});
    curve_add(&c, 2 * NS_PER_S, about(120 * MIB, 0.1));
    assert_true(curve_bytes(&c, NS_PER_S).high == 100 * MIB);
    assert_true(curve_working_set(&c) == (uint64_t)(100 * MIB));
    assert_lawful(&c);
}

static void test_sources_have_names(void **state)
{
    (void)state;
    assert_string_equal(curve_source_name(CURVE_DIRTY_RING), "dirty-ring");
    assert_string_equal(curve_source_name(CURVE_DIRTY_BITMAP), "dirty-bitmap");
    assert_string_equal(curve_source_name(CURVE_PAGE_SAMPLING), "page-sampling");
    assert_string_equal(curve_source_name(CURVE_NONE), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_are_sorted_and_merged),
        cmocka_unit_test(test_what_is_no_point_changes_nothing),
        cmocka_unit_test(test_any_points_make_a_lawful_curve),
        cmocka_unit_test(test_the_interval_holds_what_was_not_measured),
        cmocka_unit_test(test_below_between_and_beyond),
        cmocka_unit_test(test_what_falls_is_smoothed),
        cmocka_unit_test(test_working_set_and_hot_set),
        cmocka_unit_test(test_nothing_is_above_ram),
        cmocka_unit_test(test_sources_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
