/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of `godwit migrate` promise, and which of them contradict each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tools/cmd/migrate_request.h"

enum { WORDS_MAX = 16 };

/* "--max-downtime=50ms --on-miss=pause", for two bare QEMUs. */
static int ask(struct migrate_request *r, const char *options, struct err *e)
{
    static char text[512], self[] = "migrate", a[] = "qmp+unix:/a", b[] = "qmp+unix:/b";
    char *words[WORDS_MAX] = {self}, *operands[] = {a, b, NULL};
    int n = 1;
    bool help = false;
    snprintf(text, sizeof text, "--via=unix:/stream %s", options);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        words[n++] = word;
    migrate_request_init(r);
    *e = (struct err){0};
    if (option_parse(migrate_request_options, &r->opt, n, words, &help, e) < 0)
        return -1;
    return migrate_request_check(r, operands, e);
}

static void test_what_is_promised(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(ask(&r,
                         "--max-downtime=50ms --max-time=2m --allow=postcopy,throttle "
                         "--max-slowdown=20% --on-miss=stretch",
                         &e),
                     0);
    const struct promise *p = &r.control.promise;
    assert_int_equal(p->max_downtime_ns, 50 * NS_PER_MS);
    assert_int_equal(p->max_time_ns, 120 * NS_PER_S);
    assert_int_equal(p->allow, PROMISE_THROTTLE | PROMISE_POSTCOPY);
    assert_int_equal(p->max_throttle_percent, 20);
    assert_int_equal(p->on_miss, PROMISE_STRETCH);
    assert_true(r.settings.postcopy && r.settings.postcopy_held);
    assert_int_equal(r.settings.set_n, MIGRATE_THROTTLE_SETTINGS);
    assert_string_equal(r.settings.set[0].name, "auto-converge");
}

static void test_without_options_nothing_is_promised(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(ask(&r, "", &e), 0);
    assert_false(promise_is_made(&r.control.promise));
    assert_false(r.control.keep_limit);
    assert_int_equal(r.control.promise.allow, 0);
    assert_int_equal(r.settings.set_n, 0);
    assert_false(r.settings.postcopy);
}

static void test_a_knob_that_is_named_is_left_alone(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(ask(&r, "--downtime-limit=20ms", &e), 0);
    assert_true(r.control.keep_limit);
    assert_int_equal(ask(&r, "--set=downtime-limit=20", &e), 0);
    assert_true(r.control.keep_limit);
}

static void test_what_a_timeout_does(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(ask(&r, "--timeout=3s", &e), 0);
    assert_int_equal(r.control.timeout_ns, 0); /* the engine gives up */
    assert_int_equal(ask(&r, "--timeout=3s --timeout-action=give-up", &e), 0);
    assert_int_equal(r.control.timeout_ns, 0);
    assert_int_equal(ask(&r, "--timeout=3s --timeout-action=pause", &e), 0);
    assert_int_equal(r.control.timeout_ns, 3 * NS_PER_S);
    assert_int_equal(r.control.timeout_miss, PROMISE_TO_PAUSE);
    assert_false(r.settings.postcopy);
    assert_int_equal(ask(&r, "--timeout=3s --timeout-action=postcopy", &e), 0);
    assert_int_equal(r.control.timeout_miss, PROMISE_TO_POSTCOPY);
    assert_true(r.settings.postcopy && r.settings.postcopy_held);
}

/* Each names the option that is at fault. */
static void test_contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options, *message;
    } rows[] = {
        {"--max-downtime=50ms --pause", "--max-downtime and --pause"},
        {"--max-time=50s --pause", "--max-time and --pause"},
        {"--max-downtime=50ms --postcopy", "--max-downtime and --postcopy"},
        {"--max-downtime=50ms --downtime-limit=20ms", "--max-downtime and --downtime-limit"},
        {"--max-downtime=50ms --set=downtime-limit=20", "--max-downtime and --set downtime-limit"},
        {"--max-time=1m --timeout=20s", "--max-time and --timeout"},
        {"--max-time=1m --downtime-limit=20ms --on-miss=stretch", "--on-miss stretch"},
        {"--allow=throttle --set=auto-converge=on", "--allow throttle and --set auto-converge"},
        {"--allow=throttle --set=max-cpu-throttle=9", "--set max-cpu-throttle"},
        {"--allow=postcopy --multifd=2", "--multifd and postcopy"},
        {"--max-time=1m --on-miss=postcopy --multifd=2", "--multifd and postcopy"},
        {"--policy=ramp --max-downtime=50ms", "--policy ramp and a promise"},
        {"--policy=doubling --downtime-limit=20ms", "--policy doubling and a downtime limit"},
        {"--timeout-action=pause", "--timeout-action needs --timeout"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct migrate_request r;
        struct err e;
        assert_int_equal(ask(&r, rows[i].options, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
        if (strstr(e.msg, rows[i].message) == NULL)
            fail_msg("%s: '%s'", rows[i].options, e.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_promised),
        cmocka_unit_test(test_without_options_nothing_is_promised),
        cmocka_unit_test(test_a_knob_that_is_named_is_left_alone),
        cmocka_unit_test(test_what_a_timeout_does),
        cmocka_unit_test(test_contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
