/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked about images before they move. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/nfs/fake_server.h"
#include "tools/cmd/image_set.h"
#include "tools/cmd/relocate_users.h"

volatile sig_atomic_t relocate_interrupted;

/* ---- this host's libvirt, as it is said to be ---- */

enum libvirt_is { LIBVIRT_REAL, LIBVIRT_MISSING, LIBVIRT_SILENT, LIBVIRT_UNSURE };

static enum libvirt_is libvirt;

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    if (libvirt == LIBVIRT_REAL || strncmp(path, "/run/libvirt/", 13) != 0)
        return __real_access(path, mode);
    return libvirt == LIBVIRT_MISSING ? -1 : 0;
}

int __real_virt_users_find(const char *uri, const struct virt_files *files,
                           const struct virt_intent *intent, struct virt_users *users,
                           struct err *e);
int __wrap_virt_users_find(const char *uri, const struct virt_files *files,
                           const struct virt_intent *intent, struct virt_users *users,
                           struct err *e);
int __wrap_virt_users_find(const char *uri, const struct virt_files *files,
                           const struct virt_intent *intent, struct virt_users *users,
                           struct err *e)
{
    if (libvirt == LIBVIRT_REAL)
        return __real_virt_users_find(uri, files, intent, users, e);
    if (libvirt != LIBVIRT_UNSURE)
        return err_set(e, ERR_LOST, 0, "libvirt: connection refused");
    users->at = calloc(1, sizeof *users->at);
    users->at[users->n++] = (struct virt_user){
        .who = strdup("domain g"), .how = strdup("/x.qcow2: cannot be read"), .unknown = true};
    return 0;
}

/* Of an image in a directory of this host. */
static int asked(enum libvirt_is is, bool move, bool force, struct err *e)
{
    struct relocate_call c = {.arg = {.move = move, .force = force}};
    char dir[] = "/tmp/godwit-users.XXXXXX", *source = NULL, *to = (char *)"null:";
    assert_non_null(mkdtemp(dir));
    assert_true(asprintf(&source, "%s/a.img", dir) > 0);
    FILE *f = fopen(source, "w");
    assert_non_null(f);
    assert_true(fputs("data", f) >= 0);
    assert_int_equal(fclose(f), 0);
    c.options = (struct relocate_options){
        .chunk_bytes = 1 << 20, .block_bytes = 1 << 20, .workers_max = 1, .depth_max = 1};
    assert_int_equal(relocate_sites_open(&c.sites, &source, 1, to, false, e), 0);
    c.relocate = relocate_plan(c.sites.sources, 1, &c.sites.to->site, &c.options, e);
    assert_non_null(c.relocate);
    libvirt = is;
    int rc = relocate_check_users(&c, e);
    libvirt = LIBVIRT_REAL;
    relocate_free(c.relocate);
    relocate_sites_close(&c.sites);
    assert_int_equal(remove(source), 0);
    assert_int_equal(remove(dir), 0);
    free(source);
    return rc;
}

static void test_no_answer_moves_nothing(void **state)
{
    (void)state;
    struct err silent = {0}, unsure = {0}, none = {0};
    assert_int_equal(asked(LIBVIRT_SILENT, true, false, &silent), -1);
    assert_int_equal(silent.class, ERR_REFUSED);
    assert_non_null(strstr(silent.msg, "connection refused"));
    assert_non_null(strstr(silent.hint, "--force"));
    assert_int_equal(asked(LIBVIRT_UNSURE, true, false, &unsure), -1);
    assert_int_equal(unsure.class, ERR_REFUSED);
    assert_non_null(strstr(unsure.msg, "domain g (/x.qcow2: cannot be read)"));
    /* a copy takes nothing away, --force says so, and where there is no libvirt that is known */
    assert_int_equal(asked(LIBVIRT_SILENT, false, false, &none), 0);
    assert_int_equal(asked(LIBVIRT_UNSURE, false, false, &none), 0);
    assert_int_equal(asked(LIBVIRT_SILENT, true, true, &none), 0);
    assert_int_equal(asked(LIBVIRT_UNSURE, true, true, &none), 0);
    assert_int_equal(asked(LIBVIRT_MISSING, true, false, &none), 0);
}

