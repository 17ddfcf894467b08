/* SPDX-License-Identifier: Apache-2.0 */
/* What the relocation engine refuses before it touches anything, and what directories become. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "relocate_rig.h"

static void run_refused(struct rig *r, const char *said)
{
    assert_int_equal(rig_run(r), -1);
    rig_assert_refused(r, said);
}

static void test_an_absent_source_is_refused(void **state)
{
    struct rig *r = *state;
    rig_source(r, "absent");
    run_refused(r, "absent");
}

static void test_a_source_that_is_no_file_is_refused(void **state)
{
    struct rig *r = *state;
    memory_find(&r->from, "image")->attr.type = STORE_OTHER;
    run_refused(r, "from:image");
}

static void test_a_directory_needs_recursive(void **state)
{
    struct rig *r = *state;
    memory_add_directory(&r->from, "dir");
    rig_source(r, "dir");
    run_refused(r, "directory");
}

static void test_two_images_of_one_name_are_refused(void **state)
{
    struct rig *r = *state;
    rig_add_dense(r, "sub/image", 5000);
    r->sources[1].as = "image";
    run_refused(r, "image");
}

/* The same name may come out of a directory, too. */
static void test_two_images_of_one_name_in_directories_are_refused(void **state)
{
    struct rig *r = *state;
    memory_add(&r->from, "a/image", 5000, NULL, 0);
    memory_add(&r->from, "b/image", 5000, NULL, 0);
    rig_source(r, "a");
    rig_source(r, "b");
    r->sources[0].as = r->sources[1].as = "all";
    r->options.recursive = true;
    run_refused(r, "the same name");
}

static void test_what_exists_needs_overwrite(void **state)
{
    struct rig *r = *state;
    memory_add(&r->to, "image", 10, NULL, 0);
    run_refused(r, "--overwrite");
    assert_int_equal(memory_find(&r->to, "image")->attr.size_bytes, 10);
    r->options.overwrite = true;
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
}

/* Until the copy is whole the old image stands there. */
static void test_the_old_image_stands_until_the_copy_is_whole(void **state)
{
    struct rig *r = *state;
    struct memory_image *old = memory_add(&r->to, "image", 10, NULL, 0);
    r->options.overwrite = true;
    r->to.faults = (struct memory_faults){.only = "-part", .fail_at = 30, .fail_errno = EIO};
    assert_int_equal(rig_run(r), -1);
    assert_ptr_equal(memory_find(&r->to, "image"), old);
    rig_assert_given_back(r);
    rig_again(r);
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
}

/* Moved onto itself it would be lost. */
static void test_an_image_is_not_moved_onto_itself(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct rig r;
        rig_set_up_image(&r);
        r.to_site = memory_site(&r.from);
        r.options.move = how == 1;
        r.options.overwrite = how == 2;
        assert_int_equal(rig_run(&r), -1);
        assert_int_equal(r.e.class, ERR_REFUSED);
        assert_non_null(strstr(r.e.msg, "is the source itself"));
        assert_non_null(memory_find(&r.from, "image"));
        rig_tear_down(&r);
    }
}

static void test_a_directory_in_the_way_is_refused(void **state)
{
    struct rig *r = *state;
    memory_add_directory(&r->to, "image");
    r->options.overwrite = true;
    run_refused(r, "to:image");
}

static void test_an_image_in_use_needs_force(void **state)
{
    struct rig *r = *state;
    memory_find(&r->from, "image")->in_use = true;
    run_refused(r, "--force");
    r->options.force = true;
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
}

/* Not even --force takes an image away from under a QEMU. */
static void test_an_image_in_use_is_not_moved(void **state)
{
    struct rig *r = *state;
    memory_find(&r->from, "image")->in_use = true;
    r->options.force = r->options.move = true;
    run_refused(r, "a running QEMU writes to it");
    assert_non_null(memory_find(&r->from, "image"));
}

static void test_too_little_room_is_refused(void **state)
{
    struct rig *r = *state;
    r->to.free_bytes = 500 * KIB;
    run_refused(r, "to:");
}

/* Holes need no room; nor does what was durable before. */
static void test_holes_need_no_room(void **state)
{
    struct rig *r = *state;
    r->to.free_bytes = 700 * KIB;
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
}

