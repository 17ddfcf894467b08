/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in every shape, and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/share_receive.h"

enum { CALLS = 8, STREAM_MAX = 400000, FRESH = 0xee, LARGE = 100000 };

/* ---- what a server sends ---- */

struct bytes {
    size_t len;
    uint8_t at[STREAM_MAX];
};

static void put(struct bytes *b, uint32_t v)
{
    assert_true(b->len + 4 <= STREAM_MAX);
    for (int shift = 24; shift >= 0; shift -= 8)
        b->at[b->len++] = (uint8_t)(v >> shift);
}

static void put_all(struct bytes *b, const uint32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, v[i]);
}

#define PUT(b, ...) \
    put_all((b), (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

#define ACCEPTED(xid) (xid), 1, 0, 0, 0, 0
#define VERIFIER 0x01020304, 0x05060708

/* What a file has, by the call that reads it. */
static uint8_t content(uint32_t xid, size_t i)
{
    return (uint8_t)(i * 7 + i / 251 + xid);
}

/* Adds the record `r` in fragments of at most `most` bytes. */
static void send_fragments(struct bytes *b, const struct bytes *r, size_t most)
{
    for (size_t at = 0, n; at < r->len; at += n) {
        n = r->len - at < most ? r->len - at : most;
        put(b, (at + n == r->len ? 0x80000000U : 0) | (uint32_t)n);
        memcpy(b->at + b->len, r->at + at, n);
        b->len += n;
    }
}

static void send(struct bytes *b, const struct bytes *r)
{
    send_fragments(b, r, r->len);
}

#define SEND(b, ...)                 \
    do {                             \
        static struct bytes record_; \
        record_.len = 0;             \
        PUT(&record_, __VA_ARGS__);  \
        send((b), &record_);         \
    } while (0)

static const struct bytes *read_record(uint32_t xid, uint32_t count, bool eof, bool attributes)
{
    static struct bytes r;
    r.len = 0;
    PUT(&r, ACCEPTED(xid), 0, attributes);
    for (int i = 0; attributes && i < 21; i++)
        put(&r, 0x01010101);
    PUT(&r, count, eof, count);
    for (size_t i = 0; i < ((count + 3) & ~3U); i++)
        r.at[r.len++] = i < count ? content(xid, i) : 0;
    return &r;
}

/* ---- the calls ---- */

struct call {
    struct share_await await; /* first */
    bool open;
};

struct fixture {
    struct share_receive receive;
    struct call calls[CALLS]; /* the index is the xid */
    char log[400];            /* "xid:count xid:no xid:auth xid:foreign", in the end "bad" */
    unsigned receives;
    size_t copied; /* bytes that did not come straight into a buffer */
};

/* What the calls ask for; 0: a COMMIT. */
static const uint32_t read_bytes[4] = {9, 300, 1000, LARGE}, write_bytes[4] = {4096, 1 << 20, 0, 0};

static struct share_await *find(void *arg, uint32_t xid)
{
    struct fixture *f = arg;
    return xid < CALLS && f->calls[xid].open ? &f->calls[xid].await : NULL;
}

static void answered(void *arg, struct share_await *await)
{
    struct fixture *f = arg;
    struct call *call = (struct call *)await;
    static const char *const words[] = {"", "no", "auth", "foreign"};
    const struct codec_reply *r = &await->reply;
    uint32_t xid = (uint32_t)(call - f->calls);
    size_t at = strlen(f->log);
    assert_true(call->open);
    call->open = false;
    if (r->outcome == CODEC_DONE)
        snprintf(f->log + at, sizeof f->log - at, "%u:%u ", xid, r->count);
    else
        snprintf(f->log + at, sizeof f->log - at, "%u:%s ", xid, words[r->outcome]);
    if (await->proc != CODEC_READ)
        return;
    uint32_t done = r->outcome == CODEC_DONE ? r->count : 0;
    const uint8_t *buf = await->buf;
    for (uint32_t i = 0; i < await->len_bytes; i++)
        if (buf[i] != (i < done ? content(xid, i) : FRESH))
            fail_msg("xid %u: byte %u is wrong", xid, i);
}

static const struct share_receive_ops ops = {find, answered};

static void set_up(struct fixture *f, bool reads)
{
    *f = (struct fixture){0};
    share_receive_init(&f->receive, &ops, f);
    for (int i = 0; i < CALLS; i++) {
        struct share_await *a = &f->calls[i].await;
        bool read = i < 4;
        a->proc = read ? CODEC_READ : i < 6 ? CODEC_WRITE : CODEC_COMMIT;
        a->len_bytes = read ? read_bytes[i] : write_bytes[i - 4];
        a->buf = read ? memset(malloc(a->len_bytes), FRESH, a->len_bytes) : NULL;
        f->calls[i].open = reads || !read;
        if (f->calls[i].open)
            share_receive_expect(&f->receive, a);
    }
}

static void tear_down(struct fixture *f)
{
    for (int i = 0; i < CALLS; i++)
        free(f->calls[i].await.buf);
}

/* A piece that arrives, taken by as many receives as it takes. */
static void arrive(struct fixture *f, const uint8_t *bytes, size_t len)
{
    while (len > 0 && strstr(f->log, "bad") == NULL) {
        uint32_t room_len;
        uint8_t *room = share_receive_room(&f->receive, &room_len);
        uint32_t n = len < room_len ? (uint32_t)len : room_len;
        assert_true(n > 0);
        memcpy(room, bytes, n);
        f->receives++;
        f->copied += room == f->receive.staging ? n : 0;
        if (share_receive_take(&f->receive, n) < 0)
            strcat(f->log, "bad");
        bytes += n;
        len -= n;
    }
}

/* The stream at once, byte by byte, and in two pieces, cut at each byte (or at each `stride`). */
static void expect_strided(const struct bytes *b, const char *log, size_t stride)
{
    struct fixture f;
    for (size_t cut = 0; cut < b->len; cut += stride) {
        set_up(&f, true);
        arrive(&f, b->at, cut);
        arrive(&f, b->at + cut, b->len - cut);
        assert_string_equal(f.log, log);
        tear_down(&f);
    }
    set_up(&f, true);
    for (size_t i = 0; i < b->len; i++)
        arrive(&f, b->at + i, 1);
    assert_string_equal(f.log, log);
    tear_down(&f);
}

static void expect(const struct bytes *b, const char *log)
{
    expect_strided(b, log, 1);
}

static struct bytes stream;

#define BEGIN(state) ((void)(state), stream.len = 0)

/* ---- good answers ---- */

static void test_what_was_read_is_delivered(void **state)
{
    for (int attributes = 0; attributes < 2; attributes++) {
        BEGIN(state);
        send(&stream, read_record(0, 9, false, attributes));
        send(&stream, read_record(1, 300, true, attributes));
        expect(&stream, "0:9 1:300 ");
        BEGIN(state);
        send(&stream, read_record(2, 777, false, attributes)); /* short */
        send(&stream, read_record(1, 0, true, attributes));    /* the end */
        expect(&stream, "2:777 1:0 ");
    }
}

static void test_answers_come_in_any_order(void **state)
{
    BEGIN(state);
    send(&stream, read_record(2, 600, false, true));
    SEND(&stream, ACCEPTED(7), 0, 0, 0, VERIFIER);
    send(&stream, read_record(0, 1, true, false));
    SEND(&stream, ACCEPTED(5), 0, 0, 0, 1 << 20, 2, VERIFIER);
    send(&stream, read_record(1, 299, true, false));
    SEND(&stream, ACCEPTED(4), 0, 0, 0, 100, 0, VERIFIER);
    expect(&stream, "2:600 7:0 0:1 5:1048576 1:299 4:100 ");
}

static void test_fragments_are_joined(void **state)
{
    static const size_t most[] = {1, 2, 3, 5, 43, 44, 45, 300, 343};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        BEGIN(state);
        send_fragments(&stream, read_record(1, 299, true, false), most[i]);
        send_fragments(&stream, read_record(0, 7, true, true), most[i]);
        expect(&stream, "1:299 0:7 ");
    }
}

/* One boundary, before each byte. */
static void test_a_fragment_may_end_before_any_byte(void **state)
{
    const struct bytes *r = read_record(1, 298, false, true);
    for (size_t first = 1; first < r->len; first++) {
        BEGIN(state);
        put(&stream, (uint32_t)first);
        memcpy(stream.at + 4, r->at, first);
        stream.len += first;
        put(&stream, 0x80000000U | (uint32_t)(r->len - first));
        memcpy(stream.at + stream.len, r->at + first, r->len - first);
        stream.len += r->len - first;
        expect_strided(&stream, "1:298 ", 7);
    }
}

static void test_refusals_are_reported(void **state)
{
    BEGIN(state);
    SEND(&stream, ACCEPTED(0), 70, 0);
    SEND(&stream, 1, 1, 1, 1, 2);
    SEND(&stream, 2, 1, 1, 0, 3, 3);
    SEND(&stream, ACCEPTED(4), 28, 0, 0);
    SEND(&stream, 6, 1, 0, 0, 0, 4);
    expect(&stream, "0:no 1:auth 2:foreign 4:no 6:foreign ");
}

/* Answers to nobody, and second answers, are skipped; so is what a server appends. */
static void test_what_is_for_nobody_is_skipped(void **state)
{
    BEGIN(state);
    send(&stream, read_record(77, 2000, false, true));
    send(&stream, read_record(0, 5, true, false));
    send(&stream, read_record(0, 9, true, false));
    send_fragments(&stream, read_record(88, 100, false, true), 3);
    SEND(&stream, ACCEPTED(7), 0, 0, 0, VERIFIER, 1, 2, 3);
    SEND(&stream, ACCEPTED(1), 0, 0, 0, 1, 0, 1, 2, 3); /* READ: no data, and more */
    SEND(&stream, 99, 1);
    SEND(&stream, ACCEPTED(6), 0, 0, 0, VERIFIER);
    expect(&stream, "0:5 7:0 1:0 6:0 ");
}

/* ---- what is none ---- */

#define EXPECT_BAD(state, ...)                         \
    do {                                               \
        BEGIN(state);                                  \
        SEND(&stream, __VA_ARGS__);                    \
        SEND(&stream, ACCEPTED(7), 0, 0, 0, VERIFIER); \
        expect(&stream, "bad");                        \
    } while (0)

static void test_malformed_answers_end_the_connection(void **state)
{
    EXPECT_BAD(state, 0, 0, 2, 100003, 3, 6);                 /* a call */
    EXPECT_BAD(state, ACCEPTED(0), 0, 0, 10, 1, 10, 1, 2, 3); /* more than asked for */
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 4, 1, 8, 1, 2);      /* length is not count */
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 8, 1, 4, 1, 2);
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 0xffffffff, 1, 0xffffffff);
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 12, 1, 12, 1, 2);      /* beyond the record */
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 0, 0, 0);              /* nothing, but no end */
    EXPECT_BAD(state, ACCEPTED(1), 0, 0, 12, 0);                /* ends in the head */
    EXPECT_BAD(state, ACCEPTED(4), 0, 0, 0, 4097, 0, VERIFIER); /* more than asked for */
    EXPECT_BAD(state, ACCEPTED(4), 0, 0, 0, 4096, 0, 1);
    EXPECT_BAD(state, 7);
    BEGIN(state);
    put(&stream, 0x80000000);
    expect(&stream, "bad");
    BEGIN(state);
    put(&stream, 0);
    expect(&stream, "bad");
}

