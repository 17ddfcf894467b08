/* SPDX-License-Identifier: Apache-2.0 */
/* A share over real sockets to a small NFS server, and all that can go wrong on the way. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "share_fixture.h"

enum {
    PROC_LOOKUP = 3,
    PROC_READ = 6,
    PROC_WRITE = 7,
    PROC_CREATE = 8,
    PROC_RENAME = 14,
    PROC_COMMIT = 21
};
enum { STATUS_JUKEBOX = 10008, STATUS_STALE = 70 };

/* ---- I/O ---- */

static void count_done(struct store_io *io)
{
    ++*(unsigned *)io->arg;
}

static struct store_io io_at(struct store_file *file, unsigned char *data, uint64_t offset,
                             uint64_t end)
{
    return (struct store_io){.file = file,
                             .buf = data + offset,
                             .offset = offset,
                             .len_bytes = (uint32_t)(end - offset)};
}

/* The first that failed; else all of it was done, piece by piece where pieces are short. */
static struct store_io transfer(struct fixture *f, share_fixture_io_fn *fn, struct store_file *file,
                                unsigned char *data, uint8_t verifiers[BLOCKS][8])
{
    struct store_io ios[BLOCKS];
    uint64_t at[BLOCKS], most = f->place->io_max_bytes;
    for (unsigned i = 0; i < BLOCKS; i++)
        at[i] = (uint64_t)i * BLOCK;
    for (;;) {
        unsigned n = 0, which[BLOCKS];
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint64_t stop = (i + 1ULL) * BLOCK < SIZE ? (i + 1ULL) * BLOCK : SIZE;
            if (at[i] == stop)
                continue;
            which[n] = i;
            ios[n++] = io_at(file, data, at[i], stop - at[i] < most ? stop : at[i] + most);
        }
        if (n == 0)
            return (struct store_io){0};
        share_fixture_run(f, fn, ios, n);
        for (unsigned k = 0; k < n; k++) {
            if (ios[k].res <= 0)
                return ios[k];
            at[which[k]] += (uint64_t)ios[k].res;
            if (verifiers != NULL)
                memcpy(verifiers[which[k]], ios[k].verifier, 8);
        }
    }
}

static struct store_io commit(struct fixture *f, struct store_file *file)
{
    struct store_io io = {.file = file};
    share_fixture_run(f, f->place->ops->commit, &io, 1);
    return io;
}

/* ---- a small copy, as the engine does it ---- */

/* The part may be there from an attempt whose answer was lost. */
static struct store_file *open_part(struct fixture *f, const char *name)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *file = ops->open(f->place, name, STORE_CREATE, SIZE, &f->e);
    if (file != NULL || f->e.sys != EEXIST)
        return file;
    err_clear(&f->e);
    return ops->open(f->place, name, STORE_UPDATE, 0, &f->e);
}

static int write_part(struct fixture *f, struct store_file *file)
{
    uint8_t verifiers[BLOCKS][8];
    for (bool durable = false; !durable;) {
        struct store_io io = transfer(f, f->place->ops->write, file, f->data, verifiers);
        if (io.res == 0)
            io = commit(f, file);
        if (io.res < 0)
            return err_set(&f->e, io.fault, -io.res, "a write");
        durable = true;
        for (unsigned i = 0; i < BLOCKS; i++)
            durable = durable && memcmp(verifiers[i], io.verifier, 8) == 0;
    }
    return 0;
}

static int copy(struct fixture *f)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *dir = ops->open(f->place, "dir", STORE_MAKE_DIRECTORY, 0, &f->e);
    if (dir == NULL)
        return -1;
    ops->file_close(dir);
    struct store_file *file = open_part(f, "dir/.part");
    if (file == NULL)
        return -1;
    assert_true(file->attr.inode != 0);
    int rc = write_part(f, file);
    if (rc == 0)
        rc = ops->publish(file, "image", &share_fixture_attr, NULL, &f->e);
    if (rc == 0)
        assert_string_equal(file->name, "dir/image");
    uint64_t inode = file->attr.inode;
    ops->file_close(file);
    struct store_attr attr;
    if (rc < 0 || (rc = ops->lookup(f->place, "dir/image", &attr, &f->e)) <= 0)
        return -1;
    assert_int_equal(attr.inode, inode);
    assert_int_equal(attr.size_bytes, SIZE);
    return 0;
}

