/* SPDX-License-Identifier: Apache-2.0 */
/* What the direct route makes of a domain's XML, and which domains it is for. */
#ifndef QMP_VIRT_INCOMING_H
#define QMP_VIRT_INCOMING_H

#include "core/err.h"

/*
 * The XML of the destination's domain: as the source's migratable XML, named `name`, with a QEMU
 * that waits for an incoming migration. An -incoming that an earlier migration has left in it goes.
 * free() it.
 */
char *virt_incoming_xml(const char *migratable, const char *name, struct err *e);

/*
 * The definition that a domain is to have on the destination: this inactive XML, named `name`,
 * without such an -incoming: a transient domain that came by the direct route has it there, too.
 * free() it.
 */
char *virt_incoming_definition(const char *inactive, const char *name, struct err *e);

/*
 * Whether the domain of this live XML has nothing but what the direct route has been seen to move
 * (tests/lab/test-direct.sh). ERR_REFUSED: the first thing that it has not, by name; the native
 * route is for that.
 */
int virt_incoming_check(const char *live, struct err *e);

#endif
