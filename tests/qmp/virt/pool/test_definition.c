/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qmp/virt/pool/definition.h"

#define DISK_A "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"
#define DISK_B "<disk type='file'><source file='/b'/><target dev='vdb'/></disk>"
#define SATA "<controller type='sata' index='0'><address type='pci' slot='0x1f'/></controller>"
#define SERIAL "<controller type='virtio-serial' index='0'><address slot='0x02'/></controller>"
#define USB "<controller type='usb' index='0'/>"
#define NIC_1 "<interface type='user'><mac address='1'/></interface>"
#define NIC_2 "<interface type='user'><mac address='2'/></interface>"
#define NIC_3 "<interface type='user'><mac address='3'/><address slot='0x03'/></interface>"
#define DOMAIN(devices) "<domain><name>g</name><devices>" devices "</devices></domain>"

static void test_equal_definitions_are_the_same(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {DOMAIN(DISK_A), DOMAIN(DISK_A)},
        /* as libvirt 9 does with a q35 that has a channel */
        {DOMAIN(DISK_A SATA SERIAL USB), DOMAIN(DISK_A USB SERIAL SATA)},
        {DOMAIN(SATA DISK_A DISK_B), DOMAIN(DISK_A SATA DISK_B)},
        {DOMAIN(NIC_3 NIC_1 NIC_2), DOMAIN(NIC_1 NIC_2 NIC_3)},
        {DOMAIN(DISK_A),
         "<domain>\n  <name>g</name>\n  <devices>\n" DISK_A "\n</devices></domain>"},
        {"<a b='1' c='2'/>", "<a c=\"2\" b=\"1\"></a>"},
        {"<a> x</a>", "<a><!-- why --> x</a>"},
        {"<a>it&apos;s</a>", "<a>it's</a>"},
        {"<a xmlns:q='u'><q:b/></a>", "<a xmlns:p='u'><p:b/></a>"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!virt_definition_same(pairs[i][0], pairs[i][1]))
            fail_msg("%s\nis not %s", pairs[i][0], pairs[i][1]);
}

static void test_what_differs_is_reported(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {DOMAIN(DISK_A), DOMAIN(DISK_B)},
        {DOMAIN(DISK_A DISK_B), DOMAIN(DISK_B DISK_A)},
        {DOMAIN(DISK_A), DOMAIN(DISK_A DISK_A)},
        {DOMAIN(SATA SATA USB), DOMAIN(SATA USB USB)},
        {DOMAIN(NIC_1 NIC_2), DOMAIN(NIC_2 NIC_1)},
        {DOMAIN(SATA), DOMAIN("")},
        {"<a><b/><c/></a>", "<a><c/><b/></a>"},
        {"<a b='1'/>", "<a b='1' c='2'/>"},
        {"<a b='1'/>", "<a b='2'/>"},
        {"<a b='1'/>", "<a c='1'/>"},
        {"<a>x</a>", "<a>y</a>"},
        {"<a> </a>", "<a>  </a>"},
        {"<a xmlns='u'/>", "<a xmlns='v'/>"},
        {"<domain><x><devices><a/><b/></devices></x></domain>",
         "<domain><x><devices><b/><a/></devices></x></domain>"},
        {"<a/>", "no XML"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (virt_definition_same(pairs[i][0], pairs[i][1]) ||
            virt_definition_same(pairs[i][1], pairs[i][0]))
            fail_msg("%s\nis taken for %s", pairs[i][0], pairs[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_definitions_are_the_same),
        cmocka_unit_test(test_what_differs_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
