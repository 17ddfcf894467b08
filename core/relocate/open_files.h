/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes of this host have a file open, under whatever name: the kernel's word, which needs
 * neither locks nor paths. For root all processes of this PID namespace are seen, for others only
 * their own; what uses a file without a descriptor of a process (a loop device) is seen as well.
 */
#ifndef CORE_RELOCATE_OPEN_FILES_H
#define CORE_RELOCATE_OPEN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/err.h"

/* A file by its file system and inode number, a device by what it stands for. */
struct open_file_id {
    uint64_t device, inode;
    bool is_device;
};

struct open_file_id open_file_id_of(const struct stat *st);
bool open_file_id_same(const struct open_file_id *a, const struct open_file_id *b);

struct open_file {
    size_t which; /* index of the file that was asked after */
    char who[64]; /* "qemu-system-x86 (1234)", "/dev/loop0" */
    bool writing; /* it can be written to through that; true where that is not known */
};

/*
 * Calls fn for each that has one of the `n` files open, this process left out, until it says false.
 * Processes that end meanwhile are none. -1: /proc cannot be read.
 */
int open_files_find(const struct open_file_id *ids, size_t n,
                    bool (*fn)(void *arg, const struct open_file *f), void *arg, struct err *e);

#endif
