/* SPDX-License-Identifier: Apache-2.0 */
/* What is registered with the ring: arenas of buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "ring_fixture.h"

enum { ARENA = 1 << 16 };

static char *map_arena(void *at)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at != NULL ? MAP_FIXED : 0);
    char *arena = mmap(at, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
    assert_true(arena != MAP_FAILED);
    return arena;
}

static int transfer(struct fixture *f, bool in, char *buf, uint32_t len, uint64_t offset)
{
    struct ring_op op = {0};
    struct seen seen = {0};
    (in ? (void)ring_read(f->ring, &op, f->file, buf, len, offset, see, &seen)
        : ring_write(f->ring, &op, f->file, buf, len, offset, see, &seen));
    await(f, &seen);
    return seen.res;
}

/* Two arenas, what lies across their ends, what lies in none, and after they are gone. */
static void test_buffers_in_and_beside_arenas_transfer(void **state)
{
    struct fixture f;
    char outside[8] = "";
    set_up(&f, state);
    char *a = map_arena(NULL), *b = map_arena(NULL);
    ring_arena_add(f.ring, a, ARENA / 2);
    ring_arena_add(f.ring, b, ARENA);
    memcpy(a + ARENA / 2 - 6, "godwit", 6);
    assert_int_equal(transfer(&f, false, a + ARENA / 2 - 6, 6, 0), 6); /* to the last byte */
    assert_int_equal(transfer(&f, true, a + ARENA / 2 - 3, 6, 0), 6);  /* and beyond it */
    assert_memory_equal(a + ARENA / 2 - 3, "godwit", 6);
    assert_int_equal(transfer(&f, true, b, 6, 0), 6);
    assert_memory_equal(b, "godwit", 6);
    assert_int_equal(transfer(&f, true, outside, 6, 0), 6);
    assert_string_equal(outside, "godwit");

    ring_arena_remove(f.ring, b);
    ring_arena_remove(f.ring, b); /* not there: nothing to do */
    memset(b, 0, 6);
    assert_int_equal(transfer(&f, true, b, 6, 0), 6);
    assert_memory_equal(b, "godwit", 6);
    ring_arena_remove(f.ring, a);
    munmap(a, ARENA);
    munmap(b, ARENA);
    tear_down(&f);
}

/* More than there is room for. */
static void test_more_arenas_than_room_work(void **state)
{
    enum { N = 40 };
    struct fixture f;
    char *arenas[N];
    set_up(&f, state);
    assert_int_equal(pwrite(f.file, "godwit", 6, 0), 6);
    for (int i = 0; i < N; i++) {
        arenas[i] = map_arena(NULL);
        ring_arena_add(f.ring, arenas[i], ARENA);
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(transfer(&f, true, arenas[i], 6, 0), 6);
        assert_memory_equal(arenas[i], "godwit", 6);
    }
    for (int i = 0; i < N; i++) {
        ring_arena_remove(f.ring, arenas[i]);
        munmap(arenas[i], ARENA);
    }
    tear_down(&f);
}

/* The kernel holds the pages: what is mapped in their place later is not what it reads into. */
static void test_an_arena_is_pinned(void **state)
{
    struct fixture f;
    set_up(&f, state);
    assert_int_equal(pwrite(f.file, "godwit", 6, 0), 6);
    char *arena = map_arena(NULL);
    ring_arena_add(f.ring, arena, ARENA);
    map_arena(arena);
    assert_int_equal(transfer(&f, true, arena, 6, 0), 6);
    assert_memory_equal(arena, "\0\0\0\0\0\0", 6);
    ring_arena_remove(f.ring, arena);
    assert_int_equal(transfer(&f, true, arena, 6, 0), 6);
    assert_memory_equal(arena, "godwit", 6);
    munmap(arena, ARENA);
    tear_down(&f);
}

/* Without the right to lock memory, and more than the limit: slower, and still right. */
static void arena_beyond_limit(void)
{
    enum { LEN = 1 << 20 };
    struct err e = {0};
    struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 65536};
    char path[] = "/tmp/godwit-test-XXXXXX";
    struct fixture f = {.ring = ring_new(RING_URING, &e), .file = mkstemp(path)};
    unlink(path);
    char *arena = calloc(1, LEN);
    if (f.ring == NULL || setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setuid(65534) < 0)
        _exit(1);
    if (pwrite(f.file, "godwit", 6, 0) != 6)
        _exit(2);
    ring_arena_add(f.ring, arena, LEN);
    if (transfer(&f, true, arena, 6, 0) != 6 || memcmp(arena, "godwit", 6) != 0)
        _exit(3);
    ring_arena_remove(f.ring, arena);
    ring_free(f.ring);
    _exit(0);
}

static void test_an_arena_beyond_the_limit_works(void **state)
{
    int status;
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs root, to give its rights up\n");
        skip();
    }
    pid_t pid = fork();
    if (pid == 0)
        arena_beyond_limit();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* To take back what an operation under way uses is a bug of the caller's, and is noticed. */
static void take_back_early(enum ring_backend backend)
{
    struct err e = {0};
    struct seen seen = {0};
    struct ring_op op = {0};
    static char arena[ARENA];
    int pair[2];
    struct ring *r = ring_new(backend, &e);
    if (r == NULL || pipe(pair) < 0)
        _exit(1);
    ring_arena_add(r, arena, ARENA);
    ring_read(r, &op, pair[0], arena, 1, 0, see, &seen);
    signal(SIGABRT, SIG_DFL);
    close(STDERR_FILENO); /* what assert() says is not for the log of the tests */
    ring_arena_remove(r, arena);
    _exit(2);
}

static void test_taking_back_early_is_noticed(void **state)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        take_back_early(**(enum ring_backend **)state);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static enum ring_backend uring = RING_URING, syscalls = RING_SYSCALLS;

#define URING(test)                                   \
    {                                                 \
#test " (io_uring)", test, NULL, NULL, &uring \
    }
#define BOTH(test)                                           \
    {#test " (io_uring)", test, NULL, NULL, &uring},         \
    {                                                        \
#test " (system calls)", test, NULL, NULL, &syscalls \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_buffers_in_and_beside_arenas_transfer),
        BOTH(test_more_arenas_than_room_work),
        URING(test_an_arena_is_pinned),
        URING(test_an_arena_beyond_the_limit_works),
        BOTH(test_taking_back_early_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
