/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/json.h"
#include "tools/cmd/predict.h"

#define MIB 1048576.0

static struct vm_settings settings;

static struct estimate about(double value)
{
    return (struct estimate){0.9 * value, value, 1.1 * value};
}

/* 1 GiB, half of it zeros, 100 MiB/s, 20 ms of pause. */
static struct predict_input input(void)
{
    struct predict_input in = {
        .route = "qmp",
        .settings = &settings,
        .source = {.hypervisor = "QEMU 10.0.2",
                   .ram_bytes = 1 << 30,
                   .vcpus = 2,
                   .run = VM_RUN_RUNNING,
                   .kvm = true},
        .guest = {.ram_bytes = 1 << 30, .first_pass_bytes = about(512 * MIB)},
        .link = {.bytes_per_s = about(100 * MIB)},
        .link_from = PREDICT_LINK_LEARNED,
        .costs = {.begin_ns = about(100e6), .pause_ns = about(20e6), .end_ns = about(50e6)},
        .wire = {.rtt_ns = -1},
        .limit_ns = 300 * NS_PER_MS,
    };
    settings = (struct vm_settings){.passes = 0};
    in.guest.curve.ram_bytes = in.guest.ram_bytes;
    return in;
}

/* Another page each time, in a working set of 400 MiB. */
static void dirties(struct predict_input *in, double mib_per_s)
{
    for (int64_t ms = 10; ms <= 10000; ms *= 10) {
        double mib = fmin(mib_per_s * (double)ms / 1000, 400);
        assert_int_equal(curve_add(&in->guest.curve, ms * NS_PER_MS, about(mib * MIB)), 0);
    }
}

static struct predict_result judge(const struct predict_input *in)
{
    struct predict_result r;
    predict_judge(in, &r);
    return r;
}

static bool helps(const struct predict_result *r, const char *what)
{
    for (size_t i = 0; i < r->remedies_n; i++)
        if (strstr(r->remedies[i], what) != NULL)
            return true;
    return false;
}

static void test_idle_busy_impossible(void **state)
{
    (void)state;
    struct predict_input in = input();
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_true(r.why == NULL && r.remedies_n == 0);
    assert_true(r.slowdown.high == 0);

    dirties(&in, 40);
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_int_equal(r.limit_ns, 300 * NS_PER_MS);
    assert_int_equal(r.limit_from, PREDICT_LIMIT_QEMU);
    assert_true(r.slowdown.likely > 0.005 && r.slowdown.high < 0.2);

    in = input();
    dirties(&in, 300);
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_non_null(r.why);
    assert_true(helps(&r, "--downtime-limit") && helps(&r, "a link of") && helps(&r, "--postcopy"));
    assert_true(helps(&r, "auto-converge"));
    assert_true(r.smallest_pause_ns > 2 * NS_PER_S);
}

static void test_a_promise_that_can_be_kept(void **state)
{
    (void)state;
    struct predict_input in = input();
    dirties(&in, 40);
    in.promise.max_downtime_ns = 60 * NS_PER_MS;
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_int_equal(r.limit_from, PREDICT_LIMIT_CHOSEN);
    assert_true(r.limit_ns >= 10 * NS_PER_MS && r.limit_ns < 45 * NS_PER_MS);
    assert_true(r.answer.pause_ns.high <= 60e6);
}

/* Below what is fixed; and with QEMU's own limit named, which is left alone. */
static void test_a_promise_that_cannot(void **state)
{
    (void)state;
    struct predict_input in = input();
    in.promise.max_downtime_ns = 10 * NS_PER_MS;
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_true(r.smallest_pause_ns > 20 * NS_PER_MS && r.smallest_pause_ns < 30 * NS_PER_MS);
    assert_non_null(strstr(r.why, "10ms is promised"));
    assert_true(helps(&r, "--max-downtime 2"));
    assert_false(helps(&r, "a link of")); /* that is no matter of the link */

    in.promise.max_downtime_ns = 100 * NS_PER_MS;
    settings.downtime_limit_ns = in.limit_ns = 90 * NS_PER_MS;
    in.guest.first_pass_bytes = estimate_exactly(1024 * MIB);
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_int_equal(r.limit_ns, 90 * NS_PER_MS);
    assert_int_equal(r.limit_from, PREDICT_LIMIT_GIVEN);
}

static void test_time(void **state)
{
    (void)state;
    struct predict_input in = input();
    in.timeout_ns = 4 * NS_PER_S;
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_non_null(strstr(r.why, "4000ms is promised"));
    in.timeout_ns = 0;
    in.promise.max_time_ns = 8 * NS_PER_S;
    assert_int_equal(judge(&in).verdict, PREDICT_KEPT);
}

