/* SPDX-License-Identifier: Apache-2.0 */
/* A relocation from memory onto a small NFS server over real sockets, and all that can go wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/relocate.h"
#include "fake_server.h"
#include "nfs/share.h"
#include "tests/core/memory_store.h"

enum { KIB = 1024, SIZE = 150 * KIB + 77 };

struct fixture {
    struct fake_server *server;
    struct ring *ring;
    struct memory_place from;
    struct store_place *to;
    struct relocate_result result;
    struct err e;
    bool overwrite;
    enum share_path path;
};

/* Each test is run for each data path, with each ring: its state. */
struct variant {
    enum share_path path;
    enum ring_backend backend;
};

static void set_up(struct fixture *f, const struct fake_faults *faults, void **state)
{
    const struct variant *v = *state;
    const struct store_extent extents[] = {{0, 70 * KIB}, {120 * KIB, SIZE - 120 * KIB}};
    *f = (struct fixture){.path = v->path};
    f->server = fake_server_start(faults);
    f->ring = ring_new(v->backend, &f->e);
    assert_non_null(f->ring);
    memory_init(&f->from, f->ring, "from:");
    memory_add(&f->from, "image", SIZE, extents, 2);
}

static int open_share(struct fixture *f, const char *path)
{
    char url[200];
    int port = fake_server_port(f->server);
    snprintf(url, sizeof url, "nfs://127.0.0.1%s?nfsport=%d&mountport=%d", path, port, port);
    const struct share_options options = {
        .connections = 3, .depth = 4, .timeout_ns = NS_PER_S, .path = f->path};
    f->to = share_open(f->ring, url, &options, &f->e);
    return f->to != NULL ? 0 : -1;
}

/* The whole way, as the command goes it. */
static int run(struct fixture *f)
{
    if (open_share(f, "/export/") < 0)
        return -1;
    const struct relocate_job job = {&f->from.base, f->to, "image"};
    const struct relocate_options options = {
        .copy = {.block_bytes = 16 * KIB, .blocks = 8, .range_bytes = 64 * KIB},
        .overwrite = f->overwrite,
    };
    if (relocate_check(&job, 1, f->overwrite, &f->e) < 0)
        return -1;
    return relocate_run(&job, &options, &f->result, &f->e);
}

static void tear_down(struct fixture *f)
{
    if (f->to != NULL)
        f->to->ops->place_close(f->to);
    ring_free(f->ring);
    memory_free(&f->from);
    fake_server_free(f->server);
}

/* Closes the share before the server's state is looked at. */
static void end(struct fixture *f)
{
    if (f->to != NULL)
        f->to->ops->place_close(f->to);
    f->to = NULL;
    fake_server_stop(f->server);
}

static void assert_landed(struct fixture *f)
{
    const struct fake_file *file = fake_server_file(f->server, "image", false);
    assert_non_null(file);
    assert_int_equal(file->size, SIZE);
    assert_int_equal(file->mode, 0640);
    assert_memory_equal(file->durable, memory_find(&f->from, "image")->data, SIZE);
    assert_null(fake_server_file(f->server, ".image.godwit-", true));
}

static void assert_nothing(struct fixture *f)
{
    assert_int_not_equal(f->e.class, ERR_NONE);
    assert_null(fake_server_file(f->server, "image", false));
    assert_null(fake_server_file(f->server, ".image.godwit-", true));
}

static void test_lands(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){0}, state);
    assert_int_equal(run(&f), 0);
    end(&f);
    assert_landed(&f);
    assert_int_equal(f.result.rpc.resent, 0);
    assert_int_equal(f.result.rpc.write, fake_server_writes(f.server));
    assert_true(fake_server_one_credential(f.server));
    tear_down(&f);
}

/* FSINFO bounds the block, and a server may do less than it was asked to. */
static void test_small_and_short_writes(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.write_max = 8 * KIB, .short_write = 5000}, state);
    assert_int_equal(run(&f), 0);
    end(&f);
    assert_landed(&f);
    assert_true(f.result.rpc.write >= 2 * 100 / 8);
    tear_down(&f);
}

static void test_crash_at_each_call(void **state)
{
    unsigned resent = 0, calls = 1;
    for (unsigned at = 1; at <= calls; at++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.crash_at = at}, state);
        assert_int_equal(run(&f), 0);
        end(&f);
        assert_landed(&f);
        resent += f.result.rpc.resent > 0;
        calls = at == 1 ? fake_server_calls(f.server) : calls;
        tear_down(&f);
    }
    assert_true(resent > 0);
}

/* The connections break instead of the Nth answer, before or after it was done. The server lives,
 * so nothing may be left; and what was renamed all the same has landed. */
static void lose_each(bool after, void **state)
{
    unsigned calls = 1;
    for (unsigned at = 1; at <= calls; at++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.close_at = after ? 0 : at, .drop_at = after ? at : 0},
               state);
        int rc = run(&f);
        end(&f);
        if (at == 1)
            calls = 60;
        if (fake_server_calls(f.server) < at) {
            calls = at;
            assert_int_equal(rc, 0);
        }
        if (rc == 0)
            assert_landed(&f);
        else
            assert_nothing(&f);
        tear_down(&f);
    }
}

static void test_lost_before_each_answer(void **state)
{
    lose_each(false, state);
}

static void test_lost_after_each_call(void **state)
{
    lose_each(true, state);
}

