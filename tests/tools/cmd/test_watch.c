/* SPDX-License-Identifier: Apache-2.0 */
/* godwit watch on a QEMU that follows a script: what it makes of it, and its exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/qmp/fake_qmp.h"

static const char *godwit;

struct seen {
    int code;
    char said[8192]; /* on both streams */
    int64_t took_ns;
};

static void watch(struct seen *seen, enum fake_transport transport, const char *arguments,
                  const struct fake_step *steps, size_t n)
{
    char line[1024];
    struct fake_qmp *fake = fake_qmp_start("10.0", transport, steps, n);
    snprintf(line, sizeof line, "exec '%s' watch %s %s 2>&1", godwit, arguments,
             fake_qmp_endpoint(fake));
    int64_t began_ns = clock_now_ns();
    FILE *from = popen(line, "r");
    assert_non_null(from);
    size_t len = fread(seen->said, 1, sizeof seen->said - 1, from);
    seen->said[len] = '\0';
    int status = pclose(from);
    seen->took_ns = clock_now_ns() - began_ns;
    seen->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    fake_qmp_end(fake);
}

#define WATCH(seen, arguments, steps) \
    watch(seen, FAKE_UNIX, arguments, steps, sizeof(steps) / sizeof *(steps))

static void expect(const struct seen *seen, int code, const char *words)
{
    if (seen->code != code)
        fail_msg("exit code %d instead of %d: %s", seen->code, code, seen->said);
    if (strstr(seen->said, words) == NULL)
        fail_msg("no '%s' in: %s", words, seen->said);
}

static void expect_not(const struct seen *seen, const char *words)
{
    if (strstr(seen->said, words) != NULL)
        fail_msg("'%s' in: %s", words, seen->said);
}

#define ASKED(status)                                                                         \
    {                                                                                         \
        .what = FAKE_REPLY, .command = "query-migrate", .text = "{\"status\":\"" status "\"}" \
    }
#define SAYS(status)                                                                      \
    {                                                                                     \
        .what = FAKE_EVENT, .command = "MIGRATION", .text = "{\"status\":\"" status "\"}" \
    }
#define ACCEPT              \
    {                       \
        .what = FAKE_ACCEPT \
    }
#define END                     \
    {                           \
        .what = FAKE_EXPECT_END \
    }

/* Asks once in an hour: what is asked sooner has a reason. */
#define RARELY "--interval 1h --timeout 10s "

static void tells_how_it_ends(void **state)
{
    (void)state;
    static const struct fake_step completes[] = {ACCEPT, ASKED("active"), ASKED("completed"), END};
    static const struct fake_step fails[] = {ACCEPT, ASKED("active"), ASKED("failed"), END};
    struct seen seen;
    WATCH(&seen, "--interval 10ms", completes);
    expect(&seen, 0, "The migration has completed.");
    WATCH(&seen, "--interval 10ms", fails);
    expect(&seen, 1, "the guest is on the source");
}

/* The new one begins while the question is under way whose answer is of the one before. */
static void an_earlier_answer_does_not_end_it(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        {.what = FAKE_HOLD, .command = "query-migrate"},
        SAYS("setup"),
        {.what = FAKE_ANSWER, .n = 0, .text = "{\"status\":\"failed\"}"},
        ASKED("active"), /* at once */
        SAYS("completed"),
        ASKED("completed"),
        END};
    struct seen seen;
    WATCH(&seen, RARELY "--wait --json", steps);
    expect(&seen, 0, "\"result\":\"completed\"");
    expect_not(&seen, "failed");
}

/* As an earlier one: its words are the same, and nothing else was heard of it. */
static void a_second_one_may_fail_in_the_same_way(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, ASKED("failed"), SAYS("setup"),
                                             ASKED("failed"), END};
    struct seen seen;
    WATCH(&seen, RARELY "--wait", steps);
    expect(&seen, 1, "has failed");
}

/* The guest may run on the destination: no side is named. */
static void expect_either_side(const struct seen *seen, const char *words)
{
    expect(seen, 4, words);
    expect(seen, 4, "look at both sides, which of them runs the guest");
    expect_not(seen, "on the source");
}

static void postcopy_that_fails_is_uncertain(void **state)
{
    (void)state;
    static const struct fake_step sampled[] = {ACCEPT, ASKED("postcopy-active"), ASKED("failed"),
                                               END};
    static const struct fake_step paused[] = {ACCEPT, ASKED("postcopy-paused"), ASKED("cancelled"),
                                              END};
    static const struct fake_step by_event[] = {ACCEPT,
                                                ASKED("active"),
                                                SAYS("device"),
                                                SAYS("postcopy-active"),
                                                SAYS("failed"),
                                                ASKED("failed"),
                                                END};
    static const struct fake_step completes[] = {ACCEPT, ASKED("postcopy-active"),
                                                 ASKED("completed"), END};
    struct seen seen;
    WATCH(&seen, "--interval 10ms", sampled);
    expect_either_side(&seen, "has failed after postcopy had begun");
    WATCH(&seen, "--interval 10ms", paused);
    expect_either_side(&seen, "was cancelled after postcopy had begun");
    WATCH(&seen, RARELY, by_event);
    expect_either_side(&seen, "has failed after postcopy had begun");
    WATCH(&seen, "--interval 10ms", completes);
    expect(&seen, 0, "has completed");
}

