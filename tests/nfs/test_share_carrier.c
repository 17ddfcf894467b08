/* SPDX-License-Identifier: Apache-2.0 */
/* Both carriers, against the small server: what was written is read, and what can go wrong then. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/log.h"
#include "fake_server.h"
#include "nfs/share_lane.h"

enum { SIZE = 300077, IOS = 8, FRESH = 0xee };
enum { SLOW_TOTAL = 1 << 20, SLOW_IOS = 4 /* each of them takes half a second */ };

/* Each test is run for each of these: its state. */
struct variant {
    bool own;
    enum ring_backend backend;
};

struct fixture {
    struct fake_server *server;
    struct ring *ring;
    struct share_carrier *carrier;
    struct share_fh fh;
    struct store_io ios[IOS];
    unsigned under_way;
    struct err e;
};

static uint8_t content(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / 251);
}

static void open_carrier_for(struct fixture *f, int port, int64_t timeout_ns,
                             const struct variant *v)
{
    const struct share_target target = {.host = "127.0.0.1",
                                        .port = port,
                                        .program = NFS_PROGRAM,
                                        .timeout_ns = timeout_ns,
                                        .who = "nfs://silent/"};
    f->ring = ring_new(v->backend, &f->e);
    assert_non_null(f->ring);
    struct share_conn *c = share_conn_open(f->ring, &target, clock_now_ns() + NS_PER_S, &f->e);
    assert_non_null(c);
    f->carrier = v->own ? share_lane_adopt(f->ring, c, timeout_ns, &f->e) : share_conn_carrier(c);
    assert_non_null(f->carrier);
    assert_string_equal(f->carrier->ops->name, v->own ? "own" : "libnfs");
}

static void open_carrier(struct fixture *f, int port, const struct variant *v)
{
    open_carrier_for(f, port, NS_PER_S, v);
}

static void close_carrier(struct fixture *f)
{
    f->carrier->ops->close(f->carrier);
    ring_free(f->ring);
    for (int i = 0; i < IOS; i++)
        free(f->ios[i].buf);
}

static void done(struct store_io *io)
{
    struct fixture *f = io->arg;
    f->under_way--;
}

static struct store_io *prepare(struct fixture *f, int i, uint64_t offset, uint32_t len)
{
    struct store_io *io = &f->ios[i];
    free(io->buf);
    *io = (struct store_io){.offset = offset, .len_bytes = len, .done = done, .arg = f};
    io->buf = memset(malloc(len), FRESH, len); /* exact: ASan sees more */
    f->under_way++;
    return io;
}

static void start_read(struct fixture *f, int i, uint64_t offset, uint32_t len)
{
    f->carrier->ops->read(f->carrier, &f->fh, prepare(f, i, offset, len));
}

static void turn(struct fixture *f)
{
    for (int64_t end_ns = clock_now_ns() + 20 * NS_PER_S; f->under_way > 0;) {
        assert_int_equal(ring_turn(f->ring, 100 * NS_PER_MS), 0);
        assert_true(clock_now_ns() < end_ns);
    }
}

/* The answer is `res` bytes of the file, and the rest of the buffer is as it was. */
static void assert_read(const struct fixture *f, int i, int res)
{
    const struct store_io *io = &f->ios[i];
    const uint8_t *buf = io->buf;
    assert_int_equal(io->res, res);
    for (uint32_t k = 0; k < io->len_bytes; k++)
        if (buf[k] != ((int)k < res ? content(io->offset + k) : FRESH))
            fail_msg("read %d: byte %u is wrong", i, k);
}

static void set_up(struct fixture *f, const struct fake_faults *faults, void **state)
{
    unsigned char *zeros = calloc(1, SIZE);
    *f = (struct fixture){.server = fake_server_start(faults)};
    fake_server_add_file(f->server, "image", zeros, SIZE);
    f->fh.len = fake_server_handle(f->server, "image", f->fh.val);
    free(zeros);
    open_carrier(f, fake_server_port(f->server), *state);
}

static void tear_down(struct fixture *f)
{
    close_carrier(f);
    fake_server_stop(f->server);
    fake_server_free(f->server);
}

