/* SPDX-License-Identifier: Apache-2.0 */
/* Names on a share: finding, listing, making, publishing and removing what they stand for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "share_fixture.h"

static int collect(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    char *seen = arg;
    (void)e;
    sprintf(seen + strlen(seen), "%s%s ", name,
            attr->type == STORE_DIRECTORY ? "/"
            : attr->type == STORE_OTHER   ? "@"
                                          : "");
    return 0;
}

static int refuse(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    (void)arg, (void)attr;
    return err_set(e, ERR_REFUSED, 0, "%s is enough", name);
}

static void list_with(const struct fake_faults *faults, void **state)
{
    struct fixture f;
    char seen[4000] = "", expected[4000] = "sub/ link@ ";
    share_fixture_set_up(&f, faults, state);
    fake_server_add_directory(f.server, "dir");
    fake_server_add_directory(f.server, "dir/sub");
    fake_server_add_link(f.server, "dir/link", "sub");
    for (int i = 0; i < 50; i++) {
        char path[20];
        snprintf(path, sizeof path, "dir/file%02d", i);
        fake_server_add_file(f.server, path, "x", 1);
        sprintf(expected + strlen(expected), "%s ", path + 4);
    }
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    const struct store_ops *ops = f.place->ops;
    assert_int_equal(ops->list(f.place, "dir", collect, seen, &f.e), 0);
    assert_string_equal(seen, expected);
    seen[0] = '\0';
    assert_int_equal(ops->list(f.place, "", collect, seen, &f.e), 0);
    assert_string_equal(seen, "dir/ ");
    seen[0] = '\0';
    assert_int_equal(ops->list(f.place, "dir/sub", collect, seen, &f.e), 0);
    assert_string_equal(seen, "");
    assert_int_equal(ops->list(f.place, "dir", refuse, NULL, &f.e), -1);
    assert_string_equal(f.e.msg, "sub is enough");
    err_clear(&f.e);
    assert_int_equal(ops->list(f.place, "absent", collect, seen, &f.e), -1);
    assert_int_equal(f.e.sys, ENOENT);
    err_clear(&f.e);
    assert_int_equal(ops->list(f.place, "dir/file00", collect, seen, &f.e), -1);
    assert_int_equal(f.e.sys, ENOTDIR);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_a_directory_is_listed(void **state)
{
    list_with(&(struct fake_faults){.page_entries = 60}, state);
    list_with(&(struct fake_faults){.page_entries = 3}, state);
    list_with(&(struct fake_faults){.bare = true}, state);
    list_with(&(struct fake_faults){.no_plus = true}, state);
    for (unsigned at = 8; at < 30; at += 3) {
        list_with(&(struct fake_faults){.close_at = at}, state);
        list_with(&(struct fake_faults){.stale_at = at, .page_entries = 5}, state);
    }
}

static void test_links_are_followed_within_the_export(void **state)
{
    static const struct {
        const char *path;
        int found; /* else the class of the error */
        uint64_t size;
    } cases[] = {
        {"link", 1, 3},
        {"chain", 1, 3},
        {"dir/up", 1, 3},
        {"dlink/up", 1, 3},
        {"dlink/in", 1, 5},
        {"dir/sub/up2", 1, 3},
        {"broken", 0, 0},
        {"out", ERR_REFUSED, 0},
        {"dir/out", ERR_REFUSED, 0},
        {"absolute", ERR_REFUSED, 0},
        {"loop", ERR_NFS, 0},
        {"link/in", ERR_NFS, 0},
    };
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){0}, state);
    fake_server_add_directory(f.server, "dir");
    fake_server_add_directory(f.server, "dir/sub");
    fake_server_add_file(f.server, "file", "abc", 3);
    fake_server_add_file(f.server, "dir/in", "abcde", 5);
    fake_server_add_link(f.server, "link", "file");
    fake_server_add_link(f.server, "chain", "./link");
    fake_server_add_link(f.server, "dlink", "dir");
    fake_server_add_link(f.server, "dir/up", "../file");
    fake_server_add_link(f.server, "dir/sub/up2", "../../dlink/up");
    fake_server_add_link(f.server, "broken", "absent");
    fake_server_add_link(f.server, "out", "../file");
    fake_server_add_link(f.server, "dir/out", "../../file");
    fake_server_add_link(f.server, "absolute", "/export/file");
    fake_server_add_link(f.server, "loop", "loop");
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_attr attr;
        err_clear(&f.e);
        int found = f.place->ops->lookup(f.place, cases[i].path, &attr, &f.e);
        assert_int_equal(found < 0 ? (int)f.e.class : found, cases[i].found);
        if (found > 0)
            assert_int_equal(attr.size_bytes, cases[i].size);
        struct store_file *file =
            f.place->ops->open(f.place, cases[i].path, STORE_READ, 0, (err_clear(&f.e), &f.e));
        assert_true((file != NULL) == (found == 1));
        if (file != NULL)
            f.place->ops->file_close(file);
    }
    err_clear(&f.e);
    assert_null(f.place->ops->open(f.place, "link", STORE_UPDATE, 0, &f.e));
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_open_and_remove(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){0}, state);
    fake_server_add_directory(f.server, "dir");
    fake_server_add_file(f.server, "dir/file", "abc", 3);
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    const struct store_ops *ops = f.place->ops;
    static const struct {
        const char *name;
        enum store_how how;
        int sys; /* of the error; 0: it opens */
    } cases[] = {
        {"dir/file", STORE_READ, 0},          {"dir/file", STORE_UPDATE, 0},
        {"dir/file", STORE_CREATE, EEXIST},   {"dir/file", STORE_MAKE_DIRECTORY, EEXIST},
        {"dir", STORE_READ, EISDIR},          {"dir", STORE_MAKE_DIRECTORY, 0},
        {"absent", STORE_READ, ENOENT},       {"absent", STORE_UPDATE, ENOENT},
        {"absent/new", STORE_CREATE, ENOENT}, {"dir/file/new", STORE_CREATE, ENOTDIR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err_clear(&f.e);
        struct store_file *file = ops->open(f.place, cases[i].name, cases[i].how, 7, &f.e);
        assert_int_equal(f.e.sys, cases[i].sys);
        assert_int_equal(file == NULL, cases[i].sys != 0);
        if (file != NULL)
            ops->file_close(file);
    }
    err_clear(&f.e);
    assert_int_equal(share_fixture_remove(&f, "dir"), -1);
    assert_int_equal(f.e.sys, ENOTEMPTY);
    err_clear(&f.e);
    static const char *const gone[] = {"absent", "absent/deep", "dir/file", "dir/file", "dir"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_int_equal(share_fixture_remove(&f, gone[i]), 0);
    share_fixture_end(&f);
    assert_int_equal(fake_server_files(f.server), 0);
    share_fixture_tear_down(&f);
}

static void test_a_published_file_has_its_name(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){0}, state);
    fake_server_add_file(f.server, "image", "old", 3);
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    const struct store_ops *ops = f.place->ops;
    struct store_file *file = ops->open(f.place, "part", STORE_CREATE, 9, &f.e);
    assert_int_equal(ops->publish(file, NULL, &share_fixture_attr, NULL, &f.e), 0);
    assert_string_equal(file->name, "part");
    assert_int_equal(ops->publish(file, "image", &share_fixture_attr, NULL, &f.e), -1);
    assert_int_equal(f.e.sys, EEXIST);
    assert_string_equal(file->name, "part");
    err_clear(&f.e);
    struct store_attr old;
    assert_int_equal(ops->lookup(f.place, "image", &old, &f.e), 1);
    assert_int_equal(ops->publish(file, "image", &share_fixture_attr, &old, &f.e), 0);
    assert_string_equal(file->name, "image");
    ops->file_close(file);
    file = ops->open(f.place, "dir", STORE_MAKE_DIRECTORY, 0, &f.e);
    assert_int_equal(ops->publish(file, NULL, &share_fixture_attr, NULL, &f.e), 0);
    ops->file_close(file);
    share_fixture_end(&f);
    assert_int_equal(fake_server_file(f.server, "image")->size, 9);
    assert_int_equal(fake_server_file(f.server, "image")->mode, 0640);
    assert_int_equal(fake_server_file(f.server, "dir")->mode, 0640);
    assert_int_equal(fake_server_files(f.server), 2);
    share_fixture_tear_down(&f);
}

