/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets have in common. Each gives its input to the callers of a parser, not to the
 * parser alone: what is found there is an error that is set twice, or not at all, as much as a crash.
 * err.c aborts on the first, as these are builds with ERR_STRICT.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                        \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s: line %d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

/* The rule of err.h: it went well and nothing is set, or it did not, and a reason is. */
static inline void fuzz_check_err(bool well, const struct err *e)
{
    REQUIRE(well == (e->class == ERR_NONE));
    REQUIRE(well || e->msg[0] != '\0');
}

/* As a text, to be freed: from memory of exactly that length, so that to read past it is seen. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* A file of it, in memory; its path is good for one call at a time. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);

#endif
