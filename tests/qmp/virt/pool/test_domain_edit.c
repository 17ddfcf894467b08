/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "qmp/virt/pool/domain_edit.h"

/* ---- a pool in /pool, in which top.qcow2 is based on mid.qcow2, and that on base.raw ---- */

static char *name_in_pool(void *arg, const char *path)
{
    (void)arg;
    if (strcmp(path, "/vm/link.img") == 0)
        return strdup("linked.img");
    if (strncmp(path, "/pool", 5) != 0 || (path[5] != '/' && path[5] != '\0'))
        return NULL;
    return strdup(path[5] == '/' ? path + 6 : "");
}

static int image_in_pool(void *arg, const char *name, bool qcow2, struct domain_image *i,
                         struct err *e)
{
    (void)arg;
    *i = (struct domain_image){.uid = 107, .gid = 108};
    if (strncmp(name, "absent.", 7) == 0)
        return err_set(e, ERR_REFUSED, ENOENT, "%s", name);
    if (strcmp(name, "loop.qcow2") == 0 && qcow2) {
        i->backing = strdup("loop.qcow2");
        i->format = strdup("qcow2");
    } else if (strcmp(name, "top.qcow2") == 0 && qcow2) {
        i->backing = strdup("mid.qcow2");
        i->format = strdup("qcow2");
    } else if (strcmp(name, "mid.qcow2") == 0 && qcow2) {
        i->backing = strdup("base.raw");
        i->format = strdup("raw");
    }
    return 0;
}

/* One that does not name its base, but whose domain calls it qcow2, is based on /pool/far.qcow2. */
static int below_in_pool(void *arg, const char *name, const char *format, struct domain_image *i,
                         struct err *e)
{
    *i = (struct domain_image){0};
    if (strcmp(name, "far.qcow2") == 0 && format != NULL && strcmp(format, "qcow2") == 0)
        return err_set(e, ERR_REFUSED, 0, "far.qcow2 leads to the old place");
    bool qcow2 = format == NULL || strcmp(format, "qcow2") == 0;
    return strncmp(name, "absent.", 7) == 0 ? 0 : image_in_pool(arg, name, qcow2, i, e);
}

static const struct domain_move to_files = {
    .pool = "images", .directory = "/mnt/share", .name = name_in_pool, .image = image_in_pool};

static const struct domain_move to_nfs = {.pool = "images",
                                          .host = "filer",
                                          .export = "/export/vm",
                                          .name = name_in_pool,
                                          .image = image_in_pool};

static const struct domain_move to_nfs_with_mount = {.pool = "images",
                                                     .directory = "/mnt/share",
                                                     .host = "filer",
                                                     .export = "/export/vm",
                                                     .name = name_in_pool,
                                                     .image = image_in_pool};

#define DISKS(disks)                                                          \
    "<domain type=\"kvm\"  id='1'>\n  <name>it's</name>\n  <devices>\n" disks \
    "  </devices>\n</domain>\n"

#define AT(device) "      <target dev='" device "'/>\n    </disk>\n"

struct edit_case {
    const char *before, *after;
};

static void run(const struct domain_move *m, const struct edit_case *c)
{
    struct err e = {0};
    struct domain_edit edit;
    if (domain_edit_make(c->before, "domain g", m, &edit, &e) < 0)
        fail_msg("%s: %s", c->before, e.msg);
    if (c->after == NULL) {
        assert_null(edit.definition);
        assert_int_equal(edit.n, 0);
    } else {
        assert_non_null(edit.definition);
        assert_string_equal(edit.definition, c->after);
        assert_int_equal(domain_edit_uses(c->before, "domain g", m, &e), 1);
    }
    domain_edit_free(&edit);
}

