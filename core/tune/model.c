/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A game is one migration with values drawn for all that is not known. Where they are drawn from is the
 * same in each question (an additive recurrence, which fills the space of the draws evenly), so that two
 * questions differ by what was asked and not by luck. Within a game one draw holds for all of it: a link
 * that is slower than likely is so in each pass, and a guest that dirties more does. Only the bandwidth
 * that QEMU sees is drawn anew at each look, for that is of the last 100 ms.
 *
 * What is left is counted as QEMU does, in pages; what it costs to send is less by the zero pages of the
 * first pass.
 */
#include "core/tune/model.h"

#include <stdlib.h>

#define NS_OF_S 1e9
#define NS_OF_MS 1e6

/* QEMU's, see model.h. */
#define MODEL_ITERATION_NS (50 * NS_OF_MS)
#define MODEL_WINDOW_NS (100 * NS_OF_MS)
#define MODEL_PAGE_BYTES 4096.0
#define MODEL_PAGE_HEAD_BYTES 9.0

/* From the last look at what is dirty to the vCPUs' standstill. */
#define MODEL_STOPPING_NS NS_OF_MS
/* What a look at what is dirty takes at least: no pass is shorter. */
#define MODEL_SYNC_NS (0.3 * NS_OF_MS)
/* How far off QEMU's bandwidth of 100 ms is, at most. */
#define MODEL_BANDWIDTH_NOISE 0.05

/* So many looks without 2 % less than ever before: passes do not shrink any more. Nobody waits longer than
 * a day. */
#define MODEL_STALE_LOOKS 40
#define MODEL_LESS 0.98
#define MODEL_LONGEST_NS (86400 * NS_OF_S)

#define MODEL_LIMIT_MIN_NS ((int64_t)1000000)
#define MODEL_LIMIT_MAX_NS ((int64_t)10000000000)
#define MODEL_KEPT 0.95

enum {
    MODEL_GAMES = 256,
    MODEL_DRAWS = 8,
    MODEL_TABLE = 140, /* windows of the curve, four to a doubling */
    MODEL_SEARCH = 16, /* halvings of an interval of limits: to 0.01 % */
};
#define MODEL_TABLE_FROM_NS 1e4

/* ---- draws ---- */

/* The normal distribution's quantile, by Winitzki's inverse of erf: good to 0.003. */
static double model_normal(double u)
{
    double x = 2 * u - 1, a = 0.147, log_rest = log1p(-x * x);
    double b = 2 / (M_PI * a) + log_rest / 2;
    double erf_inverse = copysign(sqrt(sqrt(b * b - log_rest / a) - b), x);
    return M_SQRT2 * erf_inverse;
}

/* The `draw`-th value of game `game`, normal: an additive recurrence by powers of the generalised golden
 * ratio (M. Roberts, "The unreasonable effectiveness of quasirandom sequences"). */
static double model_draw(unsigned game, unsigned draw)
{
    double ratio = 1.0850702; /* x^8 = x + 1 in MODEL_DRAWS - 1 = 7 dimensions, and one to spare */
    double step = fmod(1 / pow(ratio, draw + 1), 1);
    double u = fmod(0.5 + step * (game + 1), 1);
    return model_normal(fmin(fmax(u, 1e-3), 1 - 1e-3));
}

/* ---- one game ---- */

struct model_table {
    struct estimate at[MODEL_TABLE];
};

struct model_game {
    const struct model_table *dirtied;
    const struct model_cut *cut; /* NULL: none */
    double ram, limit_ns;
    double first, skew, curve_z;       /* drawn */
    double wire, queued, zero_ns;      /* drawn: bytes a second, bytes, ns a byte */
    double begin_ns, pause_ns, end_ns; /* drawn */
    double send;                       /* bytes a second while the guest runs */
    double quantum, quantum_ns;        /* what is sent between two comparisons */
    uint64_t luck;

    double now_ns, sent;
    double left, left_cost;         /* of the pass that goes on, as pages and as bytes to send */
    double window, window_ns, sees; /* QEMU's bandwidth, and what it is made from */
    double passes, least;
    bool converged;
};

/* From 0 to 1, another one at each call. */
static double model_luck(struct model_game *g)
{
    g->luck = g->luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(g->luck >> 11) / (double)(UINT64_C(1) << 53);
}

