/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tools/cmd/migrate_costs.h"

#define MIB (UINT64_C(1) << 20)

/* 100 ms later, with so much more sent, of so many pages. */
static void tick(struct migrate_rates *r, enum phase phase, uint64_t sent, uint64_t handled)
{
    struct migrate_progress p = r->before;
    p.phase = phase;
    p.elapsed_ns += 100 * NS_PER_MS;
    p.source.migration = VM_MIGRATION_ACTIVE;
    p.source.ram_transferred_bytes += sent;
    p.source.ram_handled_bytes += handled;
    migrate_rates_follow(r, &p);
}

static void test_the_rate_of_a_link(void **state)
{
    (void)state;
    struct migrate_rates r = {.n = 0};
    tick(&r, PHASE_PREPARING, 0, 0);
    tick(&r, PHASE_PRECOPY, 50 * MIB, 50 * MIB); /* of before: no rate */
    for (int i = 0; i < 3; i++)
        tick(&r, PHASE_PRECOPY, 40 * MIB, 40 * MIB); /* into the sockets */
    tick(&r, PHASE_PRECOPY, 1 * MIB, 200 * MIB);     /* zeros */
    for (int i = 0; i < 8; i++)
        tick(&r, PHASE_PRECOPY, 10 * MIB, 10 * MIB);
    tick(&r, PHASE_PRECOPY, 1 * MIB, 2 * MIB); /* half of it zeros */
    tick(&r, PHASE_PRECOPY, 0, 0);             /* held up */
    tick(&r, PHASE_PRECOPY, 10 * MIB, 10 * MIB);
    tick(&r, PHASE_SWITCHOVER, 20 * MIB, 20 * MIB); /* max-bandwidth does not hold there */
    assert_int_equal(r.n, 10);
    assert_true(migrate_rates_link(&r) == 90.0 * (double)MIB);
}

static void test_too_little_to_tell(void **state)
{
    (void)state;
    struct migrate_rates r = {.n = 0};
    for (int i = 0; i < 9; i++)
        tick(&r, PHASE_PRECOPY, 10000, 10000);
    assert_true(migrate_rates_link(&r) == 0);
}

static struct migrate_report report(void)
{
    struct migrate_report r = {.guest = MIGRATE_GUEST_DESTINATION,
                               .started_ns = NS_PER_S,
                               .ended_ns = 4 * NS_PER_S,
                               .downtime_observed_ns = 60 * NS_PER_MS};
    r.phases.logged = 2;
    r.phases.log[1] = (struct phase_entry){PHASE_PRECOPY, NS_PER_S + 200 * NS_PER_MS};
    r.last.migration = VM_MIGRATION_COMPLETED;
    r.last.pause_bytes = 4 * MIB;
    r.last.bandwidth_bytes_per_s = 50 * MIB;
    return r;
}

static struct migrate_rates rates(void)
{
    struct migrate_rates r = {.n = 0};
    for (int i = 0; i < 14; i++)
        tick(&r, PHASE_PRECOPY, 10 * MIB, 10 * MIB);
    return r;
}

/* 4 MiB at 100 MiB/s are 40 of the 60 ms. */
static void test_what_is_kept(void **state)
{
    (void)state;
    const struct vm_settings plain = {.downtime_limit_ns = 0};
    struct migrate_report r = report();
    struct migrate_rates sent = rates();
    struct costs_case c = migrate_costs_case(&r, &plain, &sent, 3900 * NS_PER_MS, -1);
    assert_int_equal(c.begin_ns, 200 * NS_PER_MS);
    assert_int_equal(c.pause_ns, 20 * NS_PER_MS);
    assert_int_equal(c.end_ns, 100 * NS_PER_MS);
    assert_true(c.bytes_per_s == 100.0 * (double)MIB);
}

/* What observers saw more than the standstill is kept apart from it. */
static void test_the_warm_up(void **state)
{
    (void)state;
    const struct vm_settings plain = {.downtime_limit_ns = 0};
    struct migrate_report r = report();
    struct migrate_rates sent = rates();
    struct costs_case c = migrate_costs_case(&r, &plain, &sent, 0, 75 * NS_PER_MS);
    assert_int_equal(c.warm_up_ns, 15 * NS_PER_MS);
    assert_int_equal(c.pause_ns, 20 * NS_PER_MS);
    c = migrate_costs_case(&r, &plain, &sent, 0, 59 * NS_PER_MS); /* the events came late */
    assert_int_equal(c.warm_up_ns, 0);
    assert_int_equal(migrate_costs_case(&r, &plain, &sent, 0, -1).warm_up_ns, -1);
    r.downtime_observed_ns = -1;
    assert_int_equal(migrate_costs_case(&r, &plain, &sent, 0, 75 * NS_PER_MS).warm_up_ns, -1);
    r = report();
    r.guest = MIGRATE_GUEST_SOURCE;
    assert_int_equal(migrate_costs_case(&r, &plain, &sent, 0, 75 * NS_PER_MS).warm_up_ns, -1);
}

