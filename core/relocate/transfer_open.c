/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a transfer begins: a table of steps. Before anything of an image is made, what ended runs have
 * left of it is removed, and the image is made ours (core/relocate/resume.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/relocate/part_name.h"
#include "core/relocate/resume.h"
#include "core/relocate/transfer_parts.h"
#include "core/step.h"

#define WHOLE_HOLES_MAX_BYTES (UINT64_C(4) << 30)

struct opening {
    struct transfer *t;
    struct transfer_handles *h;
};

static int open_source(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    return transfer_open_source(o->t, o->h, e);
}

static void undo_open(void *ctx)
{
    struct opening *o = ctx;
    transfer_release(o->h);
}

/* Zeros are digested at some 40 GB/s, too: 25 ms a GiB. */
static bool transfer_wants_whole(const struct transfer *t)
{
    const struct relocate_options *o = t->options;
    bool cheap = t->map.size_bytes <= TRANSFER_WHOLE_MAX_BYTES &&
                 t->map.size_bytes - t->map.data_bytes <= WHOLE_HOLES_MAX_BYTES && !t->resume;
    return o->whole_sums || (cheap && !o->chunk_sums);
}

static int open_map(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    if (extents_scan(&t->map, o->h->src, e) < 0)
        return -1;
    t->n_chunks = journal_chunks(t->map.size_bytes, (uint32_t)t->options->chunk_bytes);
    t->chunks = calloc(t->n_chunks + 1, sizeof *t->chunks);
    if (t->chunks == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu chunks", t->n_chunks);
    t->image.data_bytes = t->map.data_bytes;
    if (transfer_wants_whole(t) && (t->whole = checksum_new()) == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate a checksum");
    return 0;
}

static bool transfer_keeps_journal(const struct transfer *t, const struct store_place *to)
{
    return (t->phases & TRANSFER_COPY) != 0 && t->n_chunks >= 2 && to->ops->read != NULL;
}

/* The name of the leftover does not say whose it is: nobody's, where claims bind, and none is. */
static bool transfer_may_remove(const struct transfer *t, struct store_place *to, const char *name,
                                struct store_attr *is)
{
    struct err why = {0};
    uint32_t pid;
    const char *owner = part_name_owner(name, t->part);
    if (owner == NULL)
        owner = part_name_owner(name, t->journal);
    struct store_file *f = transfer_file(to, name, STORE_READ, &why);
    if (f == NULL)
        return false;
    bool unknown = owner_text_state(owner, &pid) == OWNER_UNKNOWN && !t->options->restart;
    bool may = !f->claimed && (!unknown || to->claims_bind);
    *is = f->attr;
    to->ops->file_close(f);
    return may;
}

/* What ended runs have left of this image. */
static int open_sweep(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    for (size_t i = 0; i < t->n_left; i++) {
        struct store_attr is;
        if (!transfer_may_remove(t, to, t->left[i], &is))
            continue;
        log_info("%s%s: left by an unfinished run, removed", to->url, t->left[i]);
        if (to->ops->remove(to, t->left[i], &is, e) < 0)
            return -1;
    }
    if (!t->stale_journal)
        return 0;
    t->stale_journal = false;
    return to->ops->remove(to, t->journal, &t->journal_is, e);
}

static int open_journal(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    if (!transfer_keeps_journal(t, o->h->to))
        return 0;
    int rc = t->resume ? resume_continue(t, o->h, e) : resume_make(t, o->h, e);
    return rc < 0 ? err_wrap(e, "%s%s", o->h->to->url, t->journal) : 0;
}

/* The name of a part that has no journal is of this process alone. */
static int transfer_own_name(struct transfer *t, struct err *e)
{
    char text[OWNER_TEXT_MAX];
    owner_text(t->self, text);
    char *own = part_name_owned(t->image.as, PART_NAME_DATA, text);
    if (own == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", t->part);
    free(t->part);
    t->part = own;
    return 0;
}

/* With the journal ours a part under its name is nobody else's: it was left there. */
static int transfer_clear_part(const struct transfer *t, struct store_place *to, struct err *e)
{
    struct store_attr old;
    int found = to->ops->lookup(to, t->part, &old, e);
    if (found <= 0)
        return found;
    log_info("%s%s: left by an unfinished run, made anew", to->url, t->part);
    return to->ops->remove(to, t->part, &old, e);
}

static int transfer_make_part(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    if (!t->journaled && transfer_own_name(t, e) < 0)
        return -1;
    if (transfer_clear_part(t, h->to, e) < 0)
        return -1;
    h->dst = h->to->ops->open(h->to, t->part, STORE_CREATE, t->map.size_bytes, e);
    if (h->dst == NULL)
        return -1;
    t->part_is = h->dst->attr;
    t->part_made = true;
    if (t->journaled)
        return resume_name_part(t, h, e);
    int claimed = h->to->ops->claim != NULL ? h->to->ops->claim(h->dst, &t->claim, e) : 1;
    return claimed == 0
               ? err_set(e, ERR_IO, 0, "%s%s: somebody else has locked it", h->to->url, t->part)
           : claimed < 0 ? -1
                         : 0;
}

static int open_part(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    struct transfer *t = o->t;
    t->may_forget = o->h->to->may_forget;
    if ((t->phases & TRANSFER_COPY) == 0)
        return 0;
    if (!t->resume)
        return transfer_make_part(t, o->h, e);
    o->h->dst = transfer_file_is(o->h->to, t->part, STORE_UPDATE, &t->part_is, e);
    t->part_made = o->h->dst != NULL;
    return t->part_made ? 0 : -1;
}

static const struct step opening_steps[] = {
    {"open the source", open_source, undo_open, 0}, {"find its holes", open_map, NULL, 0},
    {"remove what was left", open_sweep, NULL, 0},  {"open the journal", open_journal, NULL, 0},
    {"open the part", open_part, NULL, 0},
};

int transfer_open(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    struct opening o = {t, h};
    bool returnable;
    h->phase = t->phase;
    return step_run(opening_steps, sizeof opening_steps / sizeof *opening_steps, &o, &returnable,
                    e);
}
