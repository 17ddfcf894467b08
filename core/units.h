/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes, rates and durations as people write them. The whole string must be understood: no
 * trailing junk, no sign, no overflow. On failure the value is left alone and the error (ERR_USAGE)
 * names the text and shows what is accepted.
 */
#ifndef CORE_UNITS_H
#define CORE_UNITS_H

#include <stdint.h>

#include "core/err.h"

/* "4096", "64K", "1.5G", "1MiB", "10MB": a bare letter and KiB are powers of 1024, KB of 1000. */
int units_parse_size(const char *text, uint64_t *bytes, struct err *e);

/* A size a second, "100M" or "100M/s"; or bits a second: "1gbit", "100mbit" (powers of 1000). */
int units_parse_rate(const char *text, uint64_t *bytes_per_s, struct err *e);

/* "250ms", "20us", "3s", "5m", "1h"; a bare number is refused: nobody agrees on its unit. */
int units_parse_duration(const char *text, int64_t *ns, struct err *e);

/* A whole decimal number between min and max, both allowed. */
int units_parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *n, struct err *e);

enum { UNITS_TEXT_MAX = 24 };

/* "1.50 GiB", "317 B" into buf, which is returned. */
const char *units_format_size(char buf[UNITS_TEXT_MAX], uint64_t bytes);

#endif
