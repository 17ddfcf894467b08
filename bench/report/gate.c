/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/gate.h"

/* The longest since the guest's stop, *again: after it had come back. TRIAL_NEVER: not measured. */
static int64_t gate_silence_ns(const struct trial *t, bool *again)
{
    int64_t longest_ns = t->end == TRIAL_DONE ? trial_silence_ns(t) : TRIAL_NEVER;
    *again = false;
    for (size_t i = 0; longest_ns != TRIAL_NEVER && i < t->observers_n; i++)
        for (size_t k = 0; k < t->observers[i].noticed_n; k++) {
            const struct trial_silence *s = &t->observers[i].noticed[k];
            if (s->place != OBSERVER_AFTER || s->length_ns <= longest_ns)
                continue;
            longest_ns = s->length_ns;
            *again = true;
        }
    return longest_ns;
}

void gate_judge(const struct cell *c, const struct trial_series *s, int64_t limit_ns,
                struct gate_verdict *v)
{
    *v = (struct gate_verdict){.worst_ns = TRIAL_NEVER};
    for (size_t i = 0; i < c->n; i++) {
        const struct trial *t = &s->trials[c->trials[i]];
        bool again;
        int64_t ns = gate_silence_ns(t, &again);
        v->unknown += ns == TRIAL_NEVER && t->end != TRIAL_REFUSED;
        if (ns == TRIAL_NEVER || ns <= v->worst_ns)
            continue;
        v->worst_ns = ns;
        v->trial = t->number;
        v->again = again;
    }
    v->beyond = v->unknown > 0 || (v->worst_ns != TRIAL_NEVER && v->worst_ns > limit_ns);
}
