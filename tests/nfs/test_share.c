/* SPDX-License-Identifier: Apache-2.0 */
/* A share over real sockets to a small NFS server: whole copies, what the server refuses, and how it is stopped. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "small_copy.h"

static void test_a_copy_is_whole(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){0}, state);
    assert_int_equal(f.place->io_max_bytes, 1 << 20);
    assert_true(f.place->free_bytes == 1ULL << 30);
    struct store_attr attr;
    assert_int_equal(f.place->ops->lookup(f.place, "", &attr, &f.e), 1);
    assert_int_equal(attr.type, STORE_DIRECTORY);
    assert_int_equal(f.place->ops->lookup(f.place, "absent", &attr, &f.e), 0);
    assert_int_equal(f.place->ops->lookup(f.place, "absent/deep", &attr, &f.e), 0);
    assert_int_equal(fake_server_connections(f.server), 2); /* none for data yet */
    assert_int_equal(small_copy_and_read_back(&f), 0);
    assert_int_equal(fake_server_connections(f.server), 3);
    share_fixture_end(&f);
    small_copy_assert_landed(&f);
    assert_int_equal(fake_server_writes(f.server), BLOCKS);
    assert_true(fake_server_one_credential(f.server));
    assert_int_equal(f.warnings, 0);
    share_fixture_tear_down(&f);
}

/* FSINFO bounds the block, a server may do less than it was asked to, and leave much out. */
static void test_servers_that_differ(void **state)
{
    small_copy_survive(&(struct fake_faults){.write_max = 8 * KIB, .short_write = 5000}, state);
    small_copy_survive(&(struct fake_faults){.read_max = 8 * KIB, .short_read = 5000}, state);
    small_copy_survive(&(struct fake_faults){.bare = true}, state);
    small_copy_survive(&(struct fake_faults){.ignore_size = true}, state);
    small_copy_survive(&(struct fake_faults){.eperm_chown = true}, state);
    small_copy_survive(&(struct fake_faults){.twice = true}, state);
    small_copy_survive(&(struct fake_faults){.reverse = 3}, state);
    for (uint32_t bytes = 1; bytes < 30; bytes += 7)
        small_copy_survive(&(struct fake_faults){.fragment = bytes}, state);
}

/* Packets are dropped from the start: an error in time, not a hang and no abort. */
static void test_silent_from_the_start(void **state)
{
    struct fixture f;
    int port;
    share_fixture_set_up(&f, &(struct fake_faults){0}, state);
    struct fake_silence *silence = fake_silence_start(&port);
    char url[100];
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", port, port);
    const struct share_options options = {.timeout_ns = NS_PER_S, .path = f.path};
    int64_t start_ns = clock_now_ns();
    assert_null(share_open(f.ring, url, &options, &f.e));
    assert_int_equal(f.e.class, ERR_TIMEOUT);
    assert_non_null(strstr(f.e.msg, "no answer from port"));
    assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
    fake_silence_stop(silence);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_garbage_is_survived_or_reported(void **state)
{
    for (unsigned at = 9; at < 16; at++) {
        struct fixture f;
        share_fixture_start(&f, &(struct fake_faults){.garbage_at = at}, state);
        int rc = small_copy_and_read_back(&f);
        share_fixture_end(&f);
        const struct fake_file *file = fake_server_file(f.server, "dir/image");
        if (at > 10 && at < 15) /* writes */
            assert_true(rc < 0 && f.warnings > 0);
        if (rc == 0)
            small_copy_assert_landed(&f);
        else
            assert_true(file == NULL || memcmp(file->durable, f.data, SIZE) == 0);
        share_fixture_tear_down(&f);
    }
}

static void test_a_refused_credential_is_reported(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.denied = true}, state);
    assert_int_equal(small_copy_and_read_back(&f), -1);
    assert_int_equal(f.e.class, ERR_NFS);
    assert_int_equal(f.e.sys, EACCES);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_statuses_that_are_final(void **state)
{
    static const struct {
        uint32_t status;
        int sys;
    } cases[] = {{28, ENOSPC}, {69, EDQUOT}, {5, EIO}, {30, EROFS}, {13, EACCES}, {10006, EIO}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        share_fixture_set_up(&f,
                             &(struct fake_faults){.status_at = 1,
                                                   .status = cases[i / 2].status,
                                                   .status_proc = i % 2 ? PROC_COMMIT : PROC_WRITE},
                             state);
        f.timeout_ns = SMALL_COPY_PATIENT_NS;
        assert_int_equal(share_fixture_open(&f, "/export"), 0);
        int64_t start_ns = clock_now_ns();
        assert_int_equal(small_copy_and_read_back(&f), -1);
        assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
        assert_int_equal(f.e.class, ERR_NFS);
        assert_int_equal(f.e.sys, cases[i / 2].sys);
        share_fixture_end(&f);
        assert_null(fake_server_file(f.server, "dir/image"));
        share_fixture_tear_down(&f);
    }
}

/* A server that denies names the likely reason, and a remedy. */
static void test_a_denial_names_a_remedy(void **state)
{
    static const uint32_t statuses[] = {13, 1, 30};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        share_fixture_start(&f,
                            &(struct fake_faults){
                                .status_at = 1, .status = statuses[i], .status_proc = PROC_CREATE},
                            state);
        assert_null(f.place->ops->open(f.place, "file", STORE_CREATE, 1, &f.e));
        assert_non_null(f.e.hint);
        assert_non_null(strstr(f.e.hint, statuses[i] == 30 ? "read-only" : "_squash"));
        share_fixture_end(&f);
        share_fixture_tear_down(&f);
    }
}

/* ---- stop ---- */

