/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may send, through the receiver of the data path. An input is four bytes, the sizes
 * of the pieces in which the rest comes, in turn; and the rest, which is the stream.
 *
 * Eight calls are outstanding, and each that is answered is followed by another one of its kind.
 * Whatever comes: no byte is written outside of a buffer that waits for it, none of a call that was
 * answered, an answer is of no more than was asked for, and comes once. And the same stream in
 * other pieces gives the same answers.
 */
#include <stdbool.h>

#include "nfs/share_receive.h"
#include "tests/fuzz/fuzz.h"

enum { CALLS = 8, FIRST_XID = 0x100, GUARD_BYTES = 16, GUARD = 0xa5, FRESH = 0x5a, PIECES = 4 };

static const struct {
    enum codec_proc proc;
    uint32_t len_bytes;
} kinds[CALLS] = {
    {CODEC_READ, 1},     {CODEC_READ, 7},     {CODEC_READ, 300},      {CODEC_READ, 5000},
    {CODEC_READ, 70000}, {CODEC_WRITE, 4096}, {CODEC_WRITE, 1 << 20}, {CODEC_COMMIT, 0},
};

struct call {
    struct share_await await; /* first */
    uint32_t xid;
    uint8_t *guarded; /* the buffer, with a guard on either side */
};

struct stream {
    struct share_receive receive;
    struct call calls[CALLS];
    uint64_t digest; /* of all answers */
    unsigned answers;
    bool malformed;
};

static void digest_add(struct stream *s, const void *bytes, size_t len)
{
    for (const uint8_t *p = bytes; len > 0; p++, len--)
        s->digest = (s->digest ^ *p) * UINT64_C(0x100000001b3); /* FNV-1a */
}

/* ---- calls ---- */

static void call_check(const struct call *c)
{
    if (c->guarded == NULL)
        return;
    const uint8_t *end = c->guarded + GUARD_BYTES + c->await.len_bytes;
    for (int i = 0; i < GUARD_BYTES; i++)
        REQUIRE(c->guarded[i] == GUARD && end[i] == GUARD);
}

static void call_start(struct stream *s, size_t i, uint32_t xid)
{
    struct call *c = &s->calls[i];
    uint32_t len = kinds[i].len_bytes;
    *c = (struct call){.await = {.proc = kinds[i].proc, .len_bytes = len}, .xid = xid};
    if (c->await.proc == CODEC_READ) {
        c->guarded = malloc(len + 2 * GUARD_BYTES);
        REQUIRE(c->guarded != NULL);
        memset(c->guarded, GUARD, len + 2 * GUARD_BYTES);
        c->await.buf = memset(c->guarded + GUARD_BYTES, FRESH, len);
    }
    share_receive_expect(&s->receive, &c->await);
}

static void call_end(struct call *c)
{
    call_check(c);
    free(c->guarded);
}

static struct share_await *find(void *arg, uint32_t xid)
{
    struct stream *s = arg;
    struct call *c = &s->calls[xid % CALLS];
    return c->xid == xid ? &c->await : NULL;
}

static void answered(void *arg, struct share_await *await)
{
    struct stream *s = arg;
    struct call *c = (struct call *)await;
    const struct codec_reply *r = &await->reply;
    const uint32_t said[] = {c->xid, r->outcome, r->status, r->count, r->eof, r->stable};
    REQUIRE(find(s, c->xid) == await);
    REQUIRE(r->outcome != CODEC_DONE || r->count <= await->len_bytes);
    digest_add(s, said, sizeof said);
    digest_add(s, r->verifier, sizeof r->verifier);
    if (c->guarded != NULL)
        digest_add(s, await->buf, await->len_bytes);
    /* Beyond what was read nothing is touched; of a refusal, nothing at all. */
    uint32_t done = r->outcome == CODEC_DONE ? r->count : 0;
    for (uint32_t i = done; c->guarded != NULL && i < await->len_bytes; i++)
        REQUIRE(((uint8_t *)await->buf)[i] == FRESH);
    s->answers++;
    call_end(c);
    call_start(s, (size_t)(c - s->calls), c->xid + CALLS);
}

/* ---- the stream ---- */

static const struct share_receive_ops ops = {find, answered};

/* Room is in no buffer but one that waits, or the receiver's own. */
static void check_room(const struct stream *s, const uint8_t *room, uint32_t len)
{
    const uint8_t *own = s->receive.staging;
    bool good = room >= own && room + len <= own + sizeof s->receive.staging;
    for (int i = 0; i < CALLS; i++) {
        const uint8_t *buf = s->calls[i].await.buf;
        good = good || (buf != NULL && room >= buf && room + len <= buf + kinds[i].len_bytes);
    }
    REQUIRE(len > 0 && good);
}

static size_t piece_bytes(uint8_t code)
{
    return code < 224 ? 1 + (size_t)code : ((size_t)code - 223) * 4096;
}

/* `pieces` NULL: as large as there is room for. */
static void stream_run(struct stream *s, const uint8_t *pieces, const uint8_t *bytes, size_t len)
{
    *s = (struct stream){0};
    share_receive_init(&s->receive, &ops, s);
    for (size_t i = 0; i < CALLS; i++)
        call_start(s, i, FIRST_XID + (uint32_t)i);
    for (size_t at = 0, n = 0; at < len && !s->malformed; n++) {
        uint32_t room_len;
        uint8_t *room = share_receive_room(&s->receive, &room_len);
        check_room(s, room, room_len);
        size_t piece = pieces != NULL ? piece_bytes(pieces[n % PIECES]) : len;
        piece = piece < room_len ? piece : room_len;
        piece = piece < len - at ? piece : len - at;
        memcpy(room, bytes + at, piece);
        at += piece;
        s->malformed = share_receive_take(&s->receive, (uint32_t)piece) < 0;
        for (int i = 0; i < CALLS; i++)
            call_check(&s->calls[i]);
    }
    for (int i = 0; i < CALLS; i++)
        call_end(&s->calls[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream as_given, at_once;
    if (size < PIECES)
        return 0;
    stream_run(&as_given, data, data + PIECES, size - PIECES);
    stream_run(&at_once, NULL, data + PIECES, size - PIECES);
    REQUIRE(as_given.malformed == at_once.malformed);
    REQUIRE(as_given.answers == at_once.answers && as_given.digest == at_once.digest);
    return 0;
}
