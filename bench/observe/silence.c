/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each sign of life closes the interval that the one before it opened. Up to the mark, an interval
 * goes into a histogram (how often signs come when nothing happens) and competes for the longest
 * silences before the mark; after it, only for the longest silences after it. An interval
 * that spans the mark belongs to the time after it, in full length.
 *
 * From the mark on the quiet level is known, and with it which silences are noticed: all of them, however
 * many, in the order in which they came. When there are more than there is room for the shortest gives way.
 *
 * The histogram's buckets are 64ths of a power of two, from 1 µs to 2^37 ns (137 s), which
 * keeps a quantile within 1 % of its value, whatever the period of the guest.
 */
#include "bench/observe/silence.h"

#include <string.h>

enum {
    BUCKET_FIRST_EXPONENT = 10,
    BUCKET_SUB_BITS = 6,
    BUCKET_SUBS = 1 << BUCKET_SUB_BITS,
    QUIET_PERCENT = 90,
};

static size_t bucket_of(int64_t ns)
{
    if (ns < INT64_C(1) << BUCKET_FIRST_EXPONENT)
        return 0;
    int exponent = 63 - __builtin_clzll((unsigned long long)ns);
    size_t sub = (size_t)(ns >> (exponent - BUCKET_SUB_BITS)) & (BUCKET_SUBS - 1);
    size_t at = (size_t)(exponent - BUCKET_FIRST_EXPONENT) * BUCKET_SUBS + sub;
    return at < SILENCE_BUCKETS ? at : SILENCE_BUCKETS - 1;
}

static int64_t bucket_middle_ns(size_t bucket)
{
    int exponent = BUCKET_FIRST_EXPONENT + (int)(bucket / BUCKET_SUBS);
    int64_t width_ns = INT64_C(1) << (exponent - BUCKET_SUB_BITS);
    return (BUCKET_SUBS + (int64_t)(bucket % BUCKET_SUBS)) * width_ns + width_ns / 2;
}

static int64_t quantile_ns(const struct silence *s, unsigned percent)
{
    if (s->intervals == 0)
        return -1;
    uint64_t rank = (s->intervals - 1) * percent / 100, seen = 0;
    size_t bucket = 0;
    while ((seen += s->histogram[bucket]) <= rank)
        bucket++;
    int64_t ns = bucket_middle_ns(bucket);
    return ns < s->max_interval_ns ? ns : s->max_interval_ns;
}

void silence_init(struct silence *s, const _Atomic int64_t *mark_ns)
{
    *s = (struct silence){.mark_ns = mark_ns,
                          .first_ns = -1,
                          .last_ns = -1,
                          .last_from = -1,
                          .max_interval_ns = -1,
                          .quiet_ns = -1,
                          .crossing.length_ns = -1};
}

static void silence_compete(struct silence_top *top, const struct observer_silence *silence)
{
    size_t at = top->n;
    while (at > 0 && top->at[at - 1].length_ns < silence->length_ns)
        at--;
    if (at == OBSERVER_SILENCES)
        return;
    if (top->n < OBSERVER_SILENCES)
        top->n++;
    memmove(&top->at[at + 1], &top->at[at], (top->n - 1 - at) * sizeof top->at[0]);
    top->at[at] = *silence;
}

/* The first of the shortest goes when there is no room. */
static void silence_keep(struct silence *s, const struct observer_silence *silence)
{
    size_t shortest = 0;
    if (s->noticed_n < OBSERVER_NOTICED) {
        s->noticed[s->noticed_n++] = *silence;
        return;
    }
    for (size_t i = 1; i < s->noticed_n; i++)
        if (s->noticed[i].length_ns < s->noticed[shortest].length_ns)
            shortest = i;
    if (s->noticed[shortest].length_ns >= silence->length_ns)
        return;
    memmove(&s->noticed[shortest], &s->noticed[shortest + 1],
            (s->noticed_n - 1 - shortest) * sizeof s->noticed[0]);
    s->noticed[s->noticed_n - 1] = *silence;
}

/* A silence after the mark. */
static void silence_notice(struct silence *s, const struct observer_silence *silence)
{
    if (s->quiet_ns < 0)
        s->quiet_ns = quantile_ns(s, QUIET_PERCENT); /* none comes to the histogram any more */
    if (s->quiet_ns < 0 ||
        silence->length_ns - silence->late_ns <= OBSERVER_QUIET_TIMES * s->quiet_ns)
        return;
    s->noticed_count++;
    s->noticed_sum_ns += silence->length_ns;
    silence_keep(s, silence);
}

static void silence_count_interval(struct silence *s, int64_t ns)
{
    s->histogram[bucket_of(ns)]++;
    s->intervals++;
    if (ns > s->max_interval_ns)
        s->max_interval_ns = ns;
}

static void silence_interval(struct silence *s, int64_t at_ns, int64_t mark_ns, int from)
{
    struct observer_silence silence = {.began_ns = s->last_ns,
                                       .length_ns = at_ns - s->last_ns,
                                       .from = s->last_from,
                                       .to = from,
                                       .late_ns = s->late_ns};
    if (at_ns <= mark_ns) {
        if (s->last_ns >= 0) { /* the wait for the first sign is no interval */
            silence_count_interval(s, silence.length_ns);
            silence_compete(&s->before, &silence);
        }
        return;
    }
    if (s->last_ns < 0) { /* dumb since the mark, for all we know */
        silence.began_ns = mark_ns;
        silence.length_ns = at_ns - mark_ns;
    }
    silence_compete(&s->after, &silence);
    silence_notice(s, &silence);
    if (silence.from >= 0 && silence.from != silence.to &&
        silence.length_ns > s->crossing.length_ns)
        s->crossing = silence;
}

