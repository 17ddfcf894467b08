/* SPDX-License-Identifier: Apache-2.0 */
/* The relocation engine against stores in memory that misbehave in every way they can. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "core/relocate.h"
#include "memory_store.h"

enum { KIB = 1024, SIZE = 1000 * KIB + 123, BLOCK = 16 * KIB, RANGE = 64 * KIB };

/* A hole first, unaligned edges, two extents on one page, data in most ranges, a hole last. */
static const struct store_extent extents[] = {
    {5000, 100},
    {70 * KIB, 50},
    {70 * KIB + 100, 70 * KIB},
    {300 * KIB, 500 * KIB},
    {900 * KIB, 10 * KIB},
};
enum { EXTENTS = sizeof extents / sizeof *extents };

struct fixture {
    struct ring *ring;
    struct memory_place from, to;
    struct relocate_job job;
    struct relocate_options options;
    struct relocate_result result;
    struct err e;
    struct copy_progress last;
    unsigned told;
    bool backwards;
};

static void told(void *arg, const struct copy_progress *p)
{
    struct fixture *f = arg;
    f->backwards |= p->bytes < f->last.bytes || p->data_bytes < f->last.data_bytes;
    f->last = *p;
    f->told++;
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){0};
    f->ring = ring_new(RING_SYSCALLS, &f->e);
    assert_non_null(f->ring);
    memory_init(&f->from, f->ring, "from:");
    memory_init(&f->to, f->ring, "to:");
    f->job = (struct relocate_job){&f->from.base, &f->to.base, "image"};
    f->options.copy = (struct copy_options){
        .block_bytes = BLOCK, .blocks = 6, .range_bytes = RANGE, .progress = told,
        .progress_arg = f};
}

static void set_up_image(struct fixture *f)
{
    set_up(f);
    memory_add(&f->from, "image", SIZE, extents, EXTENTS);
}

static void tear_down(struct fixture *f)
{
    ring_free(f->ring);
    memory_free(&f->from);
    memory_free(&f->to);
}

static int run(struct fixture *f)
{
    f->e = (struct err){0};
    return relocate_run(&f->job, &f->options, &f->result, &f->e);
}

/* All of it stands there, and everything was given back. */
static void assert_landed(struct fixture *f)
{
    struct memory_image *from = memory_find(&f->from, "image");
    struct memory_image *to = memory_find(&f->to, "image");
    assert_non_null(to);
    uint64_t size = from->attr.size_bytes;
    assert_memory_equal(from->data, to->data, size);
    assert_int_equal(to->attr.mode, from->attr.mode);
    assert_int_equal(f->result.bytes, size);

    XXH128_canonical_t sum;
    char hex[CHECKSUM_HEX_MAX];
    XXH128_canonicalFromHash(&sum, XXH3_128bits(from->data, size));
    for (size_t i = 0; i < sizeof sum.digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum.digest[i]);
    assert_string_equal(f->result.xxh3_128, hex);

    assert_int_equal(f->to.discarded, 0);
    assert_int_equal(f->from.opened, f->from.closed);
    assert_int_equal(f->to.opened, f->to.closed);
    assert_false(f->backwards);
    assert_int_equal(f->last.bytes, size);
}

/* Nothing of it stands there, and everything was given back. */
static void assert_undone(struct fixture *f)
{
    assert_int_not_equal(f->e.class, ERR_NONE);
    assert_null(memory_find(&f->to, "image"));
    assert_int_equal(f->to.published, 0);
    assert_int_equal(f->to.discarded, f->to.created);
    assert_int_equal(f->from.opened, f->from.closed);
    assert_int_equal(f->to.opened, f->to.closed);
}

static void test_lands_whole(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    assert_int_equal(run(&f), 0);
    assert_landed(&f);
    assert_int_equal(f.result.rpc.resent, 0);
    assert_int_equal(f.result.rpc.write, f.to.writes);
    assert_int_equal(f.result.rpc.commit, f.to.commits);
    /* 0, 1, 2 (70..141 KiB), 4 to 12 and 14: a range without data costs nothing. */
    assert_int_equal(f.to.commits, 13);
    /* Whole pages around the extents: 4 + 76 + 500 + 12 KiB. */
    assert_true(f.result.data_bytes < 600 * KIB);
    tear_down(&f);
}

static void test_sizes(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, BLOCK, BLOCK + 1, RANGE, RANGE + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct fixture f;
        set_up(&f);
        const struct store_extent all = {0, sizes[i]};
        memory_add(&f.from, "image", sizes[i], &all, sizes[i] > 0);
        assert_int_equal(run(&f), 0);
        assert_landed(&f);
        tear_down(&f);
    }
}

