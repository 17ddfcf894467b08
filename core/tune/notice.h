/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes worse than it was meant to, and is said by nobody: found in a migration's samples. Pure.
 */
#ifndef CORE_TUNE_NOTICE_H
#define CORE_TUNE_NOTICE_H

#include "core/migrate/vm.h"

enum notice_what {
    NOTICE_ZERO_COPY, /* what was to be sent without a copy is copied */
    NOTICE_BANDWIDTH, /* QEMU's estimate, by which it switches over, is far off what is sent */
    NOTICE_STARVED,   /* far less is sent than the link carries, and no limit is reached */
    NOTICE_IO_ERROR,  /* the guest was stopped by an I/O error: that is no switchover */
    NOTICE_POSTCOPY,  /* postcopy takes longer than what was left when it began */
    NOTICE_KINDS
};

struct notice {
    enum notice_what what;
    int64_t at_ns;   /* since the begin */
    const char *why; /* with the numbers, and what helps; kept (core/text.h) */
};

/* Starts as {0} with the first two. */
struct notice_state {
    uint64_t max_bandwidth_bytes_per_s; /* 0: no limit */
    double link_bytes_per_s; /* what this link has carried at least before; 0: not known */

    unsigned told; /* each is told once */
    int64_t from_ns;
    uint64_t from_sent_bytes, from_handled_bytes;
    double estimates_sum; /* of QEMU's, since then */
    unsigned estimates;
    double best_bytes_per_s, last_bytes_per_s; /* on the wire */
    unsigned starved, off;                     /* for how many windows in a row */
    int64_t postcopy_from_ns, postcopy_need_ns;
};

/* A sample of the source, in any phase. True: there is something to tell. */
bool notice_step(struct notice_state *n, const struct vm_sample *s, int64_t at_ns,
                 struct notice *out);

/* "zero-copy", "bandwidth", …: for --json. */
const char *notice_name(enum notice_what what);

#endif
