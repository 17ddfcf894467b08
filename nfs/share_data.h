/* SPDX-License-Identifier: Apache-2.0 */
/* A data connection of a share: a carrier, kept alive, and what fails on it started again. */
#ifndef NFS_SHARE_DATA_H
#define NFS_SHARE_DATA_H

#include "nfs/share_place.h"

struct share_data;

/* Connects only when the first I/O wants it. NULL: no memory. */
struct share_data *share_data_new(struct share_place *p);

/* No I/O may be under way. NULL is fine. */
void share_data_close(struct share_data *d);

/* Before a new file: gives up a connection that the server has closed while it was idle. Not from
 * within callbacks. */
void share_data_check(struct share_data *d);

/* As in the store port. */
void share_data_read(struct share_data *d, struct store_io *io);
void share_data_write(struct share_data *d, struct store_io *io);
void share_data_commit(struct share_data *d, struct store_io *io);
void share_data_stop(struct share_data *d);

/* I/Os that are not done. */
unsigned share_data_load(const struct share_data *d);

#endif
