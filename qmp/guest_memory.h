/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a guest's memory is no zeros: pages here and there are looked at, in the memory of its QEMU's
 * process on this machine. It only reads, and only pages that are there already: one that nobody has touched
 * is zeros, and is left untouched. The guest does not notice.
 *
 * Source of facts: proc(5), proc_pid_pagemap(5): bit 63 present, bit 62 swapped; both need no privilege, and
 * /proc/PID/mem that of ptrace(2).
 */
#ifndef QMP_GUEST_MEMORY_H
#define QMP_GUEST_MEMORY_H

#include <stdint.h>

#include "core/err.h"

struct guest_memory {
    uint64_t pages, not_zero; /* looked at, and how many of them were no zeros */
};

/*
 * `thread`: any of the QEMU's, on this machine. The guest's RAM is the smallest mapping there that has room
 * for it. ERR_REFUSED: there is none of that size (memory in several pieces); ERR_IO: no permission, no such
 * process, it ends.
 */
int guest_memory_look(int64_t thread, uint64_t ram_bytes, struct guest_memory *m, struct err *e);

#endif
