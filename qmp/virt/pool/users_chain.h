/* SPDX-License-Identifier: Apache-2.0 */
/* What an image of this host is based on, by what the images say. */
#ifndef QMP_VIRT_POOL_USERS_CHAIN_H
#define QMP_VIRT_POOL_USERS_CHAIN_H

#include <stdbool.h>

#include "core/err.h"

/*
 * Calls `step` for each path that the image, and each image below it, names: a backing file, an
 * external data file, by any spelling. It ends where that says false, or where nothing follows: at
 * an image that is not there, or is no qcow2. ERR_IO: one that is there cannot be read, or is not
 * understood.
 */
int users_chain_walk(const char *path, bool (*step)(void *arg, const char *path), void *arg,
                     struct err *e);

#endif
