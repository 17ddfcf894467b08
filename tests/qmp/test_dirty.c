/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring what a guest dirties, on a QEMU that follows a script: what is asked for, what is made of the
 * answers, and what is left alone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_qmp.h"
#include "qmp/dirty.h"

#define MIB 1048576.0

#define assert_near(value, expected) assert_true(fabs((value) - (expected)) < 1)

#define STEP(kind, cmd, says, args)                                      \
    {                                                                    \
        .what = kind, .command = cmd, .text = "" says, .arguments = args \
    }
#define ACCEPT              \
    {                       \
        .what = FAKE_ACCEPT \
    }
#define END                     \
    {                           \
        .what = FAKE_EXPECT_END \
    }
#define STATUS(status) \
    STEP(FAKE_REPLY, "query-status", "{\"running\":true,\"status\":\"" status "\"}", NULL)
#define STATUS_7                     \
    STEP(FAKE_REPLY, "query-status", \
         "{\"running\":true,\"singlestep\":false,\"status\":\"running\"}", NULL)
#define MIGRATION(status) STEP(FAKE_REPLY, "query-migrate", "{\"status\":\"" status "\"}", NULL)
#define RUNS STATUS("running"), STEP(FAKE_REPLY, "query-migrate", "{}", NULL)
#define RUNS_7 STATUS_7, STEP(FAKE_REPLY, "query-migrate", "{}", NULL)

#define MS_ASKED "{\"calc-time-unit\":\"millisecond\"}"
#define ANSWER(status, mode, window, pages, more)                                               \
    STEP(FAKE_REPLY, "query-dirty-rate",                                                        \
         "{\"status\":\"" status "\",\"mode\":\"" mode "\",\"calc-time\":" window               \
         ",\"calc-time-unit\":\"millisecond\",\"sample-pages\":" pages ",\"start-time\":1" more \
         "}",                                                                                   \
         MS_ASKED)
#define ANSWER_7(status, mode, window, pages, more)                               \
    STEP(FAKE_REPLY, "query-dirty-rate",                                          \
         "{\"status\":\"" status "\",\"mode\":\"" mode "\",\"calc-time\":" window \
         ",\"sample-pages\":" pages ",\"start-time\":1" more "}",                 \
         NULL)
#define IDLE ANSWER("unstarted", "page-sampling", "0", "512", "")
#define MEASURING ANSWER("measuring", "page-sampling", "500", "512", "")

#define CALC(mode, window) \
    "{\"calc-time\":" window ",\"calc-time-unit\":\"millisecond\",\"mode\":\"" mode "\"}"
#define CALC_SAMPLES(window)                                                                   \
    "{\"calc-time\":" window ",\"calc-time-unit\":\"millisecond\",\"mode\":\"page-sampling\"," \
    "\"sample-pages\":16384}"
#define START(args) STEP(FAKE_REPLY, "calc-dirty-rate", "{}", args)
#define NO(says, args) STEP(FAKE_ERROR, "calc-dirty-rate", says, args)
#define NO_SUCH_MODE(args) NO("mode is not enabled, use other method instead.", args)

/* One window by the bitmap: it runs before, and after. */
#define BITMAP(window, rate)                         \
    RUNS, IDLE, START(CALC("dirty-bitmap", window)), \
        ANSWER("measured", "dirty-bitmap", window, "0", ",\"dirty-rate\":" rate), RUNS
#define SAMPLES(window, rate)                \
    RUNS, IDLE, START(CALC_SAMPLES(window)), \
        ANSWER("measured", "page-sampling", window, "16384", ",\"dirty-rate\":" rate), RUNS
#define RING(window, rate, vcpus)                                           \
    RUNS, IDLE, START(CALC("dirty-ring", window)),                          \
        ANSWER("measured", "dirty-ring", window, "0",                       \
               ",\"dirty-rate\":" rate ",\"vcpu-dirty-rate\":[" vcpus "]"), \
        RUNS

struct
try {
    struct loop *loop;
    struct qmp_client *c;
    struct dirty_qemu q;
    struct dirty_options opt;
    struct dirty_result out;
    struct err e;
    int rc;
    int64_t took_ns;
};

