/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/child.h"
#include "core/clock.h"

static volatile sig_atomic_t never, cancelled;

static int shell(const char *script, struct child_cost *cost, struct err *e)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return child_run(argv, &never, cost, e);
}

static void a_program_that_succeeds(void **state)
{
    (void)state;
    struct child_cost cost = {0};
    struct err e = {0};
    assert_int_equal(shell("exit 0", &cost, &e), 0);
    assert_int_equal(e.class, ERR_NONE);
    assert_true(cost.peak_bytes > 0);
}

static void a_failure_has_the_last_line(void **state)
{
    (void)state;
    struct child_cost cost = {0};
    struct err e = {0};
    assert_int_equal(shell("echo first; echo >&2 'disk is full'; exit 3", &cost, &e), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_string_equal(e.msg, "sh: exit code 3: disk is full");
    err_clear(&e);
    assert_int_equal(shell("printf '10%%\\r20%%\\r30%%\\n\\n'; exit 1", &cost, &e), -1);
    assert_string_equal(e.msg, "sh: exit code 1: 30%");
    err_clear(&e);
    assert_int_equal(shell("yes 'one of many lines' | head -n 10000; echo last; exit 1", &cost, &e),
                     -1);
    assert_string_equal(e.msg, "sh: exit code 1: last");
    err_clear(&e);
    assert_int_equal(shell("echo 'x: error: full'; echo 'x: hint: make room'; exit 1", &cost, &e),
                     -1);
    assert_string_equal(e.msg, "sh: exit code 1: x: error: full");
    err_clear(&e);
    assert_int_equal(shell("kill -9 $$", &cost, &e), -1);
    assert_non_null(strstr(e.msg, "ended by signal 9"));
}

static void a_program_that_is_not_there(void **state)
{
    (void)state;
    const char *const argv[] = {"godwit-no-such-program", NULL};
    struct child_cost cost = {0};
    struct err e = {0};
    char line[40] = "before";
    assert_int_equal(child_run(argv, &never, &cost, &e), -1);
    assert_non_null(strstr(e.msg, "No such file"));
    child_first_line(argv, line, sizeof line);
    assert_string_equal(line, "");
}

/* Also that of a child of the child. */
static void cpu_time_is_summed_up(void **state)
{
    (void)state;
    struct child_cost cost = {0};
    struct err e = {0};
    const char *busy = "(i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done)";
    assert_int_equal(shell(busy, &cost, &e), 0);
    int64_t once_ns = cost.cpu_ns;
    assert_true(once_ns > 5 * NS_PER_MS);
    assert_int_equal(shell(busy, &cost, &e), 0);
    assert_true(cost.cpu_ns > once_ns + 5 * NS_PER_MS);
    once_ns = cost.cpu_ns;
    assert_int_equal(shell("sleep 1", &cost, &e), 0);
    assert_true(cost.cpu_ns < once_ns + 900 * NS_PER_MS); /* waiting is no CPU time */
}

/* What we had in memory once, and have given back, is not the peak of a small program. */
static void the_peak_is_the_program_s_own(void **state)
{
    (void)state;
    enum { OURS = 256 << 20 };
    struct child_cost cost = {0};
    struct err e = {0};
    void *map = mmap(NULL, OURS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    memset(map, 1, OURS);
    munmap(map, OURS);
    const char *const argv[] = {"true", NULL};
    assert_int_equal(child_run(argv, &never, &cost, &e), 0);
    assert_in_range(cost.peak_bytes, 1, OURS / 2);

    uint64_t small = cost.peak_bytes;
    assert_int_equal(shell("head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null", &cost, &e),
                     0);
    assert_true(cost.peak_bytes > OURS);
    assert_int_equal(child_run(argv, &never, &cost, &e), 0);
    assert_true(cost.peak_bytes > small); /* the highest stays */
}

static void catch_alarm(int sig)
{
    (void)sig;
    cancelled = 1;
}

static void a_cancel_ends_it(void **state)
{
    (void)state;
    struct child_cost cost = {0};
    struct err e = {0};
    struct sigaction stop = {.sa_handler = catch_alarm};
    sigaction(SIGALRM, &stop, NULL);
    int64_t began_ns = clock_now_ns();
    alarm(1);
    const char *const argv[] = {"sleep", "60", NULL};
    assert_int_equal(child_run(argv, &cancelled, &cost, &e), -1);
    assert_int_equal(e.class, ERR_CANCELLED);
    assert_true(clock_now_ns() - began_ns < 20 * NS_PER_S);
}

/* Only its standard output is taken, and its exit code is no error of ours. */
static void a_program_to_a_descriptor(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        int exit_code;
        const char *said;
    } cases[] = {{"echo out; echo talk >&2", 0, "out\n"},
                 {"sleep 0.05; exit 3", 3, ""},
                 {"kill -9 $$", 137, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct child_end end = {0};
        struct err e = {0};
        char said[16] = "";
        const char *const argv[] = {"sh", "-c", cases[i].script, NULL};
        int out = memfd_create("out", MFD_CLOEXEC);
        assert_true(out >= 0);
        int64_t began_ns = clock_now_ns();
        assert_int_equal(child_run_to(argv, out, STDERR_FILENO, &never, &end, &e), 0);
        assert_int_equal(end.exit_code, cases[i].exit_code);
        assert_true(end.began_ns >= began_ns && end.ended_ns > end.began_ns);
        assert_true(end.ended_ns <= clock_now_ns());
        assert_true(pread(out, said, sizeof said - 1, 0) >= 0);
        assert_string_equal(said, cases[i].said);
        close(out);
    }
}

static void the_first_line(void **state)
{
    (void)state;
    char line[16];
    const char *const version[] = {"sh", "-c", "echo version 1; echo more", NULL};
    child_first_line(version, line, sizeof line);
    assert_string_equal(line, "version 1");
    const char *const failing[] = {"sh", "-c", "echo usage; exit 1", NULL};
    child_first_line(failing, line, sizeof line);
    assert_string_equal(line, "");
    const char *const mute[] = {"sleep", "60", NULL};
    int64_t began_ns = clock_now_ns();
    child_first_line(mute, line, sizeof line);
    assert_string_equal(line, "");
    assert_true(clock_now_ns() - began_ns < 20 * NS_PER_S);
    const char *const longer[] = {"echo", "0123456789abcdefghij", NULL};
    child_first_line(longer, line, sizeof line);
    assert_string_equal(line, "0123456789abcde");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_succeeds),
        cmocka_unit_test(a_failure_has_the_last_line),
        cmocka_unit_test(a_program_that_is_not_there),
        cmocka_unit_test(cpu_time_is_summed_up),
        cmocka_unit_test(the_peak_is_the_program_s_own),
        cmocka_unit_test(a_cancel_ends_it),
        cmocka_unit_test(a_program_to_a_descriptor),
        cmocka_unit_test(the_first_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
