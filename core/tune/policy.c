/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tune/policy.h"

#include "core/clock.h"

#define DOUBLING_FIRST_NS (100 * NS_PER_MS)
#define DOUBLING_LOOK_NS NS_PER_S
#define DOUBLING_GROWN 5 /* more often than this */

#define RAMP_STEP_NS (150 * NS_PER_MS)
#define RAMP_LAST_NS (1050 * NS_PER_MS)
#define RAMP_LOOK_NS (2 * NS_PER_S)

const char *const policy_names[] = {"godwit", "doubling", "ramp", NULL};

int64_t policy_begin(struct policy_state *p, enum policy policy)
{
    *p = (struct policy_state){
        .policy = policy,
        .limit_ns = policy == POLICY_RAMP ? RAMP_STEP_NS : DOUBLING_FIRST_NS,
    };
    return p->limit_ns;
}

static int64_t policy_double(struct policy_state *p, const struct vm_sample *s)
{
    bool grown = p->left_bytes > 0 && s->ram_remaining_bytes > p->left_bytes;
    p->grown += grown || s->ram_remaining_bytes == 0;
    p->left_bytes = s->ram_remaining_bytes;
    if (p->grown <= DOUBLING_GROWN)
        return 0;
    p->grown = 0;
    p->limit_ns *= 2;
    return p->limit_ns;
}

static int64_t policy_ramp(struct policy_state *p)
{
    if (p->limit_ns >= RAMP_LAST_NS)
        return 0;
    p->limit_ns += RAMP_STEP_NS;
    return p->limit_ns;
}

int64_t policy_step(struct policy_state *p, const struct vm_sample *s, int64_t at_ns)
{
    if (at_ns - p->looked_ns < (p->policy == POLICY_RAMP ? RAMP_LOOK_NS : DOUBLING_LOOK_NS))
        return 0;
    p->looked_ns = at_ns;
    return p->policy == POLICY_RAMP ? policy_ramp(p) : policy_double(p, s);
}
