/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "qmp/virt/incoming.h"

#define QEMU_NS " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
#define ROOT "<seclabel type='dynamic' model='dac' relabel='yes'><label>+0:+0</label></seclabel>"
#define USER \
    "<seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+64055</label></seclabel>"

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (; (text = strstr(text, word)) != NULL; text += strlen(word))
        n++;
    return n;
}

/* What becomes of a domain's end, which is where the arguments are. */
static void test_incoming_is_added_once_and_other_arguments_stay(void **state)
{
    (void)state;
    static const struct {
        const char *root, *rest;
        unsigned args; /* all that are there afterwards */
    } cases[] = {
        {"", "", 2},
        {QEMU_NS, "", 2},
        {QEMU_NS,
         "<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/>"
         "</qemu:commandline>",
         2},
        {QEMU_NS,
         "<qemu:commandline><qemu:arg value='-foo'/><qemu:arg value='bar'/>"
         "</qemu:commandline>",
         4},
        {QEMU_NS,
         "<qemu:commandline><qemu:arg value='-foo'/><qemu:arg value='-incoming'/>"
         "<qemu:arg value='defer'/><qemu:env name='A' value='b'/></qemu:commandline>",
         3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        char xml[1024];
        snprintf(xml, sizeof xml,
                 "<domain type='kvm'%s>\n  <name>old</name>\n  <devices/>%s\n</domain>",
                 cases[i].root, cases[i].rest);
        CLEANUP_FREE char *out = virt_incoming_xml(xml, "new", "id-1", &e);
        assert_non_null(out);
        assert_non_null(strstr(out, "<name>new</name>"));
        assert_int_equal(count(out, "<qemu:arg "), cases[i].args);
        assert_int_equal(count(out, "'-incoming'") + count(out, "\"-incoming\""), 1);
        assert_int_equal(count(out, "<qemu:commandline>"), 1);
        /* again, as at the next hop: nothing is added to it */
        CLEANUP_FREE char *definition = virt_incoming_definition(out, "third", &e);
        assert_non_null(definition);
        assert_non_null(strstr(definition, "<name>third</name>"));
        assert_int_equal(count(definition, "incoming"), 0);
        assert_int_equal(count(definition, "<qemu:arg "), cases[i].args - 2);
        CLEANUP_FREE char *again = virt_incoming_xml(out, "new", "id-2", &e);
        assert_non_null(again);
        assert_int_equal(count(again, "<qemu:arg "), cases[i].args);
    }
}

#define MARK(attributes) "<m:migration xmlns:m='urn:godwit:migration:1' id='1'" attributes "/>"

/* What a killed migration may have left goes, and so does no more; the title is the guest's again. */
static void test_only_leftovers_of_a_migration_go(void **state)
{
    (void)state;
    static const struct {
        const char *rest, *stays, *goes;
        int leftover;
    } cases[] = {
        {"<title>mine</title>", "<title>mine</title>", "urn:", 0},
        {"<title>moving</title><metadata>" MARK(" title='mine'") "</metadata>",
         "<title>mine</title>", "metadata", 2},
        {"<title>moving</title><metadata>" MARK(" title=''") "</metadata>", "<devices/>", "title",
         2},
        {"<title>mine</title><metadata>" MARK("") "</metadata>", "<title>mine</title>", "metadata",
         2},
        {"<metadata><x:y xmlns:x='urn:other'/>" MARK("") "</metadata>", "urn:other", "godwit", 2},
        {"<metadata/>", "<metadata/>", "urn:", 0},
        {"<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/></qemu:commandline>",
         "<devices/>", "commandline", 1},
        {"<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/>"
         "<qemu:env name='A' value='b'/></qemu:commandline>",
         "qemu:env", "qemu:arg", 1},
        /* not ours */
        {"<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='tcp:0:1'/></qemu:commandline>",
         "tcp:0:1", "defer", 0},
        {"<qemu:commandline><qemu:arg value='-x'/><qemu:arg value='defer'/></qemu:commandline>",
         "defer", "incoming", 0},
        {"<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='tcp:0:1'/><qemu:arg value='defer'/>"
         "</qemu:commandline>",
         "value=\"-incoming\"", "godwit", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        char xml[1024];
        snprintf(xml, sizeof xml,
                 "<domain type='kvm'" QEMU_NS "><name>g</name><devices/>%s</domain>",
                 cases[i].rest);
        assert_int_equal(virt_incoming_leftover(xml, &e), cases[i].leftover);
        CLEANUP_FREE char *out = virt_incoming_definition(xml, "g", &e);
        assert_non_null(out);
        if (strstr(out, cases[i].stays) == NULL || strstr(out, cases[i].goes) != NULL)
            fail_msg("case %zu: %s", i, out);
        CLEANUP_FREE char *waits = virt_incoming_xml(xml, "g", "id-7", &e);
        assert_non_null(waits);
        assert_int_equal(count(waits, "id=\"id-7\""), 1);
        assert_int_equal(count(waits, "migration:1"), 1);
        assert_int_equal(virt_incoming_leftover(waits, &e), 3);
    }
}

/* A snapshot has two domains in it, neither at the root. */
static void test_a_snapshot_is_cleaned(void **state)
{
    (void)state;
    static const char xml[] =
        "<domainsnapshot><name>s</name><title>s</title><domain" QEMU_NS
        "><name>g</name><title>moving</title>"
        "<metadata>" MARK(
            " title='mine'") "</metadata><qemu:commandline><qemu:arg value='-incoming'/>"
                             "<qemu:arg value='defer'/></qemu:commandline></domain><inactiveDomain" QEMU_NS
                             "><name>g</name>"
                             "<qemu:commandline><qemu:arg value='-foo'/><qemu:arg value='-incoming'/><qemu:arg value='defer'/>"
                             "</qemu:commandline></inactiveDomain><cookie><x/></cookie></domainsnapshot>";
    struct err e = {0};
    assert_int_equal(virt_incoming_leftover(xml, &e), 3);
    CLEANUP_FREE char *out = virt_incoming_clean(xml, &e);
    assert_non_null(out);
    assert_int_equal(virt_incoming_leftover(out, &e), 0);
    assert_int_equal(count(out, "incoming") + count(out, "defer") + count(out, "urn:godwit"), 0);
    assert_int_equal(count(out, "<qemu:commandline>"), 1);
    assert_int_equal(count(out, "-foo"), 1);
    assert_int_equal(count(out, "<title>mine</title>"), 1);
    assert_int_equal(count(out, "<title>s</title>"), 1);
    assert_int_equal(count(out, "<cookie><x/></cookie>"), 1);
    assert_null(virt_incoming_clean("<domain", &e));
}

static void test_bad_xml_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "<domain>", "no xml", "<domain><devices/></domain>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(virt_incoming_xml(bad[i], "new", "id", &e));
        assert_int_equal(e.class, ERR_PROTO);
    }
}

