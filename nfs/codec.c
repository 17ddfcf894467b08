/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/codec.h"

#include <assert.h>
#include <string.h>

enum { RPC_CALL, RPC_REPLY };
enum { RPC_VERSION = 2, NFS_PROGRAM_NUMBER = 100003, NFS_VERSION = 3 };
enum { AUTH_NULL_FLAVOR, AUTH_SYS_FLAVOR, AUTH_BYTES_MAX = 400 };
enum { REPLY_ACCEPTED, REPLY_DENIED };
enum { REJECT_RPC_MISMATCH, REJECT_AUTH_ERROR };
enum { STABLE_UNSTABLE, STABLE_DATA_SYNC, STABLE_FILE_SYNC };
enum { WCC_ATTR_BYTES = 24, FATTR_BYTES = 84 };

#define LAST_FRAGMENT UINT32_C(0x80000000)

/* ---- calls ---- */

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    *p++ = (uint8_t)(v >> 24);
    *p++ = (uint8_t)(v >> 16);
    *p++ = (uint8_t)(v >> 8);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    return put32(put32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint8_t *put_opaque(uint8_t *p, const void *val, uint32_t len)
{
    static const uint8_t zeros[4];
    p = put32(p, len);
    memcpy(p, val, len);
    memcpy(p + len, zeros, codec_pad(len));
    return p + len + codec_pad(len);
}

static uint8_t *put_cred(uint8_t *p, const struct codec_cred *cred)
{
    uint32_t name_len = (uint32_t)strnlen(cred->machine, CODEC_MACHINE_MAX);
    assert(cred->n_groups <= CODEC_GROUPS_MAX);
    p = put32(p, AUTH_SYS_FLAVOR);
    p = put32(p, (5 + cred->n_groups) * 4 + name_len + codec_pad(name_len));
    p = put32(p, 0); /* stamp: arbitrary */
    p = put_opaque(p, cred->machine, name_len);
    p = put32(p, cred->uid);
    p = put32(p, cred->gid);
    p = put32(p, cred->n_groups);
    for (uint32_t i = 0; i < cred->n_groups; i++)
        p = put32(p, cred->groups[i]);
    return p;
}

/* All up to the procedure's own arguments, but for the record mark, which is filled in last. */
static uint8_t *put_call(uint8_t *p, uint32_t xid, enum codec_proc proc,
                         const struct codec_cred *cred, struct codec_fh fh)
{
    assert(fh.len <= CODEC_FH_MAX);
    p = put32(p, 0);
    p = put32(p, xid);
    p = put32(p, RPC_CALL);
    p = put32(p, RPC_VERSION);
    p = put32(p, NFS_PROGRAM_NUMBER);
    p = put32(p, NFS_VERSION);
    p = put32(p, (uint32_t)proc);
    p = put_cred(p, cred);
    p = put32(p, AUTH_NULL_FLAVOR);
    p = put32(p, 0);
    return put_opaque(p, fh.val, fh.len);
}

static size_t finish_call(uint8_t *head, const uint8_t *end, uint32_t payload_bytes)
{
    size_t len = (size_t)(end - head);
    assert(len <= CODEC_CALL_MAX);
    put32(head, LAST_FRAGMENT | (uint32_t)(len - 4 + payload_bytes));
    return len;
}

uint32_t codec_pad(uint32_t count)
{
    return -count & 3;
}

size_t codec_write_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                        struct codec_fh fh, uint64_t offset, uint32_t count, bool file_sync)
{
    assert(count < LAST_FRAGMENT - CODEC_CALL_MAX - 4);
    uint8_t *p = put_call(head, xid, CODEC_WRITE, cred, fh);
    p = put64(p, offset);
    p = put32(p, count);
    p = put32(p, file_sync ? STABLE_FILE_SYNC : STABLE_UNSTABLE);
    p = put32(p, count); /* the length of the opaque that follows */
    return finish_call(head, p, count + codec_pad(count));
}

/* READ and COMMIT have the same arguments. */
static size_t range_call(uint8_t *head, uint32_t xid, enum codec_proc proc,
                         const struct codec_cred *cred, struct codec_fh fh, uint64_t offset,
                         uint32_t count)
{
    uint8_t *p = put_call(head, xid, proc, cred, fh);
    p = put64(p, offset);
    p = put32(p, count);
    return finish_call(head, p, 0);
}

size_t codec_read_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                       struct codec_fh fh, uint64_t offset, uint32_t count)
{
    return range_call(head, xid, CODEC_READ, cred, fh, offset, count);
}

size_t codec_commit_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                         struct codec_fh fh, uint64_t offset, uint32_t count)
{
    return range_call(head, xid, CODEC_COMMIT, cred, fh, offset, count);
}

/* ---- records ---- */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

ptrdiff_t codec_mark(struct codec_fragment *f, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    assert(f->left_bytes == 0);
    while (at < len && f->mark_len < sizeof f->mark)
        f->mark[f->mark_len++] = bytes[at++];
    if (f->mark_len < sizeof f->mark)
        return (ptrdiff_t)at;
    uint32_t mark = get32(f->mark);
    f->mark_len = 0;
    f->last = (mark & LAST_FRAGMENT) != 0;
    f->left_bytes = mark & ~LAST_FRAGMENT;
    return f->left_bytes > 0 ? (ptrdiff_t)at : -1;
}

