/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a range: the same however its bytes come, and blind to nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "core/relocate/digest.h"

enum { SIZE = 100000, START = 4096, END = 90000 };

/* Before the range, across its start, inside, across its end, behind it. */
static struct store_extent at[] = {{0, 100},           {4000, 200},    {5000, 1},
                                   {5001 + 20, 30000}, {80000, 15000}, {99000, 10}};
static const struct extents data = {.at = at, .n = sizeof at / sizeof *at, .size_bytes = SIZE};

static unsigned char image[SIZE];

static void fill(void)
{
    memset(image, 0, sizeof image);
    for (size_t i = 0; i < data.n; i++)
        for (uint64_t k = 0; k < at[i].len_bytes; k++)
            image[at[i].offset + k] = (unsigned char)(1 + rand() % 255);
}

/* What it has to be: the parts of the extents in the range, one after the other. */
static void expected(unsigned char result[CHECKSUM_BYTES])
{
    static unsigned char joined[SIZE];
    size_t n = 0;
    for (size_t i = 0; i < data.n; i++)
        for (uint64_t k = at[i].offset; k < at[i].offset + at[i].len_bytes; k++)
            if (k >= START && k < END)
                joined[n++] = image[k];
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(joined, n));
    memcpy(result, c.digest, CHECKSUM_BYTES);
}

/* In pieces of up to `piece`; pieces that are all zeros may be left out, as holes are. */
static uint64_t digest_in_pieces(size_t piece, bool holes, unsigned char result[CHECKSUM_BYTES])
{
    struct digest d;
    assert_int_equal(digest_new(&d), 0);
    digest_begin(&d, &data, START);
    for (size_t k = START, n; k < END; k += n) {
        n = 1 + (size_t)rand() % piece;
        if (n > END - k)
            n = END - k;
        bool zeros = true;
        for (size_t i = 0; i < n; i++)
            zeros = zeros && image[k + i] == 0;
        if (!holes || !zeros)
            digest_add(&d, k, image + k, n);
    }
    digest_end(&d, END, result);
    uint64_t stray = d.stray;
    digest_free(&d);
    return stray;
}

static void test_pieces_do_not_matter(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 100, 4096, 20000, SIZE};
    unsigned char want[CHECKSUM_BYTES], got[CHECKSUM_BYTES];
    fill();
    expected(want);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (int holes = 0; holes < 2; holes++) {
            assert_int_equal(digest_in_pieces(pieces[i], holes, got), UINT64_MAX);
            assert_memory_equal(got, want, CHECKSUM_BYTES);
        }
}

/* One byte more: in data it changes the digest, elsewhere it is found. */
static void test_each_byte_counts(void **state)
{
    (void)state;
    unsigned char want[CHECKSUM_BYTES], got[CHECKSUM_BYTES];
    fill();
    expected(want);
    for (size_t k = START; k < END; k += 1 + (size_t)rand() % 97) {
        image[k]++;
        bool was_zero = image[k] == 1, in_data = false;
        for (size_t i = 0; i < data.n; i++)
            in_data = in_data || (k >= at[i].offset && k < at[i].offset + at[i].len_bytes);
        uint64_t stray = digest_in_pieces(5000, false, got);
        if (in_data)
            assert_memory_not_equal(got, want, CHECKSUM_BYTES);
        else
            assert_true(was_zero && stray <= k && k - stray < 5000);
        image[k]--;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_each_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
