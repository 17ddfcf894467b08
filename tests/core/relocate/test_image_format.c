/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/relocate/image_format.h"

/* ---- headers made by hand ---- */

enum { FILE_BYTES = 262144, L1 = 0x30000, CLUSTER = 65536 };

static uint8_t head[IMAGE_FORMAT_HEAD_BYTES];

static void put32(size_t at, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        head[at + i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put64(size_t at, uint64_t v)
{
    put32(at, (uint32_t)(v >> 32));
    put32(at + 4, (uint32_t)v);
}

/* A sane header of 1 GiB; version 3 with a header of 112 bytes. Extensions go behind it. */
static void make(unsigned version)
{
    memset(head, 0, sizeof head);
    memcpy(head, "QFI\xfb", 4);
    put32(4, version);
    put32(20, 16);
    put64(24, UINT64_C(1) << 30);
    put32(36, 2);
    put64(40, L1);
    put64(48, 0x10000);
    put32(56, 1);
    if (version == 3) {
        put32(96, 4);
        put32(100, 112);
    }
}

static size_t extension(size_t at, uint32_t type, const char *bytes, uint32_t len)
{
    put32(at, type);
    put32(at + 4, len);
    memcpy(head + at + 8, bytes, len);
    return at + 8 + (len + 7) / 8 * 8;
}

static void backing(size_t at, const char *name)
{
    put64(8, at);
    put32(16, (uint32_t)strlen(name));
    memcpy(head + at, name, strlen(name));
}

static struct image_format sane(void)
{
    struct image_format f;
    struct err e = {0};
    if (image_format_read(head, sizeof head, FILE_BYTES, IMAGE_FORMAT_ASK_PROBE, &f, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(f.kind, IMAGE_FORMAT_QCOW2);
    return f;
}

static void refused(const char *why)
{
    struct image_format f;
    for (int ask = IMAGE_FORMAT_ASK_PROBE; ask <= IMAGE_FORMAT_ASK_QCOW2; ask++) {
        struct err e = {0};
        int rc =
            image_format_read(head, sizeof head, FILE_BYTES, (enum image_format_ask)ask, &f, &e);
        if (ask == IMAGE_FORMAT_ASK_RAW) {
            assert_true(rc == 0 && f.kind == IMAGE_FORMAT_RAW);
            continue;
        }
        if (rc == 0)
            fail_msg("is accepted, and should be refused: %s", why);
        assert_int_equal(e.class, ERR_REFUSED);
        assert_int_equal(strncmp(e.msg, "begins like qcow2, but ", 23), 0);
        if (strstr(e.msg, why) == NULL)
            fail_msg("'%s' does not say '%s'", e.msg, why);
        assert_non_null(strstr(e.hint, "--format=raw"));
    }
}

struct field {
    size_t at;
    unsigned bytes;
    uint64_t value;
    const char *why; /* NULL: sane */
};

static void check_fields(unsigned version, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        make(version);
        if (fields[i].bytes == 4)
            put32(fields[i].at, (uint32_t)fields[i].value);
        else
            put64(fields[i].at, fields[i].value);
        if (fields[i].why == NULL)
            sane();
        else
            refused(fields[i].why);
    }
}

static void test_the_header_is_read(void **state)
{
    (void)state;
    static const struct field fields[] = {
        {4, 4, 0, "version 0"},
        {4, 4, 1, "version 1"},
        {4, 4, 4, "version 4"},
        {4, 4, 0xffffffff, "version"},
        {20, 4, 8, "2^8 bytes"},
        {20, 4, 22, "2^22 bytes"},
        {20, 4, 0x80000010, "clusters"},
        {24, 8, UINT64_C(1) << 31, "L1 entries"},
        {24, 8, (UINT64_C(1) << 30) + 1, "L1 entries"},
        {24, 8, UINT64_MAX, "L1 entries"},
        {24, 8, 0, NULL},
        {24, 8, 1, NULL},
        {32, 4, 2, NULL},
        {32, 4, 3, "encryption method is 3"},
        {36, 4, 1, "L1 entries"},
        {36, 4, (FILE_BYTES - L1) / 8, NULL},
        {36, 4, (FILE_BYTES - L1) / 8 + 1, "outside of the file"},
        {36, 4, 0xffffffff, "L1 entries"},
        {40, 8, 0, "L1 table is at 0x0"},
        {40, 8, 0x30008, "L1 table is at 0x30008"},
        {40, 8, FILE_BYTES, "outside of the file"},
        {40, 8, UINT64_MAX << 16, "outside of the file"},
        {48, 8, 0, "refcount table is at 0x0"},
        {48, 8, 0x10200, "refcount table is at"},
        {48, 8, FILE_BYTES, "outside of the file"},
        {48, 8, UINT64_MAX << 16, "outside of the file"},
        {56, 4, 0, "refcount table has 0"},
        {56, 4, 129, "refcount table has 129"},
        {56, 4, 3, NULL},
        {56, 4, 4, "outside of the file"},
        {56, 4, 0xffffffff, "refcount table has"},
        {60, 4, 1, "snapshot table is at 0x0"},
        {60, 4, 65537, "65537 snapshots"},
        {64, 8, 77, NULL}, /* of no snapshots */
        {8, 8, 1, "backing name"},
        {8, 8, 71, "backing name"},
        {8, 8, CLUSTER + 1, "backing name"},
        {8, 8, UINT64_MAX, "backing name"},
        {8, 8, 256, "backing name has 0 bytes"},
        {16, 4, 5, NULL}, /* of no backing name */
    };
    check_fields(2, fields, sizeof fields / sizeof *fields);
    check_fields(3, fields, sizeof fields / sizeof *fields);
}

static void test_a_header_of_version_3_is_read(void **state)
{
    (void)state;
    static const struct field fields[] = {
        {72, 8, 3, NULL},
        {72, 8, 0x20, "features that are not known, 0x20"},
        {72, 8, UINT64_C(1) << 63, "features that are not known, 0x8000000000000000"},
        {72, 8, 8, "compression type is 0"},
        {80, 8, UINT64_MAX, NULL}, /* compatible features */
        {88, 8, UINT64_MAX, NULL}, /* autoclear */
        {96, 4, 6, NULL},
        {96, 4, 7, "refcounts"},
        {100, 4, 0, "header has 0 bytes"},
        {100, 4, 96, "header has 96 bytes"},
        {100, 4, 104, NULL},
        {100, 4, 108, "header has 108 bytes"},
        {100, 4, CLUSTER, NULL},
        {100, 4, CLUSTER + 8, "header has"},
        {100, 4, 0xfffffff8, "header has"},
        {8, 8, 104, "backing name"},
        {104, 4, 0x01000000, "compression type is 1"},
        {104, 4, 0x02000000, "compression type is 2"},
    };
    check_fields(3, fields, sizeof fields / sizeof *fields);

    make(3);
    put64(72, 8);
    head[104] = 1;
    sane();
    make(3);
    put32(20, 13); /* clusters of 8 KiB: as subclusters, too small */
    put32(36, 4096);
    put64(72, 0x10);
    refused("subclusters");
    make(3);
    put64(72, 0x10); /* an L1 entry stands for half as much */
    refused("L1 entries");
    put32(36, 4);
    sane();
}

static void test_backing_names_are_read(void **state)
{
    (void)state;
    make(3);
    put64(72, 4);
    size_t at = extension(112, 0x12345678, "anything", 5);
    at = extension(at, 0xe2792aca, "qcow2", 5);
    at = extension(at, 0x44415441, "data.raw", 8);
    at = extension(at, 0, "", 0);
    extension(at, 0xe2792aca, "behind the end of them all", 26);
    backing(1000, "../base.qcow2");
    struct image_format f = sane();
    assert_string_equal(f.backing, "../base.qcow2");
    assert_string_equal(f.backing_format, "qcow2");
    assert_true(f.external_data);
    assert_string_equal(f.data_file, "data.raw");

    make(2); /* which has no such feature */
    extension(72, 0x44415441, "data.raw", 8);
    f = sane();
    assert_false(f.external_data);
    assert_string_equal(f.data_file, "");
    assert_string_equal(f.backing, "");

    char name[1025];
    memset(name, 'n', 1024);
    name[1024] = '\0';
    make(2);
    backing(CLUSTER - 1024, name);
    refused("backing name");
    make(2);
    backing(CLUSTER - 1023, name + 1);
    f = sane();
    assert_string_equal(f.backing, name + 1);
    put64(8, CLUSTER - 1022);
    refused("not in the first cluster");
}

static void test_bad_backing_names_are_refused(void **state)
{
    (void)state;
    make(3);
    backing(512, "a\nb");
    refused("control characters");
    head[513] = '\0';
    refused("control characters");
    head[513] = 0x1b;
    refused("control characters");
    head[513] = 0x7f;
    refused("control characters");
    head[513] = 0xc3; /* UTF-8 */
    sane();

    make(3);
    extension(112, 0xe2792aca, "sixteen letters!", 16);
    refused("backing format has 16 bytes");
    extension(112, 0xe2792aca, "", 0);
    refused("backing format has 0 bytes");
    extension(112, 0xe2792aca, "q\0ow2", 5);
    refused("control characters");
    put64(72, 4);
    extension(112, 0x44415441, "da\tta", 5);
    refused("data file's name has control characters");
}

static void test_extensions_stay_in_bounds(void **state)
{
    (void)state;
    make(3);
    put32(112, 0x1234);
    put32(116, 0xffffffff);
    refused("extension 0x1234 is too long");
    put32(116, CLUSTER - 120);
    sane();
    put32(116, CLUSTER - 119);
    refused("too long");
    make(3);
    put64(88, 1);
    extension(112, 0x23852875, "\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    assert_int_equal(sane().bitmaps, 7);
    put32(116, 16);
    refused("bitmaps extension has 16");
    put32(116, 24);
    put32(120, 0);
    refused("0 bitmaps");
    put32(120, 65536);
    refused("65536 bitmaps");
    put64(88, 0); /* out of date */
    assert_int_equal(sane().bitmaps, 0);

    make(3); /* extensions end where the backing name begins */
    extension(112, 0x1234, "12345678", 8);
    backing(128, "x");
    assert_string_equal(sane().backing, "x");
    backing(127, "x");
    refused("too long");
    for (size_t at = 112; at < 120; at++) { /* no room for one */
        make(3);
        put32(112, 0x1234);
        put32(116, 0xffff);
        backing(at, "x");
        sane();
    }
}

/* Of a short file nothing is read that is not there. */
static void test_a_short_file_is_not_read_beyond(void **state)
{
    (void)state;
    make(3);
    backing(300, "base");
    for (size_t len = 0; len < 400; len++) {
        CLEANUP_FREE uint8_t *part = malloc(len + 1);
        memcpy(part, head, len);
        struct image_format f;
        struct err e = {0};
        int rc = image_format_read(part, len, len, IMAGE_FORMAT_ASK_PROBE, &f, &e);
        if (len < 4)
            assert_true(rc == 0 && f.kind == IMAGE_FORMAT_RAW);
        else
            assert_int_equal(rc, -1);
        err_clear(&e);
        rc = image_format_read(part, len, FILE_BYTES, IMAGE_FORMAT_ASK_PROBE, &f, &e);
        if (len >= 4)
            assert_int_equal(rc, len < 304 ? -1 : 0);
        err_clear(&e);
        assert_int_equal(image_format_read(part, len, len, IMAGE_FORMAT_ASK_RAW, &f, &e), 0);
    }
}

/* Any bytes behind the magic: an answer, and no access outside (the sanitizers watch). */
static void test_random_bytes_do_no_harm(void **state)
{
    (void)state;
    uint32_t random = 1;
    unsigned sane_ones = 0;
    for (int round = 0; round < 200000; round++) {
        if (round % 64 == 0) {
            make(2 + (unsigned)round / 64 % 2);
            extension(112, 0xe2792aca, "raw", 3);
            backing(200, "base");
        }
        random = random * 1664525 + 1013904223;
        size_t at = 4 + (random >> 16) % 220;
        uint8_t was = head[at];
        head[at] = (uint8_t)(random >> 8);
        struct image_format f;
        struct err e = {0};
        size_t len = round % 3 == 0 ? 512 : 4096;
        CLEANUP_FREE uint8_t *part = malloc(len);
        memcpy(part, head, len);
        int rc = image_format_read(part, len, FILE_BYTES, IMAGE_FORMAT_ASK_PROBE, &f, &e);
        sane_ones += rc == 0;
        if (rc < 0)
            head[at] = was; /* keeps to what is almost sane */
    }
    assert_in_range(sane_ones, 20000, 190000);
}

static void test_what_is_asked_for_wins_over_the_content(void **state)
{
    (void)state;
    struct image_format f;
    struct err e = {0};
    make(3);
    backing(200, "/etc/shadow");
    assert_int_equal(image_format_read(head, sizeof head, FILE_BYTES, IMAGE_FORMAT_ASK_RAW, &f, &e),
                     0);
    assert_true(f.kind == IMAGE_FORMAT_RAW && f.backing[0] == '\0' && !f.follow);
    assert_int_equal(image_format_check_whole(&f, &e), 0);

    f = sane(); /* probed: reported, not followed */
    assert_false(f.follow);
    assert_int_equal(image_format_check_whole(&f, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "'/etc/shadow'"));
    assert_non_null(strstr(e.hint, "--format=qcow2"));
    err_clear(&e);

    assert_int_equal(
        image_format_read(head, sizeof head, FILE_BYTES, IMAGE_FORMAT_ASK_QCOW2, &f, &e), 0);
    assert_true(f.follow);
    assert_int_equal(image_format_check_whole(&f, &e), 0);
    f.external_data = true;
    strcpy(f.data_file, "d.raw");
    assert_int_equal(image_format_check_whole(&f, &e), -1);
    assert_non_null(strstr(e.msg, "'d.raw'"));
    err_clear(&e);

    head[0] = 'q';
    assert_int_equal(
        image_format_read(head, sizeof head, FILE_BYTES, IMAGE_FORMAT_ASK_PROBE, &f, &e), 0);
    assert_int_equal(f.kind, IMAGE_FORMAT_RAW);
    assert_int_equal(
        image_format_read(head, sizeof head, FILE_BYTES, IMAGE_FORMAT_ASK_QCOW2, &f, &e), -1);
    assert_non_null(strstr(e.msg, "is not qcow2"));
}

static void test_a_backing_format_that_is_named_is_asked_for(void **state)
{
    (void)state;
    struct image_format f = {.kind = IMAGE_FORMAT_QCOW2};
    struct err e = {0};
    enum image_format_ask ask;
    assert_int_equal(image_format_ask_backing(&f, &ask, &e), 0);
    assert_int_equal(ask, IMAGE_FORMAT_ASK_PROBE);
    strcpy(f.backing_format, "raw");
    assert_int_equal(image_format_ask_backing(&f, &ask, &e), 0);
    assert_int_equal(ask, IMAGE_FORMAT_ASK_RAW);
    strcpy(f.backing_format, "qcow2");
    assert_int_equal(image_format_ask_backing(&f, &ask, &e), 0);
    assert_int_equal(ask, IMAGE_FORMAT_ASK_QCOW2);
    strcpy(f.backing_format, "vmdk");
    assert_int_equal(image_format_ask_backing(&f, &ask, &e), -1);
    assert_non_null(strstr(e.msg, "vmdk"));
}

static void test_a_backing_name_counts_from_its_image(void **state)
{
    (void)state;
    static const struct {
        const char *overlay, *backing, *want, *why;
    } cases[] = {
        {"a.q", "base.q", "base.q", NULL},
        {"vm/a.q", "base.q", "vm/base.q", NULL},
        {"vm/a.q", "./base.q", "vm/base.q", NULL},
        {"vm/a.q", "../base.q", "base.q", NULL},
        {"vm/x/a.q", "../../b/./c//d/../base.q", "b/c/base.q", NULL},
        {"vm/a.q", "../vm/../vm/base.q", "vm/base.q", NULL},
        {"vm/a.q", "..base.q", "vm/..base.q", NULL},
        {"vm/a.q", "...", "vm/...", NULL},
        {"vm/a.q", "sub/b:ase.q", "vm/sub/b:ase.q", NULL},
        {"vm/a.q", "./b:ase.q", "vm/b:ase.q", NULL},
        {"a.q", "../base.q", NULL, "leads out"},
        {"vm/a.q", "../../base.q", NULL, "leads out"},
        {"vm/a.q", "../../vm/base.q", NULL, "leads out"},
        {"vm/a.q", "x/../../../vm/base.q", NULL, "leads out"},
        {"a.q", "/images/base.q", NULL, "it would still name the old place"},
        {"a.q", "//images/base.q", NULL, "absolute"},
        {"a.q", "json:{\"driver\":\"raw\"}", NULL, "description"},
        {"a.q", "nbd://host/x", NULL, "protocol"},
        {"a.q", "file:base.q", NULL, "protocol"},
        {"a.q", "b:ase.q", NULL, "protocol"},
        {"a.q", ":x", NULL, "protocol"},
        {"a.q", "", NULL, "no file"},
        {"vm/a.q", "sub/", NULL, "no file"},
        {"vm/x/a.q", "..", NULL, "no file"},
        {"vm/a.q", ".", NULL, "no file"},
        {"vm/a.q", "sub/.", NULL, "no file"},
        {"vm/x/a.q", "sub/..", NULL, "no file"},
        {"a.q", "a.q", NULL, "its own"},
        {"vm/a.q", "../vm/a.q", NULL, "its own"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        CLEANUP_FREE char *got = image_format_backing_new(cases[i].overlay, cases[i].backing, &e);
        if (cases[i].want != NULL) {
            if (got == NULL)
                fail_msg("%s: %s", cases[i].backing, e.msg);
            assert_string_equal(got, cases[i].want);
            continue;
        }
        if (got != NULL)
            fail_msg("'%s' is taken for %s", cases[i].backing, got);
        assert_int_equal(e.class, ERR_REFUSED);
        assert_non_null(strstr(e.msg, cases[i].backing));
        if (strstr(e.msg, cases[i].why) == NULL)
            fail_msg("'%s' does not say '%s'", e.msg, cases[i].why);
        assert_true(e.hint != NULL);
    }
}

/* ---- those that QEMU makes ---- */

static char dir[] = "/tmp/godwit-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return chdir("/") == 0 ? system(command) : -1;
}

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

static struct image_format read_image(const char *name)
{
    struct image_format f;
    struct err e = {0};
    struct stat st;
    static uint8_t buf[IMAGE_FORMAT_HEAD_BYTES];
    CLEANUP_FCLOSE FILE *file = fopen(name, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    size_t len = fread(buf, 1, sizeof buf, file);
    if (image_format_read(buf, len, (uint64_t)st.st_size, IMAGE_FORMAT_ASK_PROBE, &f, &e) < 0)
        fail_msg("%s: %s", name, e.msg);
    return f;
}

static void need_qemu_img(void)
{
    if (system("qemu-img --version >/dev/null 2>&1") == 0)
        return;
    print_message("# SKIP qemu-img is not installed\n");
    skip();
}

static void test_images_by_qemu_img_are_understood(void **state)
{
    (void)state;
    need_qemu_img();
    run("qemu-img create -q -f qcow2 base 1G && qemu-img snapshot -c one base &&"
        " qemu-img snapshot -c two base && qemu-img bitmap --add base b0 &&"
        " qemu-img bitmap --add base b1 && qemu-img bitmap --add base b2");
    struct image_format f = read_image("base");
    assert_int_equal(f.kind, IMAGE_FORMAT_QCOW2);
    assert_true(f.version == 3 && f.virtual_bytes == UINT64_C(1) << 30);
    assert_int_equal(f.cluster_bytes, 65536);
    assert_int_equal(f.snapshots, 2);
    assert_int_equal(f.bitmaps, 3);
    assert_true(!f.dirty && !f.corrupt && !f.external_data && f.backing[0] == '\0');

    run("qemu-img create -q -f qcow2 -b base -F qcow2 over");
    f = read_image("over");
    assert_string_equal(f.backing, "base");
    assert_string_equal(f.backing_format, "qcow2");
    assert_true(f.virtual_bytes == UINT64_C(1) << 30 && f.snapshots == 0);

    run("qemu-img create -q -f qcow2 -o compat=0.10 -b base -F qcow2 old");
    f = read_image("old");
    assert_int_equal(f.version, 2);
    assert_string_equal(f.backing, "base");
    assert_string_equal(f.backing_format, "qcow2");

    run("qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on data 1M");
    f = read_image("data");
    assert_true(f.external_data);
    assert_string_equal(f.data_file, "data.raw");

    run("qemu-img create -q -f raw raw 1M");
    f = read_image("raw");
    assert_true(f.kind == IMAGE_FORMAT_RAW && f.version == 0);

    char command[1200], name[1000]; /* as long as this file system lets the directory's name be */
    memset(name, 'n', 255);
    name[255] = '\0';
    snprintf(command, sizeof command,
             "cp base %s && qemu-img create -q -f qcow2 -b ./%s -F qcow2"
             " long",
             name, name);
    run(command);
    f = read_image("long");
    assert_int_equal(strlen(f.backing), 257);
    assert_string_equal(f.backing + 2, name);
}

static void test_layouts_of_qemu_img_are_understood(void **state)
{
    (void)state;
    need_qemu_img();
    static const char *const options[] = {
        "cluster_size=512",      "cluster_size=2M",   "cluster_size=2M,extended_l2=on",
        "extended_l2=on",        "refcount_bits=1",   "refcount_bits=64",
        "compression_type=zstd", "lazy_refcounts=on", "preallocation=metadata",
        "compat=0.10",
    };
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        {"0", 0},
        {"512", 512},
        {"1M", 1 << 20},
        {"33555968", 33555968},
        {"1025M", UINT64_C(1025) << 20},
    };
    for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            char command[200];
            snprintf(command, sizeof command, "qemu-img create -q -f qcow2 -o %s image %s",
                     options[o], sizes[s].text);
            run(command);
            struct image_format f = read_image("image");
            assert_int_equal(f.kind, IMAGE_FORMAT_QCOW2);
            assert_true(f.virtual_bytes == sizes[s].bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_header_is_read),
        cmocka_unit_test(test_a_header_of_version_3_is_read),
        cmocka_unit_test(test_backing_names_are_read),
        cmocka_unit_test(test_bad_backing_names_are_refused),
        cmocka_unit_test(test_extensions_stay_in_bounds),
        cmocka_unit_test(test_a_short_file_is_not_read_beyond),
        cmocka_unit_test(test_random_bytes_do_no_harm),
        cmocka_unit_test(test_what_is_asked_for_wins_over_the_content),
        cmocka_unit_test(test_a_backing_format_that_is_named_is_asked_for),
        cmocka_unit_test(test_a_backing_name_counts_from_its_image),
        cmocka_unit_test(test_images_by_qemu_img_are_understood),
        cmocka_unit_test(test_layouts_of_qemu_img_are_understood),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