static void fill_file(struct fixture *f)
{
    struct store_io *io = prepare(f, 0, 0, SIZE);
    for (uint32_t i = 0; i < SIZE; i++)
        ((uint8_t *)io->buf)[i] = content(i);
    f->carrier->ops->write(f->carrier, &f->fh, io);
    turn(f);
    assert_int_equal(io->res, SIZE);
}

/* ---- what is read ---- */

static void read_all(struct fixture *f)
{
    fill_file(f);
    for (int round = 0; round < 2; round++) { /* without attributes, and with them */
        start_read(f, 0, 5, 1);
        start_read(f, 1, 1000, 100001);
        start_read(f, 2, SIZE - 77, 100); /* across the end */
        start_read(f, 3, SIZE, 4096);     /* at the end */
        start_read(f, 4, 0, SIZE);
        start_read(f, 5, 3, 255);
        start_read(f, 6, 3, 257);
        turn(f);
        static const int expected[] = {1, 100001, 77, 0, SIZE, 255, 257};
        for (int i = 0; i < 7; i++)
            assert_read(f, i, expected[i]);
    }
    struct store_io *io = prepare(f, 7, 0, SIZE);
    f->carrier->ops->commit(f->carrier, &f->fh, io);
    turn(f);
    assert_int_equal(io->res, 0);
}

static void test_reads_give_the_content(void **state)
{
    static const uint32_t fragments[] = {0, 99, 1000, 65536};
    for (size_t i = 0; i < sizeof fragments / sizeof *fragments; i++) {
        struct fixture f;
        set_up(&f, &(struct fake_faults){.fragment = fragments[i]}, state);
        read_all(&f);
        assert_int_equal(fake_server_reads(f.server), 14);
        tear_down(&f);
    }
}

static void test_a_second_answer_is_skipped(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.twice = true}, state);
    read_all(&f);
    tear_down(&f);
}

static void test_short_reads_stay_short(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.short_read = 777}, state);
    fill_file(&f);
    start_read(&f, 0, 9, 100000);
    start_read(&f, 1, SIZE - 5, 100000);
    turn(&f);
    assert_read(&f, 0, 777);
    assert_read(&f, 1, 5);
    tear_down(&f);
}

/* More than the table of calls holds at first, and than one batch takes. */
static void test_more_calls_than_the_table_are_carried(void **state)
{
    struct fixture f;
    enum { N = 200 };
    struct store_io *many = calloc(N, sizeof *many);
    set_up(&f, &(struct fake_faults){0}, state);
    fill_file(&f);
    for (int i = 0; i < N; i++) {
        many[i] = (struct store_io){.offset = (uint64_t)i * 1001,
                                    .len_bytes = 1000 + (uint32_t)i,
                                    .buf = malloc(1200),
                                    .done = done,
                                    .arg = &f};
        f.under_way++;
        f.carrier->ops->read(f.carrier, &f.fh, &many[i]);
    }
    turn(&f);
    for (int i = 0; i < N; i++) {
        assert_int_equal(many[i].res, 1000 + i);
        for (uint32_t k = 0; k < many[i].len_bytes; k++)
            assert_int_equal(((uint8_t *)many[i].buf)[k], content(many[i].offset + k));
        free(many[i].buf);
    }
    free(many);
    tear_down(&f);
}

/* ---- what goes wrong ---- */

static void test_a_refusal_has_its_errno(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.status_at = 1, .status = 70}, state);
    start_read(&f, 0, 0, 100);
    turn(&f);
    assert_read(&f, 0, -ESTALE);
    assert_int_equal(f.ios[0].fault, ERR_NFS);
    assert_false(f.carrier->lost);
    tear_down(&f);

    set_up(&f, &(struct fake_faults){.denied = true}, state);
    start_read(&f, 0, 0, 100);
    turn(&f);
    assert_read(&f, 0, -EACCES);
    assert_int_equal(f.ios[0].fault, ERR_NFS);
    tear_down(&f);
}

