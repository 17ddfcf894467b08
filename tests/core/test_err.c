/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/err.h"

static void test_set(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_IO, ENOENT, "%s: cannot read at %d", "a.img", 7), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_int_equal(e.sys, ENOENT);
    assert_string_equal(e.msg, "a.img: cannot read at 7: No such file or directory");
    assert_string_equal(e.hint, "");
    err_clear(&e);
    assert_true(e.class == ERR_NONE && e.msg[0] == '\0' && e.sys == 0);
}

static void test_wrap_and_hint(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, ERR_LOST, 0, "closed");
    assert_int_equal(err_wrap(&e, "side %d", 2), -1);
    assert_int_equal(err_wrap(&e, "migration"), -1);
    assert_string_equal(e.msg, "migration: side 2: closed");
    assert_int_equal(err_hint(&e, "try %s", "this"), -1);
    assert_int_equal(err_hint(&e, "try that"), -1);
    assert_string_equal(e.hint, "try that");
    assert_int_equal(e.class, ERR_LOST);
    err_clear(&e);
    err_set(&e, ERR_USAGE, 0, "no hint any more");
    assert_string_equal(e.hint, "");
}

static void test_cut(void **state)
{
    (void)state;
    char big[1000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    struct err e = {0};
    err_set(&e, ERR_IO, EIO, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    err_hint(&e, "%s", big);
    assert_int_equal(strlen(e.hint), sizeof e.hint - 1);
    err_wrap(&e, "front");
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_int_equal(strncmp(e.msg, "front: xxx", 10), 0);
    err_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    /* the errno does not fit whole any more, and is cut, too */
    for (int len = 240; len < 256; len++) {
        err_clear(&e);
        err_set(&e, ERR_IO, ENOENT, "%.*s", len, big);
        assert_true(strlen(e.msg) < sizeof e.msg);
    }
}

static void test_names_and_print(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    struct err e = {0};
    for (enum err_class c = ERR_NONE; c <= ERR_UNCERTAIN; c++)
        assert_true(err_class_name(c)[0] != '\0');
    assert_string_equal(err_class_name(ERR_REFUSED), "refused");
    FILE *to = open_memstream(&text, &size);
    err_set(&e, ERR_REFUSED, 0, "no");
    err_print(&e, "godwit", to);
    err_hint(&e, "yes");
    err_print(&e, "godwit", to);
    fclose(to);
    assert_string_equal(text, "godwit: error: no\ngodwit: error: no\ngodwit: hint: yes\n");
    free(text);
}

static void set_twice(void)
{
    struct err e = {0};
    err_set(&e, ERR_IO, 0, "one");
    err_set(&e, ERR_IO, 0, "two");
}

static void wrap_unset(void)
{
    struct err e = {0};
    err_wrap(&e, "nothing");
}

static void hint_unset(void)
{
    struct err e = {0};
    err_hint(&e, "nothing");
}

static bool aborts(void (*fn)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        fn();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(aborts(set_twice));
    assert_true(aborts(wrap_unset));
    assert_true(aborts(hint_unset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),    cmocka_unit_test(test_wrap_and_hint),
        cmocka_unit_test(test_cut),    cmocka_unit_test(test_names_and_print),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
