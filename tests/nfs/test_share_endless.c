/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that never come to an end, or to nothing: each ends with an error that names it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "small_copy.h"

static int count_name(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    (void)name;
    (void)attr;
    (void)e;
    ++*(unsigned *)arg;
    return 0;
}

static int list(struct fixture *f, unsigned *names)
{
    *names = 0;
    return f->place->ops->list(f->place, "", count_name, names, &f->e);
}

/* Circles of pages of whatever length. */
static void test_a_list_in_a_circle_ends(void **state)
{
    for (unsigned page = 1; page < 24; page++) {
        for (int no_plus = 0; no_plus < 2; no_plus++) {
            struct fixture f;
            unsigned names;
            share_fixture_set_up(&f,
                                 &(struct fake_faults){.list_circles = true,
                                                       .page_entries = page,
                                                       .no_plus = no_plus},
                                 state);
            for (char name[] = "a"; *name < 't'; ++*name)
                fake_server_add_file(f.server, name, "abc", 3);
            assert_int_equal(share_fixture_open(&f, "/export"), 0);
            assert_int_equal(list(&f, &names), -1);
            assert_int_equal(f.e.class, ERR_PROTO);
            assert_non_null(strstr(f.e.msg, "has no end: it comes back"));
            assert_true(names < 19 * 8);
            share_fixture_end(&f);
            share_fixture_tear_down(&f);
        }
    }
}

static void test_a_list_that_goes_on_ends(void **state)
{
    struct fixture f;
    unsigned names;
    share_fixture_start(&f, &(struct fake_faults){.list_goes_on = true, .no_plus = true}, state);
    assert_int_equal(list(&f, &names), -1);
    assert_int_equal(f.e.class, ERR_PROTO);
    assert_non_null(strstr(f.e.msg, "has no end: it goes on"));
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

/* The bytes move all the time, so that the connection is never silent. */
static void test_answers_to_nothing_end(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(&f, &(struct fake_faults){.strays_from = 9},
                                                   SMALL_COPY_PATIENT_NS, state);
    const struct store_ops *ops = f.place->ops;
    share_fixture_io_fn *const fns[] = {ops->write, ops->read, ops->commit};
    for (int i = 0; i < 3; i++) {
        struct store_io io = small_copy_io(file, f.data, 0, 100);
        share_fixture_run(&f, fns[i], &io, 1);
        assert_true(io.res == -EPROTO && io.fault == ERR_PROTO);
    }
    small_copy_close_file(&f, file);
    assert_true(f.warnings > 0);
}

static void test_reads_of_nothing_end(void **state)
{
    struct fixture f;
    struct store_file *file = small_copy_open_file(&f, &(struct fake_faults){.reads_nothing = true},
                                                   SMALL_COPY_PATIENT_NS, state);
    struct store_io io = small_copy_io(file, f.data, 0, 100);
    share_fixture_run(&f, f.place->ops->read, &io, 1);
    assert_true(io.res == -EPROTO && io.fault == ERR_PROTO);
    small_copy_close_file(&f, file);
}

/* Of names as of data: the server answers each time, and never does it. */
static void test_busy_for_ever_says_so(void **state)
{
    struct fixture f;
    struct store_attr attr;
    share_fixture_start(
        &f,
        &(struct fake_faults){.status_at = 1, .status = STATUS_JUKEBOX, .status_proc = PROC_LOOKUP},
        state);
    assert_int_equal(f.place->ops->lookup(f.place, "file", &attr, &f.e), -1);
    assert_int_equal(f.e.sys, EAGAIN);
    assert_non_null(strstr(f.e.msg, "busy"));
    share_fixture_end(&f);
    share_fixture_tear_down(&f);
}

static struct variant variant = {SHARE_PATH_AUTO, RING_AUTO};

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_a_list_in_a_circle_ends, &variant),
        cmocka_unit_test_prestate(test_a_list_that_goes_on_ends, &variant),
        EACH_PATH(test_answers_to_nothing_end),
        EACH_PATH(test_reads_of_nothing_end),
        cmocka_unit_test_prestate(test_busy_for_ever_says_so, &variant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