static void test_what_was_durable_needs_no_room_again(void **state)
{
    struct rig *r = *state;
    r->to.faults = (struct memory_faults){.only = "-part", .fail_at = 38, .fail_errno = ENOSPC};
    assert_int_equal(rig_run(r), -1);
    assert_true(rig_kept(r));
    rig_again(r);
    r->to.free_bytes = 500 * KIB; /* less than the whole, more than the rest */
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
}

/* All stand there already: nothing says that it was us. */
static void test_all_there_already_is_refused(void **state)
{
    struct rig *r = *state;
    rig_add_dense(r, "a", 5000);
    rig_add_dense(r, "b", 5000);
    rig_plant(r, "a");
    rig_plant(r, "b");
    run_refused(r, "exists");
}

static void test_what_stands_there_is_not_copied_again(void **state)
{
    struct rig *r = *state;
    rig_add_dense(r, "a", 5000);
    rig_add_dense(r, "b", 5000);
    rig_plant(r, "a");
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
    assert_true(rig_image(r, 0)->was_there);
    assert_false(rig_image(r, 1)->was_there);
    assert_int_equal(r->from.read_bytes, 5000);
}

/* A server that keeps times to the second has another one, and a continued run knows it. */
static void test_what_stands_there_is_known_by_coarse_times_too(void **state)
{
    (void)state;
    static const int64_t grains[] = {100, 1000, 1000000, INT64_C(1000000000), INT64_C(2000000000)};
    for (size_t i = 0; i < sizeof grains / sizeof *grains; i++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "a", 5000);
        rig_add_dense(&r, "b", 5000);
        struct memory_image *there = rig_plant(&r, "a");
        there->attr.mtime_ns -= there->attr.mtime_ns % grains[i];
        assert_int_equal(rig_run(&r), 0);
        assert_true(rig_image(&r, 0)->was_there);
        rig_tear_down(&r);
    }
}

/* But not another image of that name. */
static void test_another_image_of_that_name_is_refused(void **state)
{
    (void)state;
    for (int size = 0; size < 2; size++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "a", 5000);
        rig_add_dense(&r, "b", 5000);
        struct memory_image *there = rig_plant(&r, "a");
        if (size)
            there->attr.size_bytes--;
        else
            there->attr.mtime_ns++;
        run_refused(&r, "exists");
        rig_tear_down(&r);
    }
}

static void test_a_place_that_cannot_be_opened_is_refused(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig r;
        rig_set_up_image(&r);
        struct memory_server *s = side ? &r.to : &r.from;
        s->faults = (struct memory_faults){.fail_at = 1, .fail_errno = EACCES};
        assert_int_equal(rig_run(&r), -1);
        assert_null(r.r);
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* Whatever fails while it plans: nothing is touched. */
static void test_a_plan_that_fails_touches_nothing(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        bool refused = true;
        for (unsigned n = 1; refused; n++) {
            struct rig r;
            rig_set_up_image(&r);
            struct memory_server *s = side ? &r.to : &r.from;
            s->faults = (struct memory_faults){.fail_at = n, .fail_errno = EIO};
            r.r = relocate_plan(r.sources, 1, &r.to_site.site, &r.options, &r.e);
            refused = r.r == NULL;
            assert_int_equal(refused, s->failed > 0);
            if (refused)
                assert_non_null(strstr(r.e.msg, s->url));
            rig_assert_untouched(&r);
            rig_tear_down(&r);
        }
    }
}

/* ---- directories ---- */

static void set_up_tree(struct rig *r)
{
    static const struct store_extent extents[] = {{0, 5000}, {100 * KIB, 70 * KIB}};
    rig_set_up(r);
    memory_add(&r->from, "tree/a", 200 * KIB, extents, 2);
    memory_add(&r->from, "tree/sub/b", 300 * KIB, extents, 2);
    memory_add(&r->from, "tree/sub/deep/c", 0, NULL, 0);
    memory_add_directory(&r->from, "tree/empty")->attr.mode = 0711;
    memory_find(&r->from, "tree/sub")->attr.mode = 0500;
    memory_find(&r->from, "tree/sub")->attr.uid = 64055;
    rig_source(r, "tree");
    r->options.recursive = true;
}

static void assert_tree(struct rig *r)
{
    static const char *const names[] = {"tree",       "tree/a",        "tree/sub",
                                        "tree/sub/b", "tree/sub/deep", "tree/sub/deep/c",
                                        "tree/empty"};
    rig_assert_landed(r);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(rig_same(r, names[i]));
    assert_int_equal(r->to.n_images, 1 + sizeof names / sizeof *names);
    assert_int_equal(relocate_totals(r->r)->images, 3);
}

