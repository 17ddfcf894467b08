/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of READ, WRITE and COMMIT: as the RFCs have them, and what may come instead. */
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

#define WORDS(...) \
    words((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static const enum codec_proc procs[] = {CODEC_READ, CODEC_WRITE, CODEC_COMMIT};

/* Decodes from memory of exactly that length: to read past it is seen by ASan. */
static ptrdiff_t decode_bytes(enum codec_proc proc, const uint8_t *bytes, size_t len,
                              struct codec_reply *reply)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, bytes, len);
    ptrdiff_t rc = codec_reply_head(proc, exact, len, reply);
    free(exact);
    return rc;
}

static ptrdiff_t decode(enum codec_proc proc, struct words w, struct codec_reply *reply)
{
    return decode_bytes(proc, w.bytes, w.len, reply);
}

/* ---- calls ---- */

static void test_a_write_is_encoded(void **state)
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

/* Arguments and all else are alike. */
static void test_a_read_is_encoded(void **state)
{
    (void)state;
    uint8_t head[CODEC_CALL_MAX], commit[CODEC_CALL_MAX];
    size_t len = codec_read_call(head, 9, &cred, fh, 1, 0x10000);
    assert_int_equal(codec_commit_call(commit, 9, &cred, fh, 1, 0x10000), len);
    assert_int_equal(head[27], 6);
    head[27] = 21;
    assert_memory_equal(head, commit, len);
}

static void test_a_commit_is_encoded(void **state)
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

static void test_the_longest_call_fits(void **state)
{
    (void)state;
    char name[200], handle[CODEC_FH_MAX];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memset(handle, 'h', sizeof handle);
    const struct codec_cred long_cred = {.machine = name, .n_groups = CODEC_GROUPS_MAX};
    const struct codec_fh long_fh = {.val = handle, .len = sizeof handle};
    uint8_t *head = malloc(CODEC_CALL_MAX); /* exact: ASan sees more */
    size_t len = codec_write_call(head, 1, &long_cred, long_fh, 0, 1 << 20, false);
    assert_true(len <= CODEC_CALL_MAX);
    free(head);
}

static void test_groups_are_encoded(void **state)
{
    (void)state;
    const struct codec_cred in_two = {
        .machine = "", .gid = 5, .n_groups = 2, .groups = {7, 0x1234}};
    static const uint8_t expected[] = {
        0, 0, 0,    1,    0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, /* AUTH_SYS, no stamp, no name */
        0, 0, 0,    0,    0, 0, 0, 5,  0, 0, 0, 2, 0, 0, 0, 7,
        0, 0, 0x12, 0x34, 0, 0, 0, 0,  0, 0, 0, 0, /* AUTH_NONE */
    };
    uint8_t head[CODEC_CALL_MAX];
    codec_read_call(head, 1, &in_two, fh, 0, 1);
    assert_memory_equal(head + 28, expected, sizeof expected);
}

static void test_padding_is_up_to_four_bytes(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 100; n++)
        assert_true(codec_pad(n) < 4 && (n + codec_pad(n)) % 4 == 0);
}

/* ---- marks ---- */

/* The two marks, cut at each byte. */
static void test_marks_may_be_cut_anywhere(void **state)
{
    (void)state;
    static const uint8_t marks[] = {0x01, 0x02, 0x03, 0x04, 0x80, 0, 0, 1};
    for (size_t cut = 0; cut <= sizeof marks; cut++) {
        struct codec_fragment f = {0};
        for (size_t at = 0; at < sizeof marks;) {
            size_t end = at < cut ? cut : sizeof marks;
            ptrdiff_t n = codec_mark(&f, marks + at, end - at);
            assert_in_range(n, 1, 4);
            at += (size_t)n;
            assert_int_equal(f.left_bytes, at == 4 ? 0x01020304 : at == 8 ? 1 : 0);
            assert_int_equal(f.last, at == 8);
            f.left_bytes = 0;
        }
    }
}

static void test_empty_fragments_are_skipped(void **state)
{
    (void)state;
    static const uint8_t last[] = {0x80, 0, 0, 0}, more[] = {0, 0, 0, 0};
    struct codec_fragment f = {0};
    assert_int_equal(codec_mark(&f, last, 4), -1);
    f = (struct codec_fragment){0};
    assert_int_equal(codec_mark(&f, more, 3), 3);
    assert_int_equal(codec_mark(&f, more + 3, 1), -1);
}

