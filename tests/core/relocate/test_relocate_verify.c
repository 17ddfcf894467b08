/* SPDX-License-Identifier: Apache-2.0 */
/* The relocation engine reads back what stands there, and removes sources only after that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relocate_rig.h"

static void test_a_true_copy_is_verified(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.verify = true;
        r.options.workers_max = workers;
        r.options.whole_sums = workers % 2;
        r.from.faults.shuffle = r.to.faults.shuffle = true;
        r.to.faults.short_every = 3;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_true(rig_image(&r, 0)->verified);
        assert_int_equal(r.to.read_bytes, 592 * KIB);
        /* What is read back is read before it has its name. */
        assert_true(memory_last(&r.to, MEMORY_READ, RIG_PART) <
                    memory_first(&r.to, MEMORY_PUBLISH, "image"));
        rig_tear_down(&r);
    }
}

static void test_without_verify_nothing_is_read_back(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    assert_int_equal(rig_run(&r), 0);
    assert_false(rig_image(&r, 0)->verified);
    assert_int_equal(r.to.read_bytes, 0);
    rig_tear_down(&r);
}

/* Each write in turn is damaged without a word. The next run finds a way. */
static void test_verify_finds_each_bit(void **state)
{
    (void)state;
    bool corrupted = true;
    for (unsigned n = 1; corrupted; n++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.verify = true;
        r.to.faults.only = "-part";
        r.to.faults.corrupt_at = n;
        int rc = rig_run(&r);
        corrupted = r.to.corrupted > 0;
        if (corrupted) {
            assert_int_equal(rc, -1);
            assert_non_null(strstr(r.e.msg, "differs"));
            rig_assert_undone(&r);
            rig_again(&r);
            rc = rig_run(&r);
        }
        assert_int_equal(rc, 0);
        rig_assert_landed(&r);
        rig_tear_down(&r);
    }
}

/* ---- verify only ---- */

static void set_up_planted(struct rig *r)
{
    rig_set_up_image(r);
    rig_plant(r, "image");
    r->options.verify_only = true;
}

struct told {
    unsigned n;
    struct store_attr attr;
};

static int tell(void *arg, const char *as, const struct store_attr *attr, struct err *e)
{
    struct told *t = arg;
    (void)e;
    assert_string_equal(as, "image");
    t->n++;
    t->attr = *attr;
    return 0;
}

static void test_what_was_compared_is_told(void **state)
{
    (void)state;
    struct rig r;
    struct told told = {0};
    set_up_planted(&r);
    r.options.compared = tell;
    r.options.published_arg = &told;
    assert_int_equal(rig_run(&r), 0);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.attr.inode, memory_find(&r.to, "image")->attr.inode);
    assert_int_equal(told.attr.generation, memory_find(&r.to, "image")->attr.generation);
    rig_tear_down(&r);
}

static void test_what_differs_is_not_told(void **state)
{
    (void)state;
    struct rig r;
    struct told told = {0};
    set_up_planted(&r);
    memory_find(&r.to, "image")->cached[5000] ^= 0x80;
    r.options.compared = tell;
    r.options.published_arg = &told;
    assert_int_equal(rig_run(&r), -1);
    assert_int_equal(told.n, 0);
    rig_tear_down(&r);
}

static void test_verify_alone_copies_nothing(void **state)
{
    (void)state;
    for (int sums = 0; sums < 2; sums++) {
        struct rig r;
        set_up_planted(&r);
        r.options.whole_sums = sums;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_true(rig_image(&r, 0)->verified);
        assert_false(rig_image(&r, 0)->was_there);
        rig_assert_untouched(&r);
        rig_tear_down(&r);
    }
}

/* Zeros that are written down at one end, and a hole at the other, are the same. */
static void test_verify_only_other_holes(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig r;
        set_up_planted(&r);
        memory_find(side ? &r.to : &r.from, "image")->holes_unknown = true;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        rig_assert_untouched(&r);
        rig_tear_down(&r);
    }
}

static void differs(struct rig *r)
{
    assert_int_equal(rig_run(r), -1);
    assert_non_null(strstr(r->e.msg, "image"));
    if (r->r != NULL)
        assert_false(rig_image(r, 0)->verified);
    rig_assert_untouched(r);
    rig_tear_down(r);
}

