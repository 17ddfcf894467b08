/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals and silences, of signs of life at given times. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/observe/silence.h"
#include "core/clock.h"

static void distributes_intervals(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r = {0};
    silence_init(&s, &mark_ns);
    int64_t at_ns = NS_PER_S;
    silence_add(&s, at_ns, 0);
    for (int i = 0; i < 980; i++)
        silence_add(&s, at_ns += NS_PER_MS, 0);
    for (int i = 0; i < 19; i++)
        silence_add(&s, at_ns += 20 * NS_PER_MS, 0);
    silence_add(&s, at_ns += 1000 * NS_PER_S, 0); /* past the last bucket */
    silence_add(&s, at_ns, 0);                    /* with the one before: no interval */
    mark_ns = at_ns + NS_PER_MS;
    silence_late(&s, 3);
    silence_late(&s, 2);
    silence_add(&s, at_ns + 7 * NS_PER_MS, 1);
    silence_finish(&s, 0, at_ns + 9 * NS_PER_MS, &r);

    assert_int_equal(r.count, 1003);
    assert_in_range(r.median_interval_ns, 970000, 1030000);
    assert_in_range(r.p99_interval_ns, 19400000, 20600000);
    assert_int_equal(r.max_interval_ns, 1000 * NS_PER_S);
    assert_int_equal(r.longest_silence_ns, 7 * NS_PER_MS); /* it spans the mark */
    assert_int_equal(r.silences[0].late_ns, 3);
    assert_int_equal(r.silences[0].to, 1);
    assert_int_equal(r.silences_n, 2);
    assert_true(r.silences[1].open);
    assert_int_equal(r.silences[1].length_ns, 2 * NS_PER_MS);
    assert_int_equal(r.silences[1].late_ns, 0);
}

