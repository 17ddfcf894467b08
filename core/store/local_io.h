/* SPDX-License-Identifier: Apache-2.0 */
/* The asynchronous half of the local store's table, see core/store/store.h. */
#ifndef CORE_STORE_LOCAL_IO_H
#define CORE_STORE_LOCAL_IO_H

#include "core/store/store.h"

void local_io_read(struct store_io *io);
void local_io_write(struct store_io *io);
void local_io_commit(struct store_io *io);

#endif
