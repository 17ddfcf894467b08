/* SPDX-License-Identifier: Apache-2.0 */
/* Local images as source and destination: on a disk file system and on tmpfs, with both rings, and
 * again as if the kernel were old. */
#include "local_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/relocate/extents.h"

/* 1 MiB of hole, 1 MiB of data, a hole, and the last 777 bytes. */
static void make_sparse(struct fixture *f, const char *name)
{
    int fd = open(fixture_path(f, name), O_RDWR | O_CREAT | O_EXCL, 0640);
    unsigned char *data = malloc(MIB);
    memset(data, 0xa5, MIB);
    assert_int_equal(ftruncate(fd, FIXTURE_SIZE), 0);
    assert_int_equal(pwrite(fd, data, MIB, MIB), MIB);
    assert_int_equal(pwrite(fd, data, 777, 3 * MIB), 777);
    assert_int_equal(fsync(fd), 0);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* else it is read from the page cache */
    free(data);
    close(fd);
}

/* ---- as a source ---- */

static void test_holes_and_data(void **state)
{
    struct fixture f;
    struct extents map = {0};
    fixture_set_up(&f, *state, false);
    make_sparse(&f, "image");
    struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
    assert_int_equal(file->attr.size_bytes, FIXTURE_SIZE);
    assert_int_equal(file->attr.mode, 0640);
    assert_false(file->in_use);
    assert_false(file->holes_unknown);
    assert_int_equal(extents_scan(&map, file, &f.e), 0);
    assert_int_equal(map.n, 2);
    assert_int_equal(map.at[0].offset, MIB);
    assert_int_equal(map.at[0].len_bytes, MIB);
    assert_int_equal(map.at[1].offset, 3 * MIB);
    assert_int_equal(map.at[1].len_bytes, 777);
    extents_free(&map);

    unsigned char *buf = aligned_alloc(65536, MIB);
    assert_int_equal(fixture_read(&f, file, buf, MIB, MIB).res, MIB);
    assert_int_equal(buf[0], 0xa5);
    assert_int_equal(buf[MIB - 1], 0xa5);
    /* Widened beyond the end of the file: what is there. */
    assert_int_equal(fixture_read(&f, file, buf, 65536, 3 * MIB).res, 777);
    assert_int_equal(fixture_read(&f, file, buf, 4096, 4 * MIB).res, 0);
    /* Not aligned at all: slower, and still right. */
    assert_int_equal(fixture_read(&f, file, buf + 1, 3, 2 * MIB - 2).res, 3);
    assert_memory_equal(buf + 1, "\xa5\xa5\0", 3);
    free(buf);
    f.ops->file_close(file);
    fixture_tear_down(&f);
}

/* The source is only read: not even its access time changes, where that is ours to keep. */
static void test_a_read_leaves_the_file_untouched(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    make_sparse(&f, "image");
    struct store_attr before = fixture_look(&f, "image");
    struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
    unsigned char *buf = aligned_alloc(65536, MIB);
    assert_int_equal(fixture_read(&f, file, buf, MIB, MIB).res, MIB);
    f.ops->file_close(file);
    free(buf);
    struct store_attr after = fixture_look(&f, "image");
    assert_memory_equal(&before, &after, sizeof before);
    fixture_tear_down(&f);
}

