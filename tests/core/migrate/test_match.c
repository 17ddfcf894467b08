/* SPDX-License-Identifier: Apache-2.0 */
/* What is compared before anything is touched: two QEMUs that do not match are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "migrate_rig.h"

static void differ_machine(struct fake_pair *p)
{
    strcpy(p->destination.facts.machine, "pc-q35-7.2");
}

static void differ_ram(struct fake_pair *p)
{
    p->destination.facts.ram_bytes *= 2;
}

static void differ_vcpus(struct fake_pair *p)
{
    p->destination.facts.vcpus++;
}

static void differ_accelerator(struct fake_pair *p)
{
    p->source.facts.kvm = true;
}

static void same_process(struct fake_pair *p)
{
    p->destination.facts.peer_pid = p->source.facts.peer_pid;
}

static void differ_uuid(struct fake_pair *p)
{
    snprintf(p->source.facts.uuid, sizeof p->source.facts.uuid,
             "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    snprintf(p->destination.facts.uuid, sizeof p->destination.facts.uuid,
             "6ba7b811-9dad-11d1-80b4-00c04fd430c8");
}

static void source_busy(struct fake_pair *p)
{
    p->source.migration = VM_MIGRATION_ACTIVE;
    p->never_converges = p->broken = true;
    p->all_sent = true; /* so that the model leaves this migration of somebody else's alone */
}

static void source_gone(struct fake_pair *p)
{
    p->source.run = VM_RUN_MIGRATED;
    p->source.migration = VM_MIGRATION_COMPLETED;
}

static void source_off(struct fake_pair *p)
{
    p->source.run = VM_RUN_SHUTDOWN;
}

static void source_waits(struct fake_pair *p)
{
    p->source.run = VM_RUN_INCOMING;
}

static void destination_stopped(struct fake_pair *p)
{
    p->destination.run = VM_RUN_STOPPED;
}

static void destination_listens(struct fake_pair *p)
{
    p->destination.migration = VM_MIGRATION_SETUP;
}

static void source_cannot(struct fake_pair *p)
{
    p->source.check_refuses = true;
}

static void destination_cannot(struct fake_pair *p)
{
    p->destination.check_refuses = true;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        void (*set)(struct fake_pair *p);
        const char *says;
    } cases[] = {
        {differ_machine, "machine types differ: pc-q35-10.0 on the source, pc-q35-7.2 on the"},
        {differ_uuid,
         "UUIDs differ: 6ba7b810-9dad-11d1-80b4-00c04fd430c8 on the source, 6ba7b811-"},
        {differ_ram, "RAM sizes differ: 256 MiB on the source, 512 MiB"},
        {differ_vcpus, "vCPUs differ: 2 on the source, 3"},
        {differ_accelerator, "accelerators differ: KVM on the source, TCG"},
        {same_process, "are the same QEMU"},
        {source_busy, "source: a migration is already under way"},
        {source_gone, "source: its guest has already been migrated away"},
        {source_off, "source: it has no running or paused guest"},
        {source_waits, "source: it has no running or paused guest"},
        {destination_stopped, "destination: it does not wait for an incoming migration"},
        {destination_listens, "destination: its incoming migration has already been started"},
        {source_cannot, "source: this cannot be done"},
        {destination_cannot, "destination: this cannot be done"},
    };
    const struct migrate_scenario *sc = &(struct migrate_scenario){.name = "refused"};
    const uint32_t seed = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct migrate_outcome outcome, *o = &outcome;
        migrate_rig_prepare(o, sc, FAKE_NO_FAULT, 0, seed);
        cases[i].set(&o->pair);
        migrate_rig_run(o, sc);
        CHECK(o->rc == -1 && o->e.class == ERR_REFUSED);
        CHECK(!o->report.touched && o->pair.changes == 0);
        CHECK(o->report.guest == MIGRATE_GUEST_SOURCE && o->report.phases.now == PHASE_FAILED);
        if (strstr(o->e.msg, cases[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", o->e.msg, cases[i].says);
    }
}

/* That the stream is loaded by the right one is proven where both sides can. */
static void test_proof(void **state)
{
    (void)state;
    const struct migrate_scenario *sc = &(struct migrate_scenario){.name = "proof"};
    for (unsigned i = 0; i < 4; i++) {
        struct migrate_outcome outcome, *o = &outcome;
        const uint32_t seed = 1;
        migrate_rig_prepare(o, sc, FAKE_NO_FAULT, 0, seed);
        o->pair.source.can_prove = i & 1;
        o->pair.destination.can_prove = i & 2;
        migrate_rig_run(o, sc);
        CHECK(o->rc == 0);
        CHECK(o->pair.source.configured_to_prove == (i == 3));
        CHECK(o->pair.destination.configured_to_prove == (i == 3));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_proof),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
