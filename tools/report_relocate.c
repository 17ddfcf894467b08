/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_relocate.h"

#include <inttypes.h>

#include "core/units.h"
#include "tools/json.h"

struct relocate_sum {
    uint64_t bytes, data_bytes, write, commit, resent;
};

static struct relocate_sum report_sum(const struct report_relocate *r)
{
    struct relocate_sum s = {0};
    for (size_t i = 0; i < r->n; i++) {
        const struct relocate_result *f = &r->files[i].result;
        s.write += f->rpc.write;
        s.commit += f->rpc.commit;
        s.resent += f->rpc.resent;
        if (r->files[i].done) {
            s.bytes += f->bytes;
            s.data_bytes += f->data_bytes;
        }
    }
    return s;
}

static uint64_t report_rate(const struct report_relocate *r, uint64_t bytes)
{
    return r->wall_ns > 0 ? (uint64_t)((double)bytes * 1e9 / (double)r->wall_ns) : 0;
}

/* ---- progress ---- */

static void relocate_progress_json(const struct report_relocate *r, const struct copy_progress *p)
{
    struct json *o = json_new();
    json_text(o, "event", "progress");
    json_text(o, "source", r->source);
    json_u64(o, "bytes", p->bytes);
    json_u64(o, "total_bytes", p->total_bytes);
    json_u64(o, "data_bytes", p->data_bytes);
    json_u64(o, "total_data_bytes", p->total_data_bytes);
    json_u64(o, "bytes_per_s", p->bytes_per_s);
    json_s(o, "eta_s", p->eta_ns);
    json_line(o, r->progress->fd);
}

void report_relocate_progress(void *arg, const struct copy_progress *p)
{
    struct report_relocate *r = arg;
    if (r->progress->terminal) {
        char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], eta[32] = "";
        if (p->eta_ns >= 0)
            snprintf(eta, sizeof eta, ", ETA %.0f s", (double)p->eta_ns / 1e9);
        char line[400];
        snprintf(line, sizeof line, "%.50s: %s of %s, %s/s%s", r->source,
                 units_format_size(done, p->bytes), units_format_size(total, p->total_bytes),
                 units_format_size(rate, p->bytes_per_s), eta);
        progress_line(r->progress, line);
    }
    if (r->progress->fd >= 0)
        relocate_progress_json(r, p);
}

/* ---- results ---- */

void report_relocate_json(const struct report_relocate *r, const struct err *e, FILE *to)
{
    struct relocate_sum sum = report_sum(r);
    struct json *o = json_new();
    json_text(o, "result", r->result);
    struct json *files = json_list(o, "files");
    for (size_t i = 0; i < r->n; i++) {
        const struct report_relocate_file *f = &r->files[i];
        if (!f->done)
            continue;
        struct json *file = json_item(files);
        json_text(file, "source", f->source);
        json_text(file, "destination", f->destination);
        json_u64(file, "bytes", f->result.bytes);
        json_u64(file, "data_bytes", f->result.data_bytes);
        json_text(file, "xxh3_128", f->result.xxh3_128);
    }
    json_u64(o, "bytes", sum.bytes);
    json_u64(o, "data_bytes", sum.data_bytes);
    json_s(o, "seconds", r->wall_ns);
    json_u64(o, "bytes_per_s", report_rate(r, sum.data_bytes));
    json_s(o, "cpu_s", r->cpu_ns);
    struct json *rpc = json_node(o, "rpc");
    json_u64(rpc, "write", sum.write);
    json_u64(rpc, "commit", sum.commit);
    json_u64(rpc, "resent", sum.resent);
    json_error(o, e);
    json_print(o, to);
}

void report_relocate_text(const struct report_relocate *r, FILE *to)
{
    struct relocate_sum sum = report_sum(r);
    char bytes[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
    for (size_t i = 0; i < r->n; i++) {
        const struct report_relocate_file *f = &r->files[i];
        if (!f->done)
            continue;
        fprintf(to, "%s  %s  %s, %s of data\n", f->result.xxh3_128, f->destination,
                units_format_size(bytes, f->result.bytes),
                units_format_size(data, f->result.data_bytes));
    }
    fprintf(to, "%zu image%s, %s (%s of data) in %.1f s, %s/s; %.2f s of CPU; %" PRIu64
                " writes, %" PRIu64 " commits",
            r->done, r->done == 1 ? "" : "s", units_format_size(bytes, sum.bytes),
            units_format_size(data, sum.data_bytes), (double)r->wall_ns / 1e9,
            units_format_size(rate, report_rate(r, sum.data_bytes)), (double)r->cpu_ns / 1e9,
            sum.write, sum.commit);
    if (sum.resent > 0)
        fprintf(to, ", %" PRIu64 " writes sent again", sum.resent);
    fputs("\n", to);
}
