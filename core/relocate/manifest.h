/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of checksums that --manifest writes: what `xxh128sum` prints, and `xxhsum -c` checks
 * (0.8.1 and later), started in the directory that the names are relative to.
 */
#ifndef CORE_RELOCATE_MANIFEST_H
#define CORE_RELOCATE_MANIFEST_H

#include <stdio.h>

#include "core/err.h"
#include "core/relocate/checksum.h"

/*
 * Whether a line can be written for `name`, so that it is known before the copy. -1 (ERR_REFUSED):
 * it has a line break. xxhsum 0.8.1 can't read any form of such a name.
 */
int manifest_check(const char *name, struct err *e);

/* The line of a file: `hex` is its XXH3-128 (core/relocate/checksum.h), `name` as it is to be found. -1: the
 * name, or ERR_IO. Whoever closes the file must check that, too. */
int manifest_line(FILE *to, const char hex[CHECKSUM_HEX_MAX], const char *name, struct err *e);

#endif
