/* SPDX-License-Identifier: Apache-2.0 */
/* What was lost, busy or stale is started again, on either data path; or given up in time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/clock.h"
#include "small_copy.h"

/* ---- connections ---- */

static void test_crash_at_each_call(void **state)
{
    unsigned calls = small_copy_survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        small_copy_survive(&(struct fake_faults){.crash_at = at}, state);
}

static void test_lost_before_each_call(void **state)
{
    unsigned calls = small_copy_survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        small_copy_survive(&(struct fake_faults){.close_at = at}, state);
}

static void test_lost_after_each_call(void **state)
{
    unsigned calls = small_copy_survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        small_copy_survive(&(struct fake_faults){.drop_at = at}, state);
    for (unsigned at = 1; at <= calls + 2; at++) /* RENAME in the place of LINK */
        small_copy_survive(&(struct fake_faults){.drop_at = at, .no_link = true}, state);
}

static void test_each_answer_is_cut(void **state)
{
    unsigned calls = small_copy_survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        small_copy_survive(&(struct fake_faults){.cut_at = at, .cut_bytes = 3 + at}, state);
}

/* One write, whose answer ends after each of its bytes; and fewer of a read and a commit. */
static void test_one_answer_is_cut_at_each_byte(void **state)
{
    for (unsigned what = 0; what < 3; what++) {
        for (unsigned bytes = 0; bytes < 64; bytes += what == 0 ? 1 : 7) {
            struct fixture f;
            share_fixture_start(&f, &(struct fake_faults){.cut_at = 9, .cut_bytes = bytes}, state);
            const struct store_ops *ops = f.place->ops;
            struct store_file *file = ops->open(f.place, "file", STORE_CREATE, 3000, &f.e);
            assert_non_null(file);
            assert_int_equal(fake_server_calls(f.server), 7); /* the next is NULL, of data */
            struct store_io io = small_copy_io(file, f.data, 0, 3000);
            share_fixture_io_fn *const fns[] = {ops->write, ops->read, ops->commit};
            share_fixture_run(&f, fns[what], &io, 1);
            assert_int_equal(io.res, what == 2 ? 0 : 3000);
            ops->file_close(file);
            share_fixture_end(&f);
            bool whole = bytes >= (what == 0 ? 56 : what == 1 ? 3000 : 48); /* of the answer */
            assert_int_equal(fake_server_connections(f.server), whole ? 3 : 4);
            share_fixture_tear_down(&f);
        }
    }
}

/* The server is away for a while: one word when it goes, and one when it is back. */
static void test_refused_for_a_while(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.close_at = 10, .refuse_ms = 700}, state);
    int64_t start_ns = clock_now_ns();
    assert_int_equal(small_copy_and_read_back(&f), 0);
    assert_true(clock_now_ns() - start_ns > 600 * NS_PER_MS);
    share_fixture_end(&f);
    assert_int_equal(f.warnings, 2);
    small_copy_assert_landed(&f);
    share_fixture_tear_down(&f);
}

static void test_refused_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(
        &f, &(struct fake_faults){.close_at = 9, .refuse_ms = 30000}, 2 * NS_PER_S, state);
    int64_t start_ns = clock_now_ns();
    struct store_io ios[2] = {small_copy_io(file, f.data, 0, 100),
                              small_copy_io(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ios[i].fault, ERR_LOST);
        assert_true(ios[i].res < 0);
    }
    int64_t took_ns = clock_now_ns() - start_ns;
    assert_true(took_ns > 3 * f.timeout_ns / 4 && took_ns < SMALL_COPY_SOON_NS);
    assert_null(f.place->ops->open(f.place, "other", STORE_CREATE, 1, &f.e));
    assert_int_equal(f.e.class, ERR_LOST);
    small_copy_close_file(&f, file);
}