static void test_a_lost_connection_ends_each_request(void **state)
{
    static const struct fake_faults faults[] = {
        {.close_at = 4}, {.mute_from = 4}, {.garbage_at = 4}};
    static const enum err_class classes[] = {ERR_LOST, ERR_TIMEOUT, ERR_PROTO};
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        set_up(&f, &faults[i], state);
        fill_file(&f); /* after two calls */
        start_read(&f, 0, 0, 1000);
        turn(&f);
        start_read(&f, 1, 0, 100000);
        start_read(&f, 2, 0, 100000);
        turn(&f);
        assert_read(&f, 0, 1000);
        for (int k = 1; k < 3; k++) {
            assert_true(f.ios[k].res < 0);
            assert_int_equal(f.ios[k].fault, classes[i]);
        }
        assert_false(f.carrier->ops->check(f.carrier));
        tear_down(&f);
    }
}

/* Each request by itself would be in time. All of them wait for each other, on the way there or on the
 * way back, for longer than the timeout of a second. */
static void test_a_slow_link_is_no_silence(void **state)
{
    struct fixture f;
    int64_t start_ns = clock_now_ns();
    set_up(&f, &(struct fake_faults){.slow_bytes_ms = SLOW_TOTAL / 2000}, state);
    for (int i = 0; i < SLOW_IOS; i++) {
        struct store_io *io = prepare(&f, i, 0, SLOW_TOTAL / SLOW_IOS);
        for (uint32_t k = 0; k < io->len_bytes; k++)
            ((uint8_t *)io->buf)[k] = content(k);
        f.carrier->ops->write(f.carrier, &f.fh, io);
    }
    turn(&f);
    assert_true(clock_now_ns() - start_ns > 3 * NS_PER_S / 2);
    for (int i = 0; i < SLOW_IOS; i++)
        assert_int_equal(f.ios[i].res, SLOW_TOTAL / SLOW_IOS);
    for (int i = 0; i < SLOW_IOS; i++)
        start_read(&f, i, 0, SLOW_TOTAL / SLOW_IOS);
    turn(&f);
    for (int i = 0; i < SLOW_IOS; i++)
        assert_read(&f, i, SLOW_TOTAL / SLOW_IOS);
    assert_true(f.carrier->ops->check(f.carrier));
    tear_down(&f);
}

/* All goes on, but one request was forgotten. */
static void test_one_forgotten_request_is_noticed(void **state)
{
    struct fixture f;
    set_up(&f, &(struct fake_faults){.mute_from = 3, .mute_until = 3}, state);
    fill_file(&f);
    int64_t start_ns = clock_now_ns();
    start_read(&f, 1, 0, 1000);
    for (f.ios[1].res = 1; f.ios[1].res == 1;) {
        start_read(&f, 2, 0, 1000);
        while (f.under_way > 1 && f.ios[1].res == 1)
            assert_int_equal(ring_turn(f.ring, 100 * NS_PER_MS), 0);
        assert_true(clock_now_ns() - start_ns < 5 * NS_PER_S);
        usleep(20000);
    }
    turn(&f);
    assert_int_equal(f.ios[1].res, -ETIMEDOUT);
    assert_int_equal(f.ios[1].fault, ERR_TIMEOUT);
    assert_true(clock_now_ns() - start_ns > 3 * NS_PER_S / 2);
    tear_down(&f);
}

static char word[200];

static void keep_word(enum log_level level, const char *line)
{
    if (level == LOG_WARN)
        snprintf(word, sizeof word, "%s", line);
}

/* The word comes long before the timeout (another one may have come within the last 10 s). */
static void test_silence_is_reported(void **state)
{
    enum { PATIENCE_S = 25 };
    struct fixture f = {.server = fake_server_start(&(struct fake_faults){.mute_from = 2})};
    word[0] = '\0';
    log_set_sink(keep_word);
    open_carrier_for(&f, fake_server_port(f.server), 2 * PATIENCE_S * NS_PER_S, *state);
    int64_t start_ns = clock_now_ns();
    f.fh.len = 24;
    start_read(&f, 0, 0, 1000);
    while (word[0] == '\0' && clock_now_ns() - start_ns < PATIENCE_S * NS_PER_S)
        ring_turn(f.ring, 100 * NS_PER_MS);
    assert_non_null(strstr(word, "nfs://silent/: no answer from the NFS server (port "));
    assert_int_equal(f.under_way, 1);
    f.carrier->ops->stop(f.carrier);
    turn(&f);
    assert_int_equal(f.ios[0].res, -ECANCELED);
    log_set_sink(NULL);
    tear_down(&f);
}

