/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/wire.h"

static void test_what_the_script_says(void **state)
{
    (void)state;
    struct wire w;
    wire_read("eth0 25000 0.143", &w);
    assert_string_equal(w.device, "eth0");
    assert_int_equal(w.bytes_per_s, 3125000000);
    assert_int_equal(w.rtt_ns, 143 * NS_PER_US);
    wire_read("br0 -1 -", &w);
    assert_string_equal(w.device, "br0");
    assert_int_equal(w.bytes_per_s, 0);
    assert_int_equal(w.rtt_ns, -1);
    static const char *const nothing[] = {"", "-", "- - -", "sh: not found"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        wire_read(nothing[i], &w);
        assert_int_equal(w.bytes_per_s, 0);
        assert_int_equal(w.rtt_ns, -1);
    }
}

/* To this machine itself: the loopback device has no speed. A name that does not exist is no fault. */
static void test_this_machine(void **state)
{
    (void)state;
    const struct qmp_endpoint here = {.scheme = QMP_UNIX, .path = "/run/x"};
    struct shell s;
    struct wire w;
    shell_of_endpoint(&here, &s);
    wire_look(&s, "127.0.0.1", &w);
    assert_int_equal(w.bytes_per_s, 0);
    assert_true(w.rtt_ns == -1 || (w.rtt_ns > 0 && w.rtt_ns < NS_PER_S));
    wire_look(&s, "no such host; echo eth0 1 1", &w);
    assert_int_equal(w.bytes_per_s, 0);
    assert_int_equal(w.rtt_ns, -1);
    shell_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_script_says),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
