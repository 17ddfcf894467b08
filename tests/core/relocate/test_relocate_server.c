/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relocation engine and a server that is another one than before: its handles are others, what it had said to
 * be written is lost, or it is not the same server at all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/relocate/journal.h"
#include "core/relocate/part_name.h"
#include "relocate_rig.h"

/* ---- a server that gives other handles after a restart ---- */

/* What an earlier run has left is continued, and proven by what is in it; what is not there any more is
 * copied again. Another file in its place is refused, as ever. */
static void test_handles_change_between_runs(void **state)
{
    (void)state;
    enum { RIGHT, EMPTY, OTHER_MODE, OTHER_INODE, KINDS };
    for (int kind = 0; kind < KINDS; kind++) {
        struct rig r;
        rig_set_up_kept(&r);
        memory_rename_handles(&r.to, kind == EMPTY ? "-part" : NULL);
        struct memory_image *part = memory_find(&r.to, RIG_PART);
        part->attr.mode = kind == OTHER_MODE ? 0640 : 0600;
        part->attr.inode += kind == OTHER_INODE ? 1000 : 0;
        assert_int_equal(rig_run(&r), kind < OTHER_MODE ? 0 : -1);
        if (kind < OTHER_MODE) {
            rig_assert_landed(&r);
            assert_true(relocate_totals(r.r)->resumed_bytes > 0);
            assert_true(r.to.read_bytes >= relocate_totals(r.r)->resumed_bytes);
            assert_true(kind != RIGHT || r.from.read_bytes < RIG_SIZE_BYTES / 2);
        } else {
            rig_assert_refused(&r, "the part beside it is another file");
        }
        rig_tear_down(&r);
    }
}

/* It has its name already: compared before its source goes. */
static void test_handles_change_after_publish(void **state)
{
    (void)state;
    for (int right = 0; right < 2; right++) {
        struct rig r;
        rig_set_up_published(&r);
        memory_rename_handles(&r.to, NULL);
        struct memory_image *image = memory_find(&r.to, "image");
        image->cached[300 * KIB] ^= right ? 0 : 1;
        assert_int_equal(rig_run(&r), right ? 0 : -1);
        assert_int_equal(memory_find(&r.from, "image") == NULL, right);
        assert_true(r.to.read_bytes > 0);
        rig_tear_down(&r);
    }
}

/* In mid-copy, when some chunks are on record. */
static void test_handles_change_in_mid_copy(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "tree/image", 15 * RIG_CHUNK_BYTES);
        rig_add_dense(&r, "tree/small", 5000);
        r.n_sources = 1;
        r.sources[0].name = r.sources[0].as = "tree";
        r.options.recursive = true;
        r.options.workers_max = kind / 2 + 1;
        r.options.verify = kind % 2;
        r.options.move = kind == 4;
        r.from.generation_may_change = r.to.generation_may_change = true;
        r.to.faults.renew_at_write = 40;
        r.to.faults.renews_too = &r.from;
        r.to.faults.empties_renewed = kind == 2; /* it was another file, which is found out */
        uint64_t generation = memory_find(&r.to, "")->attr.generation;
        if (rig_run(&r) < 0)
            fail_msg("kind %d: %s", kind, r.e.msg);
        assert_int_not_equal(memory_find(&r.to, "")->attr.generation, generation);
        assert_true(r.to.read_bytes > 0); /* proven by what is in it */
        assert_int_equal(relocate_totals(r.r)->images_done, 2);
        assert_false(rig_left(&r));
        assert_true(kind == 4 || (rig_same(&r, "tree/image") && rig_same(&r, "tree")));
        assert_int_equal(memory_find(&r.from, "tree/image") == NULL, kind == 4);
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* Also right before it is noted as whole, and gets its name. */
static void test_handles_change_at_each_write(void **state)
{
    (void)state;
    bool renewed = true;
    for (unsigned at = 1; renewed; at++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "image", 3 * RIG_CHUNK_BYTES);
        rig_alone(&r);
        r.to.generation_may_change = true;
        r.to.faults.renew_at_write = at;
        if (rig_run(&r) < 0)
            fail_msg("at write %u: %s", at, r.e.msg);
        rig_assert_landed(&r);
        renewed = r.to.done[MEMORY_WRITE] >= at;
        rig_tear_down(&r);
    }
}

/* The worker that ends last has asked the server for nothing since: it is another one that has found out.
 * Up to the last write, which says that all of it is proven. */
