/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/model.h"

#define MIB 1048576.0
#define LIMIT_NS (300 * NS_PER_MS)

/* A guest of 256 MiB, 100 of them no zeros, a link of 100 MiB/s, 10 ms of pause, all exactly known. */
struct setup {
    struct model_guest guest;
    struct model_link link;
    struct model_costs costs;
    struct model_answer a;
};

static struct setup setup(void)
{
    struct setup s = {
        .guest = {.ram_bytes = 256 << 20, .first_pass_bytes = estimate_exactly(100 * MIB)},
        .link = {.bytes_per_s = estimate_exactly(100 * MIB)},
        .costs = {.begin_ns = estimate_exactly(200e6),
                  .pause_ns = estimate_exactly(10e6),
                  .end_ns = estimate_exactly(50e6)},
    };
    s.guest.curve.ram_bytes = s.guest.ram_bytes;
    return s;
}

/* All of a working set again, however short the pass. */
static void dirty_set(struct setup *s, double bytes)
{
    assert_int_equal(curve_add(&s->guest.curve, 10000, estimate_exactly(bytes)), 0);
    assert_int_equal(curve_add(&s->guest.curve, 100 * NS_PER_S, estimate_exactly(bytes)), 0);
}

/* Another page each time. */
static void dirty_rate(struct setup *s, double bytes_per_s)
{
    assert_int_equal(curve_add(&s->guest.curve, NS_PER_MS, estimate_exactly(bytes_per_s / 1000)),
                     0);
    assert_int_equal(curve_add(&s->guest.curve, NS_PER_S, estimate_exactly(bytes_per_s)), 0);
}

static const struct model_answer *predict(struct setup *s, int64_t limit_ns)
{
    model_predict(&s->guest, &s->link, &s->costs, limit_ns, &s->a);
    return &s->a;
}

#define assert_between(value, low, high)                                     \
    do {                                                                     \
        double v_ = (value), l_ = (low), h_ = (high);                        \
        if (!(v_ >= l_ && v_ <= h_))                                         \
            fail_msg("%s is %g, not between %g and %g", #value, v_, l_, h_); \
    } while (0)

/* ---- closed forms ---- */

/* 100 MiB and 9 bytes for each of 65536 pages at 100 MiB/s; whatever part of it falls into the pause. */
static void test_idle(void **state)
{
    (void)state;
    struct setup s = setup();
    const struct model_answer *a = predict(&s, LIMIT_NS);
    double whole_ns = (100 * MIB + 65536 * 9) / (100 * MIB) * 1e9;
    assert_true(a->converges);
    assert_between(a->total_ns.likely, 200e6 + whole_ns + 10e6 + 50e6 - 1e6,
                   260e6 + whole_ns + 1e6);
    assert_between(a->bytes.likely, 100 * MIB, 101 * MIB);
    /* QEMU stops it as soon as what is left fits, and nobody knows how many zeros that has */
    assert_between(a->pause_ns.low, 10e6, 60e6);
    assert_between(a->pause_ns.high, 200e6, 311e6);
    assert_between(a->passes.likely, 2, 2);
}

/* Without a zero it is the limit, up to 50 ms less, and what the estimate is off. */
static void test_idle_and_full(void **state)
{
    (void)state;
    struct setup s = setup();
    s.guest.first_pass_bytes = estimate_exactly(256 * MIB);
    const struct model_answer *a = predict(&s, LIMIT_NS);
    assert_between(a->pause_ns.low, 255e6, 275e6);
    assert_between(a->pause_ns.high, 290e6, 311e6);
    assert_between(a->total_ns.likely, 260e6 + 2.56e9, 260e6 + 2.57e9);
}

/* The bandwidth that a limit is multiplied by is known after 100 ms: what is done by then was sent whole. */
static void test_idle_and_small(void **state)
{
    (void)state;
    struct setup s = setup();
    s.guest.first_pass_bytes = estimate_exactly(5 * MIB);
    const struct model_answer *a = predict(&s, LIMIT_NS);
    assert_between(a->pause_ns.high, 10e6, 10.001e6);
    assert_between(a->passes.likely, 1, 1);
}

static void test_zeros_take_time(void **state)
{
    (void)state;
    struct setup s = setup();
    double before_ns = predict(&s, LIMIT_NS)->total_ns.likely;
    s.costs.zero_bytes_per_s = estimate_exactly(156 * MIB);
    assert_between(predict(&s, LIMIT_NS)->total_ns.likely - before_ns, 0.99e9, 1.01e9);
}

/* 20 MiB that are dirty again after any pass: 200 ms of the link. */
static void test_working_set_below_the_link(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 20 * MIB);
    const struct model_answer *a = predict(&s, 250 * NS_PER_MS);
    assert_true(a->converges);
    assert_between(a->likelihood, 1, 1);
    assert_between(a->pause_ns.low, 209e6, 275e6);
    assert_between(a->pause_ns.high, 209e6, 275e6);
}

