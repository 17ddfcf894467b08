/* SPDX-License-Identifier: Apache-2.0 */
/* What the direct route makes of a domain's XML, and which domains it is for. */
#ifndef QMP_VIRT_INCOMING_H
#define QMP_VIRT_INCOMING_H

#include "core/err.h"

/*
 * The XML of the destination's domain: as the source's migratable XML, named `name`, with a QEMU
 * that waits for an incoming migration, and the mark of migration `id` (qmp/virt/mark.h). What an
 * earlier migration has left in it goes. free() it.
 */
char *virt_incoming_xml(const char *migratable, const char *name, const char *id, struct err *e);

/*
 * The same XML, named `name`, without anything of ours: neither the arguments "-incoming defer",
 * which the running XML of a domain has that came by the direct route, nor a mark. With these
 * arguments a definition would start a QEMU that waits for a migration forever. free() it.
 */
char *virt_incoming_definition(const char *xml, const char *name, struct err *e);

/* What of ours is in the XML of a domain, of a saved one or of a snapshot: 0, or some of these; -1: it is
 * no XML. */
enum virt_leftover { VIRT_LEFTOVER_ARGUMENTS = 1, VIRT_LEFTOVER_MARK = 2 };
int virt_incoming_leftover(const char *xml, struct err *e);

/* The same XML without that. free() it. */
char *virt_incoming_clean(const char *xml, struct err *e);

/*
 * Whether the domain of this live XML has nothing but what the direct route has been seen to move
 * (tests/lab/test-direct.sh). ERR_REFUSED: the first thing that it has not, by name; the native
 * route is for that.
 */
int virt_incoming_check(const char *live, struct err *e);

#endif
