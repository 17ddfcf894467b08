/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QEMU's answer to query-dirty-rate is worth: from its whole MiB a second to the bytes that were
 * dirtied within the window, as an interval that has the rounding and the sampling error in it.
 * Pure, but for the reading of JSON. Source: QEMU 7.2 and 10.0, migration/dirtyrate.c.
 */
#ifndef QMP_DIRTY_ANSWER_H
#define QMP_DIRTY_ANSWER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/tune/curve.h"

enum dirty_status { DIRTY_UNSTARTED, DIRTY_MEASURING, DIRTY_MEASURED };

enum { DIRTY_VCPUS_MAX = 256 };

struct dirty_answer {
    enum dirty_status status;
    enum curve_source source; /* CURVE_NONE: one that we do not know */
    int64_t rate_mib_per_s;   /* rounded down; -1: not told, or none was found out */
    int64_t window_ns;        /* as it was; of a QEMU that counts in seconds rounded down */
    uint64_t sample_pages;    /* per GiB */
    size_t vcpus;             /* those told of; what is beyond the most is left out */
    uint16_t vcpu_id[DIRTY_VCPUS_MAX];
    int64_t vcpu_mib_per_s[DIRTY_VCPUS_MAX];
};

/* `milliseconds`: the answer has its window in them. ERR_PROTO names the field. */
int dirty_answer_read(struct json_object *answer, bool milliseconds, struct dirty_answer *a,
                      struct err *e);

/* "dirty-ring" … as QEMU calls them, or CURVE_NONE. */
enum curve_source dirty_source_of(const char *mode);

/*
 * Bytes within a window of `ns`, from a rate of whole MiB a second that was rounded down. The interval is
 * what the rounding hides: (rate, rate + 1) x time. `twice`: QEMU before 8.2 rounds the bytes down to a MiB
 * before it divides, so that another MiB may be hidden. `likely` is the middle, but of rate 0 it is 0.
 */
struct estimate dirty_counted(int64_t rate_mib_per_s, int64_t ns, bool twice);

/* The same of page sampling: `pages` drawn out of RAM of so many bytes; Wilson's interval around both
 * ends of the rounding. */
struct estimate dirty_sampled(int64_t rate_mib_per_s, int64_t ns, uint64_t pages,
                              uint64_t ram_bytes);

/*
 * The same of the dirty ring, whose entries are counted: a page is counted again each time that it is
 * written after the ring was emptied, which is once a second and whenever one is full (a ring has 1024
 * entries at least), and by each vCPU. `high` is the count, `low` what is left if each emptying found the
 * same pages, `likely` the count within a second, beyond that the geometric middle.
 */
struct estimate dirty_ringed(const struct dirty_answer *a, int64_t ns, bool twice);

/*
 * An answer for a window that was somewhat longer than the one asked for, brought to that length: no more is
 * dirtied in the shorter one, and no less than in proportion. `measured_ns` is what QEMU says of it, which leaves
 * out how long its last look had to wait; `longest_ns` is from our question to the answer that it is measured.
 */
struct estimate dirty_shortened(struct estimate bytes, int64_t asked_ns, int64_t measured_ns,
                                int64_t longest_ns);

#endif
