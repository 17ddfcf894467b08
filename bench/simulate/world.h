/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One migration that does not take place: a guest, a link and a QEMU made of a few numbers, steered by the same
 * controller as a real one (core/tune/control.h). Pure, and the same for the same seed.
 *
 * QEMU's precopy is that of core/tune/model.h, which plays it without a controller and in fewer steps. Not in it:
 * multifd's threads, compression, what throttling costs beside the time that is taken, and how the guest finds
 * its pace again on the other side.
 */
#ifndef BENCH_SIMULATE_WORLD_H
#define BENCH_SIMULATE_WORLD_H

#include "core/tune/control.h"
#include "core/tune/model.h"

struct world_spec {
    struct model_guest guest;
    struct model_link link;
    struct model_costs costs;
    struct control_plan plan; /* but for limit_ns and wordless */
    int64_t limit_ns;         /* QEMU's downtime limit as it is set */
    int64_t longest_ns;       /* of precopy: what has not ended by then never does */
};

enum world_end {
    WORLD_DONE,
    WORLD_REFUSED, /* before it began */
    WORLD_ABORTED, /* the controller gave it up */
    WORLD_NEVER,   /* it went on until longest_ns */
    WORLD_ENDS,
};

struct world_result {
    enum world_end end;
    int64_t total_ns; /* of the command; of all but WORLD_REFUSED */
    int64_t pause_ns; /* the vCPUs' standstill; 0 but for WORLD_DONE */
    double bytes;
    unsigned passes, decisions, throttle_percent; /* the last is the most there was */
    bool kept;                                    /* done, and what was promised was kept */
};

void world_run(const struct world_spec *spec, uint64_t seed, struct world_result *out);

/* "done", "refused", … */
const char *world_end_name(enum world_end end);

/* What a guest dirties that writes its working set page after page, round and round, at a rate: as the built-in
 * guests do. */
struct curve world_round_curve(uint64_t ram_bytes, double working_set_bytes, double bytes_per_s);

#endif
