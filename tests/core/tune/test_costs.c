/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/costs.h"

#define MS NS_PER_MS

struct place {
    char directory[64], path[128];
};

static int setup(void **state)
{
    static struct place p;
    strcpy(p.directory, "/tmp/test-costs-XXXXXX");
    if (mkdtemp(p.directory) == NULL)
        return -1;
    snprintf(p.path, sizeof p.path, "%s/state/godwit/costs.json", p.directory);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    const struct place *p = *state;
    char path[160];
    unlink(p->path);
    snprintf(path, sizeof path, "%s/state/godwit", p->directory);
    rmdir(path);
    snprintf(path, sizeof path, "%s/state", p->directory);
    rmdir(path);
    return rmdir(p->directory); /* nothing else was left */
}

static struct costs_key key(void)
{
    return (struct costs_key){
        .source_host = "a",
        .destination_host = "b",
        .source_version = "QEMU 10.0.2",
        .destination_version = "QEMU 10.0.2",
        .route = "direct",
        .machine = "pc-q35-10.0",
        .vcpus = 2,
        .ram_bytes = UINT64_C(4) << 30,
        .kvm = true,
    };
}

static struct costs_case took(int64_t pause_ms)
{
    return (struct costs_case){.begin_ns = 500 * MS,
                               .pause_ns = pause_ms * MS,
                               .end_ns = 200 * MS,
                               .warm_up_ns = -1,
                               .bytes_per_s = 1e8};
}

static struct costs_found find(const struct costs *c, const struct costs_key *k)
{
    struct costs_found f;
    costs_find(c, k, &f);
    return f;
}

static void learn(const struct place *p, const struct costs_key *k, const struct costs_case *seen)
{
    struct err e = {0};
    if (costs_learn(p->path, k, seen, &e) < 0)
        fail_msg("%s", e.msg);
}

