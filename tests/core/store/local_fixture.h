/* SPDX-License-Identifier: Apache-2.0 */
/* A local place in a directory of its own, and its requests done one at a time. */
#ifndef TESTS_CORE_STORE_LOCAL_FIXTURE_H
#define TESTS_CORE_STORE_LOCAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/store/store_local.h"

enum { MIB = 1 << 20 };

struct where {
    const char *parent; /* directory */
    enum ring_backend backend;
};

struct fixture {
    char dir[64];
    struct ring *ring;
    struct store_place *place;
    const struct store_ops *ops;
    struct err e;
};

void fixture_set_up(struct fixture *f, const struct where *where, bool nice_cache);
void fixture_tear_down(struct fixture *f);

/* The path of `name` in the directory; valid until the next call. */
const char *fixture_path(struct fixture *f, const char *name);

/* A file of random bytes that are the same each time, and synced. */
void fixture_make(struct fixture *f, const char *name, size_t len);

/* Opens, and must succeed; or must fail with that class and errno. */
struct store_file *fixture_open(struct fixture *f, const char *name, enum store_how how,
                                uint64_t size_bytes);
void fixture_refuses(struct fixture *f, const char *name, enum store_how how, enum err_class class,
                     int sys);

/* Removes what has this name now, if anything. As the store's remove(). */
int fixture_remove(struct fixture *f, const char *name);

/* The request's end is awaited. */
struct store_io fixture_read(struct fixture *f, struct store_file *file, void *buf, uint32_t len,
                             uint64_t offset);
struct store_io fixture_write(struct fixture *f, struct store_file *file, void *buf, uint32_t len,
                              uint64_t offset, bool want_stable);
struct store_io fixture_commit(struct fixture *f, struct store_file *file, uint64_t offset,
                               uint32_t len);

/* Bytes that depend on their offset. */
void fixture_fill(unsigned char *buf, size_t len, uint64_t offset);

/* From here on system call `nr` answers this process with errno `sys` (but not to io_uring). */
void fixture_deny(long nr, int sys);

/* From here on this process lives with a kernel that has no openat2, no cachestat, and file systems
 * that do not know RENAME_NOREPLACE. */
void fixture_old_kernel(void);

/* Runs this program again with --old-kernel; whether it succeeded. */
bool fixture_run_on_old_kernel(void);

/* The size of an image, and what publish() gives it. */
enum { FIXTURE_SIZE = 3 * MIB + 777 };
extern const struct store_attr fixture_someone;

struct store_attr fixture_look(struct fixture *f, const char *name);
bool fixture_is_there(struct fixture *f, const char *name);

/* Whole blocks, two that are not aligned, and an odd end; what was not written is a hole. */
void fixture_write_image(struct fixture *f, struct store_file *file);
void fixture_check_image(struct fixture *f, const char *name);

/* cmocka's entries of a test on each file system, with each ring. */
extern struct where fixture_disk, fixture_memory, fixture_disk_calls, fixture_memory_calls;

#define EVERYWHERE(test)                                                        \
    {#test " (disk)", test, NULL, NULL, &fixture_disk},                         \
        {#test " (tmpfs)", test, NULL, NULL, &fixture_memory},                  \
        {#test " (disk, system calls)", test, NULL, NULL, &fixture_disk_calls}, \
    {                                                                           \
#test " (tmpfs, system calls)", test, NULL, NULL, &fixture_memory_calls \
    }

#endif
