/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/tune/trace.h"

static void record(struct trace *t)
{
    const struct control_plan plan = {
        .promise = {.max_downtime_ns = 50000001,
                    .max_time_ns = 7,
                    .max_throttle_percent = 20,
                    .allow = PROMISE_THROTTLE | PROMISE_POSTCOPY,
                    .on_miss = PROMISE_TO_PAUSE},
        .pause_cost_ns = 12345678,
        .keep_limit = true,
        .timeout_ns = 99,
        .timeout_miss = PROMISE_TO_POSTCOPY,
        .policy = POLICY_RAMP,
        .vcpu = (const struct throttle_vcpu[]){{.id = 3, .bytes_per_s = 4e6}},
        .vcpus = 1,
    };
    const struct vm_sample s = {
        .migration = VM_MIGRATION_ACTIVE,
        .run = VM_RUN_RUNNING,
        .downtime_ns = -1,
        .expected_downtime_ns = 300000000,
        .ram_total_bytes = UINT64_C(1) << 40,
        .ram_transferred_bytes = 3,
        .ram_remaining_bytes = 4,
        .dirty_bytes_per_s = 5,
        .bandwidth_bytes_per_s = 6,
        .ram_handled_bytes = 7,
        .pause_bytes = 8,
        .passes = 9,
        .pass_bytes = 10,
        .stuck_passes = 11,
        .throttle_percent = 12,
        .zero_copy_missed = 13,
        .io_error = true,
        .reason = "gone",
    };
    const struct control_action none = {.what = CONTROL_NOTHING}, limit = {.what = CONTROL_LIMIT,
                                                                           .at_ns = 2,
                                                                           .limit_ns = 38000000,
                                                                           .throttle_percent = 30,
                                                                           .miss = true,
                                                                           .why = "a \"reason\""};
    *t = (struct trace){.godwit = "1", .route = "qmp", .result = "done"};
    trace_plan(t, &plan);
    trace_begin(t, 300000000, 10000000);
    trace_add(t, &s, 1, &none);
    trace_add(t, &s, 2, &limit);
    t->total_ns = 5;
    t->inputs.curve = (struct curve){.source = CURVE_DIRTY_RING, .ram_bytes = 77};
    assert_int_equal(curve_add(&t->inputs.curve, 1000, (struct estimate){1, 2, INFINITY}), 0);
    t->inputs.found.costs.pause_ns = (struct estimate){4, 5, 6};
    t->inputs.found.from = COSTS_HOSTS;
}

static char *written(const struct trace *t)
{
    struct err e = {0};
    char *text = NULL;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    assert_int_equal(trace_write(t, to, &e), 0);
    fclose(to);
    return text;
}

static int read_text(const char *text, struct trace *t, struct err *e)
{
    FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(from);
    int rc = trace_read(from, "t", t, e);
    fclose(from);
    return rc;
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    struct trace t, back;
    struct err e = {0};
    record(&t);
    char *text = written(&t);
    assert_int_equal(read_text(text, &back, &e), 0);
    assert_memory_equal(&back.plan, &t.plan, sizeof t.plan);
    assert_int_equal(back.limit_ns, 300000000);
    assert_int_equal(back.n, 2);
    assert_int_equal(back.samples[0].action.what, CONTROL_NOTHING);
    assert_null(back.samples[1].sample.reason);
    assert_string_equal(back.samples[1].action.why, "a \"reason\"");
    assert_true(isinf(back.inputs.curve.at[0].bytes.high));
    char *again = written(&back); /* all that is in it */
    assert_string_equal(again, text);
    free(again);
    free(text);
    trace_free(&t);
    trace_free(&back);
}

