/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What earlier runs have left: the journal of a copy, header and records, or that of a pool's move. An
 * input is a byte that says which, and the file. With 'i' the header gets the checksum that it needs.
 *
 * A header that is read can be written, and read again as the same.
 */
#include <libgen.h>
#include <xxhash.h>

#include "core/relocate/journal.h"
#include "core/pool/journal.h"
#include "tests/fuzz/fuzz.h"

#define UUID "6cd90ee8-c67d-4ca9-90ec-cdb3659f7662"

static void seal(uint8_t *head)
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(head, JOURNAL_HEADER_BYTES - sizeof sum));
    memcpy(head + JOURNAL_HEADER_BYTES - sizeof sum, &sum, sizeof sum);
}

static void image(const uint8_t *data, size_t size, bool sealed)
{
    struct journal_header h, again, now = {0};
    struct err e = {0}, same = {0}, differs = {0};
    uint8_t head[JOURNAL_HEADER_BYTES];
    size_t len = size < sizeof head ? size : sizeof head;
    memcpy(head, data, len);
    if (sealed && len == sizeof head)
        seal(head);
    int rc = journal_decode_header(head, len, &h, &e);
    fuzz_check_err(rc >= 0, &e);
    if (rc <= 0)
        return;
    journal_encode_header(head, &h);
    REQUIRE(journal_decode_header(head, sizeof head, &again, &same) == 1);
    REQUIRE(again.size_bytes == h.size_bytes && strcmp(again.source, h.source) == 0);
    fuzz_check_err(journal_continue(&h, &now, &differs) == 0, &differs);
    for (size_t at = JOURNAL_HEADER_BYTES; size - at >= JOURNAL_RECORD_BYTES;
         at += JOURNAL_RECORD_BYTES) {
        struct journal_record r;
        struct err torn = {0};
        uint64_t chunk = (at - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES;
        fuzz_check_err(journal_decode_record(data + at, h.run_id, chunk, &r, &torn) >= 0, &torn);
    }
}

static void pool(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s", fuzz_file("pool-" UUID ".json", data, size));
    struct pool_journal *j = pool_journal_read(dirname(path), UUID, &e);
    fuzz_check_err(j != NULL, &e);
    REQUIRE(j != NULL || e.class == ERR_REFUSED);
    pool_journal_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] == 'p')
        pool(data + 1, size - 1);
    else
        image(data + 1, size - 1, data[0] == 'i');
    return 0;
}
