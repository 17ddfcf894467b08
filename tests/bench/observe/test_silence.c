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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributes_intervals),
        cmocka_unit_test(ranks_the_silence_still_open),
        cmocka_unit_test(keeps_the_longest_silences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
