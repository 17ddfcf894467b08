/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/migrate/timeline.h"
#include "core/clock.h"
#include "tests/qmp/fake_qmp.h"

#define ACTIVE                                                                              \
    "{\"status\":\"active\",\"ram\":{\"total\":1000,\"transferred\":600,\"remaining\":400," \
    "\"dirty-sync-count\":2}}"
#define ASKED(text_)                                                  \
    {                                                                 \
        .what = FAKE_LOOSE, .command = "query-migrate", .text = text_ \
    }

static void a_source_that_goes_away(void **state)
{
    (void)state;
    /* asked at once; after the pause has begun not until it has completed; then it is gone */
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        ASKED("{}"),
        {.what = FAKE_EVENT, .command = "MIGRATION", .text = "{\"status\":\"setup\"}"},
        ASKED(ACTIVE),
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_WAIT, .n = 100},
        {.what = FAKE_EVENT, .command = "MIGRATION", .text = "{\"status\":\"completed\"}"},
        ASKED("{\"status\":\"completed\",\"downtime\":21}"),
        {.what = FAKE_CLOSE},
    };
    struct fake_qmp *fake = FAKE_QMP("10.0", steps);
    const struct timeline_side side[TRIAL_SIDES] = {
        {.pid = getpid(), .qmp = fake_qmp_endpoint(fake)}, {.process_pattern = "no such words"}};
    struct timeline_result r;
    struct err e = {0};
    int64_t started_ns = clock_now_ns();
    struct timeline *t = timeline_open(side, NULL, &e);
    if (t == NULL)
        fail_msg("%s", e.msg);
    usleep(600000);
    timeline_stop(t, started_ns, &r);
    fake_qmp_end(fake);

    assert_true(r.timeline.usage_n >= 10);
    for (size_t i = 0; i < r.timeline.usage_n; i++) {
        assert_true(r.timeline.usage[i].side[TRIAL_SOURCE].all_cpu_ns != UINT64_MAX);
        assert_true(r.timeline.usage[i].side[TRIAL_DESTINATION].all_cpu_ns == UINT64_MAX);
    }
    assert_int_equal(r.timeline.events_n, 3);
    assert_string_equal(r.timeline.events[0].detail, "setup");
    assert_string_equal(r.timeline.events[1].name, "STOP");
    assert_string_equal(r.timeline.events[2].detail, "completed");
    assert_int_equal(r.timeline.gauges_n, 1);
    assert_int_equal(r.timeline.gauges[0].pass, 1); /* dirty-sync-count is no count of passes */
    assert_int_equal(r.timeline.gauges[0].remaining_bytes, 400);
    assert_int_equal(r.last.vm.downtime_ns, 21 * NS_PER_MS);
    assert_true(r.last_at_ns > 0);
    assert_true(r.timeline.sampling_cpu_ns > 0);
    assert_int_equal(r.pid[TRIAL_SOURCE], getpid());
    assert_int_equal(r.pid[TRIAL_DESTINATION], 0);
    timeline_result_free(&r);
}

static void nothing_to_watch_is_no_error(void **state)
{
    (void)state;
    const struct timeline_side side[TRIAL_SIDES] = {{0}};
    struct timeline_result r;
    struct err e = {0};
    struct timeline *t = timeline_open(side, NULL, &e);
    assert_non_null(t);
    usleep(50000);
    timeline_stop(t, clock_now_ns(), &r);
    assert_int_equal(r.timeline.usage_n, 0);
    assert_int_equal(r.timeline.events_n, 0);
    assert_true(r.last_at_ns == TRIAL_NEVER);
    timeline_result_free(&r);
}

static void a_side_that_is_named_must_be_there(void **state)
{
    (void)state;
    const struct timeline_side side[TRIAL_SIDES] = {{.qmp = "qmp+unix:/nonexistent"}};
    struct err e = {0};
    assert_null(timeline_open(side, NULL, &e));
    assert_int_equal(e.class, ERR_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_watch_is_no_error),
        cmocka_unit_test(a_side_that_is_named_must_be_there),
        cmocka_unit_test(a_source_that_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
