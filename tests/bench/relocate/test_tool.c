/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/relocate/tool.h"

static const struct tool_variant variants[] = {
    {.label = "godwit c=1", .command = {{"godwit", "relocate", "--connections", "1", NULL}}},
    {.label = "godwit c=2", .command = {{"godwit", "relocate", "--connections", "2", NULL}}},
};

static struct tool list[TOOLS_MAX];
static size_t listed;

/* The labels, each with a semicolon; or the error. */
static const char *labels(enum tool_direction direction, bool with_sink, const char *only)
{
    static char text[400];
    struct err e = {0};
    listed = tool_list(list, direction, variants, 2, with_sink, only, &e);
    assert_int_equal(listed == 0, e.class != ERR_NONE);
    snprintf(text, sizeof text, "%s", e.msg);
    for (size_t i = 0; i < listed; i++) {
        strcat(text, list[i].label);
        strcat(text, "; ");
    }
    return text;
}

static void each_direction_has_its_ends(void **state)
{
    (void)state;
    assert_string_equal(labels(DIRECTION_TO_SHARE, true, NULL),
                        "godwit c=1; godwit c=2; nfs-cp; qemu-img; sink; disk; ");
    assert_string_equal(labels(DIRECTION_TO_SHARE, false, NULL),
                        "godwit c=1; godwit c=2; nfs-cp; qemu-img; disk; ");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(list[i].from, END_SOURCE);
        assert_int_equal(list[i].to, END_SHARE);
    }
    assert_int_equal(list[4].to, END_NULL);
    assert_int_equal(list[4].role, TOOL_CEILING);
    assert_ptr_equal(list[4].command.words[3], variants[0].command.words[3]);

    assert_string_equal(labels(DIRECTION_FROM_SHARE, false, NULL),
                        "godwit c=1; godwit c=2; nfs-cp; qemu-img; null; disk; ");
    assert_int_equal(list[2].from, END_SHARE);
    assert_int_equal(list[2].to, END_LOCAL);
    assert_int_equal(list[5].from, END_SOURCE);
    assert_int_equal(list[5].to, END_LOCAL);

    assert_string_equal(labels(DIRECTION_SHARE_TO_NULL, true, NULL),
                        "godwit c=1; godwit c=2; sink; ");
    assert_int_equal(list[2].from, END_SINK);
    assert_int_equal(list[2].to, END_NULL);
}

static void some_only(void **state)
{
    (void)state;
    assert_string_equal(labels(DIRECTION_TO_SHARE, true, "disk,nfs-cp"), "nfs-cp; disk; ");
    assert_string_equal(labels(DIRECTION_TO_SHARE, true, "godwit"), "godwit c=1; godwit c=2; ");
    assert_non_null(strstr(labels(DIRECTION_TO_SHARE, true, "nfs"), "'nfs' is not one of"));
    assert_non_null(strstr(labels(DIRECTION_TO_SHARE, true, "godwit,"), "'' is not one of"));
    assert_non_null(strstr(labels(DIRECTION_TO_SHARE, false, "sink"), "leaves no tool"));
}

static void who_is_not_installed_is_named(void **state)
{
    (void)state;
    char dir[] = "/tmp/godwit-tool-XXXXXX", file[64], path[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "/nonexistent:%s", dir);
    snprintf(file, sizeof file, "%s/nfs-cp", dir);
    setenv("PATH", path, 1);
    labels(DIRECTION_TO_SHARE, false, "nfs-cp,qemu-img");
    assert_true(list[0].missing && list[1].missing);
    assert_string_equal(list[0].package, "libnfs-utils");
    assert_non_null(strstr(list[1].package, "qemu-block-extra"));
    close(open(file, O_WRONLY | O_CREAT, 0600)); /* there, and no program */
    labels(DIRECTION_TO_SHARE, false, "nfs-cp");
    assert_true(list[0].missing);
    unlink(file);
    close(open(file, O_WRONLY | O_CREAT, 0700));
    labels(DIRECTION_TO_SHARE, false, "nfs-cp");
    assert_false(list[0].missing);
    unlink(file);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_direction_has_its_ends),
        cmocka_unit_test(some_only),
        cmocka_unit_test(who_is_not_installed_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
