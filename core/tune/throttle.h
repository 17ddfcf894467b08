/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much slower a guest has to become so that passes shrink, and which of its vCPUs. Pure.
 *
 * A guest that is slowed down by a part does in a time what it else does in that part less of it: so what
 * it dirties then is on its curve (core/tune/curve.h) at the shorter time.
 */
#ifndef CORE_TUNE_THROTTLE_H
#define CORE_TUNE_THROTTLE_H

#include "core/tune/curve.h"

struct throttle_need {
    const struct curve *curve; /* of the guest undisturbed */
    double skew;               /* what it dirties now, as a part of what the curve says */
    double rate_bytes_per_s;   /* what is sent */
    double pass_bytes;         /* what passes begin with */
    double fits_bytes;         /* … and are to begin with */
};

/* The least slow-down, in percent and at least `from`, with which each pass from pass_bytes down to
 * fits_bytes begins with a quarter less than the one before. most_percent + 1: none up to that does. */
unsigned throttle_needed(const struct throttle_need *n, unsigned from, unsigned most_percent);

enum { THROTTLE_VCPUS_MAX = 256 };

struct throttle_vcpu {
    unsigned id;
    double bytes_per_s;       /* that it dirties undisturbed */
    double limit_bytes_per_s; /* 0: none */
};

/*
 * Sets the limits, so that all n together dirty `percent` less: the hottest are cut down to one level
 * first, but none by more than most_percent. Returns how many have one. What they dirty below that level is
 * theirs.
 */
size_t throttle_limit_vcpus(struct throttle_vcpu *v, size_t n, unsigned percent,
                            unsigned most_percent);

/* QEMU leaves a vCPU alone that is less than 25 MB/s above its limit. False: there is no limit, or
 * one that it would leave alone, and so they are no way to slow this guest down.
 * Source: QEMU 7.2 and 10.0, DIRTYLIMIT_TOLERANCE_RANGE in softmmu/dirtylimit.c. */
bool throttle_limits_hold(const struct throttle_vcpu *v, size_t n);

#endif
