/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may send on the connections that libnfs decodes, through the check that stands before
 * it. An input is one byte, which procedure was asked, and the answer. What passes is decoded by libnfs
 * from memory of exactly that length: it must be able to.
 */
#include "nfs/shape.h"
#include "tests/fuzz/fuzz.h"
#include "tests/nfs/libnfs_decode.h"

enum { HEAD_BYTES = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    char shown[SHAPE_SHOWN];
    if (size == 0)
        return 0;
    struct libnfs_proc proc = libnfs_proc(*data++);
    size--;
    shape_show(shown, data, size);
    REQUIRE(strlen(shown) < sizeof shown);
    enum shape_outcome outcome = shape_check(proc.program, proc.proc, data, size, &why);
    REQUIRE((outcome == SHAPE_NONSENSE) == (why != NULL));
    /* Behind the head, where the server's verifier is empty. */
    if (outcome == SHAPE_RESULTS && memcmp(data + 16, "\0\0\0\0", 4) == 0)
        REQUIRE(libnfs_decode(proc, data + HEAD_BYTES, size - HEAD_BYTES));
    return 0;
}
