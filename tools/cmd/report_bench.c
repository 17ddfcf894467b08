/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_bench.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"
#include "version.h"

static const double mib = 1 << 20;

static const char *const role_names[] = {
    [TOOL_GODWIT] = "godwit", [TOOL_PEER] = "peer", [TOOL_CEILING] = "ceiling"};

static const char *const outcome_names[] = {[COMPARE_NOT_RUN] = "not run",
                                            [COMPARE_RIGHT] = "right",
                                            [COMPARE_WRONG] = "wrong",
                                            [COMPARE_FAILED] = "failed"};

static void report_version(const struct tool *who, char version[MACHINE_TEXT_MAX])
{
    version[0] = '\0';
    if (who->role != TOOL_PEER)
        snprintf(version, MACHINE_TEXT_MAX, "%s", GODWIT_VERSION);
    else if (!who->missing)
        machine_version(who->command.words[0], version);
}

/* ---- progress ---- */

static void bench_progress_json(const struct report_bench *r, const struct compare_progress *p)
{
    struct json *o = json_new();
    json_text(o, "event", "progress");
    json_text(o, "doing", p->doing);
    json_text(o, "contestant", p->label);
    json_u64(o, "round", p->round);
    json_u64(o, "rounds", p->rounds);
    json_s(o, "eta_s", p->eta_ns);
    json_line(o, r->progress->fd);
}

void report_bench_progress(void *arg, const struct compare_progress *p)
{
    struct report_bench *r = arg;
    if (r->progress->terminal) {
        char line[160], eta[32] = "";
        if (p->eta_ns >= 0)
            snprintf(eta, sizeof eta, ", ETA %.0f s", (double)p->eta_ns / 1e9);
        snprintf(line, sizeof line, "round %zu of %zu: %s: %s%s", p->round, p->rounds, p->label,
                 p->doing, eta);
        r->progress->next_ns = 0; /* these lines are few, and each may stand for long */
        progress_line(r->progress, line);
    }
    if (r->progress->fd >= 0)
        bench_progress_json(r, p);
}

/* ---- text ---- */

static void report_head(const struct report_bench *r, FILE *to)
{
    const struct compare *c = &r->compare;
    const struct compare_options *o = c->options;
    const struct machine *m = &r->machine;
    char size[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX];
    fprintf(to,
            "%s, %s%s%s: %zu file%s, %s (%s of data); %s; %zu of %zu rounds, seed %" PRIu64 "\n",
            r->direction, o->share, o->local != NULL ? ", " : "", o->local != NULL ? o->local : "",
            c->set.n, c->set.n == 1 ? "" : "s", units_format_size(size, c->set.size_bytes),
            units_format_size(data, c->set.data_bytes),
            o->cold ? "source not in the page cache" : "warm", c->rounds_begun, o->rounds, o->seed);
    fprintf(to, "on %s, %ld core%s%s%s, load %.2f %.2f %.2f\n", m->kernel, m->cores,
            m->cores == 1 ? "" : "s", m->cpu[0] != '\0' ? " of " : "", m->cpu, m->load[0],
            m->load[1], m->load[2]);
    fprintf(to, "godwit %s", GODWIT_VERSION);
    for (size_t i = 0; i < c->n; i++) {
        char version[MACHINE_TEXT_MAX];
        report_version(&c->entry[i].who, version);
        if (c->entry[i].who.role == TOOL_PEER && version[0] != '\0')
            fprintf(to, "; %s: %s", c->entry[i].who.label, version);
    }
    fputs("\n\n", to);
}

/* "0.512-0.701" */
static const char *report_range(char text[24], double min, double max, int decimals)
{
    snprintf(text, 24, "%.*f-%.*f", decimals, min, decimals, max);
    return text;
}

