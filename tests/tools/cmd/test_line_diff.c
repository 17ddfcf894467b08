/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "tools/cmd/line_diff.h"

static char *diff(const char *before, const char *after)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    assert_non_null(to);
    line_diff("it", before, after, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

static const struct {
    const char *before, *after, *diff;
} cases[] = {
    {"", "", ""},
    {"a\nb\n", "a\nb\n", ""},
    {"", "a\n", "--- it\n+++ it\n@@ -0,0 +1 @@\n+a\n"},
    {"a\nb\n", "", "--- it\n+++ it\n@@ -1,2 +0,0 @@\n-a\n-b\n"},
    {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
     "--- it\n+++ it\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
    {"a\nx\nb\nc\n", "a\nb\ny\nc\n", "--- it\n+++ it\n@@ -1,4 +1,4 @@\n a\n-x\n b\n+y\n c\n"},
    /* six lines between two changes: one hunk; seven: two */
    {"a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
     "--- it\n+++ it\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n"},
    {"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n+\n",
     "--- it\n+++ it\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,5 @@\n 5\n 6\n 7\n-b\n+B\n++\n"},
    {"same\nlast", "same\nother", "--- it\n+++ it\n@@ -1,2 +1,2 @@\n same\n-last\n+other\n"},
};

static void test_only_changed_lines_are_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP_FREE char *is = diff(cases[i].before, cases[i].after);
        assert_string_equal(is, cases[i].diff);
    }
}

/* Too many lines for the table: right all the same. */
static void test_a_large_difference_is_right(void **state)
{
    (void)state;
    enum { LINES = 5000 };
    CLEANUP_FREE char *a = calloc(LINES + 1, 2), *b = calloc(LINES + 1, 2);
    assert_non_null(a);
    assert_non_null(b);
    for (int i = 0; i < LINES; i++) {
        memcpy(a + (ptrdiff_t)2 * i, "a\n", 2);
        memcpy(b + (ptrdiff_t)2 * i, "b\n", 2);
    }
    CLEANUP_FREE char *is = diff(a, b);
    assert_int_equal(strlen(is), strlen("--- it\n+++ it\n@@ -1,5000 +1,5000 @@\n") + 2 * 3 * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_changed_lines_are_shown),
        cmocka_unit_test(test_a_large_difference_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
