/* SPDX-License-Identifier: Apache-2.0 */
#include "core/migrate/match.h"

#include <inttypes.h>
#include <string.h>

static int match_source(const struct vm_facts *s, struct err *e)
{
    if (vm_migration_busy(s->migration))
        return err_set(e, ERR_REFUSED, 0, "source: a migration is already under way");
    if (s->run == VM_RUN_MIGRATED || s->run == VM_RUN_FINISHING) {
        err_set(e, ERR_REFUSED, 0, "source: its guest has already been migrated away");
        return err_hint(e, "end this QEMU when its guest is known to run elsewhere; if it runs "
                           "nowhere, 'cont' takes it back");
    }
    if (s->run != VM_RUN_RUNNING && s->run != VM_RUN_STOPPED)
        return err_set(e, ERR_REFUSED, 0, "source: it has no running or paused guest");
    return 0;
}

static int match_destination(const struct vm_facts *d, struct err *e)
{
    if (d->run == VM_RUN_INCOMING && d->migration == VM_MIGRATION_NONE)
        return 0;
    if (d->run == VM_RUN_INCOMING)
        err_set(e, ERR_REFUSED, 0, "destination: its incoming migration has already been started");
    else
        err_set(e, ERR_REFUSED, 0, "destination: it does not wait for an incoming migration");
    return err_hint(e, "start the destination's QEMU anew, with -incoming defer");
}

static int match_pair(const struct vm_facts *s, const struct vm_facts *d, struct err *e)
{
    if (strcmp(s->machine, d->machine) != 0) {
        err_set(e, ERR_REFUSED, 0, "machine types differ: %s on the source, %s on the destination",
                s->machine, d->machine);
        return err_hint(e, "start the destination's QEMU with -machine %s", s->machine);
    }
    if (s->uuid[0] != '\0' && d->uuid[0] != '\0' && strcmp(s->uuid, d->uuid) != 0) {
        err_set(e, ERR_REFUSED, 0, "UUIDs differ: %s on the source, %s on the destination", s->uuid,
                d->uuid);
        return err_hint(e, "is it the right one? Then start the destination's QEMU with -uuid %s",
                        s->uuid);
    }
    if (s->ram_bytes != d->ram_bytes)
        return err_set(e, ERR_REFUSED, 0,
                       "RAM sizes differ: %" PRIu64 " MiB on the source, %" PRIu64
                       " MiB on the destination",
                       s->ram_bytes >> 20, d->ram_bytes >> 20);
    if (s->vcpus != d->vcpus)
        return err_set(e, ERR_REFUSED, 0, "vCPUs differ: %u on the source, %u on the destination",
                       s->vcpus, d->vcpus);
    if (s->kvm != d->kvm)
        return err_set(e, ERR_REFUSED, 0,
                       "accelerators differ: %s on the source, %s on the destination",
                       s->kvm ? "KVM" : "TCG", d->kvm ? "KVM" : "TCG");
    return 0;
}

int match_facts(const struct vm_facts *source, const struct vm_facts *destination, struct err *e)
{
    if (source->peer_pid > 0 && source->peer_pid == destination->peer_pid)
        return err_set(e, ERR_REFUSED, 0, "source and destination are the same QEMU");
    if (match_source(source, e) < 0 || match_destination(destination, e) < 0)
        return -1;
    return match_pair(source, destination, e);
}
