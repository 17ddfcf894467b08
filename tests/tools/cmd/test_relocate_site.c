/* SPDX-License-Identifier: Apache-2.0 */
/* Operands on shares: which place, and which name in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/nfs/fake_server.h"
#include "tools/cmd/relocate_site.h"

static const struct fake_faults root_export = {.export = "/"}, usual = {0};

struct operands {
    const char *source, *to; /* behind the host */
    bool recursive;
    const char *from_path, *name, *to_path, *as;
};

static const struct operands of_root[] = {
    {"/disk.img", "/", false, "/", "disk.img", "/", "disk.img"},
    {"/disk.img", "/dir/", false, "/", "disk.img", "/dir/", "disk.img"},
    {"/disk.img", "/new.img", false, "/", "disk.img", "/", "new.img"},
    {"/dir/x.img", "/", false, "/dir/", "x.img", "/", "x.img"},
    {"/dir//x.img", "//", false, "/dir/", "x.img", "/", "x.img"},
    {"/", "/dir/", true, "/", "", "/dir/", ""},
    {"/dir", "/", true, "/dir/", "", "/", "dir"},
};

static const struct operands of_export[] = {
    {"/export/disk.img", "/export", false, "/export/", "disk.img", "/export/", "disk.img"},
    {"/export/disk.img", "/export/new", false, "/export/", "disk.img", "/export/", "new"},
    {"/export", "/export/dir/", true, "/export/", "", "/export/dir/", "export"},
};

static char *url_of(int port, const char *path)
{
    char *url = NULL;
    assert_true(asprintf(&url, "nfs://127.0.0.1%s?nfsport=%d&mountport=%d", path, port, port) > 0);
    return url;
}

static void is_at(const struct relocate_site *site, const char *path)
{
    assert_non_null(site);
    assert_string_equal(site->url + strlen("nfs://127.0.0.1"), path);
}

/* The places are right if they open: the server permits just its export to be mounted. */
static void opens(const struct relocate_site *site)
{
    struct err e = {0};
    struct ring *ring = ring_new(RING_AUTO, &e);
    struct store_place *p = site->open(site, ring, &e);
    assert_non_null(p);
    p->ops->place_close(p);
    ring_free(ring);
}

static void look_at(const struct operands *o, const struct fake_faults *faults)
{
    struct err e = {0};
    struct fake_server *server = fake_server_start(faults);
    fake_server_add_directory(server, "dir");
    int port = fake_server_port(server);
    char *source = url_of(port, o->source), *to = url_of(port, o->to);
    static volatile sig_atomic_t cancel;
    struct relocate_sites s = {.share = {.timeout_ns = 2 * NS_PER_S, .cancel = &cancel}};
    s.connections_left = 8;
    s.share.connections_left = &s.connections_left;
    assert_int_equal(relocate_sites_open(&s, &source, 1, to, o->recursive, &e), 0);
    is_at(s.sources[0].from, o->from_path);
    is_at(&s.to->site, o->to_path);
    assert_string_equal(s.sources[0].name, o->name);
    assert_string_equal(s.sources[0].as, o->as);
    opens(s.sources[0].from);
    opens(&s.to->site);
    relocate_sites_close(&s);
    free(source);
    free(to);
    fake_server_stop(server);
    fake_server_free(server);
}

static void test_root_export(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof of_root / sizeof *of_root; i++)
        look_at(&of_root[i], &root_export);
}

static void test_export(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof of_export / sizeof *of_export; i++)
        look_at(&of_export[i], &usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_export),
        cmocka_unit_test(test_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