static void report_row(const struct report_bench *r, size_t i, int width, FILE *to)
{
    const struct compare_entry *entry = &r->compare.entry[i];
    struct compare_summary s;
    struct err e = {0};
    char range[24], ratio[24], rate[UNITS_TEXT_MAX];
    if (entry->who.missing || compare_summary(&r->compare, i, &s, &e) < 0)
        return;
    fprintf(to, "%-*s %3zu ", width, entry->who.label, s.wall_s.n);
    if (s.wall_s.n == 0) {
        fputs("       -\n", to);
        return;
    }
    fprintf(to, "%8.3f  %-15s %10s/s %6.2f  %-11s %6.3f %5.2f %6.1f %5.2f", s.wall_s.median,
            report_range(range, s.wall_s.min, s.wall_s.max, 3),
            units_format_size(rate, s.bytes_per_s), s.wall_ratio.median,
            report_range(ratio, s.wall_ratio.min, s.wall_ratio.max, 2), s.cpu_s_per_gib.median,
            s.cpu_ratio.median, s.peak_bytes.median / mib, s.peak_ratio.median);
    if (s.server_s_per_gib.n > 0)
        fprintf(to, " %7.3f", s.server_s_per_gib.median);
    fputs("\n", to);
}

static void report_table(const struct report_bench *r, FILE *to)
{
    const struct compare *c = &r->compare;
    int width = 10;
    for (size_t i = 0; i < c->n; i++)
        if ((int)strlen(c->entry[i].who.label) > width)
            width = (int)strlen(c->entry[i].who.label);
    bool server = c->options->server_pid != 0;
    fprintf(to,
            "%-*s   n  seconds  min-max               rate   time  min-max        CPU"
            "  time    MiB  peak%s\n",
            width, "", server ? "  server" : "");
    fprintf(to,
            "%-*s      median                                   ×  of rounds    s/GiB"
            "     ×   peak     ×%s\n",
            width, "", server ? "   s/GiB" : "");
    for (size_t i = 0; i < c->n; i++)
        report_row(r, i, width, to);
    fprintf(to,
            "\n×: as many times as much as %s in the same round, the median. CPU and server:\n"
            "per GiB of data. Each copy was read back and compared, outside of the clock.\n",
            c->entry[0].who.label);
}

/* The slowest ceiling is what the first tool can reach at best. */
static void report_ceiling(const struct report_bench *r, FILE *to)
{
    const struct compare *c = &r->compare;
    const char *lowest = NULL;
    double share = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct compare_summary s;
        struct err e = {0};
        if (c->entry[i].who.role != TOOL_CEILING || compare_summary(c, i, &s, &e) < 0 ||
            s.wall_ratio.n == 0 || s.wall_ratio.median <= share)
            continue;
        share = s.wall_ratio.median;
        lowest = c->entry[i].who.label;
    }
    if (lowest == NULL || c->entry[0].who.role == TOOL_CEILING)
        return;
    fprintf(to, "%s runs at %.0f %% of the lowest ceiling, %s.\n", c->entry[0].who.label,
            share * 100, lowest);
}

static void report_notes(const struct report_bench *r, FILE *to)
{
    const struct compare *c = &r->compare;
    report_ceiling(r, to);
    for (size_t i = 0; i < c->n; i++) {
        const struct compare_entry *entry = &c->entry[i];
        struct compare_summary s;
        struct err e = {0};
        if (entry->who.missing)
            fprintf(to, "%s is not installed; Debian has it in %s.\n", entry->who.label,
                    entry->who.package);
        if (entry->fault.class == ERR_NONE || compare_summary(c, i, &s, &e) < 0)
            continue;
        if (s.wrong > 0)
            fprintf(to, "WRONG: %s: %zu of its copies: %s\n", entry->who.label, s.wrong,
                    entry->fault.msg);
        else
            fprintf(to, "FAILED: %s: %s\n", entry->who.label, entry->fault.msg);
    }
}

void report_bench_text(const struct report_bench *r, FILE *to)
{
    report_head(r, to);
    report_table(r, to);
    report_notes(r, to);
}

/* ---- JSON ---- */

static void report_json_stats(struct json *o, const char *key, const struct stats *s)
{
    struct json *to = json_node(o, key);
    json_number(to, "median", s->median);
    json_number(to, "min", s->min);
    json_number(to, "q1", s->q1);
    json_number(to, "q3", s->q3);
    json_number(to, "max", s->max);
}