/* ---- replies ---- */

static void test_the_xid_of_a_reply_is_found(void **state)
{
    (void)state;
    uint32_t xid;
    assert_int_equal(codec_reply_xid(WORDS(0xfffffffe, 1).bytes, &xid), 0);
    assert_int_equal(xid, 0xfffffffe);
    assert_int_equal(codec_reply_xid(WORDS(7, 0).bytes, &xid), -1); /* a call */
}

static void test_an_answer_to_read_is_decoded(void **state)
{
    (void)state;
    struct codec_reply r;
    /* What follows is payload, and not looked at. */
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 0, 4096, 0, 4096, 99, 99), &r), 44);
    assert_int_equal(r.outcome, CODEC_DONE);
    assert_int_equal(r.count, 4096);
    assert_false(r.eof);
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 0, 0, 1, 0), &r), 44);
    assert_int_equal(r.count, 0);
    assert_true(r.eof);
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 0, 5, 0, 4), &r), -1);
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 0, 5, 0, 6), &r), -1);
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 0, 5, 2, 5), &r), -1);
    assert_int_equal(decode(CODEC_READ, WORDS(ACCEPTED, 0, 2, 5, 0, 5), &r), -1);
}

static void test_an_answer_to_write_is_decoded(void **state)
{
    (void)state;
    static const uint8_t verifier[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct codec_reply r;
    assert_int_equal(decode(CODEC_WRITE, WORDS(ACCEPTED, 0, NO_WCC, 4096, 0, VERIFIER), &r), 52);
    assert_int_equal(r.outcome, CODEC_DONE);
    assert_int_equal(r.count, 4096);
    assert_false(r.stable);
    assert_memory_equal(r.verifier, verifier, sizeof verifier);

    assert_int_equal(decode(CODEC_WRITE, WORDS(ACCEPTED, 0, NO_WCC, 1, 2, VERIFIER), &r), 52);
    assert_true(r.stable);
    assert_int_equal(decode(CODEC_WRITE, WORDS(ACCEPTED, 0, NO_WCC, 1, 3, VERIFIER), &r), -1);
}

/* With all attributes, and a server's verifier of 5 bytes. */
static struct words long_reply(enum codec_proc proc)
{
    uint32_t w[64] = {7, 1, 0, 1, 5, 0x11111111, 0x11000000, 0, 0, 1};
    size_t n = 10;
    if (proc != CODEC_READ) {
        n += 6;
        w[n++] = 1;
    }
    n += 21;
    if (proc != CODEC_COMMIT) {
        w[n++] = 77;
        w[n++] = 1;
    }
    if (proc == CODEC_READ) {
        w[n++] = 77;
        return words(w, n);
    }
    w[n++] = 0x01020304;
    w[n++] = 0x05060708;
    return words(w, n);
}

static void test_attributes_are_skipped(void **state)
{
    (void)state;
    struct codec_reply r;
    struct words w = long_reply(CODEC_READ);
    assert_int_equal(decode(CODEC_READ, w, &r), w.len);
    assert_int_equal(r.count, 77);
    assert_true(r.eof);
    w = long_reply(CODEC_WRITE);
    assert_int_equal(decode(CODEC_WRITE, w, &r), w.len);
    assert_int_equal(r.count, 77);
    assert_true(r.stable);
    assert_int_equal(r.verifier[7], 8);
    w = long_reply(CODEC_COMMIT);
    assert_int_equal(decode(CODEC_COMMIT, w, &r), w.len);
    assert_int_equal(r.verifier[0], 1);
    assert_int_equal(r.verifier[7], 8);
}

static void test_refusals_are_reported(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof procs / sizeof *procs; i++) {
        struct codec_reply r;
        assert_true(decode(procs[i], WORDS(ACCEPTED, 28, NO_WCC), &r) > 0);
        assert_int_equal(r.outcome, CODEC_STATUS);
        assert_int_equal(r.status, 28);
        /* denied, AUTH_ERROR, rejected credential */
        assert_int_equal(decode(procs[i], WORDS(7, 1, 1, 1, 2), &r), 20);
        assert_int_equal(r.outcome, CODEC_AUTH);
        /* denied, RPC_MISMATCH */
        assert_int_equal(decode(procs[i], WORDS(7, 1, 1, 0, 3, 3), &r), 24);
        assert_int_equal(r.outcome, CODEC_FOREIGN);
        /* GARBAGE_ARGS */
        assert_int_equal(decode(procs[i], WORDS(7, 1, 0, 0, 0, 4), &r), 24);
        assert_int_equal(r.outcome, CODEC_FOREIGN);
    }
}