static const struct edit_case file_cases[] = {
    {DISKS(
         "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' io='native'/>\n"
         "      <source file='/pool/a b&apos;s.qcow2'/>\n" AT("vda")),
     DISKS(
         "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' io='native' cache='none'/>\n"
         "      <source file='/mnt/share/a b&apos;s.qcow2'/>\n" AT("vda"))},
    /* other quotes and comments, several disks, one of them elsewhere */
    {DISKS(
         "    <!-- /pool/x -->\n    <disk device=\"disk\"\n type=\"file\"><source   file=\"/pool/sub/x\" "
         "startupPolicy=\"optional\"/><driver  type=\"raw\"  cache=\"directsync\"/></disk>\n"
         "    <disk type='file'><driver   name=\"qemu\" /><source file=\"/else/x\"/></disk>\n"),
     DISKS(
         "    <!-- /pool/x -->\n    <disk device=\"disk\"\n type=\"file\"><source file='/mnt/share/sub/x' "
         "startupPolicy='optional'/><driver  type=\"raw\"  cache=\"directsync\"/></disk>\n"
         "    <disk type='file'><driver   name=\"qemu\" /><source file=\"/else/x\"/></disk>\n")},
    /* a driver is added where there is none; read-only, shareable and empty ones need no cache mode */
    {DISKS("    <disk type='file' device='disk'>\n      <source file='/pool/a'/>\n" AT("vda")),
     DISKS("    <disk type='file' device='disk'>\n      <driver name='qemu' cache='none'/>\n"
           "      <source file='/mnt/share/a'/>\n" AT("vda"))},
    {DISKS("    <disk type='file' device='cdrom'>\n      <source file='/pool/cd.iso'/>\n      <readonly/>\n" AT("sda") "    <disk type='file' device='cdrom'>\n" AT(
         "sdb") "    <disk type='file' device='disk'>\n      <source file='/pool/s'/>\n      <shareable/>\n" AT("sdc")),
     DISKS("    <disk type='file' device='cdrom'>\n      <source file='/mnt/share/cd.iso'/>\n      <readonly/>\n" AT("sda") "    <disk type='file' device='cdrom'>\n" AT(
         "sdb") "    <disk type='file' device='disk'>\n      <source file='/mnt/share/s'/>\n      <shareable/>\n" AT("sdc"))},
    /* a volume follows its pool */
    {DISKS(
         "    <disk type='volume' device='disk'>\n      <driver name='qemu' cache='unsafe'/>\n"
         "      <source pool='images' volume='v'/>\n" AT(
             "vda") "    <disk type='volume' device='disk'>\n      <source pool='other' volume='v'/>\n" AT("vdb")),
     DISKS(
         "    <disk type='volume' device='disk'>\n      <driver name='qemu' cache='none'/>\n"
         "      <source pool='images' volume='v'/>\n" AT(
             "vda") "    <disk type='volume' device='disk'>\n      <source pool='other' volume='v'/>\n" AT("vdb"))},
    /* a name that leads into the pool by a link; a block device that is a file */
    {DISKS("    <disk type='file'>\n      <driver cache='none'/>\n      <source file='/vm/link.img'/>\n" AT(
         "vda") "    <disk type='block'>\n      <driver cache='none'/>\n      <source dev='/pool/b'/>\n" AT("vdb")),
     DISKS("    <disk type='file'>\n      <driver cache='none'/>\n      <source file='/mnt/share/linked.img'/>\n" AT(
         "vda") "    <disk type='file'>\n      <driver cache='none'/>\n      <source file='/mnt/share/b'/>\n" AT("vdb"))},
    /* a chain, of which only the base is in the pool */
    {DISKS(
         "    <disk type='file'>\n      <source file='/else/top'/>\n      <backingStore type='file'>\n"
         "        <format type='qcow2'/>\n        <source file='/pool/mid'/>\n        <backingStore type='file'>\n"
         "          <format type='raw'/>\n          <source file='/pool/base'/>\n          <backingStore/>\n"
         "        </backingStore>\n      </backingStore>\n" AT("vda")),
     DISKS(
         "    <disk type='file'>\n      <source file='/else/top'/>\n      <backingStore type='file'>\n"
         "        <format type='qcow2'/>\n        <source file='/mnt/share/mid'/>\n        <backingStore type='file'>\n"
         "          <format type='raw'/>\n          <source file='/mnt/share/base'/>\n          <backingStore/>\n"
         "        </backingStore>\n      </backingStore>\n" AT("vda"))},
    /* the files of <os>; what is for people stays */
    {"<domain>\n  <title>/pool/t</title>\n  <description>on /pool/d</description>\n  <metadata>\n"
     "    <x:y xmlns:x=\"urn:x\" p=\"/pool/m\">it's</x:y>\n  </metadata>\n  <os>\n    <kernel>/pool/vmlinuz</kernel>\n"
     "    <initrd>/boot/initrd</initrd>\n    <loader readonly='yes' type=\"pflash\">/pool/CODE.fd</loader>\n"
     "    <nvram template='/usr/V.fd'>/pool/g_VARS.fd</nvram>\n    <cmdline>root=/dev/vda</cmdline>\n  </os>\n</domain>",
     "<domain>\n  <title>/pool/t</title>\n  <description>on /pool/d</description>\n  <metadata>\n"
     "    <x:y xmlns:x=\"urn:x\" p=\"/pool/m\">it's</x:y>\n  </metadata>\n  <os>\n    <kernel>/mnt/share/vmlinuz</kernel>\n"
     "    <initrd>/boot/initrd</initrd>\n    <loader readonly='yes' type=\"pflash\">/mnt/share/CODE.fd</loader>\n"
     "    <nvram template='/usr/V.fd'>/mnt/share/g_VARS.fd</nvram>\n    <cmdline>root=/dev/vda</cmdline>\n  </os>\n</domain>"},
    {"<domain><os><nvram type='file'><source file='/pool/V.fd'/></nvram></os></domain>",
     "<domain><os><nvram type='file'><source file='/mnt/share/V.fd'/></nvram></os></domain>"},
    /* not ours */
    {DISKS(
         "    <disk type='network'><source protocol='nfs' name='/pool/a'><host name='h'/></source></disk>\n"
         "    <disk type='file'><source file='/pools/a'/></disk>\n"),
     NULL},
    {"<domain/>", NULL},
    /* labels, and what is a path elsewhere only */
    {DISKS(
         "    <disk type='file'>\n      <driver cache='none'/>\n      <source file='/pool/a.luks'>"
         "<encryption format='luks'><secret type='passphrase' usage='/pool/a.luks'/></encryption></source>\n"
         "      <serial>/pool/s</serial><vendor>/pool/v</vendor><product>/pool/p</product>\n" AT(
             "vda") "    <filesystem><source dir='/else'/><target dir='/pool'/></filesystem>\n"),
     DISKS(
         "    <disk type='file'>\n      <driver cache='none'/>\n      <source file='/mnt/share/a.luks'>"
         "<encryption format='luks'><secret type='passphrase' usage='/pool/a.luks'/></encryption></source>\n"
         "      <serial>/pool/s</serial><vendor>/pool/v</vendor><product>/pool/p</product>\n" AT(
             "vda") "    <filesystem><source dir='/else'/><target dir='/pool'/></filesystem>\n")},
    {"<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><os><cmdline>init=/pool/x</cmdline></os>"
     "<sysinfo type='smbios'><system><entry name='serial'>/pool/x</entry></system></sysinfo>"
     "<resource><partition>/pool</partition></resource><seclabel><label>a:/pool</label></seclabel>"
     "<qemu:commandline><qemu:arg value='-append'/><qemu:arg value='init=/pool/x'/></qemu:commandline></domain>",
     NULL},
};

