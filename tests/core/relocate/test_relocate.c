/* SPDX-License-Identifier: Apache-2.0 */
/* The relocation engine copies between stores that misbehave in every way they can. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "relocate_rig.h"

static void test_an_image_lands_whole(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    const struct relocate_totals *totals = relocate_totals(r.r);
    assert_int_equal(totals->resent, 0);
    assert_int_equal(totals->resumed_bytes, 0);
    assert_int_equal(totals->workers, 3);
    assert_int_equal(totals->bytes, RIG_SIZE_BYTES);
    /* No data costs no commit; and one at the end asks whether the server is still the same. */
    assert_int_equal(r.to.done[MEMORY_COMMIT], RIG_CHUNKS + 1);
    /* Whole pages around the extents: 4 + 76 + 500 + 12 KiB. */
    assert_int_equal(totals->data_bytes, 592 * KIB);
    assert_int_equal(totals->written_bytes, 592 * KIB);
    assert_int_equal(r.from.read_bytes, 592 * KIB);
    rig_tear_down(&r);
}

/* Each round with another number of workers, which are all at work on one image. */
static void test_all_workers_share_one_image(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 8; workers++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.workers_max = workers;
        r.options.flight_bytes = (uint64_t)workers * 2 * RIG_BLOCK_BYTES;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        rig_tear_down(&r);
    }
}

/* The tuner decides how many there are: never more than allowed. */
static void test_the_tuner_stays_within_what_is_allowed(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "image", 6 << 20);
    r.options.fixed = false;
    r.to.faults.delay_ns = 100 * NS_PER_US;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    const struct relocate_totals *totals = relocate_totals(r.r);
    assert_in_range(totals->workers, 1, r.options.workers_max);
    assert_in_range(totals->depth, 1, r.options.depth_max);
    assert_in_range(totals->block_bytes, 4096, r.options.block_bytes);
    rig_tear_down(&r);
}

static void test_images_of_odd_sizes_land(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0,
                                     1,
                                     4095,
                                     4096,
                                     4097,
                                     RIG_BLOCK_BYTES - 1,
                                     RIG_BLOCK_BYTES,
                                     RIG_BLOCK_BYTES + 1,
                                     RIG_CHUNK_BYTES - 1,
                                     RIG_CHUNK_BYTES,
                                     RIG_CHUNK_BYTES + 1,
                                     2 * RIG_CHUNK_BYTES,
                                     2 * RIG_CHUNK_BYTES + 1,
                                     3 * RIG_CHUNK_BYTES - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "image", sizes[i]);
        r.options.whole_sums = i % 2;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_int_equal(rig_image(&r, 0)->data_bytes, sizes[i]);
        rig_tear_down(&r);
    }
}

static void test_an_image_of_a_hole_lands(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    memory_add(&r.from, "image", 5 * RIG_CHUNK_BYTES + 77, NULL, 0);
    rig_source(&r, "image");
    r.options.whole_sums = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(r.from.read_bytes, 0);
    assert_int_equal(relocate_totals(r.r)->written_bytes, 0);
    assert_int_equal(r.to.done[MEMORY_COMMIT], 0);
    rig_tear_down(&r);
}

/* An image of one chunk has no journal. */
static void test_small_has_no_journal(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "image", RIG_CHUNK_BYTES);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(memory_first(&r.to, MEMORY_CREATE, RIG_JOURNAL), -1);
    assert_int_equal(r.to.done[MEMORY_CREATE], 1);
    rig_tear_down(&r);
}

static void test_many_images_land(void **state)
{
    (void)state;
    struct rig r;
    char names[200][16];
    rig_set_up(&r);
    rig_add_dense(&r, "big", 2 << 20);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "small%u", i);
        rig_add_dense(&r, names[i], 100 + 37 * i);
    }
    r.from.faults.shuffle = r.to.faults.shuffle = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->images, 201);
    rig_tear_down(&r);
}

