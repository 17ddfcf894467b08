/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/units.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct good {
    const char *text;
    uint64_t value;
};

#define BAD_NUMBERS                                                                              \
    "", " ", " 1", "1 ", "-1", "+1", "-0", "0x10", "1e3", "inf", "nan", ".5", "5.", "1.5.2",     \
        "1,5", "K", "1KK", "1Kx", "1 K", "9223372036854775808", "99999999999999999999999999999", \
        "0000000000000000000000000000000000000000001", "1\n"

static void refuse_size(const char *text)
{
    struct err e = {0};
    uint64_t v = 77;
    if (units_parse_size(text, &v, &e) == 0)
        fail_msg("'%s' is taken for a size of %" PRIu64, text, v);
    assert_int_equal(e.class, ERR_USAGE);
    assert_int_equal(v, 77);
    assert_non_null(strstr(e.msg, text));
}

static void test_sizes_are_read_whole(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"0", 0},
        {"10", 10},
        {"4096", 4096},
        {"007", 7},
        {"317B", 317},
        {"64K", 65536},
        {"1.5G", 1610612736},
        {"1MiB", 1048576},
        {"10MB", 10000000},
        {"1kB", 1000},
        {"1KB", 1000},
        {"0.5K", 512},
        {"2T", UINT64_C(2) << 40},
        {"1TB", UINT64_C(1000000000000)},
        {"7T", UINT64_C(7) << 40},
    };
    static const char *const bad[] = {
        BAD_NUMBERS, "100M/s", "1gbit", "1m", "1g", "1mib", "1Gi", "8388608T", "1P", "1K1",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = {0};
        uint64_t v = 77;
        if (units_parse_size(good[i].text, &v, &e) < 0 || v != good[i].value)
            fail_msg("'%s' is %" PRIu64 ": %s", good[i].text, v, e.msg);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        refuse_size(bad[i]);
}

static void test_rates_are_read_whole(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"100M", 104857600},  {"100M/s", 104857600},  {"1gbit", 125000000}, {"100mbit", 12500000},
        {"8kbit", 1000},      {"2.5Gbit", 312500000}, {"10", 10},           {"5/s", 5},
        {"10MB/s", 10000000},
    };
    static const char *const bad[] = {
        BAD_NUMBERS,
        "/s",
        "M/s",
        "1M/",
        "1M/h",
        "1M/s/s",
        "1M/S",
        "1bit",
        "1gbi",
        "1gbits",
        "100M/s ",
        "99999999999gbit",
        "1111111111111111111111111111111111111111111111111111M/s",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = {0};
        uint64_t v = 77;
        if (units_parse_rate(good[i].text, &v, &e) < 0 || v != good[i].value)
            fail_msg("'%s' is %" PRIu64 ": %s", good[i].text, v, e.msg);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        uint64_t v = 77;
        if (units_parse_rate(bad[i], &v, &e) == 0)
            fail_msg("'%s' is taken for a rate of %" PRIu64, bad[i], v);
        assert_true(e.class == ERR_USAGE && v == 77);
    }
}

static void test_durations_are_read_whole(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"250ms", 250000000},           {"20us", 20000},
        {"3s", UINT64_C(3000000000)},   {"7ns", 7},
        {"5m", UINT64_C(300000000000)}, {"1h", UINT64_C(3600000000000)},
        {"1.5s", 1500000000},           {"0s", 0},
    };
    static const char *const bad[] = {
        BAD_NUMBERS, "10",   "0",   "1.5", "1S",  "1M",       "1d",
        "1min",      "1sec", "3s3", "1 s", "-5s", "2562048h",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = {0};
        int64_t v = 77;
        if (units_parse_duration(good[i].text, &v, &e) < 0 || v != (int64_t)good[i].value)
            fail_msg("'%s' is %" PRId64 ": %s", good[i].text, v, e.msg);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        int64_t v = 77;
        if (units_parse_duration(bad[i], &v, &e) == 0)
            fail_msg("'%s' is taken for a duration of %" PRId64, bad[i], v);
        assert_true(e.class == ERR_USAGE && v == 77);
    }
}

static void test_counts_are_read_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {BAD_NUMBERS, "1", "17", "1.5", "2K", "18446744073709551616"};
    struct err e = {0};
    uint64_t n = 77;
    assert_int_equal(units_parse_count("2", 2, 16, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(units_parse_count("16", 2, 16, &n, &e), 0);
    assert_int_equal(units_parse_count("18446744073709551615", 0, UINT64_MAX, &n, &e), 0);
    assert_true(n == UINT64_MAX);
    for (size_t i = 0; i < COUNT(bad); i++) {
        n = 77;
        err_clear(&e);
        if (units_parse_count(bad[i], 2, 16, &n, &e) == 0)
            fail_msg("'%s' is taken for %" PRIu64, bad[i], n);
        assert_true(e.class == ERR_USAGE && n == 77);
    }
    assert_non_null(strstr(e.msg, "from 2 to 16"));
}

static void test_numbers_are_written_for_people(void **state)
{
    (void)state;
    char buf[UNITS_TEXT_MAX];
    assert_string_equal(units_format_size(buf, 0), "0 B");
    assert_string_equal(units_format_size(buf, 1023), "1023 B");
    assert_string_equal(units_format_size(buf, 1024), "1.00 KiB");
    assert_string_equal(units_format_size(buf, 1610612736), "1.50 GiB");
    assert_string_equal(units_format_size(buf, UINT64_MAX), "16384.00 PiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_read_whole),
        cmocka_unit_test(test_rates_are_read_whole),
        cmocka_unit_test(test_durations_are_read_whole),
        cmocka_unit_test(test_counts_are_read_whole),
        cmocka_unit_test(test_numbers_are_written_for_people),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