static void on_event(void *arg, const char *name, struct json_object *data)
{
    (void)arg, (void)name, (void)data;
}

/* A guest of 256 MiB under KVM, whose QEMU is new; two short windows. */
static struct try usual(void)
{
    return (struct try){.q = {.known = true,
                              .milliseconds = true,
                              .has_sample_pages = true,
                              .has_mode = true,
                              .kvm = true,
                              .has_ring = true,
                              .has_bitmap = true,
                              .ram_bytes = (uint64_t)(256 * MIB)},
                        .opt = {.windows_ns = {50 * NS_PER_MS, 80 * NS_PER_MS}, .windows = 2}};
}

static void run(struct try *t, const char *version, const struct fake_step *steps, size_t n)
{
    struct qmp_endpoint ep;
    struct fake_qmp *fake = fake_qmp_start(version, FAKE_UNIX, steps, n);
    t->loop = loop_new(&t->e);
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(fake), &ep, &t->e), 0);
    t->c = qmp_client_open(t->loop, &ep, 5 * NS_PER_S, true, on_event, NULL, &t->e);
    assert_non_null(t->c);
    int64_t began_ns = clock_now_ns();
    t->rc = dirty_measure(t->loop, t->c, &t->opt, &t->q, &t->out, &t->e);
    t->took_ns = clock_now_ns() - began_ns;
    qmp_client_close(t->c);
    loop_free(t->loop);
    fake_qmp_end(fake);
    assert_true((t->rc == 0) == (t->e.class == ERR_NONE));
}

#define RUN(t, steps) run(t, "10.0", steps, sizeof(steps) / sizeof *(steps))
#define RUN_7(t, steps) run(t, "7.2", steps, sizeof(steps) / sizeof *(steps))

static void expect_fault(const struct try *t, enum err_class class, const char *says)
{
    if (t->rc == 0 || t->e.class != class || strstr(t->e.msg, says) == NULL)
        fail_msg("%s: '%s' instead of %s: '%s'", err_class_name(t->e.class), t->e.msg,
                 err_class_name(class), says);
    assert_int_equal(t->out.curve.n, 0);
}

static void expect_done(const struct try *t, enum curve_source source, size_t points)
{
    if (t->rc < 0)
        fail_msg("%s", t->e.msg);
    assert_int_equal(t->out.curve.source, source);
    assert_int_equal(t->out.curve.n, points);
}

static void test_the_bitmap_under_kvm(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, BITMAP("50", "200"), BITMAP("80", "150"), END};
    struct try t = usual();
    RUN(&t, steps);
    expect_done(&t, CURVE_DIRTY_BITMAP, 2);
    struct estimate a = curve_bytes(&t.out.curve, 50 * NS_PER_MS);
    assert_true(a.low <= 10 * MIB && a.likely > 10 * MIB);
    assert_true(a.high > 10.04 * MIB && a.high < 10.06 * MIB);
    assert_true(curve_bytes(&t.out.curve, 80 * NS_PER_MS).low <= 12 * MIB);
    assert_int_equal(t.out.vcpus, 0);
    assert_true(t.took_ns >= 130 * NS_PER_MS);
}

/* dirty-bitmap ends QEMU 7.2 under TCG, and counts nothing in 10.0: it is never asked for. */
static void test_only_sampling_under_tcg(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, SAMPLES("50", "640"), SAMPLES("80", "600"),
                                             END};
    static const struct fake_step nothing[] = {ACCEPT, END};
    struct try t = usual();
    t.q.kvm = false;
    t.opt.vcpus = true;
    RUN(&t, steps);
    expect_done(&t, CURVE_PAGE_SAMPLING, 2);
    struct estimate a =
        curve_bytes(&t.out.curve, 50 * NS_PER_MS); /* 32 of 256 MiB, by 4096 pages */
    assert_true(a.low < 31 * MIB && a.high > 33 * MIB && a.high < 35 * MIB);
    t = usual();
    t.q.kvm = false;
    t.opt.source = CURVE_DIRTY_BITMAP;
    RUN(&t, nothing);
    expect_fault(&t, ERR_REFUSED, "needs KVM");
}