static double model_dirtied(const struct model_game *g, double ns)
{
    double at = 4 * log2(ns / MODEL_TABLE_FROM_NS);
    double part = 1;
    if (at < 0) {
        part = ns / MODEL_TABLE_FROM_NS;
        at = 0;
    }
    size_t i = (size_t)fmin(at, MODEL_TABLE - 2);
    double between = fmin(at - (double)i, 1);
    const struct estimate *a = &g->dirtied->at[i], *b = a + 1;
    struct estimate e = {a->low + (b->low - a->low) * between,
                         a->likely + (b->likely - a->likely) * between,
                         a->high + (b->high - a->high) * between};
    return fmin(estimate_pick(e, g->curve_z) * g->skew * part, g->ram);
}

/* So much was sent in so long: QEMU's bandwidth is of the last whole 100 ms. */
static void model_sent(struct model_game *g, double bytes, double ns)
{
    g->now_ns += ns;
    g->sent += bytes;
    g->window += bytes;
    g->window_ns += ns;
    if (g->window_ns < MODEL_WINDOW_NS)
        return;
    g->sees = g->window / g->window_ns * NS_OF_S;
    g->window = g->window_ns = 0;
}

/* Below this QEMU looks for what is dirty, and switches over. */
static double model_threshold(struct model_game *g)
{
    double noise = 1 + MODEL_BANDWIDTH_NOISE * (2 * model_luck(g) - 1);
    return g->sees * noise * g->limit_ns / NS_OF_S;
}

/* Pages that were dirtied for `ns`, on top of what was left. */
static void model_look(struct model_game *g, double ns)
{
    double all = model_dirtied(g, ns);
    double set = fmax(model_dirtied(g, 10 * NS_OF_S), all);
    double again = set > 0 ? fmin(1, g->left / set) : 0; /* was left, and was dirtied again */
    double more = fmin(all * (1 - again), g->ram - g->left);
    double real = g->left > 0 ? fmin(1, all * again / g->left) : 0; /* … and is no zero page now */
    g->left_cost = fmax(g->left_cost, g->left_cost * (1 - real) + g->left * real);
    g->left += more;
    g->left_cost += more * (1 + MODEL_PAGE_HEAD_BYTES / MODEL_PAGE_BYTES);
}

/* For zero pages: they have to be looked at. */
static double model_zeros_ns(const struct model_game *g)
{
    return fmax(0, g->left - g->left_cost) * g->zero_ns;
}

/* Where in RAM the zeros are is not known: what is left of the first pass may be nothing but zeros, or none. */
static double model_tail(struct model_game *g, double cost)
{
    double luck = 2 * model_luck(g), even = g->first / g->ram;
    double real = luck < 1 ? luck * even : even + (luck - 1) * (1 - even);
    real =
        fmax(g->left * real, g->left - (g->ram - g->first)); /* there are no more zeros than that */
    return fmin(real + g->left / MODEL_PAGE_BYTES * MODEL_PAGE_HEAD_BYTES, cost);
}

/* Nothing is known of the bandwidth in the first 100 ms, and without it only the whole of RAM is enough. */
static void model_first_pass(struct model_game *g)
{
    double heads = g->ram / MODEL_PAGE_BYTES * MODEL_PAGE_HEAD_BYTES;
    double cost = g->first + heads;
    double whole_ns = cost / g->send * NS_OF_S + (g->ram - g->first) * g->zero_ns;
    double phase = model_luck(g) * MODEL_ITERATION_NS;
    double sees = whole_ns > 0 ? cost / whole_ns * NS_OF_S : 0;
    double enough = fmin(g->ram, sees * g->limit_ns / NS_OF_S);
    double ns = whole_ns * (1 - enough / g->ram) + phase;
    ns = fmin(whole_ns, fmax(ns, MODEL_WINDOW_NS));
    double part = whole_ns > 0 ? ns / whole_ns : 1;
    g->left = g->ram * (1 - part);
    g->left_cost = model_tail(g, cost);
    ns = fmax((cost - g->left_cost) / g->send * NS_OF_S +
                  fmax(0, g->ram - g->first - (g->left - g->left_cost)) * g->zero_ns,
              MODEL_SYNC_NS);
    model_sent(g, cost - g->left_cost, ns);
    g->passes = part;
    if (whole_ns >= MODEL_WINDOW_NS || g->left > 0)
        model_look(g, ns);
    g->least = g->left;
}