static int read_back(struct fixture *f)
{
    const struct store_ops *ops = f->place->ops;
    struct store_file *file = ops->open(f->place, "dir/image", STORE_READ, 0, &f->e);
    if (file == NULL)
        return -1;
    struct store_extent x;
    assert_int_equal(ops->extent(file, 5, &x, &f->e), 1);
    assert_true(x.offset == 5 && x.len_bytes == SIZE - 5 && file->holes_unknown);
    assert_int_equal(ops->extent(file, SIZE, &x, &f->e), 0);
    memset(f->back, 0, SIZE);
    struct store_io io = transfer(f, ops->read, file, f->back, NULL);
    ops->file_close(file);
    if (io.res < 0)
        return err_set(&f->e, io.fault, -io.res, "a read");
    assert_memory_equal(f->back, f->data, SIZE);
    return 0;
}

static int run(struct fixture *f)
{
    return copy(f) < 0 ? -1 : read_back(f);
}

static void assert_landed(struct fixture *f)
{
    const struct fake_file *file = fake_server_file(f->server, "dir/image");
    assert_non_null(file);
    assert_int_equal(file->size, SIZE);
    assert_int_equal(file->mode, 0640);
    assert_int_equal(file->mtime_s, 1234);
    assert_memory_equal(file->durable, f->data, SIZE);
    assert_int_equal(fake_server_files(f->server), 2);
}

/* All of it with these faults: it must come out right. */
static unsigned survive(const struct fake_faults *faults, void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, faults, state);
    if (share_fixture_open(&f, "/export/") < 0) { /* opening is not tried again */
        assert_int_equal(f.e.class, ERR_REFUSED);
        err_clear(&f.e);
        assert_int_equal(share_fixture_open(&f, "/export/"), 0);
    }
    if (run(&f) < 0)
        fail_msg("%s", f.e.msg);
    share_fixture_end(&f);
    assert_landed(&f);
    unsigned calls = fake_server_calls(f.server);
    share_fixture_tear_down(&f);
    return calls;
}

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
    assert_int_equal(run(&f), 0);
    assert_int_equal(fake_server_connections(f.server), 3);
    share_fixture_end(&f);
    assert_landed(&f);
    assert_int_equal(fake_server_writes(f.server), BLOCKS);
    assert_true(fake_server_one_credential(f.server));
    assert_int_equal(f.warnings, 0);
    share_fixture_tear_down(&f);
}

/* FSINFO bounds the block, a server may do less than it was asked to, and leave much out. */
static void test_servers_that_differ(void **state)
{
    survive(&(struct fake_faults){.write_max = 8 * KIB, .short_write = 5000}, state);
    survive(&(struct fake_faults){.read_max = 8 * KIB, .short_read = 5000}, state);
    survive(&(struct fake_faults){.bare = true}, state);
    survive(&(struct fake_faults){.ignore_size = true}, state);
    survive(&(struct fake_faults){.eperm_chown = true}, state);
    survive(&(struct fake_faults){.twice = true}, state);
    survive(&(struct fake_faults){.reverse = 3}, state);
    for (uint32_t bytes = 1; bytes < 30; bytes += 7)
        survive(&(struct fake_faults){.fragment = bytes}, state);
}

/* ---- connections ---- */

static void test_crash_at_each_call(void **state)
{
    unsigned calls = survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        survive(&(struct fake_faults){.crash_at = at}, state);
}

static void test_lost_before_each_call(void **state)
{
    unsigned calls = survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        survive(&(struct fake_faults){.close_at = at}, state);
}

static void test_lost_after_each_call(void **state)
{
    unsigned calls = survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        survive(&(struct fake_faults){.drop_at = at}, state);
    for (unsigned at = 1; at <= calls + 2; at++) /* RENAME in the place of LINK */
        survive(&(struct fake_faults){.drop_at = at, .no_link = true}, state);
}

static void test_each_answer_is_cut(void **state)
{
    unsigned calls = survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        survive(&(struct fake_faults){.cut_at = at, .cut_bytes = 3 + at}, state);
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
            struct store_io io = io_at(file, f.data, 0, 3000);
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
    assert_int_equal(run(&f), 0);
    assert_true(clock_now_ns() - start_ns > 600 * NS_PER_MS);
    share_fixture_end(&f);
    assert_int_equal(f.warnings, 2);
    assert_landed(&f);
    share_fixture_tear_down(&f);
}

/* A file to be written to, with nothing yet at its data connection. */
static struct store_file *open_file(struct fixture *f, const struct fake_faults *faults,
                                    void **state)
{
    share_fixture_start(f, faults, state);
    struct store_file *file = f->place->ops->open(f->place, "file", STORE_CREATE, SIZE, &f->e);
    assert_non_null(file);
    return file;
}

