/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Time goes from one event to the next: QEMU has sent for 50 ms (or 100 ms, where max-bandwidth holds it
 * back), or all that was left; or the controller wants a sample. In between all is linear. At the end of each
 * stretch QEMU compares what is left with its bandwidth, of the last whole 100 ms, times the limit in force; only
 * below that it looks for what was dirtied, which begins a new pass, and if that is below it as well the guest
 * stops.
 *
 * What is drawn is drawn once a migration, as in core/tune/model.c: a link that is slower than likely is so in each
 * pass.
 */
#include "bench/simulate/world.h"

#include <math.h>

#include "core/clock.h"

/* QEMU's, see core/tune/model.h. */
#define WORLD_STRETCH_NS (50.0 * NS_PER_MS)
#define WORLD_WINDOW_NS (100.0 * NS_PER_MS)
#define WORLD_PAGE_BYTES 4096.0
#define WORLD_PAGE_HEAD_BYTES 9.0
#define WORLD_STOPPING_NS (1.0 * NS_PER_MS)
#define WORLD_SYNC_NS (0.3 * NS_PER_MS)
/* How far off QEMU's bandwidth of 100 ms is, at most. */
#define WORLD_BANDWIDTH_NOISE 0.05

struct world {
    const struct world_spec *spec;
    struct control control;
    struct vm_sample sample;
    uint64_t luck;

    double ram, first, wire, send, curve_z, skew; /* drawn; bytes, and bytes a second */
    double begin_ns, pause_cost_ns, end_ns;       /* likewise */

    double now_ns;        /* since the begin of the stream */
    double left, density; /* pages of this pass, in bytes; and what a byte of them costs to send */
    double sent, stretch_end_ns, window_sent, window_ns, sees;
    double ran_ns,
        synced_ns; /* how long the guest has run since the last look, and when that was */
    int64_t limit_ns, new_limit_ns;
    unsigned throttle_percent;
    bool over;
    struct world_result *out;
};

const char *world_end_name(enum world_end end)
{
    static const char *const names[] = {"done", "refused", "aborted", "never"};
    return names[end];
}

struct curve world_round_curve(uint64_t ram_bytes, double working_set_bytes, double bytes_per_s)
{
    struct curve c = {.source = CURVE_NONE, .ram_bytes = ram_bytes};
    if (working_set_bytes <= 0 || bytes_per_s <= 0)
        return c;
    /* it is a straight line, and then flat; below the shortest window a curve knows little */
    double round_ns = fmin(working_set_bytes / bytes_per_s, 1e6) * NS_PER_S;
    const double windows_ns[] = {WORLD_SYNC_NS / 2, round_ns / 2, round_ns, round_ns * 2};
    for (size_t i = 0; i < sizeof windows_ns / sizeof *windows_ns; i++) {
        double ns = ceil(windows_ns[i]);
        (void)curve_add(&c, (int64_t)ns,
                        estimate_exactly(fmin(bytes_per_s * ns / NS_PER_S, working_set_bytes)));
    }
    return c;
}

/* ---- luck ---- */

/* From 0 to 1: SplitMix64. */
static double world_luck(struct world *w)
{
    uint64_t z = w->luck += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) / (double)(UINT64_C(1) << 53);
}

