/* SPDX-License-Identifier: Apache-2.0 */
/* Which file systems others may see, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/file_system.h"

/* Row by row of libvirt 12.8's two tables, and what is in neither of them. */
static void file_systems_are_reported(void **state)
{
    (void)state;
    static const struct {
        uint64_t magic;
        enum file_system fs;
    } rows[] = {
        {0x6969, FILE_SYSTEM_SHARED},      {0x01161970, FILE_SYSTEM_CLUSTER},
        {0x7461636f, FILE_SYSTEM_CLUSTER}, {0x6b414653, FILE_SYSTEM_SHARED},
        {0x517b, FILE_SYSTEM_SHARED},      {0xff534d42, FILE_SYSTEM_SHARED},
        {0x00c36400, FILE_SYSTEM_CLUSTER}, {0x47504653, FILE_SYSTEM_SHARED},
        {0x61636673, FILE_SYSTEM_SHARED},  {0x19830326, FILE_SYSTEM_SHARED},
        {0xfe534d42, FILE_SYSTEM_LOCAL},   {0x5346414f, FILE_SYSTEM_LOCAL},
        {0x51626d6e, FILE_SYSTEM_LOCAL},   {0x0bd00bd0, FILE_SYSTEM_LOCAL},
        {0xef53, FILE_SYSTEM_LOCAL},       {0x01021994, FILE_SYSTEM_LOCAL},
        {0x65735546, FILE_SYSTEM_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (file_system_of_magic(rows[i].magic) != rows[i].fs)
            fail_msg("0x%lx is reported as %d", (unsigned long)rows[i].magic,
                     (int)file_system_of_magic(rows[i].magic));
    assert_int_equal(file_system_of_fuse("fuse.glusterfs"), FILE_SYSTEM_CLUSTER);
    assert_int_equal(file_system_of_fuse("fuse.quobyte"), FILE_SYSTEM_SHARED);
    assert_int_equal(file_system_of_fuse("fuse.sshfs"), FILE_SYSTEM_LOCAL);
    assert_int_equal(file_system_of_fuse("fuse"), FILE_SYSTEM_LOCAL);
}

static void what_is_not_there_or_in_proc_is_not_shared(void **state)
{
    (void)state;
    assert_false(file_system_is_shared("/nothing/is/here"));
    assert_false(file_system_is_shared("/proc/self/status"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_systems_are_reported),
        cmocka_unit_test(what_is_not_there_or_in_proc_is_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
