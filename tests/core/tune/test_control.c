/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller against a guest, a link and a QEMU that are made of a few numbers: the guest writes at
 * random into a working set, the link sends at its rate, and QEMU looks at the end of each pass whether
 * what has become dirty fits into the limit that is in force.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/control.h"

#define MIB (UINT64_C(1) << 20)
#define COST_NS (20 * NS_PER_MS)
#define STEP_NS NS_PER_MS
/* QEMU sees a new limit when it next takes stock of its bandwidth. */
#define LIMIT_DELAY_NS (100 * NS_PER_MS)

struct world {
    struct control_plan plan;
    double ram, set, dirty_per_s, link_per_s; /* bytes */
    int64_t calm_ns;                          /* from then on it dirties a tenth; 0: never */

    /* what happens */
    struct control control;
    struct vm_sample sample;
    int64_t now_ns, pass_began_ns, limit_ns, new_limit_ns, new_limit_at_ns;
    double left, sent;
    unsigned throttle_percent, limits, throttles, vcpu_limits;
    double needs;   /* what part of its time it needs to dirty so much; 0: all of it */
    double limited; /* the part of its dirtying that limits of vCPUs have left */
    struct curve curve;
    struct control_action last;
    bool over, missed;
    int64_t pause_ns;
};

static double world_dirty(const struct world *w, int64_t span_ns)
{
    double runs = (100.0 - w->throttle_percent) / 100;
    double rate = w->dirty_per_s * (w->needs > 0 ? fmin(1, runs / w->needs) : runs);
    if (w->vcpu_limits > 0)
        rate *= w->limited;
    if (w->calm_ns > 0 && w->now_ns > w->calm_ns)
        rate /= 10;
    return w->set > 0 ? w->set * (1 - exp(-rate * (double)span_ns / 1e9 / w->set)) : 0;
}

static void world_end_pass(struct world *w)
{
    w->left = world_dirty(w, w->now_ns - w->pass_began_ns);
    w->pass_began_ns = w->now_ns;
    w->sample.passes++;
    w->sample.pass_bytes = (uint64_t)w->left;
    int64_t need_ns = (int64_t)(w->left / w->link_per_s * 1e9);
    if (need_ns > w->limit_ns)
        return;
    w->over = true;
    w->pause_ns = need_ns + w->plan.pause_cost_ns;
}

/* QEMU keeps each below its limit. */
static void world_limit(struct world *w, const struct control_action *a)
{
    double free = 0, left = 0;
    size_t limited = 0;
    assert_true(w->plan.promise.allow & PROMISE_THROTTLE);
    for (size_t i = 0; i < w->control.vcpus; i++) {
        const struct throttle_vcpu *v = &w->control.vcpu[i];
        bool has = v->limit_bytes_per_s > 0;
        double most = has && v->limit_bytes_per_s < v->bytes_per_s ? v->limit_bytes_per_s
                                                                   : v->bytes_per_s;
        double least = v->bytes_per_s * (100 - w->plan.promise.max_throttle_percent) / 100;
        assert_true(most >= least * 0.999);
        free += v->bytes_per_s;
        left += most;
        limited += has;
    }
    assert_int_equal(limited, a->vcpus_limited);
    assert_true(limited > 0);
    w->limited = left / free;
    w->vcpu_limits++;
}

static void world_obey(struct world *w, const struct control_action *a)
{
    if (a->what == CONTROL_NOTHING)
        return;
    assert_non_null(a->why);
    assert_int_equal(a->at_ns, w->now_ns);
    w->last = *a;
    w->missed |= a->miss;
    switch (a->what) {
    case CONTROL_LIMIT:
        assert_false(w->plan.keep_limit);
        assert_true(a->limit_ns > w->limit_ns);
        w->new_limit_ns = a->limit_ns;
        w->new_limit_at_ns = w->now_ns + LIMIT_DELAY_NS;
        w->limits++;
        break;
    case CONTROL_THROTTLE:
        assert_true(w->plan.promise.allow & PROMISE_THROTTLE);
        assert_true(a->throttle_percent > w->throttle_percent);
        assert_true(a->throttle_percent <= w->plan.promise.max_throttle_percent);
        w->throttle_percent = a->throttle_percent;
        w->throttles++;
        break;
    case CONTROL_VCPUS: world_limit(w, a); break;
    case CONTROL_PAUSE:
        w->pause_ns = (int64_t)((w->left + world_dirty(w, w->now_ns - w->pass_began_ns)) /
                                w->link_per_s * 1e9) +
                      COST_NS;
        w->over = true;
        break;
    default: w->over = true;
    }
}

