/* SPDX-License-Identifier: Apache-2.0 */
/* The data path of a share: a few carriers that are alike, each request to the least loaded. */
#ifndef NFS_SHARE_DATA_H
#define NFS_SHARE_DATA_H

#include "nfs/share.h"
#include "nfs/share_conn.h"

struct share_data;

/* `target` is copied, its host is lent until share_data_close(). NULL: ERR_LOST, ERR_TIMEOUT; or
 * ERR_REFUSED, when the path that was asked for cannot be taken. */
struct share_data *share_data_open(struct ring *ring, const struct share_target *target,
                                   unsigned connections, enum share_path path, int64_t deadline_ns,
                                   struct err *e);

/* No I/O may be under way. NULL is fine. */
void share_data_close(struct share_data *d);

/* Before a new file, with no I/O under way: opens what was lost anew. -1 if none lives then. */
int share_data_mend(struct share_data *d, int64_t deadline_ns, struct err *e);

/* As in the store port; `fh` is only used during the call. */
void share_data_write(struct share_data *d, const struct share_fh *fh, struct store_io *io);
void share_data_commit(struct share_data *d, const struct share_fh *fh, struct store_io *io);
void share_data_stop(struct share_data *d);

#endif
