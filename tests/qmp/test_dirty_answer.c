/* SPDX-License-Identifier: Apache-2.0 */
/* What QEMU rounds away and does not draw is in the interval. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/dirty_answer.h"

#define MIB 1048576.0
#define PAGE 4096.0

static void assert_holds(struct estimate a, double real)
{
    assert_true(estimate_is_sound(a));
    assert_true(a.low <= real && real <= a.high);
}

/* As QEMU 10 counts pages into MiB/s (do_calculate_dirtyrate), and as 7.2 does. */
static int64_t qemu_10_rate(double pages, int64_t ms)
{
    return (int64_t)((double)(int64_t)(pages * 1000 / 256) / (double)ms);
}

static int64_t qemu_7_rate(double pages, int64_t ms)
{
    return (int64_t)(pages * PAGE / MIB) * 1000 / ms;
}

static void test_rounding_is_in_the_interval(void **state)
{
    (void)state;
    static const int64_t windows_ms[] = {50, 100, 119, 1000, 2000, 4003};
    for (size_t w = 0; w < sizeof windows_ms / sizeof *windows_ms; w++) {
        int64_t ms = windows_ms[w];
        for (double pages = 0; pages < 300000; pages = pages * 1.3 + 1) {
            pages = (double)(int64_t)pages;
            struct estimate a = dirty_counted(qemu_10_rate(pages, ms), ms * NS_PER_MS, false);
            struct estimate b = dirty_counted(qemu_7_rate(pages, ms), ms * NS_PER_MS, true);
            assert_holds(a, pages * PAGE);
            assert_holds(b, pages * PAGE);
            assert_true(a.high - a.low <= 1.01 * MIB * (double)ms / 1000);
        }
    }
    assert_true(dirty_counted(0, NS_PER_S, false).likely == 0);
    assert_true(dirty_counted(-1, NS_PER_S, false).high == MIB);
}

/* Of so many drawn pages QEMU finds some dirty; its rate is rounded down (update_dirtyrate). */
static int64_t drawn_rate(double share, int draws, double ram_mib, int64_t ms)
{
    int hits = 0;
    for (int i = 0; i < draws; i++)
        hits += drand48() < share;
    return (int64_t)(hits * ram_mib * 1000 / ((double)draws * (double)ms));
}

static void test_sampling_error_is_in_the_interval(void **state)
{
    (void)state;
    static const double shares[] = {0, 0.0002, 0.003, 0.03, 0.125, 0.5, 0.97, 1};
    const double ram_mib = 256;
    srand48(3);
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        unsigned held = 0;
        for (int i = 0; i < 400; i++) {
            int64_t ms = i % 2 == 0 ? 1000 : 300;
            int64_t rate = drawn_rate(shares[s], 4096, ram_mib, ms);
            struct estimate a =
                dirty_sampled(rate, ms * NS_PER_MS, 4096, (uint64_t)(ram_mib * MIB));
            assert_true(estimate_is_sound(a) && a.high <= ram_mib * MIB);
            held += a.low <= shares[s] * ram_mib * MIB && shares[s] * ram_mib * MIB <= a.high;
        }
        assert_true(held >= 350); /* 90 % of 400, and three deviations less */
    }
    struct estimate few = dirty_sampled(30, NS_PER_S, 512, (uint64_t)(1024 * MIB));
    struct estimate many = dirty_sampled(30, NS_PER_S, 16384, (uint64_t)(1024 * MIB));
    assert_true(few.high - few.low > 3 * (many.high - many.low));
    assert_true(isinf(dirty_sampled(30, NS_PER_S, 0, 0).high));
}