static void report_json_runs(struct json *o, const struct compare *c,
                             const struct compare_entry *entry)
{
    struct json *runs = json_list(o, "runs");
    for (size_t round = 0; round < c->rounds_begun; round++) {
        const struct compare_run *run = &entry->run[round];
        if (run->outcome == COMPARE_NOT_RUN)
            continue;
        struct json *to = json_item(runs);
        json_u64(to, "round", round + 1);
        json_u64(to, "place", run->place + 1);
        json_text(to, "outcome", outcome_names[run->outcome]);
        json_s(to, "seconds", run->wall_ns);
        json_s(to, "cpu_s", run->cpu_ns);
        json_s(to, "server_cpu_s", run->server_cpu_ns);
        json_u64(to, "peak_bytes", run->peak_bytes);
    }
}

static void report_json_command(struct json *o, const struct tool_command *command)
{
    char text[512] = "";
    size_t len = 0;
    for (size_t i = 0; command->words[i] != NULL && len < sizeof text; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? " " : "",
                                command->words[i]);
    json_text(o, "command", text);
}

static void report_json_entry(struct json *list, const struct compare *c, size_t i)
{
    const struct compare_entry *entry = &c->entry[i];
    struct compare_summary s;
    struct err e = {0};
    char version[MACHINE_TEXT_MAX];
    if (compare_summary(c, i, &s, &e) < 0)
        return;
    struct json *o = json_item(list);
    json_text(o, "name", entry->who.label);
    json_text(o, "role", role_names[entry->who.role]);
    report_json_command(o, &entry->who.command);
    report_version(&entry->who, version);
    json_text(o, "version", version);
    json_text(o, "state",
              entry->who.missing               ? "not installed"
              : s.wrong > 0                    ? "wrong"
              : entry->fault.class != ERR_NONE ? "failed"
                                               : "right");
    json_u64(o, "n", s.wall_s.n);
    json_u64(o, "wrong", s.wrong);
    report_json_stats(o, "seconds", &s.wall_s);
    json_u64(o, "bytes_per_s", s.bytes_per_s);
    report_json_stats(o, "cpu_s_per_gib", &s.cpu_s_per_gib);
    report_json_stats(o, "server_cpu_s_per_gib", &s.server_s_per_gib);
    report_json_stats(o, "peak_bytes", &s.peak_bytes);
    struct json *ratio = json_node(o, "ratio");
    report_json_stats(ratio, "seconds", &s.wall_ratio);
    report_json_stats(ratio, "cpu", &s.cpu_ratio);
    report_json_stats(ratio, "peak", &s.peak_ratio);
    report_json_runs(o, c, entry);
    json_error(o, &entry->fault);
}

static void report_json_machine(struct json *o, const struct machine *m)
{
    struct json *to = json_node(o, "machine");
    json_text(to, "kernel", m->kernel);
    json_text(to, "cpu", m->cpu);
    json_u64(to, "cores", (uint64_t)m->cores);
    json_number(to, "load_1m", m->load[0]);
    json_number(to, "load_5m", m->load[1]);
    json_number(to, "load_15m", m->load[2]);
}

void report_bench_json(const struct report_bench *r, const struct err *e, FILE *to)
{
    const struct compare *c = &r->compare;
    struct json *o = json_new();
    json_text(o, "result", r->result);
    json_text(o, "direction", r->direction);
    if (c->options != NULL) { /* it was opened */
        json_text(o, "share", c->options->share);
        json_u64(o, "files", c->set.n);
        json_u64(o, "bytes", c->set.size_bytes);
        json_u64(o, "data_bytes", c->set.data_bytes);
        json_text(o, "cache", c->options->cold ? "cold" : "warm");
        json_u64(o, "rounds", c->rounds_begun);
        json_u64(o, "seed", c->options->seed);
        report_json_machine(o, &r->machine);
        struct json *list = json_list(o, "contestants");
        for (size_t i = 0; i < c->n; i++)
            report_json_entry(list, c, i);
    }
    json_error(o, e);
    json_print(o, to);
}
