/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a precopy migration will be like: from what the guest dirties, what the link carries and the costs
 * that are there always, to passes, time and pause.
 *
 * How QEMU's precopy goes, as far as it decides that (migration/migration.c, migration/ram.c; 7.2 and 10.0
 * are alike in all of this):
 *  - The first pass goes over all of RAM. A page of zeros costs 9 bytes, and the time to see that it is.
 *  - The loop sends for 50 ms (MAX_WAIT), or until nothing is left, or until max-bandwidth's share of
 *    100 ms (BUFFER_DELAY) is used up, and then compares what is left with bandwidth x downtime-limit;
 *    bandwidth is what it sent in the 100 ms before. Only when less is left it looks for what has become
 *    dirty (the bitmap's sync). If then still less is left it stops the guest and sends the rest; else it
 *    goes on. So a pass does not end with nothing left, but with somewhat less than that product.
 *  - In the pause max-bandwidth does not hold (RATE_LIMIT_DISABLED). All channels of multifd are one link
 *    here.
 *  - A page that is dirtied before it was sent in a pass, and after the sync, is counted again all the same,
 *    on guests of less than 1 GiB; on larger ones KVM's dirty log is cleared GiB by GiB when the pass comes
 *    there (clear_bmap), so that the later parts of RAM have less time to become dirty again.
 *
 * Pure, and deterministic: the same question has the same answer. It plays the loop above some hundred
 * times, each time with other values from the given intervals, and tells where 90 % of the games end.
 */
#ifndef CORE_TUNE_MODEL_H
#define CORE_TUNE_MODEL_H

#include "core/tune/curve.h"
#include "core/tune/estimate.h"

struct model_guest {
    uint64_t ram_bytes;
    struct estimate first_pass_bytes; /* of RAM, what is no zero page */
    struct curve curve;               /* as measured; an empty one dirties nothing */
    struct estimate
        skew; /* what it dirties while it is migrated, as a part of the curve: writes that
                             are tracked cost time, and a guest does not always do the same. {0}: 1 */
};

struct model_link {
    struct estimate bytes_per_s;  /* what can be sent, by the wire or by QEMU's own threads */
    double limit_bytes_per_s;     /* max-bandwidth; 0: none */
    struct estimate queued_bytes; /* handed over by QEMU and not sent yet: sockets hold so much */
    int64_t rtt_ns;               /* for those who ask; the costs have it in them */
};

struct model_costs {
    struct estimate begin_ns; /* from the command's begin to the first byte */
    struct estimate
        pause_ns; /* of the pause, beside the sending of RAM: the last sync, device state, the
                                 destination's load, resume */
    struct estimate end_ns; /* from the destination's resume to the command's end */
    struct estimate
        zero_bytes_per_s; /* how fast pages of zeros are found to be that; {0}: at once */
};

struct model_answer {
    bool converges;    /* more likely than not */
    double likelihood; /* of converging, 0 to 1 */
    /* Of those games that converge; where it does not, all are 0. `high` of total_ns is INFINITY where 5 %
     * or more do not. */
    struct estimate total_ns, pause_ns, bytes, passes;
    uint64_t
        floor_bytes; /* what is left when passes do not shrink any more, or at the switchover */
};

/* `limit_ns` is the downtime limit that QEMU is set to. */
void model_predict(const struct model_guest *guest, const struct model_link *link,
                   const struct model_costs *costs, int64_t limit_ns, struct model_answer *out);

/* Precopy that is cut short, whatever is left then. */
struct model_cut {
    unsigned passes; /* over RAM, at least 1 */
    bool
        postcopy; /* the guest goes over, and the rest after it; else it stands until all was sent */
};

void model_predict_cut(const struct model_guest *guest, const struct model_link *link,
                       const struct model_costs *costs, int64_t limit_ns,
                       const struct model_cut *cut, struct model_answer *out);

/* What is asked of a migration; 0: nothing. */
struct model_promise {
    int64_t pause_ns, total_ns;
};

/* Whether it is kept in 95 % of the games. */
bool model_keeps(const struct model_answer *a, const struct model_promise *p);

/*
 * The downtime limit to be set so that a promise is kept: the largest, but none above the promise, with which the
 * pause stays below it, for that ends soonest. 0: there is none. *out is what comes of it (of the nearest try, when
 * there is none).
 */
int64_t model_limit_for(const struct model_guest *guest, const struct model_link *link,
                        const struct model_costs *costs, const struct model_promise *promise,
                        struct model_answer *out);

/* The smallest promise of a pause that can be kept, and in *limit_ns the downtime limit for it. 0: none
 * can, for the migration does not converge with any limit up to 10 s. */
int64_t model_smallest_pause(const struct model_guest *guest, const struct model_link *link,
                             const struct model_costs *costs, int64_t *limit_ns);

/*
 * After a pass of `pass_ns`, during which so many distinct bytes were dirtied: the guest's skew moves to
 * what was seen, the more so the less certain it was, and its interval becomes narrower. What a pass of
 * less than 1 ms, or an empty curve, tells is nothing.
 */
void model_correct(struct model_guest *guest, int64_t pass_ns, double dirtied_bytes);

/* The same of the link: so much was sent in `sent_ns`, without a wait and without zero pages. */
void model_correct_link(struct model_link *link, int64_t sent_ns, double sent_bytes);

#endif
