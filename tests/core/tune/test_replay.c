/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations that were recorded between two QEMUs, through the controller again. Whoever changes on purpose what it
 * decides changes the table here: `godwit bench replay` shows what it decides now, with its numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/replay.h"

static void load(const char *name, struct trace *t)
{
    char path[512];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s.trace", TRACES, name);
    FILE *from = fopen(path, "re");
    assert_non_null(from);
    if (trace_read(from, name, t, &e) < 0)
        fail_msg("%s", e.msg);
    fclose(from);
}

/* "limit 10, throttle 40, pause!": "!" is a miss. */
static void tell(const struct replay *r, char *text, size_t room)
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < r->n; i++) {
        const struct control_action *a = &r->decisions[i].now;
        n += (size_t)snprintf(text + n, room - n, "%s%s", i > 0 ? ", " : "",
                              control_what_name(a->what));
        if (a->what == CONTROL_LIMIT)
            n += (size_t)snprintf(text + n, room - n, " %d", (int)(a->limit_ns / NS_PER_MS));
        if (a->what == CONTROL_THROTTLE)
            n += (size_t)snprintf(text + n, room - n, " %u", a->throttle_percent);
        n += (size_t)snprintf(text + n, room - n, "%s", a->miss ? "!" : "");
        assert_true(n < room);
    }
}

static void test_what_was_decided_is_decided_again(void **state)
{
    (void)state;
    static const struct {
        const char *trace, *decisions;
    } rows[] = {
        {"abort", "limit 10, abort!"},
        {"pause", "limit 10, pause!"},
        {"postcopy", "limit 10, postcopy"},
        {"refused", ""},
        {"stretch", "limit 10, limit 684!"},
        {"stuck", "limit 10, limit 250"},
        {"throttle", "limit 10, throttle 86, limit 44, throttle 91, throttle 97, pause!"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct trace t;
        struct replay r;
        struct err e = {0};
        char text[1024];
        load(rows[i].trace, &t);
        assert_int_equal(replay_run(&t, &r, &e), 0);
        tell(&r, text, sizeof text);
        if (strcmp(text, rows[i].decisions) != 0)
            fail_msg("%s: %s", rows[i].trace, text);
        replay_free(&r);
        trace_free(&t);
    }
}

/* What was decided then is held against what is decided now, from the limit to begin with on. */
static void test_a_difference_is_found(void **state)
{
    (void)state;
    struct err e = {0};
    for (int change = 0; change < 5; change++) {
        struct trace t;
        struct replay r;
        size_t last = 0;
        load("stuck", &t);
        for (size_t i = 0; i < t.n; i++)
            last = t.samples[i].action.what != CONTROL_NOTHING ? i : last;
        struct control_action *a = &t.samples[last].action;
        assert_int_equal(a->what, CONTROL_LIMIT);
        if (change == 1)
            a->limit_ns += NS_PER_MS;
        else if (change == 2)
            a->miss = !a->miss;
        else if (change == 3)
            a->what = CONTROL_NOTHING;
        else if (change == 4)
            t.first_limit_ns++;
        assert_int_equal(replay_run(&t, &r, &e), 0);
        size_t others = 0;
        for (size_t i = 0; i < r.n; i++)
            others += !r.decisions[i].same;
        assert_int_equal(others, change > 0 ? 1 : 0);
        assert_true(r.same == (change == 0));
        replay_free(&r);
        trace_free(&t);
    }
}

/* Another promise makes other decisions of the same samples. */
static void test_another_plan_decides_otherwise(void **state)
{
    (void)state;
    struct err e = {0};
    struct trace t;
    struct replay r;
    load("stuck", &t);
    t.plan.keep_limit = true;
    assert_int_equal(replay_run(&t, &r, &e), 0);
    assert_false(r.same);
    assert_int_equal(r.decisions[r.n - 1].now.what, CONTROL_NOTHING);
    replay_free(&r);
    trace_free(&t);
}

static void test_a_refusal_is_a_decision(void **state)
{
    (void)state;
    struct err e = {0};
    struct trace t;
    struct replay r;
    load("refused", &t);
    assert_int_equal(replay_run(&t, &r, &e), 0);
    assert_true(r.same);
    assert_true(r.refused_then);
    assert_non_null(strstr(r.refused_now, "a downtime of 1 ms cannot be promised"));
    replay_free(&r);
    t.plan.promise.max_downtime_ns = NS_PER_S;
    assert_int_equal(replay_run(&t, &r, &e), 0);
    assert_false(r.same);
    assert_null(r.refused_now);
    replay_free(&r);
    trace_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_decided_is_decided_again),
        cmocka_unit_test(test_a_difference_is_found),
        cmocka_unit_test(test_another_plan_decides_otherwise),
        cmocka_unit_test(test_a_refusal_is_a_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
