/* SPDX-License-Identifier: Apache-2.0 */
/* Time is simulated: nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/relocate/bucket.h"

enum { TAKERS_MAX = 16, KIB = 1024, MIB = 1024 * 1024 };

struct taker {
    uint32_t block_bytes;
    int64_t next_ns; /* when it asks again */
    uint64_t turns, bytes;
};

struct crowd {
    struct bucket bucket;
    struct taker takers[TAKERS_MAX];
    size_t n;
    int64_t late_ns; /* a taker wakes up later than it wanted by up to this */
    int64_t now_ns;
    uint64_t bytes;
    uint32_t random;
};

static int64_t crowd_late(struct crowd *c)
{
    c->random = c->random * 1664525 + 1013904223;
    return c->late_ns == 0 ? 0 : (int64_t)(c->random >> 8) % c->late_ns;
}

static void crowd_init(struct crowd *c, uint64_t rate, size_t n, uint32_t block_bytes)
{
    *c = (struct crowd){.n = n, .now_ns = 1000 * NS_PER_S, .random = 1};
    bucket_init(&c->bucket, rate, c->now_ns);
    for (size_t i = 0; i < n; i++)
        c->takers[i] = (struct taker){.block_bytes = block_bytes, .next_ns = c->now_ns};
}

/* Everybody takes as fast as it may, for so long. */
static void crowd_run(struct crowd *c, int64_t duration_ns)
{
    int64_t end_ns = c->now_ns + duration_ns;
    for (;;) {
        struct taker *t = &c->takers[0];
        for (size_t i = 1; i < c->n; i++)
            if (c->takers[i].next_ns < t->next_ns)
                t = &c->takers[i];
        if (t->next_ns >= end_ns)
            break;
        c->now_ns = t->next_ns;
        int64_t wait_ns = bucket_take(&c->bucket, t->block_bytes, c->now_ns);
        assert_in_range(wait_ns, 0, 100 * NS_PER_MS);
        if (wait_ns == 0) {
            t->turns++;
            t->bytes += t->block_bytes;
            c->bytes += t->block_bytes;
        }
        /* 5 us of work between one take and the next */
        t->next_ns += wait_ns > 0 ? wait_ns + crowd_late(c) : 5000;
    }
    c->now_ns = end_ns;
}

static void assert_near(uint64_t got, uint64_t want, unsigned per_mille)
{
    uint64_t slack = want * per_mille / 1000;
    if (got + slack < want || got > want + slack)
        fail_msg("%llu is not within %u per mille of %llu", (unsigned long long)got, per_mille,
                 (unsigned long long)want);
}

static void test_the_average_is_the_rate(void **state)
{
    (void)state;
    static const uint64_t rates[] = {
        500 * KIB,
        10 * MIB,
        117 * 1000 * 1000,
        UINT64_C(1250) * 1000 * 1000,
        UINT64_C(10) * 1000 * 1000 * 1000,
    };
    static const uint32_t blocks[] = {4096, 64 * KIB, MIB, 4 * MIB};
    for (size_t r = 0; r < 5; r++) {
        for (size_t k = 0; k < 4; k++) {
            for (size_t n = 1; n <= 16; n *= 4) {
                struct crowd c;
                if (rates[r] / blocks[k] * 5000 * 2 > NS_PER_S * n)
                    continue; /* such small blocks can't be had so fast */
                crowd_init(&c, rates[r], n, blocks[k]);
                c.late_ns = NS_PER_MS / 5;
                int64_t seconds = 2 + (int64_t)(200 * blocks[k] / rates[r]);
                crowd_run(&c, seconds * NS_PER_S);
                assert_near(c.bytes, rates[r] * (uint64_t)seconds, 10);
                bucket_destroy(&c.bucket);
            }
        }
    }
}

/* In no second, and in no 100 ms, much more or less than its share. */
static void test_no_moment_has_much_more_than_its_share(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c, 100 * MIB, 8, MIB);
    c.late_ns = NS_PER_MS;
    for (int i = 0; i < 100; i++) {
        uint64_t before = c.bytes;
        crowd_run(&c, 100 * NS_PER_MS);
        assert_in_range(c.bytes - before, 8 * MIB, 12 * MIB);
    }
    bucket_destroy(&c.bucket);
}

static void test_takers_share_alike(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c, 200 * MIB, 8, 256 * KIB);
    c.late_ns = NS_PER_MS / 10;
    crowd_run(&c, 60 * NS_PER_S);
    for (size_t i = 0; i < c.n; i++)
        assert_near(c.takers[i].bytes, c.bytes / c.n, 150);
    bucket_destroy(&c.bucket);
}

