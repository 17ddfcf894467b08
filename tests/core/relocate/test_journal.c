/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

#include "core/relocate/journal.h"

static const struct store_attr source = {
    .size_bytes = UINT64_C(0x1122334455),
    .device = 7,
    .inode = UINT64_C(0xa1a2a3a4a5a6a7a8),
    .atime_ns = 5,
    .mtime_ns = 1700000000123456789,
    .ctime_ns = -3,
    .mode = 0600,
    .type = STORE_REGULAR,
};

static const struct store_attr part = {.inode = 4711, .generation = 99};

static void begin(struct journal_header *h)
{
    struct err e = {0};
    if (journal_begin(h, "/images/", "vm.img", &source, &part, 1 << 20, &e) < 0)
        fail_msg("%s", e.msg);
}

static void refused(struct err *e, const char *why)
{
    assert_int_equal(e->class, ERR_REFUSED);
    if (strstr(e->msg, why) == NULL)
        fail_msg("'%s' does not say '%s'", e->msg, why);
    assert_non_null(strstr(e->hint, "--restart"));
    err_clear(e);
}

static void test_no_record_crosses_a_sector(void **state)
{
    (void)state;
    assert_int_equal(journal_chunks(0, 4096), 0);
    assert_int_equal(journal_chunks(1, 4096), 1);
    assert_int_equal(journal_chunks(4096, 4096), 1);
    assert_int_equal(journal_chunks(4097, 4096), 2);
    assert_true(journal_chunks(UINT64_MAX, 1 << 20) == UINT64_C(1) << 44);
    assert_int_equal(journal_size(0), 512);
    assert_int_equal(journal_size(3), 512 + 192);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t at = journal_record_offset(i);
        assert_int_equal(at / 512, (at + JOURNAL_RECORD_BYTES - 1) / 512);
        assert_int_equal(journal_record_offset(i + 1), at + JOURNAL_RECORD_BYTES);
    }
}

static void test_the_header_is_read_back(void **state)
{
    (void)state;
    struct journal_header h, got;
    struct err e = {0};
    uint8_t raw[JOURNAL_HEADER_BYTES];
    begin(&h);
    assert_string_equal(h.source, "/images/vm.img");
    assert_int_equal(h.writer.pid, getpid());
    journal_encode_header(raw, &h);
    assert_int_equal(journal_decode_header(raw, sizeof raw, &got, &e), 1);
    assert_true(got.size_bytes == source.size_bytes && got.chunk_bytes == 1 << 20);
    assert_true(got.source_inode == source.inode && got.part_inode == 4711);
    assert_true(got.source_mtime_ns == source.mtime_ns && got.source_ctime_ns == source.ctime_ns);
    assert_string_equal(got.source, h.source);
    assert_memory_equal(got.run_id, h.run_id, sizeof h.run_id);
    assert_true(got.begun_ns == h.begun_ns && got.begun_ns > 1700000000000000000);
    assert_true(got.writer.pid == h.writer.pid);
    assert_true(got.writer.start_ticks == h.writer.start_ticks && got.writer.start_ticks > 0);
    assert_memory_equal(got.writer.boot_id, h.writer.boot_id, sizeof h.writer.boot_id);
    assert_string_equal(got.writer.host, h.writer.host);

    struct journal_header other;
    begin(&other);
    assert_memory_not_equal(other.run_id, h.run_id, sizeof h.run_id);
}

/* The format is an agreement with earlier and later versions: these bytes may not change. */
static void test_the_layout_never_changes(void **state)
{
    (void)state;
    struct journal_header h = {
        .size_bytes = 0x0102030405060708,
        .chunk_bytes = 0x11121314,
        .source_inode = 0x2122232425262728,
        .source_mtime_ns = 0x3132333435363738,
        .source_ctime_ns = 0x4142434445464748,
        .source = "nfs://h/x",
        .part_inode = 0x51525354,
        .run_id = "0123456789abcde",
        .begun_ns = 0x61626364,
        .part_generation = 0x15161718,
        .state = JOURNAL_WHOLE,
        .writer = {.pid = 0x71727374,
                   .pid_space = 0x35363738,
                   .start_ticks = 0x81828384,
                   .machine = 0x45464748,
                   .boot_id = "BOOT",
                   .host = "host"},
    };
    uint8_t raw[JOURNAL_HEADER_BYTES];
    journal_encode_header(raw, &h);
    assert_memory_equal(raw, "godwitJ\n\2\0\0\0\0\0\0\0\x8\7\6\5\4\3\2\1", 24);
    assert_memory_equal(raw + 24, "\x14\x13\x12\x11\1\0\0\0", 8);
    assert_memory_equal(raw + 32, "('&%$#\"!87654321HGFEDCBA", 24);
    assert_memory_equal(raw + 56,
                        "TSRQ\0\0\0\0"
                        "0123456789abcde\0",
                        24);
    assert_memory_equal(raw + 80, "dcba\0\0\0\0\x84\x83\x82\x81\0\0\0\0tsrq8765BOOT\0", 29);
    assert_memory_equal(raw + 120, "host\0", 5);
    assert_memory_equal(raw + 184, "nfs://h/x\0", 10);
    assert_memory_equal(raw + 456, "\x18\x17\x16\x15\0\0\0\0HGFE\0\0\0\0", 16);
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(raw, 496));
    assert_memory_equal(raw + 496, &sum, sizeof sum);

    struct journal_record r = {.data_bytes = 0x01020304,
                               .digest = "DIGESTDIGESTDIG",
                               .written = true,
                               .verifier = "VERIFIE"};
    uint8_t record[JOURNAL_RECORD_BYTES];
    journal_encode_record(record, h.run_id, 5, &r);
    assert_memory_equal(record, "\1\1\0\0\4\3\2\1DIGESTDIGESTDIG\0VERIFIE\0", 32);
    uint8_t all[80] = {0};
    memcpy(all, record, 56);
    memcpy(all + 56, h.run_id, 16);
    all[72] = 5;
    uint64_t sum64 = XXH3_64bits(all, sizeof all);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(record[56 + i], (uint8_t)(sum64 >> (8 * i)));
}

