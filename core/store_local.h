/* SPDX-License-Identifier: Apache-2.0 */
/* Images on this host: the files of a directory, and block devices, as sources. */
#ifndef CORE_STORE_LOCAL_H
#define CORE_STORE_LOCAL_H

#include "core/store.h"

/* The place that is directory `path`; "" is the working directory, and shows as nothing. */
struct store_place *store_local_open(struct ring *ring, const char *path, struct err *e);

#endif