/* It hangs, and comes back; connected anew it answers. */
static void test_mute_for_a_while(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(
        &f, &(struct fake_faults){.mute_from = 9, .mute_until = 10}, 2 * NS_PER_S, state);
    struct store_io ios[2] = {small_copy_io(file, f.data, 0, 100),
                              small_copy_io(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    assert_true(ios[0].res == 100 && ios[1].res == 100);
    small_copy_close_file(&f, file);
    assert_int_equal(f.warnings, 2);
}

static void test_mute_for_ever(void **state)
{
    struct fixture f;
    struct store_file *file =
        small_copy_open_file(&f, &(struct fake_faults){.mute_from = 9}, 2 * NS_PER_S, state);
    int64_t start_ns = clock_now_ns();
    struct store_io io = small_copy_io(file, f.data, 0, 100);
    share_fixture_run(&f, f.place->ops->write, &io, 1);
    assert_true(io.res < 0 && (io.fault == ERR_LOST || io.fault == ERR_TIMEOUT));
    assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
    small_copy_close_file(&f, file);
}

/* In mid-copy: connecting anew takes for ever. The server comes back, or does not. */
static void test_silent_for_a_while(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.close_at = 10, .silent = true, .refuse_ms = 700},
                        state);
    assert_int_equal(small_copy_and_read_back(&f), 0);
    share_fixture_end(&f);
    small_copy_assert_landed(&f);
    share_fixture_tear_down(&f);
}

static void test_silent_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(
        &f, &(struct fake_faults){.close_at = 9, .silent = true}, 2 * NS_PER_S, state);
    int64_t start_ns = clock_now_ns();
    struct store_io ios[2] = {small_copy_io(file, f.data, 0, 100),
                              small_copy_io(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++)
        assert_true(ios[i].res < 0 && ios[i].fault == ERR_LOST);
    assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
    assert_null(f.place->ops->open(f.place, "other", STORE_CREATE, 1, &f.e));
    small_copy_close_file(&f, file);
}

/* ---- busy and stale ---- */

static void test_a_busy_server_is_waited_for(void **state)
{
    static const unsigned procs[] = {PROC_LOOKUP, PROC_READ,   PROC_WRITE,
                                     PROC_CREATE, PROC_RENAME, PROC_COMMIT};
    for (size_t i = 0; i < sizeof procs / sizeof *procs; i++)
        small_copy_survive(&(struct fake_faults){.status_at = 1,
                                                 .status = STATUS_JUKEBOX,
                                                 .status_proc = procs[i],
                                                 .status_times = 3},
                           state);
}

/* The busy one waits alone. */
static void test_busy_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(
        &f,
        &(struct fake_faults){.status_at = 1, .status = STATUS_JUKEBOX, .status_proc = PROC_COMMIT},
        2 * NS_PER_S, state);
    unsigned done = 0;
    int64_t start_ns = clock_now_ns();
    struct store_io busy = {.file = file, .done = small_copy_count, .arg = &done};
    f.place->ops->commit(&busy);
    for (unsigned i = 0; i < 4; i++) {
        struct store_io io = small_copy_io(file, f.data, 0, 100);
        share_fixture_run(&f, f.place->ops->write, &io, 1);
        assert_int_equal(io.res, 100);
    }
    assert_int_equal(done, 0);
    while (done == 0)
        ring_turn(f.ring, NS_PER_S);
    assert_true(busy.res == -EAGAIN && busy.fault == ERR_NFS);
    int64_t took_ns = clock_now_ns() - start_ns;
    assert_true(took_ns > 3 * f.timeout_ns / 4 && took_ns < SMALL_COPY_SOON_NS);
    small_copy_close_file(&f, file);
    assert_int_equal(f.warnings, 1); /* that it was given up, and why */
}

static void test_stale_at_each_call(void **state)
{
    unsigned calls = small_copy_survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        small_copy_survive(&(struct fake_faults){.stale_at = at}, state);
    for (unsigned at = 1; at <= calls; at++) {
        if (at < 6 || at > 7) /* opening is not tried again; and then it is mounted anew */
            small_copy_survive(&(struct fake_faults){.stale_all_at = at}, state);
    }
}

