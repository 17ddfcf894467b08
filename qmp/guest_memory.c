/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

/* One in each of so many equal parts of RAM: its share is then known to 1.3 % at worst, 90 of 100 times. */
#define MEMORY_SAMPLES 4096
#define MEMORY_PAGE_BYTES UINT64_C(4096)
/* A mapping may have a little more than RAM: the kernel joins neighbours. */
#define MEMORY_ROOM(ram_bytes) ((ram_bytes) + (ram_bytes) / 4 + (UINT64_C(64) << 20))

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)

static int memory_open(int64_t thread, const char *what, struct err *e)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/%s", thread, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set(e, ERR_IO, errno, "%s: cannot be read", path);
}

/* Where RAM is mapped: *from to *to. */
static int memory_find(int64_t thread, uint64_t ram_bytes, uint64_t *from, uint64_t *to,
                       struct err *e)
{
    char line[4400], perms[8];
    uint64_t first, end;
    int fd = memory_open(thread, "maps", e);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (maps == NULL)
        return fd < 0 ? -1 : err_set(e, ERR_IO, errno, "cannot read the mappings of a QEMU");
    *from = 0;
    *to = MEMORY_ROOM(ram_bytes) + 1;
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &first, &end, perms) == 3 &&
            strncmp(perms, "rw", 2) == 0 && end - first >= ram_bytes && end - first < *to - *from) {
            *from = first;
            *to = end;
        }
    fclose(maps);
    if (*from != 0)
        return 0;
    return err_set(e, ERR_REFUSED, 0,
                   "the memory of the guest is in no single mapping of process %" PRId64, thread);
}

static bool memory_is_zero(const unsigned char *page)
{
    return page[0] == 0 && memcmp(page, page + 1, MEMORY_PAGE_BYTES - 1) == 0;
}

/* 1: it is no zeros; 0: it is; -1. */
static int memory_look_at(int pagemap, int mem, uint64_t address, struct err *e)
{
    unsigned char page[MEMORY_PAGE_BYTES];
    uint64_t entry;
    off_t at = (off_t)(address / MEMORY_PAGE_BYTES * sizeof entry);
    if (pread(pagemap, &entry, sizeof entry, at) != (ssize_t)sizeof entry)
        return err_set(e, ERR_IO, errno, "cannot read the page map of a QEMU");
    if ((entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) == 0)
        return 0;
    if (pread(mem, page, sizeof page, (off_t)address) != (ssize_t)sizeof page)
        return err_set(e, ERR_IO, errno, "cannot read the memory of a QEMU");
    return !memory_is_zero(page);
}

static void memory_close_ptr(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

int guest_memory_look(int64_t thread, uint64_t ram_bytes, struct guest_memory *m, struct err *e)
{
    uint64_t from, to, luck = 1;
    *m = (struct guest_memory){0};
    if (ram_bytes == 0 || memory_find(thread, ram_bytes, &from, &to, e) < 0)
        return ram_bytes == 0 ? err_set(e, ERR_REFUSED, 0, "the guest has no memory") : -1;
    CLEANUP(memory_close_ptr) int pagemap = memory_open(thread, "pagemap", e);
    CLEANUP(memory_close_ptr) int mem = pagemap >= 0 ? memory_open(thread, "mem", e) : -1;
    if (mem < 0)
        return -1;
    uint64_t part = (to - from) / MEMORY_SAMPLES / MEMORY_PAGE_BYTES * MEMORY_PAGE_BYTES;
    part = part > 0 ? part : MEMORY_PAGE_BYTES;
    for (uint64_t at = from; at + part <= to && m->pages < MEMORY_SAMPLES; at += part) {
        luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t page = (luck >> 33) % (part / MEMORY_PAGE_BYTES);
        int not_zero = memory_look_at(pagemap, mem, at + page * MEMORY_PAGE_BYTES, e);
        if (not_zero < 0)
            return -1;
        m->pages++;
        m->not_zero += (uint64_t)not_zero;
    }
    return 0;
}
