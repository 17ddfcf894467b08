/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pause of one migration, taken apart: when each thing in it happened, and how long each device
 * took. See struct trial_pause. Of each boundary the first source that is there counts:
 *
 *   last_beat     the last heartbeat from the source, before the first from the destination. It is
 *                 stamped when it is read: where the reader waits for a processor, after stopped
 *   stopped       the source's event STOP; its checkpoint src-vm-stopped
 *   ram_sent      its checkpoint src-iterable-saved
 *   devices_sent  its checkpoint src-non-iterable-saved
 *   loaded        the destination's checkpoint dst-precopy-loadvm-completed, in postcopy
 *                 dst-postcopy-bh-enter: it has all that it needs to run
 *   resumed       its event RESUME; its checkpoint dst-precopy-bh-vm-started, in postcopy
 *                 dst-postcopy-bh-vm-started
 *   first_beat    the first heartbeat from the destination
 *
 * The checkpoints, and the times of devices, are QEMU's from 8.2 on; older ones leave ram_sent,
 * devices_sent, loaded and the devices unknown. With a clock of its own (another machine) a
 * destination's log cannot be put beside the source's: do not give it.
 * Source: QEMU 10.0, migration/migration.c and migration/savevm.c, and seen so on 10.0.2.
 */
#ifndef BENCH_MIGRATE_PAUSE_H
#define BENCH_MIGRATE_PAUSE_H

#include "bench/migrate/trace_log.h"
#include "bench/migrate/trial.h"

/* Fills in t->pause from t->timeline and the logs, whose times are relative to the trial's start.
 * What cannot be known is TRIAL_NEVER. ERR_IO: no memory. */
int pause_fill(struct trial *t, const struct trace_log log[TRIAL_SIDES], struct err *e);

#endif
