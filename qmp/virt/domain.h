/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One domain on one host, known by its UUID: also while it does not exist there (yet).
 */
#ifndef QMP_VIRT_DOMAIN_H
#define QMP_VIRT_DOMAIN_H

#include "core/cleanup.h"
#include "qmp/virt/host.h"

struct virt_domain {
    struct virt_host *host; /* lent */
    char uuid[VIRT_UUID_TEXT];
    const char *name; /* whole: a kept text (core/text.h) */
};

static inline void virt_domain_free_ptr(virDomainPtr *dom)
{
    if (*dom != NULL)
        virDomainFree(*dom);
}

static inline void virt_connection_free_ptr(virConnectPtr *conn)
{
    if (*conn != NULL)
        virConnectClose(*conn);
}

#define CLEANUP_DOMAIN CLEANUP(virt_domain_free_ptr)
#define CLEANUP_CONNECTION CLEANUP(virt_connection_free_ptr)

/* By name, or else by UUID. ERR_REFUSED: there is none. */
int virt_domain_find(struct virt_host *h, const char *name_or_uuid, struct virt_domain *d,
                     struct err *e);

/* By its UUID, for one call or a few: virDomainFree() it. NULL: e->sys is ENOENT where there is
 * none. */
virDomainPtr virt_domain_get(const struct virt_domain *d, struct err *e);

/* The same, without asking libvirt whether it is there, where it was looked up before: for a call that tells so itself.
 * A call on a domain that is gone ends in VIR_ERR_NO_DOMAIN; its number (virDomainGetID()) may be an older one's. */
virDomainPtr virt_domain_handle(const struct virt_domain *d, struct err *e);

/* Whether it exists and its QEMU lives, in libvirt's word: 1 or 0; -1: libvirt does not answer. */
int virt_domain_active(const struct virt_domain *d, struct err *e);
/* The same, and with 1 the domain: virDomainFree() it. */
int virt_domain_get_active(const struct virt_domain *d, virDomainPtr *dom, struct err *e);

/* libvirt's number of the QEMU that runs for it, another one for each start; -1: it does not run, or
 * libvirt does not answer (then *e is set). Numbers may come again after libvirtd has restarted. */
int virt_domain_instance(const struct virt_domain *d, struct err *e);

/* Its XML, with the secrets in it; `flags` is more of virDomainXMLFlags. free() it. */
char *virt_domain_xml(const struct virt_domain *d, unsigned flags, struct err *e);

/* Ends its QEMU. A domain that is not active is fine. */
int virt_domain_destroy(const struct virt_domain *d, struct err *e);

#endif
