/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tools/cmd/promise.h"

/* The command line, as words, beside these settings. */
static int check(const char *words, const struct vm_settings *s, struct promise *p, struct err *e)
{
    char text[256], name[] = "migrate", *argv[32] = {name};
    int argc = 1;
    bool help = false;
    struct promise_options o;
    *e = (struct err){0};
    snprintf(text, sizeof text, "%s", words);
    for (char *rest = text, *word; (word = strsep(&rest, " ")) != NULL;)
        if (word[0] != '\0')
            argv[argc++] = word;
    promise_options_init(&o);
    if (option_parse(promise_option_table, &o, argc, argv, &help, e) < 0)
        return -1;
    return promise_check(&o, s, p, e);
}

static const struct vm_settings plain;

static void test_what_is_promised(void **state)
{
    (void)state;
    struct promise p;
    struct err e;
    assert_int_equal(check("", &plain, &p, &e), 0);
    assert_false(promise_is_made(&p));
    assert_int_equal(check("--max-downtime 50ms --max-time=2m --allow throttle,postcopy "
                           "--max-slowdown 20% --on-miss stretch",
                           &plain, &p, &e),
                     0);
    assert_int_equal(p.max_downtime_ns, 50 * NS_PER_MS);
    assert_int_equal(p.max_time_ns, 120 * NS_PER_S);
    assert_int_equal(p.max_throttle_percent, 20);
    assert_int_equal(p.allow, PROMISE_THROTTLE | PROMISE_POSTCOPY);
    assert_int_equal(p.on_miss, PROMISE_STRETCH);
    assert_int_equal(check("--max-time 1s --on-miss pause", &plain, &p, &e), 0);
    assert_int_equal(p.on_miss, PROMISE_TO_PAUSE);
    assert_int_equal(p.max_throttle_percent, 99);
    assert_int_equal(check("--max-time 1s", &plain, &p, &e), 0);
    assert_int_equal(p.on_miss, PROMISE_REFUSE);
}

static void test_what_is_no_promise(void **state)
{
    (void)state;
    const struct vm_settings multifd = {.multifd_channels = 2};
    const struct {
        const char *words;
        const struct vm_settings *settings;
        const char *says;
    } rows[] = {
        {"--max-downtime 50", &plain, "--max-downtime"},
        {"--max-downtime 0ms", &plain, "above 0"},
        {"--max-downtime 2001s", &plain, "2000s"},
        {"--max-time 0s", &plain, "above 0"},
        {"--max-time 1s --allow throttle --max-slowdown 20", &plain, "percentage"},
        {"--max-time 1s --allow throttle --max-slowdown %", &plain, "percentage"},
        {"--max-time 1s --allow throttle --max-slowdown 100%", &plain, "--max-slowdown"},
        {"--max-time 1s --allow throttle --max-slowdown -5%", &plain, "--max-slowdown"},
        {"--max-time 1s --allow throttle,magic", &plain, "'magic'"},
        {"--max-time 1s --allow throttle,", &plain, "''"},
        {"--max-time 1s --allow throttle,throttle", &plain, "twice"},
        {"--max-time 1s --allow throttles", &plain, "'throttles'"},
        {"--max-time 1s --on-miss shrug", &plain, "shrug"},
        {"--on-miss refuse", &plain, "--on-miss needs"},
        {"--max-slowdown 5%", &plain, "--allow throttle"},
        {"--allow throttle --max-slowdown 0%", &plain, "--max-slowdown"},
        {"--max-time 1s --max-slowdown 5%", &plain, "--allow throttle"},
        {"--max-downtime 2s --max-time 1s", &plain, "longer than --max-time"},
        {"--max-time 1s --allow postcopy", &multifd, "--multifd"},
        {"--max-time 1s --on-miss postcopy", &multifd, "--multifd"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct promise p;
        struct err e;
        if (check(rows[i].words, rows[i].settings, &p, &e) == 0)
            fail_msg("'%s' was taken", rows[i].words);
        assert_int_equal(e.class, ERR_USAGE);
        if (strstr(e.msg, rows[i].says) == NULL)
            fail_msg("'%s': says '%s'", rows[i].words, e.msg);
    }
}

/* With observers it is about what they see, and what they did not see is not kept. */
static void test_the_silence_is_judged(void **state)
{
    (void)state;
    static const struct {
        enum migrate_limit stood, want;
        int64_t silence_ms;
        bool open;
        int64_t excess_ms; /* -1: none */
    } rows[] = {
        {MIGRATE_LIMIT_KEPT, MIGRATE_LIMIT_KEPT, 50, false, 0},
        {MIGRATE_LIMIT_KEPT, MIGRATE_LIMIT_MISSED, 62, false, 12}, /* by its warm-up */
        {MIGRATE_LIMIT_UNKNOWN, MIGRATE_LIMIT_KEPT, 20, false, 0}, /* STOP did not come here */
        {MIGRATE_LIMIT_KEPT, MIGRATE_LIMIT_UNKNOWN, -1, false, -1},
        {MIGRATE_LIMIT_KEPT, MIGRATE_LIMIT_UNKNOWN, 40, true, -1},
        {MIGRATE_LIMIT_KEPT, MIGRATE_LIMIT_MISSED, 900, true, 850},
        {MIGRATE_LIMIT_NOT_MEANT, MIGRATE_LIMIT_NOT_MEANT, 900, false, 7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct migrate_pause p = {.limit = rows[i].stood, .excess_ns = 7 * NS_PER_MS};
        int64_t ns = rows[i].silence_ms < 0 ? -1 : rows[i].silence_ms * NS_PER_MS;
        promise_judge_silence(&p, 50 * NS_PER_MS, ns, rows[i].open);
        assert_int_equal(p.limit, rows[i].want);
        assert_int_equal(p.excess_ns, rows[i].excess_ms < 0 ? -1 : rows[i].excess_ms * NS_PER_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_promised),
        cmocka_unit_test(test_what_is_no_promise),
        cmocka_unit_test(test_the_silence_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
