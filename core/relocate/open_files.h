/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes of this host have a file open, under whatever name: the kernel's word, which needs
 * neither locks nor paths. Processes are those of this PID namespace; what uses a file without a
 * descriptor of a process (a loop device) is seen as well.
 *
 * Who cannot be asked is no answer, and reported as such (`why` below):
 *
 *   - For root, as it has CAP_SYS_PTRACE, each process whose descriptors cannot be read; but for process
 *     1, which a container's supervisor may be that is closed even to it, and which goes by its name.
 *   - For others, whom the kernel tells of their own processes alone: each process that by its name
 *     serves disk images (qemu, kvm, nbd, …), and /proc itself where it hides processes. All else that
 *     belongs to others is passed over, or nobody but root could ever move an image.
 *   - A loop device that does not tell what it is on.
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
    int why;      /* 0; else it may have any of them open: the errno for which it does not tell */
};

/*
 * Calls fn for each that has one of the `n` files open, or cannot be asked, this process left out,
 * until it says false. Processes that end meanwhile are none. -1: /proc cannot be read.
 */
int open_files_find(const struct open_file_id *ids, size_t n,
                    bool (*fn)(void *arg, const struct open_file *f), void *arg, struct err *e);

#endif
