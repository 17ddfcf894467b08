/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A pass begins with what the guest has dirtied during the one before, and QEMU looks whether it fits
 * into the limit just then; so what a pass begins with is what counts, not what is left in its middle.
 * A pass is stuck if it is no smaller than the one before. While passes shrink nothing is done. When one
 * is stuck, either the smallest so far fits into what is allowed, and the limit is raised to it; or it
 * does not, and the migration diverges, which the ladder is for: one rung at a time, and two passes
 * until it is judged.
 *
 * A rate is measured over about a second, of what is on the wire and of how fast less is left, whichever
 * is more: in the first pass zero pages make the difference. QEMU's own estimate is of 100 ms, and only
 * stands in until then.
 */
#include "core/tune/control.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "core/units.h"

/* To begin with: a pass that is as quick as this cannot become much better. */
#define CONTROL_FIRST_LIMIT_NS (10 * NS_PER_MS)
/* QEMU counts the limit in whole milliseconds. */
#define CONTROL_LEAST_LIMIT_NS NS_PER_MS
/* A pass is no smaller than the one before from this part of it on. */
#define CONTROL_STUCK_PERCENT 90
/* How much more than the smallest pass the limit allows when it is raised to it. */
#define CONTROL_ROOM_PERCENT 25
/* What fits may become smaller still: that is waited for a tenth of the time that all has taken. */
#define CONTROL_PATIENCE_LEAST_NS (300 * NS_PER_MS)
#define CONTROL_PATIENCE_MOST_NS (3 * NS_PER_S)
/* Without a promised time: for how long, and how many passes, it may diverge until that is a miss. */
#define CONTROL_DIVERGES_NS (10 * NS_PER_S)
#define CONTROL_DIVERGES_PASSES 4
/* Before there was so much to measure nothing is said of the time. */
#define CONTROL_MEASURED_NS (2 * NS_PER_S)
#define CONTROL_RATE_NS NS_PER_S
#define CONTROL_THROTTLE_LEAST_STEP 5
/* QEMU throttles when it has seen in two periods of a second, or two passes, that too much is dirty; limits it works
 * out once a second. A throttle is in force after so long and so many,
 * whatever is said. */
#define CONTROL_LIMITS_NS (2 * NS_PER_S)
#define CONTROL_THROTTLE_NS (4 * NS_PER_S)
#define CONTROL_THROTTLE_PASSES 6
/* The first moment that is allowed is at the very edge: what is dirtied while the guest is being stopped, and a link
 * that is slower just then, come on top. */
#define CONTROL_FIRST_PERCENT 80
#define CONTROL_SKEW_MOST 4.0
/* A guest that dirties so much more than its slow-down should let it has had time to spare. */
#define CONTROL_IDLES_SKEW 1.5

#define CONTROL_TICK_NS (100 * NS_PER_MS)
#define CONTROL_TICK_NEAR_NS (5 * NS_PER_MS)

const char *control_what_name(enum control_what what)
{
    static const char *const names[] = {
        [CONTROL_NOTHING] = "nothing",   [CONTROL_LIMIT] = "limit",
        [CONTROL_VCPUS] = "vcpu-limit",  [CONTROL_THROTTLE] = "throttle",
        [CONTROL_POSTCOPY] = "postcopy", [CONTROL_PAUSE] = "pause",
        [CONTROL_ABORT] = "abort",
    };
    return names[what];
}

static int64_t control_most_ns(const struct control *c)
{
    const struct control_plan *p = &c->plan;
    return p->promise.max_downtime_ns > 0 ? p->promise.max_downtime_ns - p->pause_cost_ns
                                          : p->limit_ns;
}

int64_t control_begin(struct control *c, int64_t limit_ns)
{
    c->plan.limit_ns = limit_ns;
    int64_t most_ns = control_most_ns(c);
    if (c->plan.policy != POLICY_OURS) {
        c->limit_ns = policy_begin(&c->others, c->plan.policy);
        return c->limit_ns;
    }
    c->limit_ns = c->plan.keep_limit                 ? limit_ns
                  : most_ns < CONTROL_FIRST_LIMIT_NS ? most_ns
                                                     : CONTROL_FIRST_LIMIT_NS;
    return c->limit_ns;
}

