/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Theory of operation. The thread reads the whole ring once to find the highest record, then
 * writes one record after the other at a fixed rate. Writes go past the page cache and
 * are durable before the next one starts, so that a record which the guest counts (it stands
 * in the heartbeat from then on) must be found on the disk by whoever opens it next.
 */
#include "bench/guest/linux/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench/guest/linux/serial.h"
#include "bench/guest/linux/ticker.h"
#include "bench/guest/record.h"

#define DISK_READ_RECORDS 64u

struct ring {
    int fd;
    uint64_t slots;
    uint64_t last_seq;
    uint64_t last_checksum;
    uint64_t boot_id;
};

bool disk_is_there(void)
{
    return access(DISK_PATH, F_OK) == 0;
}

/* 0, or -1 with the reason reported. BUFFER is for direct I/O, DISK_READ_RECORDS long. */
static int ring_open(struct ring *ring, struct record *buffer)
{
    const struct record_header *header = (const struct record_header *)buffer;
    const char *fault;
    uint64_t size_bytes;

    ring->fd = open(DISK_PATH, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (ring->fd < 0 || ioctl(ring->fd, BLKGETSIZE64, &size_bytes) ||
        pread(ring->fd, buffer, RECORD_BYTES, 0) != RECORD_BYTES) {
        serial_sendf("ERROR " DISK_PATH ": %s", strerror(errno));
        return -1;
    }
    fault = record_header_fault(header, size_bytes);
    if (fault) {
        serial_sendf("ERROR " DISK_PATH ": %s; no records are written", fault);
        return -1;
    }
    ring->slots = header->slots;
    if (getrandom(&ring->boot_id, sizeof(ring->boot_id), 0) != sizeof(ring->boot_id)) {
        ring->boot_id = ticker_clock_ns(CLOCK_REALTIME);
    }
    return 0;
}

/* Find the highest record. 0, or -1 with the reason reported. */
static int ring_find_last(struct ring *ring, struct record *buffer)
{
    for (uint64_t slot = 0; slot < ring->slots; slot += DISK_READ_RECORDS) {
        uint64_t left = ring->slots - slot;
        size_t count = left < DISK_READ_RECORDS ? (size_t)left : DISK_READ_RECORDS;
        ssize_t got = pread(ring->fd, buffer, count * RECORD_BYTES,
                            (off_t)record_offset_bytes(slot, ring->slots));

        if (got != (ssize_t)(count * RECORD_BYTES)) {
            serial_sendf("ERROR " DISK_PATH ": reading slot %" PRIu64 ": %s", slot,
                         got < 0 ? strerror(errno) : "short read");
            return -1;
        }
        for (size_t i = 0; i < count; i++) {
            if (buffer[i].seq > ring->last_seq && record_is_valid(&buffer[i])) {
                ring->last_seq = buffer[i].seq;
                ring->last_checksum = buffer[i].checksum;
            }
        }
    }
    return 0;
}

static int ring_append(struct ring *ring, struct record *record)
{
    ssize_t written;

    memset(record, 0, sizeof(*record));
    record->seq = ring->last_seq + 1;
    record->wall_ns = ticker_clock_ns(CLOCK_REALTIME);
    record->monotonic_ns = ticker_clock_ns(CLOCK_MONOTONIC);
    record->boot_id = ring->boot_id;
    record->previous = ring->last_checksum;
    record_seal(record);
    written = pwrite(ring->fd, record, RECORD_BYTES,
                     (off_t)record_offset_bytes(record->seq, ring->slots));
    if (written != RECORD_BYTES) {
        serial_sendf("ERROR " DISK_PATH ": writing record %" PRIu64 ": %s", record->seq,
                     written < 0 ? strerror(errno) : "short write");
        return -1;
    }
    ring->last_seq = record->seq;
    ring->last_checksum = record->checksum;
    return 0;
}

void *disk_run(void *argument)
{
    struct disk *disk = argument;
    struct ring ring = {.fd = -1};
    struct record *buffer = aligned_alloc(RECORD_BYTES, DISK_READ_RECORDS * RECORD_BYTES);
    struct ticker ticker;

    if (!buffer) {
        serial_sendf("ERROR " DISK_PATH ": out of memory");
        return NULL;
    }
    if (ring_open(&ring, buffer) == 0 && ring_find_last(&ring, buffer) == 0) {
        atomic_store(&disk->last_seq, (uint32_t)ring.last_seq);
        ticker = ticker_start(1000000000u / disk->records_per_s);
        while (ring_append(&ring, buffer) == 0) {
            atomic_store(&disk->last_seq, (uint32_t)ring.last_seq);
            ticker_wait(&ticker);
        }
    }
    free(buffer);
    return NULL;
}
