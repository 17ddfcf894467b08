/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the checks that need no host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/virt/check/check_run.h"
#include "qmp/virt/unfinished.h"

#define DOMAIN(devices) "<domain type='kvm'><name>g</name><devices>" devices "</devices></domain>"

static void devices(const char *xml, struct check_list *l)
{
    struct err e = {0};
    *l = (struct check_list){0};
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "a domain", &e);
    assert_non_null(doc);
    check_devices_of_xml(doc, "qemu:///system", l);
}

static void one(const char *xml, enum check_verdict verdict, const char *what, const char *fix)
{
    struct check_list l;
    devices(xml, &l);
    if (l.n != 1 || l.at[0].verdict != verdict || strcmp(l.at[0].what, what) != 0)
        fail_msg("%zu findings; %s: %s: %s (%s)", l.n, check_verdict_name(l.at[0].verdict),
                 l.at[0].what, l.at[0].sentence, xml);
    if (fix != NULL && fix[0] == '\0')
        assert_null(l.at[0].fix);
    else if (fix != NULL)
        assert_string_equal(l.at[0].fix, fix);
    check_list_free(&l);
}

#define HOSTDEV(type, more) \
    "<hostdev mode='subsystem' type='" type "'><source/>" more "<alias name='hostdev0'/></hostdev>"