/* One that did not end has shown the link, and nothing else. */
static void test_what_a_failure_shows(void **state)
{
    (void)state;
    const struct vm_settings plain = {.downtime_limit_ns = 0};
    struct migrate_report r = report();
    struct migrate_rates sent = rates();
    r.guest = MIGRATE_GUEST_SOURCE;
    struct costs_case c = migrate_costs_case(&r, &plain, &sent, 3900 * NS_PER_MS, -1);
    assert_true(c.bytes_per_s == 100.0 * (double)MIB);
    assert_int_equal(c.pause_ns, -1);
    assert_int_equal(c.end_ns, -1);
}

/* What cannot be known is not made up. */
static void test_what_is_not_known(void **state)
{
    (void)state;
    const struct vm_settings plain = {.downtime_limit_ns = 0}, pause = {.pause = true},
                             held = {.max_bandwidth_bytes_per_s = 100 * MIB},
                             packed = {.compression = VM_COMPRESSION_ZSTD};
    struct migrate_report r = report();
    struct migrate_rates sent = rates(), none = {.n = 0};
    assert_int_equal(migrate_costs_case(&r, &pause, &sent, 0, -1).pause_ns, -1);
    assert_int_equal(migrate_costs_case(&r, &plain, &sent, 0, -1).end_ns, -1);
    assert_true(migrate_costs_case(&r, &held, &sent, 0, -1).bytes_per_s == 0);
    assert_true(migrate_costs_case(&r, &packed, &sent, 0, -1).bytes_per_s == 0);
    r.downtime_observed_ns = 10 * NS_PER_MS; /* less than what was sent in it takes */
    assert_int_equal(migrate_costs_case(&r, &plain, &sent, 0, -1).pause_ns, -1);
    /* of libvirt's own migration nobody counts what goes in the pause: little was left, or much */
    r.downtime_observed_ns = 60 * NS_PER_MS;
    r.last.pause_bytes = 0;
    none.before.source.ram_remaining_bytes = MIB / 4;
    assert_int_equal(migrate_costs_case(&r, &plain, &none, 0, -1).pause_ns, 55 * NS_PER_MS);
    none.before.source.ram_remaining_bytes = 2 * MIB;
    assert_int_equal(migrate_costs_case(&r, &plain, &none, 0, -1).pause_ns, -1);
}

static struct costs_key key(struct migrate_request *q)
{
    const struct vm_facts facts = {.hypervisor = "QEMU 10.0.2",
                                   .machine = "pc",
                                   .vcpus = 3,
                                   .ram_bytes = 64 * MIB,
                                   .kvm = true};
    struct costs_key k;
    migrate_costs_key(q, "direct", &facts, &facts, &k);
    return k;
}

static void test_under_which_hosts(void **state)
{
    (void)state;
    char here[128];
    assert_int_equal(gethostname(here, sizeof here), 0);
    struct migrate_request domain = {
        .domain = {.domain = "g",
                   .connect = "qemu:///system",
                   .destination_uri = "qemu+ssh://root@b.example:22/system"}};
    struct costs_key k = key(&domain);
    assert_string_equal(k.source_host, here);
    assert_string_equal(k.destination_host, "b.example");
    assert_string_equal(k.source_version, "QEMU 10.0.2");
    domain.domain.destination_uri = "qemu+tls://[fd00::2]/system?x=1";
    assert_string_equal(key(&domain).destination_host, "[fd00::2]");

    struct migrate_request bare = {.source_ep = {.scheme = QMP_SSH, .host = "a"},
                                   .opt = {.via = "tcp:b:4444"}};
    k = key(&bare);
    assert_string_equal(k.source_host, "a");
    assert_string_equal(k.destination_host, "b");
    bare.source_ep.scheme = QMP_UNIX;
    bare.opt.via = "unix:/run/x";
    k = key(&bare);
    assert_string_equal(k.source_host, here);
    assert_string_equal(k.destination_host, here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rate_of_a_link),   cmocka_unit_test(test_too_little_to_tell),
        cmocka_unit_test(test_what_is_kept),         cmocka_unit_test(test_the_warm_up),
        cmocka_unit_test(test_what_a_failure_shows), cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_under_which_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
