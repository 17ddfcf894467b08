/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * What is recorded stays in memory until the end: a disk that hangs must not hold up the controller, which near
 * the end has 5 ms from one sample to the next.
 */
#include "core/tune/trace.h"

#include <stdlib.h>
#include <string.h>

enum { TRACE_ROOM_FIRST = 256 };

void trace_free(struct trace *t)
{
    free(t->samples);
    *t = (struct trace){0};
}

void trace_plan(struct trace *t, const struct control_plan *plan)
{
    if (t == NULL)
        return;
    t->planned = true;
    t->plan = *plan;
    t->inputs.curve = plan->curve != NULL ? *plan->curve : (struct curve){0};
    t->inputs.vcpus = plan->vcpus <= THROTTLE_VCPUS_MAX ? plan->vcpus : 0;
    if (t->inputs.vcpus > 0)
        memcpy(t->inputs.vcpu, plan->vcpu, t->inputs.vcpus * sizeof *t->inputs.vcpu);
    t->plan.curve = NULL;
    t->plan.vcpu = NULL;
    t->plan.vcpus = 0;
    t->limit_ns = t->first_limit_ns = -1;
    t->total_ns = t->downtime_ns = -1;
    t->n = t->dropped = 0;
}

void trace_begin(struct trace *t, int64_t limit_ns, int64_t first_limit_ns)
{
    if (t == NULL)
        return;
    t->limit_ns = limit_ns;
    t->first_limit_ns = first_limit_ns;
}

static bool trace_make_room(struct trace *t)
{
    if (t->n < t->room)
        return true;
    if (t->n >= TRACE_SAMPLES_MAX)
        return false;
    size_t room = t->room > 0 ? 2 * t->room : TRACE_ROOM_FIRST;
    struct trace_sample *samples = realloc(t->samples, room * sizeof *samples);
    if (samples == NULL)
        return false;
    t->samples = samples;
    t->room = room;
    return true;
}

void trace_add(struct trace *t, const struct vm_sample *s, int64_t at_ns,
               const struct control_action *a)
{
    if (t == NULL)
        return;
    if (t->dropped > 0 || !trace_make_room(t)) {
        t->dropped++;
        return;
    }
    struct trace_sample *to = &t->samples[t->n++];
    *to = (struct trace_sample){.at_ns = at_ns, .sample = *s, .action = *a};
    to->sample.reason = NULL;
}
