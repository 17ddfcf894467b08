/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/codec.h"

#include <assert.h>
#include <string.h>

enum { RPC_CALL, RPC_REPLY };
enum { RPC_VERSION = 2, NFS_PROGRAM_NUMBER = 100003, NFS_VERSION = 3 };
enum { PROC_WRITE = 7, PROC_COMMIT = 21 };
enum { AUTH_NULL_FLAVOR, AUTH_SYS_FLAVOR, AUTH_BYTES_MAX = 400 };
enum { REPLY_ACCEPTED, REPLY_DENIED };
enum { REJECT_RPC_MISMATCH, REJECT_AUTH_ERROR };
enum { STABLE_UNSTABLE, STABLE_DATA_SYNC, STABLE_FILE_SYNC };
enum { WCC_BEFORE_BYTES = 24, WCC_AFTER_BYTES = 84 }; /* wcc_attr, fattr3 */

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
    p = put32(p, AUTH_SYS_FLAVOR);
    p = put32(p, 5 * 4 + name_len + codec_pad(name_len));
    p = put32(p, 0); /* stamp: arbitrary */
    p = put_opaque(p, cred->machine, name_len);
    p = put32(p, cred->uid);
    p = put32(p, cred->gid);
    return put32(p, 0); /* no other groups */
}

/* All up to the procedure's own arguments, but for the record mark, which is filled in last. */
static uint8_t *put_call(uint8_t *p, uint32_t xid, uint32_t proc, const struct codec_cred *cred,
                         struct codec_fh fh)
{
    assert(fh.len <= CODEC_FH_MAX);
    p = put32(p, 0);
    p = put32(p, xid);
    p = put32(p, RPC_CALL);
    p = put32(p, RPC_VERSION);
    p = put32(p, NFS_PROGRAM_NUMBER);
    p = put32(p, NFS_VERSION);
    p = put32(p, proc);
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
    uint8_t *p = put_call(head, xid, PROC_WRITE, cred, fh);
    p = put64(p, offset);
    p = put32(p, count);
    p = put32(p, file_sync ? STABLE_FILE_SYNC : STABLE_UNSTABLE);
    p = put32(p, count); /* the length of the opaque that follows */
    return finish_call(head, p, count + codec_pad(count));
}

size_t codec_commit_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                         struct codec_fh fh, uint64_t offset, uint32_t count)
{
    uint8_t *p = put_call(head, xid, PROC_COMMIT, cred, fh);
    p = put64(p, offset);
    p = put32(p, count);
    return finish_call(head, p, 0);
}

/* ---- records ---- */

/* A mark is complete. false: such a record cannot be. */
static bool read_mark(struct codec_reader *r)
{
    uint32_t mark = (uint32_t)r->mark[0] << 24 | (uint32_t)r->mark[1] << 16 |
                    (uint32_t)r->mark[2] << 8 | r->mark[3];
    r->last = (mark & LAST_FRAGMENT) != 0;
    r->fragment_left = mark & ~LAST_FRAGMENT;
    r->mark_len = 0;
    /* An empty fragment would be legal, but says nothing, and could go on for ever. */
    return r->fragment_left > 0 && r->fragment_left <= sizeof r->record - r->len;
}

ptrdiff_t codec_read(struct codec_reader *r, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    while (at < len && !r->whole) {
        if (r->fragment_left == 0) {
            r->mark[r->mark_len++] = bytes[at++];
            if (r->mark_len == sizeof r->mark && !read_mark(r))
                return -1;
            continue;
        }
        size_t n = len - at < r->fragment_left ? len - at : r->fragment_left;
        memcpy(r->record + r->len, bytes + at, n);
        at += n;
        r->len += (uint32_t)n;
        r->fragment_left -= (uint32_t)n;
        r->whole = r->fragment_left == 0 && r->last;
    }
    return (ptrdiff_t)at;
}

/* ---- replies ---- */

/* What is left of a record. Once `bad`, everything reads as zero. */
struct view {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct view *v, size_t len)
{
    if (v->bad || v->left < len) {
        v->bad = true;
        return NULL;
    }
    const uint8_t *p = v->at;
    v->at += len;
    v->left -= len;
    return p;
}

static uint32_t take32(struct view *v)
{
    const uint8_t *p = take(v, 4);
    if (p == NULL)
        return 0;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Something that may be left out: a boolean, and if that is so, `len` bytes. */
static void skip_optional(struct view *v, size_t len)
{
    uint32_t present = take32(v);
    if (present == 1)
        take(v, len);
    else if (present != 0)
        v->bad = true;
}

static void skip_wcc(struct view *v)
{
    skip_optional(v, WCC_BEFORE_BYTES);
    skip_optional(v, WCC_AFTER_BYTES);
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

int codec_reply_xid(const uint8_t *record, size_t len, uint32_t *xid)
{
    struct view v = {.at = record, .left = len};
    *xid = take32(&v);
    return take32(&v) == RPC_REPLY && !v.bad ? 0 : -1;
}

int codec_write_reply(const uint8_t *record, size_t len, struct codec_reply *reply)
{
    struct view v = {.at = record, .left = len};
    *reply = (struct codec_reply){0};
    take_head(&v, reply);
    if (!v.bad && reply->outcome == CODEC_DONE) {
        skip_wcc(&v);
        reply->count = take32(&v);
        uint32_t committed = take32(&v);
        if (committed > STABLE_FILE_SYNC)
            v.bad = true;
        reply->stable = committed != STABLE_UNSTABLE;
        take_verifier(&v, reply);
    }
    return v.bad ? -1 : 0;
}

int codec_commit_reply(const uint8_t *record, size_t len, struct codec_reply *reply)
{
    struct view v = {.at = record, .left = len};
    *reply = (struct codec_reply){0};
    take_head(&v, reply);
    if (!v.bad && reply->outcome == CODEC_DONE) {
        skip_wcc(&v);
        take_verifier(&v, reply);
    }
    return v.bad ? -1 : 0;
}
