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
#include "tools/cmd/profile.h"

/* The command line, as words, and then the profile. */
static int apply(const char *words, const char *text, struct migrate_request *r, struct err *e)
{
    static char kept[512]; /* options point into it */
    char name[] = "migrate", *argv[32] = {name};
    int argc = 1;
    bool help = false;
    *e = (struct err){0};
    migrate_request_init(r);
    snprintf(kept, sizeof kept, "%s", words);
    for (char *rest = kept, *word; (word = strsep(&rest, " ")) != NULL;)
        if (word[0] != '\0')
            argv[argc++] = word;
    assert_true(option_parse(migrate_request_options, &r->opt, argc, argv, &help, e) >= 0);
    return profile_apply(text, "p", &r->opt, e);
}

static void test_a_profile_sets_what_was_left_open(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(apply("",
                           "# web servers\nversion = 1\nmax-downtime = 50ms\nmultifd = 4\n"
                           "compression = zstd\nallow = throttle\nmax-slowdown = 20%\n"
                           "max-bandwidth = 1gbit\nroute = native\npause = off\npostcopy = on\n"
                           "set auto-converge = on\nset cpu-throttle-increment = 5\n",
                           &r, &e),
                     0);
    assert_int_equal(r.opt.promise.max_downtime_ns, 50 * NS_PER_MS);
    assert_int_equal(r.opt.multifd, 4);
    assert_int_equal(r.opt.compression, VM_COMPRESSION_ZSTD);
    assert_string_equal(r.opt.promise.max_slowdown, "20%");
    assert_int_equal(r.opt.max_bandwidth_bytes_per_s, 125000000);
    assert_int_equal(r.opt.route, 2);
    assert_false(r.opt.pause);
    assert_true(r.opt.postcopy);
    assert_int_equal(r.opt.set.n, 2);
    assert_string_equal(r.opt.set.at[0], "auto-converge=on");
    assert_string_equal(r.opt.set.at[1], "cpu-throttle-increment=5");
}

/* Also where what is given is what it would have been without. */
static void test_the_command_line_wins(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(apply("--route auto --compression=none --multifd 2 --set auto-converge=off",
                           "version = 1\nroute = native\ncompression = zstd\nmultifd = 8\n"
                           "set auto-converge = on\nset xbzrle = on\n",
                           &r, &e),
                     0);
    assert_int_equal(r.opt.route, 0);
    assert_int_equal(r.opt.compression, VM_COMPRESSION_NONE);
    assert_int_equal(r.opt.multifd, 2);
    assert_int_equal(r.opt.set.n, 2);
    assert_string_equal(r.opt.set.at[0], "auto-converge=off");
    assert_string_equal(r.opt.set.at[1], "xbzrle=on");
}

static void test_what_cannot_go_with_the_command_line_does_not_count(void **state)
{
    (void)state;
    struct migrate_request r;
    struct err e;
    assert_int_equal(apply("--downtime-limit 20ms",
                           "version = 1\nmax-downtime = 50ms\nmultifd = 2\n", &r, &e),
                     0);
    assert_true(r.opt.promise.max_downtime_ns < 0);
    assert_int_equal(r.opt.multifd, 2);
    assert_int_equal(apply("--postcopy",
                           "version = 1\nmultifd = 2\ncompression = zlib\nmax-time = 1m\n"
                           "on-miss = pause\n",
                           &r, &e),
                     0);
    assert_int_equal(r.opt.multifd, 0);
    assert_int_equal(r.opt.compression, 0);
    assert_true(r.opt.promise.max_time_ns < 0);
    assert_true(r.opt.promise.on_miss < 0);
    assert_int_equal(apply("--max-downtime 20ms", "version = 1\ndowntime-limit = 50ms\n", &r, &e),
                     0);
    assert_true(r.opt.downtime_limit_ns < 0);
}

