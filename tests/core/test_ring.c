/* SPDX-License-Identifier: Apache-2.0 */
/* The ring, in the same words for both of its backends. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "ring_fixture.h"

enum { MANY = 1000 };

static void test_what_is_written_is_read(void **state)
{
    struct fixture f;
    struct ring_op op = {0};
    struct seen wrote = {0}, synced = {0}, got = {0}, end = {0};
    char buf[8] = "";
    set_up(&f, state);

    ring_write(f.ring, &op, f.file, "godwit", 6, 100, see, &wrote);
    assert_int_equal(wrote.count, 0); /* never from the call itself */
    assert_true(ring_busy(&op));
    await(&f, &wrote);
    assert_int_equal(wrote.res, 6);
    assert_false(ring_busy(&op));

    ring_fsync(f.ring, &op, f.file, see, &synced);
    await(&f, &synced);
    assert_int_equal(synced.res, 0);

    ring_read(f.ring, &op, f.file, buf, sizeof buf, 102, see, &got);
    await(&f, &got);
    assert_int_equal(got.res, 4); /* short, as the file is */
    assert_memory_equal(buf, "dwit", 4);

    ring_read(f.ring, &op, f.file, buf, sizeof buf, 500, see, &end);
    await(&f, &end);
    assert_int_equal(end.res, 0);
    tear_down(&f);
}

static void test_errors_are_results(void **state)
{
    struct fixture f;
    struct ring_op op = {0};
    struct seen got = {0};
    char c;
    set_up(&f, state);
    ring_read(f.ring, &op, -1, &c, 1, 0, see, &got);
    await(&f, &got);
    assert_int_equal(got.res, -EBADF);
    tear_down(&f);
}

/* More at once than the queues hold. */
static void test_more_than_the_queue_holds_completes(void **state)
{
    struct fixture f;
    static struct ring_op ops[MANY];
    static struct seen seen[MANY];
    static uint32_t words[MANY];
    memset(ops, 0, sizeof ops);
    memset(seen, 0, sizeof seen);
    set_up(&f, state);
    for (uint32_t i = 0; i < MANY; i++) {
        words[i] = i;
        ring_write(f.ring, &ops[i], f.file, &words[i], 4, 4 * (uint64_t)i, see, &seen[i]);
    }
    for (int i = 0; i < MANY; i++) {
        await(&f, &seen[i]);
        assert_int_equal(seen[i].res, 4);
    }
    memset(words, 0xff, sizeof words);
    assert_int_equal(pread(f.file, words, sizeof words, 0), sizeof words);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(words[i], i);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(seen[i].count, 1);
    tear_down(&f);
}

static void test_poll_gives_the_events(void **state)
{
    struct fixture f;
    struct ring_op in = {0}, out = {0};
    struct seen readable = {0}, writable = {0};
    set_up(&f, state);
    ring_poll(f.ring, &in, f.pair[0], POLLIN, see, &readable);
    ring_poll(f.ring, &out, f.pair[0], POLLOUT, see, &writable);
    await(&f, &writable);
    assert_true(writable.res & POLLOUT);
    assert_int_equal(readable.count, 0);

    assert_int_equal(write(f.pair[1], "x", 1), 1);
    await(&f, &readable);
    assert_true(readable.res & POLLIN);

    /* One-shot: what is still readable says nothing more. */
    ring_turn(f.ring, 0);
    ring_turn(f.ring, NS_PER_MS);
    assert_int_equal(readable.count, 1);
    tear_down(&f);
}

static void test_poll_sees_a_hangup(void **state)
{
    struct fixture f;
    struct ring_op op = {0};
    struct seen seen = {0};
    set_up(&f, state);
    ring_poll(f.ring, &op, f.pair[0], POLLIN, see, &seen);
    ring_turn(f.ring, 0);
    close(f.pair[1]);
    await(&f, &seen);
    assert_true(seen.res & (POLLHUP | POLLIN));
    f.pair[1] = -1;
    tear_down(&f);
}

static void test_a_cancel_calls_back_once(void **state)
{
    struct fixture f;
    struct ring_op fresh = {0}, flying = {0}, timer = {0}, idle = {0};
    struct seen a = {0}, b = {0}, c = {0};
    set_up(&f, state);
    ring_poll(f.ring, &flying, f.pair[0], POLLIN, see, &a);
    ring_turn(f.ring, 0);
    ring_poll(f.ring, &fresh, f.pair[0], POLLIN, see, &b);
    ring_after(f.ring, &timer, 3600 * NS_PER_S, see, &c);
    ring_cancel(f.ring, &flying);
    ring_cancel(f.ring, &fresh);
    ring_cancel(f.ring, &timer);
    ring_cancel(f.ring, &idle);
    assert_int_equal(a.count + b.count + c.count, 0);
    await(&f, &a);
    await(&f, &b);
    await(&f, &c);
    assert_int_equal(a.res, -ECANCELED);
    assert_int_equal(b.res, -ECANCELED);
    assert_int_equal(c.res, -ECANCELED);
    assert_int_equal(a.count + b.count + c.count, 3);

    /* And the record can be used again. */
    struct seen again = {0};
    assert_int_equal(write(f.pair[1], "x", 1), 1);
    ring_poll(f.ring, &flying, f.pair[0], POLLIN, see, &again);
    await(&f, &again);
    assert_true(again.res & POLLIN);
    tear_down(&f);
}

