/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: a limit in bytes a second that several threads share.
 *
 *     int64_t wait_ns = bucket_take(b, block_bytes, clock_now_ns());
 *
 * Who takes may take more than there is, once, and then all wait until that is paid: so large
 * blocks are not starved by small ones, and one larger than the bucket needs no rule of its own.
 * What was not used is saved for 50 ms, at most 4 MiB of it: a thread that wakes up late costs
 * nothing, and a pause is not followed by a flood.
 */
#ifndef CORE_RELOCATE_BUCKET_H
#define CORE_RELOCATE_BUCKET_H

#include <pthread.h>
#include <stdint.h>

struct bucket {
    pthread_mutex_t lock;
    int64_t rate_bytes_per_s;
    int64_t most;     /* that is saved, in the unit of `balance` */
    int64_t balance;  /* in bytes * 10^9: what a second's rate gives in a nanosecond is whole */
    int64_t since_ns; /* the balance is that of this time */
};

/* A rate of 0: no limit. */
void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s, int64_t now_ns);
void bucket_destroy(struct bucket *b);

/* 0: taken. Else nothing was taken: the nanoseconds after which to ask again, at most 100 ms. Times may come out of order, as threads do. */
int64_t bucket_take(struct bucket *b, uint32_t bytes, int64_t now_ns);

#endif
