/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/policy.h"

#define MIB (UINT64_C(1) << 20)

/* What is left: falls by 10 MiB a look, or goes up and down, so that every other look sees more. */
static int64_t limit_after(enum policy policy, int64_t seconds, bool converges)
{
    struct policy_state p;
    int64_t limit_ns = policy_begin(&p, policy);
    for (int64_t ms = 100; ms <= seconds * 1000; ms += 100) {
        uint64_t odd = ms / 1000 % 2 == 0 ? 50 * MIB : 0;
        const struct vm_sample s = {.migration = VM_MIGRATION_ACTIVE,
                                    .ram_remaining_bytes = converges
                                                               ? (4000 - (uint64_t)ms / 1000) * MIB
                                                               : 100 * MIB + odd};
        int64_t next_ns = policy_step(&p, &s, ms * NS_PER_MS);
        assert_true(next_ns == 0 || next_ns > limit_ns);
        limit_ns = next_ns > 0 ? next_ns : limit_ns;
    }
    return limit_ns / NS_PER_MS;
}

static void test_doubling(void **state)
{
    (void)state;
    assert_int_equal(limit_after(POLICY_DOUBLING, 100, true), 100);
    assert_int_equal(limit_after(POLICY_DOUBLING, 11, false), 100);
    assert_int_equal(limit_after(POLICY_DOUBLING, 13, false), 200);
    assert_int_equal(limit_after(POLICY_DOUBLING, 37, false), 800);
}

static void test_ramp(void **state)
{
    (void)state;
    assert_int_equal(limit_after(POLICY_RAMP, 1, true), 150);
    assert_int_equal(limit_after(POLICY_RAMP, 5, true), 450);
    assert_int_equal(limit_after(POLICY_RAMP, 100, false), 1050);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubling),
        cmocka_unit_test(test_ramp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
