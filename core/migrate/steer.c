/* SPDX-License-Identifier: Apache-2.0 */
#include "core/migrate/steer.h"

#include "core/log.h"

int steer_check(struct migration *m, struct err *e)
{
    const struct migrate_plan *p = m->plan;
    struct migrate_known known = {.pause_cost_ns = p->control != NULL ? p->control->pause_cost_ns
                                                                      : 0};
    if (p->look_up != NULL)
        p->look_up(p->look_up_arg, &m->report->source, &m->report->destination, &known);
    m->notice = (struct notice_state){
        .max_bandwidth_bytes_per_s = p->settings.max_bandwidth_bytes_per_s,
        .link_bytes_per_s = known.link_bytes_per_s,
    };
    if (p->control == NULL)
        return 0;
    struct control_plan plan = *p->control;
    plan.pause_cost_ns = known.pause_cost_ns;
    trace_plan(p->trace, &plan);
    return control_init(&m->control, &plan, e);
}

int steer_begin(struct migration *m, struct err *e)
{
    const struct control_plan *plan = m->plan->control;
    struct vm *source = m->plan->source;
    if (plan == NULL)
        return 0;
    const struct vm_tuning first = {
        .downtime_limit_ns = control_begin(&m->control, m->report->downtime_limit_ns),
    };
    trace_begin(m->plan->trace, m->report->downtime_limit_ns, first.downtime_limit_ns);
    if (plan->promise.max_downtime_ns > 0)
        m->report->downtime_limit_ns = plan->promise.max_downtime_ns;
    return plan->keep_limit ? 0 : source->ops->tune(source, &first, e);
}

static void steer_note(struct migrate_report *r, const struct control_action *a)
{
    log_info("%s at %.1f s: %s", control_what_name(a->what), (double)a->at_ns / NS_PER_S, a->why);
    if (r->decisions_n < MIGRATE_DECISIONS_MAX)
        r->decisions[r->decisions_n++] = *a;
    else
        r->decisions_dropped++;
    r->missed |= a->miss;
}

/* Each that has a limit, or had one. */
static size_t steer_vcpu_limits(const struct control *c, struct vm_vcpu_limit *limits)
{
    for (size_t i = 0; i < c->vcpus; i++)
        limits[i] = (struct vm_vcpu_limit){
            .id = c->vcpu[i].id,
            .dirty_bytes_per_s = (uint64_t)c->vcpu[i].limit_bytes_per_s,
        };
    return c->vcpus;
}

static void steer_tune(struct migration *m, const struct control_action *a)
{
    struct vm *source = m->plan->source;
    struct err e = {0};
    struct vm_vcpu_limit limits[THROTTLE_VCPUS_MAX];
    const struct vm_tuning t = {
        .vcpu = limits,
        .vcpus = a->what == CONTROL_VCPUS ? steer_vcpu_limits(&m->control, limits) : 0,
        .downtime_limit_ns = a->what == CONTROL_LIMIT ? a->limit_ns : 0,
        .throttle_percent = a->what == CONTROL_THROTTLE ? a->throttle_percent : 0,
    };
    if (source->ops->tune(source, &t, &e) < 0)
        log_warn("the source does not take a new %s: %s", control_what_name(a->what), e.msg);
}

static int steer_give_up(const struct migration *m, const struct control_action *a, struct err *e)
{
    err_set(e, ERR_TIMEOUT, 0, "given up: %s", a->why);
    return err_hint(
        e,
        "godwit predict tells what can be promised; --on-miss postcopy, pause or stretch "
        "brings it to an end all the same%s",
        m->plan->control->promise.allow & PROMISE_THROTTLE ? "" : ", and --allow throttle may");
}

int steer_precopy(struct migration *m, struct err *e)
{
    struct control_action a;
    if (m->plan->control == NULL || m->cut != MIGRATION_CUT_NONE || !m->was_running)
        return 0;
    int64_t at_ns = clock_now_ns() - m->begun_ns;
    control_step(&m->control, &m->report->last, at_ns, &a);
    trace_add(m->plan->trace, &m->report->last, at_ns, &a);
    if (a.what == CONTROL_NOTHING)
        return 0;
    steer_note(m->report, &a);
    migration_tell(m, &a, NULL);
    switch (a.what) {
    case CONTROL_LIMIT:
    case CONTROL_VCPUS:
    case CONTROL_THROTTLE: steer_tune(m, &a); return 0;
    case CONTROL_POSTCOPY: m->cut = MIGRATION_CUT_POSTCOPY; return 0;
    case CONTROL_PAUSE: m->cut = MIGRATION_CUT_PAUSE; return 0;
    default: return steer_give_up(m, &a, e);
    }
}

int64_t steer_tick_ns(const struct migration *m)
{
    if (m->plan->control == NULL || migration_phase(m) != PHASE_PRECOPY)
        return MIGRATION_TICK_NS;
    int64_t tick_ns = control_tick_ns(&m->control, &m->report->last);
    return tick_ns < m->plan->near_tick_ns ? m->plan->near_tick_ns : tick_ns;
}