static void world_step(struct world *w)
{
    double sent = w->link_per_s * STEP_NS / 1e9;
    w->now_ns += STEP_NS;
    if (w->new_limit_ns > 0 && w->now_ns >= w->new_limit_at_ns) {
        w->limit_ns = w->new_limit_ns;
        w->new_limit_ns = 0;
    }
    w->sent += sent < w->left ? sent : w->left;
    w->left -= sent < w->left ? sent : w->left;
    if (w->left <= 0)
        world_end_pass(w);
}

static void world_sample(struct world *w)
{
    struct control_action a;
    w->sample.ram_remaining_bytes = (uint64_t)w->left;
    w->sample.ram_transferred_bytes = (uint64_t)w->sent;
    w->sample.bandwidth_bytes_per_s = (uint64_t)w->link_per_s;
    w->sample.dirty_bytes_per_s = (uint64_t)world_dirty(w, NS_PER_S);
    w->sample.throttle_percent = w->throttle_percent;
    control_step(&w->control, &w->sample, w->now_ns, &a);
    world_obey(w, &a);
}

/* Until it is over, or an hour has passed. */
static void world_run(struct world *w)
{
    struct err e = {0};
    int64_t next_ns = 0;
    w->plan.pause_cost_ns = COST_NS;
    if (w->plan.promise.max_throttle_percent == 0)
        w->plan.promise.max_throttle_percent = 99;
    assert_int_equal(control_init(&w->control, &w->plan, &e), 0);
    w->limit_ns = control_begin(&w->control, 300 * NS_PER_MS);
    w->sample = (struct vm_sample){.migration = VM_MIGRATION_ACTIVE,
                                   .run = VM_RUN_RUNNING,
                                   .ram_total_bytes = (uint64_t)w->ram,
                                   .passes = 1,
                                   .pass_bytes = (uint64_t)w->ram};
    w->left = w->ram;
    while (!w->over && w->now_ns < 3600 * NS_PER_S) {
        if (w->now_ns >= next_ns) {
            world_sample(w);
            next_ns = w->now_ns + control_tick_ns(&w->control, &w->sample);
        }
        if (!w->over)
            world_step(w);
    }
}

static struct world guest(double set_mib, double dirty_mib_per_s)
{
    return (struct world){
        .ram = 1024.0 * MIB,
        .set = set_mib * MIB,
        .dirty_per_s = dirty_mib_per_s * MIB,
        .link_per_s = 100.0 * MIB,
    };
}

static void test_an_idle_guest_goes_at_once(void **state)
{
    (void)state;
    struct world w = guest(0, 0);
    world_run(&w);
    assert_true(w.over);
    assert_int_equal(w.last.what, CONTROL_NOTHING);
    assert_true(w.now_ns < 10300 * NS_PER_MS);
    assert_int_equal(w.pause_ns, COST_NS);
}

/* 300 ms would be allowed at once; one more pass costs less than half a second. */
static void test_the_better_moment_is_waited_for(void **state)
{
    (void)state;
    struct world w = guest(200, 20);
    world_run(&w);
    assert_true(w.over);
    assert_true(w.pause_ns < 40 * NS_PER_MS);
    assert_true(w.now_ns < 14 * NS_PER_S);
}

/* Its working set is dirty again after each pass, so there is no better moment than that. */
static void test_the_limit_is_raised_to_the_smallest_pass(void **state)
{
    (void)state;
    struct world w = guest(10, 1000);
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_true(w.limits >= 1);
    assert_true(w.pause_ns >= 100 * NS_PER_MS && w.pause_ns < 150 * NS_PER_MS);
    assert_true(w.now_ns < 12 * NS_PER_S);
}

static void test_without_a_promise_it_never_acts_beyond_the_limit_that_is_set(void **state)
{
    (void)state;
    struct world w = guest(200, 1000);
    world_run(&w);
    assert_false(w.over);
    assert_true(w.limit_ns <= 300 * NS_PER_MS);
    assert_int_equal(w.throttles, 0);
}

static void test_a_limit_that_was_named_is_left_alone(void **state)
{
    (void)state;
    struct world w = guest(10, 1000);
    w.plan.keep_limit = true;
    world_run(&w);
    assert_true(w.over);
    assert_int_equal(w.limits, 0);
}

static void test_throttling_makes_it_converge_and_no_more_than_is_needed(void **state)
{
    (void)state;
    struct world w = guest(300, 300);
    w.plan.promise = (struct promise){
        .max_downtime_ns = 100 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 95};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_true(w.throttles >= 1);
    assert_true(w.pause_ns <= 100 * NS_PER_MS);
    assert_true(w.throttle_percent >= 60);
}

