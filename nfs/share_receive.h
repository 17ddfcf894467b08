/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving half of a lane: answers out of a stream of bytes, which come in any pieces, and
 * what was read straight into the buffers that wait for it. It has no socket of its own: it says
 * where the next bytes are to go, and is given how many came.
 */
#ifndef NFS_SHARE_RECEIVE_H
#define NFS_SHARE_RECEIVE_H

#include "nfs/codec.h"

enum { SHARE_RECEIVE_BYTES = 16 << 10 };

/* A call that awaits its answer. The owner's, until it is answered or the stream is given up. */
struct share_await {
    enum codec_proc proc;
    void *buf;                /* of READ: where to */
    uint32_t len_bytes;       /* of READ and WRITE: asked for */
    struct codec_reply reply; /* valid once it was answered */
};

struct share_receive_ops {
    /* The call of that xid that was sent and is not answered yet. NULL: none, its answer is
     * ignored. */
    struct share_await *(*find)(void *arg, uint32_t xid);

    /* The answer is complete: of READ and WRITE, of reply.count bytes, which is at most len_bytes;
     * buf has what was read. The call may be gone when this returns. */
    void (*answered)(void *arg, struct share_await *call);
};

/* All fields are share_receive's. */
struct share_receive {
    const struct share_receive_ops *ops;
    void *arg;
    unsigned reads;        /* expected */
    unsigned strays;       /* answers to nothing that was asked, in a row */
    uint32_t longest_read; /* ever expected */
    bool direct;           /* the room that was given is in the buffer of `call` */

    /* The record at hand. */
    enum { SHARE_RECEIVE_HEAD, SHARE_RECEIVE_PAYLOAD, SHARE_RECEIVE_REST } part;
    struct codec_fragment fragment;
    struct share_await *call; /* NULL: not known yet, or nobody's */
    uint32_t record_bytes;    /* by the marks so far */
    uint32_t need, head_len;  /* bytes of the head: to go on, so far */
    uint32_t got, payload_left, pad_left;
    uint8_t head[CODEC_REPLY_MAX];

    uint8_t staging[SHARE_RECEIVE_BYTES];
};

void share_receive_init(struct share_receive *r, const struct share_receive_ops *ops, void *arg);

/* Before a call is sent. */
void share_receive_expect(struct share_receive *r, const struct share_await *call);

/* Where the next bytes are to be received, and how many at most; 1 at least. */
void *share_receive_room(struct share_receive *r, uint32_t *len);

/* So many came there, 1 at least. -1: that is no answer, and the stream is of no more use. */
int share_receive_take(struct share_receive *r, uint32_t len);

#endif