void silence_add(struct silence *s, int64_t at_ns, int from)
{
    s->count++;
    if (at_ns <= s->last_ns)
        return;
    silence_interval(s, at_ns, atomic_load_explicit(s->mark_ns, memory_order_acquire), from);
    if (s->first_ns < 0)
        s->first_ns = at_ns;
    s->last_ns = at_ns;
    s->last_from = from;
    s->late_ns = 0;
}

void silence_late(struct silence *s, int64_t late_ns)
{
    if (late_ns > s->late_ns)
        s->late_ns = late_ns;
}

void silence_finish(struct silence *s, int64_t opened_ns, int64_t ended_ns,
                    struct observer_result *result)
{
    int64_t mark_ns = atomic_load_explicit(s->mark_ns, memory_order_acquire);
    bool marked = mark_ns != INT64_MAX;
    struct observer_silence open = {.open = true,
                                    .began_ns = s->last_ns,
                                    .from = s->last_from,
                                    .to = -1,
                                    .late_ns = s->late_ns};
    if (s->last_ns < 0)
        open.began_ns = marked ? mark_ns : opened_ns;
    open.length_ns = ended_ns > open.began_ns ? ended_ns - open.began_ns : 0;

    struct silence_top *top = marked ? &s->after : &s->before;
    silence_compete(top, &open);
    if (marked)
        silence_notice(s, &open);

    result->count = s->count;
    result->first_ns = s->first_ns;
    result->last_ns = s->last_ns;
    memcpy(result->silences, top->at, sizeof result->silences);
    result->silences_n = top->n;
    result->crossing = s->crossing;
    result->longest_silence_ns = top->at[0].length_ns;
    result->silence_began_ns = top->at[0].began_ns;
    memcpy(result->noticed, s->noticed, sizeof result->noticed);
    result->noticed_n = s->noticed_n;
    result->noticed_count = s->noticed_count;
    result->noticed_sum_ns = s->noticed_sum_ns;
    result->quiet_ns = quantile_ns(s, QUIET_PERCENT);
    result->median_interval_ns = quantile_ns(s, 50);
    result->p99_interval_ns = quantile_ns(s, 99);
    result->max_interval_ns = s->max_interval_ns;
}

/* ---- where a silence was ---- */

static bool silence_crosses(const struct observer_silence *s)
{
    return s->from >= 0 && s->to >= 0 && s->from != s->to;
}

void observer_find_pause(const struct observer_result *results, size_t n,
                         struct observer_pause *pause)
{
    for (size_t i = 0; i < n; i++) {
        const struct observer_silence *c = &results[i].crossing;
        if (c->length_ns < 0)
            continue;
        if (pause->stopped_ns < 0)
            pause->stopped_ns = c->began_ns;
        if (pause->resumed_ns < 0)
            pause->resumed_ns = c->began_ns + c->length_ns;
    }
}

enum observer_place observer_place(const struct observer_silence *s,
                                   const struct observer_pause *pause)
{
    int64_t until_ns = pause->resumed_ns >= 0 ? pause->resumed_ns : pause->stopped_ns;
    if (silence_crosses(s))
        return OBSERVER_SWITCHOVER;
    if (pause->stopped_ns < 0)
        return OBSERVER_PLACE_UNKNOWN;
    if (s->began_ns > until_ns)
        return OBSERVER_AFTER;
    return s->open || s->began_ns + s->length_ns >= pause->stopped_ns ? OBSERVER_SWITCHOVER
                                                                      : OBSERVER_BEFORE;
}

const char *observer_place_name(enum observer_place place)
{
    static const char *const names[] = {[OBSERVER_BEFORE] = "before",
                                        [OBSERVER_SWITCHOVER] = "switchover",
                                        [OBSERVER_AFTER] = "after"};
    return names[place];
}

/* By one observer; the longest ones and the crossing are all that it can be. */
static int64_t silence_of_switchover_ns(const struct observer_result *r,
                                        const struct observer_pause *pause, bool *open)
{
    int64_t longest_ns = r->crossing.length_ns;
    for (size_t i = 0; i < r->silences_n; i++) {
        const struct observer_silence *s = &r->silences[i];
        if (observer_place(s, pause) != OBSERVER_SWITCHOVER)
            continue;
        *open |= s->open;
        longest_ns = s->length_ns > longest_ns ? s->length_ns : longest_ns;
    }
    return longest_ns;
}

int64_t observer_switchover_ns(const struct observer_result *results, size_t n,
                               const struct observer_pause *pause, bool *open)
{
    int64_t worst_ns = -1;
    *open = false;
    for (size_t i = 0; i < n; i++) {
        int64_t ns = results[i].count > 0 ? silence_of_switchover_ns(&results[i], pause, open) : -1;
        worst_ns = ns > worst_ns ? ns : worst_ns;
    }
    return worst_ns;
}

size_t observer_announced_after(const struct observer_result *r, const struct observer_pause *pause)
{
    size_t n = 0;
    for (size_t i = 0; i < r->announced_n; i++)
        n += pause->stopped_ns < 0 || r->announced[i].at_ns >= pause->stopped_ns;
    return n;
}

const char *observer_announce_name(enum observer_announce_kind kind)
{
    static const char *const names[] = {[OBSERVER_RARP] = "rarp",
                                        [OBSERVER_GRATUITOUS_ARP] = "gratuitous-arp",
                                        [OBSERVER_UNSOLICITED_NA] = "unsolicited-na"};
    return names[kind];
}