/* The bitmap is refused before anything is touched; what counts distinct pages then is sampling. */
static void test_a_ring_tells_of_vcpus(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        RUNS,
        IDLE,
        NO_SUCH_MODE(CALC("dirty-bitmap", "50")),
        SAMPLES("50", "640"),
        SAMPLES("80", "600"),
        RING("100", "9", "{\"id\":0,\"dirty-rate\":2},{\"id\":1,\"dirty-rate\":7}"),
        END};
    static const struct fake_step again[] = {ACCEPT, SAMPLES("50", "640"), SAMPLES("80", "600"),
                                             END};
    struct try t = usual();
    t.opt.vcpus = true;
    RUN(&t, steps);
    expect_done(&t, CURVE_PAGE_SAMPLING, 2);
    assert_int_equal(t.out.vcpus, 2);
    assert_int_equal(t.out.vcpu[1].id, 1);
    assert_true(t.out.vcpu[1].bytes_per_s.low == 7 * MIB &&
                t.out.vcpu[1].bytes_per_s.high == 8 * MIB);
    assert_true(t.q.uses_ring);
    t.opt.vcpus =
        false; /* what was found out stays known; who does not ask does not touch the ring */
    RUN(&t, again);
    expect_done(&t, CURVE_PAGE_SAMPLING, 2);
    assert_int_equal(t.out.vcpus, 0);
}

static void test_a_source_that_is_named(void **state)
{
    (void)state;
    static const struct fake_step ring[] = {ACCEPT, RING("50", "4", "{\"id\":0,\"dirty-rate\":4}"),
                                            RING("80", "4", "{\"id\":0,\"dirty-rate\":4}"), END};
    static const struct fake_step none[] = {ACCEPT, RUNS, IDLE,
                                            NO_SUCH_MODE(CALC("dirty-ring", "50")), END};
    static const struct fake_step has_ring[] = {ACCEPT, RUNS, IDLE,
                                                NO_SUCH_MODE(CALC("dirty-bitmap", "50")), END};
    static const struct fake_step samples[] = {ACCEPT, SAMPLES("50", "1"), SAMPLES("80", "1"), END};
    struct try t = usual();
    t.opt.source = CURVE_DIRTY_RING;
    RUN(&t, ring);
    expect_done(&t, CURVE_DIRTY_RING, 2);
    assert_int_equal(t.out.vcpus, 1);
    RUN(&t, none);
    expect_fault(&t, ERR_REFUSED, "not enabled");
    assert_non_null(strstr(t.e.hint, "dirty-ring-size"));
    t = usual();
    t.opt.source = CURVE_DIRTY_BITMAP;
    RUN(&t, has_ring);
    expect_fault(&t, ERR_REFUSED, "not enabled");
    t = usual();
    t.opt.source = CURVE_PAGE_SAMPLING;
    RUN(&t, samples);
    expect_done(&t, CURVE_PAGE_SAMPLING, 2);
}

/* Whole seconds, rounded up; equal ones are one. It rounds twice, and cuts off the window's rest. */
static void test_a_qemu_that_counts_in_seconds(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        RUNS_7,
        ANSWER_7("unstarted", "page-sampling", "0", "512", ""),
        START("{\"calc-time\":1,\"mode\":\"dirty-bitmap\"}"),
        ANSWER_7("measured", "dirty-bitmap", "1", "0", ",\"dirty-rate\":20"),
        RUNS_7,
        END};
    struct try t = usual();
    t.q.milliseconds = false;
    RUN_7(&t, steps);
    expect_done(&t, CURVE_DIRTY_BITMAP, 1);
    assert_int_equal(t.out.curve.at[0].window_ns, NS_PER_S);
    assert_near(t.out.curve.at[0].bytes.likely, 21 * MIB);
    assert_near(t.out.curve.at[0].bytes.high, 22 * MIB);
}