/* What is open at the end competes with the others. */
static void ranks_the_silence_still_open(void **state)
{
    (void)state;
    static const struct {
        int64_t ended_ns;
        size_t at; /* in the list */
    } cases[] = {{130, 0}, {107, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _Atomic int64_t mark_ns = 95;
        struct silence s;
        struct observer_result r = {0};
        silence_init(&s, &mark_ns);
        silence_add(&s, 90, 0);
        silence_add(&s, 100, 0);
        silence_finish(&s, 0, cases[i].ended_ns, &r);
        const struct observer_silence *open = &r.silences[cases[i].at];
        assert_int_equal(r.silences_n, 2);
        assert_true(open->open);
        assert_int_equal(open->began_ns, 100);
        assert_int_equal(open->to, -1);
        assert_int_equal(open->length_ns, cases[i].ended_ns - 100);
        assert_int_equal(r.silence_began_ns, cases[i].at == 0 ? 100 : 90);
    }
}

static void keeps_the_longest_silences(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r = {0};
    silence_init(&s, &mark_ns);
    static const int64_t gaps_ns[] = {5, 9, 2, 7, 9, 1, 8};
    int64_t at_ns = 100;
    silence_add(&s, at_ns, 0);
    for (size_t i = 0; i < sizeof gaps_ns / sizeof gaps_ns[0]; i++)
        silence_add(&s, at_ns += gaps_ns[i], 0);
    silence_finish(&s, 0, at_ns, &r);
    static const int64_t want_ns[OBSERVER_SILENCES] = {9, 9, 8, 7};
    for (size_t i = 0; i < OBSERVER_SILENCES; i++)
        assert_int_equal(r.silences[i].length_ns, want_ns[i]);
    assert_int_equal(r.silence_began_ns, 105);
    assert_int_equal(r.median_interval_ns, 9); /* the first bucket's middle is past the maximum */
}

static int64_t ms(int64_t n)
{
    return n * NS_PER_MS;
}

/* Signs each 5 ms with some unrest, the mark, then these gaps. */
static void observe(struct silence *s, _Atomic int64_t *mark_ns, const int64_t *gaps_ms, size_t n,
                    struct observer_result *r)
{
    *r = (struct observer_result){0};
    silence_init(s, mark_ns);
    int64_t at_ns = NS_PER_S;
    silence_add(s, at_ns, 0);
    for (int i = 0; i < 200; i++) /* nineteen of twenty as they should be */
        silence_add(s, at_ns += ms(i % 20 == 7 ? 90 : 5), 0);
    *mark_ns = at_ns;
    for (size_t i = 0; i < n; i++)
        silence_add(s, at_ns += ms(gaps_ms[i]), 0);
    silence_finish(s, 0, at_ns + ms(1), r);
}

static void notices_each_silence(void **state)
{
    (void)state;
    static const int64_t gaps_ms[] = {5, 24, 40, 5, 5, 200, 5, 26, 5, 26, 5, 31, 5};
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r;
    observe(&s, &mark_ns, gaps_ms, sizeof gaps_ms / sizeof *gaps_ms, &r);
    static const int64_t want_ms[] = {40, 200, 26, 26, 31}; /* as they came: more than four */
    assert_in_range(r.quiet_ns, 4900000, 5100000);
    assert_int_equal(r.noticed_n, 5);
    assert_int_equal(r.noticed_count, 5);
    assert_int_equal(r.noticed_sum_ns, ms(323));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(r.noticed[i].length_ns, ms(want_ms[i]));
    assert_int_equal(r.noticed[0].began_ns, mark_ns + ms(29));
}

/* What the observer has slept itself is none of the guest's. */
static void does_not_notice_its_own_sleep(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r;
    observe(&s, &mark_ns, NULL, 0, &r);
    int64_t at_ns = mark_ns;
    silence_late(&s, ms(40));
    silence_add(&s, at_ns += ms(60), 0); /* 20 ms are left of it */
    silence_late(&s, ms(40));
    silence_add(&s, at_ns += ms(90), 0);
    silence_finish(&s, 0, at_ns + ms(700), &r); /* and the guest is gone */
    assert_int_equal(r.noticed_count, 2);
    assert_int_equal(r.noticed[0].length_ns, ms(90));
    assert_int_equal(r.noticed[0].late_ns, ms(40));
    assert_true(r.noticed[1].open);
    assert_int_equal(r.longest_silence_ns, ms(700));
}

/* More than there is room for: the longest are kept, in their order, and all are counted. */
static void keeps_the_longest_of_many(void **state)
{
    (void)state;
    enum { MANY = OBSERVER_NOTICED + 50 };
    int64_t gaps_ms[MANY], sum_ms = 0;
    for (size_t i = 0; i < MANY; i++)
        sum_ms += gaps_ms[i] = (i % 3 == 0 ? 30 : 100) + (int64_t)i;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r;
    observe(&s, &mark_ns, gaps_ms, MANY, &r);
    assert_int_equal(r.noticed_n, OBSERVER_NOTICED);
    assert_int_equal(r.noticed_count, MANY);
    assert_int_equal(r.noticed_sum_ns, ms(sum_ms));
    for (size_t i = 1; i < r.noticed_n; i++)
        assert_true(r.noticed[i].began_ns > r.noticed[i - 1].began_ns);
    size_t long_ones = 0;
    for (size_t i = 0; i < r.noticed_n; i++)
        long_ones += r.noticed[i].length_ns >= ms(100);
    assert_true(long_ones >= MANY * 2 / 3);
}

/* Nothing is known of the time before: nothing can stand out of it. */
static void notices_nothing_without_a_level(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = 0;
    struct silence s;
    struct observer_result r = {0};
    silence_init(&s, &mark_ns);
    silence_add(&s, ms(500), 0);
    silence_add(&s, ms(900), 0);
    silence_finish(&s, 0, ms(901), &r);
    assert_int_equal(r.quiet_ns, -1);
    assert_int_equal(r.noticed_count, 0);
    assert_int_equal(r.longest_silence_ns, ms(500));
}

static void knows_where_a_silence_was(void **state)
{
    (void)state;
    const struct observer_pause pause = {ms(100), ms(130)}, stop = {ms(100), -1}, none = {-1, -1};
    static const struct {
        int64_t began_ms, length_ms;
        int from, to;
        bool open;
        enum observer_place by_pause, by_stop;
    } rows[] = {
        {40, 50, 0, 0, false, OBSERVER_BEFORE, OBSERVER_BEFORE},
        {95, 60, 0, 0, false, OBSERVER_SWITCHOVER, OBSERVER_SWITCHOVER},
        {120, 60, 0, 0, false, OBSERVER_SWITCHOVER, OBSERVER_AFTER},
        {131, 60, 0, 0, false, OBSERVER_AFTER, OBSERVER_AFTER},
        {90, 5, 0, -1, true, OBSERVER_SWITCHOVER, OBSERVER_SWITCHOVER},
        {300, 60, 0, 1, false, OBSERVER_SWITCHOVER, OBSERVER_SWITCHOVER}, /* events came early */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct observer_silence s = {.began_ns = ms(rows[i].began_ms),
                                           .length_ns = ms(rows[i].length_ms),
                                           .open = rows[i].open,
                                           .from = rows[i].from,
                                           .to = rows[i].to};
        assert_int_equal(observer_place(&s, &pause), rows[i].by_pause);
        assert_int_equal(observer_place(&s, &stop), rows[i].by_stop);
        if (rows[i].from == rows[i].to)
            assert_int_equal(observer_place(&s, &none), OBSERVER_PLACE_UNKNOWN);
    }
    assert_string_equal(observer_place_name(OBSERVER_AFTER), "after");
    assert_null(observer_place_name(OBSERVER_PLACE_UNKNOWN));
}

/* One by serial, which tells the sides apart, and one by ping, whose longest was another. */
static void finds_the_switchover(void **state)
{
    (void)state;
    struct observer_result r[] = {
        {.kind = OBSERVER_SERIAL, .count = 9, .crossing = {ms(97), ms(40), false, 0, 1, 0}},
        {.kind = OBSERVER_PING,
         .count = 9,
         .crossing.length_ns = -1,
         .silences = {{ms(400), ms(300), false, 2, 2, 0}, {ms(95), ms(55), false, 2, 2, 0}},
         .silences_n = 2},
    };
    bool open;
    struct observer_pause pause = {-1, -1};
    observer_find_pause(r, 2, &pause);
    assert_int_equal(pause.stopped_ns, ms(97));
    assert_int_equal(pause.resumed_ns, ms(137));
    assert_int_equal(observer_switchover_ns(r, 2, &pause, &open), ms(55));
    assert_false(open);
    r[1].silences[1].open = true;
    assert_int_equal(observer_switchover_ns(r, 2, &pause, &open), ms(55));
    assert_true(open);
    pause = (struct observer_pause){-1, -1};
    assert_int_equal(observer_switchover_ns(r + 1, 1, &pause, &open), -1);
    pause = (struct observer_pause){ms(90), ms(120)}; /* what is known stays */
    observer_find_pause(r, 2, &pause);
    assert_int_equal(pause.stopped_ns, ms(90));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributes_intervals),
        cmocka_unit_test(ranks_the_silence_still_open),
        cmocka_unit_test(keeps_the_longest_silences),
        cmocka_unit_test(notices_each_silence),
        cmocka_unit_test(does_not_notice_its_own_sleep),
        cmocka_unit_test(keeps_the_longest_of_many),
        cmocka_unit_test(notices_nothing_without_a_level),
        cmocka_unit_test(knows_where_a_silence_was),
        cmocka_unit_test(finds_the_switchover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