/* One that takes large blocks among many that take small ones has as many turns as they. */
static void test_large_blocks_are_not_starved(void **state)
{
    (void)state;
    struct crowd c;
    crowd_init(&c, 50 * MIB, 8, 4 * KIB);
    c.late_ns = NS_PER_MS / 10;
    c.takers[3].block_bytes = 4 * MIB;
    crowd_run(&c, 60 * NS_PER_S);
    uint64_t turns = 0;
    for (size_t i = 0; i < c.n; i++)
        turns += c.takers[i].turns;
    assert_in_range(c.takers[3].turns, turns / c.n / 2, turns / c.n * 2);
    assert_near(c.bytes, UINT64_C(60) * 50 * MIB, 10);
    bucket_destroy(&c.bucket);
}

/* One taker that sleeps exactly as long as it is told gets its turn then, not before. */
static void test_a_wait_is_as_long_as_asked(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1000003, 99999989, UINT64_C(12345678901)};
    for (size_t r = 0; r < 3; r++) {
        struct bucket b;
        int64_t now = 0;
        bucket_init(&b, rates[r], now);
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(bucket_take(&b, 65536, now), 0);
            int64_t wait = bucket_take(&b, 65536, now);
            assert_in_range(wait, 1, 100 * NS_PER_MS);
            assert_int_equal(bucket_take(&b, 65536, now + wait - 1), 1);
            now += wait;
        }
        assert_near((uint64_t)now, (uint64_t)(65536e3 / (double)rates[r] * 1e9), 1);
        bucket_destroy(&b);
    }
}

/* After a pause there is what 50 ms give, 4 MiB at most, and one block that is owed. */
static void test_a_pause_saves_little(void **state)
{
    (void)state;
    static const struct {
        uint64_t rate;
        uint32_t saved;
    } cases[] = {
        {20 * MIB, MIB},
        {MIB, MIB / 20},
        {UINT64_C(1000) * MIB, 4 * MIB},
        {UINT64_MAX, 4 * MIB},
    };
    for (size_t i = 0; i < 4; i++) {
        struct bucket b;
        bucket_init(&b, cases[i].rate, 0);
        uint64_t bytes = 0;
        int64_t now = INT64_C(100000) * NS_PER_S;
        while (bucket_take(&b, 4096, now) == 0)
            bytes += 4096;
        assert_in_range(bytes, cases[i].saved, cases[i].saved + 2 * 4096);
        bucket_destroy(&b);
    }
}

static void test_a_rate_of_0_is_no_limit(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bucket_take(&b, UINT32_MAX, 0), 0);
    bucket_destroy(&b);
}

/* Threads read the clock before they have the lock. */
static void test_times_may_come_out_of_order(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, MIB, 1000000);
    assert_int_equal(bucket_take(&b, 1048, 1000000), 0);
    assert_int_equal(bucket_take(&b, 1048, 1000000), 999451); /* 1048 / MIB s */
    assert_int_equal(bucket_take(&b, 1048, 999000), 999451 + 1000);
    assert_int_equal(bucket_take(&b, 1048, 1999451), 0);
    bucket_destroy(&b);
}

struct shared {
    struct bucket bucket;
    int64_t now_ns;
};

/* The rate holds also when threads ask at the same time. */
static void *thread_take(void *arg)
{
    struct shared *s = arg;
    uintptr_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        int64_t now = __atomic_add_fetch(&s->now_ns, 1000, __ATOMIC_RELAXED);
        taken += bucket_take(&s->bucket, 4096, now) == 0;
    }
    return (void *)taken;
}

static void test_threads_share_one_rate(void **state)
{
    (void)state;
    struct shared s = {0};
    pthread_t threads[4];
    bucket_init(&s.bucket, 100 * MIB, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_take, &s), 0);
    uint64_t blocks = 0;
    for (int i = 0; i < 4; i++) {
        void *taken;
        pthread_join(threads[i], &taken);
        blocks += (uintptr_t)taken;
    }
    /* 0.8 s in steps of 1 us; to the byte, as the bucket was never full */
    assert_near(blocks * 4096, (uint64_t)(0.8 * 100 * (double)MIB), 10);
    assert_int_equal(s.bucket.since_ns, 800 * NS_PER_MS);
    assert_int_equal(s.bucket.balance,
                     s.bucket.since_ns * 100 * MIB - (int64_t)(blocks * 4096) * NS_PER_S);
    bucket_destroy(&s.bucket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_average_is_the_rate),
        cmocka_unit_test(test_no_moment_has_much_more_than_its_share),
        cmocka_unit_test(test_takers_share_alike),
        cmocka_unit_test(test_large_blocks_are_not_starved),
        cmocka_unit_test(test_a_wait_is_as_long_as_asked),
        cmocka_unit_test(test_a_pause_saves_little),
        cmocka_unit_test(test_a_rate_of_0_is_no_limit),
        cmocka_unit_test(test_times_may_come_out_of_order),
        cmocka_unit_test(test_threads_share_one_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