/* … and with a limit of 150 ms it never ends; passes do not get smaller than the set. */
static void test_working_set_above_the_link(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 20 * MIB);
    const struct model_answer *a = predict(&s, 150 * NS_PER_MS);
    assert_false(a->converges);
    assert_between(a->likelihood, 0, 0);
    assert_between((double)a->floor_bytes, 19.9 * MIB, 21 * MIB);
    assert_between(a->total_ns.likely, 0, 0);
}

/* Half of what is sent is dirty again: a geometric row of passes, which gets below any limit. */
static void test_rate_below_the_link(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_rate(&s, 50 * MIB);
    const struct model_answer *a = predict(&s, 10 * NS_PER_MS);
    assert_true(a->converges);
    assert_between(a->pause_ns.high, 10e6, 21e6);
    /* 1 + 1/2 + 1/4 … */
    assert_between(a->total_ns.likely, 260e6 + 1.8e9, 260e6 + 2.1e9);
    assert_between(a->bytes.likely, 185 * MIB, 205 * MIB);
}

static void test_rate_above_the_link(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_rate(&s, 120 * MIB);
    assert_false(predict(&s, LIMIT_NS)->converges);
    s.link.bytes_per_s = estimate_exactly(200 * MIB);
    assert_true(predict(&s, LIMIT_NS)->converges);
}

static void test_everything_dirty(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 256 * MIB);
    const struct model_answer *a = predict(&s, LIMIT_NS);
    assert_false(a->converges);
    assert_between((double)a->floor_bytes, 250 * MIB, 256 * MIB);
    assert_true(predict(&s, 3 * NS_PER_S)->converges); /* all of it fits into the pause */
}

/* max-bandwidth holds the passes back, and not the pause. */
static void test_max_bandwidth(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 20 * MIB);
    s.link.limit_bytes_per_s = 50 * MIB;
    const struct model_answer *a = predict(&s, 500 * NS_PER_MS);
    assert_true(a->converges);
    assert_between(a->pause_ns.likely, 209e6, 270e6); /* 25 MiB at most, at 100 MiB/s */
    assert_between(a->total_ns.likely, 2e9, 2.7e9);
    assert_false(predict(&s, LIMIT_NS)->converges); /* 15 MiB are below the set */
}

/* Of a guest that would never converge: all that is dirty goes in the pause, or after it. */
static void test_cut_short(void **state)
{
    (void)state;
    struct setup s = setup();
    s.guest.first_pass_bytes = estimate_exactly(256 * MIB);
    dirty_set(&s, 80 * MIB);
    const struct model_cut pause = {.passes = 1}, postcopy = {.passes = 2, .postcopy = true};
    model_predict_cut(&s.guest, &s.link, &s.costs, 10 * NS_PER_MS, &pause, &s.a);
    assert_true(s.a.converges);
    assert_between(s.a.pause_ns.likely, 810e6, 815e6);
    assert_between(s.a.total_ns.likely, 3.6e9, 3.7e9);
    model_predict_cut(&s.guest, &s.link, &s.costs, 10 * NS_PER_MS, &postcopy, &s.a);
    assert_true(s.a.converges);
    assert_between(s.a.pause_ns.likely, 10e6, 10e6);
    assert_between(s.a.total_ns.likely, 4.3e9, 4.6e9);
    assert_between(s.a.bytes.likely, 410 * MIB, 425 * MIB);
}