static void test_what_is_sent_is_received(void **state)
{
    struct fixture f;
    struct ring_op send = {0}, receive = {0};
    struct seen sent = {0}, got = {0}, end = {0};
    char buf[16] = "";
    set_up(&f, state);
    char god[] = "god", wit[] = "wit";
    struct iovec parts[] = {{.iov_base = god, .iov_len = 3}, {.iov_base = wit, .iov_len = 3}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

    ring_recv(f.ring, &receive, f.pair[1], buf, sizeof buf, see, &got);
    ring_turn(f.ring, 0);
    assert_int_equal(got.count, 0);
    ring_sendv(f.ring, &send, f.pair[0], &msg, see, &sent);
    assert_int_equal(sent.count, 0); /* never from the call itself */
    await(&f, &sent);
    await(&f, &got);
    assert_int_equal(sent.res, 6);
    assert_int_equal(got.res, 6); /* what there is, not all that would fit */
    assert_memory_equal(buf, "godwit", 6);

    close(f.pair[0]);
    f.pair[0] = -1;
    ring_recv(f.ring, &receive, f.pair[1], buf, sizeof buf, see, &end);
    await(&f, &end);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.res, 0);
    tear_down(&f);
}

/* A send that is larger than the socket's buffer: in one piece, or in several that are reported. */
static void test_a_send_goes_on_until_all_is_sent(void **state)
{
    enum { LEN = 1 << 20 };
    struct fixture f;
    struct ring_op send = {0}, receive = {0};
    struct seen out = {0}, in = {0};
    set_up(&f, state);
    unsigned char *from = malloc(LEN), *to = malloc(LEN);
    for (int i = 0; i < LEN; i++)
        from[i] = (unsigned char)(i * 31 + i / 256);
    struct iovec part = {.iov_base = from, .iov_len = LEN};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    size_t sent = 0, got = 0;
    int64_t deadline_ns = clock_now_ns() + 60 * NS_PER_S;
    while (got < LEN) {
        if (!ring_busy(&send) && sent < LEN) {
            part = (struct iovec){.iov_base = from + sent, .iov_len = LEN - sent};
            ring_sendv(f.ring, &send, f.pair[0], &msg, see, &out);
        }
        if (!ring_busy(&receive))
            ring_recv(f.ring, &receive, f.pair[1], to + got, (uint32_t)(LEN - got), see, &in);
        assert_int_equal(ring_turn(f.ring, NS_PER_S), 0);
        assert_true(out.res >= 0 && in.res >= 0 && clock_now_ns() < deadline_ns);
        sent += (size_t)out.res;
        got += (size_t)in.res;
        out = in = (struct seen){0};
    }
    while (ring_busy(&send)) {
        assert_int_equal(ring_turn(f.ring, NS_PER_S), 0);
        sent += (size_t)out.res;
    }
    assert_int_equal(sent, LEN);
    assert_memory_equal(from, to, LEN);
    free(from);
    free(to);
    tear_down(&f);
}

static void test_a_send_to_nobody_raises_no_signal(void **state)
{
    struct fixture f;
    struct ring_op op = {0};
    struct seen seen = {0};
    set_up(&f, state);
    char x[] = "x";
    struct iovec part = {.iov_base = x, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    close(f.pair[1]);
    f.pair[1] = -1;
    ring_sendv(f.ring, &op, f.pair[0], &msg, see, &seen);
    await(&f, &seen);
    assert_int_equal(seen.res, -EPIPE); /* and no signal */
    tear_down(&f);
}

/* One that waits for the peer, one that is half done, one that was just started. */
static void test_a_cancel_ends_send_and_receive(void **state)
{
    enum { LEN = 8 << 20 };
    struct fixture f;
    struct ring_op receive = {0}, send = {0}, fresh = {0};
    struct seen got = {0}, sent = {0}, never = {0};
    char buf[8];
    set_up(&f, state);
    char *from = calloc(1, LEN);
    struct iovec part = {.iov_base = from, .iov_len = LEN};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    ring_recv(f.ring, &receive, f.pair[0], buf, sizeof buf, see, &got);
    ring_sendv(f.ring, &send, f.pair[0], &msg, see, &sent);
    ring_turn(f.ring, 0);
    ring_turn(f.ring, 10 * NS_PER_MS);
    ring_recv(f.ring, &fresh, f.pair[1], buf, sizeof buf, see, &never);
    ring_cancel(f.ring, &receive);
    ring_cancel(f.ring, &send);
    ring_cancel(f.ring, &fresh);
    assert_int_equal(got.count + never.count, 0);
    await(&f, &got);
    await(&f, &sent);
    await(&f, &never);
    assert_int_equal(got.res, -ECANCELED);
    assert_int_equal(never.res, -ECANCELED);
    assert_true(sent.res == -ECANCELED || (sent.res > 0 && sent.res < LEN));
    assert_int_equal(got.count + sent.count + never.count, 3);
    free(from); /* nobody reads from it any more */
    tear_down(&f);
}

static void test_timers_come_in_order(void **state)
{
    struct fixture f;
    struct ring_op at_once = {0}, soon = {0}, late = {0};
    struct seen a = {0}, b = {0}, c = {0};
    set_up(&f, state);
    int64_t start_ns = clock_now_ns();
    ring_after(f.ring, &late, 3600 * NS_PER_S, see, &c);
    ring_after(f.ring, &soon, 200 * NS_PER_MS, see, &b);
    ring_after(f.ring, &at_once, 0, see, &a);
    assert_int_equal(a.count, 0);
    ring_turn(f.ring, NS_PER_S);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 0);
    ring_turn(f.ring, 60 * NS_PER_S);
    assert_int_equal(b.count, 1);
    assert_true(clock_now_ns() - start_ns >= 200 * NS_PER_MS);
    assert_true(clock_now_ns() - start_ns < 30 * NS_PER_S); /* the timeout was cut */
    assert_int_equal(c.count, 0);
    tear_down(&f);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.res, -ECANCELED);
}

