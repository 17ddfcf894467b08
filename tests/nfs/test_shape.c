/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of answers: what RFC 1813 says passes, and nothing that libnfs would stumble over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/shape.h"

enum { MAX_BYTES = 200000 };

static uint8_t record[MAX_BYTES];
static size_t len;
static const char *why;

static void put(uint32_t v)
{
    for (int i = 3; i >= 0; i--)
        record[len++] = (uint8_t)(v >> (8 * i));
}

static void zeros(unsigned words)
{
    while (words-- > 0)
        put(0);
}

/* A reply, accepted, up to its results. */
static void head(void)
{
    len = 0;
    put(77);
    put(1);
    zeros(4);
}

static enum shape_outcome check(enum shape_program program, uint32_t proc)
{
    return shape_check(program, proc, record, len, &why);
}

/* It passes, and does not without its last byte. */
static void passes(enum shape_program program, uint32_t proc)
{
    assert_int_equal(check(program, proc), SHAPE_RESULTS);
    len--;
    assert_int_equal(check(program, proc), SHAPE_NONSENSE);
    len++;
}

static void refused(enum shape_program program, uint32_t proc, const char *reason)
{
    assert_int_equal(check(program, proc), SHAPE_NONSENSE);
    assert_string_equal(why, reason);
}

static void test_results_of_each_procedure_pass(void **state)
{
    /* words of results when all that is optional is left out, and lengths and counts are 0 */
    static const struct {
        uint32_t proc;
        unsigned ok, failed;
    } nfs[] = {{1, 21, 0},  {2, 2, 2},  {3, 3, 1},  {4, 2, 1},  {5, 2, 1},  {6, 4, 1},
               {7, 6, 2},   {8, 4, 2},  {9, 4, 2},  {10, 4, 2}, {11, 4, 2}, {12, 2, 2},
               {13, 2, 2},  {14, 4, 4}, {15, 3, 3}, {16, 5, 1}, {17, 5, 1}, {18, 14, 1},
               {19, 13, 1}, {20, 7, 1}, {21, 4, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof nfs / sizeof *nfs; i++) {
        head();
        put(0);
        zeros(nfs[i].ok);
        passes(SHAPE_NFS, nfs[i].proc);
        head();
        put(70);
        zeros(nfs[i].failed);
        passes(SHAPE_NFS, nfs[i].proc);
    }
    head();
    passes(SHAPE_NFS, 0);
    passes(SHAPE_MOUNT, 0);
    passes(SHAPE_MOUNT, 3);
    passes(SHAPE_MOUNT, 4);
    zeros(1); /* nobody has mounted anything, no more exports */
    passes(SHAPE_MOUNT, 2);
    passes(SHAPE_MOUNT, 5);
    head();
    zeros(3);
    passes(SHAPE_MOUNT, 1);
    refused(SHAPE_NFS, 22, "is to a procedure that is not known"); /* nor to RFC 1813 */
}

static void test_lists_pass(void **state)
{
    (void)state;
    head();
    zeros(4); /* status, no attributes, verifier */
    for (int i = 0; i < 3; i++) {
        put(1);
        zeros(2);
        put(5); /* a name of 5 bytes */
        zeros(2 + 2);
        put(1); /* attributes */
        zeros(21);
        put(1); /* a handle of 8 bytes */
        put(8);
        zeros(2);
    }
    put(0);
    put(1);
    passes(SHAPE_NFS, 17);
    head();
    for (int i = 0; i < 2; i++) {
        put(1);
        put(4);
        zeros(1);
        for (int k = 0; k < i; k++) { /* groups */
            put(1);
            put(1);
            zeros(1);
        }
        put(0);
    }
    put(0);
    passes(SHAPE_MOUNT, 5);
}

/* Lengths and counts that do not fit, whatever they are modulo 2^31 or times 4. */
static void test_lengths_are_within_the_answer(void **state)
{
    static const uint32_t lengths[] = {1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        head();
        put(0);
        put(lengths[i]); /* a handle */
        refused(SHAPE_NFS, 3, "has a length beyond its end");
        head();
        zeros(2);
        put(lengths[i]); /* what a link points to */
        refused(SHAPE_NFS, 5, "has a length beyond its end");
        head();
        zeros(4);
        put(lengths[i]); /* what was read */
        refused(SHAPE_NFS, 6, "has a length beyond its end");
        head();
        len -= 8;
        put(lengths[i]); /* the server's verifier */
        refused(SHAPE_NFS, 0, "has a length beyond its end");
        head();
        zeros(2);
        put(lengths[i] | 0x40000000); /* flavours, of 4 bytes each */
        refused(SHAPE_MOUNT, 1, "has a count beyond its end");
    }
    head();
    put(0);
    put(65);
    zeros(100);
    refused(SHAPE_NFS, 3, "has a handle or credential that is too long");
}

static void test_flags_are_flags(void **state)
{
    (void)state;
    head();
    put(70);
    put(2);
    zeros(50);
    refused(SHAPE_NFS, 3, "has something else where yes or no stands");
}

/* libnfs goes a call deeper for each element. */
static void test_lists_have_an_end(void **state)
{
    (void)state;
    head();
    for (int i = 0; i <= SHAPE_ELEMENTS_MAX; i++) {
        put(1);
        zeros(2);
    }
    put(0);
    refused(SHAPE_MOUNT, 5, "has a list that is too long");
}

static void test_refusals_by_rpc(void **state)
{
    (void)state;
    len = 0;
    const uint32_t auth[] = {77, 1, 1, 1, 5}, version[] = {77, 1, 1, 0, 2, 2};
    for (int i = 0; i < 5; i++)
        put(auth[i]);
    assert_int_equal(check(SHAPE_NFS, 1), SHAPE_AUTH);
    len = 0;
    for (int i = 0; i < 6; i++)
        put(version[i]);
    assert_int_equal(check(SHAPE_NFS, 1), SHAPE_FOREIGN);
    for (uint32_t status = 1; status < 6; status++) {
        head();
        len -= 4;
        put(status);
        zeros(2);
        assert_int_equal(check(SHAPE_NFS, 1), SHAPE_FOREIGN);
    }
}

static void test_what_is_no_reply(void **state)
{
    (void)state;
    head();
    record[7] = 0; /* CALL */
    zeros(50);
    refused(SHAPE_NFS, 1, "is no reply");
    head();
    record[11] = 2;
    refused(SHAPE_NFS, 1, "is neither accepted nor denied");
    head();
    record[23] = 6;
    refused(SHAPE_NFS, 1, "has a status that there is not");
    for (len = 0; len < 24; len++)
        assert_int_equal(check(SHAPE_NFS, 0), SHAPE_NONSENSE);
}

static void test_what_came_is_shown(void **state)
{
    char text[SHAPE_SHOWN];
    (void)state;
    shape_show(text, "HTTP/1.1 400 Bad Request\r\n", 26);
    assert_string_equal(text, "\"HTTP/1.1 400 Bad Req…\"");
    shape_show(text, "SSH-2.0-x\r\n", 11);
    assert_string_equal(text, "\"SSH-2.0-x…\"");
    shape_show(text, "\x80\x00\x00\x1c", 4);
    assert_string_equal(text, "80 00 00 1c");
    shape_show(text, record, sizeof record);
    assert_true(strlen(text) == 20 * 3 - 1 + strlen(" …"));
    shape_show(text, "", 0);
    assert_string_equal(text, "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_of_each_procedure_pass),
        cmocka_unit_test(test_lists_pass),
        cmocka_unit_test(test_lengths_are_within_the_answer),
        cmocka_unit_test(test_flags_are_flags),
        cmocka_unit_test(test_lists_have_an_end),
        cmocka_unit_test(test_refusals_by_rpc),
        cmocka_unit_test(test_what_is_no_reply),
        cmocka_unit_test(test_what_came_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