/* ---- an answer that breaks off ---- */

struct half {
    int listener, port;
    bool closes;
    pthread_t thread;
};

static bool half_take_call(int fd, uint32_t *xid)
{
    uint32_t mark;
    char call[1000];
    if (recv(fd, &mark, 4, MSG_WAITALL) != 4)
        return false;
    size_t len = ntohl(mark) & 0x7fffffff;
    assert(len <= sizeof call);
    bool whole = recv(fd, call, len, MSG_WAITALL) == (ssize_t)len;
    memcpy(xid, call, 4);
    return whole;
}

/* Answers a NULL call, and half of a READ. */
static void *half_run(void *arg)
{
    const struct half *h = arg;
    int fd = accept(h->listener, NULL, NULL);
    uint32_t xid;
    uint32_t null[] = {htonl(0x80000018), 0, htonl(1), 0, 0, 0, 0};
    uint32_t read[] = {
        htonl(0x8000002c + 100000), 0, htonl(1), 0, 0, 0, 0, 0, 0, htonl(100000), 0, htonl(100000)};
    static const char payload[50000];
    if (half_take_call(fd, &xid)) {
        null[1] = xid;
        send(fd, null, sizeof null, MSG_NOSIGNAL);
    }
    if (half_take_call(fd, &xid)) {
        read[1] = xid;
        send(fd, read, sizeof read, MSG_NOSIGNAL);
        send(fd, payload, sizeof payload, MSG_NOSIGNAL);
    }
    while (!h->closes && half_take_call(fd, &xid))
        continue;
    close(fd);
    return NULL;
}

static void half_start(struct half *h, bool closes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    *h = (struct half){.listener = socket(AF_INET, SOCK_STREAM, 0), .closes = closes};
    assert_int_equal(bind(h->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(h->listener, 1), 0);
    assert_int_equal(getsockname(h->listener, (struct sockaddr *)&at, &len), 0);
    h->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&h->thread, NULL, half_run, h), 0);
}

/* The buffer waits for the rest; then the server closes, we stop, or it takes too long. */
static void test_half_an_answer(void **state)
{
    static const enum err_class classes[] = {ERR_LOST, ERR_CANCELLED, ERR_TIMEOUT};
    for (int how = 0; how < 3; how++) {
        struct half h;
        struct fixture f = {.fh.len = sizeof(uint32_t)};
        half_start(&h, how == 0);
        open_carrier(&f, h.port, *state);
        start_read(&f, 0, 0, 100000);
        start_read(&f, 1, 0, 100000);
        for (int i = 0; i < 10 && how == 1; i++)
            assert_int_equal(ring_turn(f.ring, 10 * NS_PER_MS), 0);
        if (how == 1) {
            assert_int_equal(f.under_way, 2);
            f.carrier->ops->stop(f.carrier);
        }
        turn(&f);
        for (int i = 0; i < 2; i++) {
            assert_true(f.ios[i].res < 0);
            assert_int_equal(f.ios[i].fault, classes[how]);
            free(f.ios[i].buf); /* the kernel has no more to do with it */
            f.ios[i].buf = NULL;
        }
        close_carrier(&f);
        pthread_join(h.thread, NULL);
        close(h.listener);
    }
}

static struct variant own = {true, RING_AUTO}, own_calls = {true, RING_SYSCALLS},
                      libnfs = {false, RING_AUTO}, libnfs_calls = {false, RING_SYSCALLS};

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(test_reads_give_the_content),          ALL(test_a_second_answer_is_skipped),
        ALL(test_short_reads_stay_short),          ALL(test_more_calls_than_the_table_are_carried),
        ALL(test_a_refusal_has_its_errno),         ALL(test_a_lost_connection_ends_each_request),
        EACH_PATH(test_a_slow_link_is_no_silence), EACH_PATH(test_one_forgotten_request_is_noticed),
        EACH_PATH(test_silence_is_reported),       ALL(test_half_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