/* A server that makes it, and then does not give it its size: what was made is taken back. */
static void test_what_cannot_be_made_whole_is_taken_back(void **state)
{
    struct fixture f;
    share_fixture_start(
        &f,
        &(struct fake_faults){.ignore_size = true, .status_at = 1, .status = 28, .status_proc = 2},
        state);
    assert_null(f.place->ops->open(f.place, "part", STORE_CREATE, 9, &f.e));
    assert_int_equal(f.e.sys, ENOSPC);
    unsigned calls = fake_server_calls(f.server);
    share_fixture_end(&f);
    assert_int_equal(fake_server_files(f.server), 0);
    assert_int_equal(calls,
                     6 + 4); /* CREATE, SETATTR; LOOKUP, since a name is no identity; REMOVE */
    share_fixture_tear_down(&f);
}

static void not_ours(struct fixture *f)
{
    assert_int_equal(f->e.sys, ESTALE);
    err_clear(&f->e);
}

/* The name refers to another file by now: with LINK it is the file that gets the name; a server that
 * has none, or something to be replaced, takes names, which are looked at right before. */
static void test_publish_is_of_a_file(void **state)
{
    for (int no_link = 0; no_link < 2; no_link++) {
        struct fixture f;
        share_fixture_set_up(&f, &(struct fake_faults){.no_link = no_link}, state);
        fake_server_add_file(f.server, "old", "old", 3);
        assert_int_equal(share_fixture_open(&f, "/export"), 0);
        const struct store_ops *ops = f.place->ops;
        struct store_file *file = ops->open(f.place, "part", STORE_CREATE, 9, &f.e);
        assert_int_equal(share_fixture_remove(&f, "part"), 0);
        struct store_file *other = ops->open(f.place, "part", STORE_CREATE, 8, &f.e);
        struct store_attr old;
        assert_int_equal(ops->lookup(f.place, "old", &old, &f.e), 1);
        assert_int_equal(ops->publish(file, "image", NULL, NULL, &f.e), -1);
        err_clear(&f.e);
        assert_int_equal(ops->publish(file, "old", NULL, &old, &f.e), -1);
        err_clear(&f.e);
        assert_int_equal(ops->remove(f.place, "part", &file->attr, &f.e), -1);
        not_ours(&f);
        old.mtime_ns++; /* what is to be replaced was written to since */
        assert_int_equal(ops->publish(other, "old", NULL, &old, &f.e), -1);
        not_ours(&f);
        assert_int_equal(ops->publish(other, "image", NULL, NULL, &f.e), 0);
        ops->file_close(file);
        ops->file_close(other);
        share_fixture_end(&f);
        assert_int_equal(fake_server_file(f.server, "image")->size, 8);
        assert_int_equal(fake_server_file(f.server, "old")->size, 3);
        assert_null(fake_server_file(f.server, "part"));
        assert_int_equal(fake_server_files(f.server), 2);
        share_fixture_tear_down(&f);
    }
}