static void close_file(struct fixture *f, struct store_file *file)
{
    f->place->ops->file_close(file);
    share_fixture_end(f);
    share_fixture_tear_down(f);
}

static void test_refused_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file =
        open_file(&f, &(struct fake_faults){.close_at = 9, .refuse_ms = 30000}, state);
    int64_t start_ns = clock_now_ns();
    struct store_io ios[2] = {io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ios[i].fault, ERR_LOST);
        assert_true(ios[i].res < 0);
    }
    int64_t took_ns = clock_now_ns() - start_ns;
    assert_true(took_ns > 3 * f.timeout_ns / 4 && took_ns < 3 * f.timeout_ns);
    assert_null(f.place->ops->open(f.place, "other", STORE_CREATE, 1, &f.e));
    assert_int_equal(f.e.class, ERR_LOST);
    close_file(&f, file);
}

/* It hangs, and comes back; connected anew it answers. */
static void test_mute_for_a_while(void **state)
{
    struct fixture f;
    struct store_file *file =
        open_file(&f, &(struct fake_faults){.mute_from = 9, .mute_until = 10}, state);
    struct store_io ios[2] = {io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    assert_true(ios[0].res == 100 && ios[1].res == 100);
    close_file(&f, file);
    assert_int_equal(f.warnings, 2);
}

static void test_mute_for_ever(void **state)
{
    struct fixture f;
    struct store_file *file = open_file(&f, &(struct fake_faults){.mute_from = 9}, state);
    int64_t start_ns = clock_now_ns();
    struct store_io io = io_at(file, f.data, 0, 100);
    share_fixture_run(&f, f.place->ops->write, &io, 1);
    assert_true(io.res < 0 && (io.fault == ERR_LOST || io.fault == ERR_TIMEOUT));
    assert_true(clock_now_ns() - start_ns < 4 * f.timeout_ns);
    close_file(&f, file);
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
    assert_true(clock_now_ns() - start_ns < 3 * NS_PER_S);
    fake_silence_stop(silence);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

/* In mid-copy: connecting anew takes for ever. The server comes back, or does not. */
static void test_silent_for_a_while(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.close_at = 10, .silent = true, .refuse_ms = 700},
                        state);
    assert_int_equal(run(&f), 0);
    share_fixture_end(&f);
    assert_landed(&f);
    share_fixture_tear_down(&f);
}

static void test_silent_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file =
        open_file(&f, &(struct fake_faults){.close_at = 9, .silent = true}, state);
    int64_t start_ns = clock_now_ns();
    struct store_io ios[2] = {io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++)
        assert_true(ios[i].res < 0 && ios[i].fault == ERR_LOST);
    assert_true(clock_now_ns() - start_ns < 8 * NS_PER_S);
    assert_null(f.place->ops->open(f.place, "other", STORE_CREATE, 1, &f.e));
    close_file(&f, file);
}

static void test_garbage_is_survived_or_told(void **state)
{
    for (unsigned at = 9; at < 16; at++) {
        struct fixture f;
        share_fixture_start(&f, &(struct fake_faults){.garbage_at = at}, state);
        int rc = run(&f);
        share_fixture_end(&f);
        const struct fake_file *file = fake_server_file(f.server, "dir/image");
        if (rc == 0)
            assert_landed(&f);
        else
            assert_true(file == NULL || memcmp(file->durable, f.data, SIZE) == 0);
        share_fixture_tear_down(&f);
    }
}

static void test_a_refused_credential_is_told(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){.denied = true}, state);
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.class, f.path == SHARE_PATH_OWN ? ERR_NFS : ERR_LOST);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

/* ---- what the server says ---- */

static void test_a_busy_server_is_waited_for(void **state)
{
    static const unsigned procs[] = {PROC_LOOKUP, PROC_READ,   PROC_WRITE,
                                     PROC_CREATE, PROC_RENAME, PROC_COMMIT};
    for (size_t i = 0; i < sizeof procs / sizeof *procs; i++)
        survive(&(struct fake_faults){.status_at = 1,
                                      .status = STATUS_JUKEBOX,
                                      .status_proc = procs[i],
                                      .status_times = 3},
                state);
}