static void test_verify_only_differs(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {5000, 5099, 70 * KIB, 300 * KIB, 799 * KIB, 910 * KIB - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct rig r;
        set_up_planted(&r);
        memory_find(&r.to, "image")->cached[offsets[i]] ^= 0x80;
        differs(&r);
    }
}

/* Something in the place of the source's hole. */
static void test_verify_only_garbage(void **state)
{
    (void)state;
    static const struct store_extent garbage[] = {
        {200 * KIB, 1}, {RIG_SIZE_BYTES - 1, 1}, {70 * KIB + 50, 1}, {860 * KIB, 20 * KIB}};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        struct rig r;
        set_up_planted(&r);
        struct memory_image *to = memory_find(&r.to, "image");
        to->cached[garbage[i].offset] = 1;
        to->holes_unknown = i % 2;
        size_t k = 0;
        while (k < to->n_extents && to->extents[k].offset < garbage[i].offset)
            k++;
        memmove(&to->extents[k + 1], &to->extents[k], (to->n_extents - k) * sizeof *garbage);
        to->extents[k] = garbage[i];
        to->n_extents++;
        if (k > 0 && to->extents[k - 1].offset + to->extents[k - 1].len_bytes > garbage[i].offset)
            abort(); /* extents must not overlap */
        differs(&r);
    }
}

/* A hole in the place of data. */
static void test_verify_only_missing(void **state)
{
    (void)state;
    struct rig r;
    set_up_planted(&r);
    struct memory_image *to = memory_find(&r.to, "image");
    memset(to->cached + to->extents[4].offset, 0, to->extents[4].len_bytes);
    to->n_extents = 4;
    differs(&r);
}

static void test_verify_only_other_size(void **state)
{
    (void)state;
    struct rig r;
    set_up_planted(&r);
    memory_find(&r.to, "image")->attr.size_bytes--;
    differs(&r);
}

static void test_verify_only_absent(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.options.verify_only = true;
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "to:image");
    rig_tear_down(&r);
}

/* ---- move ---- */

/* The source of a moved image is gone: the tests compare with this. */
struct original {
    unsigned char data[RIG_SIZE_BYTES];
};

static void set_up_move(struct rig *r, struct original *o)
{
    rig_set_up_image(r);
    r->to.publishing = NULL; /* which looks at the source */
    memcpy(o->data, memory_find(&r->from, "image")->cached, RIG_SIZE_BYTES);
    r->options.move = r->options.verify = true;
}

static bool moved_whole(const struct rig *r, const struct original *o)
{
    const struct memory_image *to = memory_find(&r->to, "image");
    return to != NULL && to->attr.size_bytes == RIG_SIZE_BYTES &&
           memcmp(to->durable, o->data, RIG_SIZE_BYTES) == 0;
}