/* Answers in any order, and short: the content and the checksum do not change. */
static void test_reordered_and_short(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct rig r;
        rig_set_up_image(&r);
        r.world.random += round;
        r.options.workers_max = 1 + round % 4;
        r.options.whole_sums = round % 2;
        r.from.faults = (struct memory_faults){.shuffle = true, .short_every = 2 + round % 3};
        r.to.faults = (struct memory_faults){.shuffle = true, .short_every = 1 + round % 4};
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        rig_tear_down(&r);
    }
}

static void test_stable_writes_need_no_commit(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.to.faults.always_stable = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(r.to.done[MEMORY_COMMIT], 1); /* that asks whether the server is the same */
    rig_tear_down(&r);
}

/* Zeros that a source has written down are read, and not written; nor do they count as holes. */
static void test_zeros_are_not_written(void **state)
{
    (void)state;
    for (int unknown = 0; unknown < 2; unknown++) {
        struct rig r;
        rig_set_up(&r);
        struct memory_image *from = rig_add_dense(&r, "image", 512 * KIB);
        from->holes_unknown = unknown;
        memset(from->cached + 128 * KIB, 0, 256 * KIB);
        memset(from->durable + 128 * KIB, 0, 256 * KIB);
        r.options.whole_sums = true;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_int_equal(r.from.read_bytes, 512 * KIB);
        assert_int_equal(relocate_totals(r.r)->written_bytes, 256 * KIB);
        const struct memory_image *to = memory_find(&r.to, "image");
        for (unsigned page = 128 / 4; page < 384 / 4; page++)
            assert_int_equal(to->pages[page], 0);
        rig_tear_down(&r);
    }
}

/* ---- durability ---- */

/* The server forgets what was not committed, at each point where it can. */
static void test_lost_writes_are_resent(void **state)
{
    (void)state;
    bool crashed = true;
    for (unsigned at = 1; crashed; at++) {
        struct rig r;
        rig_set_up_image(&r);
        r.from.faults.shuffle = r.to.faults.shuffle = at % 2;
        r.to.faults.crash_at_write = at;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        crashed = r.to.crashes > 0;
        rig_tear_down(&r);
    }
    crashed = true;
    for (unsigned at = 1; crashed; at++) {
        struct rig r;
        rig_set_up_image(&r);
        r.to.faults.crash_at_commit = at;
        r.options.whole_sums = at % 2;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        crashed = r.to.crashes > 0;
        if (at <= RIG_CHUNKS) /* the last one is after all data */
            assert_int_equal(crashed, relocate_totals(r.r)->resent > 0);
        rig_tear_down(&r);
    }
}

/* The new verifier is seen first, and is the one that COMMIT gives: the old ones, which come
 * later, must count all the same. */
static void test_new_verifier_overtakes(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 50; at++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.workers_max = 1 + at % 3;
        r.to.faults.crash_at_write = at;
        r.to.faults.late_before_crash = true;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        rig_tear_down(&r);
    }
}

/* A verifier that never matches: after two rounds each write has to be durable by itself. */
static void test_never_matching_server(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.to.faults.crash_always = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_true(r.to.stable_writes > 0);
    assert_true(relocate_totals(r.r)->resent > 0);
    rig_tear_down(&r);
}

/* Alone it can be counted: each chunk twice for a commit, and once stable. */
static void test_never_matching_counted(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "image", RIG_CHUNK_BYTES);
    r.options.workers_max = 1;
    r.to.faults.crash_always = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(r.to.done[MEMORY_COMMIT], 2);
    assert_int_equal(r.to.stable_writes, 4);
    assert_int_equal(relocate_totals(r.r)->write, 12);
    assert_int_equal(relocate_totals(r.r)->resent, 8);
    rig_tear_down(&r);
}

static void test_a_server_that_lies_is_found_out(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.to.faults.crash_always = true;
    r.to.faults.lie = true;
    assert_int_equal(rig_run(&r), -1);
    assert_int_equal(r.e.class, ERR_PROTO);
    rig_assert_undone(&r);
    rig_tear_down(&r);
}

