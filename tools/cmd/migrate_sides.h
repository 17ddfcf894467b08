/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides that a migrate_request names, open: for `godwit migrate` and `godwit predict`. */
#ifndef TOOLS_CMD_MIGRATE_SIDES_H
#define TOOLS_CMD_MIGRATE_SIDES_H

#include "core/loop.h"
#include "core/migrate/vm.h"
#include "qmp/virt/route.h"
#include "tools/cmd/migrate_request.h"

struct migrate_sides {
    struct loop *loop;
    struct virt_route *route; /* NULL: bare QEMUs */
    struct vm *source, *destination;
};

/* Connects, looks, and touches nothing. Signals are caught by the loop from here on. On failure, too, end
 * with migrate_sides_close(). */
int migrate_sides_open(struct migrate_sides *s, const struct migrate_request *request,
                       struct err *e);
void migrate_sides_close(struct migrate_sides *s);

/* "qmp", "direct", "native"; NULL: none was chosen yet. */
const char *migrate_sides_route(const struct migrate_sides *s,
                                const struct migrate_request *request);

#endif
