/* SPDX-License-Identifier: Apache-2.0 */
/* The tuner against models of a server, in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/relocate/tuner.h"

#define MIB (1u << 20)

static const struct tuner_setting max = {8, 32, MIB};

typedef double model_fn(const struct tuner_setting *s); /* MiB/s */

/* Runs for that long; how many MiB were done. */
static double simulate(struct tuner *t, model_fn *model, int64_t from_ns, int64_t for_ns)
{
    static double bytes;
    double before = bytes;
    for (int64_t now_ns = from_ns; now_ns < from_ns + for_ns; now_ns += 20 * NS_PER_MS) {
        bytes += model(&t->now) * MIB * 0.02;
        tuner_sample(t, (uint64_t)bytes, now_ns);
        assert_in_range(t->now.workers, 1, max.workers);
        assert_in_range(t->now.depth, 1, max.depth);
        assert_true(t->now.block_bytes <= max.block_bytes && t->now.block_bytes % 4096 == 0);
    }
    return (bytes - before) / MIB;
}

static double flat(const struct tuner_setting *s)
{
    (void)s;
    return 500;
}

/* 10 ms away: what is under way is what counts, up to the link's rate. */
static double far_away(const struct tuner_setting *s)
{
    double under_way = (double)s->workers * s->depth * s->block_bytes / MIB;
    double rate = under_way / 0.010;
    return rate < 10000 ? rate : 10000;
}

/* Each connection has its own limit. */
static double per_connection(const struct tuner_setting *s)
{
    return 200.0 * s->workers;
}

/* The server chokes on more than 8 blocks. */
static double choking(const struct tuner_setting *s)
{
    return s->workers * s->depth <= 8 ? 800 : 400;
}

static void test_leaves_alone_what_brings_nothing(void **state)
{
    (void)state;
    struct tuner t;
    tuner_init(&t, &max, 0);
    struct tuner_setting first = t.now;
    simulate(&t, flat, 0, 4 * NS_PER_S);
    assert_int_equal(t.base.workers, first.workers);
    assert_int_equal(t.base.depth, first.depth);
    assert_int_equal(t.base.block_bytes, first.block_bytes);
}

static void test_fills_a_long_link(void **state)
{
    (void)state;
    struct tuner t;
    tuner_init(&t, &max, 0);
    simulate(&t, far_away, 0, 10 * NS_PER_S);
    assert_true(far_away(&t.base) > 9000);
}

static void test_adds_connections(void **state)
{
    (void)state;
    struct tuner t;
    tuner_init(&t, &max, 0);
    simulate(&t, per_connection, 0, 10 * NS_PER_S);
    assert_int_equal(t.base.workers, max.workers);
}

static void test_takes_back_what_hurts(void **state)
{
    (void)state;
    struct tuner t;
    tuner_init(&t, &max, 0);
    double done = simulate(&t, choking, 0, 30 * NS_PER_S);
    assert_true(t.base.workers * t.base.depth <= 8);
    assert_true(done > 30 * 800 * 0.9); /* the trials cost less than a tenth */
}

/* What was best is not for ever. */
static void test_tries_again(void **state)
{
    (void)state;
    struct tuner t;
    tuner_init(&t, &max, 0);
    simulate(&t, flat, 0, 20 * NS_PER_S);
    unsigned before = t.base.workers;
    simulate(&t, per_connection, 20 * NS_PER_S, 20 * NS_PER_S);
    assert_true(t.base.workers > before);
}

static void test_it_stays_in_its_bounds(void **state)
{
    (void)state;
    const struct tuner_setting least = {1, 1, 4096};
    struct tuner t;
    tuner_init(&t, &least, 0);
    simulate(&t, far_away, 0, 3 * NS_PER_S);
    assert_int_equal(t.now.workers, 1);
    assert_int_equal(t.now.depth, 1);
    assert_int_equal(t.now.block_bytes, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves_alone_what_brings_nothing),
        cmocka_unit_test(test_fills_a_long_link),
        cmocka_unit_test(test_adds_connections),
        cmocka_unit_test(test_takes_back_what_hurts),
        cmocka_unit_test(test_tries_again),
        cmocka_unit_test(test_it_stays_in_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
