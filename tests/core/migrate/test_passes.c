/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/migrate/passes.h"

#define MIB (UINT64_C(1) << 20)

/* A guest's RAM as QEMU counts it: `handled` in all, `left` at this moment. */
static struct vm_sample look(struct passes *p, enum vm_migration migration, uint64_t handled_mib,
                             uint64_t left_mib)
{
    struct vm_sample s = {.migration = migration,
                          .ram_total_bytes = 1024 * MIB,
                          .ram_handled_bytes = handled_mib * MIB,
                          .ram_remaining_bytes = left_mib * MIB,
                          .passes = 77};
    passes_follow(p, &s);
    return s;
}

static uint64_t passes(struct passes *p, uint64_t handled_mib, uint64_t left_mib)
{
    return look(p, VM_MIGRATION_ACTIVE, handled_mib, left_mib).passes;
}

/* Dirty pages are looked for at the end of each pass: what is left falls to nothing, and jumps. */
static void test_one_after_another(void **state)
{
    (void)state;
    struct passes p = {0};
    assert_int_equal(passes(&p, 100, 924), 1);
    assert_int_equal(passes(&p, 1000, 24), 1);
    assert_int_equal(passes(&p, 1030, 194), 2); /* 200 had become dirty */
    assert_int_equal(passes(&p, 1224, 0), 2);
    assert_int_equal(passes(&p, 1224, 0), 2); /* nothing was left, and nothing was sent */
    assert_int_equal(passes(&p, 1224, 50), 3);
    assert_int_equal(passes(&p, 1240, 34), 3);
    assert_int_equal(look(&p, VM_MIGRATION_COMPLETED, 1280, 0).passes, 4);
}

/* QEMU 11 with postcopy-ram looks ten times a second: what is left rises all the time, its counter was
 * at 31 after 3 s with 26 MiB sent, and still it is the first pass until all of RAM has been dealt
 * with. */
static void test_looking_is_no_pass(void **state)
{
    (void)state;
    struct passes p = {0};
    for (uint64_t sent = 1; sent < 1024; sent++)
        assert_int_equal(passes(&p, sent, 1024 - sent + sent / 2), 1);
    assert_int_equal(passes(&p, 1024, 512), 2);
    assert_int_equal(passes(&p, 1100, 512), 2);
    assert_int_equal(passes(&p, 1024 + 512, 400), 3);
}

/* Pages that need no sending (unchanged, given back by the guest) have been dealt with, too. */
static void test_not_all_is_sent(void **state)
{
    (void)state;
    struct passes p = {0};
    assert_int_equal(passes(&p, 0, 1024), 1);
    assert_int_equal(passes(&p, 10, 100), 1);
    assert_int_equal(passes(&p, 20, 0), 1);
    assert_int_equal(passes(&p, 20, 60), 2);
}

/* One that is over before it was looked at twice; and one of which nothing is known. */
static void test_a_quick_migration_has_its_passes(void **state)
{
    (void)state;
    struct passes p = {0}, q = {0}, r = {0};
    assert_int_equal(look(&p, VM_MIGRATION_SETUP, 0, 0).passes, 0);
    assert_int_equal(look(&p, VM_MIGRATION_COMPLETED, 1024, 0).passes, 1);
    assert_int_equal(look(&q, VM_MIGRATION_NONE, 0, 0).passes, 0);
    assert_int_equal(passes(&r, 10, 1014), 1);
    assert_int_equal(look(&r, VM_MIGRATION_COMPLETED, 1030, 0).passes, 2);
    assert_int_equal(look(&r, VM_MIGRATION_COMPLETED, 1030, 0).passes, 2);
}

static void test_passes_that_gain_nothing_are_stuck(void **state)
{
    (void)state;
    struct passes p = {0};
    static const struct {
        uint64_t handled, left;
        unsigned stuck;
    } looks[] = {
        {0, 1024, 0},   {1024, 300, 0}, {1324, 298, 1}, {1622, 400, 2},
        {2022, 200, 0}, {2222, 100, 0}, {2322, 99, 1},
    };
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        assert_int_equal(
            look(&p, VM_MIGRATION_ACTIVE, looks[i].handled, looks[i].left).stuck_passes,
            looks[i].stuck);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_another),
        cmocka_unit_test(test_looking_is_no_pass),
        cmocka_unit_test(test_not_all_is_sent),
        cmocka_unit_test(test_a_quick_migration_has_its_passes),
        cmocka_unit_test(test_passes_that_gain_nothing_are_stuck),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
