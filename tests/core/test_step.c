/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/step.h"

/* What was run and undone, in order: "abC" is run a, run b, undo c. */
struct trail {
    char text[32];
    char fails; /* this one */
};

static void note(struct trail *t, char c)
{
    size_t len = strlen(t->text);
    t->text[len] = c;
    t->text[len + 1] = '\0';
}

static int run(struct trail *t, char c, struct err *e)
{
    note(t, c);
    return t->fails == c ? err_set(e, ERR_IO, 0, "step %c", c) : 0;
}

#define STEP(lower, upper)                           \
    static int run_##lower(void *ctx, struct err *e) \
    {                                                \
        return run(ctx, #lower[0], e);               \
    }                                                \
    static void undo_##lower(void *ctx)              \
    {                                                \
        note(ctx, #upper[0]);                        \
    }
STEP(a, A)
STEP(b, B)
STEP(c, C)
STEP(d, D)
STEP(f, F)

static const struct step steps[] = {
    {"first", run_a, undo_a, 0},      {"second", run_b, undo_b, 0},
    {"without undo", run_c, NULL, 0}, {"the one", run_d, undo_d, STEP_POINT_OF_NO_RETURN},
    {"last", run_f, undo_f, 0},
};

static void play(char fails, const char *trail, bool returnable)
{
    (void)undo_c;
    struct trail t = {.fails = fails};
    struct err e = {0};
    bool got;
    int rc = step_run(steps, sizeof steps / sizeof *steps, &t, &got, &e);
    assert_int_equal(rc, fails == '-' ? 0 : -1);
    assert_int_equal(e.class, fails == '-' ? ERR_NONE : ERR_IO);
    assert_string_equal(t.text, trail);
    assert_int_equal(got, returnable);
}

static void test_each_step_that_fails_is_undone(void **state)
{
    (void)state;
    play('a', "a", true);
    play('b', "abA", true);
    play('c', "abcBA", true);
    play('d', "abcdBA", true); /* the failed one has cleaned up after itself */
    play('f', "abcdf", false); /* past the point of no return */
    play('-', "abcdf", false);
}

static void test_no_steps_succeed(void **state)
{
    (void)state;
    struct err e = {0};
    bool returnable = false;
    assert_int_equal(step_run(steps, 0, NULL, &returnable, &e), 0);
    assert_true(returnable);
}

static char logged[4096];

static void sink(enum log_level level, const char *line)
{
    (void)level;
    strncat(logged, line, sizeof logged - strlen(logged) - 1);
    strncat(logged, "\n", sizeof logged - strlen(logged) - 1);
}

static void test_log_names_the_step(void **state)
{
    (void)state;
    log_set_sink(sink);
    play('c', "abcBA", true);
    log_set_sink(NULL);
    log_info("to nobody");
    assert_non_null(strstr(logged, "step without undo: step c\n"));
    assert_non_null(strstr(logged, "undo: second\nundo: first\n"));
    assert_null(strstr(logged, "nobody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step_that_fails_is_undone),
        cmocka_unit_test(test_no_steps_succeed),
        cmocka_unit_test(test_log_names_the_step),
    };
    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
