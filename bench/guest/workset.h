/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The memory load of both built-in guests: a working set of 4 KiB pages that is
 * dirtied page after page, round and round, at a set rate, and that proves at each
 * visit that the page still holds what was written there.
 *
 * Theory of operation. What a page must hold follows from two numbers, the page and the
 * pass in which it was last visited; nothing is stored per page. So a page that a migration
 * lost, delivered stale or swapped with another cannot agree with its own description.
 * Each page has
 *   - WORKSET_STAMPS words, spread over the page, written anew at each visit;
 *   - a background, written once when the working set is filled: a copy of one
 *     pseudo-random page, so that neither zero-page detection nor compression flatters
 *     a migration.
 * A visit compares all stamps and a few words of the background (others at each pass),
 * then writes the stamps of this pass. It is kept to some 80 instructions, for there are
 * accelerators that emulate each of them: nested KVM was seen at half a microsecond an
 * instruction. Hence also the template page: copying is one instruction a word, computing ten.
 *
 * Freestanding: no libc, and no 64-bit division, for the 32-bit guest has no libgcc.
 */
#ifndef GODWIT_BENCH_GUEST_WORKSET_H
#define GODWIT_BENCH_GUEST_WORKSET_H

#include <stdbool.h>
#include <stdint.h>

#define WORKSET_PAGE_BYTES 4096u
#define WORKSET_PAGE_WORDS (WORKSET_PAGE_BYTES / 4)
#define WORKSET_STAMPS 4u
#define WORKSET_STAMP_STRIDE (WORKSET_PAGE_WORDS / WORKSET_STAMPS)
#define WORKSET_WINDOW_WORDS 4u

struct workset {
    volatile uint32_t *words; /* page-aligned; volatile: a hypervisor is at the other side of it */
    uint32_t pages;
    uint32_t cursor;  /* next page to visit */
    uint32_t pass;    /* 0: being filled */
    uint32_t work;    /* pages dirtied after the fill, modulo 2^32 */
    uint32_t corrupt; /* visits that found a foreign word */
    struct {
        uint32_t page, want, got;
    } last_corrupt;
    uint32_t template[WORKSET_PAGE_WORDS];
};

/* A bijection on 32 bits that leaves no visible pattern in consecutive inputs. */
static inline uint32_t workset_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x9e3779b1u;
    x ^= x >> 15;
    x *= 0xc2b2ae3du;
    x ^= x >> 14;
    return x;
}

/* All stamps of one visit follow from this one. */
static inline uint32_t workset_stamp(uint32_t page, uint32_t pass)
{
    return workset_mix(page + pass * 0x85ebca6bu);
}

static inline uint32_t workset_stamp_word(uint32_t stamp, uint32_t slot)
{
    return stamp + slot * 0x9e3779b9u;
}

/* WORDS is page-aligned memory of PAGES pages, at least one. */
static inline void workset_start(struct workset *ws, volatile void *words, uint32_t pages)
{
    ws->words = words;
    ws->pages = pages;
    ws->cursor = ws->pass = ws->work = ws->corrupt = 0;
    for (uint32_t i = 0; i < WORKSET_PAGE_WORDS; i++) {
        ws->template[i] = workset_mix(i + 1);
    }
}

static inline void workset_note_corrupt(struct workset *ws, uint32_t want, uint32_t got)
{
    ws->last_corrupt.page = ws->cursor;
    ws->last_corrupt.want = want;
    ws->last_corrupt.got = got;
    ws->corrupt++;
}

/* True if the page holds what the previous pass left; else the first foreign word is noted. */
static inline bool workset_verify(struct workset *ws, const volatile uint32_t *page_words)
{
    uint32_t stamp = workset_stamp(ws->cursor, ws->pass - 1);
    /* Its first word is skipped, as it may be a stamp. */
    uint32_t window = ws->pass * WORKSET_WINDOW_WORDS % WORKSET_PAGE_WORDS;

    for (uint32_t slot = 0; slot < WORKSET_STAMPS; slot++) {
        uint32_t got = page_words[slot * WORKSET_STAMP_STRIDE];

        if (got != workset_stamp_word(stamp, slot)) {
            workset_note_corrupt(ws, workset_stamp_word(stamp, slot), got);
            return false;
        }
    }
    for (uint32_t i = window + 1; i < window + WORKSET_WINDOW_WORDS; i++) {
        uint32_t got = page_words[i];

        if (got != ws->template[i]) {
            workset_note_corrupt(ws, ws->template[i], got);
            return false;
        }
    }
    return true;
}