static void test_garbage(void **state)
{
    for (unsigned at = 9; at < 16; at++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.garbage_at = at}, state);
        int rc = run(&f);
        end(&f);
        if (rc == 0)
            assert_landed(&f);
        else
            assert_null(fake_server_file(f.server, "image", false));
        tear_down(&f);
    }
}

static void test_answers_in_fragments(void **state)
{
    for (uint32_t bytes = 1; bytes < 30; bytes += 7) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.fragment = bytes}, state);
        assert_int_equal(run(&f), 0);
        end(&f);
        assert_landed(&f);
        tear_down(&f);
    }
}

/* The second one finds no request any more, or one that is not its own. */
static void test_answers_twice(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.twice = true}, state);
    assert_int_equal(run(&f), 0);
    end(&f);
    assert_landed(&f);
    tear_down(&f);
}

static void test_credential_refused(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.denied = true}, state);
    assert_int_equal(run(&f), -1);
    end(&f);
    assert_nothing(&f);
    assert_int_equal(f.e.class, f.path == SHARE_PATH_OWN ? ERR_NFS : ERR_LOST);
    tear_down(&f);
}

static void test_statuses(void **state)
{
    static const struct {
        uint32_t status;
        int sys;
    } cases[] = {{28, ENOSPC}, {69, EDQUOT}, {5, EIO}, {30, EROFS}, {70, ESTALE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.status_at = 16, .status = cases[i].status}, state);
        assert_int_equal(run(&f), -1);
        end(&f);
        assert_nothing(&f);
        assert_int_equal(f.e.class, ERR_NFS);
        assert_non_null(strstr(f.e.msg, strerror(cases[i].sys)));
        tear_down(&f);
    }
}

static void test_owner_not_permitted(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.eperm_chown = true}, state);
    assert_int_equal(run(&f), 0);
    end(&f);
    assert_landed(&f);
    tear_down(&f);
}

static void test_exists(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){0}, state);
    assert_int_equal(run(&f), 0);
    f.to->ops->place_close(f.to);
    unsigned calls = fake_server_calls(f.server);
    assert_int_equal(run(&f), -1);
    assert_int_equal(f.e.class, ERR_REFUSED);
    assert_true(fake_server_calls(f.server) > calls);
    f.to->ops->place_close(f.to);
    err_clear(&f.e);
    f.overwrite = true;
    assert_int_equal(run(&f), 0);
    end(&f);
    assert_landed(&f);
    tear_down(&f);
}

static void test_where_it_cannot_be_opened(void **state)
{
    static const char *const paths[] = {"/", "/other", "/export/absent", "/export/absent/deep"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){0}, state);
        assert_int_equal(open_share(&f, paths[i]), -1);
        assert_int_equal(f.e.class, ERR_REFUSED);
        assert_true(f.e.hint[0] != '\0');
        end(&f);
        tear_down(&f);
    }
}

static void set_flag(void *flag, int res)
{
    (void)res;
    *(volatile sig_atomic_t *)flag = 1;
}

/* The server hangs in mid-copy, and the operator has enough. */
static void test_cancel_while_mute(void **state)
{
    struct fixture f;
    volatile sig_atomic_t cancel = 0;
    set_up(&f, &(struct fake_faults){.mute_from = 17}, state);
    assert_int_equal(open_share(&f, "/export"), 0);
    const struct relocate_job job = {&f.from.base, f.to, "image"};
    const struct relocate_options options = {
        .copy = {.block_bytes = 16 * KIB, .blocks = 8, .range_bytes = 64 * KIB, .cancel = &cancel}};
    struct ring_op later = {0};
    ring_after(f.ring, &later, 50 * NS_PER_MS, set_flag, (void *)&cancel);
    int64_t start_ns = clock_now_ns();
    assert_int_equal(relocate_run(&job, &options, &f.result, &f.e), -1);
    assert_int_equal(f.e.class, ERR_CANCELLED);
    assert_non_null(strstr(f.e.hint, "is left"));
    assert_true(clock_now_ns() - start_ns < 20 * NS_PER_S);
    end(&f);
    assert_null(fake_server_file(f.server, "image", false));
    tear_down(&f);
}

static struct variant own = {SHARE_PATH_OWN, RING_AUTO},
                      own_calls = {SHARE_PATH_OWN, RING_SYSCALLS},
                      libnfs = {SHARE_PATH_LIBNFS, RING_AUTO},
                      libnfs_calls = {SHARE_PATH_LIBNFS, RING_SYSCALLS};

#define EACH_PATH(test)                                              \
    {#test " (own)", test, NULL, NULL, &own},                         \
    {#test " (libnfs)", test, NULL, NULL, &libnfs}

#define ALL(test)                                                    \
    EACH_PATH(test),                                                 \
    {#test " (own, system calls)", test, NULL, NULL, &own_calls},     \
    {#test " (libnfs, system calls)", test, NULL, NULL, &libnfs_calls}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(test_lands),
        ALL(test_small_and_short_writes),
        ALL(test_crash_at_each_call),
        ALL(test_lost_before_each_answer),
        ALL(test_lost_after_each_call),
        ALL(test_garbage),
        ALL(test_answers_in_fragments),
        ALL(test_answers_twice),
        ALL(test_credential_refused),
        ALL(test_statuses),
        ALL(test_owner_not_permitted),
        ALL(test_exists),
        ALL(test_where_it_cannot_be_opened),
        EACH_PATH(test_cancel_while_mute), /* takes its ten seconds */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