/* QEMU 5.2: one mode that has no name, and a fixed number of pages. */
static void test_a_qemu_without_modes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        RUNS_7,
        STEP(FAKE_LOOSE, "query-dirty-rate",
             "{\"status\":\"unstarted\",\"start-time\":0,\"calc-time\":0}", NULL),
        START("{\"calc-time\":1}"),
        STEP(FAKE_LOOSE, "query-dirty-rate",
             "{\"status\":\"measured\",\"start-time\":5,\"calc-time\":1,\"dirty-rate\":20}", NULL),
        RUNS_7,
        END};
    struct try t = usual();
    t.q = (struct dirty_qemu){.known = true, .kvm = true, .ram_bytes = (uint64_t)(256 * MIB)};
    RUN_7(&t, steps);
    expect_done(&t, CURVE_PAGE_SAMPLING, 1);
    assert_true(t.out.curve.at[0].bytes.low < 15 * MIB); /* of 128 pages: little is known */
}

/* It is waited for, also if it begins between the look and our start; and ours is told from theirs. */
static void test_somebody_else_measures(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT,
        RUNS,
        MEASURING,
        MEASURING,
        ANSWER("measured", "page-sampling", "500", "512", ",\"dirty-rate\":77"),
        NO("the dirty rate is already being measured.", CALC("dirty-bitmap", "50")),
        MEASURING,
        ANSWER("measured", "page-sampling", "500", "512", ",\"dirty-rate\":77"),
        START(CALC("dirty-bitmap", "50")),
        ANSWER("unstarted", "dirty-bitmap", "50", "0", ""), /* its thread has not run yet */
        ANSWER("measuring", "dirty-bitmap", "50", "0", ""),
        ANSWER("measured", "page-sampling", "500", "512",
               ",\"dirty-rate\":77"), /* theirs, after ours */
        RUNS,
        BITMAP("50", "200"),
        END};
    struct try t = usual();
    t.opt.windows = 1;
    RUN(&t, steps);
    expect_done(&t, CURVE_DIRTY_BITMAP, 1);
    assert_near(t.out.curve.at[0].bytes.likely, 10.025 * MIB);
}

static void test_the_budget_ends_the_waiting(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, RUNS, MEASURING, END};
    static const struct fake_step first[] = {ACCEPT, BITMAP("50", "200"), END};
    struct try t = usual();
    t.opt.budget_ns = 1;
    RUN(&t, steps);
    expect_fault(&t, ERR_TIMEOUT, "for somebody else");
    t = usual();
    t.opt.windows_ns[1] = 60 * NS_PER_S; /* is left out */
    t.opt.budget_ns = 30 * NS_PER_S;
    RUN(&t, first);
    expect_done(&t, CURVE_DIRTY_BITMAP, 1);
}

static void test_a_guest_that_does_not_run(void **state)
{
    (void)state;
    static const struct fake_step stopped[] = {ACCEPT, STATUS("paused"),
                                               STEP(FAKE_REPLY, "query-migrate", "{}", NULL), END};
    static const struct fake_step migrating[] = {ACCEPT, STATUS("running"), MIGRATION("active"),
                                                 END};
    static const struct fake_step meanwhile[] = {
        ACCEPT,
        BITMAP("50", "200"),
        RUNS,
        IDLE,
        START(CALC("dirty-bitmap", "80")),
        ANSWER("measured", "dirty-bitmap", "80", "0", ",\"dirty-rate\":1"),
        STATUS("running"),
        MIGRATION("setup"),
        END};
    struct try t = usual();
    RUN(&t, stopped);
    expect_fault(&t, ERR_REFUSED, "does not run");
    assert_int_equal(t.e.sys, EAGAIN);
    t = usual();
    RUN(&t, migrating);
    expect_fault(&t, ERR_REFUSED, "is being migrated");
    assert_int_equal(t.e.sys, EBUSY);
    t = usual();
    RUN(&t, meanwhile);
    expect_fault(&t, ERR_REFUSED, "is being migrated");
}

static void test_a_qemu_that_ends(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        ACCEPT, RUNS, IDLE, START(CALC("dirty-bitmap", "50")), {.what = FAKE_CLOSE}};
    struct try t = usual();
    RUN(&t, steps);
    expect_fault(&t, ERR_LOST, "");
}

static void test_no_rate_is_a_fault(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT,
                                             RUNS,
                                             IDLE,
                                             START(CALC("dirty-bitmap", "50")),
                                             ANSWER("measured", "dirty-bitmap", "50", "0", ""),
                                             RUNS,
                                             END};
    struct try t = usual();
    RUN(&t, steps);
    expect_fault(&t, ERR_REFUSED, "could not find out");
}