/* Postcopy of the migration before is not this one's. */
static void an_earlier_postcopy_is_forgotten(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        {.what = FAKE_HOLD, .command = "query-migrate"},
        SAYS("postcopy-active"),
        SAYS("completed"),
        {.what = FAKE_ANSWER, .n = 0, .text = "{\"status\":\"completed\"}"},
        SAYS("setup"),
        ASKED("failed"),
        END};
    struct seen seen;
    WATCH(&seen, RARELY "--wait", steps);
    expect(&seen, 1, "the guest is on the source");
}

/* A try fails; the next does not, and asks at once. */
static void a_lost_connection_is_made_again(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT,
                                             ASKED("active"),
                                             {.what = FAKE_EVENT, .command = "STOP"},
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT_DUMB},
                                             {.what = FAKE_CLOSE},
                                             ACCEPT,
                                             {.what = FAKE_HOLD, .command = "query-migrate"},
                                             {.what = FAKE_CLOSE},
                                             ACCEPT,
                                             ASKED("completed"),
                                             END};
    struct seen seen;
    WATCH(&seen, RARELY, steps);
    expect(&seen, 0, "was lost, and made again");
    assert_true(seen.took_ns > 900 * NS_PER_MS); /* two pauses */
}

static void its_end_is_proven_by_its_socket(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT, ASKED("active"), {.what = FAKE_UNLISTEN}, {.what = FAKE_CLOSE}};
    static const struct fake_step idle[] = {
        ACCEPT, ASKED("none"), {.what = FAKE_UNLISTEN}, {.what = FAKE_CLOSE}};
    struct seen seen;
    WATCH(&seen, RARELY, steps);
    expect(&seen, 4, "has ended, and did not say how its migration went");
    WATCH(&seen, RARELY "--wait", idle);
    expect(&seen, 4, "has ended, and no migration was seen");
}

static void one_that_cannot_be_reached_may_live(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT, ASKED("active"), {.what = FAKE_UNLISTEN}, {.what = FAKE_CLOSE}};
    struct seen seen;
    watch(&seen, FAKE_TCP, "--interval 1h", steps, sizeof steps / sizeof *steps);
    expect(&seen, 4, "cannot be reached any more");
    expect_not(&seen, "has ended");
    assert_true(seen.took_ns > 14 * NS_PER_S);
}

static void no_try_goes_beyond_the_timeout(void **state)
{
    (void)state;
    static const struct fake_step gone[] = {ACCEPT, ASKED("active"), {.what = FAKE_CLOSE}};
    static const struct fake_step silent[] = {
        ACCEPT, ASKED("active"), {.what = FAKE_HOLD, .command = "query-migrate"}, END};
    struct seen seen;
    WATCH(&seen, "--interval 1h --timeout 700ms", gone); /* the kernel accepts, and nobody greets */
    expect(&seen, 3, "--timeout; the connection was lost");
    expect_not(&seen, "The migration goes on");
    assert_true(seen.took_ns < 5 * NS_PER_S);
    WATCH(&seen, "--interval 10ms --timeout 700ms", silent);
    expect(&seen, 3, "--timeout; the migration goes on");
    assert_true(seen.took_ns < 5 * NS_PER_S);
}

/* That godwit cannot go on does not bring the guest to the source. */
static void an_answer_that_cannot_be_read_is_uncertain(void **state)
{
    (void)state;
    static const char bad[] = "{\"status\":\"active\",\"ram\":{\"transferred\":\"x\"}}";
    static const struct fake_step steps[] = {
        ACCEPT,
        ASKED("active"),
        {.what = FAKE_LOOSE, .command = "query-migrate", .text = bad},
        END};
    static const struct fake_step at_first[] = {
        ACCEPT, {.what = FAKE_LOOSE, .command = "query-migrate", .text = bad}, END};
    struct seen seen;
    WATCH(&seen, "--interval 10ms", steps);
    expect(&seen, 4, "the migration may go on");
    WATCH(&seen, "--interval 10ms", at_first);
    expect(&seen, 2, "ram.transferred");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_how_it_ends),
        cmocka_unit_test(an_earlier_answer_does_not_end_it),
        cmocka_unit_test(a_second_one_may_fail_in_the_same_way),
        cmocka_unit_test(postcopy_that_fails_is_uncertain),
        cmocka_unit_test(an_earlier_postcopy_is_forgotten),
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(its_end_is_proven_by_its_socket),
        cmocka_unit_test(one_that_cannot_be_reached_may_live),
        cmocka_unit_test(no_try_goes_beyond_the_timeout),
        cmocka_unit_test(an_answer_that_cannot_be_read_is_uncertain),
    };
    if (argc != 2)
        return 2;
    godwit = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
