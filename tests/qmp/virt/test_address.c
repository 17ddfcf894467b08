/* SPDX-License-Identifier: Apache-2.0 */
/* This machine is the source: "localhost" and 127.0.1.1 are itself, "a..b" is no name anywhere, and
 * 192.0.2.1 (RFC 5737) is elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "qmp/virt/address.h"

static struct shell here = {.kind = SHELL_LOCAL};

static const struct virt_address_query usual = {
    .own_name = "192.0.2.1", .uri_host = "192.0.2.7", .source_name = "src", .source = &here};

static void finds(const struct virt_address_query *q, const char *host, const char *there)
{
    struct virt_address a;
    struct err e = {0};
    if (virt_address_find(q, &a, &e) < 0)
        fail_msg("%s", e.msg);
    assert_string_equal(a.host, host);
    assert_string_equal(a.there, there);
}

static void refuses(const struct virt_address_query *q, const char *msg, const char *hint)
{
    struct virt_address a;
    struct err e = {0};
    assert_int_equal(virt_address_find(q, &a, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    if (strstr(e.msg, msg) == NULL || strstr(e.hint, hint) == NULL)
        fail_msg("'%s' ('%s') is not '%s' ('%s')", e.msg, e.hint, msg, hint);
    err_clear(&e);
}

static void takes_what_is_elsewhere(void **state)
{
    (void)state;
    struct virt_address_query q = usual;
    finds(&q, "192.0.2.1", "192.0.2.1");
    q.given = "192.0.2.9";
    finds(&q, "192.0.2.9", "192.0.2.9");
}

/* As on Debian, whose /etc/hosts has 127.0.1.1 for the host's own name. */
static void refuses_what_the_source_itself_is(void **state)
{
    (void)state;
    static const char *const own[] = {"127.0.1.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "::"};
    struct virt_address_query q = usual;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        q.own_name = own[i];
        refuses(&q, "is src itself, and not the destination", "--migrateuri tcp://192.0.2.7");
    }
    q.uri_host = "127.0.0.1"; /* by a tunnel, maybe: no advice */
    refuses(&q, "src itself", "--migrateuri tcp://ADDRESS");
    q.source = NULL; /* a literal address needs no asking */
    refuses(&q, "src itself", "--migrateuri tcp://ADDRESS");
    q = usual;
    q.given = "localhost";
    refuses(&q, "on src the name localhost is ", "--unsafe");
}

static void takes_it_where_that_is_meant(void **state)
{
    (void)state;
    struct virt_address_query q = usual;
    struct virt_address a;
    struct err e = {0};
    q.own_name = "127.0.1.1";
    q.same_host = true;
    finds(&q, "127.0.1.1", "127.0.1.1");
    q.same_host = false;
    q.unsafe = true; /* says nothing about what was found out, only about what was given */
    refuses(&q, "src itself", "--migrateuri");
    q.given = "127.0.0.1";
    q.given_port = 4711;
    assert_int_equal(virt_address_find(&q, &a, &e), 0);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port_first, 4711);
    assert_int_equal(a.port_last, 4711);
}

static void falls_back_to_the_uri(void **state)
{
    (void)state;
    struct virt_address_query q = usual;
    q.own_name = "a..b";
    finds(&q, "192.0.2.7", "192.0.2.7");
    q.own_name = "localhost.localdomain";
    finds(&q, "192.0.2.7", "192.0.2.7");
    q.uri_host = "127.0.0.1";
    refuses(&q, "127.0.0.1 is src itself", "--migrateuri tcp://ADDRESS");
    q.own_name = "a..b";
    q.uri_host = "c..d";
    refuses(&q, "src does not know the destination's name, a..b, nor c..d",
            "--migrateuri tcp://ADDRESS");
    q.given = "a..b"; /* what an operator says is not replaced */
    q.uri_host = "192.0.2.7";
    refuses(&q, "src does not know the destination's name, a..b", "--migrateuri tcp://192.0.2.7");
}

static void takes_a_name_where_nobody_can_be_asked(void **state)
{
    (void)state;
    struct virt_address_query q = usual;
    q.source = NULL;
    q.own_name = "somewhere";
    finds(&q, "somewhere", "");
}

static void reads_uris(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "tcp://",       "tcp:b",      "b:1",
                                      "tcp://b:x", "tcp://b:0",    "tcp://[::1", "tcp://b:65536",
                                      "tcp://b/",  "tcp://[::1]x", "unix:///x"};
    char host[VIRT_ADDRESS_HOST], uri[300];
    unsigned port = 1;
    struct err e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(virt_address_parse(bad[i], host, &port, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
        err_clear(&e);
    }
    assert_int_equal(virt_address_parse("tcp://b", host, &port, &e), 0);
    assert_string_equal(host, "b");
    assert_int_equal(port, 0);
    assert_int_equal(virt_address_parse("tcp://[fe80::1%eth0]:49152", host, &port, &e), 0);
    assert_string_equal(host, "fe80::1%eth0");
    assert_int_equal(port, 49152);
    virt_address_uri(uri, sizeof uri, "tcp:", host);
    assert_string_equal(uri, "tcp:[fe80::1%eth0]");
}

static int bare(const char *source, const char *destination, const char *via)
{
    struct qmp_endpoint from, to;
    struct err e = {0};
    assert_int_equal(qmp_endpoint_parse(source, &from, &e), 0);
    assert_int_equal(qmp_endpoint_parse(destination, &to, &e), 0);
    int rc = virt_address_check_bare(&from, &to, via, &e);
    if (rc < 0) {
        assert_int_equal(e.class, ERR_REFUSED);
        assert_non_null(strstr(e.msg, "which is this host itself"));
        assert_non_null(strstr(e.hint, "--via tcp:ADDRESS:PORT"));
    }
    return rc;
}

/* Two sockets here are QEMUs of one host; one that is reached elsewhere is not. */
static void looks_where_bare_qemus_stream_to(void **state)
{
    (void)state;
    static const char a[] = "qmp+unix:/a", far[] = "qmp+tcp:192.0.2.7:4444";
    assert_int_equal(bare(a, "qmp+unix:/b", "tcp:127.0.1.1:4444"), 0);
    assert_int_equal(bare(a, "qmp+tcp:127.0.0.1:4444", "tcp:localhost:4444"), 0);
    assert_int_equal(bare(a, far, "tcp:192.0.2.7:4444"), 0);
    assert_int_equal(bare(a, far, "unix:/somewhere"), 0);
    assert_int_equal(bare(a, far, "tcp:a..b:4444"), 0); /* QEMU will tell */
    assert_int_equal(bare(a, far, "tcp:localhost:4444"), -1);
    assert_int_equal(bare(a, far, "tcp:127.0.1.1:4444"), -1);
    assert_int_equal(bare(a, far, "tcp:[::1]:4444"), -1);
}

static int close_shell(void **state)
{
    (void)state;
    shell_close(&here);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_elsewhere),
        cmocka_unit_test(refuses_what_the_source_itself_is),
        cmocka_unit_test(takes_it_where_that_is_meant),
        cmocka_unit_test(falls_back_to_the_uri),
        cmocka_unit_test(takes_a_name_where_nobody_can_be_asked),
        cmocka_unit_test(reads_uris),
        cmocka_unit_test(looks_where_bare_qemus_stream_to),
    };
    return cmocka_run_group_tests(tests, NULL, close_shell);
}
