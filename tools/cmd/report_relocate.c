/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_relocate.h"

#include <inttypes.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"

static uint64_t report_rate(const struct report_relocate *r, uint64_t bytes)
{
    return r->wall_ns > 0 ? (uint64_t)((double)bytes * 1e9 / (double)r->wall_ns) : 0;
}

/* The name of an image, as the operator would write it; a place may itself be the image's name. */
static void report_name(char *text, size_t room, const char *url, const char *name)
{
    snprintf(text, room, "%s%s", url, name);
    size_t len = strlen(text);
    if (*name == '\0' && len > 1 && text[len - 1] == '/')
        text[len - 1] = '\0';
}

/* ---- progress ---- */

static void relocate_progress_json(const struct report_relocate *r,
                                   const struct relocate_progress *p)
{
    struct json *o = json_new();
    json_text(o, "event", "progress");
    if (p->name != NULL)
        json_text(o, "source", p->name);
    json_u64(o, "images", p->images);
    json_u64(o, "images_done", p->images_done);
    json_u64(o, "bytes", p->bytes);
    json_u64(o, "total_bytes", p->total_bytes);
    json_u64(o, "data_bytes", p->data_bytes);
    json_u64(o, "total_data_bytes", p->total_data_bytes);
    json_u64(o, "bytes_per_s", p->bytes_per_s);
    json_s(o, "eta_s", p->eta_ns);
    json_line(o, r->progress->fd);
}

void report_relocate_progress(void *arg, const struct relocate_progress *p)
{
    struct report_relocate *r = arg;
    if (r->progress->terminal) {
        char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], eta[32] = "";
        char images[64] = "";
        if (p->eta_ns >= 0)
            snprintf(eta, sizeof eta, ", ETA %.0f s", (double)p->eta_ns / 1e9);
        if (p->images > 1)
            snprintf(images, sizeof images, "%" PRIu64 " of %" PRIu64 " images, ", p->images_done,
                     p->images);
        char line[400];
        snprintf(line, sizeof line, "%.50s: %s%s of %s, %s/s%s", p->name != NULL ? p->name : "end",
                 images, units_format_size(done, p->data_bytes),
                 units_format_size(total, p->total_data_bytes),
                 units_format_size(rate, p->bytes_per_s), eta);
        progress_line(r->progress, line);
    }
    if (r->progress->fd >= 0)
        relocate_progress_json(r, p);
}

/* ---- results ---- */

static void report_image_json(const struct report_relocate *r, const struct relocate_image *image,
                              struct json *file)
{
    char name[4096];
    report_name(name, sizeof name, image->from->url, image->name);
    json_text(file, "source", name);
    report_name(name, sizeof name, r->to_url, image->as);
    json_text(file, "destination", name);
    json_text(file, "state",
              image->state == RELOCATE_DONE   ? "done"
              : image->state == RELOCATE_KEPT ? "kept"
                                              : "not done");
    json_u64(file, "bytes", image->bytes);
    json_u64(file, "data_bytes", image->data_bytes);
    json_u64(file, "resumed_bytes", image->resumed_bytes);
    json_flag(file, "was_there", image->was_there);
    json_flag(file, "verified", image->verified);
    json_flag(file, "moved", image->moved);
    json_text(file, "xxh3_128", image->xxh3_128[0] != '\0' ? image->xxh3_128 : NULL);
}

