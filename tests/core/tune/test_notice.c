/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: what a source says every 100 ms, made of a few numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/tune/notice.h"

#define MIB (UINT64_C(1) << 20)

struct trace {
    struct notice_state state;
    struct vm_sample s;
    struct notice last;
    unsigned told;
    int64_t at_ns;
};

static struct trace trace(void)
{
    return (struct trace){.s = {.migration = VM_MIGRATION_ACTIVE,
                                .run = VM_RUN_RUNNING,
                                .ram_total_bytes = 4096 * MIB,
                                .ram_remaining_bytes = 4096 * MIB}};
}

/* For so long so much a second is sent; QEMU says another. */
static void goes_on(struct trace *t, double seconds, uint64_t sent, uint64_t handled, uint64_t says)
{
    t->s.bandwidth_bytes_per_s = says;
    for (int i = 0; i < (int)(seconds * 10); i++) {
        struct notice n;
        t->at_ns += 100 * NS_PER_MS;
        t->s.ram_transferred_bytes += sent / 10;
        t->s.ram_handled_bytes += handled / 10;
        if (!notice_step(&t->state, &t->s, t->at_ns, &n))
            continue;
        t->last = n;
        t->told++;
        assert_int_equal(n.at_ns, t->at_ns);
        assert_non_null(n.why);
    }
}

static void expect(const struct trace *t, enum notice_what what, const char *words)
{
    assert_int_equal(t->told, 1); /* once, however long it goes on */
    assert_int_equal(t->last.what, what);
    if (strstr(t->last.why, words) == NULL)
        fail_msg("'%s' is not in: %s", words, t->last.why);
}

static void test_what_goes_well_is_no_news(void **state)
{
    (void)state;
    struct trace t = trace();
    goes_on(&t, 20, 100 * MIB, 100 * MIB, 110 * MIB);
    goes_on(&t, 5, 1 * MIB, 900 * MIB, 1 * MIB); /* zeros */
    goes_on(&t, 20, 90 * MIB, 90 * MIB, 80 * MIB);
    t.s.ram_remaining_bytes = 10 * MIB; /* the end of a pass */
    goes_on(&t, 5, 10 * MIB, 10 * MIB, 10 * MIB);
    assert_int_equal(t.told, 0);
}

static void test_zero_copy_falls_back(void **state)
{
    (void)state;
    struct trace t = trace();
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    t.s.zero_copy_missed = 3;
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    expect(&t, NOTICE_ZERO_COPY, "3 passes were copied");
}

static void test_an_estimate_that_is_far_off(void **state)
{
    (void)state;
    struct trace high = trace(), low = trace();
    goes_on(&high, 10, 100 * MIB, 100 * MIB, 900 * MIB);
    expect(&high, NOTICE_BANDWIDTH, "too early");
    goes_on(&low, 10, 100 * MIB, 100 * MIB, 20 * MIB);
    expect(&low, NOTICE_BANDWIDTH, "too late");
}

static void test_one_bad_moment_is_no_news(void **state)
{
    (void)state;
    struct trace t = trace();
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    goes_on(&t, 1, 5 * MIB, 5 * MIB, 5 * MIB);
    goes_on(&t, 10, 100 * MIB, 100 * MIB, 100 * MIB);
    assert_int_equal(t.told, 0);
}

static void test_a_starved_thread(void **state)
{
    (void)state;
    struct trace t = trace(), known = trace(), limited = trace();
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    goes_on(&t, 10, 10 * MIB, 10 * MIB, 10 * MIB);
    expect(&t, NOTICE_STARVED, "has carried 100.00 MiB/s");
    known.state.link_bytes_per_s = 100.0 * MIB; /* from the begin on */
    goes_on(&known, 5, 10 * MIB, 10 * MIB, 10 * MIB);
    expect(&known, NOTICE_STARVED, "has carried 100.00 MiB/s");
    limited.state.link_bytes_per_s = 100.0 * MIB;
    limited.state.max_bandwidth_bytes_per_s = 10 * MIB;
    goes_on(&limited, 5, 10 * MIB, 10 * MIB, 10 * MIB);
    assert_int_equal(limited.told, 0);
}

static void test_an_io_error(void **state)
{
    (void)state;
    struct trace t = trace();
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    t.s.run = VM_RUN_STOPPED;
    t.s.io_error = true;
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    expect(&t, NOTICE_IO_ERROR, "no switchover");
}

static void test_a_slow_postcopy(void **state)
{
    (void)state;
    struct trace t = trace(), quick = trace();
    goes_on(&t, 5, 100 * MIB, 100 * MIB, 100 * MIB);
    quick = t;
    t.s.migration = quick.s.migration = VM_MIGRATION_POSTCOPY;
    t.s.ram_remaining_bytes = quick.s.ram_remaining_bytes = 200 * MIB; /* 2 s */
    goes_on(&t, 4.5, 10 * MIB, 10 * MIB, 100 * MIB);
    assert_int_equal(t.told, 0);
    goes_on(&t, 10, 10 * MIB, 10 * MIB, 100 * MIB);
    expect(&t, NOTICE_POSTCOPY, "where 2.0 s were");
    goes_on(&quick, 2.5, 100 * MIB, 100 * MIB, 100 * MIB);
    quick.s.ram_remaining_bytes = 0;
    goes_on(&quick, 10, 0, 0, 0);
    assert_int_equal(quick.told, 0);
}

static void test_each_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < NOTICE_KINDS; i++)
        assert_non_null(notice_name((enum notice_what)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_well_is_no_news),
        cmocka_unit_test(test_zero_copy_falls_back),
        cmocka_unit_test(test_an_estimate_that_is_far_off),
        cmocka_unit_test(test_one_bad_moment_is_no_news),
        cmocka_unit_test(test_a_starved_thread),
        cmocka_unit_test(test_an_io_error),
        cmocka_unit_test(test_a_slow_postcopy),
        cmocka_unit_test(test_each_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
