/* SPDX-License-Identifier: Apache-2.0 */
/* A small copy to a share and back, as the engine does it, through whatever the fake server does meanwhile; for tests. */
#ifndef TESTS_NFS_SMALL_COPY_H
#define TESTS_NFS_SMALL_COPY_H

#include "share_fixture.h"

enum {
    PROC_LOOKUP = 3,
    PROC_READ = 6,
    PROC_WRITE = 7,
    PROC_CREATE = 8,
    PROC_RENAME = 14,
    PROC_COMMIT = 21
};
enum { STATUS_JUKEBOX = 10008, STATUS_STALE = 70 };

/* Ends later than a busy machine, and earlier than what waits for a server that never answers. */
#define SMALL_COPY_SOON_NS (20 * NS_PER_S)
/* A patience that outlasts it. */
#define SMALL_COPY_PATIENT_NS (60 * NS_PER_S)

/* Those of [offset, end) in `data`. */
struct store_io small_copy_io(struct store_file *file, unsigned char *data, uint64_t offset,
                              uint64_t end);
/* A done() that counts in the unsigned that is its argument. */
void small_copy_count(struct store_io *io);

/* f->data to "dir/image"; and from there. 0, or -1 with f->e. */
int small_copy(struct fixture *f);
int small_copy_read_back(struct fixture *f);
int small_copy_and_read_back(struct fixture *f);
void small_copy_assert_landed(struct fixture *f);
/* All of it with these faults: it must come out right. How many calls the server has got. */
unsigned small_copy_survive(const struct fake_faults *faults, void **state);

/* A file to be written to, with nothing yet at its data connection, on a share with this patience. */
struct store_file *small_copy_open_file(struct fixture *f, const struct fake_faults *faults,
                                        int64_t timeout_ns, void **state);
/* The file, and then all. */
void small_copy_close_file(struct fixture *f, struct store_file *file);

/* cmocka's entries of a test on each data path; on each ring, too. */
extern struct variant small_copy_own, small_copy_own_calls, small_copy_libnfs,
    small_copy_libnfs_calls;

#define EACH_PATH(test)                                         \
    {#test " (own)", test, NULL, NULL, &small_copy_own},        \
    {                                                           \
#test " (libnfs)", test, NULL, NULL, &small_copy_libnfs \
    }

#define ALL(test)                                                                             \
    EACH_PATH(test), {#test " (own, system calls)", test, NULL, NULL, &small_copy_own_calls}, \
    {                                                                                         \
#test " (libnfs, system calls)", test, NULL, NULL, &small_copy_libnfs_calls           \
    }

#endif