/* Connections that the question takes, of so many images on a share. */
static unsigned connections_of(unsigned images)
{
    static const struct fake_faults usual = {0};
    static volatile sig_atomic_t cancel;
    struct fake_server *server = fake_server_start(&usual);
    struct relocate_call c = {.arg = {.connect = {.at = {"no-libvirt:///"}, .n = 1}}};
    struct err e = {0};
    char name[16], *source = NULL, *to = (char *)"null:";
    fake_server_add_directory(server, "d");
    for (unsigned i = 0; i < images; i++) {
        snprintf(name, sizeof name, "d/%u.img", i);
        fake_server_add_file(server, name, "data", 4);
    }
    int port = fake_server_port(server);
    assert_true(asprintf(&source, "nfs://127.0.0.1/export/d?nfsport=%d&mountport=%d", port, port) >
                0);
    c.sites.connections_left = 8;
    c.sites.share = (struct share_options){.timeout_ns = 2 * NS_PER_S,
                                           .cancel = &cancel,
                                           .connections_left = &c.sites.connections_left};
    c.options = (struct relocate_options){.chunk_bytes = 1 << 20,
                                          .block_bytes = 1 << 20,
                                          .workers_max = 1,
                                          .depth_max = 1,
                                          .recursive = true};
    assert_int_equal(relocate_sites_open(&c.sites, &source, 1, to, true, &e), 0);
    c.relocate = relocate_plan(c.sites.sources, 1, &c.sites.to->site, &c.options, &e);
    assert_non_null(c.relocate);
    unsigned before = fake_server_connections(server);
    assert_int_equal(relocate_check_users(&c, &e), -1);
    assert_non_null(strstr(e.msg, "no-libvirt:///")); /* by then the share has told all */
    unsigned taken = fake_server_connections(server) - before;
    relocate_free(c.relocate);
    relocate_sites_close(&c.sites);
    free(source);
    fake_server_stop(server);
    fake_server_free(server);
    return taken;
}

static void test_a_share_is_asked_over_one_connection(void **state)
{
    (void)state;
    unsigned of_one = connections_of(1);
    assert_true(of_one > 0);
    assert_int_equal(connections_of(20), of_one);
}

static void test_one_user_at_least_is_named(void **state)
{
    (void)state;
    char how[900], text[300] = "";
    const struct virt_user a = {.who = (char *)"domain g, which runs", .how = how};
    const struct virt_user b = {.who = (char *)"domain h", .how = (char *)"/x.img"};
    memset(how, 'x', sizeof how);
    how[0] = '/';
    strcpy(how + sizeof how - sizeof ".img", ".img");
    image_users_text(text, sizeof text, &a);
    assert_memory_equal(text, "domain g, which runs (/xxx", 26);
    assert_non_null(strstr(text, "x.img)"));
    image_users_text(text, sizeof text, &b);
    assert_non_null(strstr(text, "; and more"));
    image_users_text(text, sizeof text, &b);
    assert_string_equal(strstr(text, "; and more"), "; and more");
}

static void test_users_are_named_once(void **state)
{
    (void)state;
    char text[300] = "";
    const struct virt_user a = {.who = (char *)"domain g", .how = (char *)"/a.img"};
    const struct virt_user b = {.who = (char *)"domain h", .how = (char *)"/a.img"};
    image_users_text(text, sizeof text, &a);
    image_users_text(text, sizeof text, &b);
    image_users_text(text, sizeof text, &a);
    assert_string_equal(text, "domain g (/a.img); domain h (/a.img)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_answer_moves_nothing),
        cmocka_unit_test(test_a_share_is_asked_over_one_connection),
        cmocka_unit_test(test_one_user_at_least_is_named),
        cmocka_unit_test(test_users_are_named_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
