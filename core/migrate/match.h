/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a guest can go from one side to the other, as far as facts tell. */
#ifndef CORE_MIGRATE_MATCH_H
#define CORE_MIGRATE_MATCH_H

#include "core/migrate/vm.h"

/* ERR_REFUSED with the first reason against: the source has no guest to give, the destination does
 * not wait for one, they are the same, or they differ in what a migration cannot change. */
int match_facts(const struct vm_facts *source, const struct vm_facts *destination, struct err *e);

#endif
