/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libvirt's client takes calls of several threads on one connection, sends each at once, and hands out the
 * answers as they come; libvirtd works on them at the same time.
 *
 * When the keepalive ends a connection, though, libvirt 9 wakes one of the threads that wait for an answer, and
 * the others stay in their calls for ever (measured: 6 calls, 1 returned, each of 8 times; at an ordinary end of
 * the stream all return). So nobody waits for a thread: the threads are detached, each counts itself out,
 * and who waits gives up a moment after the connection has ended. What they share lives as long as any of them.
 */
#include "qmp/virt/at_once.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/clock.h"

/* A call that has not returned so long after its connection has ended never does. */
#define AT_ONCE_HANGING_NS NS_PER_S
#define AT_ONCE_TICK_NS (50 * NS_PER_MS)

struct virt_at_once {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    unsigned running; /* under the lock */
    atomic_uint refs; /* a thread, or who waits */
    struct virt_host *host;
    virConnectPtr conn;
    void *arg;
    void (*release)(void *arg);
};

struct at_once_ask {
    struct virt_at_once *a;
    virt_ask_fn *ask;
};

static void at_once_put(struct virt_at_once *a)
{
    if (atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    if (a->arg != NULL)
        a->release(a->arg);
    virConnectClose(a->conn);
    virt_host_close(a->host);
    pthread_cond_destroy(&a->returned);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static void at_once_run(struct virt_at_once *a, virt_ask_fn *ask)
{
    ask(a->arg);
    pthread_mutex_lock(&a->lock);
    a->running--;
    pthread_cond_signal(&a->returned);
    pthread_mutex_unlock(&a->lock);
    at_once_put(a);
}

static void *at_once_thread(void *arg)
{
    CLEANUP_FREE struct at_once_ask *one = arg;
    virt_host_wait_for_none();
    at_once_run(one->a, one->ask);
    return NULL;
}

/* One that cannot have a thread is asked here. */
static void at_once_start(struct virt_at_once *a, virt_ask_fn *ask)
{
    struct at_once_ask *one = malloc(sizeof *one);
    if (one != NULL)
        *one = (struct at_once_ask){a, ask};
    if (one != NULL && virt_thread(at_once_thread, one) == 0)
        return;
    free(one);
    at_once_run(a, ask);
}

static void at_once_init(struct virt_at_once *a)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->returned, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&a->lock, NULL);
}

struct virt_at_once *virt_at_once_begin(struct virt_host *h, virt_ask_fn *const *asks, size_t n,
                                        void *arg, void (*release)(void *arg), struct err *e)
{
    virConnectPtr conn = virt_host_connection(h, e);
    struct virt_at_once *a = conn != NULL ? calloc(1, sizeof *a) : NULL;
    if (a == NULL) {
        if (conn != NULL) {
            err_set(e, ERR_IO, ENOMEM, "no memory for questions to libvirt");
            virConnectClose(conn);
        }
        release(arg);
        return NULL;
    }
    at_once_init(a);
    a->host = virt_host_ref(h);
    a->conn = conn;
    a->arg = arg;
    a->release = release;
    a->running = (unsigned)n;
    atomic_init(&a->refs, (unsigned)n + 1);
    for (size_t i = 0; i < n; i++)
        at_once_start(a, asks[i]);
    return a;
}

/* Under the lock. */
static bool at_once_wait(struct virt_at_once *a)
{
    int64_t dead_ns = 0;
    while (a->running > 0 && dead_ns < AT_ONCE_HANGING_NS) {
        int64_t until_ns = clock_now_ns() + AT_ONCE_TICK_NS;
        const struct timespec until = {until_ns / NS_PER_S, until_ns % NS_PER_S};
        pthread_cond_timedwait(&a->returned, &a->lock, &until);
        dead_ns += virConnectIsAlive(a->conn) == 1 ? 0 : AT_ONCE_TICK_NS;
    }
    return a->running == 0;
}

void *virt_at_once_end(struct virt_at_once *a, struct err *e)
{
    if (a == NULL)
        return NULL;
    pthread_mutex_lock(&a->lock);
    bool all = at_once_wait(a);
    pthread_mutex_unlock(&a->lock);
    void *arg = all ? TAKE(a->arg) : NULL;
    if (!all)
        err_set(e, ERR_LOST, 0, "%s: the connection to libvirt was lost", virt_host_role(a->host));
    at_once_put(a);
    return arg;
}
