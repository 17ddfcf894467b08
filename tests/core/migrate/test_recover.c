/* SPDX-License-Identifier: Apache-2.0 */
/* Postcopy that loses its connection at any point of it, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "migrate_rig.h"

static const struct migrate_scenario *const sc =
    &(const struct migrate_scenario){.name = "recover", .postcopy = true, .never_converges = true};

enum { SEEDS = 24, FIRST_OP = 8, LAST_OP = 26 };

static void play(struct migrate_outcome *o, enum fake_fault fault, unsigned at, uint32_t seed,
                 unsigned failures)
{
    migrate_rig_prepare(o, sc, fault, at, seed);
    fake_pair_can_recover(&o->pair, failures);
    migrate_rig_run(o, sc);
    migrate_rig_check(o, sc, seed);
}

/* Whether it breaks, or is cut so that neither side notices: where the memory was split it is recovered. */
static void test_it_is_taken_up_again(void **state)
{
    (void)state;
    static const enum fake_fault cuts[] = {FAKE_STREAM_BREAKS, FAKE_STREAM_STALLS};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        unsigned recovered = 0;
        for (uint32_t seed = 0; seed < SEEDS; seed++)
            for (unsigned at = FIRST_OP; at < LAST_OP; at++) {
                struct migrate_outcome outcome, *o = &outcome;
                play(o, cuts[i], at, seed, seed % 4);
                if (o->report.recovered == 0)
                    continue;
                recovered++;
                CHECK(o->rc == 0 && o->report.guest == MIGRATE_GUEST_DESTINATION);
                CHECK(o->report.recovered == 1);
            }
        assert_true(recovered > 0);
    }
}

/* It cannot be: the guest needs both, and the commands that recover it by hand are told. */
static void test_it_is_given_up_at_last(void **state)
{
    (void)state;
    unsigned given_up = 0;
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        for (unsigned at = FIRST_OP; at < LAST_OP; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            play(o, FAKE_STREAM_BREAKS, at, seed, 1000000);
            if (o->report.guest != MIGRATE_GUEST_UNKNOWN ||
                o->pair.source.migration != VM_MIGRATION_PAUSED ||
                o->pair.destination.migration != VM_MIGRATION_PAUSED) /* it had all of it */
                continue;
            given_up++;
            CHECK(o->report.ended_ns - o->report.started_ns >= 300 * NS_PER_S);
            CHECK(strstr(o->e.hint, "destination-recover") != NULL);
            CHECK(strstr(o->e.hint, "source-recover") != NULL);
            CHECK(strstr(o->e.hint, "source-end") == NULL);
        }
    assert_true(given_up > 0);
}

/* A side ends, or answers nothing, in the middle of it: nobody waits for five minutes for one that is known to have
 * ended, and none is named that is not known to have the guest. */
static void test_a_side_is_lost_meanwhile(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {
        FAKE_SOURCE_DIES, FAKE_DESTINATION_DIES, FAKE_SOURCE_SILENT, FAKE_DESTINATION_SILENT,
        FAKE_LOST_BEFORE, FAKE_LOST_AFTER,       FAKE_SOURCE_MUTE,   FAKE_DESTINATION_MUTE};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (uint32_t seed = 0; seed < SEEDS; seed++)
            for (unsigned at = FIRST_OP; at < LAST_OP + 12; at++) {
                struct migrate_outcome outcome, *o = &outcome;
                migrate_rig_prepare(o, sc, faults[i], at, seed);
                fake_pair_can_recover(&o->pair, 2);
                o->pair.breaks_in_postcopy = true;
                migrate_rig_run(o, sc);
                migrate_rig_check(o, sc, seed);
                if (o->pair.source.dead && !o->pair.was_silent)
                    CHECK(o->report.ended_ns - o->report.started_ns < 200 * NS_PER_S);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_taken_up_again),
        cmocka_unit_test(test_it_is_given_up_at_last),
        cmocka_unit_test(test_a_side_is_lost_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