static void unfinished_migrations(void **state)
{
    (void)state;
    static const struct {
        const char *run, *migration, *there;
        enum virt_left left;
    } cases[] = {
        {"running", "none", NULL, VIRT_LEFT_NOTHING},
        {"running", "completed", NULL, VIRT_LEFT_NOTHING},
        {"paused", "cancelled", NULL, VIRT_LEFT_NOTHING},
        {"running", "active", NULL, VIRT_LEFT_NOTHING},
        {"running", "active", "inmigrate", VIRT_LEFT_UNDER_WAY},
        {"finish-migrate", "pre-switchover", "inmigrate", VIRT_LEFT_AT_GATE},
        {"finish-migrate", "pre-switchover", NULL, VIRT_LEFT_AT_GATE},
        {"finish-migrate", "pre-switchover", "running", VIRT_LEFT_RUNS_THERE},
        {"finish-migrate", "pre-switchover", "", VIRT_LEFT_UNKNOWN},
        {"finish-migrate", "device", "inmigrate", VIRT_LEFT_UNDER_WAY},
        {"running", "setup", "inmigrate", VIRT_LEFT_UNDER_WAY},
        {"running", "cancelling", "inmigrate", VIRT_LEFT_UNDER_WAY},
        {"running", "failed", "inmigrate", VIRT_LEFT_WAITING},
        {"paused", "none", "inmigrate", VIRT_LEFT_WAITING},
        {"postmigrate", "completed", "running", VIRT_LEFT_MOVED},
        {"postmigrate", "completed", "inmigrate", VIRT_LEFT_LOADING},
        {"postmigrate", "completed", "paused", VIRT_LEFT_LOADED},
        {"postmigrate", "completed", NULL, VIRT_LEFT_SENT},
        {"postmigrate", "completed", "", VIRT_LEFT_UNKNOWN},
        {"running", "completed", "running", VIRT_LEFT_TWICE},
        {"running", "cancelled", "paused", VIRT_LEFT_COPY},
        {"paused", "none", "running", VIRT_LEFT_RUNS_THERE},
        {"paused", "none", "paused", VIRT_LEFT_UNKNOWN},
        {"running", "none", "", VIRT_LEFT_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (virt_left_is(cases[i].run, cases[i].migration, cases[i].there) != cases[i].left)
            fail_msg("case %zu", i);
}

static void devices_that_block(void **state)
{
    (void)state;
    one(DOMAIN(HOSTDEV("pci", "")), CHECK_REFUSE, "host device hostdev0",
        "virsh -c qemu:///system detach-device-alias --live g hostdev0");
    one(DOMAIN(HOSTDEV("mdev", "")), CHECK_REFUSE, "host device hostdev0", NULL);
    one(DOMAIN(HOSTDEV("scsi", "")), CHECK_REFUSE, "host device hostdev0", NULL);
    one(DOMAIN(HOSTDEV("usb", "")), CHECK_WARN, "host device hostdev0", NULL);
    one(DOMAIN("<interface type='hostdev'><mac address='52:54:00:00:00:01'/></interface>"),
        CHECK_REFUSE, "host device 52:54:00:00:00:01",
        "virsh -c qemu:///system detach-interface --live g hostdev --mac 52:54:00:00:00:01");
    one(DOMAIN("<disk type='file'><source file='/a'/><target dev='vda'/><transient/></disk>"),
        CHECK_REFUSE, "transient disk vda",
        "virt-xml -c qemu:///system g --edit target=vda --disk transient=no");
    one(DOMAIN("<shmem name='s'/>"), CHECK_REFUSE, "shared memory s", NULL);
    one(DOMAIN("<filesystem><driver type='virtiofs'/><target dir='t'/></filesystem>"), CHECK_REFUSE,
        "virtiofs t", NULL);
    one(DOMAIN("<filesystem type='mount'><target dir='t'/></filesystem>"), CHECK_REFUSE, "9p t",
        NULL);
    one(DOMAIN(
            "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input>"),
        CHECK_REFUSE, "host device /dev/input/event1", NULL);
    one(DOMAIN("<input type='evdev'><source dev='/dev/input/event1'/></input>"), CHECK_WARN,
        "host device /dev/input/event1", NULL);
    one(DOMAIN(
            "<video><model type='virtio'><acceleration accel3d='yes'/></model><alias name='video0'/></video>"),
        CHECK_REFUSE, "3D video video0", NULL);
    one(DOMAIN(
            "<video><driver name='vhostuser'/><model type='virtio'/><alias name='video0'/></video>"),
        CHECK_REFUSE, "vhost-user video video0", NULL);
    one("<domain><name>g</name><cpu><feature policy='require' name='invtsc'/></cpu><devices/>"
        "</domain>",
        CHECK_REFUSE, "CPU feature invtsc", NULL);
    one("<domain xmlns:qemu='" XML_QEMU_NAMESPACE "'><name>g</name><devices/><qemu:commandline>"
        "<qemu:arg value='-x'/></qemu:commandline></domain>",
        CHECK_WARN, "QEMU arguments", NULL);
}

static void devices_that_do_not(void **state)
{
    (void)state;
    one(DOMAIN("<interface type='bridge'/><disk type='file'><target dev='vda'/></disk>"), CHECK_OK,
        "devices", "");
    one(DOMAIN(HOSTDEV("pci", "<teaming type='transient' persistent='ua-0'/>")), CHECK_OK,
        "devices", "");
    one(DOMAIN("<interface type='hostdev'><teaming type='transient' persistent='ua-0'/>"
               "</interface>"),
        CHECK_OK, "devices", "");
    one(DOMAIN("<shmem name='s' role='master'/>"), CHECK_OK, "devices", "");
    one("<domain><name>g</name><cpu><feature policy='require' name='invtsc'/></cpu>"
        "<clock><timer name='tsc' frequency='1'/></clock><devices/></domain>",
        CHECK_OK, "devices", "");
}

static void no_refusal_hides_another(void **state)
{
    (void)state;
    struct check_list l;
    devices(DOMAIN(HOSTDEV("pci", "") HOSTDEV("mdev", "") "<shmem name='s'/>"), &l);
    assert_int_equal(check_list_count(&l, CHECK_REFUSE), 3);
    check_list_free(&l);
}

static void clocks(void **state)
{
    (void)state;
    assert_int_equal(check_clock_verdict(0, 0), CHECK_OK);
    assert_int_equal(check_clock_verdict(499 * NS_PER_MS, 0), CHECK_OK);
    assert_int_equal(check_clock_verdict(-501 * NS_PER_MS, 0), CHECK_WARN);
    assert_int_equal(check_clock_verdict(900 * NS_PER_MS, 500 * NS_PER_MS), CHECK_OK);
    assert_int_equal(check_clock_verdict(-3600 * NS_PER_S, NS_PER_S), CHECK_WARN);
}

static void ports_of_a_conf(void **state)
{
    (void)state;
    struct virt_address a = {.host = "b", .port_first = 49152, .port_last = 49215};
    virt_address_of_conf("", &a);
    virt_address_of_conf("# migration_port_min = 1\nmigration_port_minimum = 2\n"
                         "migration_port_min = x\nmigration_port_max = 70000\n"
                         "#migration_host = \"no\"\nmigration_host = \"\"\n"
                         "migration_host = \"unended\nx = \"\"\n",
                         &a);
    assert_int_equal(a.port_first, 49152);
    assert_int_equal(a.port_last, 49215);
    assert_string_equal(a.host, "b");
    virt_address_of_conf("migration_address = \"::\"\nmigration_port_min=50000\n"
                         " migration_port_max\t=  50010 # ours\n"
                         "migration_host = \"b.san.example\" # ours",
                         &a);
    assert_int_equal(a.port_first, 50000);
    assert_int_equal(a.port_last, 50010);
    assert_string_equal(a.host, "b.san.example");
}

static void capabilities(void **state)
{
    (void)state;
    char a[200], b[200], both[200], only_a[200], only_b[200];
    assert_false(check_capability_names("sh: 1: qemu: not found", a, sizeof a));
    assert_false(check_capability_names("{\"error\": {\"desc\": \"no \\\"capability\\\"\"}}", a,
                                        sizeof a));
    assert_true(check_capability_names(
        "{\"QMP\": {}}\r\n{\"return\": {}}\r\n{\"return\": [{\"state\": false, \"capability\": "
        "\"multifd\"}, {\"state\": false, \"capability\": \"x-multifd\"}, {\"capability\": "
        "\"compress\"}]}\r\n{\"return\": {}}",
        a, sizeof a));
    assert_string_equal(a, "multifd\nx-multifd\ncompress\n");
    assert_true(check_capability_names("{\"return\": [{\"capability\": \"dirty-limit\"}, "
                                       "{\"capability\": \"multifd\"}]}",
                                       b, sizeof b));
    check_capability_compare(a, b, both, only_a, only_b, sizeof both);
    assert_string_equal(both, "multifd");
    assert_string_equal(only_a, "x-multifd, compress");
    assert_string_equal(only_b, "dirty-limit");
}

/* So that ssh connects meanwhile: what answers later is what was begun. */
static void shell_begun_early(void **state)
{
    (void)state;
    char said[64], pid[32];
    struct err e = {0};
    struct shell s;
    virt_host_shell("qemu:///system", &s);
    shell_begin(&s);
    assert_true(s.child > 0);
    snprintf(pid, sizeof pid, "%ld", (long)s.child);
    assert_int_equal(shell_run(&s, "echo $$", said, sizeof said, 20 * NS_PER_S, &e), 0);
    assert_string_equal(said, pid);
    shell_begin(&s);
    assert_int_equal(shell_run(&s, "echo $$", said, sizeof said, 20 * NS_PER_S, &e), 0);
    assert_string_equal(said, pid);
    shell_close(&s);
    virt_host_shell("qemu+tls://b/system", &s);
    shell_begin(&s);
    assert_int_equal(s.child, 0);
}

static void shells(void **state)
{
    (void)state;
    struct shell s;
    virt_host_shell("qemu:///system", &s);
    assert_int_equal(s.kind, SHELL_LOCAL);
    assert_string_equal(shell_command(&s, "ip link"), "ip link");
    virt_host_shell("qemu+ssh://root@b:2222/system?keyfile=/k&no_verify=1", &s);
    assert_int_equal(s.kind, SHELL_SSH);
    assert_string_equal(s.login, "root@b");
    assert_string_equal(s.port, "2222");
    assert_string_equal(s.keyfile, "/k");
    assert_string_equal(shell_command(&s, "ip link"), "ssh -p 2222 root@b 'ip link'");
    virt_host_shell("qemu+tls://b/system", &s);
    assert_int_equal(s.kind, SHELL_NONE);
    assert_string_equal(s.host, "b");
    virt_host_shell("qemu+ssh://-oProxyCommand=x/system", &s);
    assert_int_equal(s.kind, SHELL_NONE);
}

static void a_shell_answers(void **state)
{
    (void)state;
    struct shell s;
    struct err e = {0};
    char said[8];
    virt_host_shell("qemu:///system", &s);
    assert_int_equal(
        shell_run(&s, "echo out; echo err >&2; exit 3", said, sizeof said, 5 * NS_PER_S, &e), 3);
    assert_string_equal(said, "out\nerr"); /* and cut */
    assert_int_equal(shell_run(&s, "cat; true", said, sizeof said, 5 * NS_PER_S, &e), 0);
    assert_string_equal(said, "");
    assert_int_equal(shell_run(&s, "kill -9 $$", said, sizeof said, 5 * NS_PER_S, &e), -1);
    assert_int_equal(e.class, ERR_LOST);
    err_clear(&e);
    assert_int_equal(shell_run(&s, "printf again", said, sizeof said, 5 * NS_PER_S, &e), 0);
    assert_string_equal(said, "again");
    assert_int_equal(shell_run(&s, "sleep 60 & sleep 60", said, sizeof said, 200 * NS_PER_MS, &e),
                     -1);
    assert_int_equal(e.class, ERR_TIMEOUT);
    shell_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unfinished_migrations),
        cmocka_unit_test(devices_that_block),
        cmocka_unit_test(devices_that_do_not),
        cmocka_unit_test(no_refusal_hides_another),
        cmocka_unit_test(clocks),
        cmocka_unit_test(ports_of_a_conf),
        cmocka_unit_test(capabilities),
        cmocka_unit_test(shells),
        cmocka_unit_test(shell_begun_early),
        cmocka_unit_test(a_shell_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