static void test_a_damaged_header_is_refused(void **state)
{
    (void)state;
    struct journal_header h;
    struct err e = {0};
    uint8_t raw[JOURNAL_HEADER_BYTES];
    begin(&h);
    journal_encode_header(raw, &h);
    for (size_t i = 0; i < sizeof raw; i++) {
        for (unsigned flip = 1; flip < 256; flip = flip == 128 ? 255 : flip * 2) {
            raw[i] ^= (uint8_t)flip;
            if (journal_decode_header(raw, sizeof raw, &h, &e) != -1)
                fail_msg("byte %zu with 0x%x flipped is accepted", i, flip);
            refused(&e, i < 8 ? "not a journal" : "torn");
            raw[i] ^= (uint8_t)flip;
        }
    }
    for (size_t len = 1; len < sizeof raw; len++) {
        assert_int_equal(journal_decode_header(raw, len, &h, &e), -1);
        refused(&e, "cut off");
    }
    assert_int_equal(journal_decode_header(raw, sizeof raw, &h, &e), 1);
    assert_int_equal(journal_decode_header((const uint8_t *)"PK\3\4", 4, &h, &e), -1);
    refused(&e, "not a journal");
}

/* A run that was killed before it wrote the header leaves a file that is empty, or all holes. */
static void test_a_header_that_was_never_written_is_none(void **state)
{
    (void)state;
    static const uint8_t nothing[JOURNAL_HEADER_BYTES];
    struct journal_header h;
    struct err e = {0};
    for (size_t len = 0; len <= sizeof nothing; len++)
        assert_int_equal(journal_decode_header(nothing, len, &h, &e), 0);
}

static void write_u32(uint8_t *raw, size_t at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        raw[at + i] = (uint8_t)(value >> (8 * i));
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(raw, 496));
    memcpy(raw + 496, &sum, sizeof sum);
}

static void test_a_newer_header_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        const char *why;
    } cases[] = {
        {8, 3, "newer godwit: the journal has version 3"},
        {8, 1, "older godwit: the journal has version 1"},
        {12, 1, "newer godwit: the journal needs features 0x1"},
        {12, 0x80000000, "features 0x80000000"},
        {24, 0, "no sense"},
        {28, 4, "no sense"},
        {472, 1, "no sense"},
        {492, 1, "no sense"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct journal_header h;
        struct err e = {0};
        uint8_t raw[JOURNAL_HEADER_BYTES];
        begin(&h);
        journal_encode_header(raw, &h);
        write_u32(raw, cases[i].at, cases[i].value);
        assert_int_equal(journal_decode_header(raw, sizeof raw, &h, &e), -1);
        refused(&e, cases[i].why);
    }
}

/* Texts that fill their field have no NUL in the file. */
static void test_texts_that_fill_their_field_are_read_back(void **state)
{
    (void)state;
    struct journal_header h, got;
    struct err e = {0};
    char place[500], name[500];
    for (size_t p = 0; p < 400; p += 13) {
        for (size_t n = 1; n < 400; n += 17) {
            memset(place, 'p', p);
            place[p] = '\0';
            memset(name, 'n', n);
            name[n - 1] = '!';
            name[n] = '\0';
            assert_int_equal(journal_begin(&h, place, name, &source, &part, 4096, &e), 0);
            size_t len = strlen(h.source);
            assert_int_equal(len, p + n < JOURNAL_SOURCE_BYTES ? p + n : JOURNAL_SOURCE_BYTES);
            assert_int_equal(h.source[len - 1], '!');
            assert_int_equal(strspn(h.source, "p"), n >= len ? 0 : len - n);

            memset(h.writer.host, 'h', OWNER_HOST_BYTES);
            uint8_t raw[JOURNAL_HEADER_BYTES];
            journal_encode_header(raw, &h);
            assert_int_equal(journal_decode_header(raw, sizeof raw, &got, &e), 1);
            assert_string_equal(got.source, h.source);
            assert_int_equal(strlen(got.writer.host), OWNER_HOST_BYTES);
        }
    }
}

