/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/zeros.h"

#include <stdint.h>
#include <string.h>

/* What every processor of today has in hardware; the compiler does the rest. */
typedef uint64_t lanes __attribute__((vector_size(16)));

/* One test for so much: fewer would cost speed on zeros, more would be slow to find data. */
enum { STRIDE_BYTES = 128 };

static lanes zeros_load(const unsigned char *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static bool zeros_stride(const unsigned char *p)
{
    lanes a = zeros_load(p) | zeros_load(p + 16);
    lanes b = zeros_load(p + 32) | zeros_load(p + 48);
    lanes c = zeros_load(p + 64) | zeros_load(p + 80);
    lanes d = zeros_load(p + 96) | zeros_load(p + 112);
    lanes all = (a | b) | (c | d);
    return (all[0] | all[1]) == 0;
}

bool zeros_only(const void *data, size_t len_bytes)
{
    const unsigned char *p = data;
    if (len_bytes < STRIDE_BYTES) {
        unsigned char any = 0;
        for (size_t i = 0; i < len_bytes; i++)
            any |= p[i];
        return any == 0;
    }
    const unsigned char *last = p + len_bytes - STRIDE_BYTES;
    for (; p < last; p += STRIDE_BYTES)
        if (!zeros_stride(p))
            return false;
    return zeros_stride(last); /* some of it twice, so that there is no tail */
}

/* The length of the run of granules that are zeros, or that are not. */
static size_t zeros_run_of(bool zeros, const void *data, size_t len_bytes, size_t granule_bytes)
{
    const unsigned char *p = data;
    size_t at = 0;
    while (at < len_bytes) {
        size_t n = len_bytes - at < granule_bytes ? len_bytes - at : granule_bytes;
        if (zeros_only(p + at, n) != zeros)
            break;
        at += n;
    }
    return at;
}

size_t zeros_run(const void *data, size_t len_bytes, size_t granule_bytes)
{
    return zeros_run_of(true, data, len_bytes, granule_bytes);
}

size_t zeros_data_run(const void *data, size_t len_bytes, size_t granule_bytes)
{
    return zeros_run_of(false, data, len_bytes, granule_bytes);
}
