/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The disk of the Linux guest: a header and a ring of numbered, checksummed, chained
 * records. Written by the guest's init, checked from outside by record-check.
 *
 * Layout, little endian, in blocks of RECORD_BYTES:
 *
 *     block 0                    struct record_header
 *     block 1 + n % slots        struct record number n
 *
 * Records are numbered from 1 and written in order, each durable (O_DSYNC) before the
 * next is begun, so on a disk that lost nothing the ring holds exactly the records
 * max(1, last - slots + 1) … last. Everything else is a finding:
 *   missing       no such record, though a later one exists: a lost write;
 *   corrupt       a block that is neither empty nor a record with a right checksum;
 *   out of order  a record in a slot that is not its own; or the clock ran backwards
 *                 between two neighbours of the same boot;
 *   broken chain  a record does not carry its predecessor's checksum: two writers, as when
 *                 both sides of a migration run.
 * Only the disk of a guest that stands still can be checked: the record being written
 * is corrupt until it is whole.
 *
 * The guest owns the whole disk, and refuses one without the header.
 */
#ifndef GODWIT_BENCH_GUEST_RECORD_H
#define GODWIT_BENCH_GUEST_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define RECORD_BYTES 4096u
#define RECORD_VERSION 1
#define RECORD_HEADER_MAGIC "GODWIT-DISK-HDR" /* 16 bytes with its NUL */
#define RECORD_MAGIC "GODWITRC"               /* 8 bytes, without it */
#define RECORD_PAYLOAD_WORDS ((RECORD_BYTES - 64) / 8)
/* A bigger disk is used up to here only: reading the ring is the first thing after boot. */
#define RECORD_AREA_MAX_BYTES ((uint64_t)64 << 20)
#define RECORD_SLOTS_MIN 2u

struct record_header {
    char magic[16];
    uint32_t version;
    uint32_t record_bytes;
    uint64_t slots;
    uint8_t zero[RECORD_BYTES - 40];
    uint64_t checksum; /* XXH64, seed 0, of all before it */
};

struct record {
    char magic[8];
    uint64_t seq;          /* from 1 */
    uint64_t wall_ns;      /* CLOCK_REALTIME of the guest when it was written */
    uint64_t monotonic_ns; /* CLOCK_MONOTONIC likewise */
    uint64_t boot_id;      /* random, one per boot */
    uint64_t previous;     /* checksum of record seq - 1; 0 for the first */
    uint64_t reserved;
    uint64_t payload[RECORD_PAYLOAD_WORDS]; /* follows from seq */
    uint64_t checksum;                      /* XXH64, seed 0, of all before it */
};

_Static_assert(sizeof(struct record_header) == RECORD_BYTES, "record_header is one block");
_Static_assert(sizeof(struct record) == RECORD_BYTES, "record is one block");

static inline uint64_t record_header_checksum(const struct record_header *header)
{
    return XXH64(header, offsetof(struct record_header, checksum), 0);
}

static inline uint64_t record_checksum(const struct record *record)
{
    return XXH64(record, offsetof(struct record, checksum), 0);
}

/* Byte offset of record SEQ. */
static inline uint64_t record_offset_bytes(uint64_t seq, uint64_t slots)
{
    return (1 + seq % slots) * RECORD_BYTES;
}

/* The oldest record that a ring of SLOTS still holds after LAST (>= 1) were written. */
static inline uint64_t record_first(uint64_t last, uint64_t slots)
{
    return last > slots ? last - slots + 1 : 1;
}

static inline uint64_t record_payload_word(uint64_t seq, uint32_t index)
{
    uint64_t x = (seq * RECORD_PAYLOAD_WORDS + index) * UINT64_C(0x9e3779b97f4a7c15);

    return x ^ x >> 29;
}

static inline void record_header_make(struct record_header *header, uint64_t slots)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, RECORD_HEADER_MAGIC, sizeof(header->magic));
    header->version = RECORD_VERSION;
    header->record_bytes = RECORD_BYTES;
    header->slots = slots;
    header->checksum = record_header_checksum(header);
}

/* NULL if HEADER is good on a disk of DISK_BYTES, else what is wrong with it. */
static inline const char *record_header_fault(const struct record_header *header,
                                              uint64_t disk_bytes)
{
    if (memcmp(header->magic, RECORD_HEADER_MAGIC, sizeof(header->magic)) != 0) {
        return "no record header (make one with record-check --format)";
    }
    if (header->version != RECORD_VERSION || header->record_bytes != RECORD_BYTES) {
        return "record header of another version";
    }
    if (header->checksum != record_header_checksum(header)) {
        return "record header with a wrong checksum";
    }
    if (header->slots < RECORD_SLOTS_MIN || header->slots >= disk_bytes / RECORD_BYTES) {
        return "record header that does not fit the disk's size";
    }
    return NULL;
}

static inline bool record_is_valid(const struct record *record)
{
    if (memcmp(record->magic, RECORD_MAGIC, sizeof(record->magic)) != 0 || record->seq == 0 ||
        record->checksum != record_checksum(record)) {
        return false;
    }
    for (uint32_t i = 0; i < RECORD_PAYLOAD_WORDS; i++) {
        if (record->payload[i] != record_payload_word(record->seq, i)) {
            return false;
        }
    }
    return true;
}

/* Fill in magic, payload and checksum of a record whose other fields are set. */
static inline void record_seal(struct record *record)
{
    memcpy(record->magic, RECORD_MAGIC, sizeof(record->magic));
    for (uint32_t i = 0; i < RECORD_PAYLOAD_WORDS; i++) {
        record->payload[i] = record_payload_word(record->seq, i);
    }
    record->checksum = record_checksum(record);
}

#endif