static void test_the_same_work_is_continued(void **state)
{
    (void)state;
    struct journal_header found, now;
    struct err e = {0};
    begin(&found);
    found.begun_ns = 99;
    begin(&now);
    assert_int_equal(journal_continue(&found, &now, &e), 0);
    assert_memory_equal(now.run_id, found.run_id, sizeof now.run_id);
    assert_int_equal(now.begun_ns, 99);

#define REFUSED(change, why)                                      \
    do {                                                          \
        struct journal_header old = found;                        \
        change;                                                   \
        struct journal_header again = now;                        \
        assert_int_equal(journal_continue(&old, &again, &e), -1); \
        refused(&e, why);                                         \
        assert_memory_equal(&again, &now, sizeof now);            \
    } while (0)

    REFUSED(old.source[3] = 'X', "from another source, /imXges/vm.img");
    REFUSED(old.size_bytes = 5, "was changed since: it had 5 bytes");
    REFUSED(old.source_inode = 6, "was changed since: it is another file");
    REFUSED(old.source_mtime_ns += 1, "its modification time is another");
    REFUSED(old.source_ctime_ns -= 1, "its status change time is another");
    REFUSED(old.part_inode = 7, "the part beside it is another file (inode 4711, was 7)");
    REFUSED(old.part_generation = 7, "which got the inode number 4711 of the one that was there");
    REFUSED(old.chunk_bytes = 8, "chunks of 8 bytes, not 1048576");
}

static void test_the_same_device_is_continued(void **state)
{
    (void)state;
    struct journal_header found, now;
    struct err e = {0};
    struct store_attr attr = source;
    attr.type = STORE_BLOCK_DEVICE;
    assert_int_equal(journal_begin(&found, "/dev/", "vg/vm", &attr, &part, 4096, &e), 0);
    attr.mtime_ns++, attr.ctime_ns++; /* whoever opens it changes them */
    assert_int_equal(journal_begin(&now, "/dev/", "vg/vm", &attr, &part, 4096, &e), 0);
    assert_int_equal(journal_continue(&found, &now, &e), 0);
}

/* A child that has begun a journal, and waits to be killed. */
static pid_t child_begin(const char *name, struct journal_header *h)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err e = {0};
        prctl(PR_SET_NAME, name);
        if (journal_begin(h, "/", "x", &source, &part, 4096, &e) < 0 ||
            write(fd[1], h, sizeof *h) != sizeof *h)
            _exit(1);
        close(fd[1]);
        pause();
        _exit(0);
    }
    close(fd[1]);
    assert_int_equal(read(fd[0], h, sizeof *h), sizeof *h);
    close(fd[0]);
    return pid;
}

static void test_a_living_writer_is_known(void **state)
{
    (void)state;
    static const char *const names[] = {"godwit", "a) Z 1 (b", ") ) ("};
    for (size_t i = 0; i < 3; i++) {
        struct journal_header h;
        pid_t pid = child_begin(names[i], &h);
        assert_int_equal(owner_state(&h.writer), OWNER_ALIVE);
        char text[OWNER_TEXT_MAX];
        uint32_t number;
        owner_text(&h.writer, text);
        assert_int_equal(owner_text_state(text, &number), OWNER_ALIVE);
        assert_int_equal(number, pid);

        siginfo_t info;
        kill(pid, SIGKILL);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(owner_state(&h.writer), OWNER_DEAD); /* a zombie */
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(owner_state(&h.writer), OWNER_DEAD);
        assert_int_equal(owner_text_state(text, &number), OWNER_DEAD);
    }
}

/* What is said of an owner, both by its record and by its text. */
static void judged(const struct owner *o, enum owner_state state)
{
    char text[OWNER_TEXT_MAX];
    uint32_t pid;
    assert_int_equal(owner_state(o), state);
    owner_text(o, text);
    assert_int_equal(owner_text_state(text, &pid), state);
    assert_int_equal(pid, o->pid);
}