static void test_handles_change_beside_the_last(void **state)
{
    (void)state;
    bool proven = false;
    for (unsigned at = 1; !proven; at++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "image", 2 * RIG_CHUNK_BYTES);
        rig_alone(&r);
        r.options.workers_max = 2;
        r.options.fixed = true;
        r.to.generation_may_change = true;
        r.to.faults.renew_at_write = at;
        r.to.faults.empties_renewed = true;
        r.to.faults.renewal_delay_ns = 20 * NS_PER_MS;
        if (rig_run(&r) < 0)
            fail_msg("at write %u: %s", at, r.e.msg);
        proven = r.to.done[MEMORY_WRITE] <= at;
        if (!proven)
            rig_assert_landed(&r);
        assert_true(at > 2 || !proven);
        rig_tear_down(&r);
    }
}

/* Between the last proof and the name: journal, image, and directory. What is in it proves it anew; what is
 * another file, which nothing but its content tells, is copied again. */
static void test_handles_change_in_publish(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2 * 2 * 2; kind++) {
        bool renewed = true;
        for (unsigned at = 1; renewed; at++) {
            struct rig r;
            rig_set_up(&r);
            rig_add_dense(&r, "tree/image", (kind & 4 ? 3 : 1) * RIG_CHUNK_BYTES);
            r.n_sources = 1;
            r.sources[0].name = r.sources[0].as = "tree";
            r.options.recursive = true;
            r.to.generation_may_change = true;
            r.to.faults.renew_at_publish = at;
            r.to.faults.renewed_late = kind & 1;
            r.to.faults.empties_renewed = kind & 2;
            if (rig_run(&r) < 0)
                fail_msg("kind %u, at publish %u: %s", kind, at, r.e.msg);
            assert_true(rig_same(&r, "tree/image") && rig_same(&r, "tree"));
            assert_false(rig_left(&r));
            renewed = r.to.done[MEMORY_PUBLISH] >= at;
            rig_tear_down(&r);
        }
    }
}

/* Right after it: what stands there is read back, and is ours, or is not. */
static void test_handles_change_once_it_is_named(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2 * 2 * 2; kind++) {
        bool renewed = true;
        for (unsigned at = 1; renewed; at++) {
            struct rig r;
            rig_set_up(&r);
            rig_add_dense(&r, "image", (kind & 4 ? 3 : 1) * RIG_CHUNK_BYTES);
            rig_alone(&r);
            r.options.move = kind & 2;
            r.to.generation_may_change = true;
            r.to.faults.renew_after_publish = at;
            r.to.faults.empties_renewed = kind & 1;
            int rc = rig_run(&r);
            renewed = r.to.done[MEMORY_PUBLISH] >= at;
            bool named = renewed && memory_find(&r.to, "image") != NULL &&
                         r.to.done[MEMORY_PUBLISH] == at;
            if ((rc < 0) != (named && (kind & 1)))
                fail_msg("kind %u, at publish %u: %s", kind, at, r.e.msg);
            assert_true(!named || r.to.read_bytes > 0);
            assert_int_equal(memory_find(&r.from, "image") == NULL, rc == 0 && (kind & 2));
            if (rc < 0)
                assert_non_null(strstr(r.e.msg, "image: differs from "));
            else if (kind & 2)
                assert_non_null(memory_find(&r.to, "image"));
            else
                rig_assert_landed(&r);
            rig_tear_down(&r);
        }
    }
}

/* ---- a server that forgets ---- */

/* At each write the machine of an async server fails: what it had called durable is gone as well. */
static void test_forgets_at_each_write(void **state)
{
    (void)state;
    bool forgot = true;
    for (unsigned n = 1; forgot; n++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.workers_max = 1 + n % 3;
        r.options.verify = n % 4 == 1;
        r.options.whole_sums = n % 5 == 0;
        r.from.faults.shuffle = r.to.faults.shuffle = n % 2;
        r.to.faults.forget_at_write = n;
        int rc = rig_run(&r);
        forgot = r.to.crashes > 0;
        if (rc <
            0) { /* the journal may have been the one that was written: it is refused, or anew */
            rig_again(&r);
            rc = rig_run(&r);
        }
        assert_int_equal(rc, 0);
        rig_assert_landed(&r);
        rig_tear_down(&r);
    }
}

