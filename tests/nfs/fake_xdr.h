/* SPDX-License-Identifier: Apache-2.0 */
/* XDR, as much as the small NFS server needs. What does not parse is a bug of ours: it asserts. */
#ifndef TESTS_NFS_FAKE_XDR_H
#define TESTS_NFS_FAKE_XDR_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <string.h>

struct fake_xdr {
    unsigned char *at, *end;
};

static inline uint32_t fake_get32(struct fake_xdr *m)
{
    uint32_t v;
    assert(m->end - m->at >= 4);
    memcpy(&v, m->at, 4);
    m->at += 4;
    return ntohl(v);
}

static inline uint64_t fake_get64(struct fake_xdr *m)
{
    uint64_t high = fake_get32(m);
    return high << 32 | fake_get32(m);
}

static inline unsigned char *fake_get_opaque(struct fake_xdr *m, uint32_t *len)
{
    *len = fake_get32(m);
    unsigned char *p = m->at;
    m->at += (*len + 3) & ~3U;
    assert(m->at <= m->end);
    return p;
}

static inline void fake_put32(struct fake_xdr *m, uint32_t v)
{
    v = htonl(v);
    memcpy(m->at, &v, 4);
    m->at += 4;
}

static inline void fake_put64(struct fake_xdr *m, uint64_t v)
{
    fake_put32(m, (uint32_t)(v >> 32));
    fake_put32(m, (uint32_t)v);
}

static inline void fake_put_opaque(struct fake_xdr *m, const void *val, uint32_t len)
{
    fake_put32(m, len);
    memset(m->at, 0, (len + 3) & ~3U);
    memcpy(m->at, val, len);
    m->at += (len + 3) & ~3U;
}

#endif