static void test_what_is_there(void **state)
{
    struct fixture f;
    struct store_attr attr;
    fixture_set_up(&f, *state, false);
    assert_int_equal(fixture_look(&f, "").type, STORE_DIRECTORY);
    assert_int_equal(f.ops->lookup(f.place, "absent", &attr, &f.e), 0);
    assert_int_equal(mkdir(fixture_path(&f, "dir"), 0700), 0);
    assert_int_equal(fixture_look(&f, "dir").type, STORE_DIRECTORY);
    assert_int_equal(mkfifo(fixture_path(&f, "fifo"), 0600), 0);
    assert_int_equal(fixture_look(&f, "fifo").type, STORE_OTHER);
    make_sparse(&f, "dir/image");
    assert_int_equal(fixture_look(&f, "dir/image").size_bytes, FIXTURE_SIZE);
    assert_int_equal(f.ops->lookup(f.place, "dir/image/x", &attr, &f.e), 0);
    assert_int_equal(symlink("dir/image", fixture_path(&f, "link")), 0);
    assert_int_equal(fixture_look(&f, "link").type, STORE_REGULAR);
    assert_int_equal(fixture_look(&f, "link").inode, fixture_look(&f, "dir/image").inode);
    f.ops->file_close(fixture_open(&f, "link", STORE_READ, 0));

    fixture_refuses(&f, "absent", STORE_READ, ERR_IO, ENOENT);
    fixture_refuses(&f, "dir", STORE_READ, ERR_IO, EISDIR);
    fixture_refuses(&f, "fifo", STORE_READ, ERR_REFUSED, 0);

    struct statvfs fs;
    assert_int_equal(statvfs(f.dir, &fs), 0);
    double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
    assert_true((double)f.place->free_bytes < free_bytes * 1.1 + 256 * MIB);
    assert_true((double)f.place->free_bytes > free_bytes * 0.9 - 256 * MIB);
    fixture_tear_down(&f);
}

struct listing {
    int n, files, dirs, others, stop_at;
};

static int list_one(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    struct listing *l = arg;
    l->n++;
    l->files += attr->type == STORE_REGULAR && strcmp(name, "image") == 0;
    l->dirs += attr->type == STORE_DIRECTORY && strcmp(name, "sub") == 0;
    l->others += attr->type == STORE_OTHER && strcmp(name, "link") == 0;
    return l->n == l->stop_at ? err_set(e, ERR_CANCELLED, 0, "enough") : 0;
}

static void test_a_directory_is_listed(void **state)
{
    struct fixture f;
    struct listing all = {0}, empty = {0}, some = {.stop_at = 2};
    fixture_set_up(&f, *state, false);
    assert_int_equal(mkdir(fixture_path(&f, "sub"), 0700), 0);
    assert_int_equal(symlink("nowhere", fixture_path(&f, "link")), 0);
    fixture_make(&f, "image", 10);
    assert_int_equal(f.ops->list(f.place, "", list_one, &all, &f.e), 0);
    assert_int_equal(all.n, 3);
    assert_int_equal(all.files + all.dirs + all.others, 3);
    assert_int_equal(f.ops->list(f.place, "sub", list_one, &empty, &f.e), 0);
    assert_int_equal(empty.n, 0);
    assert_int_equal(f.ops->list(f.place, "", list_one, &some, &f.e), -1);
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_int_equal(some.n, 2);
    err_clear(&f.e);
    assert_int_equal(f.ops->list(f.place, "image", list_one, &all, &f.e), -1);
    assert_int_equal(f.e.sys, ENOTDIR);
    fixture_tear_down(&f);
}

/* ---- as a destination ---- */

static void test_what_is_written_is_read_back(void **state)
{
    struct fixture f;
    unsigned char *buf = aligned_alloc(65536, MIB);
    fixture_set_up(&f, *state, false);
    struct store_file *file = fixture_open(&f, "image.part", STORE_CREATE, FIXTURE_SIZE);
    struct store_attr attr = fixture_look(&f, "image.part");
    assert_int_equal(attr.mode, 0600);
    assert_int_equal(attr.size_bytes, FIXTURE_SIZE);
    assert_int_equal(attr.used_bytes, 0);
    assert_int_equal(attr.inode, file->attr.inode);
    fixture_write_image(&f, file);
    assert_int_equal(fixture_read(&f, file, buf, MIB, 0).res, MIB); /* it can be read, too */
    assert_int_equal(buf[1], 31 + 1);
    f.ops->file_close(file);
    fixture_check_image(&f, "image.part");

    fixture_refuses(&f, "image.part", STORE_CREATE, ERR_IO, EEXIST);
    file = fixture_open(&f, "image.part", STORE_UPDATE, 0);
    assert_int_equal(file->attr.size_bytes, FIXTURE_SIZE);
    assert_int_equal(fixture_read(&f, file, buf, 4096, 2 * MIB).res, 4096);
    assert_int_equal(fixture_write(&f, file, buf, 4096, 2 * MIB, false).res, 4096);
    f.ops->file_close(file);
    fixture_check_image(&f, "image.part");
    free(buf);
    fixture_tear_down(&f);
}

