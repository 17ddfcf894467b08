/* SPDX-License-Identifier: Apache-2.0 */
/* A process that ends is in no call of libvirt's that has to do with callbacks: libvirtd before 10.5 may crash where
 * the connection ends in the middle of one (qmp/virt/host.c). Each end is that of a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "qmp/fake_virt.h"
#include "qmp/virt/host.h"
#include "qmp/virt/monitor.h"

static int monitor_fd = -1;
static int told = -1; /* what the deregistrations say, to be read */

static void open_monitor(void)
{
    static struct virt_domain d = {.uuid = FAKE_VIRT_UUID, .name = "vm"};
    struct err e = {0};
    struct qmp_endpoint ep;
    d.host = virt_host_open("qemu:///system", "source", &e);
    virt_monitor_endpoint(&d, &ep);
    if (d.host == NULL || ep.carrier->open(ep.target, &monitor_fd, &e) == NULL)
        abort();
}

static void close_monitor(void)
{
    close(monitor_fd);
    usleep(100000); /* for its thread to see it */
}

/* The monitor is closed, and its thread has begun to deregister. */
static void end_in_mid_call(void)
{
    char begun;
    open_monitor();
    close(monitor_fd);
    if (read(told, &begun, 1) != 1)
        abort();
}

/* The monitor is closed as late as can be: in what atexit() calls last. */
static void end_before_the_call(void)
{
    atexit(close_monitor);
    open_monitor();
}

/* What its deregistrations said, to the end of a process that does this and then exits; for the caller to read on. */
static int run(void (*end)(void))
{
    int to[2];
    assert_int_equal(pipe(to), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fake_virt_deregistrations = to[1];
        told = to[0];
        end();
        exit(0);
    }
    close(to[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return to[0];
}

static void test_waits_for_a_call_under_way(void **state)
{
    (void)state;
    char said[8] = "";
    int from = run(end_in_mid_call);
    assert_true(read(from, said, sizeof said - 1) > 0);
    assert_string_equal(said, "ebe"); /* the first "b" was read by it; the two are one call */
    close(from);
}

static void test_no_call_begins(void **state)
{
    (void)state;
    char said[8] = "";
    int from = run(end_before_the_call);
    assert_int_equal(read(from, said, sizeof said - 1), 0);
    close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_a_call_under_way),
        cmocka_unit_test(test_no_call_begins),
    };
    return cmocka_run_group_tests_name("monitor_exit", tests, NULL, NULL);
}
