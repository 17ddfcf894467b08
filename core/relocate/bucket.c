/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/bucket.h"

#include "core/clock.h"

#define SAVED_PART 20 /* of a second */
#define SAVED_BYTES_MAX (INT64_C(4) << 20)
#define WAIT_NS_MAX (100 * NS_PER_MS)

/* Far above any device, and low enough for the sums below: a rate that is added to a balance, which
 * is between -UINT32_MAX and SAVED_BYTES_MAX times 10^9. */
#define RATE_MAX (INT64_C(1) << 60)

/* Pays in what the time since the last call gave. */
static void bucket_advance(struct bucket *b, int64_t now_ns)
{
    int64_t passed_ns = now_ns - b->since_ns;
    if (passed_ns <= 0)
        return;
    b->since_ns = now_ns;
    if (b->rate_bytes_per_s == 0)
        return;
    if (passed_ns > (b->most - b->balance) / b->rate_bytes_per_s)
        b->balance = b->most;
    else
        b->balance += b->rate_bytes_per_s * passed_ns;
}

void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s, int64_t now_ns)
{
    *b = (struct bucket){.since_ns = now_ns};
    pthread_mutex_init(&b->lock, NULL);
    b->rate_bytes_per_s = rate_bytes_per_s < RATE_MAX ? (int64_t)rate_bytes_per_s : RATE_MAX;
    int64_t saved_bytes = b->rate_bytes_per_s / SAVED_PART;
    b->most = (saved_bytes < SAVED_BYTES_MAX ? saved_bytes : SAVED_BYTES_MAX) * NS_PER_S;
}

void bucket_destroy(struct bucket *b)
{
    pthread_mutex_destroy(&b->lock);
}

int64_t bucket_take(struct bucket *b, uint32_t bytes, int64_t now_ns)
{
    int64_t wait_ns = 0;
    pthread_mutex_lock(&b->lock);
    bucket_advance(b, now_ns);
    if (b->rate_bytes_per_s > 0 && b->balance < 0)
        wait_ns = (-b->balance + b->rate_bytes_per_s - 1) / b->rate_bytes_per_s;
    else if (b->rate_bytes_per_s > 0)
        b->balance -= bytes * NS_PER_S;
    if (wait_ns > 0) /* of the caller's clock, which may be behind that of the last one */
        wait_ns += b->since_ns > now_ns ? b->since_ns - now_ns : 0;
    pthread_mutex_unlock(&b->lock);
    return wait_ns < WAIT_NS_MAX ? wait_ns : WAIT_NS_MAX;
}
