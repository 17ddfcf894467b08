/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a QEMU that somebody else migrates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_qmp.h"
#include "qmp/watch.h"

struct look {
    struct loop *loop;
    struct fake_qmp *fake;
    struct watch *w;
    struct watch_event events[8];
    size_t n;
    bool lost;
    int answers;
    struct watch_sample sample;
    struct err e, why;
};

static void on_event(void *arg, const struct watch_event *ev)
{
    struct look *l = arg;
    if (ev == NULL)
        l->lost = true;
    else
        l->events[l->n++] = *ev;
}

static void on_sample(void *arg, const struct watch_sample *s, const struct err *e)
{
    struct look *l = arg;
    l->answers++;
    l->why = *e;
    if (s != NULL)
        l->sample = *s;
}

static void begin(struct look *l, const struct fake_step *steps, size_t n)
{
    *l = (struct look){0};
    l->fake = fake_qmp_start("10.0", FAKE_UNIX, steps, n);
    l->loop = loop_new(&l->e);
    l->w =
        watch_open(l->loop, fake_qmp_endpoint(l->fake), WATCH_OPEN_TIMEOUT_NS, on_event, l, &l->e);
    if (l->w == NULL)
        fail_msg("%s", l->e.msg);
}

#define BEGIN(l, steps) begin(l, steps, sizeof(steps) / sizeof *(steps))

static void end(struct look *l)
{
    watch_close(l->w);
    loop_free(l->loop);
    fake_qmp_end(l->fake);
}

#define ACTIVE                                                                                \
    "{\"status\":\"active\",\"total-time\":1500,\"setup-time\":12,\"expected-downtime\":300," \
    "\"cpu-throttle-percentage\":40,\"ram\":{\"total\":1000,\"transferred\":600,"             \
    "\"remaining\":400,\"dirty-pages-rate\":10,\"page-size\":4096,\"dirty-sync-count\":3,"    \
    "\"postcopy-requests\":5,\"postcopy-bytes\":77,\"dirty-sync-missed-zero-copy\":2,"        \
    "\"mbps\":80.0}}"

static void reads_all_of_a_sample(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_LOOSE, .command = "query-migrate", .text = ACTIVE},
        {.what = FAKE_EXPECT_END}};
    struct look l;
    struct watch_sample s;
    BEGIN(&l, steps);
    assert_int_equal(watch_sample(l.w, WATCH_ASK_TIMEOUT_NS, &s, &l.e), 0);
    assert_int_equal(s.vm.migration, VM_MIGRATION_ACTIVE);
    assert_int_equal(s.vm.ram_remaining_bytes, 400);
    assert_int_equal(s.vm.passes, 1); /* not dirty-sync-count */
    assert_int_equal(s.vm.dirty_bytes_per_s, 40960);
    assert_int_equal(s.vm.bandwidth_bytes_per_s, 10000000);
    assert_int_equal(s.vm.throttle_percent, 40);
    assert_int_equal(s.postcopy_requests, 5);
    assert_int_equal(s.postcopy_bytes, 77);
    assert_int_equal(s.vm.zero_copy_missed, 2);
    assert_int_equal(s.setup_ns, 12 * NS_PER_MS);
    assert_int_equal(s.total_ns, 1500 * NS_PER_MS);
    end(&l);
}

static void one_question_at_a_time(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             {.what = FAKE_HOLD, .command = "query-migrate"},
                                             {.what = FAKE_WAIT, .n = 20},
                                             {.what = FAKE_ANSWER, .n = 0, .text = "{}"},
                                             {.what = FAKE_HOLD, .command = "query-migrate"},
                                             {.what = FAKE_EXPECT_END}};
    struct look l;
    BEGIN(&l, steps);
    assert_true(watch_ask(l.w, on_sample, &l));
    assert_false(watch_ask(l.w, on_sample, &l));
    while (l.answers == 0)
        loop_turn(l.loop, -1);
    assert_int_equal(l.sample.vm.migration, VM_MIGRATION_NONE);
    assert_true(watch_ask(l.w, on_sample, &l));
    loop_sleep(l.loop, 50 * NS_PER_MS);
    watch_close(l.w); /* the answer that will not come is reported */
    l.w = NULL;
    assert_int_equal(l.answers, 2);
    assert_int_equal(l.why.class, ERR_CANCELLED);
    end(&l);
}

/* QEMU's time stamp becomes one of our clock; without one, the arrival counts. */
static void events_have_their_time(void **state)
{
    (void)state;
    struct timespec now;
    char text[400];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text,
             "{\"timestamp\": {\"seconds\": %lld, \"microseconds\": 250000}, \"event\": "
             "\"MIGRATION\", \"data\": {\"status\": \"device\"}}\r\n"
             "{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}, \"event\": "
             "\"MIGRATION_PASS\", \"data\": {\"pass\": 3}}\r\n{\"event\": \"STOP\"}\r\n",
             (long long)now.tv_sec - 5);
    const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                      {.what = FAKE_WAIT, .n = 30},
                                      {.what = FAKE_RAW, .text = text},
                                      {.what = FAKE_CLOSE}};
    struct look l;
    BEGIN(&l, steps);
    while (!l.lost)
        loop_turn(l.loop, -1);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.events[0].name, "MIGRATION");
    assert_string_equal(l.events[0].detail, "device");
    assert_true(l.events[0].here);
    int64_t ago_ns = 5 * NS_PER_S + now.tv_nsec - 250 * NS_PER_MS;
    int64_t late_ns = l.events[0].arrived_ns - l.events[0].stamp_ns - ago_ns;
    assert_true(late_ns > -NS_PER_MS && late_ns < NS_PER_S);
    assert_string_equal(l.events[1].detail, "3");
    assert_true(l.events[1].stamp_ns == l.events[1].arrived_ns);
    assert_string_equal(l.events[2].name, "STOP");
    assert_string_equal(l.events[2].detail, "");
    assert_true(watch_lost(l.w));
    struct watch_sample s;
    assert_int_equal(watch_sample(l.w, WATCH_ASK_TIMEOUT_NS, &s, &l.e), -1);
    assert_int_equal(l.e.class, ERR_LOST);
    end(&l);
}

/* A QEMU that does not answer costs no more time than its asker has. */
static void a_question_has_a_deadline(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             {.what = FAKE_HOLD, .command = "query-migrate"},
                                             {.what = FAKE_EXPECT_END}};
    struct look l;
    struct watch_sample s;
    BEGIN(&l, steps);
    int64_t before_ns = clock_now_ns();
    assert_int_equal(watch_sample(l.w, 100 * NS_PER_MS, &s, &l.e), -1);
    assert_int_equal(l.e.class, ERR_TIMEOUT);
    assert_true(clock_now_ns() - before_ns < 3 * NS_PER_S);
    assert_false(watch_lost(l.w));
    end(&l);
}

static void traces_by_pattern(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_REPLY,
         .command = "trace-event-set-state",
         .arguments = "{\"name\":\"vmstate_*\",\"enable\":true,\"ignore-unavailable\":true}"},
        {.what = FAKE_EXPECT_END}};
    struct look l;
    BEGIN(&l, steps);
    assert_int_equal(watch_trace(l.w, "vmstate_*", true, &l.e), 0);
    end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_of_a_sample),  cmocka_unit_test(one_question_at_a_time),
        cmocka_unit_test(events_have_their_time), cmocka_unit_test(a_question_has_a_deadline),
        cmocka_unit_test(traces_by_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
