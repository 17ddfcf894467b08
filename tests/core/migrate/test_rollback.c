/* SPDX-License-Identifier: Apache-2.0 */
/* The way back where one side or both do not tell: no side is named that may not have the guest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "migrate_rig.h"

/* Both sides run, and the destination runs again whenever it is stopped. */
static void test_both_run(void **state)
{
    (void)state;
    const struct migrate_scenario *sc =
        &(struct migrate_scenario){.name = "both run", .postcopy = true};
    unsigned both = 0;
    for (uint32_t seed = 0; seed < migrate_rig_seeds(); seed++) {
        for (unsigned at = 9;; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            migrate_rig_prepare(o, sc, FAKE_STREAM_BREAKS, at, seed);
            o->pair.destination.restarts = true;
            migrate_rig_run(o, sc);
            migrate_rig_check(o, sc, seed);
            if (strcmp(o->e.msg, "both sides run the guest") == 0) {
                CHECK(o->pair.both_ran && strstr(o->e.hint, "source-stop") != NULL &&
                      strstr(o->e.hint, "destination-stop") != NULL);
                both++;
            }
            if (o->pair.ops < at)
                break;
        }
    }
    assert_true(both > 0 || migrate_rig_seeds() < MIGRATE_RIG_SEEDS);
}

/* The source's migration has failed, and it runs the guest; the destination answers no more. */
static void test_beside_the_unknown(void **state)
{
    (void)state;
    const struct migrate_scenario *sc =
        &(struct migrate_scenario){.name = "beside", .postcopy = true};
    unsigned beside = 0;
    for (uint32_t seed = 0; seed < migrate_rig_seeds(); seed++) {
        for (unsigned at = 9; at < 14; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            migrate_rig_prepare(o, sc, FAKE_STREAM_BREAKS, at, seed);
            o->pair.mute_with_it = true;
            migrate_rig_run(o, sc);
            migrate_rig_check(o, sc, seed);
            if (o->e.hint == NULL ||
                strstr(o->e.msg, "the guest runs on the source, and the") == NULL)
                continue;
            CHECK(o->pair.source.run == VM_RUN_RUNNING && strstr(o->e.hint, "source-stop") != NULL);
            beside++;
        }
    }
    assert_true(beside > 0);
}

/* The stream breaks, and the source, which may go on by itself, answers no more: a destination that waits
 * is held, one that has been stopped is not let go on beside it (pair_assert()), and no side is named. */
static void test_beside_a_silent_source(void **state)
{
    (void)state;
    static const struct migrate_scenario silent[] = {
        {.name = "silent source, postcopy", .postcopy = true},
        {.name = "silent source, postcopy only", .postcopy = true, .never_converges = true},
        {.name = "silent source, managed", .managed = true},
    };
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        const struct migrate_scenario *sc = &silent[i];
        unsigned unreported = 0;
        for (uint32_t seed = 0; seed < 400; seed++) {
            for (unsigned at = 8; at < 20; at++) {
                struct migrate_outcome outcome, *o = &outcome;
                migrate_rig_prepare(o, sc, FAKE_STREAM_BREAKS, at, seed);
                o->pair.source_mute_with_it = true;
                migrate_rig_run(o, sc);
                migrate_rig_check(o, sc, seed);
                unreported += o->report.guest == MIGRATE_GUEST_UNKNOWN;
            }
        }
        assert_true(unreported > 0);
    }
}

/* Both fall silent when the destination has said that it runs the guest, and the source was not seen to have
 * sent it all. */
static void test_ran_there_and_both_are_silent(void **state)
{
    (void)state;
    const struct migrate_scenario *sc =
        &(struct migrate_scenario){.name = "ran, both silent", .managed = true};
    unsigned ran = 0;
    for (uint32_t seed = 0; seed < 400; seed++) {
        for (unsigned at = 9; at < 14; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            migrate_rig_prepare(o, sc, FAKE_STREAM_BREAKS, at, seed);
            o->pair.mute_with_it = o->pair.source_mute_with_it = true;
            migrate_rig_run(o, sc);
            migrate_rig_check(o, sc, seed);
            ran += o->report.guest == MIGRATE_GUEST_UNKNOWN &&
                   o->pair.destination.vm.seen.resumed_ns != 0;
        }
    }
    assert_true(ran > 0);
}

/* The source says "postcopy", the engine gives up, and then the stream breaks: the source may go on by itself, with
 * the package on its way. A destination that had not begun is held, and does not begin. */
static void test_postcopy_breaks_afterwards(void **state)
{
    (void)state;
    const struct migrate_scenario *sc = &(struct migrate_scenario){
        .name = "breaks afterwards", .postcopy = true, .never_converges = true};
    unsigned held = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        for (unsigned at = 10; at < 20; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            migrate_rig_prepare(o, sc, FAKE_REFUSES, at, seed);
            o->pair.breaks_afterwards = true;
            migrate_rig_run(o, sc);
            if (o->report.guest != MIGRATE_GUEST_UNKNOWN) /* it has ended before */
                continue;
            migrate_rig_check(o, sc, seed);
            if (strstr(o->e.msg, "postcopy was broken off; the destination") == NULL)
                continue;
            CHECK(o->pair.destination.run != VM_RUN_RUNNING && !o->pair.destination_ran);
            held++;
        }
    }
    assert_true(held > 0);
}

/* The source's QEMU is gone, and the destination, which was held, answers no more: nobody knows. */
static void test_nowhere_is_known(void **state)
{
    (void)state;
    unsigned nowhere = 0, unreported = 0;
    const struct migrate_scenario *sc =
        &(struct migrate_scenario){.name = "source dies, then silence"};
    for (uint32_t seed = 0; seed < migrate_rig_seeds(); seed++) {
        for (unsigned at = 9;; at++) {
            struct migrate_outcome outcome, *o = &outcome;
            migrate_rig_prepare(o, sc, FAKE_SOURCE_DIES, at, seed);
            o->pair.then_mute = true;
            migrate_rig_run(o, sc);
            migrate_rig_check(o, sc, seed);
            bool says = strstr(o->e.msg, "runs nowhere") != NULL;
            CHECK(!says || o->pair.destination.dead || !o->pair.destination.mute);
            nowhere += says;
            unreported += strstr(o->e.msg, "does not tell whether it has the guest") != NULL;
            if (o->pair.ops < at)
                break;
        }
    }
    print_message("nowhere: %u, unreported: %u\n", nowhere, unreported);
    assert_true(unreported > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_run),
        cmocka_unit_test(test_beside_the_unknown),
        cmocka_unit_test(test_beside_a_silent_source),
        cmocka_unit_test(test_ran_there_and_both_are_silent),
        cmocka_unit_test(test_postcopy_breaks_afterwards),
        cmocka_unit_test(test_nowhere_is_known),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("rollback", tests, NULL, NULL);
}
