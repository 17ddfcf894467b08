/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories of a share that are open. */
#ifndef NFS_SHARE_FILE_H
#define NFS_SHARE_FILE_H

#include "nfs/share_place.h"

/*
 * The handle is stale: looks the file's present name up again, and takes its new handle if it is
 * still the same file. 0; -1: ESTALE, it is not; or the error of asking, which may pass. Blocks for
 * a few seconds at most.
 */
int share_file_renew(struct share_file *f, struct err *e);

/* Of the store port. */
struct store_file *share_file_open(struct store_place *place, const char *name, enum store_how how,
                                   uint64_t size_bytes, struct err *e);
int share_file_publish(struct store_file *file, const char *final, const struct store_attr *attr,
                       const struct store_attr *replaces, struct err *e);
void share_file_close(struct store_file *file);

#endif
