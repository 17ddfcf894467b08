/* SPDX-License-Identifier: Apache-2.0 */
#include "small_copy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct variant small_copy_own = {SHARE_PATH_OWN, RING_AUTO},
               small_copy_own_calls = {SHARE_PATH_OWN, RING_SYSCALLS},
               small_copy_libnfs = {SHARE_PATH_LIBNFS, RING_AUTO},
               small_copy_libnfs_calls = {SHARE_PATH_LIBNFS, RING_SYSCALLS};

void small_copy_count(struct store_io *io)
{
    ++*(unsigned *)io->arg;
}

struct store_io small_copy_io(struct store_file *file, unsigned char *data, uint64_t offset,
                              uint64_t end)
{
    return (struct store_io){.file = file,
                             .buf = data + offset,
                             .offset = offset,
                             .len_bytes = (uint32_t)(end - offset)};
}

/* The first that failed; else all of it was done, piece by piece where pieces are short. */
static struct store_io transfer(struct fixture *f, share_fixture_io_fn *fn, struct store_file *file,
                                unsigned char *data, uint8_t verifiers[BLOCKS][8])
{
    struct store_io ios[BLOCKS];
    uint64_t at[BLOCKS], most = f->place->io_max_bytes;
    for (unsigned i = 0; i < BLOCKS; i++)
        at[i] = (uint64_t)i * BLOCK;
    for (;;) {
        unsigned n = 0, which[BLOCKS];
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint64_t stop = (i + 1ULL) * BLOCK < SIZE ? (i + 1ULL) * BLOCK : SIZE;
            if (at[i] == stop)
                continue;
            which[n] = i;
            ios[n++] = small_copy_io(file, data, at[i], stop - at[i] < most ? stop : at[i] + most);
        }
        if (n == 0)
            return (struct store_io){0};
        share_fixture_run(f, fn, ios, n);
        for (unsigned k = 0; k < n; k++) {
            if (ios[k].res <= 0)
                return ios[k];
            at[which[k]] += (uint64_t)ios[k].res;
            if (verifiers != NULL)
                memcpy(verifiers[which[k]], ios[k].verifier, 8);
        }
    }
}

static struct store_io commit(struct fixture *f, struct store_file *file)
{
    struct store_io io = {.file = file};
    share_fixture_run(f, f->place->ops->commit, &io, 1);
    return io;
}

/* The part may be there from an attempt whose answer was lost. */
static struct store_file *open_part(struct fixture *f, const char *name)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *file = ops->open(f->place, name, STORE_CREATE, SIZE, &f->e);
    if (file != NULL || f->e.sys != EEXIST)
        return file;
    err_clear(&f->e);
    return ops->open(f->place, name, STORE_UPDATE, 0, &f->e);
}

static int write_part(struct fixture *f, struct store_file *file)
{
    uint8_t verifiers[BLOCKS][8];
    for (bool durable = false; !durable;) {
        struct store_io io = transfer(f, f->place->ops->write, file, f->data, verifiers);
        if (io.res == 0)
            io = commit(f, file);
        if (io.res < 0)
            return err_set(&f->e, io.fault, -io.res, "a write");
        durable = true;
        for (unsigned i = 0; i < BLOCKS; i++)
            durable = durable && memcmp(verifiers[i], io.verifier, 8) == 0;
    }
    return 0;
}

/* Under another handle it is the part if all that was written is in it. */
static int publish_part(struct fixture *f, struct store_file *file)
{
    const struct store_ops *ops = f->place->ops;
    uint64_t generation = file->attr.generation;
    int rc = ops->publish(file, "image", &share_fixture_attr, NULL, &f->e);
    if (rc == 0 || file->attr.generation == generation)
        return rc;
    assert_int_equal(f->e.sys, ESTALE);
    err_clear(&f->e);
    memset(f->back, 0, SIZE);
    struct store_io io = transfer(f, ops->read, file, f->back, NULL);
    if (io.res < 0)
        return err_set(&f->e, io.fault, -io.res, "a read");
    assert_memory_equal(f->back, f->data, SIZE);
    return ops->publish(file, "image", &share_fixture_attr, NULL, &f->e);
}

int small_copy(struct fixture *f)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *dir = ops->open(f->place, "dir", STORE_MAKE_DIRECTORY, 0, &f->e);
    if (dir == NULL)
        return -1;
    ops->file_close(dir);
    struct store_file *file = open_part(f, "dir/.part");
    if (file == NULL)
        return -1;
    assert_true(file->attr.inode != 0);
    int rc = write_part(f, file);
    if (rc == 0)
        rc = publish_part(f, file);
    if (rc == 0)
        assert_string_equal(file->name, "dir/image");
    uint64_t inode = file->attr.inode;
    ops->file_close(file);
    struct store_attr attr;
    if (rc < 0 || (rc = ops->lookup(f->place, "dir/image", &attr, &f->e)) <= 0)
        return -1;
    assert_int_equal(attr.inode, inode);
    assert_int_equal(attr.size_bytes, SIZE);
    return 0;
}

int small_copy_read_back(struct fixture *f)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *file = ops->open(f->place, "dir/image", STORE_READ, 0, &f->e);
    if (file == NULL)
        return -1;
    struct store_extent x;
    assert_int_equal(ops->extent(file, 5, &x, &f->e), 1);
    assert_true(x.offset == 5 && x.len_bytes == SIZE - 5 && file->holes_unknown);
    assert_int_equal(ops->extent(file, SIZE, &x, &f->e), 0);
    memset(f->back, 0, SIZE);
    struct store_io io = transfer(f, ops->read, file, f->back, NULL);
    ops->file_close(file);
    if (io.res < 0)
        return err_set(&f->e, io.fault, -io.res, "a read");
    assert_memory_equal(f->back, f->data, SIZE);
    return 0;
}

int small_copy_and_read_back(struct fixture *f)
{
    return small_copy(f) < 0 ? -1 : small_copy_read_back(f);
}

void small_copy_assert_landed(struct fixture *f)
{
    const struct fake_file *file = fake_server_file(f->server, "dir/image");
    assert_non_null(file);
    assert_int_equal(file->size, SIZE);
    assert_int_equal(file->mode, 0640);
    assert_int_equal(file->mtime_s, 1234);
    assert_memory_equal(file->durable, f->data, SIZE);
    assert_int_equal(fake_server_files(f->server), 2);
}

unsigned small_copy_survive(const struct fake_faults *faults, void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, faults, state);
    if (share_fixture_open(&f, "/export/") < 0) { /* opening is not tried again */
        assert_int_equal(f.e.class, ERR_REFUSED);
        err_clear(&f.e);
        assert_int_equal(share_fixture_open(&f, "/export/"), 0);
    }
    if (small_copy_and_read_back(&f) < 0)
        fail_msg("%s", f.e.msg);
    share_fixture_end(&f);
    small_copy_assert_landed(&f);
    unsigned calls = fake_server_calls(f.server);
    share_fixture_tear_down(&f);
    return calls;
}

struct store_file *small_copy_open_file(struct fixture *f, const struct fake_faults *faults,
                                        int64_t timeout_ns, void **state)
{
    share_fixture_set_up(f, faults, state);
    f->timeout_ns = timeout_ns;
    assert_int_equal(share_fixture_open(f, "/export"), 0);
    struct store_file *file = f->place->ops->open(f->place, "file", STORE_CREATE, SIZE, &f->e);
    assert_non_null(file);
    return file;
}

void small_copy_close_file(struct fixture *f, struct store_file *file)
{
    f->place->ops->file_close(file);
    share_fixture_end(f);
    share_fixture_tear_down(f);
}