static void test_a_turn_ends_in_time(void **state)
{
    struct fixture f;
    set_up(&f, state);
    int64_t start_ns = clock_now_ns();
    assert_int_equal(ring_turn(f.ring, 30 * NS_PER_MS), 0);
    assert_true(clock_now_ns() - start_ns >= 29 * NS_PER_MS);
    start_ns = clock_now_ns();
    assert_int_equal(ring_turn(f.ring, 0), 0);
    assert_true(clock_now_ns() - start_ns < 30 * NS_PER_S);
    tear_down(&f);
}

/* Starts itself again from its callback; the turn ends all the same. */
struct restart {
    struct ring *ring;
    struct ring_op op;
    int left;
};

static void restart(void *arg, int res)
{
    struct restart *s = arg;
    if (res == 0 && s->left-- > 0)
        ring_after(s->ring, &s->op, 0, restart, s);
}

static void test_a_callback_may_start_it_anew(void **state)
{
    struct fixture f;
    set_up(&f, state);
    struct restart s = {.ring = f.ring, .left = 3};
    ring_after(f.ring, &s.op, 0, restart, &s);
    ring_turn(f.ring, 0);
    assert_int_equal(s.left, 2);
    while (ring_busy(&s.op))
        ring_turn(f.ring, 0);
    assert_int_equal(s.left, -1);
    tear_down(&f);
}

static void test_freeing_calls_all_back(void **state)
{
    struct fixture f;
    struct ring_op todo = {0}, flying = {0}, timer = {0}, file = {0};
    struct seen a = {0}, b = {0}, c = {0}, d = {0};
    char buf[4096];
    set_up(&f, state);
    ring_poll(f.ring, &flying, f.pair[0], POLLIN, see, &a);
    ring_turn(f.ring, 0);
    ring_read(f.ring, &file, f.file, buf, sizeof buf, 0, see, &d);
    ring_poll(f.ring, &todo, f.pair[0], POLLIN, see, &b);
    ring_after(f.ring, &timer, NS_PER_S, see, &c);
    tear_down(&f);
    assert_int_equal(a.count + b.count + c.count + d.count, 4);
    assert_int_equal(a.res, -ECANCELED);
    assert_int_equal(b.res, -ECANCELED);
    assert_int_equal(c.res, -ECANCELED);
    ring_free(NULL);
}

static void test_a_durable_write_is_there(void **state)
{
    struct fixture f;
    struct ring_op op = {0};
    struct seen wrote = {0};
    char buf[8] = "";
    set_up(&f, state);
    ring_write_durable(f.ring, &op, f.file, "godwit", 6, 3, see, &wrote);
    await(&f, &wrote);
    assert_int_equal(wrote.res, 6);
    assert_int_equal(pread(f.file, buf, sizeof buf, 3), 6);
    assert_string_equal(buf, "godwit");
    tear_down(&f);
}

static enum ring_backend uring = RING_URING, syscalls = RING_SYSCALLS;

#define BOTH(test)                                           \
    {#test " (io_uring)", test, NULL, NULL, &uring},         \
    {                                                        \
#test " (system calls)", test, NULL, NULL, &syscalls \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_what_is_written_is_read),
        BOTH(test_errors_are_results),
        BOTH(test_more_than_the_queue_holds_completes),
        BOTH(test_poll_gives_the_events),
        BOTH(test_poll_sees_a_hangup),
        BOTH(test_a_cancel_calls_back_once),
        BOTH(test_what_is_sent_is_received),
        BOTH(test_a_send_goes_on_until_all_is_sent),
        BOTH(test_a_send_to_nobody_raises_no_signal),
        BOTH(test_a_cancel_ends_send_and_receive),
        BOTH(test_timers_come_in_order),
        BOTH(test_a_turn_ends_in_time),
        BOTH(test_a_callback_may_start_it_anew),
        BOTH(test_freeing_calls_all_back),
        BOTH(test_a_durable_write_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