/* The padding belongs to the record, and is not there. */
static void test_missing_padding_is_an_error(void **state)
{
    struct bytes *r = (struct bytes *)read_record(1, 297, true, false);
    for (size_t missing = 1; missing <= 3; missing++) {
        BEGIN(state);
        r->len--;
        send(&stream, r);
        expect(&stream, "bad");
    }
}

/* Longer than any answer can be: the mark says so, by itself or with those before it. */
static void test_too_long_an_answer_is_refused(void **state)
{
    struct fixture f;
    static const uint32_t marks[] = {0xffffffff, 0x7fffffff, 0x80000000 + LARGE + 1025};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        BEGIN(state);
        put(&stream, marks[i]);
        expect(&stream, "bad");
    }
    /* Where nothing is read, the limit is that of small answers. */
    for (uint32_t len = 1024; len < 1026; len++) {
        BEGIN(state);
        set_up(&f, false);
        put(&stream, 0x80000000 | len);
        arrive(&f, stream.at, stream.len);
        assert_string_equal(f.log, len > 1024 ? "bad" : "");
        tear_down(&f);
    }
    BEGIN(state);
    set_up(&f, false);
    PUT(&stream, 1020, 99, 1); /* and whatever is there */
    stream.len = 1024;
    PUT(&stream, 4, 0, 0x80000001);
    arrive(&f, stream.at, stream.len - 4);
    assert_string_equal(f.log, "");
    arrive(&f, stream.at + stream.len - 4, 4);
    assert_string_equal(f.log, "bad");
    tear_down(&f);
}