struct tally {
    int count;
    bool failed;
};

static void count(struct store_io *io)
{
    struct tally *t = io->arg;
    t->count++;
    t->failed |= io->res < 0;
}

/* Many at once, with commits among them; and a stop in the middle ends everything, once. */
static void test_many_at_once(void **state)
{
    enum { N = 64, BLOCK = 65536, COMMITS = 8 };
    struct fixture f;
    static struct store_io ios[N], commits[COMMITS];
    struct tally wrote = {0}, synced = {0};
    unsigned char *data = aligned_alloc(65536, N * BLOCK), *back = malloc(N * BLOCK);
    fixture_fill(data, N * BLOCK, 0);
    fixture_set_up(&f, *state, false);
    struct store_file *file = fixture_open(&f, "image", STORE_CREATE, N * BLOCK);
    for (int i = 0; i < N; i++) {
        ios[i] = (struct store_io){.file = file,
                                   .buf = data + i * BLOCK,
                                   .len_bytes = BLOCK,
                                   .offset = (uint64_t)i * BLOCK,
                                   .done = count,
                                   .arg = &wrote};
        f.ops->write(&ios[i]);
    }
    for (int i = 0; i < COMMITS; i++) {
        commits[i] = (struct store_io){.file = file, .done = count, .arg = &synced};
        f.ops->commit(&commits[i]);
    }
    while (wrote.count < N || synced.count < COMMITS)
        assert_int_equal(ring_turn(f.ring, NS_PER_S), 0);
    assert_false(wrote.failed || synced.failed);
    assert_int_equal(fixture_read(&f, file, back, N * BLOCK, 0).res, N * BLOCK);
    assert_memory_equal(back, data, N * BLOCK);

    synced = (struct tally){0};
    for (int i = 0; i < COMMITS; i++)
        f.ops->commit(&commits[i]);
    f.ops->stop(f.place);
    while (synced.count < COMMITS)
        assert_int_equal(ring_turn(f.ring, NS_PER_S), 0);
    for (int i = 1; i < COMMITS; i++) /* the first was under way */
        assert_int_equal(commits[i].fault, ERR_CANCELLED);
    assert_int_equal(commits[0].res, 0);
    assert_int_equal(fixture_commit(&f, file, 0, 0).res, 0); /* and life goes on */
    ring_turn(f.ring, 0);
    assert_int_equal(wrote.count + synced.count, N + COMMITS);
    f.ops->file_close(file);
    free(data);
    free(back);
    fixture_tear_down(&f);
}

/* What was written before a sync that failed must not match a later one that says 0. */
static void fail_a_sync(struct fixture *f)
{
    char buf[] = "godwit";
    struct store_file *file = f->ops->open(f->place, "image", STORE_CREATE, 4096, &f->e);
    struct store_io before = fixture_write(f, file, buf, 6, 0, false);
    struct store_io good = fixture_commit(f, file, 0, 0);
    fixture_deny(SYS_fdatasync, EIO);
    struct store_io bad = fixture_commit(f, file, 0, 0);
    struct store_io after = fixture_write(f, file, buf, 6, 0, false);
    if (good.res != 0 || memcmp(good.verifier, before.verifier, sizeof good.verifier) != 0)
        _exit(1);
    if (bad.res != -EIO || bad.fault != ERR_IO)
        _exit(2);
    if (after.res != 6 || memcmp(before.verifier, after.verifier, sizeof after.verifier) == 0)
        _exit(3);
    _exit(0);
}

