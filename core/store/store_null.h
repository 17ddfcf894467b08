/* SPDX-License-Identifier: Apache-2.0 */
/* The store `null:`, a destination that forgets everything at once: the free benchmark. */
#ifndef CORE_STORE_STORE_NULL_H
#define CORE_STORE_STORE_NULL_H

#include "core/store/store.h"

struct store_place *store_null_open(struct ring *ring, struct err *e);

#endif