static void test_what_was_learned_is_known_later(void **state)
{
    const struct place *p = *state;
    struct costs_key k = key();
    struct err e = {0};
    for (int i = 0; i < 9; i++)
        learn(p, &k,
              &(struct costs_case){.begin_ns = 500 * MS,
                                   .pause_ns = (18 + i % 3) * MS,
                                   .end_ns = -1,
                                   .warm_up_ns = i < 3 ? -1 : (7 + i % 3) * MS,
                                   .bytes_per_s = i == 0 ? 0 : 1e8});
    CLEANUP_COSTS struct costs *c = costs_new();
    assert_int_equal(costs_read(c, p->path, &e), 0);
    struct costs_found f = find(c, &k), shipped = find(NULL, &k);
    assert_int_equal(f.from, COSTS_ALIKE);
    assert_int_equal(f.cases, 9);
    assert_true(f.costs.pause_ns.likely == 19e6 && f.costs.begin_ns.likely == 500e6);
    assert_true(f.costs.pause_ns.low > 12e6 && f.costs.pause_ns.high < 30e6);
    assert_true(f.costs.end_ns.likely == shipped.costs.end_ns.likely); /* never known */
    assert_true(f.warm_up_ns.likely == 8e6 &&
                f.warm_up_ns.high < 20e6); /* of those that were observed */
    assert_int_equal(f.link_cases, 8);
    assert_true(f.bytes_per_s.likely == 1e8);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* A file of before the warm-up was kept is read, and has none. */
static void test_cases_without_a_warm_up(void **state)
{
    const struct place *p = *state;
    struct costs_key k = key();
    struct err e = {0};
    char text[8192];
    struct costs_case x = took(50);
    x.warm_up_ns = 99 * MS;
    learn(p, &k, &x);
    FILE *f = fopen(p->path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    char *value = strstr(text, "99"), *comma = value;
    assert_non_null(value);
    while (*comma != ',')
        comma--;
    char *end = strchr(value, ']');
    assert_non_null(end);
    memmove(comma, end, strlen(end) + 1);
    f = fopen(p->path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    CLEANUP_COSTS struct costs *c = costs_new();
    if (costs_read(c, p->path, &e) < 0)
        fail_msg("%s", e.msg);
    struct costs_found found = find(c, &k), shipped = find(NULL, &k);
    assert_int_equal(found.from, COSTS_ALIKE);
    assert_true(found.costs.pause_ns.likely == 50e6);
    assert_true(found.warm_up_ns.likely == shipped.warm_up_ns.likely);
}

static void test_nothing_learned_is_what_is_shipped(void **state)
{
    const struct place *p = *state;
    const char *routes[] = {"qmp", "direct", "native"};
    struct err e = {0};
    CLEANUP_COSTS struct costs *c = costs_new();
    assert_int_equal(costs_read(c, p->path, &e), 0); /* there is no file */
    for (size_t i = 0; i < 3; i++) {
        struct costs_key k = key();
        strcpy(k.route, routes[i]);
        struct costs_found f = find(c, &k);
        assert_int_equal(f.from, COSTS_SHIPPED);
        assert_int_equal(f.link_cases, 0);
        assert_true(estimate_is_sound(f.costs.begin_ns) && estimate_is_sound(f.costs.end_ns));
        assert_true(estimate_is_sound(f.costs.pause_ns) && f.costs.pause_ns.low > 0);
        assert_true(estimate_is_sound(f.warm_up_ns) && f.warm_up_ns.low > 0);
    }
}

/* The nearest cases answer, and the link is asked of all guests between the same hosts. */
static void test_near_and_far(void **state)
{
    (void)state;
    CLEANUP_COSTS struct costs *c = costs_new();
    struct costs_key k = key(), other;
    struct costs_case x = took(50);
    costs_add(c, &k, &x);

    other = k;
    other.ram_bytes += other.ram_bytes / 2; /* the same power of two */
    assert_int_equal(find(c, &other).from, COSTS_ALIKE);
    other.vcpus = 64;
    struct costs_found f = find(c, &other);
    assert_int_equal(f.from, COSTS_HOSTS);
    assert_true(f.costs.pause_ns.likely == 50e6);
    assert_int_equal(f.link_cases, 1);
    strcpy(other.destination_host, "c");
    f = find(c, &other);
    assert_int_equal(f.from, COSTS_ELSEWHERE);
    assert_int_equal(f.link_cases, 0);
    strcpy(other.route, "native");
    assert_int_equal(find(c, &other).from, COSTS_SHIPPED);
    other = k;
    other.kvm = false;
    f = find(c, &other);
    assert_int_equal(f.from, COSTS_SHIPPED);
    assert_int_equal(f.link_cases, 1);
}

static void test_another_version_forgets(void **state)
{
    (void)state;
    CLEANUP_COSTS struct costs *c = costs_new();
    struct costs_key old = key(), new = key();
    strcpy(new.destination_version, "QEMU 11.1.3");
    struct costs_case x = took(50), y = took(20);
    for (int i = 0; i < 5; i++)
        costs_add(c, &old, &x);
    assert_int_equal(find(c, &new).from, COSTS_SHIPPED);
    costs_add(c, &new, &y);
    assert_int_equal(find(c, &new).cases, 1);
    assert_int_equal(find(c, &old).from, COSTS_SHIPPED); /* it has no second life */
}

/* Once in ten the machine was busy for two seconds. */
static void test_an_outlier_is_no_rule(void **state)
{
    (void)state;
    CLEANUP_COSTS struct costs *c = costs_new();
    struct costs_key k = key();
    for (int i = 0; i < 10; i++) {
        struct costs_case x = took(i == 4 ? 2000 : 20);
        costs_add(c, &k, &x);
    }
    struct costs_found f = find(c, &k);
    assert_true(f.costs.pause_ns.likely == 20e6);
    assert_true(f.costs.pause_ns.high < 80e6);
}

static void test_it_stays_small(void **state)
{
    const struct place *p = *state;
    struct err e = {0};
    CLEANUP_COSTS struct costs *c = costs_new();
    for (unsigned guest = 0; guest < 3 * COSTS_ENTRIES_MAX; guest++) {
        struct costs_key k = key();
        k.vcpus = guest + 1;
        for (int i = 0; i < 2 * COSTS_CASES_MAX; i++) {
            struct costs_case x = took(10 + i);
            costs_add(c, &k, &x);
        }
    }
    assert_int_equal(costs_write(c, p->path, &e), 0);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_in_range(st.st_size, 1, 200000);
    CLEANUP_COSTS struct costs *again = costs_new();
    assert_int_equal(costs_read(again, p->path, &e), 0);
    struct costs_key k = key();
    k.vcpus = 3 * COSTS_ENTRIES_MAX;
    struct costs_found f = find(again, &k);
    assert_int_equal(f.cases, COSTS_CASES_MAX);
    assert_true(f.costs.pause_ns.likely >= 30e6); /* the last ones */
    k.vcpus = 1;
    assert_int_equal(find(again, &k).from, COSTS_HOSTS); /* the first guest is forgotten */
}

static void write_file(const struct place *p, const char *text)
{
    FILE *f = fopen(p->path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* It is reported, read as nothing, and what is learned next begins it anew. */
static void test_a_broken_file(void **state)
{
    const struct place *p = *state;
    static const char *const broken[] = {
        "",
        "{",
        "[]",
        "{\"schema\": 1}",
        "{\"schema\": 2, \"kind\": \"godwit costs\"}",
        "{\"schema\": 1, \"kind\": \"godwit costs\", \"entries\": 7}",
        "{\"schema\": 1, \"kind\": \"godwit costs\", \"entries\": [{\"source_host\": 1}]}",
        "{\"schema\": 1, \"kind\": \"something else\", \"entries\": []}",
    };
    struct costs_key k = key();
    struct costs_case x = took(20);
    learn(p, &k, &x); /* makes the directories */
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct err e = {0};
        write_file(p, broken[i]);
        CLEANUP_COSTS struct costs *c = costs_new();
        costs_add(c, &k, &x);
        assert_int_equal(costs_read(c, p->path, &e), -1);
        assert_non_null(strstr(e.msg, p->path));
        assert_int_equal(find(c, &k).from, COSTS_SHIPPED);
        learn(p, &k, &x);
        e = (struct err){0};
        assert_int_equal(costs_read(c, p->path, &e), 0);
        assert_int_equal(find(c, &k).cases, 1);
    }
}

static void test_no_place_to_write(void **state)
{
    const struct place *p = *state;
    struct err e = {0};
    struct costs_key k = key();
    struct costs_case x = took(20);
    char path[160];
    learn(p, &k, &x);
    snprintf(path, sizeof path, "%s/below/costs.json",
             p->path); /* a file, where a directory is needed */
    assert_int_equal(costs_learn(path, &k, &x, &e), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_non_null(strstr(e.msg, p->path));
}

static void test_where_it_is(void **state)
{
    (void)state;
    char path[256];
    struct err e = {0};
    setenv("HOME", "/home/x", 1);
    setenv("XDG_STATE_HOME", "/var/x", 1);
    assert_int_equal(costs_path(path, sizeof path, &e), 0);
    assert_string_equal(path, "/var/x/godwit/costs.json");
    setenv("XDG_STATE_HOME", "not/absolute", 1);
    assert_int_equal(costs_path(path, sizeof path, &e), 0);
    assert_string_equal(path, "/home/x/.local/state/godwit/costs.json");
    assert_int_equal(costs_path(path, 8, &e), -1);
    unsetenv("HOME");
    unsetenv("XDG_STATE_HOME");
    e = (struct err){0};
    assert_int_equal(costs_path(path, sizeof path, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_learned_is_known_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_learned_is_what_is_shipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cases_without_a_warm_up, setup, teardown),
        cmocka_unit_test(test_near_and_far),
        cmocka_unit_test(test_another_version_forgets),
        cmocka_unit_test(test_an_outlier_is_no_rule),
        cmocka_unit_test_setup_teardown(test_it_stays_small, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_broken_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_place_to_write, setup, teardown),
        cmocka_unit_test(test_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