/* The busy one waits alone. */
static void test_busy_for_too_long(void **state)
{
    struct fixture f;
    struct store_file *file = open_file(
        &f,
        &(struct fake_faults){.status_at = 1, .status = STATUS_JUKEBOX, .status_proc = PROC_COMMIT},
        state);
    unsigned done = 0;
    int64_t start_ns = clock_now_ns();
    struct store_io busy = {.file = file, .done = count_done, .arg = &done};
    f.place->ops->commit(&busy);
    for (unsigned i = 0; i < 20; i++) {
        struct store_io io = io_at(file, f.data, 0, 100);
        share_fixture_run(&f, f.place->ops->write, &io, 1);
        assert_int_equal(io.res, 100);
    }
    assert_true(clock_now_ns() - start_ns < f.timeout_ns / 2);
    while (done == 0)
        ring_turn(f.ring, NS_PER_S);
    assert_true(busy.res == -EAGAIN && busy.fault == ERR_NFS);
    int64_t took_ns = clock_now_ns() - start_ns;
    assert_true(took_ns > 3 * f.timeout_ns / 4 && took_ns < 3 * f.timeout_ns);
    close_file(&f, file);
    assert_int_equal(f.warnings, 0);
}

static void test_stale_at_each_call(void **state)
{
    unsigned calls = survive(&(struct fake_faults){0}, state);
    for (unsigned at = 1; at <= calls; at++)
        survive(&(struct fake_faults){.stale_at = at}, state);
    for (unsigned at = 1; at <= calls; at++) {
        if (at < 6 || at > 7) /* opening is not tried again; and then it is mounted anew */
            survive(&(struct fake_faults){.stale_all_at = at}, state);
    }
}

static void test_stale_for_ever(void **state)
{
    struct fixture f;
    struct store_file *file = open_file(
        &f,
        &(struct fake_faults){.status_at = 1, .status = STATUS_STALE, .status_proc = PROC_WRITE},
        state);
    struct store_io ios[2] = {io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300)};
    share_fixture_run(&f, f.place->ops->write, ios, 2);
    for (int i = 0; i < 2; i++)
        assert_true(ios[i].res == -ESTALE && ios[i].fault == ERR_NFS);
    close_file(&f, file);
}

/* Somebody has put another file there: that one is not to be written to. */
static void test_stale_and_replaced(void **state)
{
    struct fixture f;
    struct store_file *file = open_file(&f, &(struct fake_faults){0}, state);
    const struct store_ops *ops = f.place->ops;
    assert_int_equal(share_fixture_remove(&f, "file"), 0);
    struct store_file *other = ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(other);
    ops->file_close(other);
    struct store_io ios[2] = {io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300)};
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

static void test_statuses_that_are_final(void **state)
{
    static const struct {
        uint32_t status;
        int sys;
    } cases[] = {{28, ENOSPC}, {69, EDQUOT}, {5, EIO}, {30, EROFS}, {13, EACCES}, {10006, EIO}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        share_fixture_start(&f,
                            &(struct fake_faults){.status_at = 1,
                                                  .status = cases[i / 2].status,
                                                  .status_proc = i % 2 ? PROC_COMMIT : PROC_WRITE},
                            state);
        int64_t start_ns = clock_now_ns();
        assert_int_equal(run(&f), -1);
        assert_true(clock_now_ns() - start_ns < NS_PER_S / 2);
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
    struct store_file *file = open_file(&f, faults, state);
    struct store_io ios[3] = {
        io_at(file, f.data, 0, 100), io_at(file, f.data, 200, 300), {.file = file}};
    unsigned done = 0;
    for (int i = 0; i < 3; i++) {
        ios[i].done = count_done;
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
        assert_true(clock_now_ns() - start_ns < 500 * NS_PER_MS);
        ring_turn(f.ring, 100 * NS_PER_MS);
    }
    for (int i = 0; i < 3; i++)
        assert_true(ios[i].res == -ECANCELED && ios[i].fault == ERR_CANCELLED);
    close_file(&f, file);
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
        .timeout_ns = 20 * NS_PER_S, .path = f.path, .cancel = &cancelled};
    signal(SIGALRM, cancel);
    int64_t start_ns = clock_now_ns();
    cancelled = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", port, silent_port);
    assert_null(share_open(f.ring, url, &options, &f.e));
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_true(clock_now_ns() - start_ns < NS_PER_S);
    fake_silence_stop(silence);

    err_clear(&f.e);
    cancelled = 0;
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", port, port);
    f.place = share_open(f.ring, url, &options, &f.e);
    assert_non_null(f.place);
    struct store_file *file = f.place->ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(file);
    unsigned done = 0;
    struct store_io io = io_at(file, f.data, 0, 100);
    io.done = count_done;
    io.arg = &done;
    f.place->ops->write(&io);
    start_ns = clock_now_ns();
    setitimer(ITIMER_REAL, &soon, NULL);
    while (cancelled == 0)
        ring_turn(f.ring, 100 * NS_PER_MS);
    f.place->ops->stop(f.place);
    while (done == 0)
        ring_turn(f.ring, 100 * NS_PER_MS);
    assert_true(clock_now_ns() - start_ns < NS_PER_S);
    assert_int_equal(io.fault, ERR_CANCELLED);
    close_file(&f, file);
}