/* A name is text, never markup. */
static void test_a_name_is_no_markup(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_FREE char *out =
        virt_incoming_xml("<domain><name>a</name></domain>", "a<b>&c", "id", &e);
    assert_non_null(out);
    assert_non_null(strstr(out, "<name>a&lt;b&gt;&amp;c</name>"));
}

static const struct {
    const char *before, *devices, *after, *says; /* NULL: it is for the direct route */
} direct_cases[] = {
    {"", "", "", NULL},
    {"", "<emulator>/usr/bin/x</emulator><memballoon model='virtio'/>", "", NULL},
    {"", "<disk type='network' device='disk'><source protocol='nfs' name='/e/x'/></disk>", "",
     NULL},
    {"", "<disk type='network' device='disk'><source protocol='rbd' name='x'/></disk>", "",
     "its disk of type network"},
    {"", "<disk type='file' device='disk'><source file='/x'/></disk>", ROOT, NULL},
    {"", "<disk type='file' device='disk'><source file='/x'/></disk>", USER,
     "its disk of type file"},
    {"", "<disk type='file' device='disk'><source file='/x'/></disk>", "", "its disk of type"},
    {"", "<disk type='block' device='disk'><source dev='/dev/x'/></disk>", ROOT,
     "its disk of type block"},
    {"", "<disk type='file' device='cdrom'><target dev='sda'/></disk>", USER, NULL},
    {"", "<disk type='file' device='disk'><source file='/x'/><transient/></disk>", ROOT,
     "a transient disk"},
    {"", "<disk type='file' device='disk'><source file='/x'/><mirror/></disk>", ROOT,
     "a block job"},
    {"", "<interface type='bridge'/>", "", NULL},
    {"", "<interface type='bridge'><virtualport type='openvswitch'/></interface>", "",
     "its interface of type bridge"},
    {"", "<interface type='direct'/>", "", "its interface of type direct"},
    {"", "<interface type='hostdev'/>", "", "its interface of type hostdev"},
    {"", "<hostdev mode='subsystem' type='pci'/>", "", "its hostdev of type pci"},
    {"", "<tpm model='tpm-tis'/>", "", "its tpm"},
    {"", "<filesystem type='mount'/>", "", "its filesystem"},
    {"", "<channel type='spicevmc'/>", "", "its channel of type spicevmc"},
    {"", "<graphics type='spice'/>", "", "its graphics of type spice"},
    {"", "<input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/>", "", NULL},
    {"", "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input>", "",
     "its input of type passthrough"},
    {"", "<input type='evdev'><source dev='/dev/input/event1'/></input>", "",
     "its input of type evdev"},
    {"", "<video><model type='virtio' heads='1'><acceleration accel3d='no'/></model></video>", "",
     NULL},
    {"", "<video><model type='virtio'><acceleration accel3d='yes'/></model></video>", "",
     "its video"},
    {"",
     "<video><model type='virtio'><acceleration rendernode='/dev/dri/renderD128'/></model></video>",
     "", "its video"},
    {"", "<video><model type='virtio' blob='on'/></video>", "", "its video"},
    {"", "<video><driver name='vhostuser'/><model type='virtio'/></video>", "", "its video"},
    {"", "<interface type='vhostuser'/>", "", "its interface of type vhostuser"},
    {"", "<disk type='vhostuser' device='disk'/>", ROOT, "its disk of type vhostuser"},
    {"", "<graphics type='egl-headless'/>", "", "its graphics of type egl-headless"},
    {"", "<sound model='ich9'/>", "", NULL},
    {"", "<sound model='usb'/>", "", "its sound"},
    {"", "<vsock model='virtio'/>", "", "its vsock"},
    {"", "", "<qemu:override><qemu:device alias='video0'/></qemu:override>",
     "QEMU device properties"},
    {"", "<something new='1'/>", "", "its something"},
    {"<os><loader type='pflash'>/x</loader></os>", "", "", "UEFI"},
    {"<memoryBacking><hugepages/></memoryBacking>", "", "", "memory backing"},
    {"<launchSecurity type='sev'/>", "", "", "encryption"},
    {"", "",
     "<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/>"
     "</qemu:commandline>",
     NULL},
    {"", "",
     "<qemu:commandline><qemu:arg value='-trace'/><qemu:arg value='enable=vmstate_*'/>"
     "</qemu:commandline>",
     NULL},
    {"", "",
     "<qemu:commandline><qemu:arg value='-trace'/>"
     "<qemu:arg value='enable=x,file=/etc/passwd'/></qemu:commandline>",
     "QEMU arguments"},
    {"", "",
     "<qemu:commandline><qemu:arg value='-x'/><qemu:arg value='enable=y'/>"
     "</qemu:commandline>",
     "QEMU arguments"},
    {"", "", "<qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>",
     "QEMU arguments of its own"},
};