static void test_stale_for_ever(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(
        &f,
        &(struct fake_faults){.status_at = 1, .status = STATUS_STALE, .status_proc = PROC_WRITE},
        2 * NS_PER_S, state);
    struct store_io ios[2] = {small_copy_io(file, f.data, 0, 100),
                              small_copy_io(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++)
        assert_true(ios[i].res == -ESTALE && ios[i].fault == ERR_NFS);
    small_copy_close_file(&f, file);
}

/* Somebody has put another file there: that one is not to be written to. */
static void test_stale_and_replaced(void **state)
{
    struct fixture f;
    struct store_file *file =
        small_copy_open_file(&f, &(struct fake_faults){0}, 2 * NS_PER_S, state);
    const struct store_ops *ops = f.place->ops;
    assert_int_equal(share_fixture_remove(&f, "file"), 0);
    struct store_file *other = ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(other);
    ops->file_close(other);
    struct store_io ios[2] = {small_copy_io(file, f.data, 0, 100),
                              small_copy_io(file, f.data, 200, 300)};
    share_fixture_run(&f, ops->write, ios, 2);
    for (int i = 0; i < 2; i++)
        assert_true(ios[i].res == -ESTALE && ios[i].fault == ERR_NFS);
    assert_int_equal(ops->publish(file, "final", &share_fixture_attr, NULL, &f.e), -1);
    assert_int_equal(f.e.class, ERR_NFS);
    ops->file_close(file);
    share_fixture_end(&f);
    assert_int_equal(fake_server_writes(f.server), 0);
    share_fixture_tear_down(&f);
}

/* Between the last proof and the name: a file of that inode and size under another handle may be it, and is
 * not named; asked again, by who has proven it, it is. At each of the calls of a publication. */
static void test_another_handle_is_not_published(void **state)
{
    bool renewed = true;
    for (unsigned at = 8; renewed; at++) {
        struct fixture f;
        struct store_file *file =
            small_copy_open_file(&f, &(struct fake_faults){.stale_at = at}, 2 * NS_PER_S, state);
        const struct store_ops *ops = f.place->ops;
        uint64_t generation = file->attr.generation;
        int rc = ops->publish(file, "final", &share_fixture_attr, NULL, &f.e);
        renewed = fake_server_calls(f.server) >= at;
        assert_true(renewed == (rc < 0) || fake_server_calls(f.server) == at);
        if (rc < 0) {
            assert_int_not_equal(file->attr.generation, generation);
            err_clear(&f.e);
            rc = ops->publish(file, "final", &share_fixture_attr, NULL, &f.e);
        }
        if (rc < 0)
            fail_msg("at call %u: %s", at, f.e.msg);
        ops->file_close(file);
        share_fixture_end(&f);
        assert_non_null(fake_server_file(f.server, "final"));
        assert_int_equal(fake_server_files(f.server), 1);
        share_fixture_tear_down(&f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EACH_PATH(test_crash_at_each_call),
        ALL(test_lost_before_each_call),
        ALL(test_lost_after_each_call),
        EACH_PATH(test_each_answer_is_cut),
        EACH_PATH(test_one_answer_is_cut_at_each_byte),
        ALL(test_refused_for_a_while),
        EACH_PATH(test_refused_for_too_long),
        ALL(test_mute_for_a_while),
        EACH_PATH(test_mute_for_ever),
        EACH_PATH(test_silent_for_a_while),
        EACH_PATH(test_silent_for_too_long),
        EACH_PATH(test_a_busy_server_is_waited_for),
        EACH_PATH(test_busy_for_too_long),
        EACH_PATH(test_stale_at_each_call),
        EACH_PATH(test_stale_for_ever),
        EACH_PATH(test_stale_and_replaced),
        EACH_PATH(test_another_handle_is_not_published),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
