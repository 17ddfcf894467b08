/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A record, which is one answer, has up to three parts:
 *
 *   HEAD → (PAYLOAD →) REST
 *
 *   HEAD     is gathered in `head`, as far as the codec needs to go on: first the xid, which tells
 *            the call, then whatever is in the answer to that
 *   PAYLOAD  of a READ that was done: goes into the buffer of the call
 *   REST     padding, what a server may append, and all of an answer to nobody: skipped
 *
 * Across this go the fragments: a mark can stand before any byte of a record, in the middle of a
 * number or of the payload. An answer counts when its record ends, and if it ends in REST with the
 * padding complete.
 *
 * Where bytes are received. All but payload goes into `staging`, from where it is dealt out. As
 * answers to WRITE and COMMIT are small, many are taken at once. When a READ is expected, only as
 * much as a head is asked for: what of the payload comes with it must be copied, and the rest is
 * then received where it belongs, by one receive if it has arrived.
 *
 * A buffer is written to only after the call was found, the head was right, and the payload is not
 * longer than was asked for. From there to the end of the record the call must stay; its owner sees
 * to that by giving up the stream before a call that is not answered.
 *
 * A record that is longer than any answer could be is found by its mark: where the stream is not
 * what it should be, nearly all marks are such.
 */
#include "nfs/share_receive.h"

#include <assert.h>
#include <string.h>

#include "nfs/shape.h"

enum {
    RECEIVE_HEAD_BYTES = 256,   /* most heads are shorter, with a mark and padding before them */
    RECEIVE_EXTRA_BYTES = 1024, /* of a record: for the head, and for what a server may append */
};

static void receive_begin(struct share_receive *r)
{
    r->part = SHARE_RECEIVE_HEAD;
    r->call = NULL;
    r->record_bytes = r->head_len = 0;
    r->got = r->payload_left = r->pad_left = 0;
    r->need = CODEC_XID_BYTES;
}

void share_receive_init(struct share_receive *r, const struct share_receive_ops *ops, void *arg)
{
    *r = (struct share_receive){.ops = ops, .arg = arg};
    receive_begin(r);
}

void share_receive_expect(struct share_receive *r, const struct share_await *call)
{
    if (call->proc != CODEC_READ)
        return;
    assert(call->len_bytes <= INT32_MAX);
    r->reads++;
    if (r->longest_read < call->len_bytes)
        r->longest_read = call->len_bytes;
}

static uint32_t smaller(size_t a, size_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* ---- the parts of a record ---- */

static int receive_head_done(struct share_receive *r)
{
    const struct codec_reply *reply = &r->call->reply;
    uint32_t asked = r->call->len_bytes;
    r->part = SHARE_RECEIVE_REST;
    if (reply->outcome != CODEC_DONE || r->call->proc == CODEC_COMMIT)
        return 0;
    if (reply->count > asked)
        return -1;
    if (r->call->proc != CODEC_READ)
        return 0;
    /* Nothing, and more to come: taken for the end of the file, this would cut the file off. */
    if (reply->count == 0 && !reply->eof && asked > 0)
        return -1;
    r->payload_left = reply->count;
    r->pad_left = codec_pad(reply->count);
    if (r->payload_left > 0)
        r->part = SHARE_RECEIVE_PAYLOAD;
    return 0;
}

/* As much of the head is there as was needed to go on. */
static int receive_look(struct share_receive *r)
{
    if (r->call == NULL) {
        uint32_t xid;
        if (codec_reply_xid(r->head, &xid) < 0)
            return -1;
        r->call = r->ops->find(r->arg, xid);
        if (r->call == NULL) {
            r->part = SHARE_RECEIVE_REST;
            return ++r->strays > SHAPE_STRAYS_MAX ? -1 : 0;
        }
    }
    ptrdiff_t len = codec_reply_head(r->call->proc, r->head, r->head_len, &r->call->reply);
    if (len < 0)
        return -1;
    r->need = (uint32_t)len;
    return r->need > r->head_len ? 0 : receive_head_done(r);
}

static void receive_payload(struct share_receive *r, uint32_t n)
{
    r->got += n;
    r->payload_left -= n;
    if (r->payload_left == 0)
        r->part = SHARE_RECEIVE_REST;
}

/* Deals out bytes of one fragment. How many were taken, 1 at least; -1: malformed. */
static ptrdiff_t receive_deal(struct share_receive *r, const uint8_t *bytes, uint32_t len)
{
    uint32_t n = len;
    switch (r->part) {
    case SHARE_RECEIVE_HEAD:
        n = smaller(len, r->need - r->head_len);
        memcpy(r->head + r->head_len, bytes, n);
        r->head_len += n;
        if (r->head_len == r->need && receive_look(r) < 0)
            return -1;
        break;
    case SHARE_RECEIVE_PAYLOAD:
        n = smaller(len, r->payload_left);
        memcpy((uint8_t *)r->call->buf + r->got, bytes, n);
        receive_payload(r, n);
        break;
    case SHARE_RECEIVE_REST: r->pad_left -= smaller(len, r->pad_left); break;
    }
    return n;
}

/* Bytes of the fragment at hand are used up; with its last one the record ends. */
static int receive_used(struct share_receive *r, uint32_t len)
{
    r->fragment.left_bytes -= len;
    if (r->fragment.left_bytes > 0 || !r->fragment.last)
        return 0;
    if (r->part != SHARE_RECEIVE_REST || r->pad_left > 0)
        return -1;
    struct share_await *call = r->call;
    receive_begin(r);
    if (call == NULL)
        return 0;
    r->strays = 0;
    if (call->proc == CODEC_READ)
        r->reads--;
    r->ops->answered(r->arg, call);
    return 0;
}

static ptrdiff_t receive_mark(struct share_receive *r, const uint8_t *bytes, uint32_t len)
{
    ptrdiff_t n = codec_mark(&r->fragment, bytes, len);
    uint32_t most = RECEIVE_EXTRA_BYTES + r->longest_read;
    if (n < 0 || r->fragment.left_bytes > most - r->record_bytes)
        return -1;
    r->record_bytes += r->fragment.left_bytes;
    return n;
}

/* ---- the stream ---- */

void *share_receive_room(struct share_receive *r, uint32_t *len)
{
    if (r->part == SHARE_RECEIVE_PAYLOAD) {
        *len = smaller(r->payload_left, r->fragment.left_bytes);
        r->direct = *len >= RECEIVE_HEAD_BYTES;
        if (r->direct)
            return (uint8_t *)r->call->buf + r->got;
    }
    r->direct = false;
    *len = r->reads > 0 ? RECEIVE_HEAD_BYTES : SHARE_RECEIVE_BYTES;
    return r->staging;
}

int share_receive_take(struct share_receive *r, uint32_t len)
{
    if (r->direct) {
        receive_payload(r, len);
        return receive_used(r, len);
    }
    for (uint32_t at = 0; at < len;) {
        uint32_t left = r->fragment.left_bytes;
        ptrdiff_t n = left == 0 ? receive_mark(r, r->staging + at, len - at)
                                : receive_deal(r, r->staging + at, smaller(len - at, left));
        if (n < 0 || (left > 0 && receive_used(r, (uint32_t)n) < 0))
            return -1;
        at += (uint32_t)n;
    }
    return 0;
}
