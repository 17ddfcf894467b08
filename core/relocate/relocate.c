/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The plan is made, and nothing is touched until it stands (core/relocate/plan.c). Then directories are
 * made, parents first; the workers take the transfers to their end; then the directories get their
 * attributes, children first, since what is made in them changes their times. After a failure, what
 * is not worth to be kept is removed by the caller's thread, when no worker is there any more.
 */
#include "core/relocate/relocate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/relocate/directories.h"
#include "core/relocate/plan.h"
#include "core/relocate/workers.h"

struct relocate {
    struct plan plan;
    struct relocate_totals totals;
};

/* An error that the operator's wish to stop may have caused is that. */
static void relocate_stopped(const struct relocate_options *o, struct err *e)
{
    if (o->cancel != NULL && *o->cancel != 0)
        err_stopped(e);
}

struct relocate *relocate_plan(const struct relocate_source *sources, size_t n,
                               const struct relocate_site *to,
                               const struct relocate_options *options, struct err *e)
{
    assert(options->workers_max > 0 && options->depth_max > 0 && options->chunk_bytes > 0);
    struct relocate *r = calloc(1, sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu images", n);
        return NULL;
    }
    r->plan.options = *options;
    r->plan.to_site = to;
    if (plan_make(&r->plan, sources, n, e) < 0) {
        relocate_stopped(options, e);
        relocate_free(r);
        return NULL;
    }
    r->totals.images = r->plan.n;
    return r;
}

void relocate_free(struct relocate *r)
{
    if (r == NULL)
        return;
    plan_close(&r->plan);
    free(r);
}

/* ---- the run ---- */

/* After a failure, which *e tells. */
static void relocate_abandon(struct relocate *r, struct err *e)
{
    size_t kept = 0, left = 0;
    /* A server that was waited for in vain is not asked once more, for each part. */
    struct store_place *to = e->class == ERR_LOST || e->class == ERR_TIMEOUT ? NULL : r->plan.to;
    for (size_t i = 0; i < r->plan.n; i++) {
        struct transfer *t = r->plan.transfers[i];
        struct err why = {0};
        if (t->image.state == RELOCATE_DONE)
            continue;
        if (transfer_abandon(t, to, &why) < 0) {
            log_warn("%s", why.msg);
            to = NULL;
        }
        kept += t->image.state == RELOCATE_KEPT;
        left += t->journaled || t->part_made;
    }
    if (to != NULL && !r->plan.options.verify_only)
        directories_abandon(&r->plan);
    if ((e->sys == ENOSPC || e->sys == EDQUOT) && e->hint == NULL) /* whatever met it first */
        err_hint(e, "make room at %s, and run it again", r->plan.to->url);
    if (kept > 0 && e->hint == NULL)
        err_hint(e, "what is durable was kept: run the same again to continue");
    else if (left > 0 && e->hint == NULL)
        err_hint(e, "parts may be left at %s; running the same again uses or removes them",
                 r->plan.to->url);
}

static void relocate_count(struct relocate *r)
{
    for (size_t i = 0; i < r->plan.n; i++) {
        const struct relocate_image *image = &r->plan.transfers[i]->image;
        r->totals.resumed_bytes += image->resumed_bytes;
        if (image->state != RELOCATE_DONE)
            continue;
        r->totals.images_done++;
        r->totals.bytes += image->bytes;
        r->totals.data_bytes += image->data_bytes;
    }
}

int relocate_run(struct relocate *r, struct err *e)
{
    const struct workers_job job = {
        .options = &r->plan.options,
        .to = r->plan.to_site,
        .transfers = r->plan.transfers,
        .n = r->plan.n,
        .totals = &r->totals,
    };
    bool writes = !r->plan.options.verify_only;
    int rc = writes ? directories_make(&r->plan, e) : 0;
    if (rc == 0)
        rc = workers_run(&job, e);
    if (rc < 0)
        relocate_abandon(r, e);
    else if (writes)
        rc = directories_end(&r->plan, e);
    if (rc < 0 && e->class == ERR_REFUSED) /* that would say that nothing was touched */
        e->class = ERR_IO;
    if (rc < 0)
        relocate_stopped(&r->plan.options, e);
    relocate_count(r);
    return rc;
}

const struct relocate_image *relocate_image(const struct relocate *r, size_t i)
{
    return i < r->plan.n ? &r->plan.transfers[i]->image : NULL;
}

const struct relocate_totals *relocate_totals(const struct relocate *r)
{
    return &r->totals;
}
