/* SPDX-License-Identifier: Apache-2.0 */
/* On a child process that names its threads as QEMU does. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/proc_usage.h"
#include "core/clock.h"

static int64_t thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void burn(int64_t ns)
{
    while (thread_cpu_ns() < ns)
        ;
}

static void *vcpu(void *arg)
{
    (void)arg;
    prctl(PR_SET_NAME, "CPU 0/TCG");
    burn(60 * NS_PER_MS);
    pause();
    return NULL;
}

/* It ends at a byte on `go`, once it was seen: a reader without a processor could miss it else. */
static void *migration(void *arg)
{
    char byte;
    prctl(PR_SET_NAME, "mig/src/main");
    burn(30 * NS_PER_MS);
    (void)!read(*(int *)arg, &byte, 1);
    return NULL;
}

/* A thread for the vCPU at once, and at a byte on `go` one that migrates. */
static void play_qemu(int go)
{
    pthread_t thread;
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "qemu-test");
    pthread_create(&thread, NULL, vcpu, NULL);
    if (read(go, &byte, 1) == 1) {
        pthread_create(&thread, NULL, migration, &go);
        pthread_join(thread, NULL);
    }
    for (;;)
        pause();
}

static pid_t start(int *go)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        play_qemu(ends[0]);
    assert_true(pid > 0);
    close(ends[0]);
    *go = ends[1];
    return pid;
}

static void end(pid_t pid, int go)
{
    close(go);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Reads every 5 ms until the class that `at` points into has used that much. */
static void read_until(struct proc_usage *p, struct proc_usage_sample *s, const uint64_t *at,
                       int64_t wanted_ns)
{
    for (int i = 0; i < 2000; i++) {
        assert_true(proc_usage_read(p, s));
        if (*at != PROC_USAGE_UNKNOWN && *at >= (uint64_t)wanted_ns)
            return;
        usleep(5000);
    }
    fail_msg("%lld ns after 10 s", (long long)*at);
}

static void tells_threads_apart(void **state)
{
    (void)state;
    struct err e = {0};
    struct proc_usage_sample s;
    int go;
    pid_t pid = start(&go);
    struct proc_usage *p = proc_usage_open(pid, &e);
    assert_non_null(p);
    read_until(p, &s, &s.vcpu_cpu_ns, 60 * NS_PER_MS);
    assert_int_equal(s.migration_cpu_ns, 0);
    assert_true(s.all_cpu_ns >= s.vcpu_cpu_ns);
    assert_true(s.rss_bytes > 0);

    assert_int_equal(write(go, "", 1), 1);
    read_until(p, &s, &s.migration_cpu_ns, 20 * NS_PER_MS);
    assert_int_equal(write(go, "", 1), 1);
    usleep(100000);
    uint64_t before = s.migration_cpu_ns;
    for (int i = 0; i < 40; i++) /* it has ended, and stays counted */
        assert_true(proc_usage_read(p, &s));
    assert_true(s.migration_cpu_ns >= before);
    assert_true(s.all_cpu_ns >= s.vcpu_cpu_ns + s.migration_cpu_ns);

    end(pid, go);
    assert_false(proc_usage_read(p, &s));
    proc_usage_close(p);
    assert_null(proc_usage_open(pid, &e));
    assert_int_equal(e.class, ERR_LOST);
}

static void without_names_only_all_is_known(void **state)
{
    (void)state;
    struct err e = {0};
    struct proc_usage_sample s;
    struct proc_usage *p = proc_usage_open(getpid(), &e);
    assert_non_null(p);
    assert_true(proc_usage_read(p, &s));
    assert_true(s.vcpu_cpu_ns == PROC_USAGE_UNKNOWN);
    assert_true(s.migration_cpu_ns == PROC_USAGE_UNKNOWN);
    assert_true(s.all_cpu_ns > 0);
    proc_usage_close(p);
}

static void knows_the_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum proc_thread class;
    } names[] = {
        {"CPU 0/TCG", PROC_THREAD_VCPU},
        {"CPU 12/KVM", PROC_THREAD_VCPU},
        {"live_migration", PROC_THREAD_MIGRATION},
        {"multifdsend_3", PROC_THREAD_MIGRATION},
        {"multifdrecv_0", PROC_THREAD_MIGRATION},
        {"return path", PROC_THREAD_MIGRATION},
        {"mig/src/main", PROC_THREAD_MIGRATION},
        {"mig/dst/recv_1", PROC_THREAD_MIGRATION},
        {"CPU ", PROC_THREAD_OTHER},
        {"qemu-system-x86", PROC_THREAD_OTHER},
        {"IO mon_iothread", PROC_THREAD_OTHER},
        {"", PROC_THREAD_OTHER},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (proc_thread_of(names[i].name) != names[i].class)
            fail_msg("%s", names[i].name);
}

static void finds_a_qemu_by_its_words(void **state)
{
    (void)state;
    int go;
    pid_t pid = start(&go), found = 0;
    /* the child's command line is this test's */
    for (int i = 0; i < 200 && found == 0; i++, usleep(5000))
        found = proc_find_qemu("proc_usage", 0);
    assert_int_equal(found, pid);
    assert_int_equal(proc_find_qemu("proc_usage", pid), 0);
    assert_int_equal(proc_find_qemu("no such words", 0), 0);
    end(pid, go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_names_only_all_is_known),
        cmocka_unit_test(tells_threads_apart),
        cmocka_unit_test(knows_the_names),
        cmocka_unit_test(finds_a_qemu_by_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