static void test_files_are_led_to_another_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof file_cases / sizeof *file_cases; i++)
        run(&to_files, &file_cases[i]);
}

#define SOURCE(indent, image)                                                                  \
    indent "<source protocol='nfs' name='/export/vm/" image "'>\n" indent                      \
           "  <host name='filer'/>\n" indent "  <identity user='+107' group='+108'/>\n" indent \
           "</source>\n"

static const struct edit_case nfs_cases[] = {
    {DISKS("    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw'/>\n"
           "      <source file='/pool/a' startupPolicy='optional'/>\n" AT("vda")),
     DISKS(
         "    <disk type='network' device='disk'>\n      <driver name='qemu' type='raw' cache='none'/>\n" SOURCE(
             "      ", "a") AT("vda"))},
    {DISKS("    <disk type='volume' device='cdrom'>\n      <driver name='qemu' type='raw'/>\n"
           "      <source pool='images' volume='cd.iso' mode='host'/>\n      <readonly/>\n" AT(
               "sda")),
     DISKS(
         "    <disk type='network' device='cdrom'>\n      <driver name='qemu' type='raw'/>\n" SOURCE(
             "      ", "cd.iso") "      <readonly/>\n" AT("sda"))},
    /* what is inside of <source> stays */
    {DISKS(
         "    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw' cache='none'/>\n"
         "      <source file='/pool/a'>\n        <encryption format='luks'/>\n      </source>\n" AT(
             "vda")),
     DISKS(
         "    <disk type='network' device='disk'>\n      <driver name='qemu' type='raw' cache='none'/>\n"
         "      <source protocol='nfs' name='/export/vm/a'>\n        <host name='filer'/>\n"
         "        <identity user='+107' group='+108'/>\n        <encryption format='luks'/>\n      </source>\n" AT(
             "vda"))},
    /* the chain that the image names is written down; only qcow2 is asked for one */
    {DISKS("    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n"
           "      <source file='/pool/top.qcow2'/>\n" AT("vda")),
     DISKS("    <disk type='network' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none'/>\n" SOURCE("      ", "top.qcow2") "      <backingStore type='network'>\n        <format type='qcow2'/>\n" SOURCE(
         "        ",
         "mid.qcow2") "        <backingStore type='network'>\n          <format type='raw'/>\n" SOURCE("          ",
                                                                                                       "base.raw") "          <backingStore/>\n        </backingStore>\n      </backingStore>\n" AT("vda"))},
    {DISKS("    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw'/>\n"
           "      <source file='/pool/top.qcow2'/>\n" AT("vda")),
     DISKS(
         "    <disk type='network' device='disk'>\n      <driver name='qemu' type='raw' cache='none'/>\n" SOURCE(
             "      ", "top.qcow2") AT("vda"))},
    /* a chain that is there is led to the share, and completed where it ends without saying so */
    {DISKS(
         "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n"
         "      <source file='/pool/top.qcow2'/>\n      <backingStore type='file'>\n        <format type='qcow2'/>\n"
         "        <source file='/pool/mid.qcow2'/>\n      </backingStore>\n" AT("vda")),
     DISKS("    <disk type='network' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none'/>\n" SOURCE("      ", "top.qcow2") "      <backingStore type='network'>\n        <format type='qcow2'/>\n" SOURCE(
         "        ",
         "mid.qcow2") "        <backingStore type='network'>\n          <format type='raw'/>\n" SOURCE("          ",
                                                                                                       "base.raw") "          <backingStore/>\n        </backingStore>\n      </backingStore>\n" AT("vda"))},
    {DISKS("    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n"
           "      <source file='/pool/top.qcow2'/>\n      <backingStore/>\n" AT("vda")),
     DISKS(
         "    <disk type='network' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none'/>\n" SOURCE(
             "      ", "top.qcow2") "      <backingStore/>\n" AT("vda"))},
    {DISKS(
         "    <disk type='network'><source protocol='nfs' name='/export/vm/a'><host name='filer'/></source></disk>\n"),
     NULL},
    /* a medium that is not there leaves the drive empty, whether it may or not */
    {DISKS("    <disk type='file' device='cdrom'>\n      <source file='/pool/absent.iso' startupPolicy='optional'/>\n" AT(
         "sda") "    <disk type='volume' device='cdrom'>\n      <source pool='images' volume='absent.iso'/>\n" AT("sdb")),
     DISKS("    <disk type='file' device='cdrom'>\n      <source startupPolicy='optional'/>\n" AT(
         "sda") "    <disk type='file' device='cdrom'>\n      <source/>\n" AT("sdb"))},
};

