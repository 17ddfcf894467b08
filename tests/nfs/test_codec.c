/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of WRITE and COMMIT: as the RFCs have them, and whatever a server may send instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/codec.h"

static const struct codec_cred cred = {.uid = 0x01020304, .gid = 5, .machine = "godwit"};
static const struct codec_fh fh = {.val = "handle", .len = 6};

/* Heads of replies, words as they are on the wire; the xid is 7 */
#define ACCEPTED 7, 1, 0, 0, 0, 0
#define NO_WCC 0, 0
#define VERIFIER 0x01020304, 0x05060708

struct words {
    uint8_t bytes[400];
    size_t len;
};

static struct words words(const uint32_t *w, size_t n)
{
    struct words out = {.len = 4 * n};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 4; k++)
            out.bytes[4 * i + k] = (uint8_t)(w[i] >> (24 - 8 * k));
    return out;
}

#define WORDS(...)                                       \
    words((const uint32_t[]){__VA_ARGS__},               \
          sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

typedef int reply_fn(const uint8_t *record, size_t len, struct codec_reply *reply);

/* Decodes from memory of exactly that length: to read past it is seen by ASan. */
static int decode(reply_fn *fn, const uint8_t *bytes, size_t len, struct codec_reply *reply)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, bytes, len);
    int rc = fn(exact, len, reply);
    free(exact);
    return rc;
}

/* ---- calls ---- */

static void test_write_call(void **state)
{
    (void)state;
    /* clang-format off */
    static const uint8_t expected[] = {
        0x80, 0, 0, 108, /* the last fragment: 100 bytes of head, 5 of payload, 3 of padding */
        0xab, 0xcd, 0xef, 0x01, /* xid */
        0, 0, 0, 0,  0, 0, 0, 2,  0x00, 0x01, 0x86, 0xa3,  0, 0, 0, 3,  0, 0, 0, 7,
        0, 0, 0, 1,  0, 0, 0, 28, /* AUTH_SYS */
        0, 0, 0, 0,  0, 0, 0, 6,  'g', 'o', 'd', 'w',  'i', 't', 0, 0,
        1, 2, 3, 4,  0, 0, 0, 5,  0, 0, 0, 0,
        0, 0, 0, 0,  0, 0, 0, 0, /* AUTH_NONE */
        0, 0, 0, 6,  'h', 'a', 'n', 'd',  'l', 'e', 0, 0,
        0, 0, 0, 9,  0x80, 0, 0, 1, /* offset */
        0, 0, 0, 5,  0, 0, 0, 2,  0, 0, 0, 5, /* count, FILE_SYNC, length */
    };
    /* clang-format on */
    uint8_t head[CODEC_CALL_MAX];
    size_t len = codec_write_call(head, 0xabcdef01, &cred, fh, 0x980000001, 5, true);
    assert_int_equal(len, sizeof expected);
    assert_memory_equal(head, expected, len);
    assert_int_equal(codec_write_call(head, 1, &cred, fh, 0, 5, false), len);
    assert_int_equal(head[len - 5], 0); /* UNSTABLE */
}

static void test_commit_call(void **state)
{
    (void)state;
    uint8_t head[CODEC_CALL_MAX], write[CODEC_CALL_MAX];
    size_t len = codec_commit_call(head, 9, &cred, fh, 1, 0x10000);
    size_t write_len = codec_write_call(write, 9, &cred, fh, 1, 0x10000, false);
    assert_int_equal(len, write_len - 8);
    assert_int_equal(head[27], 21);
    assert_int_equal(head[3], len - 4);
    assert_memory_equal(head + 28, write + 28, len - 28); /* credential, handle, offset, count */
}

static void test_longest_call(void **state)
{
    (void)state;
    char name[200], handle[CODEC_FH_MAX];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memset(handle, 'h', sizeof handle);
    const struct codec_cred long_cred = {.machine = name};
    const struct codec_fh long_fh = {.val = handle, .len = sizeof handle};
    uint8_t *head = malloc(CODEC_CALL_MAX); /* exact: ASan sees more */
    size_t len = codec_write_call(head, 1, &long_cred, long_fh, 0, 1 << 20, false);
    assert_true(len <= CODEC_CALL_MAX);
    free(head);
}

static void test_pad(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 100; n++)
        assert_true(codec_pad(n) < 4 && (n + codec_pad(n)) % 4 == 0);
}

/* ---- records ---- */