/* ---- failures ---- */

/*
 * The Nth call to either store fails, for N = 1, 2, 3… until none does. What a failed run has left
 * is continued by the next. A call may fail without harm: then the image has landed.
 */
static void fail_each(bool at_destination, bool shuffle, unsigned workers)
{
    bool hit = true, failed = false;
    for (unsigned n = 1; hit; n++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.workers_max = workers;
        r.from.faults.shuffle = r.to.faults.shuffle = shuffle;
        struct memory_server *s = at_destination ? &r.to : &r.from;
        s->faults.fail_at = n;
        s->faults.fail_errno = EIO;
        int rc = rig_run(&r);
        hit = s->failed > 0;
        failed |= rc < 0;
        if (rc == 0) {
            rig_assert_landed(&r);
        } else {
            assert_true(hit);
            if (memory_find(&r.to, "image") == NULL)
                rig_assert_undone(&r);
            else
                assert_true(rig_same(&r, "image"));
            rig_again(&r);
            if (rig_run(&r) < 0)
                assert_non_null(strstr(r.e.msg, "exists"));
            assert_true(rig_same(&r, "image"));
            assert_false(rig_left(&r));
        }
        rig_tear_down(&r);
    }
    assert_true(failed);
}

static void test_each_failure_leaves_only_what_can_be_continued(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        fail_each(true, false, workers);
        fail_each(true, true, workers);
        fail_each(false, false, workers);
        fail_each(false, true, workers);
    }
}

static void test_no_space_says_so(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 12; n++) { /* whatever it is that meets it first */
        struct rig r;
        rig_set_up_image(&r);
        r.to.faults = (struct memory_faults){.only = "-part", .fail_at = n, .fail_errno = ENOSPC};
        assert_int_equal(rig_run(&r), -1);
        assert_non_null(strstr(r.e.msg, "No space left"));
        assert_non_null(r.e.hint);
        assert_non_null(strstr(r.e.hint, "make room"));
        rig_assert_undone(&r);
        rig_tear_down(&r);
    }
}

static void change_source(void *arg, const struct relocate_progress *p)
{
    struct rig *r = arg;
    (void)p;
    memory_touch(&r->from, "image");
}

