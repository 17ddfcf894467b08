/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's page cache holds of a file, and making it let go. */
#ifndef CORE_STORE_LOCAL_CACHE_H
#define CORE_STORE_LOCAL_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/store/store.h"

/* Whether the file lives in the page cache and nowhere else (tmpfs). */
bool local_cache_is_home(int fd);

/* Whether more than half of the file's data is resident; false when that is not known. */
bool local_cache_is_warm(int fd, const struct store_attr *attr);

/*
 * Which parts of a range have no page resident: bit i stands for part i of 32 (of whole pages, the
 * last ones may be empty). All of them, when that is not known.
 */
uint32_t local_cache_absent(int fd, uint64_t offset, uint64_t len_bytes);

/* Drops those parts of the same range, as far as they are clean; UINT32_MAX: all. */
void local_cache_drop(int fd, uint64_t offset, uint64_t len_bytes, uint32_t parts);

#endif
