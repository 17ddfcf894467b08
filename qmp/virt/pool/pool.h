/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storage pool of a host, and the host's domains as far as they use it: for what moves pools.
 * The header is free of libvirt's types.
 */
#ifndef QMP_VIRT_POOL_POOL_H
#define QMP_VIRT_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

struct virt_pool;

enum { VIRT_POOL_UUID_TEXT = 37 };

/*
 * Opens the connection, and the pool by name, or else by UUID. ERR_REFUSED: there is none, the
 * connection leads to another host than this one, whose files are not ours to read, or the pool is
 * not of type dir, or not persistent. ERR_LOST: no libvirt there.
 */
struct virt_pool *virt_pool_open(const char *uri, const char *name_or_uuid, struct err *e);
void virt_pool_close(struct virt_pool *p); /* NULL is fine */

const char *virt_pool_name(const struct virt_pool *p);
const char *virt_pool_uuid(const struct virt_pool *p);
const char *virt_pool_uri(const struct virt_pool *p);

/* The persistent XML, free() it. Capacity, allocation and available in it are of the moment. */
char *virt_pool_xml(struct virt_pool *p, struct err *e);

/* The target path in such an XML, free() it. */
char *virt_pool_target(const char *xml, struct err *e);

/* Whether two such XMLs differ in no more than what is of the moment. */
bool virt_pool_same(const char *xml, const char *other);

/* Whether it is active: 1 or 0. */
int virt_pool_active(struct virt_pool *p, struct err *e);

/*
 * Makes `xml` its definition, and starts it with that. It is stopped for a moment, which touches no
 * volume and no domain; autostart stays. On failure it may be stopped, with either definition: call
 * it with the old one.
 */
int virt_pool_define(struct virt_pool *p, const char *xml, struct err *e);

struct virt_volume {
    char *name; /* in the pool's directory */
    enum { VIRT_VOLUME_FILE, VIRT_VOLUME_DIRECTORY, VIRT_VOLUME_OTHER } type;
};

/* Its volumes, as of its last refresh. */
int virt_pool_volumes(struct virt_pool *p, struct virt_volume **volumes, size_t *n, struct err *e);
void virt_volumes_free(struct virt_volume *volumes, size_t n);

/* ---- domains, by their UUID ---- */

struct virt_pool_domain {
    char uuid[VIRT_POOL_UUID_TEXT];
    char name[256];
    bool active, persistent;
    bool saved;     /* it has a managed save image */
    int snapshots;  /* and checkpoints */
    char *xml;      /* the persistent one, with its secrets; NULL of one that is transient */
    char *live_xml; /* of one that is active */
};

/* All domains of the host, by name. */
int virt_pool_domains(struct virt_pool *p, struct virt_pool_domain **domains, size_t *n,
                      struct err *e);
void virt_pool_domains_free(struct virt_pool_domain *domains, size_t n);

int virt_pool_domain_active(struct virt_pool *p, const char *uuid, struct err *e); /* 1, 0, -1 */
/* free() them; e->sys is ENOENT where there is no such domain. */
char *virt_pool_domain_xml(struct virt_pool *p, const char *uuid, struct err *e);
char *virt_pool_domain_live_xml(struct virt_pool *p, const char *uuid, struct err *e);
int virt_pool_domain_define(struct virt_pool *p, const char *xml, struct err *e);
int virt_pool_domain_start(struct virt_pool *p, const char *uuid, struct err *e);
/* Asks the guest to shut down, and does not wait. One that is not active is fine. */
int virt_pool_domain_shutdown(struct virt_pool *p, const char *uuid, struct err *e);

#endif
