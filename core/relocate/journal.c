/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/journal.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "core/clock.h"

enum { VERSION = 2, COMPAT_KNOWN = 0 };

/* Where what is; see the table in journal.h. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_COMPAT = 12,
    AT_SIZE = 16,
    AT_CHUNK = 24,
    AT_STATE_BITS = 28,
    AT_SOURCE_INODE = 32,
    AT_SOURCE_MTIME = 40,
    AT_SOURCE_CTIME = 48,
    AT_PART_INODE = 56,
    AT_RUN_ID = 64,
    AT_BEGUN = 80,
    AT_WRITER_START = 88,
    AT_WRITER_PID = 96,
    AT_WRITER_SPACE = 100,
    AT_WRITER_BOOT_ID = 104,
    AT_WRITER_HOST = 120,
    AT_SOURCE = 184,
    AT_PART_GENERATION = 456,
    AT_WRITER_MACHINE = 464,
    AT_ZERO = 472,
    AT_CHECKSUM = 496,
};
_Static_assert(AT_WRITER_HOST + OWNER_HOST_BYTES == AT_SOURCE &&
                   AT_SOURCE + JOURNAL_SOURCE_BYTES == AT_PART_GENERATION &&
                   AT_CHECKSUM + sizeof(XXH128_canonical_t) == JOURNAL_HEADER_BYTES,
               "the texts end where the next begins");

enum {
    AT_STATE = 0,
    AT_WRITTEN = 1,
    AT_DATA = 4,
    AT_DIGEST = 8,
    AT_VERIFIER = 24,
    AT_RECORD_ZERO = 32,
    AT_RECORD_CHECKSUM = 56,
};

enum { STATE_DURABLE = 1 };

static const char magic[8] = {'g', 'o', 'd', 'w', 'i', 't', 'J', '\n'};

__attribute__((format(printf, 2, 3))) static int journal_refuse(struct err *e, const char *fmt, ...)
{
    char why[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    err_set(e, ERR_REFUSED, 0, "%s", why);
    return err_hint(e, "--restart begins anew");
}

static void put32(uint8_t *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

static void put64(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

static uint64_t get64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

static bool journal_is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0)
            return false;
    return true;
}

uint64_t journal_chunks(uint64_t size_bytes, uint32_t chunk_bytes)
{
    return size_bytes / chunk_bytes + (size_bytes % chunk_bytes != 0);
}

uint64_t journal_size(uint64_t chunks)
{
    return journal_record_offset(chunks);
}

uint64_t journal_record_offset(uint64_t chunk)
{
    return JOURNAL_HEADER_BYTES + chunk * JOURNAL_RECORD_BYTES;
}

/* ---- the header ---- */

/* The source's name as far as it fits. Its end tells more than its beginning. */
static void journal_set_source(struct journal_header *h, const char *place, const char *name)
{
    size_t place_len = strlen(place), name_len = strlen(name);
    size_t len = place_len + name_len;
    size_t skip = len > JOURNAL_SOURCE_BYTES ? len - JOURNAL_SOURCE_BYTES : 0;
    if (skip <= place_len)
        snprintf(h->source, sizeof h->source, "%s%s", place + skip, name);
    else
        snprintf(h->source, sizeof h->source, "%s", name + (skip - place_len));
}

