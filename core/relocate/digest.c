/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/digest.h"

#include <assert.h>

#include "core/relocate/zeros.h"

enum { DIGEST_CUT_BYTES = 1 << 30 };

int digest_new(struct digest *d)
{
    d->sum = checksum_new();
    return d->sum != NULL ? 0 : -1;
}

void digest_free(struct digest *d)
{
    checksum_free(d->sum);
}

void digest_begin(struct digest *d, const struct extents *data, uint64_t start)
{
    checksum_reset(d->sum);
    d->data = data;
    d->at = extents_at(data, start);
    d->to = start;
    d->stray = UINT64_MAX;
}

/* Takes [d->to, end) into account; buf NULL: zeros. */
static void digest_span(struct digest *d, uint64_t end, const unsigned char *buf)
{
    while (d->to < end) {
        uint64_t data = extents_seek(d->data, &d->at), n;
        if (data > d->to) { /* not data */
            n = (data < end ? data : end) - d->to;
            if (buf != NULL && d->stray == UINT64_MAX && !zeros_only(buf, n))
                d->stray = d->to;
        } else {
            n = extents_cut(d->data, &d->at, DIGEST_CUT_BYTES, end, &data);
            if (buf != NULL)
                checksum_add(d->sum, buf, n);
            else
                checksum_add_zeros(d->sum, n);
        }
        buf = buf != NULL ? buf + n : NULL;
        d->to += n;
    }
}

void digest_add(struct digest *d, uint64_t offset, const unsigned char *buf, uint64_t len)
{
    assert(offset >= d->to);
    digest_span(d, offset, NULL);
    digest_span(d, offset + len, buf);
}

void digest_end(struct digest *d, uint64_t end, unsigned char result[CHECKSUM_BYTES])
{
    digest_span(d, end, NULL);
    checksum_digest(d->sum, result);
}
