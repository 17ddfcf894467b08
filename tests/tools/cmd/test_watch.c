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
#include <unistd.h>

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

/* ---- --dirty ---- */

#define SAYS_BACK(cmd, says)                             \
    {                                                    \
        .what = FAKE_REPLY, .command = cmd, .text = says \
    }
#define STATUS(status) SAYS_BACK("query-status", "{\"running\":true,\"status\":\"" status "\"}")
#define RUNS STATUS("running"), SAYS_BACK("query-migrate", "{}")
#define DIRTY_SCHEMA                                                                                   \
    "[{\"name\":\"calc-dirty-rate\",\"meta-type\":\"command\",\"arg-type\":\"1\",\"ret-type\":\"0\"}," \
    "{\"name\":\"1\",\"meta-type\":\"object\",\"members\":[{\"name\":\"calc-time\",\"type\":\"int\"}," \
    "{\"name\":\"calc-time-unit\",\"type\":\"2\"},{\"name\":\"mode\",\"type\":\"3\"}]},"               \
    "{\"name\":\"int\",\"meta-type\":\"builtin\",\"json-type\":\"int\"},"                              \
    "{\"name\":\"2\",\"meta-type\":\"enum\",\"values\":[\"second\",\"millisecond\"]},"                 \
    "{\"name\":\"3\",\"meta-type\":\"enum\",\"values\":[\"page-sampling\",\"dirty-ring\",\"dirty-bitmap\"]}]"
#define LEARNS                                                                 \
    {.what = FAKE_LOOSE, .command = "query-qmp-schema", .text = DIRTY_SCHEMA}, \
        SAYS_BACK("query-kvm", "{\"enabled\":true,\"present\":true}"),         \
        SAYS_BACK("query-memory-size-summary", "{\"base-memory\":268435456}")
#define COUNTS(status, mode, more)                                                           \
    SAYS_BACK("query-dirty-rate",                                                            \
              "{\"status\":\"" status "\",\"mode\":\"" mode                                  \
              "\",\"calc-time\":50,\"calc-time-unit\":\"millisecond\",\"sample-pages\":512," \
              "\"start-time\":1" more "}")
#define BEGINS COUNTS("unstarted", "page-sampling", ""), SAYS_BACK("calc-dirty-rate", "{}")
/* 200 MiB/s for 50 ms. */
#define ROUND RUNS, BEGINS, COUNTS("measured", "dirty-bitmap", ",\"dirty-rate\":200"), RUNS
#define DIRTY "--dirty --windows 50ms --interval 10ms "

static void dirty_is_told(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, LEARNS, ROUND, ROUND, END};
    struct seen seen;
    WATCH(&seen, DIRTY "--rounds 2", steps);
    expect(&seen, 0, "dirty-bitmap");
    expect(&seen, 0, "IN 0.05 s");
    expect(&seen, 0, "of 2 rounds");
    WATCH(&seen, DIRTY "--rounds 2 --json", steps);
    expect(&seen, 0, "\"event\":\"sample\"");
    expect(&seen, 0, "\"likely\":10511974.000,\"high\":10538189.000");
    expect(&seen, 0, "\"event\":\"end\"");
    expect(&seen, 0, "\"result\":\"rounds\",\"rounds\":2");
}

static void dirty_metrics_are_replaced(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, LEARNS, ROUND, END};
    char path[] = "/tmp/test-watch-XXXXXX", options[200], text[4096];
    struct seen seen;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(options, sizeof options, DIRTY "--rounds 1 --metrics %s", path);
    WATCH(&seen, options, steps);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    text[fread(text, 1, sizeof text - 1, from)] = '\0';
    fclose(from);
    unlink(path);
    assert_non_null(strstr(text, "# TYPE godwit_dirty_bytes gauge\ngodwit_dirty_bytes{target=\""));
    assert_non_null(strstr(text, "\",seconds=\"0.05\"} 105119"));
    assert_non_null(strstr(text, "godwit_dirty_source{"));
}

/* Rates of vCPUs, by the ring that has refused the bitmap. */
static void dirty_by_vcpu(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        LEARNS,
        RUNS,
        COUNTS("unstarted", "page-sampling", ""),
        {.what = FAKE_ERROR,
         .command = "calc-dirty-rate",
         .text = "mode dirty-bitmap is not enabled"},
        RUNS,
        BEGINS,
        COUNTS("measured", "page-sampling", ",\"dirty-rate\":200"),
        RUNS,
        RUNS,
        BEGINS,
        SAYS_BACK(
            "query-dirty-rate",
            "{\"status\":\"measured\",\"mode\":\"dirty-ring\",\"calc-time\":100,\"sample-pages\":0,"
            "\"calc-time-unit\":\"millisecond\",\"start-time\":1,\"dirty-rate\":9,"
            "\"vcpu-dirty-rate\":[{\"id\":0,\"dirty-rate\":9},{\"id\":1,\"dirty-rate\":0}]}"),
        RUNS,
        END};
    struct seen seen;
    WATCH(&seen, DIRTY "--rounds 1", steps);
    expect(&seen, 0, "by vCPU: 0 9.50 MiB/s, 1 0 B/s");
    expect(&seen, 0, "page-sampling");
}

