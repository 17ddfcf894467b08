/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/loop.h"

enum { WATCHES = 8 };

struct crowd {
    struct loop *loop;
    int fd[WATCHES];
    struct loop_fd *watch[WATCHES];
    int calls;
};

/* The first one that is called deletes all of them, itself and those later in the batch too. */
static void delete_all(void *arg, uint32_t events)
{
    struct crowd *c = arg;
    assert_true(events & EPOLLIN);
    c->calls++;
    for (int i = 0; i < WATCHES; i++) {
        loop_fd_del(c->watch[i]);
        c->watch[i] = NULL;
        close(c->fd[i]);
    }
}

static void test_what_is_deleted_in_a_batch_is_not_called(void **state)
{
    (void)state;
    struct err e = {0};
    struct crowd c = {.loop = loop_new(&e)};
    for (int i = 0; i < WATCHES; i++) {
        c.fd[i] = eventfd(1, EFD_CLOEXEC);
        c.watch[i] = loop_fd_add(c.loop, c.fd[i], EPOLLIN, delete_all, &c, &e);
        assert_non_null(c.watch[i]);
    }
    assert_int_equal(c.calls, 0);
    loop_turn(c.loop, 0);
    loop_turn(c.loop, 0);
    assert_int_equal(c.calls, 1);
    loop_free(c.loop);
    loop_free(NULL);
    loop_fd_del(NULL);
    loop_timer_del(NULL);
}

static void count(void *arg, uint32_t events)
{
    (void)events;
    (*(int *)arg)++;
}

static void test_what_a_descriptor_waits_for_can_change(void **state)
{
    (void)state;
    struct err e = {0};
    struct loop *l = loop_new(&e);
    int calls = 0, fd = eventfd(1, EFD_CLOEXEC);
    struct loop_fd *w = loop_fd_add(l, fd, 0, count, &calls, &e);
    loop_turn(l, 0);
    assert_int_equal(calls, 0);
    loop_fd_set(w, EPOLLIN);
    loop_turn(l, 0);
    loop_turn(l, 0); /* level-triggered */
    assert_int_equal(calls, 2);
    assert_null(loop_fd_add(l, 100000, EPOLLIN, count, &calls, &e));
    assert_int_equal(e.class, ERR_IO);
    loop_fd_del(w);
    close(fd);
    loop_free(l);
}

struct timers {
    struct loop *loop;
    struct loop_timer *t[4];
    char order[16];
};

static void timer_note(struct timers *t, int n)
{
    t->order[strlen(t->order)] = (char)('0' + n);
}

static void fire_2(void *arg)
{
    timer_note(arg, 2);
}

static void fire_1(void *arg) /* deletes another one, which is due as well, and itself */
{
    struct timers *t = arg;
    timer_note(t, 1);
    loop_timer_del(t->t[0]);
    loop_timer_del(t->t[1]);
    t->t[0] = t->t[1] = NULL;
    struct err e = {0};
    t->t[2] = loop_timer_add(t->loop, 5 * NS_PER_MS, fire_2, t, &e);
}

static void fire_0(void *arg)
{
    timer_note(arg, 0);
}

static void test_timers_come_in_order(void **state)
{
    (void)state;
    struct err e = {0};
    struct timers t = {.loop = loop_new(&e)};
    int64_t began_ns = clock_now_ns();
    t.t[0] = loop_timer_add(t.loop, 10 * NS_PER_MS, fire_0, &t, &e);
    t.t[1] = loop_timer_add(t.loop, 10 * NS_PER_MS, fire_1, &t, &e); /* found first */
    loop_turn(t.loop, 0);
    assert_string_equal(t.order, "");
    loop_sleep(t.loop, 40 * NS_PER_MS);
    assert_string_equal(strchr(t.order, '1'), "12");
    assert_true(clock_now_ns() - began_ns >= 40 * NS_PER_MS);
    loop_timer_del(t.t[0]);
    loop_timer_del(t.t[2]); /* fired, and ours to delete */
    loop_free(t.loop);
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void test_a_spin_ends_when_done_or_late(void **state)
{
    (void)state;
    struct err e = {0};
    struct loop *l = loop_new(&e);
    bool done = false;
    int64_t began_ns = clock_now_ns();
    assert_int_equal(loop_spin(l, &done, began_ns + 20 * NS_PER_MS, true, &e), -1);
    assert_int_equal(e.class, ERR_TIMEOUT);
    assert_true(clock_now_ns() - began_ns >= 20 * NS_PER_MS);
    err_clear(&e);
    struct loop_timer *t = loop_timer_add(l, 5 * NS_PER_MS, set_true, &done, &e);
    assert_int_equal(loop_spin(l, &done, -1, true, &e), 0);
    assert_int_equal(loop_spin(l, &done, 0, true, &e),
                     0); /* done before a deadline that has passed */
    loop_timer_del(t);
    loop_free(l);
}

static void test_interrupts_are_counted(void **state)
{
    (void)state;
    struct err e = {0};
    struct loop *l = loop_new(&e);
    bool done = false;
    assert_int_equal(loop_catch_signals(l, &e), 0);
    raise(SIGINT);
    assert_int_equal(loop_interrupts(l), 0); /* not before a turn */
    assert_int_equal(loop_spin(l, &done, clock_now_ns() + NS_PER_S, true, &e), -1);
    assert_int_equal(e.class, ERR_CANCELLED);
    assert_int_equal(loop_interrupts(l), 1);
    err_clear(&e);
    assert_int_equal(loop_spin(l, &done, -1, true, &e), -1); /* also one from before the call */
    assert_int_equal(e.class, ERR_CANCELLED);
    err_clear(&e);
    assert_int_equal(loop_spin(l, &done, clock_now_ns() + NS_PER_MS, false, &e), -1);
    assert_int_equal(e.class, ERR_TIMEOUT);
    raise(SIGTERM);
    loop_turn(l, 0);
    assert_int_equal(loop_interrupts(l), 2);
    loop_free(l);
}

/* A Ctrl-C that nobody has looked at any more must not decide the exit code. */
static void test_a_late_signal_does_not_decide_the_exit(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct err e = {0};
        struct loop *l = loop_new(&e);
        loop_catch_signals(l, &e);
        raise(SIGINT);
        loop_free(l);
        _exit(7);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void turn_again(void *arg, uint32_t events)
{
    (void)events;
    loop_turn(arg, 0);
}

static void test_a_turn_within_a_turn_is_a_bug(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        struct err e = {0};
        struct loop *l = loop_new(&e);
        loop_fd_add(l, eventfd(1, 0), EPOLLIN, turn_again, l, &e);
        loop_turn(l, 0);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_deleted_in_a_batch_is_not_called),
        cmocka_unit_test(test_what_a_descriptor_waits_for_can_change),
        cmocka_unit_test(test_timers_come_in_order),
        cmocka_unit_test(test_a_spin_ends_when_done_or_late),
        cmocka_unit_test(test_interrupts_are_counted),
        cmocka_unit_test(test_a_late_signal_does_not_decide_the_exit),
        cmocka_unit_test(test_a_turn_within_a_turn_is_a_bug),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