static void test_a_tree_lands_with_its_modes_and_owners(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_run(r), 0);
    assert_tree(r);
}

/* Under another name, beside a file. */
static void test_a_tree_lands_under_another_name(void **state)
{
    struct rig *r = *state;
    r->to.publishing = NULL; /* which expects equal names */
    r->sources[0].as = "other";
    assert_int_equal(rig_run(r), 0);
    const struct memory_image *b = memory_find(&r->to, "other/sub/b");
    assert_non_null(b);
    assert_memory_equal(b->durable, memory_find(&r->from, "tree/sub/b")->cached, 300 * KIB);
    assert_int_equal(memory_find(&r->to, "other/sub")->attr.mode, 0500);
    assert_null(memory_find(&r->to, "tree"));
}

static void test_leftovers_in_a_tree_are_not_copied(void **state)
{
    struct rig *r = *state;
    memory_add(&r->from, "tree/sub/.b.godwit-part", 5000, NULL, 0);
    memory_add(&r->from, "tree/sub/.b.godwit-journal", 5000, NULL, 0);
    assert_int_equal(rig_run(r), 0);
    memory_find(&r->from, "tree/sub")->attr.mtime_ns =
        memory_find(&r->to, "tree/sub")->attr.mtime_ns;
    assert_tree(r);
}

/* What is neither a file nor a directory: said before anything is touched, or left out; not lost
 * without a word. */
static void test_a_socket_in_a_tree_is_not_copied(void **state)
{
    struct rig *r = *state;
    memory_add(&r->from, "tree/socket", 0, NULL, 0)->attr.type = STORE_OTHER;
    if (rig_run(r) < 0)
        rig_assert_refused(r, "socket");
    assert_null(memory_find(&r->to, "tree/socket"));
}

static void test_a_tree_of_directories_alone_lands(void **state)
{
    struct rig *r = *state;
    memory_add_directory(&r->from, "tree/x/y");
    rig_source(r, "tree");
    r->options.recursive = true;
    assert_int_equal(rig_run(r), 0);
    assert_true(rig_same(r, "tree"));
    assert_true(rig_same(r, "tree/x"));
    assert_true(rig_same(r, "tree/x/y"));
    rig_assert_given_back(r);
}

/* An image with a directory in its name: the directory is there, or it is made. */
static void test_a_directory_in_a_name_is_made_where_it_is_missing(void **state)
{
    (void)state;
    for (int there = 0; there < 2; there++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "sub/image", 3 * RIG_CHUNK_BYTES);
        if (there)
            memory_add_directory(&r.to, "sub");
        int rc = rig_run(&r);
        if (there || rc == 0) {
            assert_int_equal(rc, 0);
            rig_assert_landed(&r);
        } else {
            assert_null(memory_find(&r.to, "sub/image"));
            rig_assert_given_back(&r);
        }
        rig_tear_down(&r);
    }
}

