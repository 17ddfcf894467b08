/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "qmp/virt/mark.h"
#include "tests/qmp/fake_virt.h"

static struct virt_host *host;
static struct virt_domain domain;

static int open_domain(void **state)
{
    struct err e = {0};
    (void)state;
    fake_virt_forget();
    host = virt_host_open("qemu:///system", "source", &e);
    domain = (struct virt_domain){.host = host, .uuid = FAKE_VIRT_UUID, .name = "vm"};
    return host != NULL ? 0 : -1;
}

static int close_domain(void **state)
{
    (void)state;
    virt_host_close(host);
    fake_virt_forget();
    return 0;
}

static void test_set_and_clear(void **state)
{
    (void)state;
    struct err e = {0};
    fake_virt_title = strdup("its own");
    assert_int_equal(virt_mark_set(&domain, "one", "qemu+ssh://b/system", &e), 0);
    assert_non_null(strstr(fake_virt_title, "do not resume it here | its own"));
    assert_int_equal(virt_mark_is(&domain, "one", &e), 1);
    assert_int_equal(virt_mark_is(&domain, "two", &e), 0);
    assert_int_equal(virt_mark_set(&domain, "two", "qemu+ssh://b/system", &e),
                     0); /* our own of before */
    assert_int_equal(virt_mark_is(&domain, "two", &e), 1);
    assert_int_equal(virt_mark_clear(&domain, &e), 0);
    assert_string_equal(fake_virt_title, "its own");
    assert_null(fake_virt_element);
}

static void test_half_a_mark_is_none(void **state)
{
    (void)state;
    struct err e = {0};
    fake_virt_title = strdup("its own");
    fake_virt_no_title = true;
    assert_int_equal(virt_mark_set(&domain, "one", "qemu+ssh://b/system", &e), -1);
    assert_non_null(strstr(e.msg, "cannot note the migration"));
    assert_null(fake_virt_element);
    assert_string_equal(fake_virt_title, "its own");
}

/* The mark of process `pid`, which is another one than this. */
static enum owner_state state_of(pid_t pid)
{
    struct virt_mark_owner o;
    assert_int_equal(virt_mark_owner((virDomainPtr)(void *)&domain, &o), 1);
    assert_int_equal(o.pid, pid);
    return o.state;
}

static void test_whose_it_is(void **state)
{
    (void)state;
    struct err e = {0};
    struct virt_mark_owner o;
    int marked[2], done[2];
    char text[512] = "", byte;
    assert_int_equal(virt_mark_owner((virDomainPtr)(void *)&domain, &o), 0);
    assert_int_equal(pipe(marked) + pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = virt_mark_set(&domain, "one", "qemu+ssh://b/system", &e);
        (void)!write(marked[1], fake_virt_element, rc == 0 ? strlen(fake_virt_element) : 0);
        (void)!read(done[0], &byte, 1);
        _exit(0);
    }
    assert_true(read(marked[0], text, sizeof text - 1) > 0);
    fake_virt_element = strdup(text);
    assert_int_equal(state_of(pid), OWNER_ALIVE);
    assert_int_equal(virt_mark_set(&domain, "two", "qemu+ssh://b/system", &e), -1);
    assert_non_null(strstr(e.msg, "is being migrated by another godwit, process"));
    assert_string_equal(fake_virt_element, text);
    assert_int_equal(write(done[1], "d", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(state_of(pid), OWNER_DEAD);
    err_clear(&e);
    assert_int_equal(virt_mark_set(&domain, "two", "qemu+ssh://b/system", &e), 0);
    assert_int_equal(state_of(getpid()), OWNER_SELF);
    for (int i = 0; i < 2; i++) {
        close(marked[i]);
        close(done[i]);
    }
}

static void test_of_an_older_godwit(void **state)
{
    (void)state;
    struct err e = {0};
    struct virt_mark_owner o;
    fake_virt_element = strdup("<migration id='one' title=''/>");
    assert_int_equal(virt_mark_owner((virDomainPtr)(void *)&domain, &o), 1);
    assert_int_equal(o.state, OWNER_UNKNOWN);
    assert_int_equal(o.pid, 0);
    assert_string_equal(o.covered, "");
    assert_int_equal(virt_mark_set(&domain, "two", "qemu+ssh://b/system", &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set_and_clear, open_domain, close_domain),
        cmocka_unit_test_setup_teardown(test_half_a_mark_is_none, open_domain, close_domain),
        cmocka_unit_test_setup_teardown(test_whose_it_is, open_domain, close_domain),
        cmocka_unit_test_setup_teardown(test_of_an_older_godwit, open_domain, close_domain),
    };
    return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