/* Sends until less than `enough` is left, or all, and then looks. */
static void model_pass(struct model_game *g, double enough)
{
    double rounds = fmax(1, ceil((g->left - enough) / g->quantum));
    double part = g->left > 0 ? fmin(1, rounds * g->quantum / g->left) : 1;
    double cost = g->left_cost * part;
    double ns = g->quantum_ns > MODEL_ITERATION_NS ? cost / g->quantum * g->quantum_ns
                                                   : cost / g->send * NS_OF_S;
    ns = fmax(ns + model_zeros_ns(g) * part, MODEL_SYNC_NS);
    model_sent(g, cost, ns);
    g->left -= g->left * part;
    g->left_cost -= cost;
    g->passes += part;
    model_look(g, ns);
}

/* A guest that was dirtied within the first 100 ms, all of which was sent, is stopped without a look. */
static void model_switch_over(struct model_game *g, bool unlooked)
{
    model_look(g, unlooked ? g->now_ns : MODEL_STOPPING_NS);
    g->pause_ns += (g->left_cost + g->queued) / g->wire * NS_OF_S + model_zeros_ns(g);
    g->sent += g->left_cost;
    g->passes += g->left > 0;
    g->converged = true;
}

/* Whether precopy is over by order, and then it is. */
static bool model_cut_short(struct model_game *g)
{
    if (g->cut == NULL || g->passes < g->cut->passes || g->left <= 0)
        return false;
    if (!g->cut->postcopy) {
        model_switch_over(g, false);
        return true;
    }
    g->converged = true;
    g->passes += 1;
    model_sent(g, g->left_cost, g->left_cost / g->wire * NS_OF_S + model_zeros_ns(g));
    return true;
}

static void model_play(struct model_game *g)
{
    unsigned stale = 0;
    model_first_pass(g);
    bool unlooked = g->left <= 0;
    while (g->now_ns < MODEL_LONGEST_NS && stale < MODEL_STALE_LOOKS) {
        double enough = model_threshold(g);
        if (g->left <= 0 || g->left < enough) {
            model_switch_over(g, unlooked);
            return;
        }
        if (model_cut_short(g))
            return;
        unlooked = false;
        model_pass(g, enough);
        stale = g->left < g->least * MODEL_LESS ? 0 : stale + 1;
        g->least = fmin(g->least, g->left);
    }
}

/* ---- a question ---- */

struct model_question {
    const struct model_guest *guest;
    const struct model_link *link;
    const struct model_costs *costs;
    const struct model_cut *cut;
    struct model_table table;
};

static void model_ask(struct model_question *q, const struct model_guest *guest,
                      const struct model_link *link, const struct model_costs *costs)
{
    q->guest = guest;
    q->link = link;
    q->costs = costs;
    q->cut = NULL;
    for (size_t i = 0; i < MODEL_TABLE; i++)
        q->table.at[i] =
            curve_bytes(&guest->curve, llround(MODEL_TABLE_FROM_NS * exp2((double)i / 4)));
}

static void model_deal(const struct model_question *q, unsigned number, int64_t limit_ns,
                       struct model_game *g)
{
    const struct model_costs *c = q->costs;
    double z[MODEL_DRAWS];
    for (unsigned i = 0; i < MODEL_DRAWS; i++)
        z[i] = model_draw(number, i);
    double zeros = c->zero_bytes_per_s.likely > 0 ? estimate_pick(c->zero_bytes_per_s, z[1]) : 0;
    *g = (struct model_game){
        .dirtied = &q->table,
        .cut = q->cut,
        .ram = (double)q->guest->ram_bytes,
        .limit_ns = (double)limit_ns,
        .first = fmin(estimate_pick(q->guest->first_pass_bytes, z[2]), (double)q->guest->ram_bytes),
        .skew = q->guest->skew.likely > 0 ? estimate_pick(q->guest->skew, z[3]) : 1,
        .curve_z = z[4],
        .wire = fmax(estimate_pick(q->link->bytes_per_s, z[0]), 1),
        .zero_ns = zeros > 0 ? NS_OF_S / zeros : 0,
        .begin_ns = estimate_pick(c->begin_ns, z[5]),
        .pause_ns = estimate_pick(c->pause_ns, z[6]),
        .end_ns = estimate_pick(c->end_ns, z[7]),
        .luck = number + 1,
    };
    double most = q->link->limit_bytes_per_s;
    bool limited = most > 0 && most < g->wire;
    g->send = limited ? most : g->wire;
    g->quantum_ns = limited ? MODEL_WINDOW_NS : MODEL_ITERATION_NS;
    g->quantum = g->send * g->quantum_ns / NS_OF_S;
    g->queued = limited ? 0 : q->link->queued_bytes.likely; /* what is held back is never queued */
    for (int i = 0; i < 4; i++)
        model_luck(g);
}

