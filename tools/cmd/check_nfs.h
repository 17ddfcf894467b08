/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit check` asks NFS servers: on behalf of a domain's disks, or of a share alone. */
#ifndef TOOLS_CMD_CHECK_NFS_H
#define TOOLS_CMD_CHECK_NFS_H

#include "core/check_list.h"
#include "qmp/virt/check/check.h"

/* The servers of the domain's NFS disks; `destination` may be NULL. -1: the domain cannot be
 * read. */
int check_nfs_domain(struct virt_host *source, struct virt_host *destination,
                     const struct virt_domain *d, struct check_list *l, struct err *e);

/* A share that `need_bytes` are to go to; writable by the QEMU users of both hosts, the second of
 * which may be NULL. */
int check_nfs_share(struct virt_host *one, struct virt_host *other, const char *url,
                    uint64_t need_bytes, struct check_list *l, struct err *e);

#endif
