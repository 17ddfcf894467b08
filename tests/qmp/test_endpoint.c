/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/endpoint.h"

#define LONG_107                                                                             \
    "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaa"

static void test_good_endpoints_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum qmp_scheme scheme;
        const char *user, *host, *port, *path;
    } good[] = {
        {"qmp+unix:/run/vm.sock", QMP_UNIX, "", "", "", "/run/vm.sock"},
        {"qmp+unix:vm.sock", QMP_UNIX, "", "", "", "vm.sock"},
        {"qmp+unix:" LONG_107, QMP_UNIX, "", "", "", LONG_107},
        {"qmp+tcp:host:4444", QMP_TCP, "", "host", "4444", ""},
        {"qmp+tcp:[::1]:4444", QMP_TCP, "", "::1", "4444", ""},
        {"qmp+ssh://b/run/vm.sock", QMP_SSH, "", "b", "", "/run/vm.sock"},
        {"qmp+ssh://root@b/run/vm.sock", QMP_SSH, "root", "b", "", "/run/vm.sock"},
        {"qmp+ssh://root@b:2222/run/vm.sock", QMP_SSH, "root", "b", "2222", "/run/vm.sock"},
        {"qmp+ssh://root@[fe80::1]:22/x", QMP_SSH, "root", "fe80::1", "22", "/x"},
        {"qmp+ssh://b/run/a@b", QMP_SSH, "", "b", "", "/run/a@b"},
    };
    assert_int_equal(strlen(LONG_107), 107);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err e = {0};
        struct qmp_endpoint ep;
        if (qmp_endpoint_parse(good[i].text, &ep, &e) < 0)
            fail_msg("%s", e.msg);
        assert_int_equal(ep.scheme, good[i].scheme);
        assert_string_equal(ep.user, good[i].user);
        assert_string_equal(ep.host, good[i].host);
        assert_string_equal(ep.port, good[i].port);
        assert_string_equal(ep.path, good[i].path);
        assert_string_equal(ep.text, good[i].text);
    }
}

static void test_bad_endpoints_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/run/vm.sock",
        "unix:/run/vm.sock",
        "qmp+unix:",
        "qmp+unix:" LONG_107 "x",
        "qmp+tcp:",
        "qmp+tcp:host",
        "qmp+tcp::4444",
        "qmp+tcp:host:",
        "qmp+tcp:host:0",
        "qmp+tcp:host:65536",
        "qmp+tcp:host:44x",
        "qmp+tcp:host:-1",
        "qmp+tcp:[::1]",
        "qmp+tcp:[::1:4444",
        "qmp+tcp:[]:4444",
        "qmp+tcp:::1:4444",
        "qmp+tcp:[::1]x:4444",
        "qmp+ssh://",
        "qmp+ssh://b",
        "qmp+ssh:///run/x",
        "qmp+ssh://@b/run/x",
        "qmp+ssh://u@/run/x",
        "qmp+ssh://b:/run/x",
        "qmp+ssh://-oProxyCommand=x/run/x",
        "qmp+ssh://-l@b/run/x",
        "qmp+ssh://u@-b/run/x",
        "qmp+ssh://b/run/a:b",
        "qmp+ssh://b" LONG_107 "x",
        "qmp+http://b/x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        struct qmp_endpoint ep;
        if (qmp_endpoint_parse(bad[i], &ep, &e) == 0)
            fail_msg("'%s' is taken for an endpoint", bad[i]);
        assert_int_equal(e.class, ERR_USAGE);
    }
}

static bool same(const char *a, const char *b)
{
    struct err e = {0};
    struct qmp_endpoint ea, eb;
    assert_int_equal(qmp_endpoint_parse(a, &ea, &e), 0);
    assert_int_equal(qmp_endpoint_parse(b, &eb, &e), 0);
    return qmp_endpoint_same(&ea, &eb);
}

static void test_one_endpoint_by_two_spellings_is_the_same(void **state)
{
    (void)state;
    assert_true(same("qmp+unix:/none/x", "qmp+unix:/none/x"));
    assert_false(same("qmp+unix:/none/x", "qmp+unix:/none/y"));
    assert_true(same("qmp+unix:/dev/null", "qmp+unix:/dev/../dev/null"));
    assert_false(same("qmp+unix:/dev/null", "qmp+unix:/dev/zero"));
    assert_false(same("qmp+tcp:a:1", "qmp+tcp:a:2"));
    assert_true(same("qmp+ssh://b/x", "qmp+ssh://root@b/x"));
    assert_false(same("qmp+ssh://b/x", "qmp+unix:/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_endpoints_are_parsed),
        cmocka_unit_test(test_bad_endpoints_are_refused),
        cmocka_unit_test(test_one_endpoint_by_two_spellings_is_the_same)};
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
