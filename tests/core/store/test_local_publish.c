/* SPDX-License-Identifier: Apache-2.0 */
/* A name is given, replaced and removed for the file that is meant, and no other: on a disk file system and on tmpfs,
 * with both rings, and again as if the kernel were old. */
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

static void test_a_published_file_has_its_name_and_owner(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    struct store_file *dir = fixture_open(&f, "sub", STORE_MAKE_DIRECTORY, 0);
    struct store_file *file = fixture_open(&f, "sub/image.part", STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, NULL, &f.e), 0);
    assert_string_equal(file->name, "sub/image");
    f.ops->file_close(file);
    assert_false(fixture_is_there(&f, "sub/image.part"));
    struct store_attr attr = fixture_look(&f, "sub/image");
    assert_int_equal(attr.mode, fixture_someone.mode);
    assert_int_equal(attr.atime_ns, fixture_someone.atime_ns);
    assert_int_equal(attr.mtime_ns, fixture_someone.mtime_ns);
    if (geteuid() == 0) {
        assert_int_equal(attr.uid, fixture_someone.uid);
        assert_int_equal(attr.gid, fixture_someone.gid);
    }
    fixture_check_image(&f, "sub/image");

    /* The directory's own, at the end, when nothing changes in it any more; twice is no harm. */
    assert_int_equal(f.ops->publish(dir, NULL, &fixture_someone, NULL, &f.e), 0);
    f.ops->file_close(dir);
    dir = fixture_open(&f, "sub", STORE_MAKE_DIRECTORY, 0);
    f.ops->file_close(dir);
    attr = fixture_look(&f, "sub");
    assert_int_equal(attr.mode, fixture_someone.mode);
    assert_int_equal(attr.mtime_ns, fixture_someone.mtime_ns);
    fixture_tear_down(&f);
}

/* What has the final name already: kept without overwrite, and then the file keeps its old name. */
static void test_only_a_file_that_is_named_is_replaced(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", 10);
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, NULL, &f.e), -1);
    assert_int_equal(f.e.sys, EEXIST);
    err_clear(&f.e);
    assert_string_equal(file->name, "part");
    assert_int_equal(fixture_look(&f, "image").size_bytes, 10);
    assert_int_equal(fixture_look(&f, "part").size_bytes, FIXTURE_SIZE);
    struct store_attr old = fixture_look(&f, "image");
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, &old, &f.e), 0);
    f.ops->file_close(file);
    assert_false(fixture_is_there(&f, "part"));
    fixture_check_image(&f, "image");

    file = fixture_open(&f, "image", STORE_UPDATE, 0); /* attributes alone */
    struct store_attr attr = fixture_someone;
    attr.mode = 0400;
    assert_int_equal(f.ops->publish(file, NULL, &attr, NULL, &f.e), 0);
    f.ops->file_close(file);
    assert_int_equal(fixture_look(&f, "image").mode, 0400);
    fixture_tear_down(&f);
}

/* Who may not give the file away keeps it, and it does not become somebody's set-user-ID file. */
static void test_publish_not_root(void **state)
{
    struct fixture f;
    if (geteuid() != 0) {
        print_message("skipped: needs root, to give its rights up for a while\n");
        skip();
    }
    fixture_set_up(&f, *state, false);
    assert_int_equal(chmod(f.dir, 0777), 0);
    assert_int_equal(seteuid(65534), 0);
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, 10);
    struct store_attr attr = fixture_someone;
    attr.mode = 04711;
    int rc = f.ops->publish(file, "image", &attr, NULL, &f.e);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, 0);
    f.ops->file_close(file);
    assert_int_equal(fixture_look(&f, "image").uid, 65534);
    assert_int_equal(fixture_look(&f, "image").mode, 0711);
    fixture_tear_down(&f);
}

static void test_what_is_removed_is_gone(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", 10);
    assert_int_equal(mkdir(fixture_path(&f, "dir"), 0700), 0);
    fixture_make(&f, "dir/image", 10);
    assert_int_equal(fixture_remove(&f, "image"), 0);
    assert_int_equal(fixture_remove(&f, "image"), 0);
    assert_int_equal(fixture_remove(&f, "no/such/name"), 0);
    assert_int_equal(fixture_remove(&f, "dir"), -1);
    assert_int_equal(f.e.sys, ENOTEMPTY);
    err_clear(&f.e);
    assert_int_equal(fixture_remove(&f, "dir/image"), 0);
    assert_int_equal(fixture_remove(&f, "dir"), 0);
    assert_false(fixture_is_there(&f, "dir"));
    fixture_tear_down(&f);
}

static void rename_over(struct fixture *f, const char *from, const char *to)
{
    CLEANUP_FREE char *path = strdup(fixture_path(f, from));
    assert_int_equal(rename(path, fixture_path(f, to)), 0);
}

static void not_ours(struct fixture *f)
{
    assert_int_equal(f->e.sys, ESTALE);
    err_clear(&f->e);
}