/* Two replies, the first in three fragments, cut at each byte. */
static void test_records_cut_anywhere(void **state)
{
    (void)state;
    static const uint8_t stream[] = {0,    0, 0, 2, 'a', 'b', 0,   0,   0,   1, 'c', 0x80, 0,
                                     0,    3, 'd', 'e', 'f', 0x80, 0, 0, 2, 'x', 'y'};
    for (size_t cut = 0; cut <= sizeof stream; cut++) {
        struct codec_reader r = {0};
        char got[40] = "";
        for (size_t at = 0; at < sizeof stream;) {
            size_t end = at < cut ? cut : sizeof stream;
            ptrdiff_t n = codec_read(&r, stream + at, end - at);
            assert_true(n > 0);
            at += (size_t)n;
            if (!r.whole)
                continue;
            strncat(got, (const char *)r.record, r.len);
            strcat(got, "|");
            r = (struct codec_reader){0};
        }
        assert_string_equal(got, "abcdef|xy|");
    }
}

static void test_records_that_cannot_be(void **state)
{
    (void)state;
    static const uint8_t empty[] = {0x80, 0, 0, 0}, more_empty[] = {0, 0, 0, 0},
                         huge[] = {0xff, 0xff, 0xff, 0xff},
                         long_by_one[] = {0x80, 0, CODEC_REPLY_MAX >> 8, 1};
    struct codec_reader r = {0};
    assert_int_equal(codec_read(&r, empty, 4), -1);
    r = (struct codec_reader){0};
    assert_int_equal(codec_read(&r, more_empty, 4), -1);
    r = (struct codec_reader){0};
    assert_int_equal(codec_read(&r, huge, 4), -1);
    r = (struct codec_reader){0};
    assert_int_equal(codec_read(&r, long_by_one, 4), -1);

    /* Many fragments that together are too long */
    static const uint8_t piece[] = {0, 0, 0, 4, 1, 2, 3, 4};
    ptrdiff_t n = 0;
    int pieces = 0;
    for (r = (struct codec_reader){0}; (n = codec_read(&r, piece, sizeof piece)) > 0;)
        pieces++;
    assert_int_equal(pieces, CODEC_REPLY_MAX / 4);
}

/* ---- replies ---- */

