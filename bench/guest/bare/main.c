/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The bare-metal guest: a heartbeat on COM1 and a dirtied working set, and nothing else.
 *
 * Theory of operation. One loop reads the clock (clock.h), sends a beat when one is due
 * (heartbeat.h) and otherwise visits at most one page of the working set (workset.h), so the
 * load is spread evenly and delays a beat by one page at worst. It never sleeps: without
 * interrupts there is no wake-up that a migration, or an accelerator that emulates
 * badly, could lose, and the beat is as exact as the accelerator lets it be.
 *
 * The parameters are those that bare-guest-patch wrote into this image (params.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/guest/bare/clock.h"
#include "bench/guest/bare/params.h"
#include "bench/guest/bare/port.h"
#include "bench/guest/heartbeat.h"
#include "bench/guest/workset.h"

#define MULTIBOOT_LOADER_MAGIC 0x2badb002u
#define MULTIBOOT_HAS_MEMORY 0x1u
#define MEM_UPPER_START 0x100000u

#define COM1 0x3f8
#define COM_DATA (COM1 + 0)
#define COM_INTERRUPT_ENABLE (COM1 + 1)
#define COM_FIFO_CONTROL (COM1 + 2)
#define COM_LINE_CONTROL (COM1 + 3)
#define COM_MODEM_CONTROL (COM1 + 4)
#define COM_LINE_STATUS (COM1 + 5)
#define COM_LINE_STATUS_THRE 0x20
#define COM_FIFO_BYTES 16u
/* How long to look at a FIFO that does not drain before its line is given up: some 200 µs. */
#define COM_PATIENCE_TSC 500000u

struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower_kib;
    uint32_t mem_upper_kib; /* from 1 MiB to the first hole */
};

struct guest {
    struct clock clock;
    struct workset workset;
    struct pacer pacer;
    uint64_t period_ns;
    uint64_t next_beat_ns;
    uint32_t seq;
    uint32_t corrupt_reported;
    bool line_truncated;
};

/* Volatile: the compiler must not use the values it sees here, they are patched later. */
static const volatile struct bare_params params
    __attribute__((section(".godwit.params"), used, aligned(16))) = {
        .magic = BARE_PARAMS_MAGIC,
        .version = BARE_PARAMS_VERSION,
        .size_bytes = sizeof(struct bare_params),
        .working_set_bytes = 64u << 20,
        .dirty_rate_bytes_per_s = 20u << 20,
        .period_us = 1000,
};

static struct guest guest;

void guest_main(uint32_t loader_magic, const struct multiboot_info *info);

static void serial_start(void)
{
    port_out8(COM_INTERRUPT_ENABLE, 0x00);
    port_out8(COM_LINE_CONTROL, 0x80); /* divisor latch */
    port_out8(COM_DATA, 0x01);         /* 115200 baud */
    port_out8(COM_INTERRUPT_ENABLE, 0x00);
    port_out8(COM_LINE_CONTROL, 0x03); /* 8n1 */
    port_out8(COM_FIFO_CONTROL, 0x07); /* FIFOs on and empty */
    port_out8(COM_MODEM_CONTROL, 0x03);
}

static bool serial_drained(void)
{
    uint64_t start = clock_tsc();

    do {
        if (port_in8(COM_LINE_STATUS) & COM_LINE_STATUS_THRE) {
            return true;
        }
        /* A TSC that a migration set back makes the difference huge, which ends this too. */
    } while (clock_tsc() - start < COM_PATIENCE_TSC);
    return false;
}

/* Returns how many bytes went out: fewer than COUNT if the FIFO stayed full. */
static uint32_t serial_write(const char *bytes, uint32_t count)
{
    uint32_t done = 0;

    while (done < count && serial_drained()) {
        uint32_t chunk = count - done < COM_FIFO_BYTES ? count - done : COM_FIFO_BYTES;

        port_out8_string(COM_DATA, bytes + done, chunk);
        done += chunk;
    }
    return done;
}

/* Send a line, or nothing, or (when the reader stops in its middle) a part of it. */
static void send_line(const char *line, uint32_t length)
{
    if (guest.line_truncated && serial_write("\n", 1) < 1) {
        return;
    }
    guest.line_truncated = serial_write(line, length) % length != 0;
}