void report_relocate_json(const struct report_relocate *r, const struct err *e, FILE *to)
{
    const struct relocate_totals none = {0};
    const struct relocate_totals *t = r->relocate != NULL ? relocate_totals(r->relocate) : &none;
    const struct relocate_image *image;
    struct json *o = json_new();
    json_text(o, "result", r->result);
    struct json *files = json_list(o, "files");
    for (size_t i = 0; r->relocate != NULL && (image = relocate_image(r->relocate, i)) != NULL; i++)
        report_image_json(r, image, json_item(files));
    json_u64(o, "images", t->images);
    json_u64(o, "images_done", t->images_done);
    json_u64(o, "bytes", t->bytes);
    json_u64(o, "data_bytes", t->data_bytes);
    json_u64(o, "written_bytes", t->written_bytes);
    json_u64(o, "resumed_bytes", t->resumed_bytes);
    json_s(o, "seconds", r->wall_ns);
    json_u64(o, "bytes_per_s", report_rate(r, t->data_bytes));
    json_s(o, "cpu_s", r->cpu_ns);
    struct json *rpc = json_node(o, "rpc");
    json_u64(rpc, "read", t->read);
    json_u64(rpc, "write", t->write);
    json_u64(rpc, "commit", t->commit);
    json_u64(rpc, "resent", t->resent);
    struct json *tuned = json_node(o, "tuned");
    json_u64(tuned, "connections", t->workers);
    json_u64(tuned, "depth", t->depth);
    json_u64(tuned, "block_bytes", t->block_bytes);
    json_error(o, e);
    json_print(o, to);
}

static void report_image_text(const struct report_relocate *r, const struct relocate_image *image,
                              FILE *to)
{
    char bytes[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], resumed[UNITS_TEXT_MAX], name[4096];
    report_name(name, sizeof name, r->to_url, image->as);
    if (image->xxh3_128[0] != '\0')
        fprintf(to, "%s  ", image->xxh3_128);
    fprintf(to, "%s  %s, %s of data", name, units_format_size(bytes, image->bytes),
            units_format_size(data, image->data_bytes));
    if (image->was_there)
        fputs(", was there", to);
    if (image->resumed_bytes > 0)
        fprintf(to, ", %s since an earlier run", units_format_size(resumed, image->resumed_bytes));
    if (image->verified)
        fputs(", verified", to);
    if (image->moved)
        fputs(", moved", to);
    fputs("\n", to);
}

void report_relocate_text(const struct report_relocate *r, FILE *to)
{
    const struct relocate_totals *t = relocate_totals(r->relocate);
    const struct relocate_image *image;
    char bytes[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
    if (t->images_done == 0)
        return;
    for (size_t i = 0; (image = relocate_image(r->relocate, i)) != NULL; i++)
        if (image->state == RELOCATE_DONE)
            report_image_text(r, image, to);
    fprintf(to,
            "%" PRIu64 " image%s, %s (%s of data) in %.1f s, %s/s; %.2f s of CPU; %" PRIu64
            " reads, %" PRIu64 " writes, %" PRIu64 " commits",
            t->images_done, t->images_done == 1 ? "" : "s", units_format_size(bytes, t->bytes),
            units_format_size(data, t->data_bytes), (double)r->wall_ns / 1e9,
            units_format_size(rate, report_rate(r, t->data_bytes)), (double)r->cpu_ns / 1e9,
            t->read, t->write, t->commit);
    if (t->resent > 0)
        fprintf(to, ", %" PRIu64 " writes sent again", t->resent);
    fputs("\n", to);
}

void report_relocate_where(const struct report_relocate *r, FILE *to)
{
    const struct relocate_totals *t = relocate_totals(r->relocate);
    const struct relocate_image *image;
    uint64_t kept = 0, moved = 0;
    for (size_t i = 0; (image = relocate_image(r->relocate, i)) != NULL; i++) {
        kept += image->state == RELOCATE_KEPT;
        moved += image->moved;
    }
    if (r->verify_only) {
        fprintf(to,
                "godwit: %" PRIu64 " of %" PRIu64 " images were compared and are the same; nothing "
                "was written or removed\n",
                t->images_done, t->images);
        return;
    }
    fprintf(to, "godwit: %" PRIu64 " of %" PRIu64 " images were relocated, ", t->images_done,
            t->images);
    if (kept > 0)
        fprintf(to, "%" PRIu64 " are there in part; ", kept);
    if (moved > 0)
        fprintf(to, "%" PRIu64 " sources were removed, the others are as before\n", moved);
    else
        fputs("the sources are as before\n", to);
}