static void test_what_is_allowed(void **state)
{
    (void)state;
    struct predict_input in = input();
    dirties(&in, 300);
    in.promise = (struct promise){
        .max_downtime_ns = 100 * NS_PER_MS, .max_throttle_percent = 90, .allow = PROMISE_THROTTLE};
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_true(r.throttle_percent >= 60 && r.throttle_percent <= 90);
    assert_true(r.slowdown.likely >= r.throttle_percent / 100.0);
    in.promise.max_throttle_percent = 50;
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_true(helps(&r, "--max-slowdown"));
    in.promise.allow |= PROMISE_POSTCOPY;
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_true(r.postcopy && r.answer.pause_ns.high < 100e6);
}

/* --max-bandwidth is ours to lift: the link carries more. */
static void test_held_back(void **state)
{
    (void)state;
    struct predict_input in = input();
    dirties(&in, 20);
    in.link.limit_bytes_per_s = 10 * MIB;
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_true(helps(&r, "--max-bandwidth"));
}

static void test_cut_short(void **state)
{
    (void)state;
    struct predict_input in = input();
    dirties(&in, 300);
    settings.pause = true;
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_KEPT);
    assert_true(r.answer.pause_ns.likely > 3e9);
    in.promise.max_time_ns = 5 * NS_PER_S;
    r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_NOT_KEPT);
    assert_true(helps(&r, "a link of") && !helps(&r, "--postcopy"));
}

/* What depends on luck is not known, unless something is promised: that is not kept then. */
static void test_not_known(void **state)
{
    (void)state;
    struct predict_input in = input();
    dirties(&in, 85);
    in.guest.skew = (struct estimate){0.5, 1.1, 2.5};
    struct predict_result r = judge(&in);
    assert_int_equal(r.verdict, PREDICT_UNCERTAIN);
    assert_non_null(strstr(r.why, "of 100 cases"));
    in.promise.max_time_ns = 3600 * NS_PER_S;
    settings.downtime_limit_ns = in.limit_ns;
    assert_int_equal(judge(&in).verdict, PREDICT_NOT_KEPT);
}

/* Each of the reports, as a whole, for each verdict. */
static void test_reports(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    const struct err none = {0};
    for (double mib = 0; mib < 1000; mib += 300) {
        struct predict_input in = input();
        if (mib > 0)
            dirties(&in, mib);
        struct predict_result r = judge(&in);
        FILE *to = open_memstream(&text, &size);
        report_predict_json(&in, &r, &none, NS_PER_S, to);
        fclose(to);
        CLEANUP_JSON struct json *o = json_from_text(text);
        free(text);
        assert_non_null(o);
        struct err e = {0};
        bool converges;
        assert_int_equal(json_find_flag(o, "converges", &converges, &e), 0);
        assert_int_equal(converges, r.answer.converges);
        assert_true((json_find(o, "total_ms") != NULL) == converges);
        to = open_memstream(&text, &size);
        report_predict_text(&in, &r, to);
        fclose(to);
        assert_non_null(strstr(text, converges ? "total time" : "what helps"));
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
            assert_true(strlen(line) <= 170);
        free(text);
    }
}

static void test_parts(void **state)
{
    (void)state;
    struct predict_input in = input();
    in.memory = (struct guest_memory){.pages = 4096, .not_zero = 1024};
    predict_take_memory(&in);
    assert_true(in.guest.first_pass_bytes.low > 240 * MIB &&
                in.guest.first_pass_bytes.high < 272 * MIB);
    in.memory.pages = in.memory.not_zero = 0;
    predict_take_memory(&in);
    assert_true(in.guest.first_pass_bytes.high == 1024 * MIB);

    predict_take_link(&in, 0);
    assert_int_equal(in.link_from, PREDICT_LINK_GUESSED);
    in.wire.bytes_per_s = 125000000;
    predict_take_link(&in, 0);
    assert_int_equal(in.link_from, PREDICT_LINK_CARD);
    assert_true(in.link.bytes_per_s.high <= 125e6 && in.link.queued_bytes.high > 0);
    in.found.from = COSTS_ALIKE;
    in.found.link_cases = 3;
    in.found.bytes_per_s = about(50e6);
    predict_take_link(&in, 0);
    assert_int_equal(in.link_from, PREDICT_LINK_LEARNED);
    assert_true(in.link.bytes_per_s.likely == 50e6 && in.link.queued_bytes.high == 0);
    predict_take_link(&in, 10000000);
    assert_int_equal(in.link_from, PREDICT_LINK_GIVEN);
    assert_true(in.link.bytes_per_s.high <= 10e6);

    in.found = (struct costs_found){.costs = {.begin_ns = about(1e9), .pause_ns = about(1e7)}};
    in.wire.rtt_ns = 50 * NS_PER_MS;
    predict_take_costs(&in);
    assert_true(in.costs.begin_ns.likely > 1.4e9 && in.costs.pause_ns.likely > 6e7);
    in.found.from = COSTS_HOSTS; /* it is in what was seen */
    predict_take_costs(&in);
    assert_true(in.costs.begin_ns.likely == 1e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_busy_impossible),
        cmocka_unit_test(test_a_promise_that_can_be_kept),
        cmocka_unit_test(test_a_promise_that_cannot),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_what_is_allowed),
        cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_not_known),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
