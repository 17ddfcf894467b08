/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others do with the downtime limit while a migration runs: each is a step function in place of the
 * controller, so that a benchmark compares them on the same route, guest and link. Pure.
 */
#ifndef CORE_TUNE_POLICY_H
#define CORE_TUNE_POLICY_H

#include "core/migrate/vm.h"

enum policy {
    POLICY_OURS,     /* core/tune/control.h itself */
    POLICY_DOUBLING, /* as Proxmox VE does: 100 ms, and twice as much after six looks, one a second, at
                        which more was left than at the one before (qemu-server, QemuMigrate.pm) */
    POLICY_RAMP, /* as OpenStack Nova's steps, with the values that KubeVirt's users set: 150 ms, and
                        150 ms more every 2 s, up to 1050 ms */
};

struct policy_state {
    enum policy policy;
    int64_t limit_ns;
    int64_t looked_ns; /* when it last looked; 0: never */
    uint64_t left_bytes;
    unsigned grown;
};

/* Of another than POLICY_OURS: the limit to begin with. */
int64_t policy_begin(struct policy_state *p, enum policy policy);

/* A sample in precopy. The new limit, or 0: it stays. */
int64_t policy_step(struct policy_state *p, const struct vm_sample *s, int64_t at_ns);

/* "godwit", "doubling", "ramp", NULL: in the order of enum policy. */
extern const char *const policy_names[];

#endif