static void test_a_failed_sync_is_reported(void **state)
{
    struct fixture f;
    int status;
    fixture_set_up(&f, *state, false);
    pid_t pid = fork();
    if (pid == 0)
        fail_a_sync(&f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fixture_tear_down(&f);
}

/* Each component may have 255 bytes, and the whole what the kernel takes. */
static void test_long_names_work(void **state)
{
    struct fixture f;
    char name[2000] = "", part[2100];
    fixture_set_up(&f, *state, false);
    for (int i = 0; i < 7; i++) {
        memset(name + strlen(name), 'a' + i, 250);
        f.ops->file_close(fixture_open(&f, name, STORE_MAKE_DIRECTORY, 0));
        strcat(name, "/");
    }
    snprintf(part, sizeof part, "%spart", name);
    struct store_file *file = fixture_open(&f, part, STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, NULL, &f.e), 0);
    f.ops->file_close(file);
    strcat(name, "image");
    fixture_check_image(&f, name);
    assert_int_equal(fixture_remove(&f, name), 0);
    while (strrchr(name, '/') != NULL) {
        *strrchr(name, '/') = '\0';
        assert_int_equal(fixture_remove(&f, name), 0);
    }
    fixture_tear_down(&f);
}

/* Only what is read may be somewhere else. */
static void test_no_link_leads_out_of_the_place(void **state)
{
    struct fixture f, other;
    fixture_set_up(&f, *state, false);
    fixture_set_up(&other, *state, false);
    fixture_make(&other, "image", 10);
    assert_int_equal(symlink(other.dir, fixture_path(&f, "out")), 0);
    f.ops->file_close(fixture_open(&f, "out/image", STORE_READ, 0));

    static const char *const names[] = {"out/new", "../new", "/new/new"};
    for (size_t i = 0; i < 3; i++) {
        for (enum store_how how = STORE_CREATE; how <= STORE_MAKE_DIRECTORY; how++) {
            assert_null(f.ops->open(f.place, names[i], how, 0, &f.e));
            assert_true(f.e.sys == EXDEV || f.e.sys == ENOTDIR || f.e.sys == ELOOP);
            err_clear(&f.e);
        }
    }
    assert_null(f.ops->open(f.place, "out", STORE_MAKE_DIRECTORY, 0, &f.e));
    err_clear(&f.e);
    assert_false(fixture_is_there(&other, "new"));
    fixture_remove(&f, "out/image"); /* may say "not there" or fail, but not do it */
    err_clear(&f.e);
    assert_true(fixture_is_there(&other, "image"));

    /* Nor is a link itself written through. */
    char target[128];
    snprintf(target, sizeof target, "%s/image", other.dir);
    assert_int_equal(symlink(target, fixture_path(&f, "link")), 0);
    fixture_refuses(&f, "link", STORE_CREATE, ERR_IO, EEXIST);
    fixture_refuses(&f, "link", STORE_UPDATE, ERR_REFUSED, 0);
    fixture_tear_down(&other);
    fixture_tear_down(&f);
}