/* Column by column, of those games that converged. */
struct model_scores {
    double total_ns[MODEL_GAMES], pause_ns[MODEL_GAMES], bytes[MODEL_GAMES], passes[MODEL_GAMES];
    double least[MODEL_GAMES];
    size_t n, all;
};

static void model_note(struct model_scores *s, const struct model_game *g)
{
    s->least[s->all++] = g->converged ? g->left : g->least;
    if (!g->converged)
        return;
    s->total_ns[s->n] = g->begin_ns + g->now_ns + g->pause_ns + g->end_ns;
    s->pause_ns[s->n] = g->pause_ns;
    s->bytes[s->n] = g->sent;
    s->passes[s->n] = round(g->passes);
    s->n++;
}

/* All were drawn evenly: their own quantiles, without the allowance of a few cases. */
static struct estimate model_spread(double *values, size_t n)
{
    double low = estimate_quantile(values, n, 0.05), likely = estimate_quantile(values, n, 0.5);
    return (struct estimate){low, likely, estimate_quantile(values, n, 0.95)};
}

static void model_answer(const struct model_question *q, int64_t limit_ns, struct model_answer *out)
{
    struct model_scores scores = {.n = 0};
    for (unsigned i = 0; i < MODEL_GAMES; i++) {
        struct model_game g;
        model_deal(q, i, limit_ns, &g);
        model_play(&g);
        model_note(&scores, &g);
    }
    *out = (struct model_answer){
        .likelihood = (double)scores.n / (double)MODEL_GAMES,
        .converges = scores.n > MODEL_GAMES / 2,
        .floor_bytes = (uint64_t)estimate_quantile(scores.least, scores.all, 0.5),
    };
    if (!out->converges)
        return;
    out->total_ns = model_spread(scores.total_ns, scores.n);
    out->pause_ns = model_spread(scores.pause_ns, scores.n);
    out->bytes = model_spread(scores.bytes, scores.n);
    out->passes = model_spread(scores.passes, scores.n);
    if (out->likelihood < MODEL_KEPT)
        out->total_ns.high = INFINITY;
}

void model_predict(const struct model_guest *guest, const struct model_link *link,
                   const struct model_costs *costs, int64_t limit_ns, struct model_answer *out)
{
    struct model_question q;
    model_ask(&q, guest, link, costs);
    model_answer(&q, limit_ns, out);
}

void model_predict_cut(const struct model_guest *guest, const struct model_link *link,
                       const struct model_costs *costs, int64_t limit_ns,
                       const struct model_cut *cut, struct model_answer *out)
{
    struct model_question q;
    model_ask(&q, guest, link, costs);
    q.cut = cut;
    model_answer(&q, limit_ns, out);
}

/* ---- promises ---- */

bool model_keeps(const struct model_answer *a, const struct model_promise *p)
{
    return a->likelihood >= MODEL_KEPT &&
           (p->pause_ns == 0 || a->pause_ns.high <= (double)p->pause_ns) &&
           (p->total_ns == 0 || a->total_ns.high <= (double)p->total_ns);
}

/* The limit at which `enough` begins to be true (`rises`), or ends to be; QEMU takes whole ms. 0: it is
 * true nowhere. *out is the answer at what is returned, or at the end that was nearest to it. */
static int64_t model_search(
    const struct model_question *q, const struct model_promise *p, bool rises,
    bool (*enough)(const struct model_answer *a, const struct model_promise *p),
    struct model_answer *out)
{
    int64_t most = MODEL_LIMIT_MAX_NS;
    if (!rises &&
        p->pause_ns < most) /* a promise that the model may be wrong about is no limit to exceed */
        most = p->pause_ns / MODEL_LIMIT_MIN_NS * MODEL_LIMIT_MIN_NS;
    if (most < MODEL_LIMIT_MIN_NS)
        most = MODEL_LIMIT_MIN_NS;
    int64_t good = rises ? most : MODEL_LIMIT_MIN_NS, bad = rises ? MODEL_LIMIT_MIN_NS : most;
    struct model_answer a;
    model_answer(q, bad, out);
    if (enough(out, p))
        return bad;
    model_answer(q, good, out);
    if (!enough(out, p))
        return 0;
    for (int i = 0; i < MODEL_SEARCH; i++) {
        int64_t between = llround(sqrt((double)good * (double)bad) / NS_OF_MS) * 1000000;
        if (between == good || between == bad)
            break;
        model_answer(q, between, &a);
        if (enough(&a, p)) {
            good = between;
            *out = a;
        } else {
            bad = between;
        }
    }
    return good;
}

