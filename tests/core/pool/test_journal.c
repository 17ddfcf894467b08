/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/pool/journal.h"

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/godwit-test-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"/pool-" UUID ".json", "/pool-" UUID ".lock",
                                        "/pool-" UUID ".copies"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir); /* fails if something else is left there */
}

/* Text that JSON has to escape, and must come back byte for byte. */
#define XML "<a b='1' c=\"2\">\n\t\\ / \x01 \xc3\xa4 &quot; \r\n</a>\n"

/* It is only read. */
static char *lent(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void write_one(struct pool_journal *j, struct err *e)
{
    static struct pool_journal_domain domains[2];
    static struct pool_journal_image images[1];
    domains[0] = (struct pool_journal_domain){lent("u1"), lent("g'1"), lent(XML), NULL, true};
    domains[1] =
        (struct pool_journal_domain){lent("u2"), lent("g2"), lent("<b/>"), lent(XML), false};
    images[0] = (struct pool_journal_image){lent("sub/a b.img"),
                                            UINT64_MAX,
                                            1ULL << 40,
                                            -5,
                                            1700000000123456789,
                                            true,
                                            1,
                                            {true, UINT64_MAX - 1, 7, 3, -1, 1700000000123456788},
                                            {true, 5, 6, 4, 0, -9}};
    *j = (struct pool_journal){
        .uri = lent("qemu:///system"),
        .pool = lent("images"),
        .uuid = lent(UUID),
        .path = lent("/pool"),
        .share = lent("nfs://h/e/"),
        .network = true,
        .phase = POOL_SWITCHING,
        .before = lent(XML),
        .domains = domains,
        .n_domains = 2,
        .images = images,
        .n_images = 1,
    };
    assert_int_equal(pool_journal_write(j, dir, e), 0);
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    struct err e = {0};
    struct pool_journal j;
    write_one(&j, &e);
    struct pool_journal *r = pool_journal_read(dir, UUID, &e);
    if (r == NULL)
        fail_msg("%s", e.msg);
    assert_string_equal(r->uri, j.uri);
    assert_string_equal(r->pool, j.pool);
    assert_string_equal(r->path, j.path);
    assert_string_equal(r->share, j.share);
    assert_null(r->mount);
    assert_true(r->network);
    assert_int_equal(r->phase, POOL_SWITCHING);
    assert_string_equal(r->before, XML);
    assert_null(r->after);
    assert_int_equal(r->n_domains, 2);
    assert_string_equal(r->domains[0].name, "g'1");
    assert_string_equal(r->domains[0].before, XML);
    assert_null(r->domains[0].after);
    assert_true(r->domains[0].shut_down);
    assert_string_equal(r->domains[1].after, XML);
    assert_false(r->domains[1].shut_down);
    assert_int_equal(r->n_images, 1);
    assert_string_equal(r->images[0].name, "sub/a b.img");
    assert_true(r->images[0].inode == UINT64_MAX);
    assert_true(r->images[0].size_bytes == 1ULL << 40);
    assert_true(r->images[0].mtime_ns == -5);
    assert_true(r->images[0].ctime_ns == 1700000000123456789);
    assert_true(r->images[0].was_there);
    assert_int_equal(r->images[0].directories_there, 1);
    assert_memory_equal(&r->images[0].copy, &j.images[0].copy, sizeof r->images[0].copy);
    assert_memory_equal(&r->images[0].compared, &j.images[0].compared,
                        sizeof r->images[0].compared);
    pool_journal_free(r);
}

static struct pool_journal_copy copy_read_back(void)
{
    struct err e = {0};
    struct pool_journal *r = pool_journal_read(dir, UUID, &e);
    if (r == NULL)
        fail_msg("%s", e.msg);
    struct pool_journal_copy c = r->images[0].copy;
    pool_journal_free(r);
    return c;
}

static void copies_path(char path[160])
{
    snprintf(path, 160, "%s/pool-%s.copies", dir, UUID);
}

/* What is written down of each copy as it is made: without the rest, which may be long. */
static void test_copies_are_added(void **state)
{
    (void)state;
    struct err e = {0};
    struct pool_journal j;
    char path[160];
    write_one(&j, &e);
    j.images[0].copy.inode = 11;
    assert_int_equal(pool_journal_add_copy(&j, dir, &j.images[0], &e), 0);
    j.images[0].copy.inode = 12; /* made anew: the last one counts */
    assert_int_equal(pool_journal_add_copy(&j, dir, &j.images[0], &e), 0);
    struct pool_journal_copy c = copy_read_back();
    assert_true(c.made && c.inode == 12 && c.generation == 7 && c.size_bytes == 3 &&
                c.mtime_ns == -1 && c.ctime_ns == 1700000000123456788);
    /* one that a crash cut off was not acknowledged, and does not harm the next one */
    copies_path(path);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    assert_true(fputs("\n{\"edition\":1,\"na", f) >= 0 && fclose(f) == 0);
    assert_int_equal(copy_read_back().inode, 12);
    j.images[0].copy.inode = 13;
    assert_int_equal(pool_journal_add_copy(&j, dir, &j.images[0], &e), 0);
    assert_int_equal(copy_read_back().inode, 13);
    /* the whole has them all */
    assert_int_equal(pool_journal_write(&j, dir, &e), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(copy_read_back().inode, 13);
}

/* Left by a crash, or by a journal that was removed. */
static void test_copies_of_another_edition_do_not_count(void **state)
{
    (void)state;
    struct err e = {0};
    struct pool_journal j;
    char path[160], kept[160];
    write_one(&j, &e);
    copies_path(path);
    snprintf(kept, sizeof kept, "%s.kept", path);
    j.images[0].copy.inode = 11;
    assert_int_equal(pool_journal_add_copy(&j, dir, &j.images[0], &e), 0);
    assert_int_equal(rename(path, kept), 0);
    j.images[0].copy.inode = 12;
    assert_int_equal(pool_journal_write(&j, dir, &e), 0);
    assert_int_equal(rename(kept, path), 0);
    assert_int_equal(copy_read_back().inode, 12);
    assert_int_equal(pool_journal_remove(dir, UUID, &e), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* There are secrets in it. */
static void test_only_its_owner_can_read_it(void **state)
{
    (void)state;
    struct err e = {0};
    struct pool_journal j;
    struct stat st;
    char path[160];
    mode_t before = umask(0);
    write_one(&j, &e);
    umask(before);
    snprintf(path, sizeof path, "%s/pool-%s.json", dir, UUID);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_no_journal_is_enoent(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(pool_journal_read(dir, UUID, &e));
    assert_int_equal(e.class, ERR_REFUSED);
    assert_int_equal(e.sys, 2 /* ENOENT */);
    err_clear(&e);
    assert_int_equal(pool_journal_remove(dir, UUID, &e), 0);
    struct pool_journal j;
    write_one(&j, &e);
    assert_int_equal(pool_journal_remove(dir, UUID, &e), 0);
    assert_null(pool_journal_read(dir, UUID, &e));
}

static char *text_of_one(void);
static void put(const char *text, size_t len);

/* One of before: nothing on the share is known to be ours, no directory either. */
static void test_without_copies_nothing_there_is_ours(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_FREE char *text = text_of_one();
    char *copy = strstr(text, "\"copy\":"), *there = strstr(text, "\"directories_there\":");
    assert_non_null(copy);
    assert_non_null(there);
    memcpy(copy, "\"kopy\"", 6);
    memcpy(there, "\"Directories", 12);
    put(text, strlen(text));
    struct pool_journal *r = pool_journal_read(dir, UUID, &e);
    assert_non_null(r);
    assert_false(r->images[0].copy.made);
    assert_true(r->images[0].directories_there > 1000);
    pool_journal_free(r);
}

static void put(const char *text, size_t len)
{
    char path[160];
    snprintf(path, sizeof path, "%s/pool-%s.json", dir, UUID);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static char *text_of_one(void)
{
    struct err e = {0};
    struct pool_journal j;
    char path[160];
    write_one(&j, &e);
    snprintf(path, sizeof path, "%s/pool-%s.json", dir, UUID);
    CLEANUP_FCLOSE FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) > 0);
    return text;
}

static void expect_refused(const char *why)
{
    struct err e = {0};
    struct pool_journal *j = pool_journal_read(dir, UUID, &e);
    assert_null(j);
    assert_int_equal(e.class, ERR_REFUSED);
    if (strstr(e.msg, why) == NULL)
        fail_msg("'%s' is not in '%s'", why, e.msg);
}

/* Wherever it ends: never taken for a journal. */
static void test_a_torn_journal_is_refused(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = text_of_one();
    for (size_t len = 0; len < strlen(text) - 1; len += 7) {
        put(text, len);
        expect_refused("is not whole");
    }
}

static void test_a_foreign_journal_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        {"\"godwit-pool-journal\"", "\"something-else\"", "is not a journal of godwit"},
        {"\"schema\": 1", "\"schema\": 2", "is of schema 2, and this godwit knows 1"},
        {"\"schema\": 1", "\"scheme\": 1", "schema: missing"},
        {"\"uuid\": \"6695", "\"uuid\": \"7795", "is of another pool"},
        {"\"phase\": \"switching\"", "\"phase\": \"sleeping\"", "phase: 'sleeping' is not known"},
        {"\"before\":", "\"behind\":", "before: "},
        {"\"domains\": [", "\"lodgers\": [", "domains: not a list"},
        {"\"mtime_ns\": -5", "\"mtime_ns\": \"x\"", "mtime_ns: not an integer"},
        {"\"generation\": 7", "\"generation\": \"x\"", "generation: "},
        {"\"network\": true", "\"network\": 1", "network: "},
    };
    CLEANUP_FREE char *text = text_of_one();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *at = strstr(text, cases[i].from);
        if (at == NULL)
            fail_msg("%s is not in %s", cases[i].from, text);
        CLEANUP_FREE char *changed = NULL;
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                             at + strlen(cases[i].from)) > 0);
        put(changed, strlen(changed));
        expect_refused(cases[i].why);
    }
    put("[]", 2);
    expect_refused("is not whole");
    put("{}", 2);
    expect_refused("kind: missing");
}