static void test_a_missing_destination_is_reported(void **state)
{
    struct fixture f;
    char name[300];
    fixture_set_up(&f, *state, false);
    fixture_refuses(&f, "absent", STORE_UPDATE, ERR_IO, ENOENT);
    fixture_refuses(&f, "no/such", STORE_CREATE, ERR_IO, ENOENT);
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    fixture_refuses(&f, name, STORE_CREATE, ERR_IO, ENAMETOOLONG);
    assert_int_equal(mkdir(fixture_path(&f, "dir"), 0700), 0);
    fixture_refuses(&f, "dir", STORE_CREATE, ERR_IO, EEXIST);
    fixture_refuses(&f, "dir", STORE_UPDATE, ERR_IO, EISDIR);
    assert_int_equal(mkfifo(fixture_path(&f, "fifo"), 0600), 0);
    fixture_refuses(&f, "fifo", STORE_UPDATE, ERR_REFUSED, 0);
    fixture_make(&f, "image", 10);
    fixture_refuses(&f, "image", STORE_MAKE_DIRECTORY, ERR_IO, ENOTDIR);
    fixture_refuses(&f, "image/x", STORE_CREATE, ERR_IO, ENOTDIR);
    assert_null(f.ops->open(f.place, "huge", STORE_CREATE, UINT64_MAX, &f.e));
    assert_true(f.e.sys == EFBIG || f.e.sys == EINVAL || f.e.sys == ENOSPC);
    err_clear(&f.e);
    assert_false(fixture_is_there(&f, "huge"));
    if (mknod(fixture_path(&f, "device"), S_IFBLK | 0600, makedev(7, 255)) == 0) /* root */
        fixture_refuses(&f, "device", STORE_UPDATE, ERR_REFUSED, 0);
    fixture_tear_down(&f);
}

static void test_a_full_disk_is_reported(void **state)
{
    const struct where *where = *state;
    char dir[] = "/tmp/godwit-mount-XXXXXX";
    struct fixture f;
    assert_non_null(mkdtemp(dir));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=1m") < 0) {
        print_message("skipped: cannot mount a small tmpfs: %s\n", strerror(errno));
        rmdir(dir);
        skip();
    }
    unsigned char *buf = aligned_alloc(65536, MIB);
    memset(buf, 1, MIB);
    fixture_set_up(&f, &(struct where){dir, where->backend}, false);
    assert_true(f.place->free_bytes <= MIB);
    struct store_file *file = fixture_open(&f, "image", STORE_CREATE, 4 * MIB);
    struct store_io io = {0};
    uint64_t at = 0; /* what still fits is a short write */
    while (at < 2 * MIB && (io = fixture_write(&f, file, buf, MIB, at, false)).res > 0)
        at += (uint64_t)io.res;
    assert_int_equal(io.res, -ENOSPC);
    assert_int_equal(io.fault, ERR_IO);
    f.ops->file_close(file);
    fixture_tear_down(&f);
    free(buf);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

static void test_no_such_place(void **state)
{
    (void)state;
    struct err e = {0};
    struct store_local_options options = {0};
    struct ring *ring = ring_new(RING_SYSCALLS, &e);
    assert_null(store_local_open(ring, "/no/such/directory", &options, &e));
    assert_int_equal(e.sys, ENOENT);
    err_clear(&e);
    assert_null(store_local_open(ring, "/dev/null", &options, &e));
    assert_int_equal(e.sys, ENOTDIR);
    ring_free(ring);
}

static void test_it_works_on_an_old_kernel(void **state)
{
    (void)state;
    assert_true(fixture_run_on_old_kernel());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_holes_and_data),
        EVERYWHERE(test_a_read_leaves_the_file_untouched),
        EVERYWHERE(test_what_is_there),
        EVERYWHERE(test_a_directory_is_listed),
        EVERYWHERE(test_what_is_written_is_read_back),
        EVERYWHERE(test_many_at_once),
        cmocka_unit_test_prestate(test_a_failed_sync_is_reported, &fixture_disk_calls),
        EVERYWHERE(test_long_names_work),
        EVERYWHERE(test_no_link_leads_out_of_the_place),
        EVERYWHERE(test_a_missing_destination_is_reported),
        EVERYWHERE(test_a_full_disk_is_reported),
        cmocka_unit_test(test_no_such_place),
    };
    const struct CMUnitTest again[] = {cmocka_unit_test(test_it_works_on_an_old_kernel)};
    if (argc > 1 && strcmp(argv[1], "--old-kernel") == 0)
        fixture_old_kernel();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (argc == 1)
        failed += cmocka_run_group_tests(again, NULL, NULL);
    return failed;
}
