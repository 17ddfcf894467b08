/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relocation engine dies, and its next run continues. Between two runs only what is durable at
 * the destination is left, or (the server lives on) all that was written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/relocate/journal.h"
#include "relocate_rig.h"

enum { DATA_BYTES = 592 * KIB }; /* of rig_set_up_image() */

/* What becomes of the server between two runs. */
enum fate { FATE_LIVES, FATE_CRASHES, FATE_CRASHES_LATE, FATES };

static void next_process(struct rig *r, enum fate fate)
{
    rig_again(r);
    if (fate != FATE_LIVES)
        memory_crash(&r->to, fate == FATE_CRASHES_LATE);
    rig_again(r);
}

/* Until it lands, without a fault: at once. What has its name already may only be in the way. */
static void finish(struct rig *r, const char *name)
{
    if (rig_run(r) < 0) {
        assert_int_equal(r->e.class, ERR_REFUSED);
        assert_non_null(strstr(r->e.msg, "exists"));
    }
    assert_true(rig_same(r, name));
    assert_false(rig_left(r));
    rig_assert_given_back(r);
}

/* One run that is killed at its nth call. False: it has ended before. */
static bool killed(struct rig *r, unsigned n, enum memory_death death)
{
    r->world.die_at = n;
    r->world.death = death;
    int rc = rig_run(r);
    if (!r->world.dead)
        assert_int_equal(rc, 0);
    rig_assert_given_back(r);
    return r->world.dead;
}

static void kill_each(enum memory_death death, enum fate fate, unsigned workers)
{
    bool dead = true;
    for (unsigned n = 1; dead; n++) {
        struct rig r;
        rig_set_up_image(&r);
        r.options.workers_max = workers;
        r.from.faults.shuffle = r.to.faults.shuffle = n % 2;
        dead = killed(&r, n, death);
        if (dead) {
            if (memory_find(&r.to, "image") != NULL)
                assert_true(rig_same(&r, "image"));
            next_process(&r, fate);
            if (memory_find(&r.to, "image") == NULL)
                killed(&r, 1 + n / 2, death);
            next_process(&r, fate);
            finish(&r, "image");
        }
        rig_tear_down(&r);
    }
}

static void test_killed_at_each_call(void **state)
{
    (void)state;
    for (enum memory_death death = DEATH_BEFORE; death <= DEATH_AFTER; death++)
        for (enum fate fate = 0; fate < FATES; fate++)
            kill_each(death, fate, 1 + 2 * (fate == FATE_CRASHES_LATE));
}

/* Alone, so that all that was durable is in the journal: none of it is read again. */
static void test_durable_is_not_read_again(void **state)
{
    (void)state;
    bool dead = true;
    uint64_t most = 0;
    for (unsigned n = 1; dead; n++) {
        struct rig r;
        rig_set_up_image(&r);
        rig_alone(&r);
        dead = killed(&r, n, DEATH_BEFORE);
        next_process(&r, FATE_CRASHES);
        if (dead && memory_find(&r.to, "image") == NULL) {
            assert_int_equal(rig_run(&r), 0);
            rig_assert_landed(&r);
            uint64_t resumed = relocate_totals(r.r)->resumed_bytes;
            assert_int_equal(rig_image(&r, 0)->resumed_bytes, resumed);
            assert_int_equal(rig_image(&r, 0)->data_bytes, DATA_BYTES);
            assert_int_equal(r.from.read_bytes, DATA_BYTES - resumed);
            assert_int_equal(relocate_totals(r.r)->written_bytes, DATA_BYTES - resumed);
            assert_true(resumed >= most); /* a later death never has less */
            most = resumed;
        }
        rig_tear_down(&r);
    }
    assert_int_equal(most, DATA_BYTES);
}