/* Of the normal distribution, none of one in a million: Box and Muller. */
static double world_normal(struct world *w)
{
    double u = fmax(world_luck(w), 1e-6), v = world_luck(w);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static double world_draw(struct world *w, struct estimate of)
{
    return estimate_pick(of, world_normal(w));
}

static void world_begin(struct world *w, const struct world_spec *spec, uint64_t seed)
{
    const struct model_guest *g = &spec->guest;
    w->spec = spec;
    w->luck = seed;
    (void)world_luck(w);
    w->luck ^= seed << 32 | seed >> 32; /* neighbouring seeds are not neighbours */
    w->ram = (double)g->ram_bytes;
    w->wire = fmax(world_draw(w, spec->link.bytes_per_s), 1);
    w->first = fmin(world_draw(w, g->first_pass_bytes), w->ram);
    w->skew = world_draw(w, g->skew.likely > 0 ? g->skew : estimate_exactly(1));
    w->curve_z = world_normal(w);
    w->begin_ns = world_draw(w, spec->costs.begin_ns);
    w->pause_cost_ns = world_draw(w, spec->costs.pause_ns);
    w->end_ns = world_draw(w, spec->costs.end_ns);
    double most = spec->link.limit_bytes_per_s;
    w->send = most > 0 && most < w->wire ? most : w->wire;
    w->left = w->ram;
    w->density = w->first / w->ram + WORLD_PAGE_HEAD_BYTES / WORLD_PAGE_BYTES;
    w->sample = (struct vm_sample){
        .migration = VM_MIGRATION_ACTIVE,
        .run = VM_RUN_RUNNING,
        .ram_total_bytes = g->ram_bytes,
        .passes = 1,
        .pass_bytes = g->ram_bytes,
    };
}

/* ---- QEMU ---- */

static double world_dirtied(const struct world *w, double ns)
{
    double bytes = estimate_pick(curve_bytes(&w->spec->guest.curve, (int64_t)ns), w->curve_z) *
                   w->skew;
    return fmin(bytes, w->ram);
}

static void world_advance(struct world *w, double ns)
{
    double bytes = fmin(w->send * ns / NS_PER_S, w->left * w->density);
    w->now_ns += ns;
    w->ran_ns += ns * (100 - w->throttle_percent) / 100;
    w->sent += bytes;
    w->left = w->density > 0 ? fmax(0, w->left - bytes / w->density) : 0;
    w->window_sent += bytes;
    w->window_ns += ns;
    if (w->window_ns < WORLD_WINDOW_NS)
        return;
    w->sees = w->window_sent / w->window_ns * NS_PER_S;
    w->window_sent = w->window_ns = 0;
    w->limit_ns = w->new_limit_ns; /* it is looked at then */
}

static void world_begin_stretch(struct world *w)
{
    double most_ns = w->send < w->wire ? WORLD_WINDOW_NS : WORLD_STRETCH_NS;
    double all_ns = w->left * w->density / w->send * NS_PER_S;
    w->stretch_end_ns = w->now_ns + fmax(fmin(most_ns, all_ns), WORLD_SYNC_NS);
}

static double world_threshold(struct world *w)
{
    double noise = 1 + WORLD_BANDWIDTH_NOISE * (2 * world_luck(w) - 1);
    return w->sees * noise * (double)w->limit_ns / NS_PER_S;
}

/* A new pass: of what is left, some has been dirtied again. */
static void world_look(struct world *w)
{
    double all = world_dirtied(w, w->ran_ns);
    double set = fmax(world_dirtied(w, w->ran_ns + 10.0 * NS_PER_S), all);
    double again = set > 0 ? fmin(1, w->left / set) : 0;
    double more = fmin(all * (1 - again), w->ram - w->left), cost = w->left * w->density;
    double since_ns = fmax(w->now_ns - w->synced_ns, WORLD_SYNC_NS);
    w->left += more;
    cost += more * (1 + WORLD_PAGE_HEAD_BYTES / WORLD_PAGE_BYTES);
    w->density = w->left > 0 ? cost / w->left : 1;
    w->sample.dirty_bytes_per_s = (uint64_t)(all / since_ns * NS_PER_S);
    w->sample.stuck_passes = w->left < (double)w->sample.pass_bytes ? 0
                                                                    : w->sample.stuck_passes + 1;
    w->sample.passes++;
    w->sample.pass_bytes = (uint64_t)w->left;
    w->synced_ns = w->now_ns;
    w->ran_ns = 0;
}

static void world_finish(struct world *w, enum world_end end, double pause_ns)
{
    bool done = end == WORLD_DONE;
    const struct promise *p = &w->spec->plan.promise;
    w->over = true;
    w->out->end = end;
    w->out->pause_ns = done ? (int64_t)pause_ns : 0;
    w->out->total_ns = (int64_t)(w->begin_ns + w->now_ns + pause_ns + (done ? w->end_ns : 0));
    w->out->bytes = w->sent;
    w->out->passes = (unsigned)w->sample.passes;
    w->out->kept = done && (p->max_downtime_ns == 0 || w->out->pause_ns <= p->max_downtime_ns) &&
                   (p->max_time_ns == 0 || w->out->total_ns <= p->max_time_ns);
}

/* The guest stands, and what is left of it is sent. */
static void world_switch_over(struct world *w)
{
    double more = fmin(world_dirtied(w, w->ran_ns + WORLD_STOPPING_NS), w->ram - w->left);
    double cost = w->left * w->density + more;
    w->sent += cost;
    world_finish(w, WORLD_DONE, w->pause_cost_ns + cost / w->wire * NS_PER_S);
}

/* The rest is sent while the guest runs there. */
static void world_postcopy(struct world *w)
{
    double cost = w->left * w->density + world_dirtied(w, w->ran_ns);
    w->sent += cost;
    w->now_ns += cost / w->wire * NS_PER_S;
    world_finish(w, WORLD_DONE, w->pause_cost_ns);
}

static void world_end_stretch(struct world *w)
{
    double enough = world_threshold(w);
    if (w->left <= 0 || w->left < enough) {
        world_look(w);
        if (w->left <= enough || w->left <= 0) {
            world_switch_over(w);
            return;
        }
    }
    world_begin_stretch(w);
}

/* ---- the controller ---- */

static void world_obey(struct world *w, const struct control_action *a)
{
    w->out->decisions += a->what != CONTROL_NOTHING;
    switch (a->what) {
    case CONTROL_LIMIT: w->new_limit_ns = a->limit_ns; break;
    case CONTROL_THROTTLE: w->throttle_percent = a->throttle_percent; break;
    case CONTROL_POSTCOPY: world_postcopy(w); break;
    case CONTROL_PAUSE: world_switch_over(w); break;
    case CONTROL_ABORT: world_finish(w, WORLD_ABORTED, 0); break;
    default: break;
    }
    if (w->throttle_percent > w->out->throttle_percent)
        w->out->throttle_percent = w->throttle_percent;
}

/* Returns when the next one is due. */
static double world_sample(struct world *w)
{
    struct control_action a;
    struct vm_sample *s = &w->sample;
    s->ram_remaining_bytes = (uint64_t)w->left;
    s->ram_transferred_bytes = (uint64_t)w->sent;
    s->bandwidth_bytes_per_s = (uint64_t)w->sees;
    s->throttle_percent = w->throttle_percent;
    control_step(&w->control, s, (int64_t)w->now_ns, &a);
    world_obey(w, &a);
    return w->now_ns + (double)control_tick_ns(&w->control, s);
}

void world_run(const struct world_spec *spec, uint64_t seed, struct world_result *out)
{
    struct world w = {.out = out};
    struct err no = {0};
    struct control_plan plan = spec->plan;
    if (plan.promise.allow & PROMISE_THROTTLE) /* then godwit migrate measures it before */
        plan.curve = &spec->guest.curve;
    *out = (struct world_result){.end = WORLD_REFUSED};
    plan.wordless = true;
    if (control_init(&w.control, &plan, &no) < 0)
        return;
    world_begin(&w, spec, seed);
    w.limit_ns = w.new_limit_ns = control_begin(&w.control, spec->limit_ns);
    world_begin_stretch(&w);
    double sample_ns = 0;
    while (!w.over && w.now_ns < (double)spec->longest_ns) {
        if (sample_ns <= w.now_ns) {
            sample_ns = world_sample(&w);
        } else if (sample_ns < w.stretch_end_ns) {
            world_advance(&w, sample_ns - w.now_ns);
        } else {
            world_advance(&w, fmax(0, w.stretch_end_ns - w.now_ns));
            world_end_stretch(&w);
        }
    }
    if (!w.over)
        world_finish(&w, WORLD_NEVER, 0);
}