/* text_keep(), where somebody reads it. */
static const char *control_say(const struct control *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static const char *control_say(const struct control *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *said = c->plan.wordless ? "" : text_keep_v(fmt, ap);
    va_end(ap);
    return said;
}

/* "38 ms": for as long as it takes to say it. */
static const char *control_ms(int64_t ns)
{
    static _Thread_local char texts[4][32];
    static _Thread_local unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "%" PRIi64 " ms", (ns + NS_PER_MS / 2) / NS_PER_MS);
    return text;
}

int control_init(struct control *c, const struct control_plan *plan, struct err *e)
{
    *c = (struct control){.plan = *plan, .fits_since_ns = -1, .diverges_since_ns = -1};
    c->vcpus = plan->vcpus <= THROTTLE_VCPUS_MAX ? plan->vcpus : 0;
    if (c->vcpus > 0)
        memcpy(c->vcpu, plan->vcpu, c->vcpus * sizeof *c->vcpu);
    if (plan->promise.max_downtime_ns > 0 && control_most_ns(c) < CONTROL_LEAST_LIMIT_NS) {
        err_set(
            e, ERR_REFUSED, 0,
            "a downtime of %s cannot be promised: a pause costs about %s beside the sending of RAM",
            control_ms(plan->promise.max_downtime_ns), control_ms(plan->pause_cost_ns));
        return err_hint(e, "the least that can be kept: --max-downtime %" PRIi64 "ms",
                        (plan->pause_cost_ns + CONTROL_LEAST_LIMIT_NS) / NS_PER_MS + 1);
    }
    return 0;
}

/* ---- what the samples say ---- */

/* Kept with the wire's: how far down "left" has come. */
static void control_measure_rate(struct control *c, const struct vm_sample *s, int64_t at_ns)
{
    uint64_t sent = s->ram_transferred_bytes;
    uint64_t done = s->passes <= 1 ? s->ram_total_bytes - s->ram_remaining_bytes : 0;
    uint64_t now = sent > done ? sent : done;
    if (c->rate_at_ns == 0 || now < c->rate_at_bytes) {
        c->rate_at_ns = at_ns;
        c->rate_at_bytes = now;
        return;
    }
    int64_t span_ns = at_ns - c->rate_at_ns;
    if (span_ns < CONTROL_RATE_NS)
        return;
    c->rate_bytes_per_s = (uint64_t)((double)(now - c->rate_at_bytes) * 1e9 / (double)span_ns);
    c->rate_at_ns = at_ns;
    c->rate_at_bytes = now;
}

static uint64_t control_rate(const struct control *c, const struct vm_sample *s)
{
    return c->rate_bytes_per_s > 0 ? c->rate_bytes_per_s : s->bandwidth_bytes_per_s;
}

/* How long it takes to send so much; INT64_MAX: for ever, or that is not known. */
static int64_t control_need_ns(const struct control *c, const struct vm_sample *s, uint64_t bytes)
{
    uint64_t rate = control_rate(c, s);
    double ns = rate > 0 ? (double)bytes * 1e9 / (double)rate : 1e18;
    return ns < 1e18 ? (int64_t)ns : INT64_MAX / 4;
}

static unsigned control_slow_down(const struct control *c, const struct vm_sample *s)
{
    return c->by_limits ? (c->in_force_pass > 0 ? c->throttle_percent : 0) : s->throttle_percent;
}

