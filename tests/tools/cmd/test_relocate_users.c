/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked about images before they move. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/nfs/fake_server.h"
#include "core/pool/image_set.h"
#include "tools/cmd/relocate_users.h"

volatile sig_atomic_t relocate_interrupted;

/* ---- this host's libvirt, as it is said to be ---- */

enum libvirt_is { LIBVIRT_REAL, LIBVIRT_MISSING, LIBVIRT_SILENT, LIBVIRT_UNSURE, LIBVIRT_KNOWS };

static enum libvirt_is libvirt;
static unsigned libvirt_asked;
static char last_asked[64]; /* its URI */
static pid_t daemon_runs;   /* a libvirtd, somewhere on this host */

pid_t __wrap_own_libvirt_daemon(void);
pid_t __wrap_own_libvirt_daemon(void)
{
    return daemon_runs;
}

static char in_use[256]; /* the path of an image that a domain has; "": of none */

static int libvirt_knows(const char *uri, const struct image_files *files, struct file_users *users)
{
    libvirt_asked++;
    snprintf(last_asked, sizeof last_asked, "%s", uri);
    if (*in_use == '\0' || !files->path(files->arg, in_use, true))
        return 0;
    users->at = calloc(1, sizeof *users->at);
    users->at[users->n++] =
        (struct file_user){.who = strdup("domain late"), .how = strdup(in_use), .active = true};
    return 0;
}

/* ---- a clock of the test's ---- */

static int64_t stopped_ns; /* 0: it goes */

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    if (stopped_ns == 0)
        return __real_clock_gettime(id, t);
    *t = (struct timespec){stopped_ns / NS_PER_S, stopped_ns % NS_PER_S};
    return 0;
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    if (libvirt == LIBVIRT_REAL || strncmp(path, "/run/libvirt/", 13) != 0)
        return __real_access(path, mode);
    return libvirt == LIBVIRT_MISSING ? -1 : 0;
}

int __real_virt_users_find(const char *uri, const struct image_files *files,
                           const struct pool_intent *intent, struct file_users *users,
                           struct err *e);
int __wrap_virt_users_find(const char *uri, const struct image_files *files,
                           const struct pool_intent *intent, struct file_users *users,
                           struct err *e);