/* Only the kernel that it ran on can say that it has ended; or that this one is another by now. */
static void test_only_its_own_kernel_knows_that_a_writer_ended(void **state)
{
    (void)state;
    struct journal_header own;
    begin(&own);
    own.writer.machine = own.writer.machine != 0 ? own.writer.machine : 5;
    judged(&own.writer, OWNER_SELF);
    struct owner o = own.writer;
    o.start_ticks++; /* the number was given to another process */
    judged(&o, OWNER_DEAD);
    o = own.writer;
    o.host[0] ^= 1; /* the host was renamed: its processes are the same */
    judged(&o, OWNER_SELF);
    o.boot_id[15] ^= 1; /* another host */
    judged(&o, OWNER_UNKNOWN);
    o = own.writer;
    o.pid_space++; /* a container of this host, which may have the same numbers */
    judged(&o, OWNER_UNKNOWN);
    o = own.writer;
    o.machine = 0; /* two hosts may have one name */
    o.boot_id[0] ^= 1;
    judged(&o, OWNER_UNKNOWN);
    o = (struct owner){0};
    assert_int_equal(owner_state(&o), OWNER_DEAD);
    uint32_t pid;
    assert_int_equal(owner_text_state("", &pid), OWNER_UNKNOWN);
    assert_int_equal(owner_text_state("00-11", &pid), OWNER_UNKNOWN);
}

static void test_a_record_is_read_back(void **state)
{
    (void)state;
    static const uint8_t none[JOURNAL_RECORD_BYTES];
    struct journal_header h, foreign;
    struct journal_record r = {.data_bytes = 77, .digest = "0123456789abcde"}, got;
    struct err e = {0};
    uint8_t raw[JOURNAL_RECORD_BYTES];
    begin(&h);
    begin(&foreign);
    assert_int_equal(journal_decode_record(none, h.run_id, 0, &got, &e), 0);
    for (uint64_t chunk = 0; chunk < 300; chunk++) {
        journal_encode_record(raw, h.run_id, chunk, &r);
        assert_int_equal(journal_decode_record(raw, h.run_id, chunk, &got, &e), 1);
        assert_int_equal(got.data_bytes, 77);
        assert_memory_equal(got.digest, r.digest, sizeof r.digest);
        for (uint64_t other = 0; other < 300; other++) {
            if (other == chunk)
                continue;
            assert_int_equal(journal_decode_record(raw, h.run_id, other, &got, &e), -1);
            refused(&e, "chunk");
        }
        assert_int_equal(journal_decode_record(raw, foreign.run_id, chunk, &got, &e), -1);
        refused(&e, "checksum");
    }
}

static void test_a_damaged_record_is_none(void **state)
{
    (void)state;
    struct journal_header h;
    struct journal_record r = {.data_bytes = 77, .digest = "0123456789abcde"}, got;
    struct err e = {0};
    uint8_t raw[JOURNAL_RECORD_BYTES];
    begin(&h);
    journal_encode_record(raw, h.run_id, 9, &r);
    for (size_t i = 0; i < sizeof raw; i++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            raw[i] ^= (uint8_t)flip;
            assert_int_equal(journal_decode_record(raw, h.run_id, 9, &got, &e), -1);
            refused(&e, "the record of chunk 9");
            raw[i] ^= (uint8_t)flip;
        }
    }
    for (size_t len = 1; len < sizeof raw; len++) { /* torn: the rest is as it was, zeros */
        uint8_t torn[JOURNAL_RECORD_BYTES] = {0};
        memcpy(torn, raw, len);
        assert_int_equal(journal_decode_record(torn, h.run_id, 9, &got, &e), -1);
        refused(&e, "torn");
    }
    for (size_t at = 0; at < 5; at++) { /* of a version that we don't know, in good order */
        uint8_t all[80] = {0};
        memcpy(all, raw, 56);
        all[at < 4 ? at : 40] = 2;
        memcpy(all + 56, h.run_id, 16);
        all[72] = 9;
        uint64_t sum = XXH3_64bits(all, sizeof all);
        for (unsigned i = 0; i < 8; i++)
            all[56 + i] = (uint8_t)(sum >> (8 * i));
        assert_int_equal(journal_decode_record(all, h.run_id, 9, &got, &e), -1);
        refused(&e, "state that is not known");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_record_crosses_a_sector),
        cmocka_unit_test(test_the_header_is_read_back),
        cmocka_unit_test(test_the_layout_never_changes),
        cmocka_unit_test(test_a_damaged_header_is_refused),
        cmocka_unit_test(test_a_header_that_was_never_written_is_none),
        cmocka_unit_test(test_a_newer_header_is_refused),
        cmocka_unit_test(test_texts_that_fill_their_field_are_read_back),
        cmocka_unit_test(test_the_same_work_is_continued),
        cmocka_unit_test(test_the_same_device_is_continued),
        cmocka_unit_test(test_a_living_writer_is_known),
        cmocka_unit_test(test_only_its_own_kernel_knows_that_a_writer_ended),
        cmocka_unit_test(test_a_record_is_read_back),
        cmocka_unit_test(test_a_damaged_record_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