/* As qmp/dirty.h would measure it. */
static void measure(struct world *w)
{
    static const int64_t windows_ns[] = {100 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_S};
    w->curve = (struct curve){.source = CURVE_PAGE_SAMPLING, .ram_bytes = (uint64_t)w->ram};
    for (size_t i = 0; i < sizeof windows_ns / sizeof *windows_ns; i++)
        curve_add(&w->curve, windows_ns[i], estimate_exactly(world_dirty(w, windows_ns[i])));
    w->plan.curve = &w->curve;
}

/* What is needed: with the limit L and the rate R, random writes of D a second into a large set converge
 * below D x (1 - p) = R. All guests that dirty up to four times the link. */
static void test_a_measured_guest_is_slowed_down_by_what_it_needs_at_once(void **state)
{
    (void)state;
    static const double rates[] = {110, 150, 200, 300, 400};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct world w = guest(600, rates[i]);
        unsigned least = (unsigned)(100 - 100 * 100 / rates[i]);
        measure(&w);
        w.plan.promise = (struct promise){.max_downtime_ns = 120 * NS_PER_MS,
                                          .allow = PROMISE_THROTTLE,
                                          .max_throttle_percent = 95};
        world_run(&w);
        assert_true(w.over);
        assert_false(w.missed);
        assert_true(w.throttles >= 1 && w.throttles <= 2);
        assert_true(w.throttle_percent > least && w.throttle_percent < least + 40);
    }
}

/* One that has time to spare dirties as much as ever until that is used up: it is found soon all the same. */
static void test_a_guest_that_idles_is_slowed_down_in_a_few_steps(void **state)
{
    (void)state;
    struct world w = guest(600, 300);
    w.needs = 0.2;
    measure(&w);
    w.plan.promise = (struct promise){
        .max_downtime_ns = 120 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 99};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_true(w.throttles <= 4);
    assert_true(w.throttle_percent > 93);
}

/* A better moment is not waited for while that costs the guest its time. */
static void test_a_guest_that_is_slowed_down_goes_at_the_first_moment(void **state)
{
    (void)state;
    struct world w = guest(600, 200);
    measure(&w);
    w.plan.promise = (struct promise){
        .max_downtime_ns = 500 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 90};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_int_equal(w.limit_ns, (500 * NS_PER_MS - COST_NS) / 100 * 80);
    assert_true(w.pause_ns > 250 * NS_PER_MS);
}

/* Nothing was measured: its passes tell, and it takes more steps, but not tens of them. */
static void test_a_guest_that_was_not_measured_is_judged_by_its_passes(void **state)
{
    (void)state;
    struct world w = guest(300, 1000);
    w.plan.promise = (struct promise){
        .max_downtime_ns = 200 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 99};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_true(w.throttles <= 12);
}

/* Whoever is hot pays, whoever is not does not notice. */
static void test_the_hottest_vcpus_are_limited_first(void **state)
{
    (void)state;
    static const struct throttle_vcpu vcpus[] = {
        {.id = 0, .bytes_per_s = 5 * MIB},
        {.id = 1, .bytes_per_s = 280 * MIB},
        {.id = 2, .bytes_per_s = 15 * MIB},
    };
    struct world w = guest(600, 300);
    measure(&w);
    w.plan.vcpu = vcpus;
    w.plan.vcpus = 3;
    w.plan.promise = (struct promise){
        .max_downtime_ns = 120 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 90};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_int_equal(w.throttles, 0);
    assert_true(w.vcpu_limits >= 1 && w.vcpu_limits <= 2);
    assert_true(w.control.vcpu[0].limit_bytes_per_s == 0);
    assert_true(w.control.vcpu[1].limit_bytes_per_s > 0);
    assert_true(w.control.vcpu[2].limit_bytes_per_s == 0);
}

/* QEMU would not enforce such a limit. */
static void test_limits_that_qemu_ignores_are_not_set(void **state)
{
    (void)state;
    static const struct throttle_vcpu vcpus[] = {{.id = 0, .bytes_per_s = 20 * MIB},
                                                 {.id = 1, .bytes_per_s = 20 * MIB}};
    struct world w = guest(600, 40);
    w.link_per_s = 30.0 * MIB;
    measure(&w);
    w.plan.vcpu = vcpus;
    w.plan.vcpus = 2;
    w.plan.promise = (struct promise){
        .max_downtime_ns = 120 * NS_PER_MS, .allow = PROMISE_THROTTLE, .max_throttle_percent = 90};
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_int_equal(w.vcpu_limits, 0);
    assert_true(w.throttles >= 1);
}

