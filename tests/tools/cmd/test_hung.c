/* SPDX-License-Identifier: Apache-2.0 */
/* A process that hangs is ended by a signal that its thread does not take; and where it may not be, it is not. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/looking.h"
#include "tools/cmd/command.h"
#include "tools/cmd/hung.h"
#include "tools/cmd/relocate_call.h"

static _Atomic int asked;

/* At first it is not to be ended; later it is. */
static const char *state_of(const void *arg, int *grace_s)
{
    const char *const *state = arg;
    *grace_s = 0;
    return ++asked > 5 ? *state : NULL;
}

/* A thread in a call that no signal ends: until the other end of `fd` is closed. */
static void hang(int fd, const char *state)
{
    struct hung h;
    sigset_t all;
    char byte;
    relocate_catch_signals(0);
    hung_begin(&h, state_of, &state);
    looking_at("/mnt/far/a.img");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    kill(getpid(), SIGINT);
    if (state == NULL)
        while (asked < 10)
            usleep(1000);
    else if (read(fd, &byte, 1) != 0)
        _exit(100);
    hung_end(&h);
    _exit(relocate_interrupted ? 101 : 102);
}

static int run(const char *state, char said[static 512])
{
    int out[2], in[2], status;
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(in), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(in[1]);
        dup2(out[1], STDERR_FILENO);
        alarm(60);
        hang(in[0], state);
    }
    close(out[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(out[0], said + len, 511 - len)) > 0;)
        len += (size_t)n;
    said[len] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(in[0]);
    close(in[1]);
    close(out[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_what_hangs_ends_with_what_is_left(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(run("copies are left", said), EXIT_CANCELLED);
    assert_non_null(strstr(said,
                           "interrupted while /mnt/far/a.img does not answer; copies are left"));
}

static void test_what_may_not_be_ended_goes_on(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(run(NULL, said), 101);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_hangs_ends_with_what_is_left),
        cmocka_unit_test(test_what_may_not_be_ended_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
