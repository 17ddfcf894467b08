/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Postcopy that has lost its connection is taken up again. Not for others than the engine.
 */
#ifndef CORE_MIGRATE_RECOVER_H
#define CORE_MIGRATE_RECOVER_H

#include "core/migrate/migration.h"

/*
 * Follows postcopy until everything has been sent, over as many connections as that takes. -1: as
 * migration_follow() says; where the connection is lost (ERR_LOST, ERR_TIMEOUT) it was tried for
 * RECOVER_FOR_NS, or until an interrupt, or one side is known to have ended, or cannot do it. The guest then
 * still needs both sides.
 */
int recover_follow(struct migration *m, struct err *e);

#endif
