/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are to be typed, and what undo removes from the share. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/relocate/journal.h"
#include "nfs/share.h"
#include "tests/core/relocate/overlay_file.h"
#include "tests/nfs/fake_server.h"
#include "core/pool/original.h"
#include "core/pool/place.h"
#include "core/pool/share.h"

/* ---- commands ---- */

static char top[64], pool[80];

static int make_pool(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/godwit-test-XXXXXX");
    if (mkdtemp(top) == NULL)
        return -1;
    snprintf(pool, sizeof pool, "%s/win 10", top);
    return mkdir(pool, 0700);
}

static int remove_pool(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

static void test_a_command_to_rebase_is_one_for_the_shell(void **state)
{
    (void)state;
    struct pool_place p = {0};
    struct err e = {0};
    CLEANUP_FREE char *backing = NULL, *hint = NULL;
    assert_int_equal(pool_place_open(&p, pool, &e), 0);
    assert_true(asprintf(&backing, "%s/the base.qcow2", pool) > 0);
    overlay_file_write(pool, "top.qcow2", backing);
    assert_int_equal(pool_place_check_backing(&p, "top.qcow2", IMAGE_FORMAT_ASK_QCOW2, &e), -1);
    assert_true(asprintf(&hint, "qemu-img rebase -u -F FORMAT -b 'the base.qcow2' '%s/top.qcow2'",
                         pool) > 0);
    assert_string_equal(e.hint, hint);
    pool_place_close(&p);
}

/* So many directories up that a buffer for 20 would not do. */
static void test_a_command_to_rebase_is_whole(void **state)
{
    (void)state;
    struct pool_place p = {0};
    struct err e = {0};
    char name[256] = "", path[512];
    CLEANUP_FREE char *backing = NULL;
    assert_int_equal(pool_place_open(&p, pool, &e), 0);
    assert_true(asprintf(&backing, "%s/base.qcow2", pool) > 0);
    for (unsigned i = 0; i < 25; i++) {
        strcat(name, "d/");
        snprintf(path, sizeof path, "%s/%s", pool, name);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    strcat(name, "top.qcow2");
    overlay_file_write(pool, name, backing);
    assert_int_equal(pool_place_check_backing(&p, name, IMAGE_FORMAT_ASK_QCOW2, &e), -1);
    unsigned ups = 0;
    const char *at = strstr(e.hint, "../");
    for (; strncmp(at, "../", 3) == 0; at += 3)
        ups++;
    assert_int_equal(ups, 25);
    assert_memory_equal(at, "base.qcow2 ", 11);
    pool_place_close(&p);
}

/* ---- what unfinished copies have left ---- */

/* The header of a journal of a process that lives until it is killed. */
static pid_t start_run(uint8_t bytes[JOURNAL_HEADER_BYTES])
{
    int tube[2];
    assert_int_equal(pipe(tube), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct journal_header h;
        struct store_attr attr = {.size_bytes = 1 << 20, .type = STORE_REGULAR};
        struct err e = {0};
        if (journal_begin(&h, "/images/", "x.img", &attr, NULL, 4096, &e) < 0)
            _exit(1);
        journal_encode_header(bytes, &h);
        if (write(tube[1], bytes, JOURNAL_HEADER_BYTES) != JOURNAL_HEADER_BYTES)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(tube[0], bytes, JOURNAL_HEADER_BYTES), JOURNAL_HEADER_BYTES);
    close(tube[0]);
    close(tube[1]);
    return pid;
}

static void end_run(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct store_place *open_site(const struct relocate_site *site, struct ring *ring,
                                     struct err *e)
{
    static volatile sig_atomic_t cancel;
    const struct share_options options = {.timeout_ns = 2 * NS_PER_S, .cancel = &cancel};
    return share_open(ring, site->url, &options, e);
}

static void open_share(struct pool_share *s, int port)
{
    struct err e = {0};
    char url[128];
    snprintf(url, sizeof url, "nfs://127.0.0.1/export/?nfsport=%d&mountport=%d", port, port);
    const struct relocate_site site = {.url = url, .open = open_site};
    assert_int_equal(pool_share_open(s, &site, RING_AUTO, &e), 0);
}

static void remove_parts(int port, const struct pool_journal *j)
{
    struct pool_share s = {0};
    struct err e = {0};
    open_share(&s, port);
    assert_int_equal(pool_share_remove_parts(&s, j, &e), 0);
    pool_share_close(&s);
}

static void test_parts_of_a_living_run_stay(void **state)
{
    (void)state;
    static const struct fake_faults usual = {0};
    uint8_t alive[JOURNAL_HEADER_BYTES], dead[JOURNAL_HEADER_BYTES];
    struct pool_journal_image images[] = {
        {.name = (char *)"a.img"},
        {.name = (char *)"sub/b.img"},
        {.name = (char *)"c.img"},
        {.name = (char *)"d.img", .was_there = true},
    };
    const struct pool_journal j = {.images = images, .n_images = 4};
    pid_t living = start_run(alive);
    end_run(start_run(dead));
    struct fake_server *server = fake_server_start(&usual);
    fake_server_add_directory(server, "sub");
    fake_server_add_file(server, ".a.img.godwit-part", "data", 4);
    fake_server_add_file(server, ".a.img.godwit-journal", alive, sizeof alive);
    fake_server_add_file(server, "sub/.b.img.godwit-part", "data", 4);
    fake_server_add_file(server, "sub/.b.img.godwit-journal", dead, sizeof dead);
    fake_server_add_file(server, ".c.img.godwit-part", "data", 4);
    fake_server_add_file(server, ".d.img.godwit-part", "data", 4);
    remove_parts(fake_server_port(server), &j);
    fake_server_stop(server);
    assert_non_null(fake_server_file(server, ".a.img.godwit-part"));
    assert_non_null(fake_server_file(server, ".a.img.godwit-journal"));
    assert_null(fake_server_file(server, "sub/.b.img.godwit-part"));
    assert_null(fake_server_file(server, "sub/.b.img.godwit-journal"));
    assert_null(fake_server_file(server, ".c.img.godwit-part"));
    assert_non_null(fake_server_file(server, ".d.img.godwit-part"));
    fake_server_free(server);
    end_run(living);
}

/* A copy that an NFS client does not see yet is waited for, until somebody stops that. */
static void test_stopped_while_a_copy_is_awaited(void **state)
{
    (void)state;
    const struct store_attr attr = {.type = STORE_REGULAR};
    for (int stopped = 0; stopped < 2; stopped++) {
        volatile sig_atomic_t cancel = stopped;
        struct err e = {0};
        assert_int_equal(
            pool_share_await(stopped ? "/" : "/dev/null", "no-such-copy", &attr, &cancel, &e), -1);
        assert_int_equal(e.class, stopped ? ERR_CANCELLED : ERR_IO);
    }
}

/* Those that stood there before stay, and so does what is not empty. */
static void test_directories_go_with_their_records(void **state)
{
    (void)state;
    static const struct fake_faults usual = {0};
    const struct pool_journal_image image = {.name = (char *)"old/a/b/x.img",
                                             .directories_there = 1};
    const struct pool_journal_image other = {.name = (char *)"full/x.img"};
    struct pool_share s = {0};
    struct err e = {0};
    struct fake_server *server = fake_server_start(&usual);
    fake_server_add_directory(server, "old");
    fake_server_add_directory(server, "old/a");
    fake_server_add_directory(server, "old/a/b");
    fake_server_add_directory(server, "full");
    fake_server_add_file(server, "full/y.img", "data", 4);
    fake_server_add_file(server, "old/.a.godwit-directory", "made", 4);
    fake_server_add_file(server, "old/a/.b.godwit-directory", "made", 4);
    fake_server_add_file(server, ".full.godwit-directory", "made", 4);
    open_share(&s, fake_server_port(server));
    assert_int_equal(pool_share_remove_directories(&s, &image, &e), 0);
    assert_int_equal(pool_share_remove_directories(&s, &other, &e), 0);
    pool_share_close(&s);
    fake_server_stop(server);
    assert_non_null(fake_server_file(server, "old"));
    assert_null(fake_server_file(server, "old/a"));
    assert_null(fake_server_file(server, "old/.a.godwit-directory"));
    assert_non_null(fake_server_file(server, "full"));
    assert_non_null(fake_server_file(server, ".full.godwit-directory"));
    fake_server_free(server);
}

/* It is not listed once for each image. */
static void test_a_directory_is_listed_once(void **state)
{
    (void)state;
    enum { IMAGES = 50 };
    static const struct fake_faults usual = {0};
    static struct pool_journal_image images[IMAGES];
    static char names[IMAGES][16];
    const struct pool_journal j = {.images = images, .n_images = IMAGES};
    struct fake_server *server = fake_server_start(&usual);
    for (unsigned i = 0; i < IMAGES; i++) {
        snprintf(names[i], sizeof names[i], "%u.img", i);
        images[i].name = names[i];
        fake_server_add_file(server, names[i], "data", 4);
    }
    remove_parts(fake_server_port(server), &j);
    assert_true(fake_server_calls(server) < IMAGES);
    fake_server_stop(server);
    fake_server_free(server);
}

/* ---- what is deleted ---- */

static void write_original(const char *name, const char *text)
{
    CLEANUP_FREE char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", pool, name) > 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_only_the_original_on_record_is_removed(void **state)
{
    (void)state;
    struct pool_journal_image image = {.name = (char *)"a.img"}, link = {.name = (char *)"l.img"};
    struct err e = {0};
    CLEANUP_FREE char *a = NULL, *l = NULL, *other = NULL;
    assert_true(asprintf(&a, "%s/a.img", pool) > 0 && asprintf(&l, "%s/l.img", pool) > 0 &&
                asprintf(&other, "%s/other.img", pool) > 0);
    write_original("a.img", "data");
    assert_int_equal(symlink("a.img", l), 0);
    assert_int_equal(pool_original_read(pool, &image, &e), 0);
    assert_int_equal(pool_original_read(pool, &link, &e), 0);
    /* another of the same size under the name stays */
    assert_int_equal(rename(a, other), 0);
    write_original("a.img", "work");
    assert_int_equal(pool_original_remove(pool, &image, &e), 0);
    assert_int_equal(pool_original_remove(pool, &link, &e), 0);
    assert_int_equal(access(a, F_OK), 0);
    assert_int_equal(access(l, F_OK), 0);
    /* a link to what is on record goes, and that stays; then the file itself */
    write_original("a.img", "data");
    assert_int_equal(pool_original_read(pool, &image, &e), 0);
    assert_int_equal(pool_original_read(pool, &link, &e), 0);
    assert_int_equal(pool_original_remove(pool, &link, &e), 1);
    assert_int_equal(access(l, F_OK), -1);
    assert_int_equal(pool_original_remove(pool, &image, &e), 1);
    assert_int_equal(access(a, F_OK), -1);
    assert_int_equal(pool_original_remove(pool, &image, &e), -1);
    assert_int_equal(e.sys, ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_command_to_rebase_is_one_for_the_shell, make_pool,
                                        remove_pool),
        cmocka_unit_test_setup_teardown(test_a_command_to_rebase_is_whole, make_pool, remove_pool),
        cmocka_unit_test_setup_teardown(test_only_the_original_on_record_is_removed, make_pool,
                                        remove_pool),
        cmocka_unit_test(test_parts_of_a_living_run_stay),
        cmocka_unit_test(test_stopped_while_a_copy_is_awaited),
        cmocka_unit_test(test_directories_go_with_their_records),
        cmocka_unit_test(test_a_directory_is_listed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
