/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/guest/heartbeat.h"
#include "bench/observe/heartbeat.h"

static void parses_a_beat(void **state)
{
    struct heartbeat beat;

    (void)state;
    assert_int_equal(heartbeat_parse("H 0000abcd 00001234\n", &beat), 0);
    assert_int_equal(beat.seq, 0xabcd);
    assert_int_equal(beat.work, 0x1234);
    assert_false(beat.has_record);
    assert_int_equal(heartbeat_parse("H ffffffff 00000000", &beat), 0);
    assert_int_equal(beat.seq, UINT32_MAX);
    assert_int_equal(heartbeat_parse("H 00000001 00000002\r\n", &beat), 0);
}

static void parses_a_beat_with_record(void **state)
{
    struct heartbeat beat;

    (void)state;
    assert_int_equal(heartbeat_parse("H 00000001 00000002 00000003\r\n", &beat), 0);
    assert_true(beat.has_record);
    assert_int_equal(beat.record, 3);
}

static void refuses_what_is_no_beat(void **state)
{
    static const char *const lines[] = {
        "",
        "\n",
        "H",
        "H \n",
        "GODWIT-GUEST bare 1 period_us=1000 working_set=4096 rate=0\n",
        "CORRUPT page=00000000 want=00000000 got=00000000 total=00000001\n",
        "H 0000abcd\n",
        "H 0000abcd 0000123\n",   /* lost a byte */
        "H 0000bcd 00001234\n",   /* likewise */
        "H 0000abcd 000012344\n", /* gained one */
        "H 0000ABCD 00001234\n",  /* another case */
        "H 0000abcd  00001234\n",
        "H\t0000abcd 00001234\n",
        " H 0000abcd 00001234\n",
        "H 0000abcd 00001234 \n",
        "H 0000abcd 00001234 0000\n",
        "H 0000abcd 00001234 00000001 00000002\n",
        "H 0000abcd 00001234\n\n",
        "H 0000abcd 00001234\r",
        "H 0000H 0000abce 00001234\n", /* a cut beat run into the next */
        "H 0x00abcd 00001234\n",
        "H -000abcd 00001234\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct heartbeat beat = {.seq = 77};

        if (heartbeat_parse(lines[i], &beat) != -1) {
            fail_msg("accepted \"%s\"", lines[i]);
        }
        assert_int_equal(beat.seq, 77);
    }
}

static void refuses_every_cut_of_a_beat(void **state)
{
    static const char line[] = "H 0000abcd 00001234 00000042\n";
    struct heartbeat beat;

    (void)state;
    for (size_t length = 0; length < sizeof(line) - 2; length++) {
        char cut[sizeof(line)];

        snprintf(cut, sizeof(cut), "%.*s", (int)length, line);
        /* Where the third field was cut off whole, what is left is a beat of the other kind. */
        assert_int_equal(heartbeat_parse(cut, &beat), length == 19 ? 0 : -1);
    }
}

static void reads_what_the_guests_write(void **state)
{
    static const uint32_t values[] = {0, 1, 0x9abcdef0, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint32_t record = values[i] ^ 0x55;
        char line[HEARTBEAT_LINE_MAX + 1];
        struct heartbeat beat;

        line[heartbeat_format(line, values[i], ~values[i], NULL)] = '\0';
        assert_int_equal(heartbeat_parse(line, &beat), 0);
        assert_int_equal(beat.seq, values[i]);
        assert_int_equal(beat.work, ~values[i]);
        assert_false(beat.has_record);

        line[heartbeat_format(line, values[i], 5, &record)] = '\0';
        assert_int_equal(strlen(line), HEARTBEAT_LINE_MAX);
        assert_int_equal(heartbeat_parse(line, &beat), 0);
        assert_true(beat.has_record);
        assert_int_equal(beat.record, record);
    }
}

static void parses_a_clock(void **state)
{
    static const char *const wrong[] = {
        "",
        "CLOCK",
        "CLOCK 00066100\n",
        "CLOCK 00066100 deadbee\n",
        "CLOCK 00066100 deadbeef 00000000\n",
        "CLOCK ffffffff deadbeef\n", /* beyond what ns can hold */
        "CLOC 00066100 deadbeef\n",
        "H 00066100 deadbeef\n",
    };
    struct heartbeat beat;
    int64_t ns = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (heartbeat_parse_clock(wrong[i], &ns) != -1) {
            fail_msg("accepted \"%s\"", wrong[i]);
        }
        assert_int_equal(ns, 7);
    }
    assert_int_equal(heartbeat_parse_clock("CLOCK 00000001 00000002\r\n", &ns), 0);
    assert_true(ns == ((INT64_C(1) << 32) + 2) * 1000);
    assert_int_equal(heartbeat_parse("CLOCK 00000001 00000002\n", &beat), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_a_beat),
        cmocka_unit_test(parses_a_clock),
        cmocka_unit_test(parses_a_beat_with_record),
        cmocka_unit_test(refuses_what_is_no_beat),
        cmocka_unit_test(refuses_every_cut_of_a_beat),
        cmocka_unit_test(reads_what_the_guests_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