int journal_begin(struct journal_header *h, const char *place, const char *name,
                  const struct store_attr *attr, const struct store_attr *part,
                  uint32_t chunk_bytes, struct err *e)
{
    assert(chunk_bytes > 0);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *h = (struct journal_header){
        .size_bytes = attr->size_bytes,
        .chunk_bytes = chunk_bytes,
        .source_inode = attr->inode,
        .part_inode = part != NULL ? part->inode : 0,
        .part_generation = part != NULL ? part->generation : 0,
        .begun_ns = (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec,
    };
    if (attr->type != STORE_BLOCK_DEVICE) {
        h->source_mtime_ns = attr->mtime_ns;
        h->source_ctime_ns = attr->ctime_ns;
    }
    journal_set_source(h, place, name);
    if (getrandom(h->run_id, sizeof h->run_id, 0) != sizeof h->run_id)
        return err_set(e, ERR_IO, errno, "cannot get random numbers");
    return owner_self(&h->writer, e);
}

static void journal_header_checksum(const uint8_t *header, XXH128_canonical_t *sum)
{
    XXH128_canonicalFromHash(sum, XXH3_128bits(header, AT_CHECKSUM));
}

void journal_encode_header(uint8_t out[JOURNAL_HEADER_BYTES], const struct journal_header *h)
{
    memset(out, 0, JOURNAL_HEADER_BYTES);
    memcpy(out + AT_MAGIC, magic, sizeof magic);
    put32(out + AT_VERSION, VERSION);
    put32(out + AT_COMPAT, COMPAT_KNOWN);
    put64(out + AT_SIZE, h->size_bytes);
    put32(out + AT_CHUNK, h->chunk_bytes);
    put64(out + AT_SOURCE_INODE, h->source_inode);
    put64(out + AT_SOURCE_MTIME, (uint64_t)h->source_mtime_ns);
    put64(out + AT_SOURCE_CTIME, (uint64_t)h->source_ctime_ns);
    put64(out + AT_PART_INODE, h->part_inode);
    memcpy(out + AT_RUN_ID, h->run_id, sizeof h->run_id);
    put64(out + AT_BEGUN, (uint64_t)h->begun_ns);
    put32(out + AT_STATE_BITS, h->state);
    put64(out + AT_PART_GENERATION, h->part_generation);
    put64(out + AT_WRITER_START, h->writer.start_ticks);
    put64(out + AT_WRITER_MACHINE, h->writer.machine);
    put32(out + AT_WRITER_PID, h->writer.pid);
    put32(out + AT_WRITER_SPACE, h->writer.pid_space);
    memcpy(out + AT_WRITER_BOOT_ID, h->writer.boot_id, sizeof h->writer.boot_id);
    memcpy(out + AT_WRITER_HOST, h->writer.host, strnlen(h->writer.host, OWNER_HOST_BYTES));
    memcpy(out + AT_SOURCE, h->source, strnlen(h->source, JOURNAL_SOURCE_BYTES));

    XXH128_canonical_t sum;
    journal_header_checksum(out, &sum);
    memcpy(out + AT_CHECKSUM, &sum, sizeof sum);
}

/* 1: `in` holds a header that we can read; 0, -1 as journal_decode_header(). */
static int journal_check_header(const uint8_t *in, size_t len, struct err *e)
{
    if (journal_is_zero(in, len < JOURNAL_HEADER_BYTES ? len : JOURNAL_HEADER_BYTES))
        return 0;
    if (memcmp(in, magic, len < sizeof magic ? len : sizeof magic) != 0)
        return journal_refuse(e, "not a journal: it begins with other bytes");
    if (len < JOURNAL_HEADER_BYTES)
        return journal_refuse(e, "the journal is cut off after %zu bytes", len);

    XXH128_canonical_t sum;
    journal_header_checksum(in, &sum);
    if (memcmp(&sum, in + AT_CHECKSUM, sizeof sum) != 0)
        return journal_refuse(e, "the journal is torn: its header has another checksum");
    if (get32(in + AT_VERSION) != VERSION)
        return journal_refuse(e, "written by %s godwit: the journal has version %" PRIu32,
                              get32(in + AT_VERSION) < VERSION ? "an older" : "a newer",
                              get32(in + AT_VERSION));
    if ((get32(in + AT_COMPAT) & ~(uint32_t)COMPAT_KNOWN) != 0)
        return journal_refuse(e, "written by a newer godwit: the journal needs features 0x%" PRIx32,
                              get32(in + AT_COMPAT));
    if (get32(in + AT_CHUNK) == 0 ||
        (get32(in + AT_STATE_BITS) & ~(uint32_t)(JOURNAL_WHOLE | JOURNAL_DOUBT)) != 0 ||
        !journal_is_zero(in + AT_ZERO, AT_CHECKSUM - AT_ZERO))
        return journal_refuse(e, "the journal has a header that makes no sense");
    return 1;
}

int journal_decode_header(const uint8_t *in, size_t len, struct journal_header *h, struct err *e)
{
    int rc = journal_check_header(in, len, e);
    if (rc <= 0)
        return rc;
    *h = (struct journal_header){
        .size_bytes = get64(in + AT_SIZE),
        .chunk_bytes = get32(in + AT_CHUNK),
        .source_inode = get64(in + AT_SOURCE_INODE),
        .source_mtime_ns = (int64_t)get64(in + AT_SOURCE_MTIME),
        .source_ctime_ns = (int64_t)get64(in + AT_SOURCE_CTIME),
        .part_inode = get64(in + AT_PART_INODE),
        .part_generation = get64(in + AT_PART_GENERATION),
        .state = get32(in + AT_STATE_BITS),
        .begun_ns = (int64_t)get64(in + AT_BEGUN),
        .writer = {.pid = get32(in + AT_WRITER_PID),
                   .pid_space = get32(in + AT_WRITER_SPACE),
                   .start_ticks = get64(in + AT_WRITER_START),
                   .machine = get64(in + AT_WRITER_MACHINE)},
    };
    memcpy(h->run_id, in + AT_RUN_ID, sizeof h->run_id);
    memcpy(h->writer.boot_id, in + AT_WRITER_BOOT_ID, sizeof h->writer.boot_id);
    memcpy(h->writer.host, in + AT_WRITER_HOST, OWNER_HOST_BYTES);
    memcpy(h->source, in + AT_SOURCE, JOURNAL_SOURCE_BYTES);
    return 1;
}

int journal_continue(const struct journal_header *found, struct journal_header *now, struct err *e)
{
    if (strcmp(found->source, now->source) != 0)
        return journal_refuse(e, "it was begun from another source, %s", found->source);
    if (found->size_bytes != now->size_bytes)
        return journal_refuse(e, "the source was changed since: it had %" PRIu64 " bytes",
                              found->size_bytes);
    if (found->source_inode != now->source_inode)
        return journal_refuse(e,
                              "the source was changed since: it is another file (inode %" PRIu64
                              ", was %" PRIu64 ")",
                              now->source_inode, found->source_inode);
    if (found->source_mtime_ns != now->source_mtime_ns)
        return journal_refuse(e, "the source was changed since: its modification time is another");
    if (found->source_ctime_ns != now->source_ctime_ns)
        return journal_refuse(e, "the source was changed since: its status change time is another");
    if (found->part_inode != now->part_inode)
        return journal_refuse(e,
                              "the part beside it is another file (inode %" PRIu64 ", was %" PRIu64
                              ")",
                              now->part_inode, found->part_inode);
    if (found->part_generation != now->part_generation)
        return journal_refuse(e,
                              "the part beside it is another file, which got the inode number "
                              "%" PRIu64 " of the one that was there",
                              now->part_inode);
    if (found->chunk_bytes != now->chunk_bytes)
        return journal_refuse(e, "it was begun with chunks of %" PRIu32 " bytes, not %" PRIu32,
                              found->chunk_bytes, now->chunk_bytes);
    memcpy(now->run_id, found->run_id, sizeof now->run_id);
    now->begun_ns = found->begun_ns;
    return 0;
}

bool journal_source_changed(const struct journal_header *found, const struct journal_header *now)
{
    return strcmp(found->source, now->source) == 0 &&
           (found->size_bytes != now->size_bytes || found->source_inode != now->source_inode ||
            found->source_mtime_ns != now->source_mtime_ns ||
            found->source_ctime_ns != now->source_ctime_ns);
}

/* ---- the records ---- */

static uint64_t journal_record_checksum(const uint8_t *record, const uint8_t *run_id,
                                        uint64_t chunk)
{
    uint8_t all[AT_RECORD_CHECKSUM + JOURNAL_RUN_ID_BYTES + 8];
    memcpy(all, record, AT_RECORD_CHECKSUM);
    memcpy(all + AT_RECORD_CHECKSUM, run_id, JOURNAL_RUN_ID_BYTES);
    put64(all + AT_RECORD_CHECKSUM + JOURNAL_RUN_ID_BYTES, chunk);
    return XXH3_64bits(all, sizeof all);
}

void journal_encode_record(uint8_t out[JOURNAL_RECORD_BYTES],
                           const uint8_t run_id[JOURNAL_RUN_ID_BYTES], uint64_t chunk,
                           const struct journal_record *r)
{
    memset(out, 0, JOURNAL_RECORD_BYTES);
    out[AT_STATE] = STATE_DURABLE;
    put32(out + AT_DATA, r->data_bytes);
    memcpy(out + AT_DIGEST, r->digest, sizeof r->digest);
    out[AT_WRITTEN] = r->written;
    if (r->written)
        memcpy(out + AT_VERIFIER, r->verifier, sizeof r->verifier);
    put64(out + AT_RECORD_CHECKSUM, journal_record_checksum(out, run_id, chunk));
}

int journal_decode_record(const uint8_t in[JOURNAL_RECORD_BYTES],
                          const uint8_t run_id[JOURNAL_RUN_ID_BYTES], uint64_t chunk,
                          struct journal_record *r, struct err *e)
{
    if (journal_is_zero(in, JOURNAL_RECORD_BYTES))
        return 0;
    if (get64(in + AT_RECORD_CHECKSUM) != journal_record_checksum(in, run_id, chunk))
        return journal_refuse(
            e, "the journal is torn: the record of chunk %" PRIu64 " has another checksum", chunk);
    if (in[AT_STATE] != STATE_DURABLE || in[AT_WRITTEN] > 1 ||
        !journal_is_zero(in + AT_WRITTEN + 1, AT_DATA - AT_WRITTEN - 1) ||
        !journal_is_zero(in + AT_RECORD_ZERO, AT_RECORD_CHECKSUM - AT_RECORD_ZERO))
        return journal_refuse(e, "the record of chunk %" PRIu64 " has a state that is not known",
                              chunk);
    r->data_bytes = get32(in + AT_DATA);
    memcpy(r->digest, in + AT_DIGEST, sizeof r->digest);
    memcpy(r->verifier, in + AT_VERIFIER, sizeof r->verifier);
    r->written = in[AT_WRITTEN] != 0;
    return 1;
}
