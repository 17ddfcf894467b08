/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controller (core/tune/control.h) decides about a migration in precopy, carried out. Not for
 * others than the engine.
 */
#ifndef CORE_MIGRATE_STEER_H
#define CORE_MIGRATE_STEER_H

#include "core/migrate/migration.h"

/* Before anything is touched: looks up what is known. ERR_REFUSED: what was promised cannot be kept. */
int steer_check(struct migration *m, struct err *e);

/* Sets the limit to begin with, after the source has been configured. */
int steer_begin(struct migration *m, struct err *e);

/* After each sample of the source in precopy. -1: it is to be given up, *e tells why. That the source
 * does not take a setting is no reason to: it is said, and tried again when the next one is due. */
int steer_precopy(struct migration *m, struct err *e);

/* When the next sample is due. */
int64_t steer_tick_ns(const struct migration *m);

#endif