static void test_a_move_removes_its_source(void **state)
{
    (void)state;
    struct rig r;
    static struct original o;
    set_up_move(&r, &o);
    assert_int_equal(rig_run(&r), 0);
    assert_true(moved_whole(&r, &o));
    assert_null(memory_find(&r.from, "image"));
    assert_true(rig_image(&r, 0)->moved);
    assert_true(rig_image(&r, 0)->verified);
    long published = memory_last(&r.to, MEMORY_PUBLISH, "image");
    long found = memory_last(&r.to, MEMORY_LOOKUP, "image");
    long removed = memory_first(&r.from, MEMORY_REMOVE, "image");
    assert_true(published >= 0 && published < found && found < removed);
    assert_true(memory_first(&r.to, MEMORY_READ, RIG_PART) >= 0);
    assert_true(memory_last(&r.to, MEMORY_READ, RIG_PART) < removed);
    assert_false(rig_left(&r));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

/* Whichever call fails, or is the last one: the source is there, or its image has landed. */
static void move_survives(bool kill, bool at_destination)
{
    bool hit = true;
    static struct original o;
    for (unsigned n = 1; hit; n++) {
        struct rig r;
        set_up_move(&r, &o);
        struct memory_server *s = at_destination ? &r.to : &r.from;
        if (kill) {
            r.world.die_at = n;
            r.world.death = (enum memory_death)(n % 3);
        } else {
            s->faults.fail_at = n;
            s->faults.fail_errno = EIO;
        }
        int rc = rig_run(&r);
        hit = kill ? r.world.dead : s->failed > 0;
        if (kill) {
            rig_again(&r);
            memory_crash(&r.to, n % 2);
        }
        if (memory_find(&r.from, "image") == NULL)
            assert_true(moved_whole(&r, &o));
        if (memory_find(&r.to, "image") != NULL)
            assert_true(moved_whole(&r, &o));
        if (rc < 0 && !kill && memory_find(&r.from, "image") != NULL && rig_image(&r, 0) != NULL)
            assert_false(rig_image(&r, 0)->moved);
        rig_again(&r);
        if (memory_find(&r.from, "image") != NULL)
            rig_run(&r); /* it may say that the image exists */
        assert_true(moved_whole(&r, &o));
        assert_false(rig_left(&r));
        rig_tear_down(&r);
    }
}

static void test_a_move_that_is_killed_loses_nothing(void **state)
{
    (void)state;
    move_survives(false, false);
    move_survives(false, true);
    move_survives(true, false);
}

/* What was read back is not what was read: the source stays. */
static void test_move_of_corrupted(void **state)
{
    (void)state;
    struct rig r;
    static struct original o;
    set_up_move(&r, &o);
    r.to.faults.only = "-part";
    r.to.faults.corrupt_at = 7;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(memory_find(&r.from, "image"));
    assert_null(memory_find(&r.to, "image"));
    rig_tear_down(&r);
}

/* Between its name and the look at it somebody puts another file there. */
static void replace(void *arg, const struct memory_image *image, const char *name)
{
    struct rig *r = arg;
    (void)name;
    ((struct memory_image *)(uintptr_t)image)->attr.inode += 1000;
    r->to.publishing = NULL;
}

static void test_move_of_replaced(void **state)
{
    (void)state;
    struct rig r;
    static struct original o;
    set_up_move(&r, &o);
    r.to.publishing = replace;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(memory_find(&r.from, "image"));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

/* Written to after the last look before the image got its name. */
static void write_to_source(void *arg, const struct memory_image *image, const char *name)
{
    struct rig *r = arg;
    (void)image, (void)name;
    memory_find(&r->from, "image")->attr.mtime_ns++;
}

static void test_move_of_changed(void **state)
{
    (void)state;
    struct rig r;
    static struct original o;
    set_up_move(&r, &o);
    r.to.publishing = write_to_source;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(memory_find(&r.from, "image"));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

/* Of several only those whose image stands there are removed. */
static void test_a_move_of_some_removes_what_landed(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "a", 5000);
    rig_add_dense(&r, "b", 20 * RIG_CHUNK_BYTES);
    rig_alone(&r);
    r.to.publishing = NULL;
    r.options.move = r.options.verify = true;
    r.to.faults = (struct memory_faults){.only = "b.godwit-part", .fail_at = 60, .fail_errno = EIO};
    assert_int_equal(rig_run(&r), -1);
    assert_null(memory_find(&r.from, "a"));
    assert_non_null(memory_find(&r.to, "a"));
    assert_non_null(memory_find(&r.from, "b"));
    assert_null(memory_find(&r.to, "b"));
    rig_tear_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_true_copy_is_verified),
        cmocka_unit_test(test_without_verify_nothing_is_read_back),
        cmocka_unit_test(test_verify_finds_each_bit),
        cmocka_unit_test(test_what_was_compared_is_told),
        cmocka_unit_test(test_what_differs_is_not_told),
        cmocka_unit_test(test_verify_alone_copies_nothing),
        cmocka_unit_test(test_verify_only_other_holes),
        cmocka_unit_test(test_verify_only_differs),
        cmocka_unit_test(test_verify_only_garbage),
        cmocka_unit_test(test_verify_only_missing),
        cmocka_unit_test(test_verify_only_other_size),
        cmocka_unit_test(test_verify_only_absent),
        cmocka_unit_test(test_a_move_removes_its_source),
        cmocka_unit_test(test_a_move_that_is_killed_loses_nothing),
        cmocka_unit_test(test_move_of_corrupted),
        cmocka_unit_test(test_move_of_replaced),
        cmocka_unit_test(test_move_of_changed),
        cmocka_unit_test(test_a_move_of_some_removes_what_landed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