/* Killed at each call, then whole: also when directories are there already. */
static void test_a_tree_that_was_killed_is_continued(void **state)
{
    (void)state;
    bool dead = true;
    for (unsigned n = 1; dead; n++) {
        struct rig r;
        set_up_tree(&r);
        r.world.die_at = n;
        r.world.death = (enum memory_death)(n % 3);
        int rc = rig_run(&r);
        dead = r.world.dead;
        assert_true(dead || rc == 0);
        rig_again(&r);
        memory_crash(&r.to, n % 2);
        rig_again(&r);
        if (dead && rig_run(&r) < 0) {
            assert_int_equal(r.e.class, ERR_REFUSED); /* all of it was there */
            assert_non_null(strstr(r.e.msg, "exists"));
        }
        assert_false(rig_left(&r));
        assert_true(rig_same(&r, "tree/a"));
        assert_true(rig_same(&r, "tree/sub/b"));
        assert_true(rig_same(&r, "tree/sub/deep/c"));
        assert_true(rig_same(&r, "tree")); /* and who made a directory is not forgotten */
        assert_true(rig_same(&r, "tree/sub"));
        assert_true(rig_same(&r, "tree/sub/deep"));
        assert_true(rig_same(&r, "tree/empty"));
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* Directories that stood there keep what they have, also where nothing but directories goes to them,
 * and also when the run is ended and continued. */
static void test_a_tree_lands_over_one_that_stands_there(void **state)
{
    (void)state;
    for (unsigned die_at = 0; die_at < 120; die_at += die_at < 40 ? 1 : 7) {
        struct rig r;
        set_up_tree(&r);
        memory_add_directory(&r.from, "tree/only/below");
        memory_add_directory(&r.to, "tree/sub")->attr.mode = 0701;
        memory_find(&r.to, "tree/sub")->attr.uid = 7;
        memory_add_directory(&r.to, "tree/only")->attr.mode = 0702;
        memory_find(&r.to, "tree")->attr.mode = 0703;
        r.world.die_at = die_at;
        if (rig_run(&r) < 0) {
            rig_again(&r);
            if (rig_run(&r) < 0)
                assert_non_null(strstr(r.e.msg, "exists"));
        }
        assert_false(rig_left(&r));
        assert_int_equal(memory_find(&r.to, "tree")->attr.mode, 0703);
        assert_int_equal(memory_find(&r.to, "tree/sub")->attr.mode, 0701);
        assert_int_equal(memory_find(&r.to, "tree/sub")->attr.uid, 7);
        assert_int_equal(memory_find(&r.to, "tree/only")->attr.mode, 0702);
        assert_true(rig_same(&r, "tree/only/below"));
        assert_true(rig_same(&r, "tree/sub/deep"));
        assert_true(rig_same(&r, "tree/empty"));
        rig_tear_down(&r);
    }
}

/* A run that failed leaves no directory that only root can use. */
static void test_a_failed_tree_leaves_no_directory_that_only_root_can_use(void **state)
{
    (void)state;
    struct rig r;
    set_up_tree(&r);
    memory_find(&r.from, "tree/sub")->attr.mode = 0555;
    r.to.faults = (struct memory_faults){.only = "b.godwit-part", .fail_at = 4, .fail_errno = EIO};
    assert_int_equal(rig_run(&r), -1);
    assert_int_equal(memory_find(&r.to, "tree")->attr.mode, 0755);
    assert_int_equal(memory_find(&r.to, "tree/sub")->attr.mode, 0755);
    assert_int_equal(memory_find(&r.to, "tree/empty")->attr.mode, 0711);
    rig_again(&r);
    assert_int_equal(rig_run(&r), 0);
    assert_tree(&r);
    rig_tear_down(&r);
}

/* ---- what images are based on ---- */

static void put_be(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

/* A qcow2 image of one cluster for the tables, which names its base. */
static struct memory_image *add_overlay(struct rig *r, const char *name, const char *backing)
{
    enum { IMAGE_BYTES = 3 * 65536 };
    struct memory_image *image = rig_add_dense(r, name, IMAGE_BYTES);
    uint8_t *head = image->durable;
    memset(head, 0, 1024);
    memcpy(head, "QFI\xfb", 4);
    put_be(head + 4, 2, 4);
    put_be(head + 8, 512, 8);
    put_be(head + 16, strlen(backing), 4);
    put_be(head + 20, 16, 4);
    put_be(head + 24, 1 << 20, 8);
    put_be(head + 36, 1, 4);
    put_be(head + 40, 65536, 8);
    put_be(head + 48, 2 * 65536, 8);
    put_be(head + 56, 1, 4);
    memcpy(head + 512, backing, strlen(backing));
    memcpy(image->cached, head, 1024);
    return image;
}

/*
 * A name that no place can have is refused once, whether it is to be followed or not, and by a hint
 * that holds: --format=qcow2 would be refused again.
 */
static void test_a_backing_name_that_breaks_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *backing, *said;
    } cases[] = {
        {"/images/base.qcow2", "is absolute"},
        {"//images/base.qcow2", "is absolute"},
        {"../base.qcow2", "leads out of the place"},
        {"x/../../base.qcow2", "leads out of the place"},
        {"json:{\"driver\":\"nbd\"}", "is a description"},
        {"nbd://h/x", "names a protocol"},
        {"nbd:h:10809", "names a protocol"},
        {"file:base.qcow2", "names a protocol"},
        {"file:///images/base.qcow2", "names a protocol"},
        {"sub/", "is no file's"},
        {"..", "is no file's"},
        {"image", "is its own"},
    };
    static const enum image_format_ask asks[] = {IMAGE_FORMAT_ASK_PROBE, IMAGE_FORMAT_ASK_QCOW2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < sizeof asks / sizeof *asks; k++) {
            struct rig r;
            rig_set_up(&r);
            add_overlay(&r, "image", cases[i].backing);
            r.options.format = asks[k];
            run_refused(&r, cases[i].said);
            assert_null(strstr(r.e.hint, "--format=qcow2"));
            assert_non_null(strstr(r.e.hint, "--format=raw"));
            rig_tear_down(&r);
        }
    }
}

