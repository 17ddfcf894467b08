/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_MIGRATE_ROLLBACK_H
#define CORE_MIGRATE_ROLLBACK_H

#include "core/migrate/migration.h"

/* The one way back from every failure after the start: afterwards report->guest is right, or it is
 * unknown and m->why_unknown says what a person can do. */
void rollback_migration(struct migration *m);

#endif
