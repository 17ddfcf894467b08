/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/relocate/zeros.h"

enum { LEN_MAX = 700, SHIFT_MAX = 64 };

/* All lengths at all alignments, with one byte that differs at every position: it is seen inside,
 * and not seen right before and behind. */
static void test_a_byte_that_differs_is_seen(void **state)
{
    (void)state;
    static unsigned char room[SHIFT_MAX + LEN_MAX + 2];
    for (size_t shift = 0; shift < SHIFT_MAX; shift++) {
        for (size_t len = 0; len <= LEN_MAX; len += len < 300 ? 1 : 13) {
            unsigned char *p = room + 1 + shift;
            p[-1] = p[len] = 0xff;
            if (!zeros_only(p, len))
                fail_msg("%zu zeros at +%zu are taken for data", len, shift);
            for (size_t i = 0; i < len; i++) {
                p[i] = (unsigned char)(1u << (i % 8));
                if (zeros_only(p, len))
                    fail_msg("byte %zu of %zu at +%zu is not seen", i, len, shift);
                p[i] = 0;
            }
            p[-1] = p[len] = 0;
        }
    }
}

/* Nothing outside is read: the sanitizer guards the ends of each block. */
static void test_nothing_outside_is_read(void **state)
{
    (void)state;
    for (size_t len = 0; len < 600; len++) {
        CLEANUP_FREE unsigned char *p = calloc(1, len);
        assert_true(zeros_only(p, len));
        assert_int_equal(zeros_run(p, len, 256), len);
        assert_int_equal(zeros_data_run(p, len, 256), 0);
    }
}

/* `pattern`: a letter a granule, '0' zeros, 'd' data; `tail` bytes are missing of the last one. */
static void check_runs(const char *pattern, size_t granule, size_t tail, size_t at)
{
    size_t n = strlen(pattern), len = n * granule - tail;
    CLEANUP_FREE unsigned char *p = calloc(1, len + 1);
    for (size_t i = 0; i < n; i++) {
        size_t begin = i * granule, size = i + 1 < n ? granule : granule - tail;
        if (pattern[i] == 'd')
            p[begin + at % size] = 1;
    }
    size_t zeros = strspn(pattern, "0"), data = strspn(pattern, "d");
    assert_int_equal(zeros_run(p, len, granule), zeros == n ? len : zeros * granule);
    assert_int_equal(zeros_data_run(p, len, granule), data == n ? len : data * granule);
}

static void test_runs_of_zeros_are_found(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "0", "d", "00", "0d", "d0", "dd", "000d0", "ddd0d", "0d0d0", "00000", "ddddd",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (size_t granule = 4096; granule <= 65536; granule *= 4) {
            for (size_t tail = 0; tail < granule; tail += granule / 4 - 1) {
                check_runs(patterns[i], granule, tail, 0);
                check_runs(patterns[i], granule, tail, granule / 2 + 3);
                check_runs(patterns[i], granule, tail, granule - 1);
            }
        }
    }
    assert_int_equal(zeros_run("", 0, 4096), 0);
    assert_int_equal(zeros_data_run("", 0, 4096), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_byte_that_differs_is_seen),
        cmocka_unit_test(test_nothing_outside_is_read),
        cmocka_unit_test(test_runs_of_zeros_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
