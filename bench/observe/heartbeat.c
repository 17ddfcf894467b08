/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench/observe/heartbeat.h"

#include <string.h>

/* Parse " " and 8 lower-case digits at *TEXT, and step over them. */
static bool parse_field(const char **text, uint32_t *value)
{
    static const char digits[] = "0123456789abcdef";
    const char *p = *text;
    uint32_t number = 0;

    if (*p++ != ' ') {
        return false;
    }
    for (int i = 0; i < 8; i++, p++) {
        const char *digit = *p ? strchr(digits, *p) : NULL;

        if (!digit) {
            return false;
        }
        number = number << 4 | (uint32_t)(digit - digits);
    }
    *text = p;
    *value = number;
    return true;
}

static bool is_line_end(const char *text)
{
    return strcmp(text, "") == 0 || strcmp(text, "\n") == 0 || strcmp(text, "\r\n") == 0;
}

int heartbeat_parse(const char *line, struct heartbeat *out)
{
    struct heartbeat beat = {0};
    const char *p = line;

    if (*p++ != 'H' || !parse_field(&p, &beat.seq) || !parse_field(&p, &beat.work)) {
        return -1;
    }
    if (*p == ' ') {
        beat.has_record = true;
        if (!parse_field(&p, &beat.record)) {
            return -1;
        }
    }
    if (!is_line_end(p)) {
        return -1;
    }
    *out = beat;
    return 0;
}

int heartbeat_parse_clock(const char *line, int64_t *ns)
{
    static const char word[] = "CLOCK";
    const char *p = line + strlen(word);
    uint32_t high, low;

    if (strncmp(line, word, strlen(word)) != 0 || !parse_field(&p, &high) ||
        !parse_field(&p, &low) || !is_line_end(p) || high >= 1u << 21) {
        return -1;
    }
    *ns = (int64_t)((uint64_t)high << 32 | low) * 1000;
    return 0;
}
