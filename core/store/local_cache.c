/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Residency comes from cachestat(2) (Linux 6.5), which counts pages, else from mincore(2) on a
 * mapping. Both tell it to those alone who own the file or may write to it: for others cachestat
 * fails, and mincore says "all resident" (since 5.2), which we therefore do not ask.
 */
#include "core/store/local_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* on every architecture but alpha */
#endif

enum {
    CACHE_PARTS = 32,
    CACHE_MAP_BYTES = 1 << 20, /* looked at by one mincore() */
    CACHE_SAMPLES = 64,        /* of that size in a file, where they have to do */
};

/* linux/mman.h has them since 6.5. */
struct cache_range {
    uint64_t offset, len_bytes;
};
struct cache_counts {
    uint64_t resident, dirty, writeback, evicted, recently_evicted; /* pages */
};

static uint64_t cache_page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t cache_pages(uint64_t len_bytes)
{
    return (len_bytes + cache_page_bytes() - 1) / cache_page_bytes();
}

bool local_cache_is_home(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC;
}

static bool cache_mincore_is_honest(int fd)
{
    struct stat st;
    return geteuid() == 0 || (fstat(fd, &st) == 0 && st.st_uid == geteuid());
}

/* Of a range that starts with a page and is at most CACHE_MAP_BYTES long. */
static int64_t cache_map_resident(int fd, uint64_t offset, uint64_t len_bytes)
{
    unsigned char vec[CACHE_MAP_BYTES / 4096];
    int64_t pages = -1;
    void *map = mmap(NULL, len_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    if (map == MAP_FAILED)
        return -1;
    if (mincore(map, len_bytes, vec) == 0) {
        pages = 0;
        for (uint64_t i = 0; i < cache_pages(len_bytes); i++)
            pages += vec[i] & 1;
    }
    munmap(map, len_bytes);
    return pages;
}

static int64_t cache_mincore(int fd, uint64_t offset, uint64_t len_bytes)
{
    int64_t sum = 0;
    while (len_bytes > 0) {
        uint64_t len = len_bytes < CACHE_MAP_BYTES ? len_bytes : CACHE_MAP_BYTES;
        int64_t pages = cache_map_resident(fd, offset, len);
        if (pages < 0)
            return -1;
        sum += pages;
        offset += len;
        len_bytes -= len;
    }
    return sum;
}

/* Resident pages of a range that starts with a page; -1: not known, errno ENOSYS: not in that way. */
static int64_t cache_stat(int fd, uint64_t offset, uint64_t len_bytes)
{
    struct cache_range range = {offset, len_bytes};
    struct cache_counts counts;
    if (syscall(SYS_cachestat, (unsigned)fd, &range, &counts, 0U) < 0)
        return -1;
    return (int64_t)counts.resident;
}

static int64_t cache_resident(int fd, uint64_t offset, uint64_t len_bytes)
{
    int64_t pages = cache_stat(fd, offset, len_bytes);
    if (pages < 0 && errno == ENOSYS && cache_mincore_is_honest(fd))
        pages = cache_mincore(fd, offset, len_bytes);
    return pages;
}

/* Spots spread evenly over the file, each moved on to the next data. */
static bool cache_sample_is_warm(int fd, uint64_t size_bytes)
{
    uint64_t seen = 0, resident = 0;
    for (uint64_t i = 0; i < CACHE_SAMPLES; i++) {
        uint64_t spot = size_bytes / CACHE_SAMPLES * i;
        off_t data = lseek(fd, (off_t)spot, SEEK_DATA);
        if (data >= 0)
            spot = (uint64_t)data;
        spot -= spot % cache_page_bytes();
        if ((data < 0 && errno == ENXIO) || spot >= size_bytes)
            break;
        uint64_t len = size_bytes - spot < CACHE_MAP_BYTES ? size_bytes - spot : CACHE_MAP_BYTES;
        int64_t pages = cache_mincore(fd, spot, len);
        if (pages < 0)
            return false;
        resident += (uint64_t)pages;
        seen += cache_pages(len);
    }
    return resident * 2 > seen;
}

bool local_cache_is_warm(int fd, const struct store_attr *attr)
{
    uint64_t data_bytes = attr->size_bytes;
    if (attr->type == STORE_REGULAR && attr->used_bytes < data_bytes)
        data_bytes = attr->used_bytes;
    int64_t pages = cache_stat(fd, 0, attr->size_bytes);
    if (pages < 0 && errno == ENOSYS && cache_mincore_is_honest(fd))
        return cache_sample_is_warm(fd, attr->size_bytes);
    return pages > 0 && (uint64_t)pages * 2 > cache_pages(data_bytes);
}

/* Widens the range to whole pages; the length of a part of it. */
static uint64_t cache_part_bytes(uint64_t *offset, uint64_t *end)
{
    uint64_t page_bytes = cache_page_bytes();
    *offset -= *offset % page_bytes;
    *end = (*end + page_bytes - 1) / page_bytes * page_bytes;
    uint64_t pages = (*end - *offset) / page_bytes;
    return (pages + CACHE_PARTS - 1) / CACHE_PARTS * page_bytes;
}

uint32_t local_cache_absent(int fd, uint64_t offset, uint64_t len_bytes)
{
    uint64_t end = offset + len_bytes;
    uint64_t part_bytes = cache_part_bytes(&offset, &end);
    if (offset == end)
        return 0;
    int64_t pages = cache_resident(fd, offset, end - offset);
    if (pages <= 0)
        return UINT32_MAX;
    if ((uint64_t)pages == cache_pages(end - offset))
        return 0;
    uint32_t absent = 0;
    for (uint32_t i = 0; i < CACHE_PARTS && offset < end; i++, offset += part_bytes) {
        uint64_t len = end - offset < part_bytes ? end - offset : part_bytes;
        if (cache_resident(fd, offset, len) == 0)
            absent |= UINT32_C(1) << i;
    }
    return absent;
}

void local_cache_drop(int fd, uint64_t offset, uint64_t len_bytes, uint32_t parts)
{
    uint64_t end = offset + len_bytes;
    uint64_t part_bytes = cache_part_bytes(&offset, &end);
    if (offset == end || parts == 0)
        return;
    if (parts == UINT32_MAX) {
        posix_fadvise(fd, (off_t)offset, (off_t)(end - offset), POSIX_FADV_DONTNEED);
        return;
    }
    for (uint32_t i = 0; i < CACHE_PARTS && offset < end; i++, offset += part_bytes) {
        uint64_t len = end - offset < part_bytes ? end - offset : part_bytes;
        if ((parts >> i & 1) != 0)
            posix_fadvise(fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    }
}
