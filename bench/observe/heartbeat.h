/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The observer's side of the guests' heartbeat; bench/guest/heartbeat.h has the grammar.
 */
#ifndef GODWIT_BENCH_OBSERVE_HEARTBEAT_H
#define GODWIT_BENCH_OBSERVE_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

struct heartbeat {
    uint32_t seq;    /* beats before this one since boot, modulo 2^32 */
    uint32_t work;   /* pages dirtied since boot, modulo 2^32 */
    bool has_record; /* the guest writes records */
    uint32_t record; /* highest record known to be on its disk, modulo 2^32; 0: none */
};

/*
 * Parse LINE, NUL-terminated, with or without its line end ("\n" or "\r\n"). 0, or -1 with *OUT
 * untouched if it is no beat: another kind of line, or a beat that lost or gained a byte.
 */
int heartbeat_parse(const char *line, struct heartbeat *out);

/*
 * Parse LINE, likewise, as the guest's clock: *NS since an epoch of its own. 0, or -1 with *NS untouched.
 */
int heartbeat_parse_clock(const char *line, int64_t *ns);

#endif