/* Dies at random moments, again and again, until it lands. */
static void die_until_it_lands(unsigned seed)
{
    struct rig r;
    static const char *const names[] = {"image", "b", "c", "d"};
    rig_set_up_image(&r);
    rig_add_dense(&r, "b", 5 * RIG_CHUNK_BYTES + 1);
    rig_add_dense(&r, "c", 3000);
    rig_add_dense(&r, "d", 2 * RIG_CHUNK_BYTES);
    r.options.workers_max = 4;
    r.options.whole_sums = seed % 3 == 0;
    r.options.verify = seed % 4 == 0;
    srand(seed);
    unsigned tries = 0;
    int rc = -1;
    while (rc < 0) {
        assert_true(tries++ < 200);
        next_process(&r, rand() % FATES);
        r.from.faults.shuffle = r.to.faults.shuffle = true;
        r.world.die_at = 20 + (unsigned)rand() % (300 + 20 * tries);
        r.world.death = (enum memory_death)(rand() % 3);
        rc = rig_run(&r);
        if (r.e.class == ERR_REFUSED && !r.world.dead) {
            assert_non_null(strstr(r.e.msg, "exists")); /* all of them */
            rc = 0;
        }
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(rig_same(&r, names[i]));
    assert_false(rig_left(&r));
    rig_assert_given_back(&r);
    rig_tear_down(&r);
}

static void test_killed_at_random(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 30; seed++)
        die_until_it_lands(seed);
}

/* A run that has failed in the middle of "image": some chunks are durable. */
static void set_up_kept(struct rig *r)
{
    rig_set_up_image(r);
    r->to.faults = (struct memory_faults){.only = "-part", .fail_at = 38, .fail_errno = EIO};
    assert_int_equal(rig_run(r), -1);
    assert_true(rig_kept(r));
    rig_assert_undone(r);
    next_process(r, FATE_CRASHES);
}

static void test_failed_is_continued(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    r.options.whole_sums = false;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_true(relocate_totals(r.r)->resumed_bytes > 0);
    assert_int_equal(r.from.read_bytes, DATA_BYTES - relocate_totals(r.r)->resumed_bytes);
    assert_int_equal(r.to.done[MEMORY_CREATE], 0);
    rig_tear_down(&r);
}

/* The run that continues fails, too, at each of its calls: nothing of what was durable is lost. */
static void test_a_continued_run_may_fail_at_each_call(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        bool hit = true;
        for (unsigned n = 1; hit; n++) {
            struct rig r;
            set_up_kept(&r);
            struct memory_server *s = side ? &r.to : &r.from;
            s->faults = (struct memory_faults){.fail_at = n, .fail_errno = EIO};
            int rc = rig_run(&r);
            hit = s->failed > 0;
            assert_true(hit || rc == 0);
            if (memory_find(&r.to, "image") == NULL) {
                rig_again(&r);
                assert_int_equal(rig_run(&r), 0);
                rig_assert_landed(&r);
                assert_true(relocate_totals(r.r)->resumed_bytes > 0);
            }
            assert_true(rig_same(&r, "image"));
            rig_tear_down(&r);
        }
    }
}

/* The checksum of the whole needs all of it: it is read again, but not written again. */
static void test_whole_sums_of_resumed(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    r.options.whole_sums = true;
    r.options.workers_max = 4;
    r.from.faults.shuffle = r.to.faults.shuffle = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    const struct relocate_totals *totals = relocate_totals(r.r);
    assert_true(totals->resumed_bytes > 0);
    assert_int_equal(totals->written_bytes, DATA_BYTES - totals->resumed_bytes);
    rig_tear_down(&r);
}

static void test_restart_copies_all_again(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    r.options.restart = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
    assert_int_equal(r.from.read_bytes, DATA_BYTES);
    rig_tear_down(&r);
}

