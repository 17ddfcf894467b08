/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tools/cmd/bench_tune.h"
#include "tools/cmd/profile.h"

static const char text[] = "where = lab\nguest = linux\nroute = native, direct\n"
                           "setting default =\n"
                           "setting fast = multifd=4 compression=zstd unobserved auto-converge=on\n"
                           "setting safe = max-downtime=50ms allow=throttle max-slowdown=20%\n"
                           "setting post = postcopy\n";

static void make(struct tune *t)
{
    struct err e = {0};
    *t = (struct tune){.candidates = 8};
    assert_int_equal(scenario_parse(text, "s.scenario", &t->measure.scenario, &e), 0);
    assert_int_equal(scenario_cells(&t->measure.scenario), 8);
    t->race = race_new(8, 20, 40, &e);
    assert_non_null(t->race);
}

/* The lines that say something, in one. */
static void lines(const char *profile, char *to, size_t room)
{
    size_t n = 0;
    to[0] = '\0';
    for (const char *line = profile; *line != '\0'; line += strcspn(line, "\n") + 1)
        if (*line != '#')
            n += (size_t)snprintf(to + n, room - n, "%.*s;", (int)strcspn(line, "\n"), line);
}

/* What godwit migrate makes of it is what the bench has measured. */
static void test_the_best_becomes_a_profile(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "version = 1;route = native;",
        "version = 1;route = direct;",
        "version = 1;route = native;multifd = 4;compression = zstd;set auto-converge = on;",
        "version = 1;route = direct;multifd = 4;compression = zstd;set auto-converge = on;",
        "version = 1;route = native;max-downtime = 50ms;allow = throttle;max-slowdown = 20%;",
        "version = 1;route = direct;max-downtime = 50ms;allow = throttle;max-slowdown = 20%;",
        "version = 1;route = native;postcopy = on;",
        "version = 1;route = direct;postcopy = on;",
    };
    static struct tune t;
    make(&t);
    for (size_t i = 0; i < t.candidates; i++) {
        char said[512];
        struct err e = {0};
        struct migrate_request r;
        char *profile = tune_profile_text(&t, i);
        assert_non_null(profile);
        lines(profile, said, sizeof said);
        assert_string_equal(said, wanted[i]);
        migrate_request_init(&r);
        assert_int_equal(profile_apply(profile, "p", &r.opt, &e), 0);
        free(profile);
    }
    race_free(t.race);
}

static void test_what_failed_or_was_not_seen_is_worst(void **state)
{
    (void)state;
    static struct tune t;
    struct trial trial = {
        .end = TRIAL_DONE,
        .total_ns = 900 * NS_PER_MS,
        .observers = {{.kind = OBSERVER_SERIAL, .silence_ns = 20 * NS_PER_MS}},
        .observers_n = 1,
    };
    assert_true(fabs(tune_value(&t, &trial) - 20) < 1e-9);
    t.goal = TUNE_TOTAL;
    assert_true(fabs(tune_value(&t, &trial) - 900) < 1e-9);
    trial.end = TRIAL_NOT_CONVERGED;
    assert_true(isinf(tune_value(&t, &trial)));
    t.goal = TUNE_SILENCE;
    trial.end = TRIAL_DONE;
    trial.observers[0].silence_ns = TRIAL_NEVER;
    assert_true(isinf(tune_value(&t, &trial)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_becomes_a_profile),
        cmocka_unit_test(test_what_failed_or_was_not_seen_is_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