static void test_files_become_network_disks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof nfs_cases / sizeof *nfs_cases; i++)
        run(&to_nfs, &nfs_cases[i]);
}

/* With a directory it stays what it was, in its new place. */
static void test_absent_with_mount(void **state)
{
    (void)state;
    static const struct edit_case c = {
        DISKS("    <disk type='file' device='cdrom'>\n      <source file='/pool/absent.iso' startupPolicy='optional'/>\n" AT(
            "sda") "    <disk type='volume' device='cdrom'>\n      <source pool='images' volume='absent.iso'/>\n" AT("sdb")),
        DISKS("    <disk type='file' device='cdrom'>\n      <source file='/mnt/share/absent.iso' startupPolicy='optional'/>\n" AT(
            "sda") "    <disk type='volume' device='cdrom'>\n      <source pool='images' volume='absent.iso'/>\n" AT("sdb"))};
    run(&to_nfs_with_mount, &c);
}

/* Once more finds nothing to do: a run that goes on where another was killed relies on it. */
static void test_a_second_edit_finds_nothing_to_do(void **state)
{
    (void)state;
    struct err e = {0};
    struct domain_edit edit;
    for (size_t i = 0; i < sizeof nfs_cases / sizeof *nfs_cases; i++) {
        if (nfs_cases[i].after == NULL)
            continue;
        assert_int_equal(domain_edit_make(nfs_cases[i].after, "g", &to_nfs, &edit, &e), 0);
        assert_int_equal(edit.n, 0);
        assert_int_equal(domain_edit_uses(nfs_cases[i].after, "g", &to_nfs, &e), 0);
    }
}

#define QEMU(inside)                                                                            \
    "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline>" inside \
    "</qemu:commandline></domain>"
#define DISK(attributes, inside) \
    "<domain><devices><disk type='file'" attributes ">" inside "</disk></devices></domain>"

