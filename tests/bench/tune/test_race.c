/* SPDX-License-Identifier: Apache-2.0 */
/* Races between candidates of which the truth is known, with a luck that a seed determines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/tune/race.h"

enum { MANY = 24, ROUNDS = 20 };

static uint64_t luck;

static double any(void)
{
    luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(luck >> 11) / (double)(UINT64_C(1) << 53);
}

static double normal(void)
{
    return sqrt(-2 * log(fmax(any(), 1e-9))) * cos(2 * M_PI * any());
}

struct field {
    double truth[MANY];
    double noise, disturbance; /* of a trial, and of a whole round: of their logarithms */
    double outliers;           /* a part of the trials, that take twice as long */
    size_t n;
};

static double trial(const struct field *f, size_t i, double round)
{
    double value = f->truth[i] * exp(f->noise * normal()) * round;
    return f->outliers > any() ? 2 * value : value;
}

static struct race *run(const struct field *f, size_t trials_max)
{
    struct err e = {0};
    struct race *r = race_new(f->n, ROUNDS, trials_max, &e);
    assert_non_null(r);
    while (!race_is_over(r)) {
        double round = exp(f->disturbance * normal());
        bool wants[MANY];
        for (size_t i = 0; i < f->n; i++)
            wants[i] = race_wants(r, i);
        for (size_t i = 0; i < f->n; i++)
            if (wants[i])
                race_note(r, i, trial(f, i, round));
    }
    return r;
}

static size_t best_of(const struct field *f)
{
    size_t best = 0;
    for (size_t i = 1; i < f->n; i++)
        best = f->truth[i] < f->truth[best] ? i : best;
    return best;
}

/* Settings that differ by up to a factor of three, on a machine that others load. */
static struct field settings(uint64_t seed)
{
    struct field f = {.noise = 0.1, .disturbance = 0.3, .outliers = 0.05, .n = MANY};
    luck = seed * 7919 + 1;
    for (int i = 0; i < 4; i++)
        (void)any();
    for (size_t i = 0; i < f.n; i++)
        f.truth[i] = 100 * exp(1.1 * any());
    return f;
}

static void test_a_quarter_of_the_trials_finds_what_a_full_grid_does(void **state)
{
    (void)state;
    unsigned good = 0, kept = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct field f = settings(seed);
        struct race *r = run(&f, MANY * ROUNDS / 4);
        size_t best = best_of(&f);
        assert_true(race_trials(r) <= MANY * ROUNDS / 4);
        good += f.truth[race_best(r)] <= 1.05 * f.truth[best];
        kept += race_dropped_in(r, best) == 0;
        race_free(r);
    }
    print_message("within 5 %%: %u of 400, the best was still in: %u\n", good, kept);
    assert_true(good >= 360);
}

static void test_without_noise_the_best_is_never_dropped(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct field f = settings(seed);
        f.noise = f.outliers = 0;
        struct race *r = run(&f, MANY * ROUNDS / 4);
        assert_int_equal(race_best(r), best_of(&f));
        assert_int_equal(race_dropped_in(r, best_of(&f)), 0);
        assert_int_equal(race_trials(r), MANY * RACE_ROUNDS_MIN); /* that was enough */
        race_free(r);
    }
}

static void test_equals_are_not_dropped_without_noise(void **state)
{
    (void)state;
    struct field f = {.n = 5};
    for (size_t i = 0; i < f.n; i++)
        f.truth[i] = 7;
    struct race *r = run(&f, 1000);
    for (size_t i = 0; i < f.n; i++)
        assert_int_equal(race_dropped_in(r, i), 0);
    assert_int_equal(race_rounds(r), ROUNDS);
    race_free(r);
    f.truth[3] = 6; /* the others are no better for being many */
    r = run(&f, 1000);
    assert_int_equal(race_best(r), 3);
    assert_int_equal(race_rounds(r), RACE_ROUNDS_MIN);
    race_free(r);
}

/* Chance alone drops some, and seldom all but one: the level is that of one look. */
static void test_of_equals_with_noise_few_are_dropped_at_a_look(void **state)
{
    (void)state;
    unsigned dropped = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct field f = settings(seed);
        for (size_t i = 0; i < f.n; i++)
            f.truth[i] = 7;
        struct race *r = run(&f, MANY * RACE_ROUNDS_MIN);
        for (size_t i = 0; i < f.n; i++)
            if (race_dropped_in(r, i) > 0) {
                dropped++;
                break;
            }
        race_free(r);
    }
    assert_true(dropped <= 300 / 10);
}

static void test_the_last_two_are_judged_by_the_rounds_they_won(void **state)
{
    (void)state;
    struct err e = {0};
    struct race *r = race_new(2, 20, 1000, &e);
    for (unsigned k = 0; k < 4; k++) {
        race_note(r, 0, 1);
        race_note(r, 1, 2);
        assert_false(race_is_over(r)); /* four in a row are one chance in sixteen */
    }
    race_note(r, 1, 2);
    race_note(r, 0, 1);
    assert_true(race_is_over(r));
    assert_int_equal(race_dropped_in(r, 1), 5);
    assert_int_equal(race_left(r), 1);
    assert_int_equal(race_best(r), 0);
    assert_int_equal(race_trials(r), 10);
    race_note(r, 0, 9); /* it wants no more */
    assert_int_equal(race_trials(r), 10);
    race_free(r);
}

static void test_what_fails_loses(void **state)
{
    (void)state;
    struct err e = {0};
    struct race *r = race_new(3, 20, 1000, &e);
    for (unsigned k = 0; k < RACE_ROUNDS_MIN; k++) {
        race_note(r, 0, INFINITY);
        race_note(r, 1, k % 2 == 0 ? 5 : 6);
        race_note(r, 1, 1); /* once a round */
        race_note(r, 2, INFINITY);
    }
    assert_int_equal(race_best(r), 1);
    assert_true(race_is_over(r));
    race_free(r);
}

static void test_no_more_trials_than_are_allowed(void **state)
{
    (void)state;
    struct field f = settings(3);
    f.noise = 2;
    struct race *r = run(&f, 100);
    assert_true(race_trials(r) <= 100);
    assert_int_equal(race_rounds(r) >= 4, 1); /* 96 and no fifth */
    race_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quarter_of_the_trials_finds_what_a_full_grid_does),
        cmocka_unit_test(test_without_noise_the_best_is_never_dropped),
        cmocka_unit_test(test_equals_are_not_dropped_without_noise),
        cmocka_unit_test(test_of_equals_with_noise_few_are_dropped_at_a_look),
        cmocka_unit_test(test_the_last_two_are_judged_by_the_rounds_they_won),
        cmocka_unit_test(test_what_fails_loses),
        cmocka_unit_test(test_no_more_trials_than_are_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
