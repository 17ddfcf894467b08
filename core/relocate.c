/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A relocation is the table of steps below. The last one, "publish", is the point of no return:
 * once the image stands under its final name it stays there. Whatever fails before it is undone
 * from the bottom up: the temporary file is removed, the source is closed.
 */
#include "core/relocate.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "core/step.h"

struct relocation {
    const struct relocate_job *job;
    struct relocate_options options;
    struct relocate_result *result;
    struct store_file *src, *dst;
    struct extents map;
    struct checksum *sum;
    char left[STORE_NAME_MAX + 1]; /* the temporary name that could not be removed */
};

/* ---- the checks ---- */

static int relocate_check_type(const struct relocate_job *job, const struct store_attr *attr,
                               struct err *e)
{
    const char *dir = job->from->url;
    switch (attr->type) {
    case STORE_REGULAR:
    case STORE_BLOCK_DEVICE:
        return 0;
    case STORE_DIRECTORY:
        err_set(e, ERR_REFUSED, 0, "%s%s: is a directory", dir, job->name);
        return err_hint(e, "directories are not supported yet, name the files");
    default:
        return err_set(e, ERR_REFUSED, 0, "%s%s: is neither a file nor a block device", dir,
                       job->name);
    }
}

/* Makes any error of a check a refusal: nothing was touched. */
static int relocate_refuse(struct err *e)
{
    e->class = ERR_REFUSED;
    return -1;
}

static int relocate_check_source(const struct relocate_job *job, struct err *e)
{
    struct store_attr attr;
    int found = job->from->ops->lookup(job->from, job->name, &attr, e);
    if (found < 0)
        return relocate_refuse(e);
    if (found == 0)
        return err_set(e, ERR_REFUSED, ENOENT, "%s%s", job->from->url, job->name);
    if (relocate_check_type(job, &attr, e) < 0)
        return -1;
    struct store_file *f = job->from->ops->open(job->from, job->name, e);
    if (f == NULL)
        return relocate_refuse(e);
    return job->from->ops->file_close(f, e);
}

static int relocate_check_destination(const struct relocate_job *job, bool overwrite,
                                      struct err *e)
{
    struct store_attr attr;
    int found = job->to->ops->lookup(job->to, job->name, &attr, e);
    if (found < 0)
        return relocate_refuse(e);
    if (found == 0)
        return 0;
    if (attr.type != STORE_REGULAR)
        return err_set(e, ERR_REFUSED, 0, "%s%s: exists and is not a file", job->to->url,
                       job->name);
    if (overwrite)
        return 0;
    err_set(e, ERR_REFUSED, 0, "%s%s: exists", job->to->url, job->name);
    return err_hint(e, "--overwrite replaces it once the new copy is whole");
}

static int relocate_check_twins(const struct relocate_job *jobs, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(jobs[i].name, jobs[k].name) == 0 && jobs[i].to == jobs[k].to)
                return err_set(e, ERR_REFUSED, 0, "%s%s and %s%s would get the same name",
                               jobs[k].from->url, jobs[k].name, jobs[i].from->url, jobs[i].name);
    return 0;
}

