/* SPDX-License-Identifier: Apache-2.0 */
/* The asynchronous half of the local store's table, see core/store.h. */
#ifndef CORE_LOCAL_IO_H
#define CORE_LOCAL_IO_H

#include "core/store.h"

void local_io_read(struct store_io *io);
void local_io_write(struct store_io *io);
void local_io_commit(struct store_io *io);

#endif
