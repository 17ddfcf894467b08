/* SPDX-License-Identifier: Apache-2.0 */
/* A libvirt as the host of a pool that is moved. The header is free of libvirt's types. */
#ifndef QMP_VIRT_POOL_HOST_VIRT_H
#define QMP_VIRT_POOL_HOST_VIRT_H

#include "core/pool/host.h"

/*
 * Opens the connection to uris[0], and the pool by name, or else by UUID. The others of the `n` URIs
 * are libvirts that are asked who uses files, too; all are lent until host_virt_close(). ERR_REFUSED:
 * there is no such pool, the connection leads to another host than this one, whose files are not ours
 * to read, or the pool is not of type dir, or not persistent. ERR_LOST: no libvirt there.
 */
struct pool_host *host_virt_open(const char *const *uris, size_t n, const char *name_or_uuid,
                                 struct err *e);
void host_virt_close(struct pool_host *h); /* NULL is fine */

#endif
