/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench simulate: migrations that do not take place, steered by the controller of those that do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/units.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/bench_simulate.h"

#define AT(field) offsetof(struct simulate_call, field)

static const struct option_def options[] = {
    {"ram", 0, OPTION_SIZE, "SIZE", "the guest's memory (1G)", AT(ram_bytes), 0, 0, NULL},
    {"data", 0, OPTION_SIZE, "SIZE", "of it, what is no page of zeros (all)", AT(data_bytes), 0, 0,
     NULL},
    {"working-set", 0, OPTION_TEXT, "SIZE,...", "what it writes to, round and round (64M,512M)",
     AT(working_sets), 0, 0, NULL},
    {"dirty-rate", 0, OPTION_TEXT, "SIZE,...",
     "how much of it a second; 0: idle (0,10M,50M,100M,300M)", AT(dirty_rates), 0, 0, NULL},
    {"link", 0, OPTION_TEXT, "RATE,...", "what the link carries (50M,1gbit,10gbit)", AT(links), 0,
     0, NULL},
    {"link-spread", 0, OPTION_COUNT, "PERCENT",
     "by how much it is more or less, in 90 % of the migrations (10)", AT(link_spread), 0, 99,
     NULL},
    {"begin", 0, OPTION_TEXT, "TIME[,TIME,TIME]",
     "from the command's begin to the first byte: what is likely, or from, likely, to "
     "(20ms,60ms,250ms)",
     AT(begin), 0, 0, NULL},
    {"pause-cost", 0, OPTION_TEXT, "TIME[,TIME,TIME]",
     "of the pause beside the sending of RAM (4ms,10ms,40ms)", AT(pause_cost), 0, 0, NULL},
    {"end", 0, OPTION_TEXT, "TIME[,TIME,TIME]",
     "from the destination's resume to the command's end (10ms,40ms,150ms)", AT(end), 0, 0, NULL},
    {"downtime-limit", 0, OPTION_DURATION, "TIME",
     "what QEMU is set to, and is left alone; without it 300ms, which the controller steers",
     AT(downtime_limit_ns), 0, 0, NULL},
    {"max-bandwidth", 0, OPTION_RATE, "RATE", "send at most this, but in the pause",
     AT(max_bandwidth), 0, 0, NULL},
    {"promises", 0, OPTION_TABLE, NULL, NULL, AT(promise), 0, 0, promise_option_table},
    {"longest", 0, OPTION_DURATION, "TIME", "what has not ended by then never does (10m)",
     AT(longest_ns), 0, 0, NULL},
    {"runs", 0, OPTION_COUNT, "N", "migrations at each point of the grid (1000)", AT(runs), 1,
     1000000, NULL},
    {"seed", 0, OPTION_COUNT, "N",
     "the luck of the first of them; the same seed has the same "
     "result (1)",
     AT(seed), 1, UINT32_MAX, NULL},
    {"fit", 0, OPTION_LIST, "DIR|FILE",
     "take all of it from results of bench migrate, cell by cell, and tell how far simulated and "
     "measured migrations differ",
     AT(fit), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the points as one JSON object", AT(json), 0, 0, NULL},
    OPTION_END,
};

/* ---- what is asked ---- */

typedef int simulate_number_fn(const char *text, uint64_t *n, struct err *e);

static int simulate_list(const char *option, const char *given, const char *otherwise,
                         simulate_number_fn *read, struct simulate_list *list, struct err *e)
{
    CLEANUP_FREE char *copy = strdup(given != NULL ? given : otherwise);
    char *rest = copy;
    list->n = 0;
    if (copy == NULL)
        return err_set(e, ERR_IO, ENOMEM, "--%s: cannot read it", option);
    for (char *item; (item = strsep(&rest, ",")) != NULL;) {
        if (list->n == SIMULATE_LIST_MAX)
            return err_set(e, ERR_USAGE, 0, "--%s: there are more than %d values", option,
                           SIMULATE_LIST_MAX);
        if (read(item, &list->at[list->n++], e) < 0)
            return err_wrap(e, "--%s", option);
    }
    return 0;
}

/* "10ms", or "4ms,10ms,40ms". */
static int simulate_times(const char *option, const char *given, const char *otherwise,
                          struct estimate *to, struct err *e)
{
    CLEANUP_FREE char *copy = strdup(given != NULL ? given : otherwise);
    char *rest = copy;
    int64_t ns[3];
    size_t n = 0;
    if (copy == NULL)
        return err_set(e, ERR_IO, ENOMEM, "--%s: cannot read it", option);
    for (char *item; (item = strsep(&rest, ",")) != NULL; n++)
        if (n == 3 || units_parse_duration(item, &ns[n], e) < 0)
            return n == 3 ? err_set(e, ERR_USAGE, 0, "--%s: is one time or three", option)
                          : err_wrap(e, "--%s", option);
    if (n == 2 || (n == 3 && (ns[0] > ns[1] || ns[1] > ns[2])))
        return err_set(e, ERR_USAGE, 0, "--%s: is one time, or three that rise", option);
    *to = n == 1 ? estimate_exactly((double)ns[0])
                 : (struct estimate){(double)ns[0], (double)ns[1], (double)ns[2]};
    return 0;
}

static int simulate_check_lists(struct simulate_call *c, struct err *e)
{
    if (simulate_list("working-set", c->working_sets, "64M,512M", units_parse_size, &c->sets, e) <
            0 ||
        simulate_list("dirty-rate", c->dirty_rates, "0,10M,50M,100M,300M", units_parse_size,
                      &c->rates, e) < 0 ||
        simulate_list("link", c->links, "50M,1gbit,10gbit", units_parse_rate, &c->wires, e) < 0)
        return -1;
    for (size_t i = 0; i < c->wires.n; i++)
        if (c->wires.at[i] == 0)
            return err_set(e, ERR_USAGE, 0, "--link: must be above 0");
    for (size_t i = 0; i < c->sets.n; i++)
        if (c->sets.at[i] == 0 || c->sets.at[i] > c->ram_bytes)
            return err_set(e, ERR_USAGE, 0,
                           "--working-set: must be above 0, and at most the guest's memory");
    return 0;
}

static int simulate_check_plan(struct simulate_call *c, struct err *e)
{
    struct world_spec *s = &c->spec;
    const struct vm_settings none = {0};
    *s = (struct world_spec){
        .guest = {.ram_bytes = c->ram_bytes,
                  .first_pass_bytes = estimate_exactly((double)c->data_bytes)},
        .link = {.limit_bytes_per_s = c->max_bandwidth < UINT64_MAX ? (double)c->max_bandwidth : 0},
        .plan = {.keep_limit = c->downtime_limit_ns > 0},
        .limit_ns = c->downtime_limit_ns > 0 ? c->downtime_limit_ns : 300 * NS_PER_MS,
        .longest_ns = c->longest_ns,
    };
    if (simulate_times("begin", c->begin, "20ms,60ms,250ms", &s->costs.begin_ns, e) < 0 ||
        simulate_times("pause-cost", c->pause_cost, "4ms,10ms,40ms", &s->costs.pause_ns, e) < 0 ||
        simulate_times("end", c->end, "10ms,40ms,150ms", &s->costs.end_ns, e) < 0 ||
        promise_check(&c->promise, &none, &s->plan.promise, e) < 0)
        return -1;
    if (c->downtime_limit_ns > 0 && promise_is_made(&s->plan.promise))
        return err_set(e, ERR_USAGE, 0, "--downtime-limit and a promise cannot be used together");
    s->plan.pause_cost_ns = (int64_t)s->costs.pause_ns.high; /* as godwit migrate counts */
    return 0;
}

static int simulate_check(struct simulate_call *c, struct err *e)
{
    c->data_bytes = c->data_bytes == UINT64_MAX ? c->ram_bytes : c->data_bytes;
    if (c->ram_bytes < 1 << 20 || c->ram_bytes > UINT64_C(1) << 46)
        return err_set(e, ERR_USAGE, 0, "--ram: must be between 1M and 64T");
    if (c->data_bytes > c->ram_bytes)
        return err_set(e, ERR_USAGE, 0, "--data: is more than the guest's memory");
    if (c->max_bandwidth == 0)
        return err_set(e, ERR_USAGE, 0, "--max-bandwidth: must be above 0");
    if (c->downtime_limit_ns == 0)
        return err_set(e, ERR_USAGE, 0, "--downtime-limit: must be above 0");
    if (c->longest_ns <= 0)
        return err_set(e, ERR_USAGE, 0, "--longest: must be above 0");
    return simulate_check_lists(c, e) < 0 ? -1 : simulate_check_plan(c, e);
}

/* Of what a fit takes from the results. */
static int simulate_check_fit(const struct simulate_call *c, struct err *e)
{
    const char *other = c->working_sets != NULL         ? "working-set"
                        : c->dirty_rates != NULL        ? "dirty-rate"
                        : c->links != NULL              ? "link"
                        : c->begin != NULL              ? "begin"
                        : c->pause_cost != NULL         ? "pause-cost"
                        : c->end != NULL                ? "end"
                        : c->downtime_limit_ns >= 0     ? "downtime-limit"
                        : c->max_bandwidth < UINT64_MAX ? "max-bandwidth"
                        : c->data_bytes < UINT64_MAX    ? "data"
                                                        : NULL;
    if (c->fit.n == 0 || (other == NULL && !promise_is_made(&c->spec.plan.promise)))
        return 0;
    return err_set(e, ERR_USAGE, 0, "--fit and --%s cannot be used together",
                   other != NULL ? other : "max-downtime or --max-time");
}

/* ---- the grid ---- */

static int simulate_point(const struct simulate_call *c, size_t i, struct simulate_row *row,
                          struct err *e)
{
    struct world_spec s = c->spec;
    size_t guest = i / c->wires.n, set = guest / c->rates.n;
    row->link_bytes_per_s = (double)c->wires.at[i % c->wires.n];
    row->dirty_bytes_per_s = (double)c->rates.at[guest % c->rates.n];
    row->working_set_bytes = (double)c->sets.at[set];
    double spread = 1 - (double)c->link_spread / 100;
    s.link.bytes_per_s = (struct estimate){row->link_bytes_per_s * spread, row->link_bytes_per_s,
                                           row->link_bytes_per_s / spread};
    s.guest.curve = world_round_curve(c->ram_bytes, row->working_set_bytes, row->dirty_bytes_per_s);
    return simulate_run(&s, (unsigned)c->runs, c->seed, &row->simulated, e);
}

static int simulate_grid(struct simulate_call *c, struct err *e)
{
    size_t all = c->sets.n * c->rates.n * c->wires.n;
    c->rows = calloc(all, sizeof *c->rows);
    if (c->rows == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    for (; c->n < all; c->n++)
        if (simulate_point(c, c->n, &c->rows[c->n], e) < 0)
            return -1;
    return 0;
}

static int simulate_do(struct simulate_call *c, struct err *e)
{
    struct simulate_call given = *c;
    if (simulate_check(c, e) < 0)
        return -1;
    given.spec = c->spec;
    if (simulate_check_fit(&given, e) < 0)
        return -1;
    return c->fit.n > 0 ? simulate_fit(c, e) : simulate_grid(c, e);
}

static int simulate_main(const struct command *self, int argc, char **argv)
{
    struct simulate_call c = {
        .ram_bytes = UINT64_C(1) << 30,
        .data_bytes = UINT64_MAX,
        .link_spread = 10,
        .downtime_limit_ns = -1,
        .max_bandwidth = UINT64_MAX,
        .longest_ns = 600 * NS_PER_S,
        .runs = 1000,
        .seed = 1,
    };
    struct err e = {0};
    int code;
    promise_options_init(&c.promise);
    if (command_parse(self, &c, argc, argv, 0, 0, &code) < 0)
        return code;
    int64_t began_ns = clock_now_ns();
    int rc = simulate_do(&c, &e);
    c.took_ns = clock_now_ns() - began_ns;
    if (c.json)
        report_simulate_json(&c, &e, stdout);
    else if (rc == 0)
        report_simulate_text(&c, stdout);
    code = rc < 0 ? command_fail(&e) : EXIT_DONE;
    for (size_t i = 0; i < c.n; i++)
        simulate_row_free(&c.rows[i]);
    free(c.rows);
    return code;
}

const struct command command_bench_simulate = {
    .name = "bench simulate",
    .operands = "",
    .summary = "Play migrations of a modelled guest, steered by the controller of real ones",
    .details =
        "Each combination of working set, dirty rate and link is a point, at which so many\n"
        "migrations are played. The table has how many were done, kept what was promised, and the\n"
        "middle and 90 % of total time, pause and bytes. With --fit the points are the cells of\n"
        "results, and the table has the measured ones beside: the ratio of the medians, and how far\n"
        "the distributions are apart (Kolmogorov and Smirnov: 0 the same, 1 not at all).\n",
    .options = options,
    .run = simulate_main,
};