static bool model_pause_fits(const struct model_answer *a, const struct model_promise *p)
{
    /* a limit so small that it does not converge is not too large */
    return !a->converges || a->pause_ns.high <= (double)p->pause_ns;
}

static bool model_converges(const struct model_answer *a, const struct model_promise *p)
{
    (void)p;
    return a->likelihood >= MODEL_KEPT;
}

int64_t model_limit_for(const struct model_guest *guest, const struct model_link *link,
                        const struct model_costs *costs, const struct model_promise *promise,
                        struct model_answer *out)
{
    struct model_question q;
    model_ask(&q, guest, link, costs);
    int64_t limit_ns = promise->pause_ns == 0
                           ? model_search(&q, promise, true, model_keeps, out)
                           : model_search(&q, promise, false, model_pause_fits, out);
    return limit_ns > 0 && model_keeps(out, promise) ? limit_ns : 0;
}

int64_t model_smallest_pause(const struct model_guest *guest, const struct model_link *link,
                             const struct model_costs *costs, int64_t *limit_ns)
{
    const struct model_promise any = {0};
    struct model_question q;
    struct model_answer a;
    model_ask(&q, guest, link, costs);
    *limit_ns = model_search(&q, &any, true, model_converges, &a);
    return *limit_ns > 0 ? (int64_t)ceil(a.pause_ns.high) : 0;
}

/* ---- what was seen corrects what was thought ---- */

/* What one look at a pass is off by, as a part of it. */
#define MODEL_SEEN_SPREAD 0.1

/* Standard deviation of the logarithm. */
static double model_log_spread(struct estimate a)
{
    if (a.low <= 0 || a.likely <= 0 || isinf(a.high))
        return 1; /* a factor of 5 to either side: nothing is known */
    return log(a.high / a.low) / (2 * ESTIMATE_Z);
}

static struct estimate model_log_estimate(double mean, double spread)
{
    return (struct estimate){exp(mean - ESTIMATE_Z * spread), exp(mean),
                             exp(mean + ESTIMATE_Z * spread)};
}

/* The same middle, with `part` of the width. */
static struct estimate model_narrow(struct estimate a, double part)
{
    double high = isinf(a.high) ? a.likely * 10 : a.high;
    return (struct estimate){a.likely - (a.likely - a.low) * part, a.likely,
                             a.likely + (high - a.likely) * part};
}

void model_correct(struct model_guest *guest, int64_t pass_ns, double dirtied_bytes)
{
    struct estimate said = curve_bytes(&guest->curve, pass_ns);
    if (pass_ns < 1000000 || said.likely <= 0 || dirtied_bytes < MODEL_PAGE_BYTES)
        return;
    struct estimate skew = guest->skew.likely > 0 ? guest->skew : estimate_exactly(1);
    double of_curve = model_log_spread(said), of_skew = model_log_spread(skew);
    double before = of_curve * of_curve + of_skew * of_skew;
    double seen = MODEL_SEEN_SPREAD * MODEL_SEEN_SPREAD;
    double weight = before / (before + seen);
    double mean = log(skew.likely) + weight * (log(dirtied_bytes / said.likely) - log(skew.likely));
    double part = sqrt(1 - weight);
    guest->skew = model_log_estimate(mean, fmin(of_skew, sqrt(seen)));
    for (size_t i = 0; i < guest->curve.n; i++)
        guest->curve.at[i].bytes = model_narrow(guest->curve.at[i].bytes, part);
}

void model_correct_link(struct model_link *link, int64_t sent_ns, double sent_bytes)
{
    if (sent_ns < 1000000 || sent_bytes <= 0)
        return;
    double rate = sent_bytes * NS_OF_S / (double)sent_ns;
    double before = model_log_spread(link->bytes_per_s), seen = MODEL_SEEN_SPREAD;
    double weight = before * before / (before * before + seen * seen);
    double mean = log(link->bytes_per_s.likely);
    mean += weight * (log(rate) - mean);
    link->bytes_per_s = model_log_estimate(mean, before * sqrt(1 - weight));
}