static inline void workset_fill_page(const struct workset *ws, volatile uint32_t *page_words)
{
#if defined(__i386__)
    /* See above: one emulated instruction a word instead of the five of a loop. */
    const uint32_t *from = ws->template;
    uint32_t count = WORKSET_PAGE_WORDS;

    __asm__ volatile("rep movsl" : "+S"(from), "+D"(page_words), "+c"(count) : : "memory");
#else
    for (uint32_t i = 0; i < WORKSET_PAGE_WORDS; i++) {
        page_words[i] = ws->template[i];
    }
#endif
}

static inline bool workset_is_filled(const struct workset *ws)
{
    return ws->pass > 0;
}

/*
 * Visit the next page: fill it during pass 0, verify and dirty it afterwards. False if the
 * page held a foreign word; it is then described in last_corrupt and repaired, so that each
 * corruption is reported once.
 */
static inline bool workset_visit(struct workset *ws)
{
    volatile uint32_t *page_words = ws->words + (uintptr_t)ws->cursor * WORKSET_PAGE_WORDS;
    uint32_t stamp = workset_stamp(ws->cursor, ws->pass);
    bool ok = true;

    if (workset_is_filled(ws)) {
        ok = workset_verify(ws, page_words);
        ws->work++;
    }
    if (!workset_is_filled(ws) || !ok) {
        workset_fill_page(ws, page_words);
    }
    for (uint32_t slot = 0; slot < WORKSET_STAMPS; slot++) {
        page_words[slot * WORKSET_STAMP_STRIDE] = workset_stamp_word(stamp, slot);
    }
    if (++ws->cursor == ws->pages) {
        ws->cursor = 0;
        ws->pass++;
    }
    return ok;
}

/*
 * Pacing: elapsed time earns credit, a page costs some. The credit that a guest can save up is
 * bounded, so that after a pause (or a clock that jumped) it goes on at its rate instead
 * of bursting: the point of the load is a known dirty rate.
 *
 * Credit is in byte·ns/s: elapsed_ns × bytes_per_s, which needs no division.
 */
#define PACER_PAGE_COST ((uint64_t)WORKSET_PAGE_BYTES * 1000000000u)
#define PACER_SAVED_MAX_NS 20000000u
#define PACER_RATE_MAX_BYTES_PER_S UINT32_MAX

struct pacer {
    uint32_t bytes_per_s;
    uint64_t last_ns;
    uint64_t credit;
    uint64_t credit_max;
};

static inline void pacer_start(struct pacer *pacer, uint32_t bytes_per_s, uint64_t now_ns)
{
    pacer->bytes_per_s = bytes_per_s;
    pacer->last_ns = now_ns;
    pacer->credit = 0;
    pacer->credit_max = (uint64_t)PACER_SAVED_MAX_NS * bytes_per_s + PACER_PAGE_COST;
}

/* Account the time up to NOW_NS, which is monotonic. */
static inline void pacer_advance(struct pacer *pacer, uint64_t now_ns)
{
    uint64_t elapsed_ns = now_ns - pacer->last_ns;

    if (elapsed_ns > PACER_SAVED_MAX_NS) {
        elapsed_ns = PACER_SAVED_MAX_NS;
    }
    pacer->credit += (uint64_t)(uint32_t)elapsed_ns * pacer->bytes_per_s;
    if (pacer->credit > pacer->credit_max) {
        pacer->credit = pacer->credit_max;
    }
    pacer->last_ns = now_ns;
}

/* True if a page is due; its cost is then paid. */
static inline bool pacer_take(struct pacer *pacer)
{
    if (pacer->credit < PACER_PAGE_COST) {
        return false;
    }
    pacer->credit -= PACER_PAGE_COST;
    return true;
}

#endif
