/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zeros in a buffer, at some ten gigabytes a second: for sources that can't tell their holes, and
 * for zeros that were written.
 */
#ifndef CORE_RELOCATE_ZEROS_H
#define CORE_RELOCATE_ZEROS_H

#include <stdbool.h>
#include <stddef.h>

/* Any alignment; true of no bytes at all. */
bool zeros_only(const void *data, size_t len_bytes);

/*
 * A buffer seen as granules of `granule_bytes` (a power of two; the last one may be shorter), each
 * zeros or data. The length in bytes of the run of zero granules, or of data granules, that it
 * begins with: 0 when it begins with the other kind, `len_bytes` when there is nothing else.
 */
size_t zeros_run(const void *data, size_t len_bytes, size_t granule_bytes);
size_t zeros_data_run(const void *data, size_t len_bytes, size_t granule_bytes);

#endif
