/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of a migration on a running domain: who may act on it, and what an operator should know.
 *
 * It is an element in the metadata of the running domain, never of a definition, with an id that is
 * drawn for one migration. It ends with the QEMU that it was set on: another one of the same UUID,
 * started since by whomever, has none. So a domain that has our id is the one that we made, or are
 * moving, and no other may be suspended or ended by us. The source's title tells people, too. And it
 * says which godwit has set it: while that one lives the mark is not to be taken away.
 */
#ifndef QMP_VIRT_MARK_H
#define QMP_VIRT_MARK_H

#include "core/owner.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/xml.h"

#define VIRT_MARK_NAMESPACE "urn:godwit:migration:1"

/* A fresh id. */
void virt_mark_draw(char id[VIRT_UUID_TEXT]);

/* Marks the running source; `peer` is the destination's URI. ERR_VIRT: also where it bears the mark of
 * another godwit that is known to live. On failure it bears none of ours. */
int virt_mark_set(const struct virt_domain *d, const char *id, const char *peer, struct err *e);

/* Takes any mark off a running domain. One that has none, or is not there, is fine. */
int virt_mark_clear(const struct virt_domain *d, struct err *e);

/* Whether the domain's running QEMU bears this id: 1; 0: it does not run, or it is another one; -1:
 * libvirt does not answer. */
int virt_mark_is(const struct virt_domain *d, const char *id, struct err *e);

/* Ends the domain's QEMU if it bears this id. 0: it does not run (any more); -1: ERR_REFUSED, another
 * QEMU runs under its UUID, and is left alone; or libvirt does not answer. */
int virt_mark_destroy(const struct virt_domain *d, const char *id, struct err *e);

/* The godwit that has set the mark. */
struct virt_mark_owner {
    uint32_t pid;     /* 0: the mark does not tell */
    const char *host; /* its name; kept */
    const char
        *covered; /* the title that the domain had before, "": none; kept. NULL: it has its own */
    enum owner_state state; /* as this host can tell */
};

/* Of the mark on a running domain: 1; 0: it has none, or libvirt does not answer. */
int virt_mark_owner(virDomainPtr dom, struct virt_mark_owner *o);

/* ---- in XML ---- */

/* Takes any mark away, and gives the title back that it has covered. */
void virt_mark_strip(xmlDocPtr doc);
bool virt_mark_in(xmlDocPtr doc);

/* For a domain that is to be made. */
void virt_mark_add(xmlDocPtr doc, const char *id);

#endif