static void test_only_a_hole(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    memory_add(&f.from, "image", 50000, NULL, 0);
    assert_int_equal(run(&f), 0);
    assert_landed(&f);
    assert_int_equal(f.to.writes, 0);
    assert_int_equal(f.to.commits, 0);
    tear_down(&f);
}

/* Answers in any order, and short: the content and the checksum do not change. */
static void test_reordered_and_short(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct fixture f;
        set_up_image(&f);
        f.from.faults = (struct memory_faults){.shuffle = true, .short_every = 2 + round % 3};
        f.to.faults = (struct memory_faults){.shuffle = true, .short_every = 1 + round % 4};
        assert_int_equal(run(&f), 0);
        assert_landed(&f);
        tear_down(&f);
    }
}

static void test_stable_writes_need_no_commit(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.to.faults.always_stable = true;
    assert_int_equal(run(&f), 0);
    assert_landed(&f);
    assert_int_equal(f.to.commits, 0);
    tear_down(&f);
}

/* The server forgets what was not committed, at each point where it can. */
static void test_lost_writes_are_resent(void **state)
{
    (void)state;
    for (unsigned at = 1;; at++) {
        struct fixture f;
        set_up_image(&f);
        f.from.faults.shuffle = f.to.faults.shuffle = at % 2;
        f.to.faults.crash_at_write = at;
        assert_int_equal(run(&f), 0);
        assert_landed(&f);
        bool crashed = f.to.crashes > 0;
        tear_down(&f);
        if (!crashed)
            break;
    }
    for (unsigned at = 1;; at++) {
        struct fixture f;
        set_up_image(&f);
        f.to.faults.crash_at_commit = at;
        assert_int_equal(run(&f), 0);
        assert_landed(&f);
        bool crashed = f.to.crashes > 0;
        assert_int_equal(crashed, f.result.rpc.resent > 0);
        tear_down(&f);
        if (!crashed)
            break;
    }
}

/* The new verifier is seen first, and is the one that COMMIT gives: the old ones, which come
 * later, must count all the same. */
static void test_new_verifier_overtakes(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 40; at++) {
        struct fixture f;
        set_up_image(&f);
        f.to.faults.crash_at_write = at;
        f.to.faults.late_before_crash = true;
        assert_int_equal(run(&f), 0);
        assert_landed(&f);
        tear_down(&f);
    }
}

/* A verifier that never matches: after two rounds each write has to be durable by itself. */
static void test_never_matching_server(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.to.faults.crash_always = true;
    assert_int_equal(run(&f), 0);
    assert_landed(&f);
    assert_int_equal(f.to.commits, 2 * 13);
    assert_true(f.to.stable_writes > 0);
    /* Each block three times: unstable, unstable, stable. */
    assert_int_equal(f.result.rpc.write, 3 * f.to.stable_writes);
    assert_int_equal(f.result.rpc.resent, 2 * f.to.stable_writes);
    tear_down(&f);
}

static void test_server_that_lies(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.to.faults.crash_always = true;
    f.to.faults.lie = true;
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.class, ERR_PROTO);
    assert_undone(&f);
    tear_down(&f);
}

/* The Nth call to either store fails, for N = 1, 2, 3… until none does. */
static void fail_each(bool at_destination, bool shuffle)
{
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        struct fixture f;
        set_up_image(&f);
        f.from.faults.shuffle = f.to.faults.shuffle = shuffle;
        struct memory_faults *faults = at_destination ? &f.to.faults : &f.from.faults;
        faults->fail_at = n;
        faults->fail_errno = ENOSPC;
        failed = run(&f) < 0;
        if (failed)
            assert_undone(&f);
        else
            assert_landed(&f);
        tear_down(&f);
    }
}

static void test_each_call_fails(void **state)
{
    (void)state;
    fail_each(true, false);
    fail_each(true, true);
    fail_each(false, false);
    fail_each(false, true);
}

static void test_no_space_says_so(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.to.faults = (struct memory_faults){.fail_at = 5, .fail_errno = ENOSPC};
    assert_int_equal(run(&f), -1);
    assert_non_null(strstr(f.e.msg, "No space left"));
    assert_non_null(strstr(f.e.hint, "make room"));
    assert_undone(&f);
    tear_down(&f);
}

/* A temporary file that cannot be removed is named. */
static void test_left_behind(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    /* Of the source the first read fails, after open and EXTENTS + 1 extents; of the destination
     * what then comes after create: discard. */
    f.from.faults = (struct memory_faults){.fail_at = EXTENTS + 3, .fail_errno = EIO};
    f.to.faults = (struct memory_faults){.fail_at = 2, .fail_errno = EIO};
    f.options.copy.blocks = 1;
    assert_int_equal(run(&f), -1);
    assert_non_null(strstr(f.e.msg, "read failed"));
    assert_non_null(strstr(f.e.hint, "to:.temp is left"));
    tear_down(&f);
}