/* Refused with this reason and --restart; then --restart does it. */
static void refused_then_restarted(struct rig *r, const char *reason)
{
    assert_int_equal(rig_run(r), -1);
    rig_assert_refused(r, reason);
    assert_non_null(strstr(r->e.hint, "--restart"));
    r->options.restart = true;
    assert_int_equal(rig_run(r), 0);
    rig_assert_landed(r);
    assert_int_equal(relocate_totals(r->r)->resumed_bytes, 0);
    rig_tear_down(r);
}

static void test_source_changed_since(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    memory_find(&r.from, "image")->attr.mtime_ns++;
    refused_then_restarted(&r, "changed");

    set_up_kept(&r);
    memory_find(&r.from, "image")->attr.ctime_ns++;
    refused_then_restarted(&r, "changed");

    set_up_kept(&r);
    memory_find(&r.from, "image")->attr.inode += 1000;
    refused_then_restarted(&r, "changed");

    set_up_kept(&r);
    memory_find(&r.from, "image")->attr.size_bytes -= 100;
    refused_then_restarted(&r, "changed");
}

static void test_a_changed_source_may_be_begun_anew(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    memory_find(&r.from, "image")->attr.mtime_ns++;
    r.options.renew = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
    rig_tear_down(&r);

    /* and no other difference is one of the source */
    set_up_kept(&r);
    memory_find(&r.to, RIG_PART)->attr.inode += 1000;
    r.options.renew = true;
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "part");
    rig_tear_down(&r);
}

/* Changes that make it no journal of ours, or not a whole one. */
static void test_a_damaged_journal_is_refused(void **state)
{
    (void)state;
    static const size_t flips[] = {0, 9, 12, 17, 24, 33, 40, 56, 64, 200, 500, 511};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        struct rig r;
        set_up_kept(&r);
        memory_find(&r.to, RIG_JOURNAL)->cached[flips[i]] ^= 1;
        refused_then_restarted(&r, "journal");
    }
    static const size_t lengths[] = {1, 8, 100, 511};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct rig r;
        set_up_kept(&r);
        memory_find(&r.to, RIG_JOURNAL)->attr.size_bytes = lengths[i];
        refused_then_restarted(&r, "journal");
    }
    struct rig r;
    set_up_kept(&r);
    strcpy((char *)memory_find(&r.to, RIG_JOURNAL)->cached, "dear diary");
    refused_then_restarted(&r, "journal");
}

/* One bit of one record. */
static void test_a_torn_record_is_refused(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    unsigned char *record = memory_find(&r.to, RIG_JOURNAL)->cached + JOURNAL_HEADER_BYTES;
    while (record[0] == 0)
        record += JOURNAL_RECORD_BYTES;
    record[10] ^= 1;
    refused_then_restarted(&r, "torn");
}

/* The record of one chunk in the place of another. */
static void test_a_misplaced_record_is_refused(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    unsigned char *first = memory_find(&r.to, RIG_JOURNAL)->cached + JOURNAL_HEADER_BYTES;
    while (first[0] == 0)
        first += JOURNAL_RECORD_BYTES;
    unsigned char *free = memory_find(&r.to, RIG_JOURNAL)->cached + JOURNAL_HEADER_BYTES;
    while (free[0] != 0)
        free += JOURNAL_RECORD_BYTES;
    memcpy(free, first, JOURNAL_RECORD_BYTES);
    refused_then_restarted(&r, "journal");
}

/* It died before the header was written. */
static void test_journal_never_written(void **state)
{
    (void)state;
    for (int empty = 0; empty < 2; empty++) {
        struct rig r;
        set_up_kept(&r);
        struct memory_image *journal = memory_find(&r.to, RIG_JOURNAL);
        memset(journal->cached, 0, journal->attr.size_bytes);
        memset(journal->durable, 0, journal->attr.size_bytes);
        if (empty)
            journal->attr.size_bytes = 0;
        assert_int_equal(rig_run(&r), 0);
        rig_assert_landed(&r);
        assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
        rig_tear_down(&r);
    }
}

