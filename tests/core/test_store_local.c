/* SPDX-License-Identifier: Apache-2.0 */
/* Local images as a source: on a disk file system, and on tmpfs. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/extents.h"
#include "core/store_local.h"

enum { MIB = 1 << 20, SIZE = 3 * MIB + 777 };

struct fixture {
    char dir[64];
    struct ring *ring;
    struct store_place *place;
    struct err e;
};

static const char *const parents[] = {"/var/tmp", "/dev/shm"};

static void set_up(struct fixture *f, const char *parent)
{
    *f = (struct fixture){0};
    snprintf(f->dir, sizeof f->dir, "%s/godwit-test-XXXXXX", parent);
    assert_non_null(mkdtemp(f->dir));
    f->ring = ring_new(RING_AUTO, &f->e);
    assert_non_null(f->ring);
    f->place = store_local_open(f->ring, f->dir, &f->e);
    assert_non_null(f->place);
}

static void tear_down(struct fixture *f)
{
    char command[128];
    f->place->ops->place_close(f->place);
    ring_free(f->ring);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

static int make(struct fixture *f, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
    assert_true(fd >= 0);
    return fd;
}

/* 1 MiB of hole, 1 MiB of data, a hole, and the last 777 bytes. */
static void make_sparse(struct fixture *f, const char *name)
{
    int fd = make(f, name);
    unsigned char *data = malloc(MIB);
    memset(data, 0xa5, MIB);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    assert_int_equal(pwrite(fd, data, MIB, MIB), MIB);
    assert_int_equal(pwrite(fd, data, 777, 3 * MIB), 777);
    assert_int_equal(fsync(fd), 0);
    free(data);
    close(fd);
}

static void done(struct store_io *io)
{
    *(bool *)io->arg = true;
}

static int read_at(struct fixture *f, struct store_file *file, void *buf, uint32_t len,
                   uint64_t offset)
{
    bool ended = false;
    struct store_io io = {.file = file, .buf = buf, .offset = offset, .len_bytes = len,
                          .done = done, .arg = &ended};
    f->place->ops->read(&io);
    assert_false(ended);
    while (!ended)
        assert_int_equal(ring_turn(f->ring, 1000000), 0);
    return io.res;
}

static void test_holes_and_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        struct extents map = {0};
        set_up(&f, parents[i]);
        make_sparse(&f, "image");
        struct store_file *file = f.place->ops->open(f.place, "image", &f.e);
        assert_non_null(file);
        assert_int_equal(file->attr.size_bytes, SIZE);
        assert_int_equal(file->attr.mode, 0640);
        assert_int_equal(extents_scan(&map, file, &f.e), 0);
        assert_int_equal(map.n, 2);
        assert_int_equal(map.at[0].offset, MIB);
        assert_int_equal(map.at[0].len_bytes, MIB);
        assert_int_equal(map.at[1].offset, 3 * MIB);
        assert_int_equal(map.at[1].len_bytes, 777);
        extents_free(&map);

        unsigned char *buf = aligned_alloc(65536, MIB);
        assert_int_equal(read_at(&f, file, buf, MIB, MIB), MIB);
        assert_int_equal(buf[0], 0xa5);
        assert_int_equal(buf[MIB - 1], 0xa5);
        /* Widened beyond the end of the file: what is there. */
        assert_int_equal(read_at(&f, file, buf, 65536, 3 * MIB), 777);
        assert_int_equal(read_at(&f, file, buf, 4096, 4 * MIB), 0);
        /* Not aligned at all: slower, and still right. */
        assert_int_equal(read_at(&f, file, buf + 1, 3, 2 * MIB - 2), 3);
        assert_memory_equal(buf + 1, "\xa5\xa5\0", 3);
        free(buf);
        f.place->ops->file_close(file, &f.e);
        tear_down(&f);
    }
}

/* The source is only read: not even its access time changes, where that is ours to keep. */
static void test_untouched(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "/var/tmp");
    make_sparse(&f, "image");
    struct store_attr before, after;
    assert_int_equal(f.place->ops->lookup(f.place, "image", &before, &f.e), 1);
    struct store_file *file = f.place->ops->open(f.place, "image", &f.e);
    unsigned char *buf = aligned_alloc(65536, MIB);
    assert_int_equal(read_at(&f, file, buf, MIB, MIB), MIB);
    f.place->ops->file_close(file, &f.e);
    free(buf);
    assert_int_equal(f.place->ops->lookup(f.place, "image", &after, &f.e), 1);
    assert_int_equal(before.atime_ns, after.atime_ns);
    assert_int_equal(before.mtime_ns, after.mtime_ns);
    assert_int_equal(before.ctime_ns, after.ctime_ns);
    assert_int_equal(before.inode, after.inode);
    tear_down(&f);
}

static void test_what_is_there(void **state)
{
    (void)state;
    struct fixture f;
    struct store_attr attr;
    char path[128];
    set_up(&f, "/var/tmp");
    assert_int_equal(f.place->ops->lookup(f.place, "absent", &attr, &f.e), 0);

    snprintf(path, sizeof path, "%s/dir", f.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(f.place->ops->lookup(f.place, "dir", &attr, &f.e), 1);
    assert_int_equal(attr.type, STORE_DIRECTORY);

    snprintf(path, sizeof path, "%s/fifo", f.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(f.place->ops->lookup(f.place, "fifo", &attr, &f.e), 1);
    assert_int_equal(attr.type, STORE_OTHER);

    make_sparse(&f, "image");
    snprintf(path, sizeof path, "%s/link", f.dir);
    assert_int_equal(symlink("image", path), 0);
    assert_int_equal(f.place->ops->lookup(f.place, "link", &attr, &f.e), 1);
    assert_int_equal(attr.type, STORE_REGULAR);
    assert_int_equal(attr.size_bytes, SIZE);

    assert_null(f.place->ops->open(f.place, "absent", &f.e));
    assert_int_equal(f.e.class, ERR_IO);
    assert_int_equal(f.e.sys, ENOENT);
    tear_down(&f);
}

static void test_no_such_place(void **state)
{
    (void)state;
    struct err e = {0};
    struct ring *ring = ring_new(RING_SYSCALLS, &e);
    assert_null(store_local_open(ring, "/no/such/directory", &e));
    assert_int_equal(e.sys, ENOENT);
    ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes_and_data),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_what_is_there),
        cmocka_unit_test(test_no_such_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