static void stop_with(const struct fake_faults *faults, int64_t after_ms, void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(&f, faults, SMALL_COPY_PATIENT_NS, state);
    struct store_io ios[3] = {
        small_copy_io(file, f.data, 0, 100), small_copy_io(file, f.data, 200, 300), {.file = file}};
    unsigned done = 0;
    for (int i = 0; i < 3; i++) {
        ios[i].done = small_copy_count;
        ios[i].arg = &done;
        (i < 2 ? f.place->ops->write : f.place->ops->commit)(&ios[i]);
    }
    int64_t start_ns = clock_now_ns();
    while (clock_now_ns() - start_ns < after_ms * NS_PER_MS)
        ring_turn(f.ring, 20 * NS_PER_MS);
    assert_int_equal(done, 0);
    f.place->ops->stop(f.place);
    assert_int_equal(done, 0);
    start_ns = clock_now_ns();
    while (done < 3) {
        assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
        ring_turn(f.ring, 100 * NS_PER_MS);
    }
    for (int i = 0; i < 3; i++)
        assert_true(ios[i].res == -ECANCELED && ios[i].fault == ERR_CANCELLED);
    small_copy_close_file(&f, file);
}

static void test_a_stop_ends_every_wait(void **state)
{
    stop_with(&(struct fake_faults){.mute_from = 9}, 300, state);
    stop_with(&(struct fake_faults){.mute_from = 9}, 0, state);
    stop_with(&(struct fake_faults){.close_at = 9, .refuse_ms = 9000}, 300, state);
    stop_with(&(struct fake_faults){.status_at = 9, .status = STATUS_JUKEBOX}, 1000, state);
}

static volatile sig_atomic_t cancelled;

static void cancel(int sig)
{
    (void)sig;
    cancelled = 1;
}

/* Ctrl-C while connecting takes for ever: from the start, and in mid-copy. */
static void test_a_stop_ends_connecting(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){.close_at = 9, .silent = true}, state);
    char url[100];
    int silent_port, port = fake_server_port(f.server);
    struct fake_silence *silence = fake_silence_start(&silent_port);
    const struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    const struct share_options options = {
        .timeout_ns = SMALL_COPY_PATIENT_NS, .path = f.path, .cancel = &cancelled};
    signal(SIGALRM, cancel);
    int64_t start_ns = clock_now_ns();
    cancelled = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", port, silent_port);
    assert_null(share_open(f.ring, url, &options, &f.e));
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
    fake_silence_stop(silence);

    err_clear(&f.e);
    cancelled = 0;
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", port, port);
    f.place = share_open(f.ring, url, &options, &f.e);
    assert_non_null(f.place);
    struct store_file *file = f.place->ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(file);
    unsigned done = 0;
    struct store_io io = small_copy_io(file, f.data, 0, 100);
    io.done = small_copy_count;
    io.arg = &done;
    f.place->ops->write(&io);
    start_ns = clock_now_ns();
    setitimer(ITIMER_REAL, &soon, NULL);
    while (cancelled == 0)
        ring_turn(f.ring, 100 * NS_PER_MS);
    f.place->ops->stop(f.place);
    while (done == 0)
        ring_turn(f.ring, 100 * NS_PER_MS);
    assert_true(clock_now_ns() - start_ns < SMALL_COPY_SOON_NS);
    assert_int_equal(io.fault, ERR_CANCELLED);
    small_copy_close_file(&f, file);
}

/* Tidying up on a server that has gone silent: seconds at most, and once. */
static void test_tidies_in_time(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){.mute_from = 9}, state);
    f.timeout_ns = SMALL_COPY_PATIENT_NS;
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    struct store_file *file = f.place->ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(file);
    struct store_attr is = file->attr;
    f.place->ops->file_close(file);
    while (fake_server_calls(f.server) < 8)
        f.place->ops->lookup(f.place, "file", &is, &f.e);
    share_fixture_cancel = 1;
    int64_t took_ns[2];
    for (int i = 0; i < 2; i++) {
        int64_t start_ns = clock_now_ns();
        assert_int_equal(f.place->ops->remove(f.place, "file", &is, &f.e), -1);
        assert_int_equal(f.e.class, ERR_TIMEOUT);
        took_ns[i] = clock_now_ns() - start_ns;
        err_clear(&f.e);
    }
    assert_true(took_ns[0] < SMALL_COPY_SOON_NS && took_ns[1] < took_ns[0] / 2);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

/* What was stopped can be used again. */
static void test_a_stop_cancels_what_waits_and_no_more(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){0}, state);
    f.place->ops->stop(f.place);
    assert_int_equal(small_copy(&f), 0);
    struct store_file *file = f.place->ops->open(f.place, "dir/image", STORE_UPDATE, 0, &f.e);
    unsigned done = 0;
    struct store_io io = small_copy_io(file, f.data, 0, 100);
    io.done = small_copy_count;
    io.arg = &done;
    f.place->ops->write(&io);
    f.place->ops->stop(f.place);
    while (done == 0)
        ring_turn(f.ring, NS_PER_S);
    assert_int_equal(io.res, -ECANCELED);
    f.place->ops->file_close(file);
    assert_int_equal(small_copy_read_back(&f), 0);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ALL(test_a_copy_is_whole),
        EACH_PATH(test_servers_that_differ),
        EACH_PATH(test_silent_from_the_start),
        EACH_PATH(test_garbage_is_survived_or_reported),
        EACH_PATH(test_a_refused_credential_is_reported),
        EACH_PATH(test_statuses_that_are_final),
        EACH_PATH(test_a_denial_names_a_remedy),
        ALL(test_a_stop_ends_every_wait),
        EACH_PATH(test_a_stop_ends_connecting),
        EACH_PATH(test_tidies_in_time),
        ALL(test_a_stop_cancels_what_waits_and_no_more),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
