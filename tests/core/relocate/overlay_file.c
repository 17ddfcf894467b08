/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/core/relocate/overlay_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

void overlay_file_write(const char *dir, const char *name, const char *backing)
{
    static uint8_t image[3 * 65536];
    CLEANUP_FREE char *path = NULL;
    memset(image, 0, sizeof image);
    memcpy(image, "QFI\xfb", 4);
    put32(image + 4, 2);
    if (*backing != '\0') {
        put32(image + 12, 1024);
        put32(image + 16, (uint32_t)strlen(backing));
        memcpy(image + 1024, backing, strlen(backing));
    }
    put32(image + 20, 16);        /* cluster bits */
    put32(image + 28, 1 << 20);   /* virtual size */
    put32(image + 36, 1);         /* L1 entries, */
    put32(image + 44, 65536);     /* their table */
    put32(image + 52, 2 * 65536); /* refcount table, */
    put32(image + 56, 1);         /* its clusters */
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(image, 1, sizeof image, f), sizeof image);
    assert_int_equal(fclose(f), 0);
}
