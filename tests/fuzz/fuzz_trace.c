/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of migrations that somebody has sent: read, and put through the controller, whatever numbers they have. */
#include "core/tune/replay.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace t;
    struct replay r;
    struct err e = {0}, replayed = {0};
    char *text = fuzz_text(data, size);
    FILE *from = size > 0 ? fmemopen(text, size, "r") : NULL;
    if (from != NULL) {
        int rc = trace_read(from, "a file", &t, &e);
        fuzz_check_err(rc == 0, &e);
        fclose(from);
        if (rc == 0) {
            fuzz_check_err(replay_run(&t, &r, &replayed) == 0, &replayed);
            replay_free(&r);
        }
        trace_free(&t);
    }
    free(text);
    return 0;
}