static void test_what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "p: is no profile: it has no version"},
        {"# x\nmultifd = 4\n", "p:2: a profile begins with its version, not with 'multifd'"},
        {"version = 2\n", "p:1: is a profile of version 2, and this godwit reads 1"},
        {"version = one\n", "p:1: version: 'one' is not a whole number from 0 to 4294967295"},
        {"version = 1\nversion = 1\n", "p:2: 'version' is given twice"},
        {"version = 1\n\ncolour = red\n", "p:3: 'colour' is not a key"},
        {"version = 1\nmultifd 4\n", "p:2: 'multifd 4' is not KEY = VALUE"},
        {"version = 1\nmultifd = 4\nmultifd = 4\n", "p:3: 'multifd' is given twice"},
        {"version = 1\nset a = 1\nset a = 2\n", "p:3: 'set a' is given twice"},
        {"version = 1\nset  = 1\n", "p:2: 'set' is not set NAME = VALUE"},
        {"version = 1\nset a b = 1\n", "p:2: 'set a b' is not set NAME = VALUE"},
        {"version = 1\nset a =\n", "p:2: 'set a' is not set NAME = VALUE"},
        {"version = 1\ndowntime-limit = 20\n",
         "p:2: downtime-limit: '20' is not a duration (try 300ms, 20s, 5m)"},
        {"version = 1\nmax-bandwidth = 100\n",
         "p:2: max-bandwidth: '100' has no unit (100M, 1gbit)"},
        {"version = 1\npostcopy = yes\n", "p:2: postcopy: 'yes' is neither on nor off"},
        {"version = 1\npostcopy =\n", "p:2: postcopy: '' is neither on nor off"},
        {"version = 1\nmultifd = 256\n", "p:2: multifd: '256' is not a whole number from 1 to 255"},
        {"version = 1\nconnect = qemu:///system\n",
         "p:2: 'connect' says which migration it is, and is for the command line"},
        {"version = 1\nunsafe = on\n",
         "p:2: 'unsafe' says which migration it is, and is for the command line"},
        {"version = 1\nprofile = other\n",
         "p:2: 'profile' says which migration it is, and is for the command line"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct migrate_request r;
        struct err e;
        assert_int_equal(apply("", rows[i].text, &r, &e), -1);
        assert_int_equal(e.class, ERR_USAGE);
        assert_string_equal(e.msg, rows[i].says);
    }
    struct migrate_request r;
    struct err e; /* what is overruled is read all the same */
    assert_int_equal(apply("--multifd 2", "version = 1\nmultifd = many\n", &r, &e), -1);
}

static void test_a_name_is_looked_for_in_ones_own_directory(void **state)
{
    (void)state;
    char dir[] = "/tmp/profile-XXXXXX", path[256];
    struct err e[3] = {0};
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CONFIG_HOME", dir, 1);
    for (int depth = 0; depth < 2; depth++) {
        snprintf(path, sizeof path, "%s/godwit%s", dir, depth > 0 ? "/profiles.d" : "");
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/godwit/profiles.d/web", dir);
    FILE *to = fopen(path, "we");
    assert_non_null(to);
    fclose(to);
    assert_string_equal(profile_find("web", &e[0]), path);
    assert_string_equal(profile_find("./web", &e[0]), "./web");
    assert_null(profile_find("none-of-this-name", &e[0]));
    assert_non_null(strstr(e[0].msg, "there is no 'none-of-this-name' in "));
    assert_non_null(strstr(e[0].msg, "/etc/godwit/profiles.d"));
    setenv("XDG_CONFIG_HOME", "relative", 1);
    assert_null(profile_find("web", &e[1]));
    assert_null(profile_find(".web", &e[2]));
    unlink(path);
    snprintf(path, sizeof path, "%s/godwit/profiles.d", dir);
    rmdir(path);
    snprintf(path, sizeof path, "%s/godwit", dir);
    rmdir(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_profile_sets_what_was_left_open),
        cmocka_unit_test(test_the_command_line_wins),
        cmocka_unit_test(test_what_cannot_go_with_the_command_line_does_not_count),
        cmocka_unit_test(test_what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(test_a_name_is_looked_for_in_ones_own_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
