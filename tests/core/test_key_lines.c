/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/key_lines.h"

static int add(void *arg, char *key, char *value, struct err *e)
{
    char *all = arg;
    if (strcmp(key, "bad") == 0)
        return err_set(e, ERR_USAGE, 0, "no");
    strcat(strcat(strcat(strcat(all, key), ":"), value), ";");
    return 0;
}

static void test_keys_and_values_come_without_space(void **state)
{
    (void)state;
    char all[256] = "";
    struct err e = {0};
    assert_int_equal(
        key_lines_parse("# a = b\n\n  a =  b c \r\n\tset x=y = z\n#\nlast=", "f", add, all, &e), 0);
    assert_string_equal(all, "a:b c;set x:y = z;last:;");
}

static void test_a_fault_has_its_line(void **state)
{
    (void)state;
    char all[256] = "";
    struct err e = {0}, other = {0};
    assert_int_equal(key_lines_parse("a = 1\n\n# c\nword\n", "f", add, all, &e), -1);
    assert_int_equal(e.class, ERR_USAGE);
    assert_string_equal(e.msg, "f:4: 'word' is not KEY = VALUE");
    assert_int_equal(key_lines_parse("a = 1\nbad = 2\nb = 3", "g", add, all, &other), -1);
    assert_string_equal(other.msg, "g:2: no");
}

static void test_only_a_small_text_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/key-lines-XXXXXX";
    int fd = mkstemp(path);
    struct err e[4] = {0};
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a = 1\n", 6), 6);
    char *text = key_lines_read(path, &e[0]);
    assert_string_equal(text, "a = 1\n");
    free(text);
    assert_int_equal(write(fd, "\0", 1), 1);
    assert_null(key_lines_read(path, &e[0]));
    assert_non_null(strstr(e[0].msg, "is not a text"));
    assert_int_equal(ftruncate(fd, 64 << 10), 0);
    assert_null(key_lines_read(path, &e[1]));
    assert_non_null(strstr(e[1].msg, "64 KiB"));
    close(fd);
    unlink(path);
    assert_null(key_lines_read(path, &e[2]));
    assert_null(key_lines_read("/", &e[3]));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(e[i].class, ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_values_come_without_space),
        cmocka_unit_test(test_a_fault_has_its_line),
        cmocka_unit_test(test_only_a_small_text_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