static void test_write_reply(void **state)
{
    (void)state;
    static const uint8_t verifier[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct words w = WORDS(ACCEPTED, 0, NO_WCC, 4096, 0, VERIFIER);
    struct codec_reply r;
    uint32_t xid;
    assert_int_equal(codec_reply_xid(w.bytes, w.len, &xid), 0);
    assert_int_equal(xid, 7);
    assert_int_equal(decode(codec_write_reply, w.bytes, w.len, &r), 0);
    assert_int_equal(r.outcome, CODEC_DONE);
    assert_int_equal(r.count, 4096);
    assert_false(r.stable);
    assert_memory_equal(r.verifier, verifier, sizeof verifier);

    w = WORDS(ACCEPTED, 0, NO_WCC, 1, 2, VERIFIER);
    assert_int_equal(decode(codec_write_reply, w.bytes, w.len, &r), 0);
    assert_true(r.stable);
    w = WORDS(ACCEPTED, 0, NO_WCC, 1, 3, VERIFIER);
    assert_int_equal(decode(codec_write_reply, w.bytes, w.len, &r), -1);
}

/* With attributes before and after, and a server's verifier of 5 bytes. */
static struct words long_reply(bool write)
{
    uint32_t w[64] = {7, 1, 0, 1, 5, 0x11111111, 0x11000000, 0, 0, 1};
    size_t n = 10 + 6;
    w[n++] = 1;
    n += 21;
    if (write) {
        w[n++] = 77;
        w[n++] = 1;
    }
    w[n++] = 0x01020304;
    w[n++] = 0x05060708;
    return words(w, n);
}

static void test_attributes_are_skipped(void **state)
{
    (void)state;
    struct codec_reply r;
    struct words w = long_reply(true);
    assert_int_equal(decode(codec_write_reply, w.bytes, w.len, &r), 0);
    assert_int_equal(r.count, 77);
    assert_true(r.stable);
    assert_int_equal(r.verifier[7], 8);
    w = long_reply(false);
    assert_int_equal(decode(codec_commit_reply, w.bytes, w.len, &r), 0);
    assert_int_equal(r.verifier[0], 1);
    assert_int_equal(r.verifier[7], 8);
}

static void test_refusals(void **state)
{
    (void)state;
    static reply_fn *const both[] = {codec_write_reply, codec_commit_reply};
    for (size_t i = 0; i < 2; i++) {
        struct codec_reply r;
        struct words w = WORDS(ACCEPTED, 28, NO_WCC);
        assert_int_equal(decode(both[i], w.bytes, w.len, &r), 0);
        assert_int_equal(r.outcome, CODEC_STATUS);
        assert_int_equal(r.status, 28);
        w = WORDS(7, 1, 1, 1, 2); /* denied, AUTH_ERROR, rejected credential */
        assert_int_equal(decode(both[i], w.bytes, w.len, &r), 0);
        assert_int_equal(r.outcome, CODEC_AUTH);
        w = WORDS(7, 1, 1, 0, 3, 3); /* denied, RPC_MISMATCH */
        assert_int_equal(decode(both[i], w.bytes, w.len, &r), 0);
        assert_int_equal(r.outcome, CODEC_FOREIGN);
        w = WORDS(7, 1, 0, 0, 0, 4); /* GARBAGE_ARGS */
        assert_int_equal(decode(both[i], w.bytes, w.len, &r), 0);
        assert_int_equal(r.outcome, CODEC_FOREIGN);
    }
}

static void test_malformed(void **state)
{
    (void)state;
    const struct words bad[] = {
        WORDS(7, 0, 0, 0, 0, 0, 0, NO_WCC, 1, 0, VERIFIER),   /* a call */
        WORDS(7, 1, 2, 0, 0, 0, 0, NO_WCC, 1, 0, VERIFIER),   /* neither accepted nor denied */
        WORDS(7, 1, 0, 0, 401, 0, 0, NO_WCC, 1, 0, VERIFIER), /* a verifier that is too long */
        WORDS(7, 1, 0, 0, 0xfffffffe, 0, 0, NO_WCC, 1, 0, VERIFIER),
        WORDS(7, 1, 0, 0, 0, 6, 0, NO_WCC, 1, 0, VERIFIER), /* no such accept_stat */
        WORDS(7, 1, 1, 2, 0, 0, 0, NO_WCC, 1, 0, VERIFIER), /* no such reject_stat */
        WORDS(ACCEPTED, 0, 2, 0, 1, 0, VERIFIER),           /* a boolean that is none */
        WORDS(ACCEPTED, 0, 0, 9, 1, 0, VERIFIER),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct codec_reply r;
        assert_int_equal(decode(codec_write_reply, bad[i].bytes, bad[i].len, &r), -1);
        assert_int_equal(decode(codec_commit_reply, bad[i].bytes, bad[i].len, &r), -1);
    }
    uint32_t xid;
    assert_int_equal(codec_reply_xid(bad[0].bytes, bad[0].len, &xid), -1);
}

static void cut_everywhere(reply_fn *fn, struct words w)
{
    struct codec_reply r;
    for (size_t len = 0; len < w.len; len++)
        assert_int_equal(decode(fn, w.bytes, len, &r), -1);
    assert_int_equal(decode(fn, w.bytes, w.len, &r), 0);
}

static void test_cut_replies(void **state)
{
    (void)state;
    cut_everywhere(codec_write_reply, WORDS(ACCEPTED, 0, NO_WCC, 1, 0, VERIFIER));
    cut_everywhere(codec_write_reply, long_reply(true));
    cut_everywhere(codec_commit_reply, long_reply(false));
    cut_everywhere(codec_write_reply, WORDS(7, 1, 1, 1, 2));
    cut_everywhere(codec_commit_reply, WORDS(7, 1, 1, 0, 3, 3));
    uint32_t xid;
    struct words w = WORDS(7, 1);
    for (size_t len = 0; len < w.len; len++)
        assert_int_equal(codec_reply_xid(w.bytes, len, &xid), -1);
}

/* What comes of random bytes does not matter, if nothing else does: ASan and UBSan look on. */
static void test_random(void **state)
{
    (void)state;
    srand(1);
    const struct words good = long_reply(true);
    for (int i = 0; i < 200000; i++) {
        struct words w = good;
        w.len = (size_t)rand() % (good.len + 1);
        for (int k = rand() % 6; k >= 0; k--)
            w.bytes[(size_t)rand() % good.len] = (uint8_t)(rand() % 3 > 0 ? rand() : rand() % 3);
        struct codec_reply r;
        decode(codec_write_reply, w.bytes, w.len, &r);
        decode(codec_commit_reply, w.bytes, w.len, &r);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t noise[64];
        struct codec_reader r = {0};
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)(rand() % 4 > 0 ? rand() % 3 : rand());
        for (size_t at = 0; at < sizeof noise;) {
            size_t piece = 1 + (size_t)rand() % (sizeof noise - at);
            ptrdiff_t n = codec_read(&r, noise + at, piece);
            if (n < 0)
                break;
            assert_true((size_t)n <= piece && r.len <= sizeof r.record);
            at += (size_t)n;
            if (r.whole)
                r = (struct codec_reader){0};
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_call),
        cmocka_unit_test(test_commit_call),
        cmocka_unit_test(test_longest_call),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_records_cut_anywhere),
        cmocka_unit_test(test_records_that_cannot_be),
        cmocka_unit_test(test_write_reply),
        cmocka_unit_test(test_attributes_are_skipped),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_cut_replies),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
