/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/share_url.h"

static const struct {
    const char *text;
    const char *host, *path;
    int nfs_port, mount_port;
} good[] = {
    {"nfs://nfs/export", "nfs", "/export", 0, 0},
    {"nfs://nfs/export/", "nfs", "/export", 0, 0},
    {"nfs://nfs//export///dir//", "nfs", "/export/dir", 0, 0},
    {"nfs://10.0.0.1/", "10.0.0.1", "/", 0, 0},
    {"nfs://[fd00::1]/a", "fd00::1", "/a", 0, 0},
    {"nfs://[fe80::1%eth0]/a", "fe80::1%eth0", "/a", 0, 0},
    {"nfs://[fe80::1%25eth0]/a", "fe80::1%eth0", "/a", 0, 0},
    {"nfs://h/a?nfsport=2050", "h", "/a", 2050, 0},
    {"nfs://h/a/?mountport=20048&nfsport=1", "h", "/a", 1, 20048},
    {"nfs://h/a?", "h", "/a", 0, 0},
};

static void test_good_urls_are_parsed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct share_url url;
        struct err e = {0};
        assert_int_equal(share_url_parse(good[i].text, &url, &e), 0);
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.path, good[i].path);
        assert_int_equal(url.nfs_port, good[i].nfs_port);
        assert_int_equal(url.mount_port, good[i].mount_port);
    }
}

static const char *const bad[] = {
    "",
    "nfs:/h/a",
    "http://h/a",
    "/local/dir",
    "nfs://",
    "nfs:///export",
    "nfs://host",
    "nfs://host?nfsport=1",
    "nfs://host:2049/export",
    "nfs://fd00::1/export",
    "nfs://[]/export",
    "nfs://[fd00::1/export",
    "nfs://[fe80::1%]/export",
    "nfs://[[f1]/export", /* what a fuzzer found */
    "nfs://f]1/export",
    "nfs://[fd00::1%25]x/export",
    "nfs://h/a?nfsport=",
    "nfs://h/a?nfsport=0",
    "nfs://h/a?nfsport=65536",
    "nfs://h/a?nfsport=12x",
    "nfs://h/a?nfsport=00000000000000000000000001",
    "nfs://h/a?version=4",
    "nfs://h/a?nfsport=1&&",
};

static void test_bad_urls_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct share_url url;
        struct err e = {0};
        assert_int_equal(share_url_parse(bad[i], &url, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
    }
}

/* The same address is another one on each link: what to write is said. */
static void test_a_link_local_address_needs_its_interface(void **state)
{
    static const char *const texts[] = {"nfs://[fe80::1]/a", "nfs://[FE80::1]/a/b?nfsport=1",
                                        "nfs://[febf::1:2]/a"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct share_url url;
        struct err e = {0};
        assert_int_equal(share_url_parse(texts[i], &url, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
        assert_non_null(strstr(e.msg, "is a link-local address"));
        assert_non_null(strstr(e.hint, "::1"));
        assert_non_null(strstr(e.hint, "%eth0]"));
    }
}

static void test_too_long_urls_are_refused(void **state)
{
    (void)state;
    struct share_url url;
    struct err e = {0};
    char *text = malloc(PATH_MAX + 100);
    strcpy(text, "nfs://h/");
    memset(text + strlen(text), 'a', PATH_MAX);
    text[8 + PATH_MAX] = '\0';
    assert_int_equal(share_url_parse(text, &url, &e), -1);
    err_clear(&e);
    strcpy(text, "nfs://");
    memset(text + strlen(text), 'h', 300);
    strcpy(text + 306, "/a");
    assert_int_equal(share_url_parse(text, &url, &e), -1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_urls_are_parsed),
        cmocka_unit_test(test_bad_urls_are_refused),
        cmocka_unit_test(test_a_link_local_address_needs_its_interface),
        cmocka_unit_test(test_too_long_urls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
