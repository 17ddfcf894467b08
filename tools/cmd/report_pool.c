/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/cmd/line_diff.h"

static uint64_t report_bytes(const struct pool_journal *j)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < j->n_images; i++)
        bytes += j->images[i].size_bytes;
    return bytes;
}

/* With --dry-run the other way round for --undo. */
static void report_diff(const struct report_pool *r, const char *name, const char *before,
                        const char *after, FILE *to)
{
    if (after == NULL)
        return;
    if (r->arg->undo)
        line_diff(name, after, before, to);
    else
        line_diff(name, before, after, to);
}

static const char *report_after(const struct pool_move *m, size_t i)
{
    return m->after != NULL ? m->after[i] : m->journal->domains[i].after;
}

static void report_diffs(const struct report_pool *r, FILE *to)
{
    const struct pool_move *m = r->move;
    const struct pool_journal *j = m->journal;
    char name[300];
    snprintf(name, sizeof name, "pool %s", j->pool);
    report_diff(r, name, j->before, m->pool_after != NULL ? m->pool_after : j->after, to);
    for (size_t i = 0; i < j->n_domains; i++) {
        snprintf(name, sizeof name, "domain %s", j->domains[i].name);
        report_diff(r, name, j->domains[i].before, report_after(m, i), to);
    }
}

/* ---- text ---- */

static void report_plan_text(const struct report_pool *r, FILE *to)
{
    const struct pool_move *m = r->move;
    const struct pool_journal *j = m->journal;
    char bytes[UNITS_TEXT_MAX];
    if (r->arg->delete_originals) {
        for (size_t i = 0; i < j->n_images; i++)
            fprintf(to, "would delete: %s/%s\n", j->path, j->images[i].name);
        return;
    }
    if (m->running > 0)
        fputs("would shut down the domains that run\n", to);
    for (size_t i = 0; i < j->n_images; i++)
        if (r->arg->undo ? !j->images[i].was_there : j->phase == POOL_BEGUN)
            fprintf(to, "would %s: %s%s  %s\n",
                    r->arg->undo             ? "remove"
                    : j->images[i].was_there ? "compare"
                                             : "copy",
                    m->share, j->images[i].name, units_format_size(bytes, j->images[i].size_bytes));
    if (!r->arg->undo && m->pool_after == NULL)
        fprintf(to, "pool %s stays as it is: without --mount it has no place on the share\n",
                j->pool);
    report_diffs(r, to);
}

static void report_done_text(const struct pool_move *m, FILE *to)
{
    const struct pool_journal *j = m->journal;
    char bytes[UNITS_TEXT_MAX];
    fprintf(to, "pool %s: %zu image%s, %s, from %s to %s\n", j->pool, j->n_images,
            j->n_images == 1 ? "" : "s", units_format_size(bytes, report_bytes(j)), j->path,
            j->share);
    if (j->mount != NULL)
        fprintf(to, "pool %s: its path is %s\n", j->pool, j->mount);
    for (size_t i = 0; i < j->n_domains; i++)
        fprintf(to, "domain %s: was redefined%s\n", j->domains[i].name,
                j->domains[i].shut_down ? "; it was shut down for that" : "");
    fprintf(to,
            "the originals are still in %s: --delete-originals deletes them, --undo goes back\n",
            j->path);
}

static void report_undone_text(const struct pool_move *m, FILE *to)
{
    const struct pool_journal *j = m->journal;
    size_t kept = 0;
    for (size_t i = 0; i < j->n_images; i++)
        kept += j->images[i].was_there;
    fprintf(to,
            "pool %s and %zu domain%s are as they were before; the copies were removed from %s\n",
            j->pool, j->n_domains, j->n_domains == 1 ? "" : "s", j->share);
    if (kept > 0)
        fprintf(to, "%zu image%s stood there before: left there\n", kept, kept == 1 ? "" : "s");
}

void report_pool_text(const struct report_pool *r, FILE *to)
{
    const struct pool_move *m = r->move;
    const char *result = r->result;
    if (strcmp(result, "planned") == 0)
        report_plan_text(r, to);
    else if (strcmp(result, "done") == 0)
        report_done_text(m, to);
    else if (strcmp(result, "undone") == 0)
        report_undone_text(m, to);
    else if (strcmp(result, "deleted") == 0)
        fprintf(to, "pool %s: the originals in %s were deleted\n", m->journal->pool,
                m->journal->path);
}

void report_pool_where(const struct pool_move *m, FILE *to)
{
    if (m->unsettled != NULL)
        return;
    if (m->journal != NULL && m->journal->phase == POOL_SWITCHING && !m->back) {
        fprintf(to, "godwit: pool and domains are as an earlier run has left them, switched in "
                    "part: run the same again, or --undo\n");
        return;
    }
    fprintf(to, "godwit: pool and domains are as they were before\n");
    if (m->copying)
        fprintf(to,
                "godwit: copies are left in %s: the same command goes on with them, --undo "
                "removes them\n",
                m->share);
}

/* ---- JSON ---- */

static void report_diff_json(const struct report_pool *r, struct json *o, const char *name,
                             const char *before, const char *after)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    if (to == NULL)
        return;
    report_diff(r, name, before, after, to);
    if (fclose(to) == 0)
        json_text(o, "diff", text);
    free(text);
}

static void report_journal_json(const struct report_pool *r, struct json *o)
{
    const struct pool_move *m = r->move;
    const struct pool_journal *j = m->journal;
    json_text(o, "pool", j->pool);
    json_text(o, "share", j->share);
    json_text(o, "mount", j->mount);
    json_text(o, "target", j->network ? "nfs" : "file");
    json_text(o, "path", j->path);
    report_diff_json(r, o, j->pool, j->before, m->pool_after != NULL ? m->pool_after : j->after);
    struct json *domains = json_list(o, "domains");
    for (size_t i = 0; i < j->n_domains; i++) {
        struct json *d = json_item(domains);
        json_text(d, "name", j->domains[i].name);
        json_text(d, "uuid", j->domains[i].uuid);
        json_flag(d, "shut_down", j->domains[i].shut_down);
        report_diff_json(r, d, j->domains[i].name, j->domains[i].before, report_after(m, i));
    }
    struct json *images = json_list(o, "images");
    for (size_t i = 0; i < j->n_images; i++) {
        struct json *image = json_item(images);
        json_text(image, "name", j->images[i].name);
        json_u64(image, "bytes", j->images[i].size_bytes);
        json_flag(image, "was_there", j->images[i].was_there);
    }
    json_u64(o, "bytes", report_bytes(j));
}

void report_pool_json(const struct report_pool *r, const struct err *e, FILE *to)
{
    struct json *o = json_new();
    json_text(o, "result", r->result);
    if (r->move->journal != NULL)
        report_journal_json(r, o);
    json_error(o, e);
    json_print(o, to);
}