static char *put_text(char *p, const char *text)
{
    while (*text) {
        *p++ = *text++;
    }
    return p;
}

static char *put_decimal(char *p, uint64_t value)
{
    char digits[20];
    int n = 0;

    do {
        /* Two 32-bit steps make the 64-bit division that the compiler may not call out for. */
        uint32_t high = (uint32_t)(value >> 32);
        uint32_t low = (uint32_t)value;
        uint32_t quotient_low = clock_divide((uint64_t)(high % 10) << 32 | low, 10);

        digits[n++] = (char)('0' + (low - quotient_low * 10));
        value = (uint64_t)(high / 10) << 32 | quotient_low;
    } while (value);
    while (n > 0) {
        *p++ = digits[--n];
    }
    return p;
}

static void send_banner(void)
{
    char line[128];
    char *p = put_text(line, "GODWIT-GUEST bare 1 period_us=");

    p = put_decimal(p, params.period_us);
    p = put_text(p, " working_set=");
    p = put_decimal(p, params.working_set_bytes);
    p = put_text(p, " rate=");
    p = put_decimal(p, params.dirty_rate_bytes_per_s);
    p = put_text(p, "\n");
    send_line(line, (uint32_t)(p - line));
}

static void send_corrupt(void)
{
    const struct workset *ws = &guest.workset;
    char line[80];
    char *p = put_text(line, "CORRUPT page=");

    p = heartbeat_put_hex8(p, ws->last_corrupt.page);
    p = put_text(p, " want=");
    p = heartbeat_put_hex8(p, ws->last_corrupt.want);
    p = put_text(p, " got=");
    p = heartbeat_put_hex8(p, ws->last_corrupt.got);
    p = put_text(p, " total=");
    p = heartbeat_put_hex8(p, ws->corrupt);
    p = put_text(p, "\n");
    send_line(line, (uint32_t)(p - line));
    guest.corrupt_reported = ws->corrupt;
}

static void send_beat(uint64_t now_ns)
{
    char line[HEARTBEAT_LINE_MAX];

    send_line(line, heartbeat_format(line, guest.seq++, guest.workset.work, NULL));
    /* Only the last one since the last beat: a reader of beats must not drown. */
    if (guest.corrupt_reported != guest.workset.corrupt) {
        send_corrupt();
    }
    guest.next_beat_ns += guest.period_ns;
    if (guest.next_beat_ns <= now_ns) {
        guest.next_beat_ns = now_ns + guest.period_ns;
    }
}

static _Noreturn void halt(const char *why)
{
    char line[128];
    char *p = put_text(put_text(put_text(line, "ERROR "), why), "\n");

    send_line(line, (uint32_t)(p - line));
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static void check_memory(uint32_t loader_magic, const struct multiboot_info *info)
{
    uint64_t ram_end;

    if (loader_magic != MULTIBOOT_LOADER_MAGIC || !(info->flags & MULTIBOOT_HAS_MEMORY)) {
        halt("the loader is not multiboot, or does not tell the size of memory");
    }
    ram_end = MEM_UPPER_START + ((uint64_t)info->mem_upper_kib << 10);
    if (ram_end < BARE_WORKSET_START + params.working_set_bytes) {
        halt("the working set does not fit in memory");
    }
}

static _Noreturn void run(void)
{
    guest.next_beat_ns = clock_advance(&guest.clock);
    for (;;) {
        uint64_t now_ns = clock_advance(&guest.clock);

        pacer_advance(&guest.pacer, now_ns);
        if (now_ns >= guest.next_beat_ns) {
            send_beat(now_ns);
        } else if (!workset_is_filled(&guest.workset) || pacer_take(&guest.pacer)) {
            workset_visit(&guest.workset);
        }
    }
}

void guest_main(uint32_t loader_magic, const struct multiboot_info *info)
{
    serial_start();
    send_banner();
    check_memory(loader_magic, info);
    workset_start(&guest.workset, (volatile void *)BARE_WORKSET_START,
                  (uint32_t)(params.working_set_bytes / WORKSET_PAGE_BYTES));
    guest.period_ns = (uint64_t)params.period_us * 1000;
    clock_start(&guest.clock);
    pacer_start(&guest.pacer, params.dirty_rate_bytes_per_s, clock_advance(&guest.clock));
    run();
}
