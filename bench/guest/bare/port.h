/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * x86 port I/O.
 */
#ifndef GODWIT_BENCH_GUEST_BARE_PORT_H
#define GODWIT_BENCH_GUEST_BARE_PORT_H

#include <stdint.h>

static inline void port_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* One instruction for COUNT bytes: under KVM that is one exit instead of COUNT. */
static inline void port_out8_string(uint16_t port, const void *bytes, uint32_t count)
{
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

#endif