/* NFSv3 counts seconds from 1970 in 32 bits: what it cannot hold becomes the nearest, not another. */
/* Whether a directory is of our making is known, also when the answer to MKDIR got lost. */
static void test_made_is_known(void **state)
{
    unsigned calls = 1;
    for (unsigned at = 0; at <= calls; at++) {
        struct fixture f;
        share_fixture_set_up(&f, &(struct fake_faults){.drop_at = at}, state);
        fake_server_add_directory(f.server, "old");
        if (share_fixture_open(&f, "/export") < 0) { /* opening is not tried again */
            err_clear(&f.e);
            assert_int_equal(share_fixture_open(&f, "/export"), 0);
        }
        static const char *const names[] = {"new", "old"};
        for (int i = 0; i < 2; i++) {
            struct store_file *dir =
                f.place->ops->open(f.place, names[i], STORE_MAKE_DIRECTORY, 0, &f.e);
            assert_non_null(dir);
            assert_int_equal(dir->made, i == 0);
            f.place->ops->file_close(dir);
        }
        share_fixture_end(&f);
        calls = at == 0 ? fake_server_calls(f.server) : calls;
        share_fixture_tear_down(&f);
    }
}

/* LINK has given it the new name, and the server does not take the old one: the new one is taken back,
 * or it is reported that there are two. */
