/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/pool/image_chain.h"
#include "tests/core/relocate/overlay_file.h"

static char dir[64], seen[4096];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/godwit-test-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* Ends at what is in /pool. */
static bool step(void *arg, const char *path, bool data)
{
    (void)data;
    (void)arg;
    strcat(strcat(seen, path), " ");
    return strncmp(path, "/pool/", 6) != 0;
}

static int walk(const char *name, struct err *e)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *seen = '\0';
    return image_chain_walk(path, step, NULL, e);
}

static void expect_pool(const char *backing)
{
    struct err e = {0};
    overlay_file_write(dir, "top", backing);
    assert_int_equal(walk("top", &e), 0);
    if (strstr(seen, "/pool/base") == NULL)
        fail_msg("backing name %s: only '%s'", backing, seen);
}

static void test_each_spelling_of_a_backing_file_is_found(void **state)
{
    (void)state;
    static const char *const names[] = {
        "/pool/base",
        "file:/pool/base",
        "file:///pool/base",
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/pool/base\"}}",
        "json:{\"file.filename\":\"\\/pool\\/base\"}",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_pool(names[i]);
}

/* Relative names count from the image; what is based on it in turn is looked at as well. */
static void test_a_chain_is_walked_to_its_end(void **state)
{
    (void)state;
    struct err e = {0};
    char want[256];
    overlay_file_write(dir, "top", "middle");
    overlay_file_write(dir, "middle", "/pool/base");
    assert_int_equal(walk("top", &e), 0);
    snprintf(want, sizeof want, "%s/middle /pool/base ", dir);
    assert_string_equal(seen, want);
}

static void test_what_has_no_chain_here_leads_nowhere(void **state)
{
    (void)state;
    struct err e = {0};
    overlay_file_write(dir, "alone", "");
    assert_int_equal(walk("alone", &e), 0);
    assert_string_equal(seen, "");
    assert_int_equal(walk("absent", &e), 0);
    overlay_file_write(dir, "far", "nbd://host/export");
    assert_int_equal(walk("far", &e), 0);
    assert_null(strstr(seen, "/pool"));
}

/* No answer is none. */
static void test_no_answer_is_not_none(void **state)
{
    (void)state;
    struct err e = {0};
    char path[128];
    overlay_file_write(dir, "loop", "loop");
    assert_int_equal(walk("loop", &e), -1);
    assert_non_null(strstr(e.msg, "no end"));
    err_clear(&e);
    snprintf(path, sizeof path, "%s/torn", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fwrite("QFI\xfb\0\0\0\x09", 1, 8, f) == 8);
    fclose(f);
    assert_int_equal(walk("torn", &e), -1);
    assert_int_equal(e.class, ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_spelling_of_a_backing_file_is_found, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_a_chain_is_walked_to_its_end, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_what_has_no_chain_here_leads_nowhere, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_no_answer_is_not_none, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