/* ---- properties ---- */

static void uncertain(struct setup *s)
{
    s->guest.first_pass_bytes = (struct estimate){80 * MIB, 100 * MIB, 130 * MIB};
    s->guest.skew = (struct estimate){0.8, 1, 1.6};
    s->link.bytes_per_s = (struct estimate){80 * MIB, 100 * MIB, 110 * MIB};
    s->costs.pause_ns = (struct estimate){5e6, 10e6, 30e6};
}

static void test_more_bandwidth_is_never_worse(void **state)
{
    (void)state;
    double total_ns = INFINITY, likelihood = 0;
    for (double mib = 20; mib < 1000; mib *= 1.4) {
        struct setup s = setup();
        uncertain(&s);
        dirty_rate(&s, 30 * MIB);
        s.link.bytes_per_s = (struct estimate){0.8 * mib * MIB, mib * MIB, 1.1 * mib * MIB};
        const struct model_answer *a = predict(&s, 100 * NS_PER_MS);
        assert_between(a->likelihood, likelihood - 0.02, 1);
        likelihood = a->likelihood;
        if (!a->converges)
            continue;
        assert_between(a->total_ns.likely, 0, total_ns * 1.02);
        total_ns = a->total_ns.likely;
    }
    assert_between(likelihood, 1, 1);
    assert_between(total_ns, 0, 0.5e9);
}

static void test_more_dirt_is_never_better(void **state)
{
    (void)state;
    double total_ns = 0, likelihood = 1, bytes = 0;
    for (double mib = 1; mib < 400; mib *= 1.4) {
        struct setup s = setup();
        uncertain(&s);
        dirty_rate(&s, mib * MIB);
        const struct model_answer *a = predict(&s, 50 * NS_PER_MS);
        assert_between(a->likelihood, 0, likelihood + 0.02);
        likelihood = a->likelihood;
        if (a->likelihood < 1) /* else only those that had luck are counted */
            continue;
        assert_between(a->total_ns.likely, total_ns * 0.98, INFINITY);
        assert_between(a->bytes.likely, bytes * 0.98, INFINITY);
        total_ns = a->total_ns.likely;
        bytes = a->bytes.likely;
    }
    assert_between(likelihood, 0, 0.05);
}

static void test_more_limit_is_a_longer_pause(void **state)
{
    (void)state;
    double pause_ns = 0, likelihood = 0;
    for (int64_t ms = 5; ms < 3000; ms = ms * 3 / 2) {
        struct setup s = setup();
        uncertain(&s);
        dirty_set(&s, 8 * MIB);
        const struct model_answer *a = predict(&s, ms * NS_PER_MS);
        assert_between(a->likelihood, likelihood - 0.02, 1);
        likelihood = a->likelihood;
        if (!a->converges)
            continue;
        assert_between(a->pause_ns.likely, pause_ns * 0.9, (double)ms * 1e6 * 1.3 + 30e6);
        pause_ns = a->pause_ns.likely;
    }
    assert_between(likelihood, 1, 1);
}

