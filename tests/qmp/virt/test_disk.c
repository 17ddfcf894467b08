/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/virt/disk.h"

static struct virt_disk disk_of(const char *xml)
{
    struct err e = {0};
    struct virt_disk d;
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "a disk", &e);
    assert_non_null(doc);
    virt_disk_of_node(doc, xmlDocGetRootElement(doc), &d);
    return d;
}

#define FILE_DISK(driver, more)                                                  \
    "<disk type='file' device='disk'><driver name='qemu' type='raw'" driver "/>" \
    "<source file='/images/a.img'/><target dev='vda' bus='virtio'/>" more "</disk>"
#define BLOCK_DISK(driver)                                                        \
    "<disk type='block'><driver name='qemu'" driver "/><source dev='/dev/vg/a'/>" \
    "<target dev='vda'/></disk>"
#define NFS_DISK(driver)                                                                   \
    "<disk type='network'><driver" driver "/><source protocol='nfs' name='/export/a.img'>" \
    "<host name='filer'/><identity user='+107' group='36'/></source><target dev='vdb'/></disk>"

static void a_disk_is_read(void **state)
{
    (void)state;
    struct virt_disk d = disk_of(NFS_DISK(" cache='none'"));
    assert_int_equal(d.type, VIRT_DISK_NETWORK);
    assert_string_equal(d.target, "vdb");
    assert_string_equal(d.device, "disk");
    assert_string_equal(d.protocol, "nfs");
    assert_string_equal(d.host, "filer");
    assert_string_equal(d.path, "/export/a.img");
    assert_string_equal(d.cache, "none");
    assert_int_equal(d.uid, 107);
    assert_int_equal(d.gid, 36);
    d = disk_of(FILE_DISK("", "<shareable/><transient/>"));
    assert_int_equal(d.type, VIRT_DISK_FILE);
    assert_string_equal(d.cache, "default");
    assert_true(d.shareable && d.transient && !d.readonly);
    assert_int_equal(d.uid, -1);
    d = disk_of("<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>");
    assert_int_equal(d.type, VIRT_DISK_VOLUME);
    assert_string_equal(d.pool, "p");
    assert_string_equal(d.volume, "v");
    /* cut, it would be another pool's volume */
    char pool[301], xml[500];
    memset(pool, 'p', sizeof pool - 1);
    pool[sizeof pool - 1] = '\0';
    snprintf(xml, sizeof xml,
             "<disk type='volume'><source pool='%s' volume='v'/><target dev='vda'/></disk>", pool);
    d = disk_of(xml);
    assert_string_equal(d.pool, pool);
    d = disk_of("<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>");
    assert_int_equal(d.type, VIRT_DISK_EMPTY);
    d = disk_of("<disk type='news'><source/><target dev='sda'/></disk>");
    assert_int_equal(d.type, VIRT_DISK_OTHER);
}

/* libvirt's rule, row by row. */
static void the_rule(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        enum file_system fs;
        bool drop_cache, safe;
    } rows[] = {
        {"<disk type='file' device='cdrom'><target dev='sda'/></disk>", FILE_SYSTEM_LOCAL, false,
         true},
        {FILE_DISK("", "<readonly/>"), FILE_SYSTEM_LOCAL, false, true},
        {FILE_DISK(" cache='none'", ""), FILE_SYSTEM_LOCAL, true, false},
        {FILE_DISK(" cache='none'", "<shareable/>"), FILE_SYSTEM_LOCAL, true, false},
        {FILE_DISK(" cache='none'", ""), FILE_SYSTEM_UNKNOWN, true, false},
        {FILE_DISK(" cache='none'", ""), FILE_SYSTEM_SHARED, false, true},
        {FILE_DISK(" cache='directsync'", ""), FILE_SYSTEM_SHARED, false, true},
        {FILE_DISK(" cache='writeback'", ""), FILE_SYSTEM_SHARED, false, false},
        {FILE_DISK(" cache='writethrough'", ""), FILE_SYSTEM_SHARED, false, false},
        {FILE_DISK("", ""), FILE_SYSTEM_SHARED, false, false},
        {FILE_DISK(" cache='writeback'", ""), FILE_SYSTEM_SHARED, true, true},
        {FILE_DISK(" cache='unsafe'", ""), FILE_SYSTEM_SHARED, true, true},
        {FILE_DISK(" cache='writeback'", "<shareable/>"), FILE_SYSTEM_SHARED, false, true},
        {FILE_DISK(" cache='writeback'", ""), FILE_SYSTEM_CLUSTER, false, true},
        {NFS_DISK(" cache='writeback'"), FILE_SYSTEM_UNKNOWN, false, true},
        {BLOCK_DISK(" cache='none'"), FILE_SYSTEM_UNKNOWN, false, true},
        {BLOCK_DISK(""), FILE_SYSTEM_UNKNOWN, false, false},
        {BLOCK_DISK(""), FILE_SYSTEM_UNKNOWN, true, true},
        {"<disk type='nvme'><source type='pci' namespace='1'/><target dev='vda'/></disk>",
         FILE_SYSTEM_UNKNOWN, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = NULL;
        struct virt_disk d = disk_of(rows[i].xml);
        bool safe = virt_disk_is_safe(&d, rows[i].fs, rows[i].drop_cache, &why);
        if (safe != rows[i].safe || safe != (*why == '\0'))
            fail_msg("row %zu: %s: %s (%s)", i, safe ? "safe" : "unsafe", rows[i].xml, why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_is_read),
        cmocka_unit_test(the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