/* One that a place can have is found there, whatever it is called at the destination. */
static void test_a_backing_file_is_found_under_its_name_there(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    add_overlay(&r, "vm/image", "../base");
    memory_add(&r.from, "base", 5000, NULL, 0);
    r.sources[0].as = "image"; /* and there is nothing above that */
    r.options.format = IMAGE_FORMAT_ASK_QCOW2;
    run_refused(&r, "leads out of the place");
    rig_tear_down(&r);

    rig_set_up(&r);
    add_overlay(&r, "image", "base");
    r.options.format = IMAGE_FORMAT_ASK_PROBE;
    run_refused(&r, "--format=qcow2 moves the whole chain");
    memory_add(&r.from, "base", 5000, NULL, 0);
    rig_again(&r);
    r.options.format = IMAGE_FORMAT_ASK_QCOW2;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* ---- what a test begins with; it is taken down also when the test fails ---- */

static struct rig one;

static int begin_empty(void **state)
{
    rig_set_up(&one);
    *state = &one;
    return 0;
}

static int begin_image(void **state)
{
    rig_set_up_image(&one);
    *state = &one;
    return 0;
}

static int begin_tree(void **state)
{
    set_up_tree(&one);
    *state = &one;
    return 0;
}

static int end(void **state)
{
    rig_tear_down(*state);
    return 0;
}

#define EMPTY(test) cmocka_unit_test_setup_teardown(test, begin_empty, end)
#define IMAGE(test) cmocka_unit_test_setup_teardown(test, begin_image, end)
#define TREE(test) cmocka_unit_test_setup_teardown(test, begin_tree, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(test_an_absent_source_is_refused),
        IMAGE(test_a_source_that_is_no_file_is_refused),
        EMPTY(test_a_directory_needs_recursive),
        IMAGE(test_two_images_of_one_name_are_refused),
        EMPTY(test_two_images_of_one_name_in_directories_are_refused),
        IMAGE(test_what_exists_needs_overwrite),
        IMAGE(test_the_old_image_stands_until_the_copy_is_whole),
        cmocka_unit_test(test_an_image_is_not_moved_onto_itself),
        IMAGE(test_a_directory_in_the_way_is_refused),
        IMAGE(test_an_image_in_use_needs_force),
        IMAGE(test_an_image_in_use_is_not_moved),
        IMAGE(test_too_little_room_is_refused),
        IMAGE(test_holes_need_no_room),
        IMAGE(test_what_was_durable_needs_no_room_again),
        EMPTY(test_all_there_already_is_refused),
        EMPTY(test_what_stands_there_is_not_copied_again),
        cmocka_unit_test(test_what_stands_there_is_known_by_coarse_times_too),
        cmocka_unit_test(test_another_image_of_that_name_is_refused),
        cmocka_unit_test(test_a_place_that_cannot_be_opened_is_refused),
        cmocka_unit_test(test_a_plan_that_fails_touches_nothing),
        TREE(test_a_tree_lands_with_its_modes_and_owners),
        TREE(test_a_tree_lands_under_another_name),
        TREE(test_leftovers_in_a_tree_are_not_copied),
        TREE(test_a_socket_in_a_tree_is_not_copied),
        EMPTY(test_a_tree_of_directories_alone_lands),
        cmocka_unit_test(test_a_directory_in_a_name_is_made_where_it_is_missing),
        cmocka_unit_test(test_a_tree_that_was_killed_is_continued),
        cmocka_unit_test(test_a_tree_lands_over_one_that_stands_there),
        cmocka_unit_test(test_a_failed_tree_leaves_no_directory_that_only_root_can_use),
        cmocka_unit_test(test_a_backing_name_that_breaks_is_refused),
        cmocka_unit_test(test_a_backing_file_is_found_under_its_name_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