/* ---- replies ---- */

/* The beginning of a record, `at` of it taken. Once more is needed or it is bad, it stays so, and
 * all that is taken from there on is zero. */
struct view {
    const uint8_t *record;
    size_t len, at;
    size_t need; /* 0: enough so far */
    bool bad;
};

static const uint8_t *take(struct view *v, size_t len)
{
    if (v->need > 0 || v->bad)
        return NULL;
    if (v->len - v->at < len) {
        v->need = v->at + len;
        return NULL;
    }
    const uint8_t *p = v->record + v->at;
    v->at += len;
    return p;
}

static uint32_t take32(struct view *v)
{
    const uint8_t *p = take(v, 4);
    return p != NULL ? get32(p) : 0;
}

static bool take_bool(struct view *v)
{
    uint32_t value = take32(v);
    if (value > 1)
        v->bad = true;
    return value == 1;
}

/* Something that may be left out: a boolean, and if that is so, `len` bytes. */
static void skip_optional(struct view *v, size_t len)
{
    if (take_bool(v))
        take(v, len);
}

static void skip_wcc(struct view *v)
{
    skip_optional(v, WCC_ATTR_BYTES);
    skip_optional(v, FATTR_BYTES);
}

static void take_verifier(struct view *v, struct codec_reply *reply)
{
    const uint8_t *p = take(v, sizeof reply->verifier);
    if (p != NULL)
        memcpy(reply->verifier, p, sizeof reply->verifier);
}

static void take_denied(struct view *v, struct codec_reply *reply)
{
    uint32_t reason = take32(v);
    if (reason != REJECT_AUTH_ERROR && reason != REJECT_RPC_MISMATCH)
        v->bad = true;
    take(v, reason == REJECT_AUTH_ERROR ? 4 : 8);
    reply->outcome = reason == REJECT_AUTH_ERROR ? CODEC_AUTH : CODEC_FOREIGN;
}

/* Up to the results, if the outcome is CODEC_DONE when it returns. */
static void take_head(struct view *v, struct codec_reply *reply)
{
    enum { ACCEPT_SUCCESS, ACCEPT_SYSTEM_ERROR = 5 };
    take32(v); /* the xid */
    if (take32(v) != RPC_REPLY)
        v->bad = true;
    uint32_t accepted = take32(v);
    if (accepted == REPLY_DENIED) {
        take_denied(v, reply);
        return;
    }
    if (accepted != REPLY_ACCEPTED)
        v->bad = true;
    take32(v); /* the flavour of the server's verifier: with AUTH_SYS it says nothing */
    uint32_t len = take32(v);
    if (len > AUTH_BYTES_MAX)
        v->bad = true;
    else
        take(v, len + codec_pad(len));
    uint32_t accept = take32(v);
    if (accept > ACCEPT_SYSTEM_ERROR)
        v->bad = true;
    reply->outcome = accept == ACCEPT_SUCCESS ? CODEC_DONE : CODEC_FOREIGN;
    if (accept != ACCEPT_SUCCESS)
        return;
    reply->status = take32(v);
    if (reply->status != 0)
        reply->outcome = CODEC_STATUS;
}

static void take_read(struct view *v, struct codec_reply *reply)
{
    skip_optional(v, FATTR_BYTES);
    reply->count = take32(v);
    reply->eof = take_bool(v);
    if (take32(v) != reply->count) /* the length of the opaque that follows */
        v->bad = true;
}

static void take_write(struct view *v, struct codec_reply *reply)
{
    skip_wcc(v);
    reply->count = take32(v);
    uint32_t committed = take32(v);
    if (committed > STABLE_FILE_SYNC)
        v->bad = true;
    reply->stable = committed != STABLE_UNSTABLE;
    take_verifier(v, reply);
}

int codec_reply_xid(const uint8_t *record, uint32_t *xid)
{
    *xid = get32(record);
    return get32(record + 4) == RPC_REPLY ? 0 : -1;
}

ptrdiff_t codec_reply_head(enum codec_proc proc, const uint8_t *record, size_t len,
                           struct codec_reply *reply)
{
    struct view v = {.record = record, .len = len};
    *reply = (struct codec_reply){0};
    take_head(&v, reply);
    if (reply->outcome == CODEC_DONE) {
        switch (proc) {
        case CODEC_READ: take_read(&v, reply); break;
        case CODEC_WRITE: take_write(&v, reply); break;
        case CODEC_COMMIT:
            skip_wcc(&v);
            take_verifier(&v, reply);
            break;
        }
    }
    assert(v.need <= CODEC_REPLY_MAX);
    if (v.need > 0) /* what seemed bad after that was not there yet */
        return (ptrdiff_t)v.need;
    return v.bad ? -1 : (ptrdiff_t)v.at;
}
