/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3-128 of a file's content, in order; the same as `xxh128sum` prints. */
#ifndef CORE_RELOCATE_CHECKSUM_H
#define CORE_RELOCATE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum { CHECKSUM_BYTES = 16, CHECKSUM_HEX_MAX = 33 };

struct checksum;

struct checksum *checksum_new(void); /* NULL: no memory */
void checksum_free(struct checksum *c);

/* Of nothing again. */
void checksum_reset(struct checksum *c);

void checksum_add(struct checksum *c, const void *data, size_t len_bytes);
void checksum_add_zeros(struct checksum *c, uint64_t len_bytes);

/* Of everything added so far: in the order that xxhsum prints; as 32 hexadecimal digits. */
void checksum_digest(const struct checksum *c, unsigned char digest[CHECKSUM_BYTES]);
void checksum_hex(const struct checksum *c, char hex[CHECKSUM_HEX_MAX]);

#endif
