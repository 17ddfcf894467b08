/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/migrate/scenario.h"
#include "core/clock.h"

static const char whole[] = "# a comment\n"
                            "where = lab\n"
                            "guest = linux\n"
                            "ram = 256M, 512M\n"
                            "dirty-rate = 0, 20M\n"
                            "link = none, 1gbit\n"
                            "route = virsh, qmp, direct\n"
                            "setting default =\n"
                            "setting fast = multifd=2 compression=zstd auto-converge=on\n"
                            "rounds = 7\n"
                            "timeout = 15s\n";

static void test_each_line_of_a_scenario_is_read(void **state)
{
    struct scenario s;
    struct err e = {0};
    (void)state;
    assert_int_equal(scenario_parse(whole, "dir/mine.scenario", &s, &e), 0);
    assert_string_equal(s.name, "mine");
    assert_int_equal(s.guest, SCENARIO_LINUX);
    assert_int_equal(s.ram_bytes.n, 2);
    assert_int_equal(s.dirty_bytes_per_s.at[0], 0);
    assert_int_equal(s.link_bytes_per_s.at[1], 125000000);
    assert_int_equal(s.rounds, 7);
    assert_int_equal(s.timeout_ns, 15 * NS_PER_S);
    assert_int_equal(s.settings_n, 2);
    assert_int_equal(s.settings[1].n, 3);
    assert_string_equal(s.settings[1].words[2].name, "auto-converge");
    assert_string_equal(s.settings[1].words[2].value, "on");
    assert_int_equal(scenario_cells(&s), 2 * 2 * 2 * 3 * 2);
}

static void test_the_built_in_scenario_is_good(void **state)
{
    struct scenario s;
    struct err e = {0};
    (void)state;
    for (int where = SCENARIO_LAB; where <= SCENARIO_LOCAL; where++) {
        assert_int_equal(scenario_parse(scenario_built_in(where), "built-in", &s, &e), 0);
        assert_int_equal(s.where, where);
    }
}

/* Each combination is a cell, once. */
static void test_each_combination_is_one_cell(void **state)
{
    struct scenario s;
    struct err e = {0};
    struct trial_cell a, b;
    (void)state;
    assert_int_equal(scenario_parse(whole, "f", &s, &e), 0);
    for (size_t i = 0; i < scenario_cells(&s); i++)
        for (size_t k = 0; k < i; k++) {
            scenario_cell(&s, i, &a);
            scenario_cell(&s, k, &b);
            assert_false(trial_cell_same(&a, &b));
        }
}

/* Each round has each cell once; cells that share a guest stand together; rounds differ; the seed
 * gives the same again. */
static void test_each_round_has_each_cell_once(void **state)
{
    struct scenario s;
    struct err e = {0};
    size_t order[64], again[64], next[64];
    (void)state;
    assert_int_equal(scenario_parse(whole, "f", &s, &e), 0);
    size_t n = scenario_cells(&s), changes = 0;
    assert_true(n <= 64);
    bool seen[64] = {0};
    scenario_order(&s, 42, 3, order);
    scenario_order(&s, 42, 3, again);
    scenario_order(&s, 42, 4, next);
    for (size_t i = 0; i < n; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        changes += i > 0 && !scenario_same_guest(&s, order[i - 1], order[i]);
    }
    assert_int_equal(changes, 2 * 2 * 2 - 1); /* guests, each as a domain and as a bare QEMU */
    assert_memory_equal(order, again, n * sizeof *order);
    assert_memory_not_equal(order, next, n * sizeof *order);
}

static const struct {
    const char *text, *message;
} wrong[] = {
    {"dirtyrate = 3\n", "f:1: 'dirtyrate' is not a key"},
    {"setting a = max-downtime=50", "f:1: setting a: '50' is not a duration (try 300ms, 20s, 5m)"},
    {"# x\n\nrounds\n", "f:3: 'rounds' is not KEY = VALUE"},
    {"rounds = 0\n", "f:1: rounds: "},
    {"rounds = 3\nrounds = 4\n", "f:2: 'rounds' is given twice"},
    {"guest = windows\n", "f:1: guest: 'windows' is not one of bare, linux, command"},
    {"route = virsh, teleport\n", "f:1: route: 'teleport' is not one of"},
    {"dirty-rate = 1M, 1M\n", "f:1: dirty-rate: a value is given twice"},
    {"dirty-rate = fast\n", "f:1: dirty-rate: 'fast'"},
    {"dirty-rate = 1M,\n", "f:1: dirty-rate: "},
    {"ram = 0\n", "f:1: ram: '0' is no memory at all"},
    {"ram = 1536K\n", "f:1: ram: '1536K' is not in whole MiB"},
    {"link = 0\n", "f:1: link: "},
    {"timeout = 3\n", "f:1: timeout: '3'"},
    {"timeout = 10ms\n", "f:1: timeout: '10ms' is below 1s"},
    {"setting a =\nguest = bare\nping = 10.0.0.1\n", "f: 'ping': only the Linux guest"},
    {"setting a = multifd\n", "f:1: setting a: 'multifd' has no value"},
    {"setting a = policy=wait\n", "f:1: setting a: 'wait' is not one of godwit, doubling, ramp"},
    {"setting a = max-downtime=soon\n", "f:1: setting a: 'soon'"},
    {"setting a = multifd=x\n", "f:1: setting a: "},
    {"setting a = postcopy=on\n", "f:1: setting a: 'postcopy' has no value"},
    {"setting a = pause=2\n", "f:1: setting a: 'pause' has no value"},
    {"setting a = pause passes\n", "f:1: setting a: 'passes' has no value"},
    {"accel = kvm,dirty-ring-size=12\n", "f:1: accel: "},
    {"accel = hvf\n", "f:1: accel: 'hvf' is not one of tcg, kvm, kvm,dirty-ring-size=N"},
    {"setting a = xbzrle=on xbzrle=off\n", "f:1: setting a: 'xbzrle' is given twice"},
    {"setting a =\nsetting a =\n", "f:2: setting 'a' is given twice"},
    {"setting =\n", "f:1: 'setting' is not a key"},
    {"guest = bare\n", "f: there is no 'setting NAME ='"},
    {"setting a =\nwhere = local\nroute = direct\n", "f: where = local has only the route qmp"},
    {"setting a =\nwhere = local\nlink = 1gbit\n", "f: where = local has no link"},
    {"setting a =\nqemu-source = /\n", "f: the lab's hosts have their QEMUs already"},
    {"setting a =\nguest = command\ncommand = q\nwhere = local\nram = 1M\n",
     "f: ram, vcpus, working-set and"},
    {"setting a =\nguest = command\nwhere = local\n", "f: guest = command needs a 'command'"},
    {"setting a =\nguest = command\nwhere = local\ncommand = qemu\n",
     "f: nothing of this guest can be observed"},
    {"setting a =\ncommand = qemu\n", "f: a 'command' is for guest = command"},
};

static void test_a_wrong_line_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct scenario s;
        struct err e = {0};
        assert_int_equal(scenario_parse(wrong[i].text, "f", &s, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
        if (strncmp(e.msg, wrong[i].message, strlen(wrong[i].message)) != 0)
            fail_msg("%s -> %s", wrong[i].text, e.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_line_of_a_scenario_is_read),
        cmocka_unit_test(test_the_built_in_scenario_is_good),
        cmocka_unit_test(test_each_combination_is_one_cell),
        cmocka_unit_test(test_each_round_has_each_cell_once),
        cmocka_unit_test(test_a_wrong_line_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