/* A name that leads to another file by now, even one with the same inode number: left alone. */
static void test_remove_is_of_a_file(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", 10);
    struct store_attr is = fixture_look(&f, "image"), other = is;
    assert_int_not_equal(is.generation, 0); /* on what the tests run on */
    other.generation++;
    assert_int_equal(f.ops->remove(f.place, "image", &other, &f.e), -1);
    not_ours(&f);
    fixture_make(&f, "second", 10);
    rename_over(&f, "second", "image");
    assert_int_equal(f.ops->remove(f.place, "image", &is, &f.e), -1);
    not_ours(&f);
    assert_true(fixture_is_there(&f, "image"));
    assert_int_equal(symlink("image", fixture_path(&f, "link")), 0);
    is = fixture_look(&f, "image"); /* a link to it is not it */
    struct store_file *linked = fixture_open(&f, "link", STORE_READ, 0);
    assert_true(linked->by_link);
    f.ops->file_close(linked);
    assert_int_equal(f.ops->remove(f.place, "link", &is, &f.e), -1);
    not_ours(&f);
    assert_int_equal(f.ops->remove(f.place, "image", &is, &f.e), 0);
    fixture_tear_down(&f);
}

/* The file gets the name, not whatever has the file's old name by now. */
static void test_publish_is_of_a_file(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    assert_int_equal(unlink(fixture_path(&f, "part")), 0);
    fixture_make(&f, "part", 10);
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, NULL, &f.e), -1);
    not_ours(&f);
    assert_false(fixture_is_there(&f, "image"));
    fixture_make(&f, "image", 20);
    struct store_attr old = fixture_look(&f, "image");
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, &old, &f.e), -1);
    not_ours(&f);
    assert_int_equal(fixture_look(&f, "image").size_bytes, 20);
    assert_int_equal(fixture_look(&f, "part").size_bytes, 10);
    f.ops->file_close(file);
    fixture_tear_down(&f);
}

/* What is replaced is what was to be replaced, as it was then. */
static void test_publish_over_another(void **state)
{
    struct fixture f;
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", 10);
    struct store_attr old = fixture_look(&f, "image"), later = old;
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    later.mtime_ns--; /* it was written to since */
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, &later, &f.e), -1);
    not_ours(&f);
    fixture_make(&f, "other", 11);
    rename_over(&f, "other", "image");
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, &old, &f.e), -1);
    not_ours(&f);
    assert_int_equal(fixture_look(&f, "image").size_bytes, 11);
    assert_string_equal(file->name, "part");
    assert_int_equal(unlink(fixture_path(&f, "image")), 0); /* nothing to be replaced any more */
    assert_int_equal(f.ops->publish(file, "image", &fixture_someone, &old, &f.e), 0);
    f.ops->file_close(file);
    fixture_check_image(&f, "image");
    assert_false(fixture_is_there(&f, "part"));
    fixture_tear_down(&f);
}

/* A directory that takes names and gives none back: linked, and not to be unlinked. */
static void test_publish_keeps_old_name(void **state)
{
    struct fixture f;
    int flags = 0, append = 0;
    fixture_set_up(&f, *state, false);
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, FIXTURE_SIZE);
    fixture_write_image(&f, file);
    int dir = open(fixture_path(&f, "."), O_RDONLY | O_DIRECTORY);
    assert_true(dir >= 0);
    if (ioctl(dir, FS_IOC_GETFLAGS, &flags) == 0)
        append = flags | FS_APPEND_FL;
    if (append == 0 || ioctl(dir, FS_IOC_SETFLAGS, &append) < 0) {
        print_message("# no append-only directories here, or not root\n");
    } else {
        assert_int_equal(f.ops->publish(file, "image", &fixture_someone, NULL, &f.e), -1);
        assert_int_equal(ioctl(dir, FS_IOC_SETFLAGS, &flags), 0);
        assert_int_equal(f.e.class, ERR_LOST);
        assert_non_null(strstr(f.e.msg, "its old one, part, could not be taken from it"));
        assert_true(fixture_is_there(&f, "image") && fixture_is_there(&f, "part"));
        err_clear(&f.e);
    }
    close(dir);
    f.ops->file_close(file);
    fixture_tear_down(&f);
}

static void test_a_claim_is_had_by_one(void **state)
{
    struct fixture f;
    struct store_claim *claim, *second;
    fixture_set_up(&f, *state, false);
    struct store_file *file = fixture_open(&f, "part", STORE_CREATE, FIXTURE_SIZE);
    assert_int_equal(f.ops->claim(file, &claim, &f.e), 1);
    assert_non_null(claim);
    f.ops->file_close(file); /* it is kept all the same */
    file = fixture_open(&f, "part", STORE_UPDATE, 0);
    assert_true(file->claimed);
    assert_false(file->in_use);
    assert_int_equal(f.ops->claim(file, &second, &f.e), 0);
    f.ops->file_close(file);
    claim->release(claim);
    file = fixture_open(&f, "part", STORE_READ, 0);
    assert_false(file->claimed);
    f.ops->file_close(file);
    fixture_tear_down(&f);
}

static void test_it_works_on_an_old_kernel(void **state)
{
    (void)state;
    assert_true(fixture_run_on_old_kernel());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_a_published_file_has_its_name_and_owner),
        EVERYWHERE(test_only_a_file_that_is_named_is_replaced),
        EVERYWHERE(test_publish_not_root),
        EVERYWHERE(test_what_is_removed_is_gone),
        EVERYWHERE(test_remove_is_of_a_file),
        EVERYWHERE(test_publish_is_of_a_file),
        EVERYWHERE(test_publish_over_another),
        EVERYWHERE(test_publish_keeps_old_name),
        EVERYWHERE(test_a_claim_is_had_by_one),
    };
    const struct CMUnitTest again[] = {cmocka_unit_test(test_it_works_on_an_old_kernel)};
    if (argc > 1 && strcmp(argv[1], "--old-kernel") == 0)
        fixture_old_kernel();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (argc == 1)
        failed += cmocka_run_group_tests(again, NULL, NULL);
    return failed;
}