/* A journal that speaks of another source, or of another part. */
static void test_the_journal_of_another_image_is_refused(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    const struct memory_image *journal = memory_find(&r.to, RIG_JOURNAL);
    const struct memory_image *part = memory_find(&r.to, RIG_PART);
    struct memory_image *other = rig_add_dense(&r, "other", RIG_SIZE_BYTES);
    r.sources[0] = r.sources[1];
    r.n_sources = 1;
    other->attr.mtime_ns = memory_find(&r.from, "image")->attr.mtime_ns;
    struct memory_image *copy =
        memory_add(&r.to, ".other.godwit-journal", journal->attr.size_bytes, NULL, 0);
    memcpy(copy->cached, journal->cached, journal->attr.size_bytes);
    memory_add(&r.to, ".other.godwit-part", part->attr.size_bytes, NULL, 0);
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "another source");
    assert_non_null(strstr(r.e.hint, "--restart"));
    rig_tear_down(&r);
}

static void test_a_part_that_was_replaced_is_refused(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    memory_remove(&r.to, RIG_PART);
    memory_add(&r.to, RIG_PART, RIG_SIZE_BYTES, NULL, 0);
    refused_then_restarted(&r, "part");
}

/* Nothing can be continued without the part, and nothing is risked: it is made anew. */
static void test_a_missing_part_is_copied_again(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    memory_remove(&r.to, RIG_PART);
    if (rig_run(&r) < 0) {
        rig_assert_refused(&r, "part");
        r.options.restart = true;
        assert_int_equal(rig_run(&r), 0);
    }
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
    rig_tear_down(&r);
}

static void test_a_part_without_journal_is_copied_again(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    memset(memory_find(&r.to, RIG_PART)->cached, 0x55, RIG_SIZE_BYTES); /* whatever it holds */
    memory_remove(&r.to, RIG_JOURNAL);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(relocate_totals(r.r)->resumed_bytes, 0);
    rig_tear_down(&r);
}

