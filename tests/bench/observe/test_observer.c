/* SPDX-License-Identifier: Apache-2.0 */
/* What observers are asked for, and how they are grouped. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest_port.h"
#include "core/clock.h"

static void assert_refuses(const char *spec, enum err_class class)
{
    struct err e = {0};
    struct observer *o = observer_open(&spec, 1, &e);
    if (o != NULL)
        fail_msg("'%s' was accepted", spec);
    if (e.class != class)
        fail_msg("'%s': %s: %s", spec, err_class_name(e.class), e.msg);
}

static void refuses_specs_it_cannot_read(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "",
        "ping",
        "ping:",
        "serial:",
        "serial",
        "Ping:::1",
        "tcp:1.2.3.4",
        "ping:@2ms",
        "ping:127.0.0.1@",
        "ping:127.0.0.1@2",
        "/dev/pts/0",
        "ping:127.0.0.1@0ms",
        "ping:127.0.0.1@2m s",
        "ping:127.0.0.1@100us",
        "ping:127.0.0.1@2h",
        "ping:127.0.0.1@-5ms",
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        assert_refuses(specs[i], ERR_USAGE);

    struct err e = {0};
    const char *twice[] = {"serial:/x", "serial:/x"};
    assert_null(observer_open(twice, 2, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    assert_null(observer_open(twice, 0, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    const char *many[OBSERVER_SPECS_MAX + 1] = {0};
    assert_null(observer_open(many, OBSERVER_SPECS_MAX + 1, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    const char *good_then_bad[] = {"serial:/nonexistent/path", "ping:127.0.0.1@0s"};
    assert_null(observer_open(good_then_bad, 2, &e));
    assert_int_equal(e.class, ERR_USAGE); /* the usage of all comes before the opening of any */
}

static void refuses_what_it_cannot_open(void **state)
{
    (void)state;
    char spec[256];
    assert_refuses("serial:/nonexistent/path", ERR_REFUSED);
    assert_refuses("serial:/dev/null", ERR_REFUSED);
    snprintf(spec, sizeof spec, "serial:%s", guest_folder);
    assert_refuses(spec, ERR_REFUSED);
    assert_refuses("ping:256.1.1.1", ERR_REFUSED);

    struct guest_port p; /* a socket that nobody listens on */
    guest_port_listen(&p, "deaf");
    close(p.listen_fd);
    p.listen_fd = -1;
    assert_refuses(p.spec, ERR_REFUSED);

    struct guest_port good; /* what was opened before the bad one is closed again */
    guest_port_listen(&good, "good");
    const char *specs[] = {good.spec, p.spec};
    struct err e = {0};
    assert_null(observer_open(specs, 2, &e));
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, p.spec));
    guest_port_close(&good);
    guest_port_close(&p);
}

static void says_that_there_was_never_a_sign(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_write_file(&p, "dumb");
    struct observer *o = guest_observe(&p);
    guest_sleep_ns(20 * NS_PER_MS);
    observer_mark(o);
    guest_sleep_ns(20 * NS_PER_MS);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.first_ns, -1);
    assert_int_equal(r.last_ns, -1);
    assert_int_equal(r.median_interval_ns, -1);
    assert_int_equal(r.p99_interval_ns, -1);
    assert_ms_within(r.longest_silence_ns, 19, 60000);
    assert_true(r.silences[0].open);
    assert_int_equal(r.silences[0].from, -1);
    guest_port_close(&p);
}

static void groups_pings_and_serials(void **state)
{
    (void)state;
    const char *why = guest_no_ping(AF_INET, IPPROTO_ICMP);
    if (why != NULL) {
        print_message("no ping over IPv4 here: %s\n", why);
        skip();
    }
    struct guest_port a, b;
    guest_port_write_file(&a, "a.log");
    guest_port_write_file(&b, "b.log");
    const char *specs[] = {"ping:127.0.0.1", a.spec, "ping:127.0.0.2@9ms", b.spec};
    struct err e = {0};
    struct observer *o = observer_open(specs, 4, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    guest_port_beats(&b, guest_port_beats(&a, 0, 20), 20);
    struct observer_result r[4];
    assert_int_equal(observer_stop(o, r, 4), 3);
    assert_string_equal(r[0].what, "ping:127.0.0.1");
    assert_int_equal(r[1].kind, OBSERVER_SERIAL);
    assert_int_equal(r[1].count, 40);
    assert_string_equal(r[2].what, "ping:127.0.0.2");
    guest_port_close(&a);
    guest_port_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_specs_it_cannot_read),
        cmocka_unit_test(refuses_what_it_cannot_open),
        cmocka_unit_test(says_that_there_was_never_a_sign),
        cmocka_unit_test(groups_pings_and_serials),
    };
    return cmocka_run_group_tests(tests, guest_folder_make, guest_folder_remove);
}
