/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench/guest/linux/params.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "bench/guest/size_arg.h"
#include "bench/guest/workset.h"

#define PARAMS_PREFIX "godwit."
#define PARAMS_WORKING_SET_MAX_BYTES ((uint64_t)1 << 40)

static bool parse_ip(struct params *params, const char *text)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    uint64_t prefix_length;
    struct in_addr ip;

    if (!slash || (size_t)(slash - text) >= sizeof(address) ||
        !size_arg_parse(slash + 1, 32, &prefix_length) || prefix_length == 0) {
        return false;
    }
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (inet_pton(AF_INET, address, &ip) != 1) {
        return false;
    }
    params->has_ip = true;
    params->ip = ip;
    params->netmask.s_addr = htonl(UINT32_MAX << (32 - prefix_length));
    return true;
}

static bool parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
    uint64_t number;

    if (!size_arg_parse(text, max, &number) || number < min) {
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

static bool parse_working_set(const char *text, uint64_t *value)
{
    uint64_t bytes;

    if (!size_arg_parse(text, PARAMS_WORKING_SET_MAX_BYTES, &bytes) || bytes % WORKSET_PAGE_BYTES) {
        return false;
    }
    *value = bytes;
    return true;
}

static bool parse_word(struct params *params, const char *key, const char *value)
{
    if (strcmp(key, "ip") == 0) {
        return parse_ip(params, value);
    }
    if (strcmp(key, "period_us") == 0) {
        return parse_u32(value, 100, 10000000, &params->period_us);
    }
    if (strcmp(key, "working_set") == 0) {
        return parse_working_set(value, &params->working_set_bytes);
    }
    if (strcmp(key, "dirty_rate") == 0) {
        return parse_u32(value, 0, PACER_RATE_MAX_BYTES_PER_S, &params->dirty_rate_bytes_per_s);
    }
    if (strcmp(key, "records_per_s") == 0) {
        return parse_u32(value, 0, 10000, &params->records_per_s);
    }
    return false;
}

int params_parse(struct params *params, char *cmdline, char *bad, size_t bad_size)
{
    char *rest = NULL;
    int result = 0;

    *params = (struct params){
        .period_us = 1000,
        .working_set_bytes = (uint64_t)32 << 20,
        .dirty_rate_bytes_per_s = (uint32_t)20 << 20,
        .records_per_s = 50,
    };
    for (char *word = strtok_r(cmdline, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *equals = strchr(word, '=');

        if (strncmp(word, PARAMS_PREFIX, strlen(PARAMS_PREFIX)) != 0) {
            continue;
        }
        if (equals) {
            *equals = '\0';
        }
        if (!equals || !parse_word(params, word + strlen(PARAMS_PREFIX), equals + 1)) {
            if (equals) {
                *equals = '=';
            }
            if (result == 0) {
                snprintf(bad, bad_size, "%s", word);
            }
            result = -1;
        }
    }
    return result;
}
