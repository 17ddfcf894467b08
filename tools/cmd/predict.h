/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `godwit predict` finds out (tools/cmd/predict_look.c), what follows from it (tools/cmd/predict_judge.c,
 * pure) and how it is told (tools/cmd/report_predict.c).
 */
#ifndef TOOLS_CMD_PREDICT_H
#define TOOLS_CMD_PREDICT_H

#include "core/migrate/vm.h"
#include "core/tune/costs.h"
#include "core/tune/model.h"
#include "core/tune/promise.h"
#include "qmp/guest_memory.h"
#include "qmp/wire.h"
#include "tools/cmd/migrate_request.h"
#include "tools/cmd/migrate_sides.h"

enum predict_link_from {
    PREDICT_LINK_GUESSED, /* nothing is known */
    PREDICT_LINK_CARD,    /* at most the card's speed */
    PREDICT_LINK_LEARNED, /* earlier migrations between these hosts */
    PREDICT_LINK_GIVEN,   /* --link */
};

enum predict_limit_from { PREDICT_LIMIT_QEMU, PREDICT_LIMIT_GIVEN, PREDICT_LIMIT_CHOSEN };

/* All that goes into a prediction. */
struct predict_input {
    const char *route, *route_reason;
    const struct vm_settings *settings;
    struct promise promise;
    int64_t timeout_ns; /* 0: none */
    struct vm_facts source, destination;
    struct costs_key key;

    struct model_guest guest;
    struct guest_memory memory; /* .pages is 0: it could not be looked at */
    struct wire wire;
    enum predict_link_from link_from;
    struct model_link link;
    struct costs_found found;
    struct model_costs costs;
    int64_t limit_ns; /* in force without us */
};

enum predict_verdict {
    PREDICT_KEPT,      /* it converges, and keeps what was promised */
    PREDICT_NOT_KEPT,  /* it does not */
    PREDICT_UNCERTAIN, /* without a promise: what is known does not tell whether it converges */
};

enum { PREDICT_REMEDIES_MAX = 8 };

struct predict_result {
    enum predict_verdict verdict;
    struct model_answer answer; /* with limit_ns, and the throttling that is needed and allowed */
    int64_t limit_ns;
    enum predict_limit_from limit_from;
    unsigned throttle_percent; /* 0: it needs none */
    bool postcopy;             /* it is kept by postcopy, after one pass, and not without */
    struct estimate slowdown;  /* of the guest while it lasts, 0 to 1 */
    int64_t smallest_pause_ns; /* with which limit; 0: no pause is long enough */
    int64_t smallest_limit_ns;
    const char *why;                            /* of a verdict that is not KEPT; kept text */
    const char *remedies[PREDICT_REMEDIES_MAX]; /* kept texts */
    size_t remedies_n;
};

/* ---- what is found out ---- */

/*
 * Looks at both sides, at the guest's memory, what it dirties, the link and the costs; touches nothing, and
 * takes some seconds: what has passed since `began_ns` is in the ten of the whole. ERR_REFUSED: migrate would refuse it as well.
 */
int predict_look(struct migrate_sides *sides, const struct migrate_request *request,
                 uint64_t link_bytes_per_s, int64_t began_ns, struct predict_input *in,
                 struct err *e);

/* The parts of it that are pure. */
void predict_take_memory(struct predict_input *in);
void predict_take_link(struct predict_input *in, uint64_t given_bytes_per_s);
void predict_take_costs(struct predict_input *in);

/* ---- what follows ---- */

void predict_judge(const struct predict_input *in, struct predict_result *r);

/* ---- how it is told ---- */

void report_predict_text(const struct predict_input *in, const struct predict_result *r, FILE *to);
void report_predict_json(const struct predict_input *in, const struct predict_result *r,
                         const struct err *e, int64_t took_ns, FILE *to);

#endif