/* What was dirtied within a pass, of the guest undisturbed: in proportion less time. */
static void control_learn(struct control *c, const struct vm_sample *s)
{
    double window_ns = (double)(c->at_ns - c->pass_at_ns) * (100.0 - control_slow_down(c, s)) / 100;
    double bytes = (double)s->pass_bytes;
    if (window_ns < (double)NS_PER_MS || c->passes < 2)
        return;
    if (c->plan.curve == NULL) {
        if (c->seen.n == CURVE_POINTS_MAX) /* what is old may be true no more */
            c->seen = (struct curve){0};
        c->seen.ram_bytes = s->ram_total_bytes;
        curve_add(&c->seen, (int64_t)window_ns, estimate_exactly(bytes));
        return;
    }
    double expected = curve_bytes(c->plan.curve, (int64_t)window_ns).likely;
    c->skew = expected > bytes / CONTROL_SKEW_MOST ? bytes / expected : CONTROL_SKEW_MOST;
}

static void control_begin_pass(struct control *c, const struct vm_sample *s)
{
    uint64_t before = c->pass_bytes, bytes = s->pass_bytes;
    bool first_but_one = c->passes <= 1; /* it is smaller than all of RAM by nature */
    control_learn(c, s);
    c->passes = s->passes;
    c->pass_at_ns = c->at_ns;
    c->pass_bytes = bytes;
    c->stuck = first_but_one || bytes < before / 100 * CONTROL_STUCK_PERCENT ? 0 : c->stuck + 1;
    if (c->smallest_bytes == 0 || bytes < c->smallest_bytes)
        c->smallest_bytes = bytes;
}

static bool control_is_in_force(const struct control *c, const struct vm_sample *s)
{
    if (c->by_limits)
        return c->at_ns - c->throttled_ns >= CONTROL_LIMITS_NS;
    return s->throttle_percent >= c->throttle_percent ||
           (c->passes >= c->throttled_pass + CONTROL_THROTTLE_PASSES &&
            c->at_ns - c->throttled_ns >= CONTROL_THROTTLE_NS);
}

static void control_follow(struct control *c, const struct vm_sample *s, int64_t at_ns)
{
    c->at_ns = at_ns;
    control_measure_rate(c, s, at_ns);
    if (s->passes > 1 && s->passes > c->passes)
        control_begin_pass(c, s);
    else if (c->passes == 0)
        c->passes = s->passes;
    if (c->throttled_pass > 0 && c->in_force_pass == 0 && control_is_in_force(c, s))
        c->in_force_pass = c->passes + (c->by_limits ? 1 : 0); /* QEMU throttles as a pass begins */
    bool fits = c->passes > 1 && control_need_ns(c, s, c->pass_bytes) <= control_most_ns(c);
    bool diverges = c->passes > 2 && !fits && c->stuck > 0;
    if (!fits)
        c->fits_since_ns = -1;
    else if (c->fits_since_ns < 0)
        c->fits_since_ns = at_ns;
    if (!diverges)
        c->diverges_since_ns = -1;
    else if (c->diverges_since_ns < 0)
        c->diverges_since_ns = at_ns;
}