static void test_what_the_direct_route_cannot_move_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof direct_cases / sizeof *direct_cases; i++) {
        struct err e = {0};
        char xml[2048];
        snprintf(xml, sizeof xml, "<domain" QEMU_NS ">%s<devices>%s</devices>%s</domain>",
                 direct_cases[i].before, direct_cases[i].devices, direct_cases[i].after);
        int rc = virt_incoming_check(xml, &e);
        if (direct_cases[i].says == NULL && rc < 0)
            fail_msg("%s: %s", xml, e.msg);
        if (direct_cases[i].says != NULL &&
            (rc == 0 || e.class != ERR_REFUSED || strstr(e.msg, direct_cases[i].says) == NULL))
            fail_msg("%s: '%s' does not say '%s'", xml, e.msg, direct_cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incoming_is_added_once_and_other_arguments_stay),
        cmocka_unit_test(test_only_leftovers_of_a_migration_go),
        cmocka_unit_test(test_a_snapshot_is_cleaned),
        cmocka_unit_test(test_bad_xml_is_refused),
        cmocka_unit_test(test_a_name_is_no_markup),
        cmocka_unit_test(test_what_the_direct_route_cannot_move_is_refused),
    };
    return cmocka_run_group_tests_name("incoming", tests, NULL, NULL);
}
