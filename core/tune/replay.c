/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tune/replay.h"

#include <errno.h>
#include <stdlib.h>

#include "core/text.h"

void replay_free(struct replay *r)
{
    free(r->decisions);
    *r = (struct replay){0};
}

static bool replay_same(const struct control_action *a, const struct control_action *b)
{
    return a->what == b->what && a->miss == b->miss &&
           (a->what != CONTROL_LIMIT || a->limit_ns == b->limit_ns) &&
           (a->what != CONTROL_THROTTLE || a->throttle_percent == b->throttle_percent) &&
           (a->what != CONTROL_VCPUS ||
            (a->throttle_percent == b->throttle_percent && a->vcpus_limited == b->vcpus_limited));
}

static int replay_note(struct replay *r, const struct control_action *now,
                       const struct control_action *then, struct err *e)
{
    if (now->what == CONTROL_NOTHING && then->what == CONTROL_NOTHING)
        return 0;
    struct replay_decision *all = reallocarray(r->decisions, r->n + 1, sizeof *all);
    if (all == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the decisions");
    r->decisions = all;
    all[r->n] =
        (struct replay_decision){.now = *now, .then = *then, .same = replay_same(now, then)};
    r->same &= all[r->n++].same;
    return 0;
}

static int replay_begin(const struct trace *t, struct control *c, struct replay *r, struct err *e)
{
    static const char why[] = "to begin with";
    const struct control_action now = {.what = CONTROL_LIMIT,
                                       .limit_ns = control_begin(c, t->limit_ns),
                                       .why = why},
                                then = {.what = CONTROL_LIMIT,
                                        .limit_ns = t->first_limit_ns,
                                        .why = why};
    return replay_note(r, &now, &then, e);
}

int replay_run(const struct trace *t, struct replay *out, struct err *e)
{
    struct control c;
    struct err no = {0};
    *out = (struct replay){.same = true, .refused_then = t->limit_ns < 0};
    struct control_plan plan = t->plan;
    plan.curve = t->inputs.curve.n > 0 ? &t->inputs.curve : NULL;
    plan.vcpu = t->inputs.vcpu;
    plan.vcpus = t->inputs.vcpus;
    if (control_init(&c, &plan, &no) < 0)
        out->refused_now = text_keep("%s", no.msg);
    out->same = (out->refused_now != NULL) == out->refused_then;
    if (out->refused_now != NULL || out->refused_then)
        return 0;
    if (replay_begin(t, &c, out, e) < 0)
        return -1;
    for (size_t i = 0; i < t->n; i++) {
        struct control_action now;
        control_step(&c, &t->samples[i].sample, t->samples[i].at_ns, &now);
        if (replay_note(out, &now, &t->samples[i].action, e) < 0)
            return -1;
    }
    return 0;
}