static void test_intervals_are_sound_and_answers_equal(void **state)
{
    (void)state;
    struct setup s = setup();
    uncertain(&s);
    dirty_rate(&s, 30 * MIB);
    struct model_answer first = *predict(&s, LIMIT_NS);
    const struct model_answer *a = predict(&s, LIMIT_NS);
    assert_memory_equal(&first, a, sizeof first);
    assert_true(estimate_is_sound(a->total_ns) && estimate_is_sound(a->pause_ns));
    assert_true(estimate_is_sound(a->bytes) && estimate_is_sound(a->passes));
    assert_true(a->total_ns.high > 1.1 * a->total_ns.low);
}

/* Of what converges in most games only no end can be promised. */
static void test_it_may_not_converge(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 20 * MIB);
    s.link.bytes_per_s = (struct estimate){50 * MIB, 100 * MIB, 150 * MIB};
    const struct model_answer *a = predict(&s, 230 * NS_PER_MS);
    assert_between(a->likelihood, 0.5, 0.9);
    assert_true(isinf(a->total_ns.high));
}

/* ---- promises ---- */

static void test_a_limit_for_a_promise(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_rate(&s, 30 * MIB);
    const struct model_promise p = {.pause_ns = 100 * NS_PER_MS};
    int64_t limit_ns = model_limit_for(&s.guest, &s.link, &s.costs, &p, &s.a);
    assert_between((double)limit_ns, 70e6,
                   92e6); /* the fixed 10 ms, and what the estimate is off */
    assert_true(model_keeps(&s.a, &p));
    assert_between(s.a.pause_ns.high, 80e6, 100e6);
}

/* Also where no limit would break it. */
static void test_no_limit_above_the_promise(void **state)
{
    (void)state;
    struct setup s = setup();
    s.guest.first_pass_bytes = estimate_exactly(1 * MIB);
    const struct model_promise p = {.pause_ns = 2 * NS_PER_S};
    int64_t limit_ns = model_limit_for(&s.guest, &s.link, &s.costs, &p, &s.a);
    assert_between((double)limit_ns, 1e6, 2e9);
}

static void test_a_promise_below_the_fixed_costs(void **state)
{
    (void)state;
    struct setup s = setup();
    const struct model_promise p = {.pause_ns = 9 * NS_PER_MS};
    assert_int_equal(model_limit_for(&s.guest, &s.link, &s.costs, &p, &s.a), 0);
    assert_false(model_keeps(&s.a, &p));
}

static void test_a_promise_of_time(void **state)
{
    (void)state;
    struct setup s = setup();
    dirty_set(&s, 20 * MIB);
    const struct model_promise kept = {.total_ns = 2 * NS_PER_S};
    assert_between((double)model_limit_for(&s.guest, &s.link, &s.costs, &kept, &s.a), 190e6, 260e6);
    const struct model_promise late = {.total_ns = 1 * NS_PER_S};
    assert_int_equal(model_limit_for(&s.guest, &s.link, &s.costs, &late, &s.a), 0);
}

/* The set that is dirty again after any pass has to go through the link while the guest stands. */
static void test_the_smallest_pause(void **state)
{
    (void)state;
    struct setup s = setup();
    int64_t limit_ns;
    dirty_set(&s, 20 * MIB);
    int64_t pause_ns = model_smallest_pause(&s.guest, &s.link, &s.costs, &limit_ns);
    assert_between((double)pause_ns, 210e6, 225e6);
    assert_between((double)limit_ns, 190e6, 215e6);
    const struct model_promise p = {.pause_ns = pause_ns};
    assert_true(model_limit_for(&s.guest, &s.link, &s.costs, &p, &s.a) > 0);
}

static void test_no_pause_is_long_enough(void **state)
{
    (void)state;
    struct setup s = setup();
    int64_t limit_ns;
    s.guest.ram_bytes = s.guest.curve.ram_bytes = UINT64_C(8) << 30;
    s.guest.first_pass_bytes = estimate_exactly(8192 * MIB);
    dirty_rate(&s, 200 * MIB);
    assert_int_equal(model_smallest_pause(&s.guest, &s.link, &s.costs, &limit_ns), 0);
    assert_int_equal(limit_ns, 0);
}

