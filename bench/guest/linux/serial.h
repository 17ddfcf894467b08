/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The Linux guest's heartbeat port, /dev/ttyS0. One line at a time, never blocking: if
 * nobody reads the port, lines are dropped, whole ones when possible.
 */
#ifndef GODWIT_BENCH_GUEST_LINUX_SERIAL_H
#define GODWIT_BENCH_GUEST_LINUX_SERIAL_H

#include <stddef.h>

/* 0, or -1 with errno. Once, before any thread sends. */
int serial_open(void);

/* Send LENGTH bytes, the last of which is "\n". Any thread. */
void serial_send(const char *line, size_t length);

/* Send a formatted line; the "\n" is added. Any thread. */
void serial_sendf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