static void dirty_needs_a_guest_that_runs(void **state)
{
    (void)state;
    static const struct fake_step stopped[] = {ACCEPT, LEARNS, STATUS("paused"),
                                               SAYS_BACK("query-migrate", "{}"), END};
    static const struct fake_step migrating[] = {ACCEPT, LEARNS, STATUS("running"), ASKED("active"),
                                                 END};
    static const struct fake_step later[] = {
        ACCEPT,          LEARNS, ROUND, STATUS("running"), ASKED("active"), STATUS("running"),
        ASKED("active"), ROUND,  END};
    struct seen seen;
    WATCH(&seen, DIRTY, stopped);
    expect(&seen, 2, "does not run");
    WATCH(&seen, DIRTY, migrating);
    expect(&seen, 2, "is being migrated");
    WATCH(&seen, DIRTY "--rounds 2", later);
    expect(&seen, 0, "is being migrated: its dirty pages are not measured; it is tried again");
    const char *once = strstr(seen.said, "tried again");
    assert_null(strstr(once + 1, "tried again"));
}

static void dirty_ends_with_its_qemu(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, LEARNS, ROUND, RUNS, {.what = FAKE_CLOSE}};
    struct seen seen;
    WATCH(&seen, DIRTY "--json", steps);
    expect(&seen, 1, "\"result\":\"failed\",\"rounds\":1");
}

/* The shell waits for the first round, and interrupts. */
static void dirty_is_interrupted(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, LEARNS, ROUND, END};
    struct fake_qmp *fake = FAKE_QMP("10.0", steps);
    char line[2048], said[64] = "";
    snprintf(
        line, sizeof line,
        "out=$(mktemp); '%s' watch --dirty --json --windows 50ms --interval 1h %s >$out & pid=$!; "
        "until grep -q sample $out; do sleep 0.05; kill -0 $pid || exit; done; kill -INT $pid; "
        "wait $pid; echo $? $(grep -c interrupted $out); rm $out",
        godwit, fake_qmp_endpoint(fake));
    FILE *from = popen(line, "r");
    assert_non_null(from);
    assert_non_null(fgets(said, sizeof said, from));
    pclose(from);
    fake_qmp_end(fake);
    assert_string_equal(said, "0 1\n");
}

static void dirty_usage(void **state)
{
    (void)state;
    static const char *const bad[] = {"--dirty --wait",
                                      "--windows 1s",
                                      "--rounds 3",
                                      "--source dirty-ring",
                                      "--dirty --windows 49ms",
                                      "--dirty --windows 61s",
                                      "--dirty --windows 1s,1000ms",
                                      "--dirty --windows 1s,,2s",
                                      "--dirty --windows 1",
                                      "--dirty --windows 1s,2s,3s,4s,5s,6s,7s,8s,9s",
                                      "--dirty --windows ''",
                                      "--dirty --rounds 0",
                                      "--dirty --source dirty-stars",
                                      "--dirty --interval 1ms",
                                      "--dirty --timeout 0s",
                                      "--dirty --metrics ''"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[512], said[512] = "";
        snprintf(line, sizeof line, "'%s' watch %s qmp+unix:/nonexistent 2>&1", godwit, bad[i]);
        FILE *from = popen(line, "r");
        assert_non_null(from);
        said[fread(said, 1, sizeof said - 1, from)] = '\0';
        int status = pclose(from);
        /* it is said before anybody is connected to */
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 2 || strstr(said, "No such file") != NULL)
            fail_msg("%s: %d, %s", bad[i], status, said);
    }
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
        cmocka_unit_test(dirty_is_told),
        cmocka_unit_test(dirty_metrics_are_replaced),
        cmocka_unit_test(dirty_by_vcpu),
        cmocka_unit_test(dirty_needs_a_guest_that_runs),
        cmocka_unit_test(dirty_ends_with_its_qemu),
        cmocka_unit_test(dirty_is_interrupted),
        cmocka_unit_test(dirty_usage),
    };
    if (argc != 2)
        return 2;
    godwit = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