static const struct {
    const char *xml, *message;
} refused[] = {
    {"<domain><os><kernel>/pool/vmlinuz</kernel></os></domain>",
     "domain g: <kernel> names /pool/vmlinuz, which has to be a file of this host"},
    {"<domain><devices><serial type='file'><source path='/pool/log'/></serial></devices></domain>",
     "domain g: <source> names /pool/log in the pool, which is not a disk"},
    {"<domain><devices><filesystem><source dir='/pool'/></filesystem></devices></domain>",
     "domain g: <source> names /pool in the pool, which is not a disk"},
    {"<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline>"
     "<qemu:arg value='if=none,file=/pool/x,format=raw'/></qemu:commandline></domain>",
     "domain g: <arg> names if=none,file=/pool/x,format=raw in the pool, which is not a disk"},
    {"<domain><devices><disk type='file'><driver type='qcow2'/><source file='/pool/absent.qcow2'/></disk></devices></domain>",
     "domain g: absent.qcow2: No such file or directory"},
    {"<domain><devices><disk type='file'><driver type='qcow2'/><source file='/pool/loop.qcow2'/></disk></devices></domain>",
     "domain g: a backing chain is a loop or too long"},
    {"<domain><devices><disk type='volume'><source pool='images' volume='../../etc/passwd'/></disk></devices></domain>",
     "domain g: '../../etc/passwd' is not the name of a volume"},
    {"<domain><devices><disk type='volume'><source pool='images' volume='..'/></disk></devices></domain>",
     "domain g: '..' is not the name of a volume"},
    {"<domain><devices><disk type='volume'><source pool='images' volume=''/></disk></devices></domain>",
     "domain g: '' is not the name of a volume"},
    {QEMU(
         "<qemu:arg value='-blockdev'/><qemu:arg value='{&quot;driver&quot;:&quot;file&quot;,&quot;filename&quot;:&quot;/pool/z&quot;}'/>"),
     "domain g: <arg> names {\"driver\":\"file\",\"filename\":\"/pool/z\"} in the pool, which is not a disk"},
    {QEMU("<qemu:arg value='file=file:/pool/z,if=none'/>"),
     "domain g: <arg> names file=file:/pool/z,if=none in the pool, which is not a disk"},
    {QEMU("<qemu:arg value='-cdrom'/><qemu:arg value='pool/z'/>"),
     "domain g: <arg> names pool/z in the pool, which is not a disk"},
    {QEMU("<qemu:env name='X' value='/q:/pool/lib'/>"),
     "domain g: <env> names /q:/pool/lib in the pool, which is not a disk"},
    {"<domain><sysinfo type='fwcfg'><entry name='opt/x' file='/pool/x'/></sysinfo></domain>",
     "domain g: <entry> names /pool/x in the pool, which is not a disk"},
    /* what no network disk may be */
    {DISK("", "<source file='/pool/a'/><transient/>"),
     "domain g: a is a transient disk, which cannot be a network disk"},
    {DISK(" device='lun'", "<source file='/pool/a'/>"),
     "domain g: a is a disk of device='lun', which cannot be on NFS"},
    {DISK("", "<source file='/pool/a'/><auth username='u'/>"),
     "domain g: a has an <auth>, which a disk on NFS cannot have"},
    {DISK("", "<source file='/pool/a'><auth username='u'/></source>"),
     "domain g: a has a <auth> in its <source>, which a disk on NFS cannot have"},
    {DISK("", "<source file='/pool/a'><seclabel relabel='no'/></source>"),
     "domain g: a has a <seclabel> in its <source>, which a disk on NFS cannot have"},
    {DISK("", "<source file='/pool/a'><reservations managed='yes'/></source>"),
     "domain g: a has a <reservations> in its <source>, which a disk on NFS cannot have"},
    {DISK("", "<driver type='fat'/><source file='/pool/a'/>"),
     "domain g: a is of format fat, which godwit does not turn into a network disk"},
    {DISK("", "<driver type='vmdk'/><source file='/pool/a'/>"),
     "domain g: a is of format vmdk, which godwit does not turn into a network disk"},
};

static void test_what_cannot_be_edited_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct err e = {0};
        struct domain_edit edit;
        assert_int_equal(domain_edit_make(refused[i].xml, "domain g", &to_nfs, &edit, &e), -1);
        assert_int_equal(e.class, ERR_REFUSED);
        assert_string_equal(e.msg, refused[i].message);
        assert_null(edit.definition);
    }
    struct err e = {0};
    struct domain_edit edit;
    assert_int_equal(domain_edit_make("<domain>", "domain g", &to_nfs, &edit, &e), -1);
    assert_int_equal(e.class, ERR_PROTO);
}

