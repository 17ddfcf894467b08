/* SPDX-License-Identifier: Apache-2.0 */
/* Who outlives whom on the native route: libvirt's threads use nothing of an owner that is gone. Run it under the
 * sanitizers, too, which see what a check of ours cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_virt.h"
#include "qmp/virt/native_events.h"
#include "qmp/virt/native_job.h"

static void on_end(void *arg)
{
    (void)arg;
    fail_msg("nobody is there to be asked");
}

static bool none_open_soon(void)
{
    for (int i = 0; i < 500 && fake_virt_connections() > 0; i++)
        usleep(10000);
    return fake_virt_connections() == 0;
}

/* libvirt does not end the migration before its owner has closed all that it has. */
static void test_job_outlives_its_owner(void **state)
{
    (void)state;
    struct err e = {0};
    struct loop *loop = loop_new(&e);
    const struct virt_route_options options = {.persistent = false};
    const struct vm_settings settings = {.set_n = 0};
    struct virt_move m = {.options = &options};
    fake_virt_forget();
    m.source_host = virt_host_open("qemu:///system", "source", &e);
    m.destination_host = virt_host_open("qemu+ssh://b/system", "destination", &e);
    m.source = (struct virt_domain){.host = m.source_host, .uuid = FAKE_VIRT_UUID, .name = "vm"};
    struct native_job *j = native_job_start(loop, &m, &settings, on_end, NULL, &e);
    assert_non_null(j);
    assert_int_equal(native_job_abort(j, 1, &e), -1);
    assert_int_equal(e.class, ERR_TIMEOUT);
    native_job_close(j);
    virt_host_close(m.destination_host);
    virt_host_close(m.source_host);
    loop_free(loop);
    assert_int_equal(fake_virt_connections(),
                     2); /* the call's: the source's host, and where it goes to */
    fake_virt_let_migrate();
    assert_true(none_open_soon());
}

/* libvirt is in the callbacks while their owner closes. */
static void test_events_outlive_their_owner(void **state)
{
    (void)state;
    struct err e = {0};
    struct virt_host *h = virt_host_open("qemu:///system", "destination", &e);
    const struct virt_domain d = {.host = h, .uuid = FAKE_VIRT_UUID, .name = "vm"};
    struct vm_seen seen = {0};
    struct native_events *v = native_events_open(&d, &e);
    assert_non_null(v);
    fake_virt_say_made(7);
    fake_virt_say("STOP");
    fake_virt_say("SHUTDOWN");
    assert_int_equal(native_events_made(v), 7);
    native_events_hear(v, &seen);
    assert_true(seen.stopped_ns > 0 && seen.resumed_ns == 0 && !seen.gap);
    native_events_close(v);
    assert_int_equal(fake_virt_callbacks(), 2);
    fake_virt_say_made(8);
    fake_virt_say("RESUME");
    assert_int_equal(fake_virt_give_back(), 2); /* each has held on to what it used */
    assert_int_equal(fake_virt_callbacks(), 0);
    virt_host_close(h);
    assert_int_equal(fake_virt_connections(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_outlives_its_owner),
        cmocka_unit_test(test_events_outlive_their_owner),
    };
    return cmocka_run_group_tests_name("native_lives", tests, NULL, NULL);
}