/* The same between two runs: the records say what the server of then had confirmed. */
static void test_forgets_between_runs(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 3; workers++) {
        struct rig r;
        rig_set_up_kept(&r);
        memory_forget(&r.to, "-part");
        r.options.workers_max = (unsigned)workers;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_true(r.to.read_bytes > 0);
        rig_tear_down(&r);
    }
}

/* Nothing was lost: what is there is read back, not sent again. */
static void test_another_server_loses_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_kept(&r);
    r.to.verifier++;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    const struct relocate_totals *totals = relocate_totals(r.r);
    assert_true(totals->resumed_bytes > 0);
    assert_int_equal(totals->written_bytes + totals->resumed_bytes, 592 * KIB);
    assert_int_equal(r.to.read_bytes, totals->resumed_bytes + JOURNAL_HEADER_BYTES * 2 +
                                          2 * 16 * JOURNAL_RECORD_BYTES);
    rig_tear_down(&r);
}

/* The same server confirms all of it: nothing is read back. */
static void test_same_server_is_not_asked(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_kept(&r);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(memory_first(&r.to, MEMORY_READ, RIG_PART), -1);
    rig_tear_down(&r);
}

/* A part that got shorter with the server's machine: begun anew. */
static void test_part_got_shorter(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_kept(&r);
    memory_find(&r.to, RIG_PART)->attr.size_bytes = 100;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
    rig_tear_down(&r);
}

/* ---- answers without an end ---- */

/* Copied it is published, with a word; but nothing that it calls durable is worth the source. */
static void test_always_another_verifier_keeps_the_source(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.move = i % 2;
        r.options.verify = i / 2;
        r.to.faults.new_verifiers = true;
        assert_int_equal(rig_run(&r), r.options.move ? -1 : 0);
        if (r.options.move)
            assert_non_null(strstr(r.e.msg, "its source stays: the server's write verifier"));
        assert_true(rig_same(&r, "image"));
        assert_false(rig_left(&r));
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

static void test_writes_of_nothing_end(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.to.faults.writes_nothing = true;
    assert_int_equal(rig_run(&r), -1);
    assert_int_equal(r.e.class, ERR_PROTO);
    rig_tear_down(&r);
}

/* ---- what a --verify has found wrong ---- */

/* Whatever fails just then: a later run without --verify does not publish it. */
static void test_wrong_is_not_forgotten(void **state)
{
    (void)state;
    bool hit = true;
    for (unsigned n = 1; hit; n++) {
        struct rig r;
        rig_set_up_kept(&r);
        struct memory_image *part = memory_find(&r.to, RIG_PART);
        const unsigned char *record = memory_find(&r.to, RIG_JOURNAL)->cached +
                                      JOURNAL_HEADER_BYTES;
        size_t chunk = 4;
        while (record[chunk * JOURNAL_RECORD_BYTES] == 0)
            chunk++;
        part->cached[chunk * RIG_CHUNK_BYTES + 50 * KIB] ^= 1;
        part->durable[chunk * RIG_CHUNK_BYTES + 50 * KIB] ^= 1;
        r.options.verify = true;
        r.to.faults = (struct memory_faults){.only = "-journal", .fail_at = n, .fail_errno = EIO};
        assert_int_equal(rig_run(&r), -1);
        hit = r.to.failed > 0;
        bool found = strstr(r.e.msg, "differs") != NULL;
        rig_again(&r);
        r.options.verify = false;
        if (found && rig_run(&r) == 0)
            rig_assert_landed(&r);
        if (found)
            assert_false(r.bad_name);
        rig_tear_down(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles_change_between_runs),
        cmocka_unit_test(test_handles_change_after_publish),
        cmocka_unit_test(test_handles_change_in_mid_copy),
        cmocka_unit_test(test_handles_change_at_each_write),
        cmocka_unit_test(test_handles_change_in_publish),
        cmocka_unit_test(test_handles_change_once_it_is_named),
        cmocka_unit_test(test_handles_change_beside_the_last),
        cmocka_unit_test(test_forgets_at_each_write),
        cmocka_unit_test(test_forgets_between_runs),
        cmocka_unit_test(test_another_server_loses_nothing),
        cmocka_unit_test(test_same_server_is_not_asked),
        cmocka_unit_test(test_part_got_shorter),
        cmocka_unit_test(test_always_another_verifier_keeps_the_source),
        cmocka_unit_test(test_writes_of_nothing_end),
        cmocka_unit_test(test_wrong_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
