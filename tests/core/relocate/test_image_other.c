/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/relocate/image_format.h"
#include "core/relocate/image_other.h"

static uint8_t head[IMAGE_FORMAT_HEAD_BYTES];
static char seen[1024];

static bool see(void *arg, const char *name, bool backing)
{
    (void)arg;
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s:%s ", backing ? "base" : "part",
             name);
    return true;
}

/* The names that the first `len` bytes of `head` have; *format as it is said. */
static const char *names(size_t len, const char **format)
{
    *seen = '\0';
    *format = image_other_names(head, len, see, NULL);
    return seen;
}

static void put_le(size_t at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        head[at + i] = (uint8_t)(v >> (8 * i));
}

static void make_qed(const char *backing)
{
    memset(head, 0, sizeof head);
    memcpy(head, "QED", 4);
    put_le(16, backing != NULL, 8);
    if (backing == NULL)
        return;
    put_le(56, 64, 4);
    put_le(60, strlen(backing), 4);
    memcpy(head + 64, backing, strlen(backing));
}

static void test_qed(void **state)
{
    (void)state;
    const char *format;
    make_qed(NULL);
    assert_string_equal(names(4096, &format), "");
    assert_string_equal(format, "qed");
    make_qed("base.img");
    assert_string_equal(names(4096, &format), "base:base.img ");
    put_le(60, UINT32_MAX, 4); /* not in the header: it is something, though */
    assert_memory_equal(names(4096, &format), "base:(", 6);
    assert_string_equal(names(40, &format), ""); /* cut off: QEMU would not open it */
}

static const char descriptor[] = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=2\n"
                                 "createType=\"twoGbMaxExtentSparse\"\n"
                                 "parentFileNameHint=\"base.vmdk\"\n"
                                 "RW 4192256 SPARSE \"d-s001.vmdk\"\nRDONLY 9 FLAT \"d f\" 0\n";

static void test_vmdk_in_several_files(void **state)
{
    (void)state;
    const char *format;
    memset(head, 0, sizeof head);
    memcpy(head, descriptor, sizeof descriptor);
    assert_string_equal(names(sizeof descriptor - 1, &format),
                        "base:base.vmdk part:d-s001.vmdk part:d f ");
    assert_string_equal(format, "vmdk");
}

/* Its descriptor names the image itself as its only part. */
static void test_vmdk_in_one_file(void **state)
{
    (void)state;
    const char *format;
    memset(head, 0, sizeof head);
    memcpy(head, "KDMV", 4);
    assert_string_equal(names(4096, &format), ""); /* without one: it is a part */
    put_le(28, 1, 8);
    put_le(36, 20, 8);
    memcpy(head + 512, descriptor, sizeof descriptor);
    assert_string_equal(names(65536, &format), "base:base.vmdk ");
    put_le(28, UINT64_MAX, 8);
    assert_memory_equal(names(65536, &format), "base:(", 6);
}

static void test_all_else_is_none_of_these(void **state)
{
    (void)state;
    const char *format;
    memset(head, 0, sizeof head);
    assert_string_equal(names(sizeof head, &format), "");
    assert_null(format);
    assert_string_equal(names(0, &format), "");
    assert_null(format);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qed),
        cmocka_unit_test(test_vmdk_in_several_files),
        cmocka_unit_test(test_vmdk_in_one_file),
        cmocka_unit_test(test_all_else_is_none_of_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