/* "40 MiB/s are sent, and passes begin with 100 MiB, 2500 ms of sending". */
static const char *control_state(const struct control *c, const struct vm_sample *s)
{
    char rate[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
    if (c->plan.wordless)
        return "";
    uint64_t bytes = c->passes > 1 ? c->pass_bytes : s->ram_remaining_bytes;
    units_format_size(rate, control_rate(c, s));
    return control_say(c, "%s/s are sent, and %s %s, %s of sending", rate,
                       c->passes > 1 ? "this pass began with" : "the first pass has left",
                       units_format_size(left, bytes), control_ms(control_need_ns(c, s, bytes)));
}

/* ---- what they call for ---- */

static void control_act(struct control *c, enum control_what what, const char *why,
                        struct control_action *a)
{
    *a = (struct control_action){
        .what = what,
        .at_ns = c->at_ns,
        .limit_ns = c->limit_ns,
        .throttle_percent = c->throttle_percent,
        .why = why,
    };
}

static void control_set_limit(struct control *c, int64_t limit_ns, const char *why,
                              struct control_action *a)
{
    c->limit_ns = limit_ns;
    control_act(c, CONTROL_LIMIT, why, a);
}

static int64_t control_round_up(int64_t ns)
{
    return (ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
}

/* One that stretches needs the limit again and again: as it must, and no further. */
static void control_stretch(struct control *c, const struct vm_sample *s, const char *why,
                            struct control_action *a)
{
    int64_t need_ns = control_need_ns(c, s, c->passes > 1 ? c->pass_bytes : s->ram_remaining_bytes);
    int64_t limit_ns = control_round_up(need_ns + need_ns / 100 * CONTROL_ROOM_PERCENT);
    if (limit_ns <= c->limit_ns)
        return;
    control_set_limit(c, limit_ns, why, a);
    a->miss = limit_ns > control_most_ns(c);
}

static void control_miss(struct control *c, const struct vm_sample *s, enum promise_on_miss how,
                         const char *why, struct control_action *a)
{
    static const enum control_what what[] = {
        [PROMISE_REFUSE] = CONTROL_ABORT,         [PROMISE_ABORT] = CONTROL_ABORT,
        [PROMISE_TO_POSTCOPY] = CONTROL_POSTCOPY, [PROMISE_TO_PAUSE] = CONTROL_PAUSE,
        [PROMISE_STRETCH] = CONTROL_LIMIT,
    };
    if (how == PROMISE_STRETCH) {
        control_stretch(c, s, why, a);
        return;
    }
    control_act(c, what[how], why, a);
    a->miss = true;
}

/* If the guest stood still from now on: what is left of this pass, and what it has dirtied since its
 * begin: of a working set that is dirty again after each pass all of it, for it may have been dirtied
 * in the first moment. */
static uint64_t control_left_if_stopped(const struct control *c, const struct vm_sample *s)
{
    if (c->passes < 2)
        return s->ram_remaining_bytes;
    double dirtied = (double)s->dirty_bytes_per_s * (double)(c->at_ns - c->pass_at_ns) / 1e9;
    double most = (double)c->pass_bytes;
    return s->ram_remaining_bytes + (uint64_t)(c->stuck == 0 && dirtied < most ? dirtied : most);
}

/* Whether the time that was promised only just suffices for what is left, if the guest stood still: or
 * will not at the next moment, when another pass has begun. */
static bool control_is_late(const struct control *c, const struct vm_sample *s)
{
    const struct control_plan *p = &c->plan;
    if (p->promise.max_time_ns == 0 || c->rate_bytes_per_s == 0 || c->at_ns < CONTROL_MEASURED_NS)
        return c->plan.promise.max_time_ns > 0 && c->at_ns >= p->promise.max_time_ns;
    int64_t need_ns = control_need_ns(c, s, control_left_if_stopped(c, s));
    int64_t pass_ns = c->passes < 2 ? 0 : control_need_ns(c, s, c->pass_bytes);
    return c->at_ns + (need_ns > pass_ns ? need_ns : pass_ns) + p->pause_cost_ns +
               CONTROL_TICK_NS >=
           p->promise.max_time_ns;
}

static bool control_end_late(struct control *c, const struct vm_sample *s, struct control_action *a)
{
    const struct control_plan *p = &c->plan;
    if (p->timeout_ns > 0 && c->at_ns >= p->timeout_ns) {
        control_miss(c, s, p->timeout_miss,
                     control_say(c, "not converged within the timeout of %s: %s",
                                 control_ms(p->timeout_ns), control_state(c, s)),
                     a);
        return a->what != CONTROL_NOTHING;
    }
    if (!control_is_late(c, s))
        return false;
    if (c->fits_since_ns >= 0 && !p->keep_limit) { /* the next moment that is allowed is taken */
        if (c->limit_ns < control_most_ns(c))
            control_set_limit(c, control_most_ns(c),
                              control_say(c, "the time that was promised, %s, is about to end: %s",
                                          control_ms(p->promise.max_time_ns), control_state(c, s)),
                              a);
        if (c->at_ns < p->promise.max_time_ns)
            return a->what != CONTROL_NOTHING;
    }
    if (a->what == CONTROL_NOTHING)
        control_miss(c, s, p->promise.on_miss,
                     control_say(c, "the time that was promised, %s, does not suffice: %s",
                                 control_ms(p->promise.max_time_ns), control_state(c, s)),
                     a);
    return a->what != CONTROL_NOTHING;
}

static int64_t control_patience_ns(const struct control *c)
{
    int64_t tenth_ns = c->at_ns / 10;
    return tenth_ns < CONTROL_PATIENCE_LEAST_NS  ? CONTROL_PATIENCE_LEAST_NS
           : tenth_ns > CONTROL_PATIENCE_MOST_NS ? CONTROL_PATIENCE_MOST_NS
                                                 : tenth_ns;
}

/* It fits into what is allowed: the limit follows the smallest pass, then all that is allowed. */
static void control_steer_limit(struct control *c, const struct vm_sample *s,
                                struct control_action *a)
{
    int64_t most_ns = control_most_ns(c), waited_ns = c->at_ns - c->fits_since_ns;
    if (c->plan.keep_limit || c->limit_ns >= most_ns)
        return;
    if (c->throttle_percent > 0) {
        if (c->limit_ns < most_ns / 100 * CONTROL_FIRST_PERCENT)
            control_set_limit(c, most_ns / 100 * CONTROL_FIRST_PERCENT,
                              control_say(c, "the guest is slowed down: the first moment that is "
                                             "allowed is taken"),
                              a);
        return;
    }
    if (c->fits_since_ns < 0)
        return;
    if (waited_ns > control_patience_ns(c)) {
        control_set_limit(
            c, most_ns,
            control_say(c,
                        "it has fitted into what is allowed for %s, and no better moment came: %s",
                        control_ms(waited_ns), control_state(c, s)),
            a);
        return;
    }
    if (c->stuck == 0)
        return;
    int64_t need_ns = control_need_ns(c, s, c->smallest_bytes);
    int64_t limit_ns = control_round_up(need_ns + need_ns / 100 * CONTROL_ROOM_PERCENT);
    if (limit_ns > most_ns)
        limit_ns = most_ns;
    if (limit_ns <= c->limit_ns)
        return;
    control_set_limit(c, limit_ns,
                      control_say(c, "passes do not shrink any more: %s", control_state(c, s)), a);
}

/* The least with which passes shrink, by what the guest dirties within them. */
static unsigned control_next_throttle(const struct control *c, const struct vm_sample *s)
{
    unsigned least = c->throttle_percent + CONTROL_THROTTLE_LEAST_STEP;
    unsigned most = c->plan.promise.max_throttle_percent;
    /* not short of time, it does the same in what is left to it: that has to become far less */
    if (c->throttle_percent > 0 && c->skew > CONTROL_IDLES_SKEW)
        least = c->throttle_percent + (100 - c->throttle_percent) * 3 / 4;
    double rate = (double)control_rate(c, s);
    const struct throttle_need need = {
        .curve = c->plan.curve != NULL ? c->plan.curve : &c->seen,
        .skew = c->skew > 0 ? c->skew : 1,
        .rate_bytes_per_s = rate,
        .pass_bytes = (double)c->pass_bytes,
        .fits_bytes = rate * (double)control_most_ns(c) / 1e9,
    };
    return throttle_needed(&need, least, most);
}

/* "0 to 40 MiB/s, 3 to 40 MiB/s, …": the limits. */
static const char *control_limits(const struct control *c)
{
    enum { NAMED = 3 };
    const char *list = "";
    size_t named = 0;
    for (size_t i = 0; i < c->vcpus; i++) {
        char to[UNITS_TEXT_MAX];
        if (c->vcpu[i].limit_bytes_per_s <= 0)
            continue;
        if (named == NAMED)
            return control_say(c, "%s, …", list);
        list = control_say(c, "%s%s%u to %s/s", list, named++ > 0 ? ", " : "", c->vcpu[i].id,
                           units_format_size(to, (uint64_t)c->vcpu[i].limit_bytes_per_s));
    }
    return list;
}

static void control_throttle(struct control *c, const struct vm_sample *s, struct control_action *a)
{
    unsigned most = c->plan.promise.max_throttle_percent, needed = control_next_throttle(c, s);
    unsigned percent = needed < most ? needed : most;
    size_t limited = throttle_limit_vcpus(c->vcpu, c->vcpus, percent, most);
    const char *why = control_say(
        c, "passes do not shrink, and do not fit: %s; %s", control_state(c, s),
        needed <= most
            ? control_say(c,
                          "they will with a slow-down of %u%%, by what is dirtied within a pass%s",
                          percent, c->plan.curve != NULL ? ", measured before" : "")
            : control_say(c, "the most that is allowed, %u%%, may not be enough", most));
    c->by_limits = c->by_limits || throttle_limits_hold(c->vcpu, c->vcpus);
    c->throttle_percent = percent;
    c->throttled_ns = c->at_ns;
    c->throttled_pass = c->passes;
    c->in_force_pass = 0;
    c->smallest_bytes = 0;
    c->stuck = 0;
    if (c->by_limits)
        why = control_say(c, "%s; the hottest vCPUs first: %s", why, control_limits(c));
    control_act(c, c->by_limits ? CONTROL_VCPUS : CONTROL_THROTTLE, why, a);
    a->vcpus_limited = c->by_limits ? limited : 0;
}

static bool control_is_judged(const struct control *c)
{
    return c->throttled_pass == 0 || (c->in_force_pass > 0 && c->passes > c->in_force_pass);
}

static void control_climb(struct control *c, const struct vm_sample *s, struct control_action *a)
{
    const struct promise *p = &c->plan.promise;
    if (!control_is_judged(c))
        return;
    if ((p->allow & PROMISE_THROTTLE) && c->throttle_percent < p->max_throttle_percent) {
        control_throttle(c, s, a);
        return;
    }
    if (p->allow & PROMISE_POSTCOPY) {
        control_act(c, CONTROL_POSTCOPY,
                    control_say(c, "passes do not shrink, and do not fit: %s", control_state(c, s)),
                    a);
        return;
    }
    if (!promise_is_made(p) || p->max_time_ns > 0)
        return; /* while there is time something may change: control_end_late() */
    if (c->stuck >= CONTROL_DIVERGES_PASSES &&
        c->at_ns - c->diverges_since_ns >= CONTROL_DIVERGES_NS)
        control_miss(c, s, p->on_miss,
                     control_say(c, "a downtime of %s cannot be kept: %s",
                                 control_ms(p->max_downtime_ns), control_state(c, s)),
                     a);
}

static void control_step_others(struct control *c, const struct vm_sample *s,
                                struct control_action *a)
{
    int64_t limit_ns = policy_step(&c->others, s, c->at_ns);
    if (limit_ns > 0)
        control_set_limit(c, limit_ns, policy_names[c->plan.policy], a);
}

void control_step(struct control *c, const struct vm_sample *s, int64_t at_ns,
                  struct control_action *action)
{
    *action = (struct control_action){.what = CONTROL_NOTHING};
    if (s->migration != VM_MIGRATION_ACTIVE || s->ram_total_bytes == 0 ||
        s->run == VM_RUN_FINISHING)
        return;
    control_follow(c, s, at_ns);
    if (c->plan.policy != POLICY_OURS) {
        control_step_others(c, s, action);
        return;
    }
    if (control_end_late(c, s, action))
        return;
    control_steer_limit(c, s, action);
    if (action->what == CONTROL_NOTHING && c->diverges_since_ns >= 0)
        control_climb(c, s, action);
}

int64_t control_tick_ns(const struct control *c, const struct vm_sample *s)
{
    bool near = c->passes > 1 && c->fits_since_ns >= 0 && s->migration == VM_MIGRATION_ACTIVE;
    return near ? CONTROL_TICK_NEAR_NS : CONTROL_TICK_NS;
}