/* What was stopped can be used again. */
/* Tidying up on a server that has gone silent: seconds at most, and once. */
static void test_tidies_in_time(void **state)
{
    struct fixture f;
    share_fixture_set_up(&f, &(struct fake_faults){.mute_from = 9}, state);
    f.timeout_ns = 20 * NS_PER_S;
    assert_int_equal(share_fixture_open(&f, "/export"), 0);
    struct store_file *file = f.place->ops->open(f.place, "file", STORE_CREATE, SIZE, &f.e);
    assert_non_null(file);
    struct store_attr is = file->attr;
    f.place->ops->file_close(file);
    while (fake_server_calls(f.server) < 8)
        f.place->ops->lookup(f.place, "file", &is, &f.e);
    share_fixture_cancel = 1;
    for (int i = 0; i < 2; i++) {
        int64_t start_ns = clock_now_ns();
        assert_int_equal(f.place->ops->remove(f.place, "file", &is, &f.e), -1);
        assert_int_equal(f.e.class, ERR_TIMEOUT);
        assert_true(clock_now_ns() - start_ns < (i == 0 ? 12 : 1) * NS_PER_S / 2);
        err_clear(&f.e);
    }
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static void test_a_stop_cancels_what_waits_and_no_more(void **state)
{
    struct fixture f;
    share_fixture_start(&f, &(struct fake_faults){0}, state);
    f.place->ops->stop(f.place);
    assert_int_equal(copy(&f), 0);
    struct store_file *file = f.place->ops->open(f.place, "dir/image", STORE_UPDATE, 0, &f.e);
    unsigned done = 0;
    struct store_io io = io_at(file, f.data, 0, 100);
    io.done = count_done;
    io.arg = &done;
    f.place->ops->write(&io);
    f.place->ops->stop(f.place);
    while (done == 0)
        ring_turn(f.ring, NS_PER_S);
    assert_int_equal(io.res, -ECANCELED);
    f.place->ops->file_close(file);
    assert_int_equal(read_back(&f), 0);
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static struct variant own = {SHARE_PATH_OWN, RING_AUTO},
                      own_calls = {SHARE_PATH_OWN, RING_SYSCALLS},
                      libnfs = {SHARE_PATH_LIBNFS, RING_AUTO},
                      libnfs_calls = {SHARE_PATH_LIBNFS, RING_SYSCALLS};

#define EACH_PATH(test)                              \
    {#test " (own)", test, NULL, NULL, &own},        \
    {                                                \
#test " (libnfs)", test, NULL, NULL, &libnfs \
    }

#define ALL(test)                                                                  \
    EACH_PATH(test), {#test " (own, system calls)", test, NULL, NULL, &own_calls}, \
    {                                                                              \
#test " (libnfs, system calls)", test, NULL, NULL, &libnfs_calls           \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ALL(test_a_copy_is_whole),
        EACH_PATH(test_servers_that_differ),
        EACH_PATH(test_crash_at_each_call),
        ALL(test_lost_before_each_call),
        ALL(test_lost_after_each_call),
        EACH_PATH(test_each_answer_is_cut),
        EACH_PATH(test_one_answer_is_cut_at_each_byte),
        ALL(test_refused_for_a_while),
        EACH_PATH(test_refused_for_too_long),
        ALL(test_mute_for_a_while),
        EACH_PATH(test_mute_for_ever),
        EACH_PATH(test_silent_from_the_start),
        EACH_PATH(test_silent_for_a_while),
        EACH_PATH(test_silent_for_too_long),
        EACH_PATH(test_garbage_is_survived_or_told),
        EACH_PATH(test_a_refused_credential_is_told),
        EACH_PATH(test_a_busy_server_is_waited_for),
        EACH_PATH(test_busy_for_too_long),
        EACH_PATH(test_stale_at_each_call),
        EACH_PATH(test_stale_for_ever),
        EACH_PATH(test_stale_and_replaced),
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