static void test_publish_keeps_old_name(void **state)
{
    for (unsigned times = 0; times < 2; times++) {
        struct fixture f;
        share_fixture_start(
            &f,
            &(struct fake_faults){
                .status_at = 1, .status = 13, .status_proc = 12, .status_times = times},
            state);
        struct store_file *file = f.place->ops->open(f.place, "part", STORE_CREATE, 9, &f.e);
        assert_int_equal(f.place->ops->publish(file, "image", &share_fixture_attr, NULL, &f.e), -1);
        assert_int_equal(f.e.class, times == 0 ? ERR_LOST : ERR_NFS);
        assert_non_null(strstr(f.e.msg, times == 0 ? "it has this name now, but its old one, part,"
                                                   : "its old name, part, could not be taken"));
        assert_non_null(strstr(f.e.hint, "_squash"));
        f.place->ops->file_close(file);
        share_fixture_end(&f);
        assert_int_equal(fake_server_file(f.server, "image") != NULL, times == 0);
        assert_non_null(fake_server_file(f.server, "part"));
        share_fixture_tear_down(&f);
    }
}

/* What is not to be removed is said why. */
static void test_a_denied_removal_says_why(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.status_at = 1, .status = 30, .status_proc = 12},
                        state);
    f.place->ops->file_close(f.place->ops->open(f.place, "file", STORE_CREATE, 9, &f.e));
    assert_int_equal(share_fixture_remove(&f, "file"), -1);
    assert_non_null(strstr(f.e.msg, "cannot remove it"));
    assert_non_null(strstr(f.e.hint, "read-only"));
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_times_are_kept_in_32_bits(void **state)
{
    static const struct {
        int64_t s;
        uint32_t kept;
    } cases[] = {{-1, 0},
                 {-INT64_C(8000000000), 0},
                 {5, 5},
                 {UINT32_MAX, UINT32_MAX},
                 {INT64_C(1) << 32, UINT32_MAX},
                 {INT64_C(9000000000), UINT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        share_fixture_set_up(&f, &(struct fake_faults){0}, state);
        assert_int_equal(share_fixture_open(&f, "/export"), 0);
        struct store_file *file = f.place->ops->open(f.place, "part", STORE_CREATE, 9, &f.e);
        struct store_attr attr = share_fixture_attr;
        attr.mtime_ns = cases[i].s * INT64_C(1000000000);
        assert_int_equal(f.place->ops->publish(file, "image", &attr, NULL, &f.e), 0);
        f.place->ops->file_close(file);
        share_fixture_end(&f);
        assert_int_equal(fake_server_file(f.server, "image")->mtime_s, cases[i].kept);
        share_fixture_tear_down(&f);
    }
}

static void test_where_it_cannot_be_opened(void **state)
{
    static const char *const paths[] = {"/", "/other", "/export/absent", "/export/absent/deep",
                                        "/export/file"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct fixture f;
        share_fixture_set_up(&f, &(struct fake_faults){0}, state);
        fake_server_add_file(f.server, "file", "abc", 3);
        assert_int_equal(share_fixture_open(&f, paths[i]), -1);
        assert_int_equal(f.e.class, ERR_REFUSED);
        assert_true(f.e.hint != NULL || i == 4);
        share_fixture_end(&f);
        share_fixture_tear_down(&f);
    }
}

static void test_directory_below_the_export(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){0}, state);
    fake_server_add_directory(f.server, "a");
    fake_server_add_directory(f.server, "a/b");
    fake_server_add_file(f.server, "a/b/file", "abc", 3);
    assert_int_equal(share_fixture_open(&f, "/export/a/b/"), 0);
    struct store_attr attr;
    assert_int_equal(f.place->ops->lookup(f.place, "file", &attr, &f.e), 1);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

int main(void)
{
    static struct variant variant = {SHARE_PATH_AUTO, RING_AUTO};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_a_directory_is_listed, &variant),
        cmocka_unit_test_prestate(test_links_are_followed_within_the_export, &variant),
        cmocka_unit_test_prestate(test_open_and_remove, &variant),
        cmocka_unit_test_prestate(test_a_published_file_has_its_name, &variant),
        cmocka_unit_test_prestate(test_what_cannot_be_made_whole_is_taken_back, &variant),
        cmocka_unit_test_prestate(test_publish_is_of_a_file, &variant),
        cmocka_unit_test_prestate(test_made_is_known, &variant),
        cmocka_unit_test_prestate(test_publish_keeps_old_name, &variant),
        cmocka_unit_test_prestate(test_a_denied_removal_says_why, &variant),
        cmocka_unit_test_prestate(test_times_are_kept_in_32_bits, &variant),
        cmocka_unit_test_prestate(test_where_it_cannot_be_opened, &variant),
        cmocka_unit_test_prestate(test_directory_below_the_export, &variant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