/* All guests, all bounds: world_obey() and world_limit() hold them. */
static void test_no_slow_down_is_beyond_what_is_allowed(void **state)
{
    (void)state;
    static const unsigned mosts[] = {1, 5, 20, 50, 99};
    static const struct throttle_vcpu vcpus[] = {{.id = 0, .bytes_per_s = 100 * MIB},
                                                 {.id = 7, .bytes_per_s = 200 * MIB}};
    for (size_t i = 0; i < sizeof mosts / sizeof *mosts; i++)
        for (int ring = 0; ring < 2; ring++)
            for (int measured = 0; measured < 2; measured++) {
                struct world w = guest(300, 300);
                if (measured)
                    measure(&w);
                w.plan.vcpu = vcpus;
                w.plan.vcpus = ring ? 2 : 0;
                w.plan.promise = (struct promise){.max_downtime_ns = 100 * NS_PER_MS,
                                                  .allow = PROMISE_THROTTLE,
                                                  .max_throttle_percent = mosts[i],
                                                  .on_miss = PROMISE_ABORT};
                world_run(&w);
                assert_true(w.over);
                assert_int_equal(w.missed, mosts[i] < 60);
            }
}

static void test_throttling_ends_where_it_was_told_to(void **state)
{
    (void)state;
    struct world w = guest(300, 300);
    w.plan.promise = (struct promise){.max_downtime_ns = 100 * NS_PER_MS,
                                      .allow = PROMISE_THROTTLE,
                                      .max_throttle_percent = 20,
                                      .on_miss = PROMISE_ABORT};
    world_run(&w);
    assert_true(w.over);
    assert_int_equal(w.last.what, CONTROL_ABORT);
    assert_int_equal(w.throttle_percent, 20);
}

static void test_after_throttling_comes_postcopy(void **state)
{
    (void)state;
    struct world w = guest(300, 300);
    w.plan.promise = (struct promise){.max_downtime_ns = 100 * NS_PER_MS,
                                      .allow = PROMISE_THROTTLE | PROMISE_POSTCOPY,
                                      .max_throttle_percent = 20};
    world_run(&w);
    assert_int_equal(w.last.what, CONTROL_POSTCOPY);
    assert_int_equal(w.throttle_percent, 20);
    assert_false(w.missed);
}

