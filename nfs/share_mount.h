/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the directory that a URL names. */
#ifndef NFS_SHARE_MOUNT_H
#define NFS_SHARE_MOUNT_H

#include "nfs/share_place.h"

/* Sets p->root and what the server says of its limits and of the room that is left. ERR_REFUSED:
 * the export or the directory is not there, or not for us. */
int share_mount_find(struct share_place *p, int64_t deadline_ns, struct err *e);

#endif