static void test_windows_that_nobody_takes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {ACCEPT, END};
    static const int64_t bad[][2] = {{49 * NS_PER_MS, NS_PER_S},
                                     {NS_PER_S, 61 * NS_PER_S},
                                     {NS_PER_S, NS_PER_S},
                                     {2 * NS_PER_S, NS_PER_S}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct try t = usual();
        memcpy(t.opt.windows_ns, bad[i], sizeof bad[i]);
        RUN(&t, steps);
        expect_fault(&t, ERR_USAGE, "windows");
    }
}

static const char *recorded_schema(const char *version)
{
    static char text[300000];
    char path[512];
    snprintf(path, sizeof path, SCHEMA_DIR "/schema-%s.json", version);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    size_t n = fread(text, 1, sizeof text - 1, from);
    assert_true(feof(from));
    fclose(from);
    text[n] = '\0';
    return text;
}

static struct dirty_qemu learn(const char *version, const char *schema, const char *kvm)
{
    struct dirty_qemu q = {0};
    char enabled[64];
    snprintf(enabled, sizeof enabled, "{\"enabled\":%s,\"present\":true}", kvm);
    const struct fake_step steps[] = {
        ACCEPT,
        {.what = FAKE_LOOSE, .command = "query-qmp-schema", .text = schema},
        {.what = FAKE_REPLY, .command = "query-kvm", .text = enabled},
        STEP(FAKE_REPLY, "query-memory-size-summary", "{\"base-memory\":268435456}", NULL),
        STEP(FAKE_REPLY, "query-status",
             "{\"running\":false,\"singlestep\":false,\"status\":\"paused\"}", NULL),
        STEP(FAKE_REPLY, "query-migrate", "{}", NULL),
        END};
    struct try t = usual();
    t.q = q;
    if (strcmp(version, "10.0") == 0) {
        struct fake_step new[sizeof steps / sizeof *steps];
        memcpy(new, steps, sizeof steps);
        new[4].text = "{\"running\":false,\"status\":\"paused\"}";
        run(&t, version, new, sizeof new / sizeof *new);
    } else {
        run(&t, version, steps, sizeof steps / sizeof *steps);
    }
    expect_fault(&t, ERR_REFUSED, "does not run");
    return t.q;
}

static void test_what_a_qemu_can_do(void **state)
{
    (void)state;
    struct dirty_qemu old = learn("7.2", recorded_schema("7.2"), "true");
    assert_true(old.known && !old.milliseconds && old.has_sample_pages && old.has_mode);
    assert_true(old.kvm && old.has_ring && old.has_bitmap && old.ram_bytes == 268435456);
    struct dirty_qemu new = learn("10.0", recorded_schema("10.0"), "false");
    assert_true(new.known &&new.milliseconds && !new.kvm);

    static const struct fake_step none[] = {
        ACCEPT,
        {.what = FAKE_LOOSE,
         .command = "query-qmp-schema",
         .text =
             "[{\"name\":\"cont\",\"meta-type\":\"command\",\"arg-type\":\"0\",\"ret-type\":\"0\"}]"},
        END};
    struct try t = usual();
    t.q.known = false;
    RUN(&t, none);
    expect_fault(&t, ERR_REFUSED, "has no calc-dirty-rate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_bitmap_under_kvm),
        cmocka_unit_test(test_only_sampling_under_tcg),
        cmocka_unit_test(test_a_ring_tells_of_vcpus),
        cmocka_unit_test(test_a_source_that_is_named),
        cmocka_unit_test(test_a_qemu_that_counts_in_seconds),
        cmocka_unit_test(test_a_qemu_without_modes),
        cmocka_unit_test(test_somebody_else_measures),
        cmocka_unit_test(test_the_budget_ends_the_waiting),
        cmocka_unit_test(test_a_guest_that_does_not_run),
        cmocka_unit_test(test_a_qemu_that_ends),
        cmocka_unit_test(test_no_rate_is_a_fault),
        cmocka_unit_test(test_windows_that_nobody_takes),
        cmocka_unit_test(test_what_a_qemu_can_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
