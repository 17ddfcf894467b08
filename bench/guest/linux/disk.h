/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The Linux guest's records on /dev/vda (see bench/guest/record.h).
 */
#ifndef GODWIT_BENCH_GUEST_LINUX_DISK_H
#define GODWIT_BENCH_GUEST_LINUX_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DISK_PATH "/dev/vda"

struct disk {
    uint32_t records_per_s;    /* at least 1 */
    _Atomic uint32_t last_seq; /* highest record known to be on the disk, modulo 2^32 */
};

bool disk_is_there(void);

/*
 * Thread body: find where the last boot ended and go on from there. ARGUMENT is a struct disk.
 * A disk that is not ours, or fails, is reported on the serial port and left alone.
 */
void *disk_run(void *argument);

#endif