static void change_source(void *arg, const struct copy_progress *p)
{
    struct fixture *f = arg;
    (void)p;
    memory_find(&f->from, "image")->attr.mtime_ns++;
}

static void test_source_changed(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.options.copy.progress = change_source;
    assert_int_equal(run(&f), -1);
    assert_non_null(strstr(f.e.msg, "from:image: was changed"));
    assert_undone(&f);
    tear_down(&f);
}

/* It got shorter after its holes were found: a read that gives nothing. */
static void test_source_truncated(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    f.from.faults.end_early = true;
    assert_int_equal(run(&f), -1);
    assert_non_null(strstr(f.e.msg, "changed under the copy"));
    assert_undone(&f);
    tear_down(&f);
}

static void test_cancelled(void **state)
{
    (void)state;
    struct fixture f;
    volatile sig_atomic_t cancel = 1;
    set_up_image(&f);
    f.options.copy.cancel = &cancel;
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_undone(&f);
    tear_down(&f);
}

static volatile sig_atomic_t cancel_soon;

static void cancel_later(void *arg, int res)
{
    (void)arg, (void)res;
    cancel_soon = 1;
}

/* A destination that has gone silent is stopped after a while. */
static void test_cancelled_while_silent(void **state)
{
    (void)state;
    struct fixture f;
    struct ring_op later = {0};
    set_up_image(&f);
    f.to.faults.mute = true;
    f.options.copy.cancel = &cancel_soon;
    ring_after(f.ring, &later, 1000000, cancel_later, NULL);
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_int_equal(f.to.stopped, 1);
    assert_undone(&f);
    tear_down(&f);
}

static void test_publish_refuses(void **state)
{
    (void)state;
    struct fixture f;
    set_up_image(&f);
    memory_add(&f.to, "image", 10, NULL, 0);
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.sys, EEXIST);
    assert_int_equal(f.to.discarded, 1);
    f.options.overwrite = true;
    f.to.discarded = 0;
    assert_int_equal(run(&f), 0);
    assert_landed(&f);
    tear_down(&f);
}

static void test_checks(void **state)
{
    (void)state;
    struct fixture f;
    struct err e = {0};
    set_up_image(&f);
    assert_int_equal(relocate_check(&f.job, 1, false, &e), 0);

    struct relocate_job twins[] = {f.job, f.job};
    assert_int_equal(relocate_check(twins, 2, true, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "the same name"));

    err_clear(&e);
    struct relocate_job absent = {&f.from.base, &f.to.base, "absent"};
    assert_int_equal(relocate_check(&absent, 1, false, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);

    err_clear(&e);
    memory_find(&f.from, "image")->attr.type = STORE_DIRECTORY;
    assert_int_equal(relocate_check(&f.job, 1, false, &e), -1);
    assert_non_null(strstr(e.hint, "not supported yet"));
    memory_find(&f.from, "image")->attr.type = STORE_OTHER;
    err_clear(&e);
    assert_int_equal(relocate_check(&f.job, 1, false, &e), -1);
    memory_find(&f.from, "image")->attr.type = STORE_REGULAR;

    err_clear(&e);
    memory_add(&f.to, "image", 10, NULL, 0);
    assert_int_equal(relocate_check(&f.job, 1, false, &e), -1);
    assert_non_null(strstr(e.hint, "--overwrite"));
    err_clear(&e);
    assert_int_equal(relocate_check(&f.job, 1, true, &e), 0);
    memory_find(&f.to, "image")->attr.type = STORE_DIRECTORY;
    assert_int_equal(relocate_check(&f.job, 1, true, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_int_equal(f.to.created, 0);
    assert_int_equal(f.from.opened, f.from.closed);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lands_whole),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_only_a_hole),
        cmocka_unit_test(test_reordered_and_short),
        cmocka_unit_test(test_stable_writes_need_no_commit),
        cmocka_unit_test(test_lost_writes_are_resent),
        cmocka_unit_test(test_new_verifier_overtakes),
        cmocka_unit_test(test_never_matching_server),
        cmocka_unit_test(test_server_that_lies),
        cmocka_unit_test(test_each_call_fails),
        cmocka_unit_test(test_no_space_says_so),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_source_changed),
        cmocka_unit_test(test_source_truncated),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_cancelled_while_silent),
        cmocka_unit_test(test_publish_refuses),
        cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