static void test_a_source_that_changed_is_reported(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.from.faults.delay_ns = 20 * NS_PER_MS; /* until there was progress to report */
    rig_alone(&r);
    r.options.progress = change_source;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(strstr(r.e.msg, "from:image"));
    assert_non_null(strstr(r.e.msg, "changed"));
    assert_null(memory_find(&r.to, "image"));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

/* It got shorter after its holes were found: a read that gives nothing. */
static void test_a_source_that_got_shorter_is_reported(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.from.faults.end_early = true;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(strstr(r.e.msg, "changed under the copy"));
    assert_null(memory_find(&r.to, "image"));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

static void test_a_cancelled_run_leaves_only_what_can_be_continued(void **state)
{
    (void)state;
    struct rig r;
    volatile sig_atomic_t cancel = 1;
    rig_set_up_image(&r);
    r.options.cancel = &cancel;
    r.from.faults.delay_ns = 20 * NS_PER_MS;
    rig_alone(&r);
    assert_int_equal(rig_run(&r), -1);
    assert_int_equal(r.e.class, ERR_CANCELLED);
    rig_assert_undone(&r);
    rig_tear_down(&r);
}

static void cancel_when_reported(void *arg, const struct relocate_progress *p)
{
    volatile sig_atomic_t *cancel = arg;
    (void)p;
    *cancel = 1;
}

/* A side that has gone silent is stopped after a while. */
static void cancel_while_mute(bool at_destination)
{
    struct rig r;
    static volatile sig_atomic_t cancel;
    rig_set_up_image(&r);
    cancel = 0;
    struct memory_server *s = at_destination ? &r.to : &r.from;
    s->faults = (struct memory_faults){.mute = true, .only = at_destination ? RIG_PART : "image"};
    r.options.cancel = &cancel;
    r.options.progress = cancel_when_reported;
    r.options.progress_arg = (void *)&cancel;
    int64_t start_ns = clock_now_ns();
    assert_int_equal(rig_run(&r), -1);
    assert_true(clock_now_ns() - start_ns < 4 * NS_PER_S);
    assert_int_equal(r.e.class, ERR_CANCELLED);
    assert_true(s->stopped > 0);
    rig_assert_undone(&r);
    rig_tear_down(&r);
}

static void test_cancelled_while_silent(void **state)
{
    (void)state;
    cancel_while_mute(true);
    cancel_while_mute(false);
}

/* Ctrl-C ends a call of a worker, or of the plan, before anybody else has seen it: whichever it is. */
static void test_a_call_that_was_interrupted_is_no_failure(void **state)
{
    (void)state;
    bool hit = true;
    for (unsigned at = 1; hit; at++) {
        for (int source = 0; source < 2; source++) {
            struct rig r;
            static volatile sig_atomic_t cancel;
            rig_set_up_image(&r);
            rig_alone(&r);
            cancel = 0;
            r.options.cancel = &cancel;
            struct memory_server *s = source ? &r.from : &r.to;
            s->faults =
                (struct memory_faults){.fail_at = at, .fail_errno = EINTR, .interrupts = &cancel};
            int rc = rig_run(&r);
            if (rc < 0)
                assert_int_equal(r.e.class, ERR_CANCELLED);
            hit = source ? hit || s->failed > 0 : s->failed > 0;
            rig_tear_down(&r);
        }
    }
}

/* ---- what it tells ---- */

static void test_checksums_of_the_whole_are_right(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    rig_add_dense(&r, "other", 300 * KIB + 5);
    memory_add(&r.from, "empty", 0, NULL, 0);
    rig_source(&r, "empty");
    r.options.whole_sums = true;
    r.options.workers_max = 4;
    r.from.faults.shuffle = r.to.faults.shuffle = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* Coarse: the machine may be slow, but not too fast. */
static void test_the_limit_is_kept(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "image", 2 << 20);
    r.options.bytes_per_s = 2 << 20;
    int64_t start_ns = clock_now_ns();
    assert_int_equal(rig_run(&r), 0);
    int64_t took_ns = clock_now_ns() - start_ns;
    rig_assert_landed(&r);
    assert_in_range(took_ns / NS_PER_MS, 500, 10000);
    assert_true(r.reports > 1); /* several times a second */
    rig_tear_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_image_lands_whole),
        cmocka_unit_test(test_all_workers_share_one_image),
        cmocka_unit_test(test_the_tuner_stays_within_what_is_allowed),
        cmocka_unit_test(test_images_of_odd_sizes_land),
        cmocka_unit_test(test_an_image_of_a_hole_lands),
        cmocka_unit_test(test_small_has_no_journal),
        cmocka_unit_test(test_many_images_land),
        cmocka_unit_test(test_reordered_and_short),
        cmocka_unit_test(test_stable_writes_need_no_commit),
        cmocka_unit_test(test_zeros_are_not_written),
        cmocka_unit_test(test_lost_writes_are_resent),
        cmocka_unit_test(test_new_verifier_overtakes),
        cmocka_unit_test(test_never_matching_server),
        cmocka_unit_test(test_never_matching_counted),
        cmocka_unit_test(test_a_server_that_lies_is_found_out),
        cmocka_unit_test(test_each_failure_leaves_only_what_can_be_continued),
        cmocka_unit_test(test_no_space_says_so),
        cmocka_unit_test(test_a_source_that_changed_is_reported),
        cmocka_unit_test(test_a_source_that_got_shorter_is_reported),
        cmocka_unit_test(test_a_cancelled_run_leaves_only_what_can_be_continued),
        cmocka_unit_test(test_cancelled_while_silent),
        cmocka_unit_test(test_a_call_that_was_interrupted_is_no_failure),
        cmocka_unit_test(test_checksums_of_the_whole_are_right),
        cmocka_unit_test(test_the_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
