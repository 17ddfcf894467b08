/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration as its controller saw it (core/tune/control.h): what was promised, what was known before, and
 * each sample with the action that followed. What is in it is all that the controller gets, so that it can be
 * put through the controller again (core/tune/replay.h), and decide the same.
 *
 * On disk it is one JSON object a line: a "begin", "sample"s, and an "end" without which it is not whole. Times
 * are whole nanoseconds, for a decision may hang on one. doc/json.md has the keys.
 */
#ifndef CORE_TUNE_TRACE_H
#define CORE_TUNE_TRACE_H

#include <stdio.h>

#include "core/tune/control.h"
#include "core/tune/costs.h"

/* Some days of a sample each 100 ms: what comes after them is counted, and not kept. */
enum { TRACE_SAMPLES_MAX = 2000000 };

struct trace_sample {
    int64_t at_ns;           /* since the begin of the stream */
    struct vm_sample sample; /* without `reason` */
    struct control_action action;
};

/* What was known beforehand. The plan has the curve and the vCPUs from here; of the rest the controller gets no
 * more than its plan has, and it is for those who ask why the plan was that. */
struct trace_inputs {
    struct curve curve;                            /* .n is 0: not measured */
    struct throttle_vcpu vcpu[THROTTLE_VCPUS_MAX]; /* without limits yet */
    size_t vcpus;
    struct costs_found found;
};

/* Starts as {0}. */
struct trace {
    char godwit[64], route[8]; /* who wrote it, and of which route it is */
    bool planned;              /* there is a plan: the begin was reached */
    struct control_plan plan;
    struct trace_inputs inputs;
    int64_t limit_ns;       /* what control_begin() was given; -1: it was refused before */
    int64_t first_limit_ns; /* and what it answered */

    struct trace_sample *samples;
    size_t n, room, dropped;

    /* what came of it */
    char result[16];     /* "done", "failed", "refused", "cancelled", "uncertain", "incomplete" */
    int64_t total_ns;    /* -1: not known */
    int64_t downtime_ns; /* STOP to RESUME; -1: not seen */
};

/* A new one: what was recorded before is forgotten. NULL is fine, here and below: nothing is recorded. */
void trace_plan(struct trace *t, const struct control_plan *plan);
void trace_begin(struct trace *t, int64_t limit_ns, int64_t first_limit_ns);
void trace_add(struct trace *t, const struct vm_sample *s, int64_t at_ns,
               const struct control_action *a);

/* -1: ERR_IO, it could not be written. */
int trace_write(const struct trace *t, FILE *to, struct err *e);

/* `name` is for messages. ERR_REFUSED: "NAME:LINE: …", it is no trace, of another schema, not whole, or has
 * what this godwit does not know; *t is empty then. */
int trace_read(FILE *from, const char *name, struct trace *t, struct err *e);

void trace_free(struct trace *t);

#endif
