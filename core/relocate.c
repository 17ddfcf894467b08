/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The plan is made, and nothing is touched until it stands (core/plan.c). Then directories are
 * made, parents first; the crew takes the transfers to their end; then the directories get their
 * attributes, children first, since what is made in them changes their times. After a failure, what
 * is not worth to be kept is removed by the caller's thread, when no worker is there any more.
 */
#include "core/relocate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/crew.h"
#include "core/log.h"
#include "core/plan.h"

struct relocate {
    struct plan plan;
    struct relocate_totals totals;
};

struct relocate *relocate_plan(const struct relocate_source *sources, size_t n,
                               const struct relocate_site *to,
                               const struct relocate_options *options, struct err *e)
{
    assert(options->workers_max > 0 && options->depth_max > 0 && options->chunk_bytes > 0);
    struct relocate *r = calloc(1, sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_IO, ENOMEM, "%zu images", n);
        return NULL;
    }
    r->plan.options = *options;
    r->plan.to_site = to;
    if (plan_make(&r->plan, sources, n, e) < 0) {
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

static int relocate_make_directories(struct relocate *r, struct err *e)
{
    struct store_place *to = r->plan.to;
    for (size_t i = 0; i < r->plan.n_directories; i++) {
        const char *as = r->plan.directories[i].as;
        struct store_file *f =
            *as == '\0' ? NULL : to->ops->open(to, as, STORE_MAKE_DIRECTORY, 0, e);
        if (f == NULL && *as != '\0')
            return -1;
        if (f != NULL)
            to->ops->file_close(f);
    }
    return 0;
}

static int relocate_end_directory(struct relocate *r, const struct plan_directory *d, struct err *e)
{
    if (d->made && *d->as != '\0') {
        struct store_file *f = r->plan.to->ops->open(r->plan.to, d->as, STORE_MAKE_DIRECTORY, 0, e);
        if (f == NULL)
            return -1;
        int rc = r->plan.to->ops->publish(f, NULL, &d->attr, false, e);
        r->plan.to->ops->file_close(f);
        if (rc < 0)
            return -1;
    }
    if (!r->plan.options.move || *d->name == '\0')
        return 0;
    struct store_place *from = place_set_get(&r->plan.places, d->from, e);
    struct err left = {0};
    if (from->ops->remove(from, d->name, &left) < 0)
        log_warn("%s", left.msg);
    return 0;
}

static int relocate_end_directories(struct relocate *r, struct err *e)
{
    for (size_t i = r->plan.n_directories; i-- > 0 && !r->plan.options.verify_only;)
        if (relocate_end_directory(r, &r->plan.directories[i], e) < 0)
            return -1;
    return 0;
}

/* After a failure, which *e tells. */
static void relocate_abandon(struct relocate *r, struct err *e)
{
    size_t kept = 0, left = 0;
    /* A server that was waited for in vain is not asked once more, for each part. */
    struct store_place *to =
        e->class == ERR_LOST || e->class == ERR_TIMEOUT ? NULL : r->plan.to;
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
    const struct crew_job job = {
        .options = &r->plan.options,
        .to = r->plan.to_site,
        .transfers = r->plan.transfers,
        .n = r->plan.n,
        .totals = &r->totals,
    };
    int rc = r->plan.options.verify_only ? 0 : relocate_make_directories(r, e);
    if (rc == 0)
        rc = crew_run(&job, e);
    if (rc == 0)
        rc = relocate_end_directories(r, e);
    else
        relocate_abandon(r, e);
    if (rc < 0 && e->class == ERR_REFUSED) /* that would say that nothing was touched */
        e->class = ERR_IO;
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