static void test_names_below_the_pool_are_reported(void **state)
{
    (void)state;
    struct err e = {0};
    struct domain_edit edit;
    assert_int_equal(
        domain_edit_make(DISKS("<disk type='file'><source file='/pool/sub/x'/></disk>"
                               "<disk type='volume'><source pool='images' volume='v'/></disk>"),
                         "domain g", &to_files, &edit, &e),
        0);
    assert_int_equal(edit.n, 2);
    assert_string_equal(edit.names[0], "sub/x");
    assert_string_equal(edit.names[1], "v");
    domain_edit_free(&edit);
}

/* What images are based on is used, too, and may be in the way, wherever the domain says so. */
static void test_backing_files_are_used_too(void **state)
{
    (void)state;
    struct err e = {0};
    struct domain_edit edit;
    struct domain_move m = to_files;
    m.below = below_in_pool;
    assert_int_equal(
        domain_edit_make(DISK("", "<driver type='qcow2'/><source file='/pool/top.qcow2'/>"), "g",
                         &m, &edit, &e),
        0);
    assert_int_equal(edit.n, 3);
    assert_string_equal(edit.names[0], "mid.qcow2");
    assert_string_equal(edit.names[1], "base.raw");
    assert_string_equal(edit.names[2], "top.qcow2");
    domain_edit_free(&edit);
    assert_int_equal(
        domain_edit_make(DISK("", "<source file='/pool/top.qcow2'/>"), "g", &m, &edit, &e), 0);
    assert_int_equal(edit.n, 1); /* raw is what libvirt takes it for */
    domain_edit_free(&edit);
    assert_int_equal(
        domain_edit_make(DISK("", "<driver type='qcow2'/><source file='/pool/loop.qcow2'/>"), "g",
                         &m, &edit, &e),
        0);
    domain_edit_free(&edit);
    static const char *const far[] = {
        DISK("", "<driver type='qcow2'/><source file='/pool/far.qcow2'/>"),
        DISK(
            "",
            "<driver type='qcow2'/><source file='/else'/><backingStore type='file'><format type='qcow2'/>"
            "<source file='/pool/far.qcow2'/></backingStore>"),
    };
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        e = (struct err){0};
        assert_int_equal(domain_edit_make(far[i], "g", &m, &edit, &e), -1);
        assert_string_equal(e.msg, "g: far.qcow2 leads to the old place");
    }
}

static void test_what_a_domain_uses_is_found(void **state)
{
    (void)state;
    struct err e = {0};
    const char *volume = DISKS("<disk type='volume'><source pool='images' volume='v'/></disk>");
    assert_int_equal(domain_edit_uses(volume, "g", &to_files, &e), 1);
    assert_int_equal(domain_edit_uses_path(volume, "g", &to_files, &e), 0);
    const char *live = DISKS("<disk type='file'><source file='/pool/a' index='1'/></disk>");
    assert_int_equal(domain_edit_uses_path(live, "g", &to_files, &e), 1);
    assert_int_equal(domain_edit_uses_path(DISKS("<!-- /pool/a -->"), "g", &to_files, &e), 0);
}

static void test_the_target_of_a_pool_is_edited(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_FREE char *xml = pool_edit_target(
        "<pool type=\"dir\">\n  <name>a'b</name>\n  <target>\n    <path>/pool</path>\n  </target>\n</pool>\n",
        "/mnt/s & t", &e);
    assert_string_equal(xml, "<pool type=\"dir\">\n  <name>a'b</name>\n  <target>\n"
                             "    <path>/mnt/s &amp; t</path>\n  </target>\n</pool>\n");
    assert_null(pool_edit_target("<pool><target/></pool>", "/mnt", &e));
    assert_int_equal(e.class, ERR_PROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_led_to_another_directory),
        cmocka_unit_test(test_files_become_network_disks),
        cmocka_unit_test(test_a_second_edit_finds_nothing_to_do),
        cmocka_unit_test(test_what_cannot_be_edited_is_refused),
        cmocka_unit_test(test_names_below_the_pool_are_reported),
        cmocka_unit_test(test_absent_with_mount),
        cmocka_unit_test(test_backing_files_are_used_too),
        cmocka_unit_test(test_what_a_domain_uses_is_found),
        cmocka_unit_test(test_the_target_of_a_pool_is_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
