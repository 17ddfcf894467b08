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

static void test_what_is_set_is_there(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_IO, ENOENT, "%s: cannot read at %d", "a.img", 7), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_int_equal(e.sys, ENOENT);
    assert_string_equal(e.msg, "a.img: cannot read at 7: No such file or directory");
    assert_null(e.hint);
    err_clear(&e);
    assert_true(e.class == ERR_NONE && e.msg[0] == '\0' && e.sys == 0);
}

static void test_wrapping_keeps_the_reason_and_hint(void **state)
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
    assert_null(e.hint);
}

/* A path loses its middle; the reason stays, and so does all of the hint. */
static void test_a_long_path_loses_its_middle(void **state)
{
    (void)state;
    char path[4096];
    memset(path, 'p', sizeof path - 1);
    memcpy(path, "/srv/", 5);
    memcpy(path + sizeof path - 7, "/x.img", 7);
    struct err e = {0};
    err_set(&e, ERR_IO, EIO, "%s: cannot read", path);
    assert_true(strlen(e.msg) < sizeof e.msg && strlen(e.msg) > sizeof e.msg - 8);
    assert_int_equal(strncmp(e.msg, "/srv/ppp", 8), 0);
    assert_non_null(strstr(e.msg, "/x.img: cannot read: Input/output error"));
    for (int i = 0; i < 3; i++) {
        err_wrap(&e, "%s", path);
        assert_true(strlen(e.msg) < sizeof e.msg);
        assert_non_null(strstr(e.msg, "/x.img: cannot read: Input/output error"));
    }
    err_hint(&e, "virsh -c %s destroy %s", path, path);
    assert_int_equal(strlen(e.hint), strlen("virsh -c  destroy ") + 2 * strlen(path));
}

static void test_each_class_has_a_name_and_is_printed(void **state)
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
    err_hint(&e, "do this");
    err_set(&e, ERR_LOST, 0, "two");
    assert_string_equal(e.msg, "one");
    assert_string_equal(e.hint, "do this");
    assert_int_equal(e.class, ERR_IO);
}

static void wrap_unset(void)
{
    struct err e = {0};
    err_wrap(&e, "nothing");
    assert_int_not_equal(e.class, ERR_NONE);
}

static void hint_unset(void)
{
    struct err e = {0};
    err_hint(&e, "nothing");
    assert_int_equal(e.class, ERR_NONE);
}

#ifdef ERR_STRICT
static void misused(void (*fn)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        fn();
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#else
static void misused(void (*fn)(void))
{
    fn();
}
#endif

/* A bug of ours ends a test with a sanitizer, and never a migration. */
static void test_misuse_ends_no_migration(void **state)
{
    (void)state;
    misused(set_twice);
    misused(wrap_unset);
    misused(hint_unset);
}

static void test_what_stopping_may_have_caused_is_stopped(void **state)
{
    (void)state;
    static const struct {
        enum err_class class;
        int sys;
        bool stopped;
    } cases[] = {
        {ERR_TIMEOUT, 0, true},    {ERR_LOST, 0, true},           {ERR_LOST, ECONNRESET, true},
        {ERR_IO, EINTR, true},     {ERR_REFUSED, EINTR, true},    {ERR_NFS, ECANCELED, true},
        {ERR_IO, ENOSPC, false},   {ERR_NFS, ESTALE, false},      {ERR_REFUSED, 0, false},
        {ERR_UNCERTAIN, 0, false}, {ERR_UNCERTAIN, EINTR, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        err_set(&e, cases[i].class, cases[i].sys, "disk.img");
        err_hint(&e, "look");
        assert_int_equal(err_stopped(&e), -1);
        assert_int_equal(e.class, cases[i].stopped ? ERR_CANCELLED : cases[i].class);
        assert_true((strncmp(e.msg, "stopped: disk.img", 17) == 0) == cases[i].stopped);
        assert_string_equal(e.hint, "look");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_set_is_there),
        cmocka_unit_test(test_wrapping_keeps_the_reason_and_hint),
        cmocka_unit_test(test_a_long_path_loses_its_middle),
        cmocka_unit_test(test_each_class_has_a_name_and_is_printed),
        cmocka_unit_test(test_what_stopping_may_have_caused_is_stopped),
        cmocka_unit_test(test_misuse_ends_no_migration),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
