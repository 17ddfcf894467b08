/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration has cost, taken from it and kept for the next one: between `godwit migrate` and
 * core/tune/costs.h. */
#ifndef TOOLS_CMD_MIGRATE_COSTS_H
#define TOOLS_CMD_MIGRATE_COSTS_H

#include "core/migrate/migrate.h"
#include "core/tune/costs.h"
#include "tools/cmd/migrate_request.h"

/* What was sent, from one progress report to the next; starts as {0}. */
struct migrate_rates {
    size_t n; /* moments that tell the link's speed, and what was sent in them */
    double bytes, ns;
    int64_t began_ns;               /* precopy, as elapsed time */
    struct migrate_progress before; /* the last report in precopy */
};

void migrate_rates_follow(struct migrate_rates *r, const struct migrate_progress *p);

/* What the link has carried, its hold-ups included: they will be there the next time, too. 0: too little was
 * sent to tell. */
double migrate_rates_link(const struct migrate_rates *r);

/* Under what the costs of this migration are kept, and found. `route` is "qmp", "direct", "native". */
void migrate_costs_key(const struct migrate_request *request, const char *route,
                       const struct vm_facts *source, const struct vm_facts *destination,
                       struct costs_key *k);

/* Of one that has succeeded, or has at least shown what the link carries. `resumed_ns`: when the destination said so, 0: it did not.
 * `silence_ns`: of the switchover, as observers saw it to its end; -1: none did. */
struct costs_case migrate_costs_case(const struct migrate_report *report,
                                     const struct vm_settings *settings,
                                     const struct migrate_rates *rates, int64_t resumed_ns,
                                     int64_t silence_ns);

#endif
