/* SPDX-License-Identifier: Apache-2.0 */
/* Questions at the same time, to a libvirt of ours (tests/qmp/fake_virt.h). */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/virt/at_once.h"
#include "tests/qmp/fake_virt.h"

struct asked {
    atomic_int under_way, answers;
    sem_t all, go_on;
};

static atomic_int released;

static void release(void *arg)
{
    atomic_fetch_add(&released, 1);
    free(arg);
}

static struct asked *asked_new(void)
{
    struct asked *a = calloc(1, sizeof *a);
    assert_non_null(a);
    sem_init(&a->all, 0, 0);
    sem_init(&a->go_on, 0, 0);
    atomic_store(&released, 0);
    return a;
}

/* Has its answer only when all three are under way: one after the other they would wait for ever. */
static void ask_together(void *arg)
{
    struct asked *a = arg;
    if (atomic_fetch_add(&a->under_way, 1) == 2)
        for (int i = 0; i < 3; i++)
            sem_post(&a->all);
    sem_wait(&a->all);
    atomic_fetch_add(&a->answers, 1);
}

static void ask_at_once(void *arg)
{
    atomic_fetch_add(&((struct asked *)arg)->answers, 1);
}

/* As libvirt 9 leaves a call on a connection that its keepalive has ended; until the test lets it go. */
static void ask_for_ever(void *arg)
{
    sem_wait(&((struct asked *)arg)->go_on);
}

static void test_they_are_under_way_at_the_same_time(void **state)
{
    (void)state;
    static virt_ask_fn *const asks[] = {ask_together, ask_together, ask_together};
    struct err e = {0};
    struct virt_host *h = virt_host_open("qemu:///system", "destination", &e);
    struct asked *a = asked_new(), *back;
    back = virt_at_once_end(virt_at_once_begin(h, asks, 3, a, release, &e), &e);
    assert_ptr_equal(back, a);
    assert_int_equal(atomic_load(&a->answers), 3);
    assert_int_equal(atomic_load(&released), 0);
    free(back);
    virt_host_close(h);
}

/* Who waits is told; what the call that hangs writes to is not taken from under it. */
static void test_one_that_hangs_on_a_dead_connection_is_left_behind(void **state)
{
    (void)state;
    static virt_ask_fn *const asks[] = {ask_at_once, ask_for_ever};
    struct err e = {0};
    struct virt_host *h = virt_host_open("qemu:///system", "destination", &e);
    struct asked *a = asked_new();
    struct virt_at_once *once = virt_at_once_begin(h, asks, 2, a, release, &e);
    fake_virt_dead = true;
    assert_null(virt_at_once_end(once, &e));
    assert_int_equal(e.class, ERR_LOST);
    assert_int_equal(atomic_load(&released), 0);
    sem_post(&a->go_on);
    for (int64_t until_ns = clock_now_ns() + 20 * NS_PER_S;
         atomic_load(&released) == 0 && clock_now_ns() < until_ns;)
        usleep(1000);
    assert_int_equal(atomic_load(&released), 1);
    fake_virt_dead = false;
    virt_host_close(h);
}

/* Slow is not dead. */
static void test_one_that_is_slow_is_waited_for(void **state)
{
    (void)state;
    static virt_ask_fn *const asks[] = {ask_at_once, ask_for_ever};
    struct err e = {0};
    struct virt_host *h = virt_host_open("qemu:///system", "destination", &e);
    struct asked *a = asked_new();
    struct virt_at_once *once = virt_at_once_begin(h, asks, 2, a, release, &e);
    usleep(50000);
    sem_post(&a->go_on);
    void *back = virt_at_once_end(once, &e);
    assert_ptr_equal(back, a);
    free(back);
    virt_host_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_are_under_way_at_the_same_time),
        cmocka_unit_test(test_one_that_hangs_on_a_dead_connection_is_left_behind),
        cmocka_unit_test(test_one_that_is_slow_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