static void test_only_one_has_the_lock(void **state)
{
    (void)state;
    struct err e = {0};
    int fd, other;
    assert_int_equal(pool_journal_lock(dir, UUID, &fd, &e), 0);
    assert_int_equal(pool_journal_lock(dir, UUID, &other, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, "another godwit is working on"));
    err_clear(&e);
    close(fd);
    assert_int_equal(pool_journal_lock(dir, UUID, &fd, &e), 0);
    close(fd);
    assert_int_equal(pool_journal_lock("/proc/godwit", UUID, &fd, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
}

/* Its file goes with the journal, and whoever had it open already does not take what is gone. */
static void test_the_lock_goes_with_the_journal(void **state)
{
    (void)state;
    struct err e = {0};
    struct pool_journal j;
    struct stat st;
    char path[160];
    int fd;
    snprintf(path, sizeof path, "%s/pool-%s.lock", dir, UUID);
    write_one(&j, &e);
    assert_int_equal(pool_journal_lock(dir, UUID, &fd, &e), 0);
    pool_journal_unlock(dir, UUID, fd);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(pool_journal_lock(dir, UUID, &fd, &e), 0);
    assert_int_equal(pool_journal_remove(dir, UUID, &e), 0);
    CLEANUP_CLOSE int late = open(path, O_RDWR | O_CLOEXEC);
    pool_journal_unlock(dir, UUID, fd);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(flock(late, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(pool_journal_lock(dir, UUID, &fd, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    /* a file that was put in the place of the lock is not ours to remove */
    assert_int_equal(unlink(path), 0);
    CLEANUP_CLOSE int other = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(other >= 0);
    pool_journal_unlock(dir, UUID, fd);
    assert_int_equal(stat(path, &st), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_written_is_read_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_copies_are_added, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_copies_of_another_edition_do_not_count, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_only_its_owner_can_read_it, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_no_journal_is_enoent, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_without_copies_nothing_there_is_ours, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_a_torn_journal_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_foreign_journal_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_only_one_has_the_lock, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_the_lock_goes_with_the_journal, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
