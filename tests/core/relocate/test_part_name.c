/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/owner.h"
#include "core/relocate/part_name.h"

static void expect(const char *name, enum part_name_use use, const char *want)
{
    CLEANUP_FREE char *got = part_name_new(name, use);
    assert_string_equal(got, want);
    assert_true(part_name_is(got));
}

static void test_a_short_name_stays_readable(void **state)
{
    (void)state;
    expect("vm.img", PART_NAME_DATA, ".vm.img.godwit-part");
    expect("vm.img", PART_NAME_JOURNAL, ".vm.img.godwit-journal");
    expect("dir/vm.img", PART_NAME_DATA, "dir/.vm.img.godwit-part");
    expect("a/b.c/d", PART_NAME_JOURNAL, "a/b.c/.d.godwit-journal");
    expect(".hidden", PART_NAME_DATA, "..hidden.godwit-part");
    expect("100%s", PART_NAME_DATA, ".100%s.godwit-part");
}

/* "d/" and `len` bytes, the last of which is `last`. */
static void make_name(char *name, size_t len, char last)
{
    name[0] = 'd';
    name[1] = '/';
    memset(name + 2, 'x', len);
    name[2 + len - 1] = last;
    name[2 + len] = '\0';
}

static void test_a_long_name_is_cut(void **state)
{
    (void)state;
    for (size_t len = 130; len <= 300; len++) {
        char a[400], b[400];
        make_name(a, len, 'a');
        make_name(b, len, 'b');
        for (int use = PART_NAME_DATA; use <= PART_NAME_DIRECTORY; use++) {
            CLEANUP_FREE char *pa = part_name_new(a, (enum part_name_use)use);
            CLEANUP_FREE char *again = part_name_new(a, (enum part_name_use)use);
            CLEANUP_FREE char *pb = part_name_new(b, (enum part_name_use)use);
            assert_in_range(strlen(pa), 2 + 130, 2 + 255 - OWNER_TEXT_MAX);
            assert_string_equal(pa, again);
            assert_string_not_equal(pa, pb);
            assert_int_equal(strncmp(pa, "d/.xxx", 6), 0);
            assert_true(part_name_is(pa));
        }
    }
}

/* A name made to look like what another one is cut to. */
static void test_a_forged_name_is_not_that_of_another(void **state)
{
    (void)state;
    char name[400];
    make_name(name, 250, 'a');
    CLEANUP_FREE char *part = part_name_new(name, PART_NAME_JOURNAL);
    char forged[400] = "d/";
    size_t middle = strlen(part) - strlen("d/.") - strlen(".godwit-journal");
    memcpy(forged + 2, part + 3, middle);
    CLEANUP_FREE char *other = part_name_new(forged, PART_NAME_JOURNAL);
    assert_string_not_equal(part, other);
}

/* Whether it is UTF-8, as far as the two-, three- and four-byte characters below go. */
static bool whole_characters(const char *s)
{
    while (*s != '\0') {
        unsigned char c = (unsigned char)*s++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        if (c >= 0x80 && more == 0)
            return false;
        for (; more > 0; more--)
            if (((unsigned char)*s++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static void test_a_character_is_not_cut_in_two(void **state)
{
    (void)state;
    static const char *const characters[] = {"é", "漢", "\xf0\x9f\x90\xa6"};
    for (size_t c = 0; c < 3; c++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char name[300] = "xxx";
            name[shift] = '\0';
            while (strlen(name) + strlen(characters[c]) <= 255)
                strcat(name, characters[c]);
            CLEANUP_FREE char *part = part_name_new(name, PART_NAME_JOURNAL);
            assert_int_equal(strlen(part), 255 - OWNER_TEXT_MAX - 2);
            assert_true(whole_characters(part));
        }
    }
    char bytes[256]; /* no UTF-8 at all */
    memset(bytes, 0x80, sizeof bytes - 1);
    bytes[255] = '\0';
    CLEANUP_FREE char *part = part_name_new(bytes, PART_NAME_JOURNAL);
    assert_int_equal(strlen(part), 255 - OWNER_TEXT_MAX - 2);
}

/* Of one process: found from the name of the image, and taken for a leftover in a tree. */
static void test_a_part_of_one_process_is_found_by_its_image(void **state)
{
    (void)state;
    struct owner self;
    struct err e = {0};
    char text[OWNER_TEXT_MAX], name[400];
    assert_int_equal(owner_self(&self, &e), 0);
    self.pid = self.pid_space = UINT32_MAX; /* as long as it gets */
    self.start_ticks = UINT64_MAX;
    owner_text(&self, text);
    for (size_t len = 1; len <= 255; len++) {
        make_name(name, len, 'a');
        CLEANUP_FREE char *plain = part_name_new(name, PART_NAME_JOURNAL);
        CLEANUP_FREE char *owned = part_name_owned(name, PART_NAME_JOURNAL, text);
        assert_in_range(strlen(owned), 1, 2 + 255);
        assert_string_equal(part_name_owner(owned, plain), text);
        assert_null(part_name_owner(plain, plain));
        assert_true(part_name_is(owned));
    }
}

static void test_parts_are_told_from_other_names(void **state)
{
    (void)state;
    static const char *const no[] = {
        "",
        "vm.img",
        "vm.img.godwit-part",
        ".vm.img",
        "..godwit-part.img",
        ".godwit-part",
        "..godwit-part",
        ".vm.godwit-parts",
        ".dir.godwit-part/vm.img",
        ".vm.godwit-journal ",
        ".vm.godwit-part-",
        ".vm.godwit-part-x",
        ".vm.godwit-part-0f.img",
    };
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (part_name_is(no[i]))
            fail_msg("'%s' is taken for a leftover", no[i]);
    assert_true(part_name_is(".a.godwit-part"));
    assert_true(part_name_is("dir/.a.godwit-journal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_short_name_stays_readable),
        cmocka_unit_test(test_a_long_name_is_cut),
        cmocka_unit_test(test_a_forged_name_is_not_that_of_another),
        cmocka_unit_test(test_a_character_is_not_cut_in_two),
        cmocka_unit_test(test_parts_are_told_from_other_names),
        cmocka_unit_test(test_a_part_of_one_process_is_found_by_its_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