/* ---- few receives, and no copies ---- */

static void test_a_payload_is_received_in_place(void **state)
{
    struct fixture f;
    BEGIN(state);
    send(&stream, read_record(3, LARGE, false, true));
    set_up(&f, true);
    arrive(&f, stream.at, stream.len);
    assert_string_equal(f.log, "3:100000 ");
    assert_int_equal(f.receives, 2);
    assert_true(f.copied <= 256);
    tear_down(&f);
    expect_strided(&stream, "3:100000 ", 997);

    BEGIN(state);
    send_fragments(&stream, read_record(3, LARGE, false, true), 20000);
    set_up(&f, true);
    arrive(&f, stream.at, stream.len);
    assert_string_equal(f.log, "3:100000 ");
    assert_true(f.receives <= 2 * 6 && f.copied <= 6 * 256);
    tear_down(&f);
}

static void test_many_answers_at_once_are_delivered(void **state)
{
    struct fixture f;
    BEGIN(state);
    for (uint32_t xid = 4; xid < CALLS; xid++) {
        if (xid < 6)
            SEND(&stream, ACCEPTED(xid), 0, 0, 0, 64, 0, VERIFIER);
        else
            SEND(&stream, ACCEPTED(xid), 0, 0, 0, VERIFIER);
    }
    set_up(&f, false);
    arrive(&f, stream.at, stream.len);
    assert_string_equal(f.log, "4:64 5:64 6:0 7:0 ");
    assert_int_equal(f.receives, 1);
    tear_down(&f);

    /* The limit of a record's length is for each by itself. */
    BEGIN(state);
    for (int i = 0; i < 500; i++)
        SEND(&stream, 99, 1, 2);
    SEND(&stream, ACCEPTED(7), 0, 0, 0, VERIFIER);
    set_up(&f, false);
    arrive(&f, stream.at, stream.len);
    assert_string_equal(f.log, "7:0 ");
    tear_down(&f);

    /* And again so, once all that was to be read has been. */
    uint32_t len;
    BEGIN(state);
    set_up(&f, true);
    for (uint32_t xid = 0; xid < 4; xid++)
        send(&stream, read_record(xid, 1, true, false));
    arrive(&f, stream.at, stream.len);
    share_receive_room(&f.receive, &len);
    assert_int_equal(len, SHARE_RECEIVE_BYTES);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_is_delivered),
        cmocka_unit_test(test_answers_come_in_any_order),
        cmocka_unit_test(test_fragments_are_joined),
        cmocka_unit_test(test_a_fragment_may_end_before_any_byte),
        cmocka_unit_test(test_refusals_are_reported),
        cmocka_unit_test(test_what_is_for_nobody_is_skipped),
        cmocka_unit_test(test_malformed_answers_end_the_connection),
        cmocka_unit_test(test_missing_padding_is_an_error),
        cmocka_unit_test(test_too_long_an_answer_is_refused),
        cmocka_unit_test(test_a_payload_is_received_in_place),
        cmocka_unit_test(test_many_answers_at_once_are_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
