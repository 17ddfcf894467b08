/* SPDX-License-Identifier: Apache-2.0 */
/* test_relay RELAY: the program itself, between two threads of ours. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"

enum { MANY_BYTES = 24 * 1024 * 1024, PIECE = 48 * 1024 };

static const char *relay;
static char dir[] = "/tmp/godwit-relay-XXXXXX";
static struct sockaddr_un near_end, far_end;

struct bench {
    pid_t pid;
    int listener, near, far; /* the two ends of one connection through the relay */
};

static int unix_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void start_relay(struct bench *b, const char *rtt)
{
    unlink(far_end.sun_path);
    unlink(near_end.sun_path);
    b->listener = unix_socket();
    assert_int_equal(bind(b->listener, (struct sockaddr *)&far_end, sizeof far_end), 0);
    assert_int_equal(listen(b->listener, 4), 0);
    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(relay, "relay", "--rtt", rtt, near_end.sun_path, far_end.sun_path, NULL);
        _exit(127);
    }
}

static void setup(struct bench *b, const char *rtt)
{
    start_relay(b, rtt);
    b->near = unix_socket();
    int rc = -1;
    for (int i = 0; rc < 0 && i < 500; i++) {
        rc = connect(b->near, (struct sockaddr *)&near_end, sizeof near_end);
        if (rc < 0)
            usleep(10000);
    }
    assert_int_equal(rc, 0);
    b->far = accept(b->listener, NULL, NULL);
    assert_true(b->far >= 0);
}

static void teardown(struct bench *b)
{
    int status;
    kill(b->pid, SIGTERM);
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(access(near_end.sun_path, F_OK), -1);
    close(b->listener);
    if (b->near >= 0)
        close(b->near);
    if (b->far >= 0)
        close(b->far);
}

static double ms_since(int64_t ns)
{
    return (double)(clock_now_ns() - ns) / 1e6;
}

/* One byte there, and one back: the shortest of ten. */
static double round_trip_ms(struct bench *b)
{
    double best = 1e9;
    for (int i = 0; i < 10; i++) {
        char byte = 'x';
        int64_t began_ns = clock_now_ns();
        assert_int_equal(write(b->near, &byte, 1), 1);
        assert_int_equal(read(b->far, &byte, 1), 1);
        double there_ms = ms_since(began_ns);
        assert_int_equal(write(b->far, &byte, 1), 1);
        assert_int_equal(read(b->near, &byte, 1), 1);
        double ms = ms_since(began_ns);
        assert_true(there_ms < ms);
        if (ms < best)
            best = ms;
    }
    return best;
}

static void a_round_trip_takes_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *rtt;
        double ms;
    } cases[] = {{"0ms", 0}, {"1ms", 1}, {"20ms", 20}, {"100ms", 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        setup(&b, cases[i].rtt);
        double ms = round_trip_ms(&b);
        teardown(&b);
        assert_true(ms >= cases[i].ms);
        assert_true(ms < cases[i].ms + 4);
    }
}

struct stream {
    int fd;
    uint8_t seed;
    uint64_t bytes;
    bool right;
};

static uint8_t nth(uint8_t seed, uint64_t i)
{
    return (uint8_t)(seed + i * 7 + i / 4096);
}

static void *say(void *arg)
{
    struct stream *s = arg;
    static _Thread_local uint8_t piece[PIECE];
    for (uint64_t at = 0; at < s->bytes;) {
        size_t want = s->bytes - at < PIECE ? (size_t)(s->bytes - at) : PIECE;
        for (size_t i = 0; i < want; i++)
            piece[i] = nth(s->seed, at + i);
        ssize_t n = send(s->fd, piece, want, MSG_NOSIGNAL);
        if (n <= 0)
            return NULL;
        at += (uint64_t)n;
    }
    shutdown(s->fd, SHUT_WR);
    s->right = true;
    return NULL;
}

