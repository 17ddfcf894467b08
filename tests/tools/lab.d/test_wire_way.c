/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a wire, between two socket pairs instead of taps. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tools/lab.d/wire_way.h"

enum { LARGEST = 65536 + 32, MANY = 20000 };

struct wire {
    int in, from, to, out; /* we write `in`, and read `out` */
    struct wire_way *way;
    pthread_t thread;
};

struct packet {
    uint32_t number;
    int64_t sent_ns;
};

static void *carry(void *way)
{
    wire_way_run(way);
    return NULL;
}

static void open_wire(struct wire *w, struct wire_terms terms)
{
    int in[2], out[2], room = 4 << 20;
    struct err e = {0};
    const struct timeval patience = {.tv_sec = 20};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, out), 0);
    *w = (struct wire){.in = in[0], .from = in[1], .to = out[0], .out = out[1]};
    assert_int_equal(setsockopt(w->in, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    assert_int_equal(setsockopt(w->to, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    assert_int_equal(setsockopt(w->out, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(fcntl(w->from, F_SETFL, O_NONBLOCK), 0);
    w->way = wire_way_new(w->from, w->to, &terms, &e);
    assert_non_null(w->way);
    assert_int_equal(pthread_create(&w->thread, NULL, carry, w->way), 0);
}

/* The end of what is sent is the end of the wire. */
static struct wire_counts close_wire(struct wire *w)
{
    close(w->in);
    pthread_join(w->thread, NULL);
    struct wire_counts counts = *wire_way_counts(w->way);
    wire_way_free(w->way);
    close(w->from);
    close(w->to);
    close(w->out);
    return counts;
}

static void put(const struct wire *w, uint32_t number)
{
    const struct packet p = {number, clock_now_ns()};
    assert_int_equal(write(w->in, &p, sizeof p), sizeof p);
}

static void frames_of_each_size_arrive_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 60, 2047, 2048, 2049, 4096, 9000, 65535, LARGEST};
    static unsigned char sent[LARGEST], got[LARGEST + 1];
    struct wire w;
    open_wire(&w, (struct wire_terms){.delay_ns = NS_PER_MS});
    for (int round = 0; round < 200; round++) { /* so that the pages come back in other orders */
        size_t n = sizes[(size_t)round * 7 % (sizeof sizes / sizeof *sizes)];
        for (size_t i = 0; i < n; i++)
            sent[i] = (unsigned char)(i * 31 + i / 256 + (size_t)round);
        assert_int_equal(write(w.in, sent, n), n);
        assert_int_equal(read(w.out, got, sizeof got), n);
        assert_memory_equal(got, sent, n);
    }
    close_wire(&w);
}

static void each_packet_comes_late_and_in_order(void **state)
{
    (void)state;
    const struct wire_terms terms = {.delay_ns = 20 * NS_PER_MS, .jitter_ns = 15 * NS_PER_MS};
    int64_t least_ns = INT64_MAX, most_ns = 0;
    struct wire w;
    struct packet p;
    open_wire(&w, terms);
    for (uint32_t i = 0; i < 40; i++) {
        put(&w, i);
        usleep(2000);
    }
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(read(w.out, &p, sizeof p), sizeof p);
        assert_int_equal(p.number, i);
    }
    for (uint32_t i = 0; i < 40; i++) { /* sparse: each by itself */
        put(&w, i);
        assert_int_equal(read(w.out, &p, sizeof p), sizeof p);
        int64_t took_ns = clock_now_ns() - p.sent_ns;
        assert_true(took_ns >= terms.delay_ns - terms.jitter_ns);
        least_ns = took_ns < least_ns ? took_ns : least_ns;
        most_ns = took_ns > most_ns ? took_ns : most_ns;
    }
    assert_true(most_ns - least_ns > terms.jitter_ns / 3); /* of 40 drawn from 30 ms */
    close_wire(&w);
}

/* What is there now; `last` is the number of the last one. */
static uint32_t drain(const struct wire *w, uint32_t *last)
{
    struct packet p;
    uint32_t got = 0;
    for (; recv(w->out, &p, sizeof p, MSG_DONTWAIT) == sizeof p; got++) {
        assert_true(p.number > *last);
        *last = p.number;
    }
    return got;
}

static void loses_the_share_that_was_asked_for(void **state)
{
    (void)state;
    struct wire w;
    uint32_t got = 0, last = 0;
    open_wire(&w, (struct wire_terms){.loss = 0.1});
    for (uint32_t i = 1; i <= MANY; i++) {
        put(&w, i);
        if (i % 50 == 0)
            got += drain(&w, &last);
    }
    shutdown(w.in, SHUT_WR);
    while (pthread_tryjoin_np(w.thread, NULL) != 0)
        got += drain(&w, &last);
    got += drain(&w, &last);
    const struct wire_counts counts = *wire_way_counts(w.way);
    assert_int_equal(got, counts.frames);
    /* what was on the way when the end came is lost, too: a batch at most */
    assert_true(got + counts.lost <= MANY && got + counts.lost >= MANY - 64);
    assert_in_range(counts.lost, MANY / 10 - 300, MANY / 10 + 300); /* 7 standard deviations */
    wire_way_free(w.way);
    close(w.in);
    close(w.from);
    close(w.to);
    close(w.out);
}

static void a_full_wire_drops_and_goes_on(void **state)
{
    (void)state;
    static char frame[LARGEST];
    struct wire w;
    uint32_t got = 0;
    open_wire(&w, (struct wire_terms){.delay_ns = 2 * NS_PER_S});
    for (int i = 0; i < 1200; i++) /* 75 MiB; 64 are held */
        assert_int_equal(write(w.in, frame, sizeof frame), sizeof frame);
    while (read(w.out, frame, sizeof frame) == sizeof frame && ++got < 900)
        ;
    assert_int_equal(got, 900);
    struct wire_counts counts = close_wire(&w);
    assert_true(counts.full > 100);
    assert_true(counts.frames >= 900 && counts.frames + counts.full <= 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_each_size_arrive_whole),
        cmocka_unit_test(each_packet_comes_late_and_in_order),
        cmocka_unit_test(loses_the_share_that_was_asked_for),
        cmocka_unit_test(a_full_wire_drops_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