/* Replaces the first `from` in the text; the caller frees it. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *out = NULL;
    assert_non_null(at);
    assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    return out;
}

static void test_what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"{\"schema\":1", "{\"schema\":2", "t:1: is of schema 2, and this godwit reads 1"},
        {"godwit migration trace", "godwit costs", "t:1: is no trace of a migration"},
        {"\"plan\":{", "\"plan\":{\"colour\":1,", "t:1: 'colour' is not known"},
        {"\"limit_ns\":300000000", "\"limit_ns\":\"300ms\"", "t:1: limit_ns: not an integer"},
        {"\"on_miss\":\"pause\"", "\"on_miss\":\"wait\"", "t:1: on_miss: 'wait' is not known"},
        {"\"pause_cost_ns\":12345678,", "", "t:1: pause_cost_ns: missing"},
        {"\"low\":4.000", "\"low\":9", "t:1: pause_ns: is no interval"},
        {"\"t_ns\":1", "\"t_ns\":1,\"mood\":0", "t:2: 'mood' is not known"},
        {"\"t_ns\":1", "\"t_ns\":-7", "t:2: t_ns: -7 is no time"},
        {"\"t_ns\":1", "\"t_ns\":3", "t:3: t_ns: is before that of the sample above"},
        {"\"passes\":9", "\"passes\":-9", "t:2: passes: -9 is out of range"},
        {"\"run\":\"running\"", "\"run\":\"walking\"", "t:2: run: 'walking' is not known"},
        {"\"what\":\"limit\"", "\"what\":\"wish\"", "t:3: action.what: 'wish' is not known"},
        {"\"miss\":true", "\"miss\":1", "t:3: miss: not a boolean"},
        {"\"event\":\"end\"", "\"event\":\"finish\"", "t:4: event: 'finish' is not known"},
        {"\"samples\":2", "\"samples\":3", "t:4: 2 samples are there, and 3 were written"},
        {"\"dropped\":0}\n", "\"dropped\":0}\n{\"schema\":1,\"event\":\"sample\"}\n",
         "t:5: the trace has ended above"},
        {"\"dropped\":0}\n", "\"dropped\":0} {}\n", "t:4: is no JSON object"},
        {"\"dropped\":0}\n", "\"dropp", "t:4: is cut off: the trace is not whole"},
    };
    struct trace t;
    record(&t);
    char *text = written(&t);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct trace bad;
        struct err e = {0};
        char *wrong = replaced(text, rows[i].from, rows[i].to);
        assert_int_equal(read_text(wrong, &bad, &e), -1);
        assert_int_equal(e.class, ERR_REFUSED);
        assert_string_equal(e.msg, rows[i].says);
        assert_null(bad.samples);
        free(wrong);
    }
    free(text);
    trace_free(&t);
}

/* Wherever it is cut, it is no whole trace: none is replayed that has only the first part of a migration. */
static void test_a_trace_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    struct trace t;
    record(&t);
    char *text = written(&t);
    size_t all = strlen(text) - 1; /* without the last newline it is whole */
    for (size_t n = 1; n < all; n++) {
        struct trace bad;
        struct err e = {0};
        char kept = text[n];
        text[n] = '\0';
        assert_int_equal(read_text(text, &bad, &e), -1);
        assert_int_equal(e.class, ERR_REFUSED);
        text[n] = kept;
    }
    free(text);
    trace_free(&t);
}

static void test_nothing_is_recorded_where_nobody_asked(void **state)
{
    (void)state;
    const struct control_plan plan = {.limit_ns = 1};
    const struct vm_sample s = {.passes = 1};
    const struct control_action a = {.what = CONTROL_NOTHING};
    trace_plan(NULL, &plan);
    trace_begin(NULL, 1, 1);
    trace_add(NULL, &s, 1, &a);
}

/* A second try, by the other route, is the one that counts. */
static void test_a_new_plan_forgets_what_was_recorded(void **state)
{
    (void)state;
    struct trace t;
    record(&t);
    const struct control_plan plan = {.limit_ns = 1};
    trace_plan(&t, &plan);
    assert_int_equal(t.n, 0);
    assert_int_equal(t.limit_ns, -1);
    trace_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(test_a_trace_that_is_cut_off_is_refused),
        cmocka_unit_test(test_nothing_is_recorded_where_nobody_asked),
        cmocka_unit_test(test_a_new_plan_forgets_what_was_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
