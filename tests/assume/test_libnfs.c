/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nfs/share_conn.c assumes of libnfs: each request that was queued is called back exactly
 * once, also when the server closes, hangs, or the context is destroyed; without autoreconnect
 * nothing is sent again behind our back; and requests only age while nfs_service() is called.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "nfs/compat.h"
#include "tests/nfs/fake_server.h"

enum { REQUESTS = 5, TIMEOUT_MS = 1000 };

struct seen {
    int count;
    int status;
};

static void see(struct rpc_context *rpc, int status, void *data, void *arg)
{
    struct seen *s = arg;
    (void)rpc, (void)data;
    s->count++;
    s->status = status;
}

/* -1: libnfs says that the context is beyond use. */
static int turn(struct nfs_context *nfs)
{
    struct pollfd p = {.fd = nfs_get_fd(nfs), .events = (short)nfs_which_events(nfs)};
    return nfs_service(nfs, poll(&p, 1, 20) > 0 ? p.revents : 0);
}

static struct nfs_context *connect_to(struct fake_server *server)
{
    struct seen connected = {0};
    struct nfs_context *nfs = nfs_init_context();
    nfs_set_autoreconnect(nfs, 0);
    nfs_set_timeout(nfs, TIMEOUT_MS);
    assert_int_equal(rpc_connect_port_async(nfs_get_rpc_context(nfs), "127.0.0.1",
                                            fake_server_port(server), NFS_PROGRAM, 3, see,
                                            &connected),
                     0);
    while (connected.count == 0)
        assert_int_equal(turn(nfs), 0);
    assert_int_equal(connected.status, RPC_STATUS_SUCCESS);
    return nfs;
}

static void ask(struct nfs_context *nfs, struct seen seen[REQUESTS])
{
    char handle[4] = {0}; /* it does not look at it */
    FSINFO3args args = {.fsroot = {.data = {sizeof handle, handle}}};
    for (int i = 0; i < REQUESTS; i++)
        assert_true(COMPAT_CALL(nfs3_fsinfo, nfs_get_rpc_context(nfs), see, &args, &seen[i]));
}

static void assert_each_once(const struct seen seen[REQUESTS], bool success)
{
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(seen[i].count, 1);
        assert_int_equal(seen[i].status == RPC_STATUS_SUCCESS, success);
    }
}

static void test_answered(void **state)
{
    (void)state;
    struct seen seen[REQUESTS] = {{0}};
    struct fake_server *server = fake_server_start(&(struct fake_faults){0});
    struct nfs_context *nfs = connect_to(server);
    ask(nfs, seen);
    while (seen[REQUESTS - 1].count == 0)
        assert_int_equal(turn(nfs), 0);
    nfs_destroy_context(nfs);
    assert_each_once(seen, true);
    fake_server_stop(server);
    fake_server_free(server);
}

static void test_server_closes(void **state)
{
    (void)state;
    struct seen seen[REQUESTS] = {{0}};
    struct fake_server *server = fake_server_start(&(struct fake_faults){.close_at = 2});
    struct nfs_context *nfs = connect_to(server);
    ask(nfs, seen);
    int64_t deadline_ns = clock_now_ns() + NS_PER_S / 2;
    while (turn(nfs) == 0)
        assert_true(clock_now_ns() < deadline_ns);
    nfs_destroy_context(nfs);
    assert_each_once(seen, false);
    fake_server_stop(server);
    assert_int_equal(fake_server_calls(server), 2); /* NULL, and the one: nothing came again */
    fake_server_free(server);
}

static void test_destroyed(void **state)
{
    (void)state;
    struct seen seen[REQUESTS] = {{0}};
    struct fake_server *server = fake_server_start(&(struct fake_faults){.mute_from = 2});
    struct nfs_context *nfs = connect_to(server);
    ask(nfs, seen);
    for (int i = 0; i < 5; i++)
        assert_int_equal(turn(nfs), 0);
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(seen[i].count, 0);
    nfs_destroy_context(nfs);
    assert_each_once(seen, false);
    fake_server_stop(server);
    fake_server_free(server);
}

static void test_server_hangs(void **state)
{
    (void)state;
    struct seen seen[REQUESTS] = {{0}};
    struct fake_server *server = fake_server_start(&(struct fake_faults){.mute_from = 2});
    struct nfs_context *nfs = connect_to(server);
    ask(nfs, seen);
    int64_t deadline_ns = clock_now_ns() + 5 * TIMEOUT_MS * NS_PER_MS;
    while (seen[REQUESTS - 1].count == 0 && turn(nfs) == 0)
        assert_true(clock_now_ns() < deadline_ns);
    nfs_destroy_context(nfs);
    assert_each_once(seen, false);
    assert_int_equal(seen[0].status, RPC_STATUS_TIMEOUT);
    fake_server_stop(server);
    fake_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answered),
        cmocka_unit_test(test_server_closes),
        cmocka_unit_test(test_destroyed),
        cmocka_unit_test(test_server_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