/* ---- corrections ---- */

static void test_a_pass_corrects_the_curve(void **state)
{
    (void)state;
    struct setup s = setup();
    s.guest.skew = (struct estimate){0.5, 1, 2};
    for (int64_t ms = 10; ms <= 10000; ms *= 10) {
        double said = 30 * MIB * (double)ms / 1000;
        assert_int_equal(curve_add(&s.guest.curve, ms * NS_PER_MS,
                                   (struct estimate){said * 0.7, said, said * 1.4}),
                         0);
    }
    struct model_answer before = *predict(&s, 20 * NS_PER_MS);
    model_correct(&s.guest, NS_PER_S, 60 * MIB);
    assert_between(s.guest.skew.likely, 1.8, 2);
    struct model_answer after = *predict(&s, 20 * NS_PER_MS);
    assert_true(after.total_ns.likely > before.total_ns.likely * 1.3);
    assert_true(after.total_ns.high / after.total_ns.low <
                before.total_ns.high / before.total_ns.low);
    double narrow = s.guest.skew.high / s.guest.skew.low;
    model_correct(&s.guest, NS_PER_S, 60 * MIB);
    assert_true(s.guest.skew.high / s.guest.skew.low <= narrow);
    assert_true(estimate_is_sound(s.guest.skew));
}

static void test_what_says_nothing_corrects_nothing(void **state)
{
    (void)state;
    struct setup s = setup();
    struct model_guest before = s.guest;
    model_correct(&s.guest, NS_PER_S, 60 * MIB); /* no curve */
    assert_memory_equal(&before, &s.guest, sizeof before);
    dirty_rate(&s, 30 * MIB);
    before = s.guest;
    model_correct(&s.guest, 1000, 60 * MIB);
    model_correct(&s.guest, NS_PER_S, 0);
    assert_memory_equal(&before, &s.guest, sizeof before);
}

static void test_what_was_sent_corrects_the_link(void **state)
{
    (void)state;
    struct setup s = setup();
    s.link.bytes_per_s = (struct estimate){10 * MIB, 100 * MIB, 1000 * MIB};
    model_correct_link(&s.link, NS_PER_S, 30 * MIB);
    assert_between(s.link.bytes_per_s.likely, 29 * MIB, 32 * MIB);
    assert_between(s.link.bytes_per_s.high, 30 * MIB, 40 * MIB);
    model_correct_link(&s.link, 0, 30 * MIB);
    assert_true(estimate_is_sound(s.link.bytes_per_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_idle_and_full),
        cmocka_unit_test(test_idle_and_small),
        cmocka_unit_test(test_zeros_take_time),
        cmocka_unit_test(test_working_set_below_the_link),
        cmocka_unit_test(test_working_set_above_the_link),
        cmocka_unit_test(test_rate_below_the_link),
        cmocka_unit_test(test_rate_above_the_link),
        cmocka_unit_test(test_everything_dirty),
        cmocka_unit_test(test_max_bandwidth),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_more_bandwidth_is_never_worse),
        cmocka_unit_test(test_more_dirt_is_never_better),
        cmocka_unit_test(test_more_limit_is_a_longer_pause),
        cmocka_unit_test(test_intervals_are_sound_and_answers_equal),
        cmocka_unit_test(test_it_may_not_converge),
        cmocka_unit_test(test_a_limit_for_a_promise),
        cmocka_unit_test(test_no_limit_above_the_promise),
        cmocka_unit_test(test_a_promise_below_the_fixed_costs),
        cmocka_unit_test(test_a_promise_of_time),
        cmocka_unit_test(test_the_smallest_pause),
        cmocka_unit_test(test_no_pause_is_long_enough),
        cmocka_unit_test(test_a_pass_corrects_the_curve),
        cmocka_unit_test(test_what_says_nothing_corrects_nothing),
        cmocka_unit_test(test_what_was_sent_corrects_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
