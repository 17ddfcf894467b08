/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The bare-metal guest's clock: the TSC, kept honest by the PIT.
 *
 * Theory of operation. Reading the TSC costs no exit, so it can be read once a page. But
 * it is the one clock that a migration may bend: it can jump, backwards too, and on another
 * host it can run at another rate. Hence
 *   - time only ever advances: a step backwards counts as none, one longer than
 *     CLOCK_STEP_MAX_NS as that, so no jump can make the guest stall or hurry for long;
 *   - the rate is measured anew, for ever, against the PIT's channel 0, which is part of
 *     the migrated state and counts at a rate that is fixed by its definition. The PIT
 *     wraps every 55 ms and a virtual CPU can lose more than that at any moment, so a window that is
 *     as long by the rate before tells nothing, and a new rate is believed only when two windows in a
 *     row agree on it. (One that is throttled loses the same again and again: there two agree on
 *     what is wrong, time then ran some ten times too slow, and stayed so.)
 */
#ifndef GODWIT_BENCH_GUEST_BARE_CLOCK_H
#define GODWIT_BENCH_GUEST_BARE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/guest/bare/port.h"

#define CLOCK_PIT_CHANNEL0 0x40
#define CLOCK_PIT_COMMAND 0x43
#define CLOCK_PIT_HZ 1193182u
#define CLOCK_WINDOW_NS 25000000u
#define CLOCK_WINDOW_MAX_NS 50000000u
#define CLOCK_WINDOW_PIT_TICKS (CLOCK_PIT_HZ / 40) /* the same 25 ms */
#define CLOCK_STEP_MAX_NS 100000000u
#define CLOCK_SHIFT 22
#define CLOCK_PIT_TICK_NS_SHIFTED (((uint64_t)1000000000u << CLOCK_SHIFT) / CLOCK_PIT_HZ)

struct clock {
    uint64_t now_ns;
    uint64_t tsc;        /* at now_ns */
    uint64_t fraction;   /* ns × 2^CLOCK_SHIFT not yet in now_ns */
    uint32_t mult;       /* ns × 2^CLOCK_SHIFT a tick */
    uint32_t step_max;   /* CLOCK_STEP_MAX_NS in ticks */
    uint32_t window_max; /* CLOCK_WINDOW_MAX_NS likewise; 0: no rate is known yet */
    uint32_t candidate;  /* mult that the last window saw */
    uint64_t window_tsc;
    uint16_t window_pit;
    uint64_t window_end_ns;
};

static inline uint64_t clock_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* DIVIDEND / DIVISOR; the quotient must fit in 32 bits, else UINT32_MAX. */
static inline uint32_t clock_divide(uint64_t dividend, uint32_t divisor)
{
    uint32_t quotient, remainder;

    if ((uint32_t)(dividend >> 32) >= divisor) {
        return UINT32_MAX;
    }
    __asm__("divl %4"
            : "=a"(quotient), "=d"(remainder)
            : "a"((uint32_t)dividend), "d"((uint32_t)(dividend >> 32)), "rm"(divisor)
            : "cc");
    return quotient;
}

/* Channel 0 counts down from 65536, for ever. */
static inline void clock_pit_start(void)
{
    port_out8(CLOCK_PIT_COMMAND, 0x34); /* channel 0, low then high byte, mode 2 */
    port_out8(CLOCK_PIT_CHANNEL0, 0);
    port_out8(CLOCK_PIT_CHANNEL0, 0);
}

static inline uint16_t clock_pit_read(void)
{
    uint8_t low;

    port_out8(CLOCK_PIT_COMMAND, 0x00); /* latch channel 0 */
    low = port_in8(CLOCK_PIT_CHANNEL0);
    return (uint16_t)(low | port_in8(CLOCK_PIT_CHANNEL0) << 8);
}

static inline void clock_window_open(struct clock *clock)
{
    clock->window_pit = clock_pit_read();
    clock->window_tsc = clock_tsc();
}

/* The mult that this window saw, 0 if the window is of no use. */
static inline uint32_t clock_window_mult(const struct clock *clock)
{
    uint16_t pit_ticks = (uint16_t)(clock->window_pit - clock_pit_read());
    uint64_t tsc_ticks = clock_tsc() - clock->window_tsc;

    if (tsc_ticks == 0 || tsc_ticks > UINT32_MAX ||
        (clock->window_max && tsc_ticks > clock->window_max)) {
        return 0;
    }
    return clock_divide(pit_ticks * CLOCK_PIT_TICK_NS_SHIFTED, (uint32_t)tsc_ticks);
}

static inline bool clock_agree(uint32_t a, uint32_t b)
{
    uint32_t difference = a > b ? a - b : b - a;

    return a && b && difference <= a / 64;
}

static inline void clock_set_mult(struct clock *clock, uint32_t mult)
{
    clock->mult = mult;
    clock->step_max = clock_divide((uint64_t)CLOCK_STEP_MAX_NS << CLOCK_SHIFT, mult);
    clock->window_max = clock_divide((uint64_t)CLOCK_WINDOW_MAX_NS << CLOCK_SHIFT, mult);
}

/* Close the window, adopt its rate if it confirms the one before, and open the next. */
static inline bool clock_window_next(struct clock *clock)
{
    uint32_t mult = clock_window_mult(clock);
    bool agreed = clock_agree(mult, clock->candidate);

    if (agreed) {
        clock_set_mult(clock, mult);
    }
    clock->candidate = mult;
    clock_window_open(clock);
    clock->window_end_ns = clock->now_ns + CLOCK_WINDOW_NS;
    return agreed;
}

/* Takes two windows or more: 50 ms on a quiet host. */
static inline void clock_start(struct clock *clock)
{
    clock_pit_start();
    clock_window_open(clock);
    do {
        while ((uint16_t)(clock->window_pit - clock_pit_read()) < CLOCK_WINDOW_PIT_TICKS) {
        }
    } while (!clock_window_next(clock));
    clock->tsc = clock_tsc();
}

static inline uint64_t clock_advance(struct clock *clock)
{
    uint64_t tsc = clock_tsc();
    int64_t step = (int64_t)(tsc - clock->tsc);

    clock->tsc = tsc;
    if (step < 0) {
        step = 0;
    } else if (step > clock->step_max) {
        step = clock->step_max;
    }
    clock->fraction += (uint64_t)(uint32_t)step * clock->mult;
    clock->now_ns += clock->fraction >> CLOCK_SHIFT;
    clock->fraction &= (1u << CLOCK_SHIFT) - 1;
    if (clock->now_ns >= clock->window_end_ns) {
        clock_window_next(clock);
    }
    return clock->now_ns;
}

#endif