static void test_malformed_answers_are_refused(void **state)
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
        for (size_t k = 0; k < sizeof procs / sizeof *procs; k++)
            assert_int_equal(decode(procs[k], bad[i], &r), -1);
    }
}

/* All but the whole needs more, and never more than that. */
static void cut_everywhere(enum codec_proc proc, struct words w)
{
    struct codec_reply r;
    for (size_t len = 0; len < w.len; len++)
        assert_in_range(decode_bytes(proc, w.bytes, len, &r), len + 1, w.len);
    assert_int_equal(decode_bytes(proc, w.bytes, w.len, &r), w.len);
}

static void test_a_cut_answer_needs_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof procs / sizeof *procs; i++) {
        cut_everywhere(procs[i], long_reply(procs[i]));
        cut_everywhere(procs[i], WORDS(7, 1, 1, 1, 2));
        cut_everywhere(procs[i], WORDS(7, 1, 1, 0, 3, 3));
        cut_everywhere(procs[i], WORDS(ACCEPTED, 13));
    }
    cut_everywhere(CODEC_READ, WORDS(ACCEPTED, 0, 0, 1, 0, 1));
    cut_everywhere(CODEC_WRITE, WORDS(ACCEPTED, 0, NO_WCC, 1, 0, VERIFIER));
    cut_everywhere(CODEC_COMMIT, WORDS(ACCEPTED, 0, NO_WCC, VERIFIER));
}

/* The longest head there can be fits: what is needed is then no more than CODEC_REPLY_MAX. */
static void test_the_longest_head_fits(void **state)
{
    (void)state;
    uint32_t w[CODEC_REPLY_MAX / 4] = {7, 1, 0, 1, 400};
    size_t n = 5 + 100 + 2;
    w[n] = 1; /* wcc_data */
    w[n + 7] = 1;
    n += 7 + 22 + 2 + 2;
    struct words out;
    uint8_t *bytes = malloc(4 * n);
    for (size_t at = 0; at < n; at += 64) {
        out = words(w + at, n - at < 64 ? n - at : 64);
        memcpy(bytes + 4 * at, out.bytes, out.len);
    }
    struct codec_reply r;
    assert_int_equal(codec_reply_head(CODEC_WRITE, bytes, 4 * n, &r), 4 * n);
    assert_true(4 * n <= CODEC_REPLY_MAX);
    free(bytes);
}

/* What comes of random bytes does not matter, if nothing else does: ASan and UBSan look on. */
static void test_random_bytes_do_no_harm(void **state)
{
    (void)state;
    srand(1);
    for (int i = 0; i < 200000; i++) {
        enum codec_proc proc = procs[i % 3];
        const struct words good = long_reply(proc);
        struct words w = good;
        w.len = (size_t)rand() % (good.len + 1);
        for (int k = rand() % 6; k >= 0; k--)
            w.bytes[(size_t)rand() % good.len] = (uint8_t)(rand() % 3 > 0 ? rand() : rand() % 3);
        struct codec_reply r;
        ptrdiff_t rc = decode(proc, w, &r);
        assert_true(rc == -1 || (rc > 0 && rc <= CODEC_REPLY_MAX));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_write_is_encoded),
        cmocka_unit_test(test_a_read_is_encoded),
        cmocka_unit_test(test_a_commit_is_encoded),
        cmocka_unit_test(test_the_longest_call_fits),
        cmocka_unit_test(test_groups_are_encoded),
        cmocka_unit_test(test_padding_is_up_to_four_bytes),
        cmocka_unit_test(test_marks_may_be_cut_anywhere),
        cmocka_unit_test(test_empty_fragments_are_skipped),
        cmocka_unit_test(test_the_xid_of_a_reply_is_found),
        cmocka_unit_test(test_an_answer_to_read_is_decoded),
        cmocka_unit_test(test_an_answer_to_write_is_decoded),
        cmocka_unit_test(test_attributes_are_skipped),
        cmocka_unit_test(test_refusals_are_reported),
        cmocka_unit_test(test_malformed_answers_are_refused),
        cmocka_unit_test(test_a_cut_answer_needs_more),
        cmocka_unit_test(test_the_longest_head_fits),
        cmocka_unit_test(test_random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