/* Until the end, which is not to come before its time. */
static void *hear(void *arg)
{
    struct stream *s = arg;
    static _Thread_local uint8_t piece[PIECE];
    uint64_t at = 0;
    for (ssize_t n; (n = read(s->fd, piece, PIECE)) > 0; at += (uint64_t)n)
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != nth(s->seed, at + (uint64_t)i))
                return NULL;
    s->right = at == s->bytes;
    return NULL;
}

static void bytes_arrive_as_they_were_sent(const char *rtt)
{
    struct bench b;
    setup(&b, rtt);
    struct stream streams[] = {{b.near, 3, MANY_BYTES, false},
                               {b.far, 3, MANY_BYTES, false},
                               {b.far, 9, MANY_BYTES + 1, false},
                               {b.near, 9, MANY_BYTES + 1, false}};
    pthread_t threads[4];
    int64_t began_ns = clock_now_ns();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? hear : say, &streams[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(streams[i].right);
    }
    /* Were each buffer to wait for the one before, 100 ms would make this take minutes. */
    assert_true(ms_since(began_ns) < 15000);
    teardown(&b);
}

static void many_bytes_both_ways(void **state)
{
    (void)state;
    bytes_arrive_as_they_were_sent("0ms");
    bytes_arrive_as_they_were_sent("100ms");
}

static void a_half_close_passes(void **state)
{
    (void)state;
    char text[16] = "";
    struct bench b;
    setup(&b, "40ms");
    assert_int_equal(write(b.near, "question", 8), 8);
    int64_t began_ns = clock_now_ns();
    shutdown(b.near, SHUT_WR);
    assert_int_equal(recv(b.far, text, 8, MSG_WAITALL), 8);
    assert_memory_equal(text, "question", 8);
    assert_int_equal(read(b.far, text, sizeof text), 0);
    assert_true(ms_since(began_ns) >= 20);
    assert_int_equal(write(b.far, "answer", 6), 6);
    close(b.far);
    b.far = -1;
    assert_int_equal(recv(b.near, text, 6, MSG_WAITALL), 6);
    assert_memory_equal(text, "answer", 6);
    assert_int_equal(read(b.near, text, sizeof text), 0);
    assert_true(ms_since(began_ns) >= 40);
    teardown(&b);
}

static long cpu_ticks(pid_t pid)
{
    char path[40];
    long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d (relay) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
                            &user, &system),
                     2);
    fclose(f);
    return user + system;
}

/* One side is gone and the other does not notice: the relay must not turn round and round. */
static void it_sleeps_when_one_side_is_gone(void **state)
{
    (void)state;
    struct bench b;
    char byte;
    setup(&b, "2ms");
    close(b.far);
    b.far = -1;
    assert_int_equal(read(b.near, &byte, 1), 0);
    long before = cpu_ticks(b.pid);
    usleep(300000);
    assert_true(cpu_ticks(b.pid) - before < 10);
    assert_int_equal(send(b.near, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    teardown(&b);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct bench b;
    char byte;
    setup(&b, "2ms");
    close(b.listener);
    unlink(far_end.sun_path);
    int second = unix_socket();
    assert_int_equal(connect(second, (struct sockaddr *)&near_end, sizeof near_end), 0);
    assert_int_equal(read(second, &byte, 1), 0);
    close(second);
    b.listener = -1;
    assert_true(round_trip_ms(&b) >= 2); /* the first goes on */
    teardown(&b);
}

static void place(struct sockaddr_un *a, const char *name)
{
    a->sun_family = AF_UNIX;
    snprintf(a->sun_path, sizeof a->sun_path, "%s/%s", dir, name);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_trip_takes_its_time),
        cmocka_unit_test(many_bytes_both_ways),
        cmocka_unit_test(a_half_close_passes),
        cmocka_unit_test(it_sleeps_when_one_side_is_gone),
        cmocka_unit_test(nobody_listens),
    };
    if (argc != 2 || mkdtemp(dir) == NULL)
        return 2;
    relay = argv[1];
    place(&near_end, "near");
    place(&far_end, "far");
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(far_end.sun_path);
    unlink(near_end.sun_path);
    rmdir(dir);
    return rc;
}
