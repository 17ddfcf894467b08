/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/checksum.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#ifdef XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

/* Fits in the first-level cache, so that a hole is hashed at the speed of arithmetic. */
static const unsigned char zeros[16384];

struct checksum *checksum_new(void)
{
    XXH3_state_t *s = XXH3_createState();
    if (s != NULL)
        XXH3_128bits_reset(s);
    return (struct checksum *)s;
}

void checksum_reset(struct checksum *c)
{
    XXH3_128bits_reset((XXH3_state_t *)c);
}

void checksum_free(struct checksum *c)
{
    XXH3_freeState((XXH3_state_t *)c);
}

void checksum_add(struct checksum *c, const void *data, size_t len_bytes)
{
    XXH3_128bits_update((XXH3_state_t *)c, data, len_bytes);
}

void checksum_add_zeros(struct checksum *c, uint64_t len_bytes)
{
    while (len_bytes > 0) {
        size_t n = len_bytes < sizeof zeros ? (size_t)len_bytes : sizeof zeros;
        checksum_add(c, zeros, n);
        len_bytes -= n;
    }
}

void checksum_digest(const struct checksum *c, unsigned char digest[CHECKSUM_BYTES])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((const XXH3_state_t *)c));
    memcpy(digest, canonical.digest, CHECKSUM_BYTES);
}

void checksum_hex(const struct checksum *c, char hex[CHECKSUM_HEX_MAX])
{
    unsigned char digest[CHECKSUM_BYTES];
    checksum_digest(c, digest);
    for (size_t i = 0; i < CHECKSUM_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}
