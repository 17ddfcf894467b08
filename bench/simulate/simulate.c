/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/simulate/simulate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

void simulate_free(struct simulated *s)
{
    free(s->total_ms);
    free(s->pause_ms);
    free(s->bytes);
    *s = (struct simulated){0};
}

static void simulate_note(struct simulated *s, const struct world_result *r)
{
    s->ends[r->end]++;
    s->kept += r->kept;
    s->decisions += (double)r->decisions / s->runs;
    if (r->throttle_percent > s->throttle_percent)
        s->throttle_percent = r->throttle_percent;
    if (r->end != WORLD_DONE)
        return;
    s->total_ms[s->n] = (double)r->total_ns / 1e6;
    s->pause_ms[s->n] = (double)r->pause_ns / 1e6;
    s->bytes[s->n++] = r->bytes;
}

int simulate_run(const struct world_spec *spec, unsigned runs, uint64_t seed, struct simulated *out,
                 struct err *e)
{
    *out = (struct simulated){
        .runs = runs,
        .total_ms = calloc(runs, sizeof(double)),
        .pause_ms = calloc(runs, sizeof(double)),
        .bytes = calloc(runs, sizeof(double)),
    };
    if (out->total_ms == NULL || out->pause_ms == NULL || out->bytes == NULL) {
        simulate_free(out);
        return err_set(e, ERR_IO, ENOMEM, "cannot keep %u migrations", runs);
    }
    for (unsigned i = 0; i < runs; i++) {
        struct world_result r;
        world_run(spec, seed + i, &r);
        simulate_note(out, &r);
    }
    (void)stats_of(out->total_ms, out->n);
    (void)stats_of(out->pause_ms, out->n);
    (void)stats_of(out->bytes, out->n);
    return 0;
}

struct simulate_spread simulate_spread(const double *sorted, size_t n)
{
    if (n == 0)
        return (struct simulate_spread){NAN, NAN, NAN};
    return (struct simulate_spread){stats_quantile(sorted, n, 0.05), stats_quantile(sorted, n, 0.5),
                                    stats_quantile(sorted, n, 0.95)};
}
