/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sizes and rates on the command lines of the guests' small tools and of the guest kernel.
 */
#ifndef GODWIT_BENCH_GUEST_SIZE_ARG_H
#define GODWIT_BENCH_GUEST_SIZE_ARG_H

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Parse TEXT as a whole: decimal digits, then nothing or one of K, M, G, T (powers of 1024).
 * False, with *VALUE untouched, for anything else and for what exceeds MAX.
 */
static inline bool size_arg_parse(const char *text, uint64_t max, uint64_t *value)
{
    static const char units[] = "KMGT";
    unsigned long long number;
    int shift = 0;
    char *end;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno) {
        return false;
    }
    if (*end) {
        const char *unit = strchr(units, *end);

        if (!unit || end[1]) {
            return false;
        }
        shift = 10 * (int)(unit - units + 1);
    }
    if (number > max >> shift) {
        return false;
    }
    *value = (uint64_t)number << shift;
    return true;
}

#endif