/* What was durable was damaged while nobody looked: only reading it back can tell. */
static void test_verify_looks_at_resumed(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    struct memory_image *part = memory_find(&r.to, RIG_PART);
    const unsigned char *record = memory_find(&r.to, RIG_JOURNAL)->cached + JOURNAL_HEADER_BYTES;
    size_t chunk = 0;
    while (record[chunk * JOURNAL_RECORD_BYTES] == 0 || chunk < 4)
        chunk++;
    part->cached[chunk * RIG_CHUNK_BYTES + 50 * KIB] ^= 1;
    part->durable[chunk * RIG_CHUNK_BYTES + 50 * KIB] ^= 1;
    r.options.verify = true;
    r.to.verifier--; /* the same server: it has not lost it, it has something else */
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(strstr(r.e.msg, "differs"));
    assert_null(memory_find(&r.to, "image"));
    rig_again(&r);
    assert_int_equal(rig_run(&r), 0); /* that chunk is not relied on any more */
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* Another process that is still alive has begun it. */
static void test_in_the_hands_of_another(void **state)
{
    (void)state;
    struct rig r;
    set_up_kept(&r);
    int report[2], end[2];
    assert_int_equal(pipe(report) + pipe(end), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct journal_header own;
        struct err e = {0};
        char byte;
        close(end[1]);
        if (journal_begin(&own, "", "", &(struct store_attr){0}, NULL, 1, &e) < 0 ||
            write(report[1], &own, sizeof own) != sizeof own || read(end[0], &byte, 1) != 0)
            _exit(1);
        _exit(0);
    }
    close(end[0]);
    struct journal_header own, there;
    struct err e = {0};
    assert_int_equal(read(report[0], &own, sizeof own), sizeof own);
    unsigned char *bytes = memory_find(&r.to, RIG_JOURNAL)->cached;
    assert_int_equal(journal_decode_header(bytes, JOURNAL_HEADER_BYTES, &there, &e), 1);
    there.writer.pid = own.writer.pid;
    there.writer.start_ticks = own.writer.start_ticks;
    journal_encode_header(bytes, &there);
    memcpy(memory_find(&r.to, RIG_JOURNAL)->durable, bytes, JOURNAL_HEADER_BYTES);

    assert_int_equal(rig_run(&r), -1);
    char number[16];
    snprintf(number, sizeof number, "%d", (int)pid);
    rig_assert_refused(&r, number);
    r.options.restart = true; /* which is no excuse */
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, number);

    close(end[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    r.options.restart = false;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    close(report[0]);
    close(report[1]);
    rig_tear_down(&r);
}

/* Killed between "it has its name" and "the journal is gone": the next run only tidies up. */
static void test_killed_after_publish(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    rig_alone(&r);
    assert_int_equal(rig_run(&r), 0);
    unsigned n = (unsigned)memory_last(&r.to, MEMORY_PUBLISH, "image") + 1;
    rig_tear_down(&r);

    rig_set_up_image(&r);
    rig_alone(&r);
    assert_true(killed(&r, n, DEATH_AFTER));
    assert_true(rig_same(&r, "image"));
    assert_true(rig_left(&r));
    next_process(&r, FATE_CRASHES);
    finish(&r, "image");
    assert_int_equal(r.from.read_bytes, 0);
    rig_tear_down(&r);
}

/* Several images, some of which have landed before the death: they are not copied again. */
static void test_some_were_there(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up(&r);
    rig_add_dense(&r, "a", 3 * RIG_CHUNK_BYTES);
    rig_add_dense(&r, "b", 3 * RIG_CHUNK_BYTES);
    rig_add_dense(&r, "c", 3 * RIG_CHUNK_BYTES);
    rig_alone(&r);
    r.to.faults = (struct memory_faults){.only = "c.godwit-part", .fail_at = 5, .fail_errno = EIO};
    assert_int_equal(rig_run(&r), -1);
    assert_true(rig_same(&r, "a"));
    assert_true(rig_same(&r, "b"));
    assert_int_equal(rig_image(&r, 0)->state, RELOCATE_DONE);
    assert_int_equal(rig_image(&r, 1)->state, RELOCATE_DONE);
    assert_int_not_equal(rig_image(&r, 2)->state, RELOCATE_DONE);
    next_process(&r, FATE_CRASHES);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_true(rig_image(&r, 0)->was_there);
    assert_true(rig_image(&r, 1)->was_there);
    assert_false(rig_image(&r, 2)->was_there);
    assert_true(r.from.read_bytes <= 3 * RIG_CHUNK_BYTES);
    rig_tear_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_each_call),
        cmocka_unit_test(test_durable_is_not_read_again),
        cmocka_unit_test(test_killed_at_random),
        cmocka_unit_test(test_failed_is_continued),
        cmocka_unit_test(test_a_continued_run_may_fail_at_each_call),
        cmocka_unit_test(test_whole_sums_of_resumed),
        cmocka_unit_test(test_restart_copies_all_again),
        cmocka_unit_test(test_source_changed_since),
        cmocka_unit_test(test_a_changed_source_may_be_begun_anew),
        cmocka_unit_test(test_a_damaged_journal_is_refused),
        cmocka_unit_test(test_a_torn_record_is_refused),
        cmocka_unit_test(test_a_misplaced_record_is_refused),
        cmocka_unit_test(test_journal_never_written),
        cmocka_unit_test(test_the_journal_of_another_image_is_refused),
        cmocka_unit_test(test_a_part_that_was_replaced_is_refused),
        cmocka_unit_test(test_a_missing_part_is_copied_again),
        cmocka_unit_test(test_a_part_without_journal_is_copied_again),
        cmocka_unit_test(test_verify_looks_at_resumed),
        cmocka_unit_test(test_in_the_hands_of_another),
        cmocka_unit_test(test_killed_after_publish),
        cmocka_unit_test(test_some_were_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
