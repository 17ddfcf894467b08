/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known of the way between two hosts without sending anything to speak of: the speed of the card
 * that the source's packets leave by, and the round trip. Both may be unknown, and the card's speed is no
 * more than an upper bound: what is behind it may be slower, or be shared.
 */
#ifndef QMP_WIRE_H
#define QMP_WIRE_H

#include <stdint.h>

#include "qmp/shell.h"

struct wire {
    char device[32];      /* "": not known */
    uint64_t bytes_per_s; /* as the card's driver says; 0: it does not, as of most virtual ones */
    int64_t rtt_ns;       /* -1: no answer */
};

/* From the host of `s` to `host`, a name or an address there. What cannot be found out stays unknown; it takes
 * a second or two. */
void wire_look(struct shell *s, const char *host, struct wire *w);

/* What the script of wire_look() says: "DEVICE SPEED RTT", "-" for what it does not know. */
void wire_read(const char *said, struct wire *w);

#endif
