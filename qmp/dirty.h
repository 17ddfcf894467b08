/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running guest dirties, asked of its QEMU by calc-dirty-rate: one curve, whatever counted
 * (core/tune/curve.h). The guest runs on all the while; nothing is set.
 *
 * The three sources, and what of "distinct bytes dirtied in the window" each tells
 *  - dirty-bitmap (KVM without a dirty ring): the pages that KVM has seen written since the window began, each
 *    once. Exact, but for QEMU's rounding to MiB/s. It costs the guest a fault at the first write to each
 *    page, and its huge pages while it lasts.
 *  - page-sampling (any): pages drawn at random from all of RAM, whose checksums are compared. Unbiased but
 *    for pages that were written with what was there already: those count as clean, and a migration sends them. It
 *    costs the guest nothing but the host's processor time.
 *  - dirty-ring (KVM with -accel kvm,dirty-ring-size=N): entries of the rings, per vCPU. A page counts anew
 *    each time the ring was emptied, so in a window above a second, or with more dirty than a ring has
 *    room for, this is more than distinct bytes: an upper bound (dirty_ringed()). It costs as the bitmap does,
 *    and an exit each time a ring is full. On a KVM whose rings are never emptied (met: a nested one) the guest
 *    stands still for ever once the ring is full, migrating or not; so unless it is named, it is not used but
 *    for the rates of vCPUs, in one window, after all else.
 *  Under TCG only page-sampling counts: dirty-bitmap ends QEMU 7.2, and says 0 in 10.0.
 *
 * All three also count what the guest's devices and firmware write, and leave out RAM of other backends that
 * KVM and QEMU do not log (VFIO's, vhost-user's writes: page-sampling sees those).
 *
 * QEMU does one measurement at a time and cannot be told to end it: one of somebody else's is waited for, and
 * is not disturbed; one of ours that is given up goes on to its end, at most as long as its window.
 */
#ifndef QMP_DIRTY_H
#define QMP_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/tune/curve.h"
#include "qmp/client.h"
#include "qmp/dirty_answer.h"

#define DIRTY_WINDOW_MIN_NS (50 * NS_PER_MS) /* what QEMU takes */
#define DIRTY_WINDOW_MAX_NS (60 * NS_PER_S)

struct dirty_options {
    enum curve_source source; /* CURVE_NONE: the bitmap, or else sampling */
    /* Lengths of the windows, the shortest first. 0: 0.1, 0.3, 1 and 3 s; or 1, 2 and 4 s where this QEMU
     * takes only seconds. There others are rounded up to them, and those that are equal then are one. */
    int64_t windows_ns[CURVE_POINTS_MAX];
    size_t windows;
    int64_t budget_ns; /* for all; 0: what the windows need, and 10 s more. A window that would end
                          later is left out, if one was measured */
    bool vcpus;        /* the rates of vCPUs are wanted, too, if this VM has a dirty ring */
};

/* What a QEMU can do, and what was found out about it on the way. */
struct dirty_qemu {
    bool known;
    bool milliseconds;     /* calc-time-unit: since QEMU 8.2 */
    bool has_sample_pages; /* not in QEMU 5.2 */
    bool has_mode;         /* … and not before 6.1 or 6.2: then it samples */
    bool kvm;
    bool has_ring, has_bitmap; /* as modes of this QEMU */
    bool uses_ring;            /* the bitmap was refused: this VM has a ring */
    uint64_t ram_bytes;
};

struct dirty_vcpu {
    unsigned id;
    struct estimate
        bytes_per_s; /* as the ring counts: pages may have been counted more than once */
};

struct dirty_result {
    struct curve curve;
    struct dirty_vcpu vcpu[DIRTY_VCPUS_MAX];
    size_t vcpus; /* 0: nobody tells, or they were not asked for */
    int64_t vcpus_window_ns;
};

/* Asks once; dirty_measure() does it where it was not done. ERR_REFUSED: this QEMU has no such command. */
int dirty_learn(struct qmp_client *c, struct dirty_qemu *q, struct err *e);

/*
 * Measures all windows, one after another; turns the loop. An interrupt ends it (ERR_CANCELLED).
 * ERR_REFUSED: the guest does not run (e->sys EAGAIN), it is being migrated (EBUSY), or this VM does not
 * have the source that was named; ERR_USAGE: the windows; ERR_TIMEOUT: somebody else's measurement did not
 * end, or none of ours did, within the budget; ERR_LOST: QEMU ended. A guest that was stopped or migrated
 * meanwhile is the same as before: half of a measurement is none.
 */
int dirty_measure(struct loop *loop, struct qmp_client *c, const struct dirty_options *opt,
                  struct dirty_qemu *q, struct dirty_result *out, struct err *e);

#endif
