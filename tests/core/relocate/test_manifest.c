/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/relocate/manifest.h"

static char dir[] = "/tmp/godwit-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return chdir("/") == 0 ? system(command) : -1;
}

static void checksum_of(const char *text, char hex[CHECKSUM_HEX_MAX])
{
    struct checksum *c = checksum_new();
    assert_non_null(c);
    checksum_add(c, text, strlen(text));
    checksum_hex(c, hex);
    checksum_free(c);
}

static void test_a_line_is_one_for_xxhsum(void **state)
{
    (void)state;
    char hex[CHECKSUM_HEX_MAX];
    struct err e = {0};
    CLEANUP_FREE char *text = NULL;
    size_t len;
    checksum_of("hello", hex);
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(manifest_line(f, hex, "sub/a b.img", &e), 0);
    assert_int_equal(manifest_line(f, hex, "stdin", &e), 0);
    assert_int_equal(manifest_line(f, hex, "c\nd", &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "'c?d'"));
    fclose(f);
    assert_string_equal(text, "b5e9c1ad071b3e7fc779cfaa5e523818  sub/a b.img\n"
                              "b5e9c1ad071b3e7fc779cfaa5e523818  ./stdin\n");
}

static void test_a_full_disk_is_reported(void **state)
{
    (void)state;
    char hex[CHECKSUM_HEX_MAX];
    struct err e = {0};
    checksum_of("hello", hex);
    CLEANUP_FCLOSE FILE *f = fopen("/dev/full", "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    assert_int_equal(manifest_line(f, hex, "x", &e), -1);
    assert_true(e.class == ERR_IO && e.sys == ENOSPC);
}

static const char *const names[] = {
    "plain.img", "a b.img", " leading", "trailing ",   "back\\slash",    "\\n",   "cr\rx", "tab\tx",
    "-dash",     "*star",   "#hash",    "(paren) = x", "XXH128 (a) = b", "é.img", "stdin", "-",
};
enum { NAMES = sizeof names / sizeof *names };

static void write_text(const char *name, const char *text)
{
    CLEANUP_FCLOSE FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

static void test_xxhsum_accepts_it(void **state)
{
    (void)state;
    if (system("xxhsum --version >/dev/null 2>&1") != 0) {
        print_message("# SKIP xxhsum is not installed\n");
        skip();
    }
    FILE *manifest = fopen("manifest", "w");
    assert_non_null(manifest);
    for (size_t i = 0; i < NAMES; i++) {
        char text[32], hex[CHECKSUM_HEX_MAX];
        struct err e = {0};
        snprintf(text, sizeof text, "content %zu", i);
        write_text(names[i], text);
        checksum_of(text, hex);
        assert_int_equal(manifest_line(manifest, hex, names[i], &e), 0);
    }
    assert_int_equal(fclose(manifest), 0);

    static const char *const check = "xxhsum --strict --quiet -c manifest </dev/null >out 2>&1";
    if (system(check) != 0)
        fail_msg("xxhsum refuses the manifest, see above%s", system("cat out") == 0 ? "" : "?");
    for (size_t i = 0; i < NAMES; i++) {
        char text[32];
        write_text(names[i], "corrupted");
        if (system(check) == 0)
            fail_msg("xxhsum does not look at '%s'", names[i]);
        snprintf(text, sizeof text, "content %zu", i);
        write_text(names[i], text);
    }
    assert_int_equal(system(check), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_one_for_xxhsum),
        cmocka_unit_test(test_a_full_disk_is_reported),
        cmocka_unit_test(test_xxhsum_accepts_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