int relocate_check(const struct relocate_job *jobs, size_t n, bool overwrite, struct err *e)
{
    if (relocate_check_twins(jobs, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (relocate_check_source(&jobs[i], e) < 0)
            return -1;
    for (size_t i = 0; i < n; i++)
        if (relocate_check_destination(&jobs[i], overwrite, e) < 0)
            return -1;
    return 0;
}

/* ---- the steps ---- */

static int step_open(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    r->src = r->job->from->ops->open(r->job->from, r->job->name, e);
    return r->src != NULL ? 0 : -1;
}

static void undo_open(void *ctx)
{
    struct relocation *r = ctx;
    struct err ignored = {0};
    r->job->from->ops->file_close(r->src, &ignored);
}

static int step_map(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    if (extents_scan(&r->map, r->src, e) < 0)
        return -1;
    r->result->bytes = r->map.size_bytes;
    r->result->data_bytes = r->map.data_bytes;
    return 0;
}

static int step_create(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    r->dst = r->job->to->ops->create(r->job->to, r->job->name, r->map.size_bytes, e);
    return r->dst != NULL ? 0 : -1;
}

static void undo_create(void *ctx)
{
    struct relocation *r = ctx;
    struct err e = {0};
    strncpy(r->left, r->dst->temp_name, sizeof r->left - 1);
    if (r->job->to->ops->file_close(r->dst, &e) == 0)
        r->left[0] = '\0';
    else
        log_warn("%s", e.msg);
}

/* Blocks fit both places and the source's alignment, and ranges hold whole blocks. */
static void relocate_fit(struct relocation *r)
{
    struct copy_options *o = &r->options.copy;
    uint32_t unit = r->src->align_bytes > 4096 ? r->src->align_bytes : 4096;
    uint32_t most = r->job->from->io_max_bytes < r->job->to->io_max_bytes
                        ? r->job->from->io_max_bytes
                        : r->job->to->io_max_bytes;
    if (o->block_bytes > most)
        o->block_bytes = most;
    o->block_bytes -= o->block_bytes % unit;
    if (o->block_bytes < unit)
        o->block_bytes = unit;
    o->range_bytes -= o->range_bytes % o->block_bytes;
    if (o->range_bytes < o->block_bytes)
        o->range_bytes = o->block_bytes;
}

static int step_copy(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    relocate_fit(r);
    return copy_run(r->src, r->dst, &r->map, &r->options.copy, r->sum, &r->result->rpc, e);
}

/* What was copied is one state of the source only if nobody wrote to it meanwhile. */
static int step_recheck(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    struct store_attr now;
    const struct store_attr *then = &r->src->attr;
    const struct relocate_job *job = r->job;
    int found = job->from->ops->lookup(job->from, job->name, &now, e);
    if (found < 0)
        return -1;
    bool same = found && now.device == then->device && now.inode == then->inode &&
                now.size_bytes == then->size_bytes;
    if (same && then->type == STORE_REGULAR)
        same = now.mtime_ns == then->mtime_ns && now.ctime_ns == then->ctime_ns;
    if (same)
        return 0;
    err_set(e, ERR_IO, 0, "%s%s: was changed under the copy", job->from->url, job->name);
    return err_hint(e, "stop what writes to it, and run it again");
}

static int step_publish(void *ctx, struct err *e)
{
    struct relocation *r = ctx;
    return r->job->to->ops->publish(r->dst, &r->src->attr, r->options.overwrite, e);
}

static const struct step relocation_steps[] = {
    {"open the source", step_open, undo_open, 0},
    {"find its holes", step_map, NULL, 0},
    {"create the destination", step_create, undo_create, 0},
    {"copy", step_copy, NULL, 0},
    {"check the source again", step_recheck, NULL, 0},
    {"publish", step_publish, NULL, STEP_POINT_OF_NO_RETURN},
};

int relocate_run(const struct relocate_job *job, const struct relocate_options *options,
                 struct relocate_result *result, struct err *e)
{
    *result = (struct relocate_result){0};
    struct relocation r = {.job = job, .options = *options, .result = result};
    r.sum = checksum_new();
    if (r.sum == NULL)
        return err_set(e, ERR_IO, ENOMEM, "checksum");

    bool returnable;
    size_t n = sizeof relocation_steps / sizeof *relocation_steps;
    int rc = step_run(relocation_steps, n, &r, &returnable, e);
    if (rc == 0) {
        checksum_hex(r.sum, result->xxh3_128);
        struct err ignored = {0};
        job->to->ops->file_close(r.dst, &ignored);
        job->from->ops->file_close(r.src, &ignored);
    } else if (r.left[0] != '\0') {
        err_hint(e, "%s%s is left there: remove it", job->to->url, r.left);
    }
    checksum_free(r.sum);
    extents_free(&r.map);
    return rc;
}
