/* SPDX-License-Identifier: Apache-2.0 */
/* Images on this host: files as source and destination, block devices as sources. */
#ifndef CORE_STORE_STORE_LOCAL_H
#define CORE_STORE_STORE_LOCAL_H

#include "core/store/store.h"

struct store_local_options {
    bool nice_cache; /* leave the host's page cache as it was, as far as that is known */
};

/* The place that is directory `path`; "" is the working directory, and shows as nothing. */
struct store_place *store_local_open(struct ring *ring, const char *path,
                                     const struct store_local_options *options, struct err *e);

#endif
