/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a long wire: what can be read from one descriptor, a frame a read, is written to
 * another, later, in the same order, and not all of it. (The two are taps; any that keep the borders
 * of messages will do.)
 */
#ifndef TOOLS_LAB_WIRE_WAY_H
#define TOOLS_LAB_WIRE_WAY_H

#include <stdint.h>

#include "core/err.h"

struct wire_terms {
    int64_t delay_ns,
        jitter_ns; /* each frame: delay, more or less up to jitter, which is not more */
    double loss;   /* the share of frames that is lost: 0 to 1 */
};

struct wire_counts {
    uint64_t frames, bytes; /* that were handed on */
    uint64_t lost;          /* as asked for */
    uint64_t full;          /* dropped for want of room: 64 MiB are on the way */
    int64_t late_max_ns;    /* how long after its time a frame was handed on, at most */
};

struct wire_way;

/* `from` must not block on read; both stay the caller's. */
struct wire_way *wire_way_new(int from, int to, const struct wire_terms *t, struct err *e);
void wire_way_free(struct wire_way *w);

/* Carries frames until one of the two descriptors is of no more use: its device, or its peer, is
 * gone. What was on the way then is lost, as in a wire that is cut. */
void wire_way_run(struct wire_way *w);

/* Of a way that has ended. */
const struct wire_counts *wire_way_counts(const struct wire_way *w);

#endif