int __wrap_virt_users_find(const char *uri, const struct image_files *files,
                           const struct pool_intent *intent, struct file_users *users,
                           struct err *e)
{
    if (libvirt == LIBVIRT_REAL)
        return __real_virt_users_find(uri, files, intent, users, e);
    if (libvirt == LIBVIRT_KNOWS)
        return libvirt_knows(uri, files, users);
    if (libvirt != LIBVIRT_UNSURE)
        return err_set(e, ERR_LOST, 0, "libvirt: connection refused");
    users->at = calloc(1, sizeof *users->at);
    users->at[users->n++] = (struct file_user){
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
    relocate_users_free(c.users);
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
    assert_non_null(strstr(e.msg, "no-libvirt:///")); /* by then the share has said all */
    unsigned taken = fake_server_connections(server) - before;
    relocate_users_free(c.users);
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

static void test_no_user_is_left_out(void **state)
{
    (void)state;
    struct image_users l = {0};
    struct err e = {0}, none = {0};
    char who[64], how[900];
    assert_int_equal(image_users_refuse(&l, "in use", "shut down", &none), 0);
    memset(how, 'x', sizeof how);
    how[0] = '/';
    strcpy(how + sizeof how - sizeof ".img", ".img");
    for (unsigned i = 0; i < 300; i++) {
        const struct file_user u = {.who = who, .how = i == 0 ? how : (char *)"/y.img"};
        snprintf(who, sizeof who, "domain g%u", i);
        assert_int_equal(image_users_add(&l, &u, &none), 0);
        assert_int_equal(image_users_add(&l, &u, &none), 0); /* once */
    }
    assert_int_equal(image_users_refuse(&l, "in use", "shut down", &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    /* one at least is named in the message, however long its path is */
    assert_memory_equal(e.msg, "in use: domain g0 (/xxx", 23);
    assert_non_null(strstr(e.msg, "x.img); and 299 more"));
    /* and all others are, in the hint, which is not cut */
    assert_memory_equal(e.hint, "shut down; the others are: domain g1 (/y.img); ", 47);
    for (unsigned i = 1; i < 300; i++) {
        snprintf(who, sizeof who, "domain g%u (/y.img)", i);
        assert_non_null(strstr(e.hint, who));
    }
    image_users_free(&l);
}

static void test_users_are_named_once(void **state)
{
    (void)state;
    struct image_users l = {0};
    struct err e = {0}, none = {0};
    const struct file_user a = {.who = (char *)"domain g", .how = (char *)"/a.img"};
    const struct file_user b = {.who = (char *)"domain h", .how = (char *)"/a.img"};
    assert_int_equal(image_users_add(&l, &a, &none), 0);
    assert_int_equal(image_users_add(&l, &b, &none), 0);
    assert_int_equal(image_users_add(&l, &a, &none), 0);
    assert_int_equal(image_users_refuse(&l, "in use", "shut down", &e), -1);
    assert_string_equal(e.msg, "in use: domain g (/a.img); domain h (/a.img)");
    assert_string_equal(e.hint, "shut down");
    image_users_free(&l);
}

/* ---- who has them open, as the kernel is said to tell ---- */

static const struct open_file *opener;

int __real_open_files_find(const struct open_file_id *ids, size_t n,
                           bool (*fn)(void *arg, const struct open_file *f), void *arg,
                           struct err *e);
int __wrap_open_files_find(const struct open_file_id *ids, size_t n,
                           bool (*fn)(void *arg, const struct open_file *f), void *arg,
                           struct err *e);
int __wrap_open_files_find(const struct open_file_id *ids, size_t n,
                           bool (*fn)(void *arg, const struct open_file *f), void *arg,
                           struct err *e)
{
    (void)e;
    if (opener != NULL && n > 0)
        fn(arg, opener);
    return opener != NULL ? 0 : __real_open_files_find(ids, n, fn, arg, e);
}

static void test_who_does_not_tell_stops_a_move(void **state)
{
    (void)state;
    const struct open_file silent = {SIZE_MAX, "qemu-system-x86 (12)", true, EACCES};
    const struct open_file reads = {.who = "qemu-system-x86 (12)"};
    const struct open_file writes = {.who = "qemu-system-x86 (12)", .writing = true};
    struct err of_silent = {0}, of_reader = {0}, of_writer = {0}, of_copied = {0}, none = {0};
    opener = &silent;
    assert_int_equal(asked(LIBVIRT_MISSING, true, false, &of_silent), -1);
    assert_int_equal(of_silent.class, ERR_REFUSED);
    assert_non_null(strstr(of_silent.msg,
                           "qemu-system-x86 (12) does not tell what it has open: Permission"));
    assert_non_null(strstr(of_silent.hint, "--force"));
    assert_int_equal(asked(LIBVIRT_MISSING, true, true, &none), 0);
    assert_int_equal(asked(LIBVIRT_MISSING, false, false, &none), 0);
    /* the base of a running overlay is only read: it must not go, and can be copied */
    opener = &reads;
    assert_int_equal(asked(LIBVIRT_MISSING, true, false, &of_reader), -1);
    assert_non_null(strstr(of_reader.msg, "a.img open"));
    assert_int_equal(asked(LIBVIRT_MISSING, true, true, &none), 0);
    assert_int_equal(asked(LIBVIRT_MISSING, false, false, &none), 0);
    opener = &writes;
    assert_int_equal(asked(LIBVIRT_MISSING, true, true, &of_writer), -1);
    assert_int_equal(asked(LIBVIRT_MISSING, false, false, &of_copied), -1);
    opener = NULL;
}

/* ---- which libvirts ---- */

static void test_a_libvirt_elsewhere_is_no_nobody(void **state)
{
    (void)state;
    struct err hidden = {0}, none = {0};
    daemon_runs = 12;
    assert_int_equal(asked(LIBVIRT_MISSING, true, false, &hidden), -1);
    assert_int_equal(hidden.class, ERR_REFUSED);
    assert_non_null(strstr(hidden.msg, "a daemon runs (process 12), but not at its usual socket"));
    assert_non_null(strstr(hidden.hint, "-c names another"));
    assert_int_equal(asked(LIBVIRT_MISSING, true, true, &none), 0);
    assert_int_equal(asked(LIBVIRT_MISSING, false, false, &none), 0);
    daemon_runs = 0;
}

static void test_what_the_environment_names_is_asked(void **state)
{
    (void)state;
    struct err e = {0}, silent = {0};
    libvirt_asked = 0;
    assert_int_equal(asked(LIBVIRT_KNOWS, true, false, &e), 0);
    assert_int_equal(libvirt_asked, 1);
    assert_string_equal(last_asked, "qemu:///system");
    setenv("LIBVIRT_DEFAULT_URI", "qemu+unix:///system?socket=/srv/s", 1);
    assert_int_equal(asked(LIBVIRT_KNOWS, true, false, &e), 0);
    assert_int_equal(libvirt_asked, 3);
    assert_string_equal(last_asked, "qemu+unix:///system?socket=/srv/s");
    assert_int_equal(asked(LIBVIRT_MISSING, true, false, &silent), -1);
    assert_non_null(strstr(silent.msg, "socket=/srv/s does not tell"));
    unsetenv("LIBVIRT_DEFAULT_URI");
}

static void test_the_session_is_asked(void **state)
{
    (void)state;
    struct err e = {0};
    char config[] = "/tmp/godwit-users.XXXXXX", command[128];
    assert_non_null(mkdtemp(config));
    snprintf(command, sizeof command, "mkdir -p %s/libvirt/qemu", config);
    assert_int_equal(system(command), 0);
    setenv("XDG_CONFIG_HOME", config, 1);
    libvirt_asked = 0;
    assert_int_equal(asked(LIBVIRT_KNOWS, true, false, &e), 0);
    assert_int_equal(libvirt_asked, 2);
    assert_string_equal(last_asked, "qemu:///session");
    setenv("XDG_CONFIG_HOME", "/absent", 1);
    snprintf(command, sizeof command, "rm -r %s", config);
    assert_int_equal(system(command), 0);
}

/* ---- right before each removal ---- */

enum { REMOVED = 50 };

struct removals {
    struct relocate_call c;
    char dir[32], *sources[REMOVED];
};

static void removals_begin(struct removals *r)
{
    struct err e = {0};
    char *to = (char *)"null:";
    *r = (struct removals){.c = {.arg = {.move = true}}, .dir = "/tmp/godwit-users.XXXXXX"};
    assert_non_null(mkdtemp(r->dir));
    for (int i = 0; i < REMOVED; i++) {
        assert_true(asprintf(&r->sources[i], "%s/%d.img", r->dir, i) > 0);
        FILE *f = fopen(r->sources[i], "w");
        assert_non_null(f);
        assert_int_equal(fclose(f), 0);
    }
    r->c.options = (struct relocate_options){
        .chunk_bytes = 1 << 20, .block_bytes = 1 << 20, .workers_max = 1, .depth_max = 1};
    assert_int_equal(relocate_sites_open(&r->c.sites, r->sources, REMOVED, to, false, &e), 0);
    r->c.relocate =
        relocate_plan(r->c.sites.sources, REMOVED, &r->c.sites.to->site, &r->c.options, &e);
    assert_non_null(r->c.relocate);
    libvirt = LIBVIRT_KNOWS;
    assert_int_equal(relocate_check_users(&r->c, &e), 0);
    libvirt_asked = 0;
}

static int may_remove(struct removals *r, size_t i, struct err *e)
{
    const struct store_attr attr = {0};
    return relocate_may_remove(&r->c, relocate_image(r->c.relocate, i), &attr, e);
}

static void removals_end(struct removals *r)
{
    libvirt = LIBVIRT_REAL;
    *in_use = '\0';
    stopped_ns = 0;
    relocate_users_free(r->c.users);
    relocate_free(r->c.relocate);
    relocate_sites_close(&r->c.sites);
    for (int i = 0; i < REMOVED; i++) {
        assert_int_equal(remove(r->sources[i]), 0);
        free(r->sources[i]);
    }
    assert_int_equal(remove(r->dir), 0);
}

static void test_many_removals_ask_once(void **state)
{
    (void)state;
    struct removals r;
    struct err e = {0};
    removals_begin(&r);
    stopped_ns = 100 * NS_PER_S;
    for (size_t i = 0; i < REMOVED; i++)
        assert_int_equal(may_remove(&r, i, &e), 0);
    assert_int_equal(libvirt_asked, 1);
    removals_end(&r);
}

static void test_who_came_since_stops_the_removal(void **state)
{
    (void)state;
    struct removals r;
    struct err e = {0}, none = {0};
    removals_begin(&r);
    stopped_ns = 100 * NS_PER_S;
    assert_int_equal(may_remove(&r, 0, &none), 0);
    snprintf(in_use, sizeof in_use, "%s", r.sources[7]);
    stopped_ns += 5 * NS_PER_S;
    assert_int_equal(may_remove(&r, 7, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "in use by now: domain late"));
    /* but not that of the others */
    assert_int_equal(may_remove(&r, 8, &none), 0);
    removals_end(&r);
}

static void test_one_that_is_opened_since_stays(void **state)
{
    (void)state;
    struct removals r;
    struct err e = {0}, none = {0};
    const struct open_file reads = {.who = "qemu-system-x86 (12)"};
    removals_begin(&r);
    stopped_ns = 100 * NS_PER_S;
    assert_int_equal(may_remove(&r, 0, &none), 0);
    opener = &reads;
    assert_int_equal(may_remove(&r, 1, &e),
                     -1); /* what libvirt has said is fresh, but not the kernel */
    assert_non_null(strstr(e.msg, "qemu-system-x86 (12) has "));
    opener = NULL;
    removals_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_answer_moves_nothing),
        cmocka_unit_test(test_a_share_is_asked_over_one_connection),
        cmocka_unit_test(test_no_user_is_left_out),
        cmocka_unit_test(test_users_are_named_once),
        cmocka_unit_test(test_who_does_not_tell_stops_a_move),
        cmocka_unit_test(test_a_libvirt_elsewhere_is_no_nobody),
        cmocka_unit_test(test_what_the_environment_names_is_asked),
        cmocka_unit_test(test_the_session_is_asked),
        cmocka_unit_test(test_many_removals_ask_once),
        cmocka_unit_test(test_who_came_since_stops_the_removal),
        cmocka_unit_test(test_one_that_is_opened_since_stays),
    };
    setenv("XDG_CONFIG_HOME", "/absent", 1); /* this user's own is not the test's */
    unsetenv("LIBVIRT_DEFAULT_URI");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