static void test_what_is_done_on_a_miss(void **state)
{
    (void)state;
    static const struct {
        enum promise_on_miss on_miss;
        enum control_what what;
    } rows[] = {
        {PROMISE_REFUSE, CONTROL_ABORT},         {PROMISE_ABORT, CONTROL_ABORT},
        {PROMISE_TO_POSTCOPY, CONTROL_POSTCOPY}, {PROMISE_TO_PAUSE, CONTROL_PAUSE},
        {PROMISE_STRETCH, CONTROL_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w = guest(100, 1000);
        w.plan.promise =
            (struct promise){.max_downtime_ns = 50 * NS_PER_MS, .on_miss = rows[i].on_miss};
        world_run(&w);
        assert_true(w.over);
        assert_true(w.missed);
        assert_int_equal(w.last.what, rows[i].what);
        assert_true(w.last.at_ns > 15 * NS_PER_S); /* it has had its chance */
        if (rows[i].on_miss == PROMISE_STRETCH)    /* as long as it must be, and no longer */
            assert_true(w.pause_ns > NS_PER_S && w.pause_ns < 1300 * NS_PER_MS);
    }
}

/* A burst that ends: the chance is taken when it comes. */
static void test_a_calm_moment_is_taken(void **state)
{
    (void)state;
    struct world w = guest(100, 1000);
    w.plan.promise = (struct promise){
        .max_downtime_ns = 100 * NS_PER_MS, .max_time_ns = 60 * NS_PER_S, .on_miss = PROMISE_ABORT};
    w.calm_ns = 40 * NS_PER_S;
    w.dirty_per_s = 150.0 * MIB;
    world_run(&w);
    assert_true(w.over);
    assert_false(w.missed);
    assert_true(w.pause_ns <= 100 * NS_PER_MS);
    assert_true(w.now_ns < 45 * NS_PER_S);
}

/* At the last moment, not before, and not after. */
static void test_the_time_that_was_promised_is_kept_by_a_pause(void **state)
{
    (void)state;
    struct world w = guest(200, 1000);
    w.plan.promise = (struct promise){.max_time_ns = 30 * NS_PER_S, .on_miss = PROMISE_TO_PAUSE};
    world_run(&w);
    assert_int_equal(w.last.what, CONTROL_PAUSE);
    assert_true(w.now_ns + w.pause_ns <= 30 * NS_PER_S + 100 * NS_PER_MS);
    assert_true(w.now_ns > 24 * NS_PER_S);
}

static void test_a_link_that_is_too_slow_is_seen_early(void **state)
{
    (void)state;
    struct world w = guest(0, 0);
    w.ram = 100 * 1024.0 * MIB;
    w.plan.promise = (struct promise){.max_time_ns = 60 * NS_PER_S};
    world_run(&w);
    assert_int_equal(w.last.what, CONTROL_ABORT);
    assert_true(w.now_ns < 5 * NS_PER_S);
}

static void test_the_timeout_does_what_was_asked(void **state)
{
    (void)state;
    struct world w = guest(200, 1000);
    w.plan.timeout_ns = 20 * NS_PER_S;
    w.plan.timeout_miss = PROMISE_TO_PAUSE;
    world_run(&w);
    assert_int_equal(w.last.what, CONTROL_PAUSE);
    assert_int_equal(w.now_ns / NS_PER_S, 20);
}

static void test_less_than_a_pause_costs_is_refused(void **state)
{
    (void)state;
    struct control c;
    struct err e = {0};
    const struct control_plan plan = {.promise = {.max_downtime_ns = 15 * NS_PER_MS},
                                      .pause_cost_ns = COST_NS};
    assert_int_equal(control_init(&c, &plan, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "15 ms"));
    assert_non_null(strstr(e.hint, "--max-downtime 22ms"));
}

/* Whatever the guest and whatever is promised: a pause that is longer is one that was called a miss, and
 * where the working set fits the promise is kept. */
static void test_no_pause_is_longer_than_promised(void **state)
{
    (void)state;
    static const double sets[] = {0, 1, 3, 7, 20, 60, 300}, rates[] = {1, 10, 50, 90, 150, 1000};
    static const int64_t promises_ms[] = {25, 30, 100, 300, 1000};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
            for (size_t p = 0; p < sizeof promises_ms / sizeof *promises_ms; p++)
                for (int miss = PROMISE_REFUSE; miss <= PROMISE_STRETCH; miss++) {
                    struct world w = guest(sets[s], rates[r]);
                    int64_t promised_ns = promises_ms[p] * NS_PER_MS;
                    w.plan.promise = (struct promise){.max_downtime_ns = promised_ns,
                                                      .on_miss = (enum promise_on_miss)miss};
                    world_run(&w);
                    assert_true(w.over);
                    assert_true(w.missed || w.pause_ns <= promised_ns);
                    if (sets[s] * 10 * NS_PER_MS + COST_NS < (double)promised_ns)
                        assert_false(w.missed);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_guest_goes_at_once),
        cmocka_unit_test(test_the_better_moment_is_waited_for),
        cmocka_unit_test(test_the_limit_is_raised_to_the_smallest_pass),
        cmocka_unit_test(test_without_a_promise_it_never_acts_beyond_the_limit_that_is_set),
        cmocka_unit_test(test_a_limit_that_was_named_is_left_alone),
        cmocka_unit_test(test_throttling_makes_it_converge_and_no_more_than_is_needed),
        cmocka_unit_test(test_a_measured_guest_is_slowed_down_by_what_it_needs_at_once),
        cmocka_unit_test(test_a_guest_that_idles_is_slowed_down_in_a_few_steps),
        cmocka_unit_test(test_a_guest_that_is_slowed_down_goes_at_the_first_moment),
        cmocka_unit_test(test_a_guest_that_was_not_measured_is_judged_by_its_passes),
        cmocka_unit_test(test_the_hottest_vcpus_are_limited_first),
        cmocka_unit_test(test_limits_that_qemu_ignores_are_not_set),
        cmocka_unit_test(test_no_slow_down_is_beyond_what_is_allowed),
        cmocka_unit_test(test_throttling_ends_where_it_was_told_to),
        cmocka_unit_test(test_after_throttling_comes_postcopy),
        cmocka_unit_test(test_what_is_done_on_a_miss),
        cmocka_unit_test(test_a_calm_moment_is_taken),
        cmocka_unit_test(test_the_time_that_was_promised_is_kept_by_a_pause),
        cmocka_unit_test(test_a_link_that_is_too_slow_is_seen_early),
        cmocka_unit_test(test_the_timeout_does_what_was_asked),
        cmocka_unit_test(test_less_than_a_pause_costs_is_refused),
        cmocka_unit_test(test_no_pause_is_longer_than_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
