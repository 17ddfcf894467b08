/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/observe/guest_clock.h"
#include "core/clock.h"

/* Words each 16 ms, which take from 0.3 to 8 ms until they are here, from `at_ns` on. */
static int64_t say(struct guest_clock *c, int64_t at_ns, int64_t ahead_ns, int spec, int n)
{
    for (int i = 0; i < n; i++, at_ns += 16 * NS_PER_MS) {
        int64_t way_ns = i % 5 == 3 ? 300000 : (1 + i % 8) * NS_PER_MS;
        guest_clock_add(c, at_ns + ahead_ns, at_ns + way_ns, spec);
    }
    return at_ns;
}

static void knows_no_step_on_one_side(void **state)
{
    (void)state;
    struct guest_clock c;
    guest_clock_init(&c);
    assert_true(guest_clock_step_ns(&c) == OBSERVER_NO_CLOCK);
    say(&c, NS_PER_S, 77 * NS_PER_S, 0, 40);
    assert_true(guest_clock_step_ns(&c) == OBSERVER_NO_CLOCK);
}

static void knows_the_step(void **state)
{
    (void)state;
    static const int64_t steps_ns[] = {-40 * NS_PER_MS, 0, 3600 * NS_PER_S, -NS_PER_MS};
    for (size_t i = 0; i < sizeof steps_ns / sizeof *steps_ns; i++) {
        struct guest_clock c;
        guest_clock_init(&c);
        int64_t epoch_ns = INT64_C(1795600000) * NS_PER_S;
        int64_t at_ns = say(&c, 9 * NS_PER_S, epoch_ns, 0, 500);
        at_ns = say(&c, at_ns + 60 * NS_PER_MS, epoch_ns + steps_ns[i], 1, 20);
        assert_int_equal(guest_clock_step_ns(&c), steps_ns[i]);
        say(&c, at_ns, epoch_ns + steps_ns[i] + NS_PER_S, 1, 500); /* set by hand, much later */
        assert_in_range(guest_clock_step_ns(&c) - steps_ns[i], 0, NS_PER_S);
    }
}

/* Of two moves the last counts, and what was long ago does not. */
static void the_last_move_counts(void **state)
{
    (void)state;
    struct guest_clock c;
    guest_clock_init(&c);
    int64_t at_ns = say(&c, NS_PER_S, NS_PER_S, 0, 30); /* a step while it is on one side */
    at_ns = say(&c, at_ns, 0, 0, 200);
    at_ns = say(&c, at_ns, -5 * NS_PER_MS, 1, 30);
    assert_int_equal(guest_clock_step_ns(&c), -5 * NS_PER_MS);
    say(&c, at_ns, -25 * NS_PER_MS, 0, 30);
    assert_int_equal(guest_clock_step_ns(&c), -20 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_no_step_on_one_side),
        cmocka_unit_test(knows_the_step),
        cmocka_unit_test(the_last_move_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
