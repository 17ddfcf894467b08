/* SPDX-License-Identifier: Apache-2.0 */
#include "core/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *suffix;
    double factor;
};

#define KI 1024.0

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"K", KI},
    {"KiB", KI},
    {"kB", 1e3},
    {"KB", 1e3},
    {"M", KI *KI},
    {"MiB", KI *KI},
    {"MB", 1e6},
    {"G", KI *KI *KI},
    {"GiB", KI *KI *KI},
    {"GB", 1e9},
    {"T", KI *KI *KI *KI},
    {"TiB", KI *KI *KI *KI},
    {"TB", 1e12},
};

static const struct unit bit_units[] = {
    {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8},
    {"Kbit", 1e3 / 8}, {"Mbit", 1e6 / 8}, {"Gbit", 1e9 / 8},
};

static const struct unit duration_units[] = {
    {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* A plain decimal ("12", "1.5"): strtod() alone would take signs, hex, "inf" and locale. */
static bool units_number(const char *text, double *value, const char **rest)
{
    size_t digits = strspn(text, "0123456789");
    size_t len = digits;
    if (digits == 0)
        return false;
    if (text[len] == '.') {
        size_t decimals = strspn(text + len + 1, "0123456789");
        if (decimals == 0)
            return false;
        len += 1 + decimals;
    }
    char digits_only[40];
    if (len >= sizeof digits_only)
        return false;
    memcpy(digits_only, text, len);
    digits_only[len] = '\0';
    *value = strtod(digits_only, NULL);
    *rest = text + len;
    return true;
}

/* 2^63, the first value that a signed 64-bit count of nanoseconds or file offset cannot hold. */
#define UNITS_LIMIT 9223372036854775808.0

static bool units_scaled(const char *text, const struct unit *units, size_t n, double *out)
{
    double value;
    const char *suffix;
    if (!units_number(text, &value, &suffix))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(suffix, units[i].suffix) == 0) {
            *out = value * units[i].factor;
            return *out < UNITS_LIMIT;
        }
    }
    return false;
}

int units_parse_size(const char *text, uint64_t *bytes, struct err *e)
{
    double value;
    if (!units_scaled(text, size_units, COUNT(size_units), &value))
        return err_set(e, ERR_USAGE, 0, "'%s' is not a size (try 64K, 1.5G, 10MB)", text);
    *bytes = (uint64_t)value;
    return 0;
}

int units_parse_rate(const char *text, uint64_t *bytes_per_s, struct err *e)
{
    double value;
    char rate[40];
    size_t len = strlen(text);
    bool fits = len < sizeof rate;
    if (fits) {
        memcpy(rate, text, len + 1);
        if (len > 2 && strcmp(rate + len - 2, "/s") == 0)
            rate[len - 2] = '\0';
    }
    if (!fits || (!units_scaled(rate, bit_units, COUNT(bit_units), &value) &&
                  !units_scaled(rate, size_units, COUNT(size_units), &value)))
        return err_set(e, ERR_USAGE, 0, "'%s' is not a rate (try 100M, 100M/s, 1gbit)", text);
    *bytes_per_s = (uint64_t)value;
    return 0;
}

int units_parse_duration(const char *text, int64_t *ns, struct err *e)
{
    double value;
    if (!units_scaled(text, duration_units, COUNT(duration_units), &value))
        return err_set(e, ERR_USAGE, 0, "'%s' is not a duration (try 300ms, 20s, 5m)", text);
    *ns = (int64_t)value;
    return 0;
}

int units_parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *n, struct err *e)
{
    size_t len = strlen(text);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (len == 0 || strspn(text, "0123456789") != len || errno != 0 || value < min || value > max)
        return err_set(e, ERR_USAGE, 0, "'%s' is not a whole number from %" PRIu64 " to %" PRIu64,
                       text, min, max);
    *n = value;
    return 0;
}

const char *units_format_size(char buf[UNITS_TEXT_MAX], uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t i = 0;
    while (value >= KI && i + 1 < COUNT(names)) {
        value /= KI;
        i++;
    }
    snprintf(buf, UNITS_TEXT_MAX, i == 0 ? "%.0f %s" : "%.2f %s", value, names[i]);
    return buf;
}
