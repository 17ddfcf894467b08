/* SPDX-License-Identifier: Apache-2.0 */
/* Who we say that we are: the groups of this process, on each way to a server. */
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "nfs/share_cred.h"
#include "share_fixture.h"

static const struct variant own = {SHARE_PATH_OWN, RING_AUTO};
static const struct variant libnfs = {SHARE_PATH_LIBNFS, RING_AUTO};

static gid_t before[256];
static int n_before;

static int remember(void **state)
{
    (void)state;
    n_before = getgroups((int)(sizeof before / sizeof *before), before);
    return n_before < 0;
}

static int restore(void **state)
{
    (void)state;
    return setgroups((size_t)n_before, before) < 0 && geteuid() == 0;
}

/* Skips the test where that is not permitted. */
static void join(const gid_t *groups, size_t n)
{
    if (setgroups(n, groups) == 0)
        return;
    print_message("only root may choose its groups\n");
    skip();
}

static void test_groups_are_in_order_without_its_own(void **state)
{
    (void)state;
    const gid_t groups[] = {4242, getgid(), 100};
    join(groups, 3);
    struct codec_cred cred = share_cred_own();
    assert_int_equal(cred.uid, getuid());
    assert_int_equal(cred.gid, getgid());
    assert_int_equal(cred.n_groups, 2); /* its own is reported already */
    assert_int_equal(cred.groups[0], 100);
    assert_int_equal(cred.groups[1], 4242);
    join(NULL, 0);
    cred = share_cred_own();
    assert_int_equal(cred.n_groups, 0);
}

static unsigned warnings;

static void count_warnings(enum log_level level, const char *line)
{
    (void)line;
    warnings += level == LOG_WARN;
}

static void test_too_many_groups_are_cut_and_reported_once(void **state)
{
    (void)state;
    gid_t groups[CODEC_GROUPS_MAX + 4];
    for (unsigned i = 0; i < CODEC_GROUPS_MAX + 4; i++)
        groups[i] = 5000 - i;
    log_set_sink(count_warnings);
    join(groups, CODEC_GROUPS_MAX);
    assert_int_equal(share_cred_own().n_groups, CODEC_GROUPS_MAX);
    assert_int_equal(warnings, 0);
    join(groups, CODEC_GROUPS_MAX + 4);
    share_cred_own();
    struct codec_cred cred = share_cred_own();
    assert_int_equal(warnings, 1);
    assert_int_equal(cred.n_groups, CODEC_GROUPS_MAX);
    assert_int_equal(cred.groups[0], 5000 - CODEC_GROUPS_MAX - 3);
}

/* Control calls, which libnfs sends, and data, which either may send. */
static void test_each_call_bears_the_credential(void **state)
{
    struct fixture f;
    struct fake_faults none = {0};
    uint32_t sent[FAKE_GROUPS_MAX];
    const gid_t groups[] = {4242, 100};
    join(groups, 2);
    share_fixture_start(&f, &none, state);
    struct store_file *file = f.place->ops->open(f.place, "image", STORE_CREATE, SIZE, &f.e);
    assert_non_null(file);
    assert_int_equal(fake_server_groups(f.server, sent), 2);
    struct store_io io = {.file = file, .buf = f.data, .len_bytes = SIZE};
    share_fixture_run(&f, f.place->ops->write, &io, 1);
    assert_true(io.res > 0);
    assert_int_equal(fake_server_groups(f.server, sent), 2);
    assert_int_equal(sent[0], 100);
    assert_int_equal(sent[1], 4242);
    f.place->ops->file_close(file);
    share_fixture_end(&f);
    assert_true(fake_server_one_credential(f.server));
    share_fixture_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_groups_are_in_order_without_its_own, restore),
        cmocka_unit_test_teardown(test_too_many_groups_are_cut_and_reported_once, restore),
        {"test_each_call_bears_the_credential (own)", test_each_call_bears_the_credential, NULL,
         restore, (void *)(uintptr_t)&own},
        {"test_each_call_bears_the_credential (libnfs)", test_each_call_bears_the_credential, NULL,
         restore, (void *)(uintptr_t)&libnfs},
    };
    return cmocka_run_group_tests(tests, remember, NULL);
}