static void test_a_ring_counts_pages_again(void **state)
{
    (void)state;
    struct dirty_answer a = {.vcpus = 2, .vcpu_mib_per_s = {3, 0}};
    struct estimate short_one = dirty_ringed(&a, NS_PER_S / 10, false);
    assert_true(short_one.likely > 0.29 * MIB && short_one.likely < 0.4 * MIB);
    assert_true(short_one.high >= 0.4 * MIB && short_one.high <= 0.51 * MIB);
    assert_holds(short_one, 0.31 * MIB / 2 / 2); /* both vCPUs write the same, emptied once */
    /* 10 MiB over and over, emptied each second: 80 MiB are counted in 8 s; or 80 MiB of others */
    a = (struct dirty_answer){.vcpus = 1, .vcpu_mib_per_s = {10}};
    struct estimate long_one = dirty_ringed(&a, 8 * NS_PER_S, false);
    assert_holds(long_one, 10 * MIB);
    assert_holds(long_one, 80 * MIB);
    assert_true(long_one.likely > 20 * MIB && long_one.likely < 40 * MIB);
}

static void test_a_window_that_was_longer(void **state)
{
    (void)state;
    struct estimate a = {80, 100, 120};
    struct estimate b = dirty_shortened(a, NS_PER_S, 2 * NS_PER_S, 2 * NS_PER_S);
    assert_true(b.low == 40 && b.likely == 50 && b.high == 120);
    /* QEMU's last look waited for a busy host, and it does not say so */
    b = dirty_shortened(a, NS_PER_S, NS_PER_S, 4 * NS_PER_S);
    assert_true(b.low == 20 && b.likely == 100 && b.high == 120);
    /* QEMU 7.2 cuts off the part of a second */
    b = dirty_shortened(a, 2 * NS_PER_S, NS_PER_S, 2 * NS_PER_S);
    assert_true(b.low == 80 && b.likely == 100 && b.high == 120);
}

static void read_answer(const char *text, bool milliseconds, struct dirty_answer *a, int rc,
                        const char *says)
{
    struct err e = {0};
    struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    assert_int_equal(dirty_answer_read(o, milliseconds, a, &e), rc);
    assert_true(rc == 0 || strstr(e.msg, says) != NULL);
    json_object_put(o);
}

static void test_answers_are_read(void **state)
{
    (void)state;
    struct dirty_answer a;
    read_answer(
        "{\"status\":\"measured\",\"mode\":\"dirty-ring\",\"dirty-rate\":9,\"start-time\":1,"
        "\"calc-time\":119,\"sample-pages\":0,\"vcpu-dirty-rate\":[{\"id\":0,\"dirty-rate\":2},"
        "{\"id\":5,\"dirty-rate\":7}]}",
        true, &a, 0, "");
    assert_true(a.status == DIRTY_MEASURED && a.source == CURVE_DIRTY_RING);
    assert_true(a.rate_mib_per_s == 9 && a.window_ns == 119 * NS_PER_MS);
    assert_true(a.vcpus == 2 && a.vcpu_id[1] == 5 && a.vcpu_mib_per_s[1] == 7);
    /* before QEMU 6.1 there was one mode, and it was not told */
    read_answer("{\"status\":\"measuring\",\"dirty-rate\":-1,\"start-time\":1,\"calc-time\":2}",
                false, &a, 0, "");
    assert_true(a.status == DIRTY_MEASURING && a.source == CURVE_PAGE_SAMPLING);
    assert_true(a.rate_mib_per_s == -1 && a.window_ns == 2 * NS_PER_S && a.vcpus == 0);
    read_answer(
        "{\"status\":\"measured\",\"mode\":\"dirty-stars\",\"start-time\":1,\"calc-time\":2}",
        false, &a, 0, "");
    assert_true(a.source == CURVE_NONE && a.rate_mib_per_s == -1);
    read_answer("{\"start-time\":1,\"calc-time\":2}", false, &a, -1, "status");
    read_answer("{\"status\":\"measured\",\"calc-time\":\"soon\"}", false, &a, -1, "calc-time");
    read_answer("{\"status\":\"measured\",\"calc-time\":-1}", false, &a, -1, "calc-time");
    read_answer(
        "{\"status\":\"measured\",\"calc-time\":1,\"vcpu-dirty-rate\":[{\"dirty-rate\":1}]}", false,
        &a, -1, "id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding_is_in_the_interval),
        cmocka_unit_test(test_sampling_error_is_in_the_interval),
        cmocka_unit_test(test_a_ring_counts_pages_again),
        cmocka_unit_test(test_a_window_that_was_longer),
        cmocka_unit_test(test_answers_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
