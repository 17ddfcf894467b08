/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/virt/guard.h"

static void test_the_source_ends_only_where_the_guest_is_known_to_be(void **state)
{
    (void)state;
    static const struct {
        const char *run, *migration, *there; /* NULL: it has ended */
        enum virt_guard_next next;
    } cases[] = {
        {"postmigrate", "completed", "running", VIRT_GUARD_END_SOURCE},
        {"postmigrate", "completed", "paused", VIRT_GUARD_END_SOURCE},
        {"postmigrate", "completed", "inmigrate", VIRT_GUARD_WAIT},
        {"postmigrate", "completed", "", VIRT_GUARD_WAIT},
        {"postmigrate", "completed", NULL, VIRT_GUARD_LEAVE},
        {"finish-migrate", "postcopy-active", "running", VIRT_GUARD_WAIT},
        {"finish-migrate", "pre-switchover", "inmigrate", VIRT_GUARD_IDLE},
        {"finish-migrate", "device", "inmigrate", VIRT_GUARD_WAIT},
        {"running", "active", "inmigrate", VIRT_GUARD_IDLE},
        {"running", "failed", "inmigrate", VIRT_GUARD_IDLE},
        {"paused", "completed", NULL, VIRT_GUARD_IDLE}, /* of an earlier migration */
        {"running", "completed", NULL, VIRT_GUARD_IDLE},
        {"running", "completed", "running", VIRT_GUARD_LEAVE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum virt_guard_next next =
            virt_guard_next(cases[i].run, cases[i].migration, cases[i].there);
        if (next != cases[i].next)
            fail_msg("%s, %s, %s: %d", cases[i].run, cases[i].migration,
                     cases[i].there != NULL ? cases[i].there : "none", (int)next);
    }
}

/* However long the destination does not answer: only its word, or what is done to the source, ends it. */
static void test_silence_is_waited_for(void **state)
{
    (void)state;
    assert_false(virt_guard_ends(VIRT_GUARD_WAIT, INT64_MAX));
    assert_false(virt_guard_ends(VIRT_GUARD_IDLE, NS_PER_S));
    assert_true(virt_guard_ends(VIRT_GUARD_IDLE, 60 * NS_PER_S));
    assert_true(virt_guard_ends(VIRT_GUARD_LEAVE, 0));
    assert_true(virt_guard_ends(VIRT_GUARD_END_SOURCE, 0));
    assert_int_equal(virt_guard_tick_ns(0), 200 * NS_PER_MS);
    assert_int_equal(virt_guard_tick_ns(3600 * NS_PER_S), 30 * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_source_ends_only_where_the_guest_is_known_to_be),
        cmocka_unit_test(test_silence_is_waited_for),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
