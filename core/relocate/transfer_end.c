/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the phases of a transfer end: what the server that there is by then has not confirmed is proven,
 * and after the last one a table of steps gives the image its name, and is done with its source.
 */
#include <inttypes.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/relocate/resume.h"
#include "core/relocate/transfer_parts.h"
#include "core/step.h"

enum { PROOFS_MAX = 2 }; /* of a server that is another one each time */

/* ---- of a phase ---- */

enum transfer_phase transfer_phase_after(const struct transfer *t, enum transfer_phase phase)
{
    unsigned next = phase == 0 ? TRANSFER_COPY : (unsigned)phase << 1;
    while (next < TRANSFER_END && (t->phases & next) == 0)
        next <<= 1;
    return next < TRANSFER_END ? next : TRANSFER_END;
}

/* What the next pass goes over, where that is more than all once. */
static uint64_t transfer_pass_bytes(const struct transfer *t, enum transfer_phase phase)
{
    const struct extents *map = phase == TRANSFER_VERIFY ? &t->back : &t->map;
    uint64_t bytes = 0;
    for (size_t i = 0; i < t->n_chunks; i++) {
        const struct transfer_chunk *c = &t->chunks[i];
        if (phase == TRANSFER_VERIFY ? transfer_is_to_compare(t, c) : !c->durable)
            bytes += extents_bytes(map, i * t->options->chunk_bytes, transfer_chunk_end(t, i));
    }
    return bytes;
}

/* The part as the server has it now, and to be written to: handles that only read it, or from before others
 * have found another generation, are of what it was. */
static int transfer_hold_part(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    if (h->phase == TRANSFER_COPY && h->dst != NULL && !atomic_load(&t->renewed))
        return 0;
    if (h->dst != NULL)
        h->to->ops->file_close(TAKE(h->dst));
    h->dst = transfer_part(t, h->to, STORE_UPDATE, e);
    return h->dst != NULL ? 0 : -1;
}

/* The part has another generation, in some worker's handles: it is ours if all that we have put into it is
 * there. By the last worker alone. */
static int transfer_doubt_part(struct transfer *t, const struct transfer_handles *h, struct err *e)
{
    bool other = h->dst->attr.generation != t->part_is.generation;
    if (!atomic_exchange(&t->renewed, false) && !other)
        return 0;
    if (t->renewals++ == PROOFS_MAX)
        return err_set(e, ERR_IO, 0, "%s%s: is found as another file again and again", h->to->url,
                       t->part);
    t->part_is.generation = h->dst->attr.generation;
    log_warn(
        "%s%s: the server has given it another file handle, as after a restart: whether it is the "
        "part of this copy is found out by reading it back",
        h->to->url, t->part);
    for (size_t i = 0; i < t->n_chunks; i++)
        t->chunks[i].doubted = t->chunks[i].durable;
    return resume_name_part(t, h, e);
}

static int transfer_begin_verify(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    bool first = t->back.size_bytes == 0 && (t->phases & TRANSFER_VERIFY) != 0;
    if (resume_mark(t, h, JOURNAL_DOUBT, e) < 0)
        return -1;
    transfer_release(h);
    extents_free(&t->back);
    t->back = (struct extents){0};
    if (transfer_join(t, h, TRANSFER_VERIFY, e) < 0)
        return -1;
    if (h->dst->attr.size_bytes != t->map.size_bytes)
        return err_set(e, ERR_IO, 0, "%s%s: has %" PRIu64 " bytes, and its source %" PRIu64,
                       h->to->url, t->image.as, h->dst->attr.size_bytes, t->map.size_bytes);
    if (extents_scan(&t->back, h->dst, e) < 0)
        return -1;
    if (!first)
        t->more_work_bytes += transfer_pass_bytes(t, TRANSFER_VERIFY);
    return 0;
}

/* Which instance of the server this is. */
static int transfer_ask_instance(struct transfer *t, const struct transfer_handles *h,
                                 struct err *e)
{
    uint8_t now[STORE_VERIFIER_BYTES];
    if (store_verifier(h->dst, now, e) < 0)
        return -1;
    t->proofs += memcmp(t->instance, now, sizeof now) != 0;
    memcpy(t->instance, now, sizeof now);
    return 0;
}

/* Whether something of it has to be read back, although nobody has asked for that. */
static bool transfer_has_unproven(struct transfer *t, const struct transfer_handles *h)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_chunks; i++)
        n += transfer_is_unproven(t, &t->chunks[i]);
    if (n == 0)
        return false;
    if (t->proofs > PROOFS_MAX) {
        log_warn("%s: its write verifier is another one each time: whether it has forgotten "
                 "anything of %s is not known",
                 h->to->url, t->image.as);
        t->unproven = true;
        return false;
    }
    log_warn("%s%s: the server is not the one that confirmed all of it: %zu of %zu chunks are read "
             "back",
             h->to->url, t->image.as, n, t->n_chunks);
    return true;
}

static bool transfer_has_written(const struct transfer *t)
{
    for (size_t i = 0; i < t->n_chunks; i++)
        if (t->chunks[i].written)
            return true;
    return false;
}

static bool transfer_has_lost(const struct transfer *t)
{
    for (size_t i = 0; i < t->n_chunks; i++)
        if (t->chunks[i].known && !t->chunks[i].durable)
            return true;
    return false;
}

static int transfer_prove(struct transfer *t, struct transfer_handles *h, enum transfer_phase *next,
                          struct err *e)
{
    if (t->phase == TRANSFER_VERIFY && transfer_has_lost(t)) {
        *next = TRANSFER_COPY;
        t->again = true;
        t->more_work_bytes += transfer_pass_bytes(t, TRANSFER_COPY);
        return 0;
    }
    if (transfer_hold_part(t, h, e) < 0 || transfer_doubt_part(t, h, e) < 0)
        return -1;
    bool one = t->n_chunks < 2 && (t->phases & TRANSFER_VERIFY) == 0 && t->renewals == 0;
    bool ask = t->may_forget && !one && transfer_has_written(t);
    if (ask && (transfer_ask_instance(t, h, e) < 0 || transfer_doubt_part(t, h, e) < 0))
        return -1;
    if (!one && transfer_has_unproven(t, h))
        *next = TRANSFER_VERIFY;
    return 0;
}

int transfer_end_phase(struct transfer *t, struct transfer_handles *h, enum transfer_phase *next,
                       struct err *e)
{
    *next = transfer_phase_after(t, t->phase);
    bool may = t->phase == TRANSFER_COPY || t->phase == TRANSFER_VERIFY;
    if (t->publish && may && transfer_prove(t, h, next, e) < 0)
        return -1;
    if (*next == TRANSFER_VERIFY)
        return transfer_begin_verify(t, h, e);
    if (*next != TRANSFER_COPY)
        return 0;
    transfer_release(h);
    return transfer_join(t, h, TRANSFER_COPY, e);
}

/* ---- of all ---- */

struct finishing {
    struct transfer *t;
    struct transfer_handles *h;
    bool renewed; /* since it got its name, and there_is is what was found under it */
};

static int finish_recheck(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    struct store_place *from = o->h->from;
    struct store_attr now = {0};
    int found = from->ops->lookup(from, t->image.name, &now, e);
    if (found < 0)
        return -1;
    t->useless = transfer_check_source(t, from, &now, e) < 0;
    t->attr.generation = t->useless ? t->attr.generation : now.generation; /* for its removal */
    return t->useless ? -1 : 0;
}

static int finish_mark(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    return o->t->publish ? resume_mark(o->t, o->h, JOURNAL_WHOLE, e) : 0;
}

static int finish_announce(const struct transfer *t, struct err *e)
{
    struct store_attr then = t->part_is;
    if (t->options->published == NULL || (t->phases & TRANSFER_COPY) == 0)
        return 0;
    then.size_bytes = t->attr.size_bytes;
    then.mtime_ns = t->attr.mtime_ns;
    then.ctime_ns = 0;
    return t->options->published(t->options->published_arg, t->image.as, &then, e);
}

static int finish_publish(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    if (!t->publish)
        return 0;
    if (finish_announce(t, e) < 0)
        return -1;
    if (to->ops->publish(o->h->dst, t->image.as, &t->attr, t->overwrites ? &t->replaces : NULL, e) <
        0)
        return -1;
    t->publish = t->part_made = false;
    return 0;
}

static void finish_tell_times(const struct transfer *t, const struct store_place *to,
                              const struct store_attr *now)
{
    if (t->attr.type == STORE_REGULAR && !store_same_time(now->mtime_ns, t->attr.mtime_ns))
        log_warn("%s%s: its modification time cannot be kept there, and became another", to->url,
                 t->image.as);
}

/* What we have named may have got another handle since. */
static bool finish_may_be_ours(struct transfer *t, const struct store_place *to,
                               const struct store_attr *now)
{
    struct store_attr named = t->attr;
    named.device = t->part_is.device;
    named.inode = t->part_is.inode;
    if (t->renewals == PROOFS_MAX || !store_may_be_same(to, now, &named))
        return false;
    t->renewals++;
    t->there_is = *now;
    return true;
}

/* Looks again, as anybody else would. A place that keeps nothing finds nothing. */
static int finish_confirm(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    struct store_attr now;
    bool copied = (t->phases & TRANSFER_COPY) != 0;
    if (to->ops->read == NULL || (!copied && !t->options->move))
        return 0;
    int found = to->ops->lookup(to, t->image.as, &now, e);
    if (found < 0)
        return -1;
    bool is = found > 0 &&
              (copied ? store_same_file(&now, &t->part_is) && now.size_bytes == t->attr.size_bytes
                      : store_unchanged(&now, &t->there_is));
    if (!is) {
        o->renewed = copied && found > 0 && finish_may_be_ours(t, to, &now);
        err_set(e, ERR_IO, 0, "%s%s: is not what was written there a moment ago", to->url,
                t->image.as);
        return err_hint(e, "somebody else is working there: look at who, and run it again");
    }
    if (copied)
        finish_tell_times(t, to, &now);
    return 0;
}

/* A second name of the image, or nothing, is left of the part. */
static int finish_part(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    if (!t->part_made)
        return 0;
    t->part_made = false;
    return o->h->to->ops->remove(o->h->to, t->part, &t->part_is, e);
}

static int finish_tell_compared(const struct finishing *o, struct err *e)
{
    const struct transfer *t = o->t;
    struct store_attr now;
    if (t->options->compared == NULL || (t->phases & TRANSFER_VERIFY) == 0)
        return 0;
    int found = o->h->to->ops->lookup(o->h->to, t->image.as, &now, e);
    if (found < 0)
        return -1;
    if (found == 0 || !store_unchanged(&now, &t->there_is))
        return err_set(e, ERR_IO, 0, "%s%s: was changed while it was compared", o->h->to->url,
                       t->image.as);
    return t->options->compared(t->options->published_arg, t->image.as, &now, e);
}

/* After the part's name, since taking a name from a file changes when it was changed. */
static int finish_tell(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    const struct transfer *t = o->t;
    struct store_attr now;
    if ((t->phases & TRANSFER_COPY) == 0)
        return finish_tell_compared(o, e);
    if (t->options->published == NULL)
        return 0;
    int found = o->h->to->ops->lookup(o->h->to, t->image.as, &now, e);
    if (found < 0)
        return -1;
    if (found == 0 || !store_same_file(&now, &t->part_is))
        return store_not_ours(o->h->to, t->image.as, e);
    return t->options->published(t->options->published_arg, t->image.as, &now, e);
}

static int finish_journal(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    struct store_place *to = o->h->to;
    if (!t->journaled)
        return 0;
    if (o->h->log != NULL)
        to->ops->file_close(TAKE(o->h->log));
    if (resume_remove(t, to, e) < 0)
        return -1;
    t->journaled = false;
    return 0;
}

/* The image is done, whatever becomes of its source. */
static int finish_done(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    (void)e;
    if (t->whole != NULL) {
        checksum_add_zeros(t->whole, t->map.size_bytes - t->whole_to);
        checksum_hex(t->whole, t->image.xxh3_128);
    }
    t->image.verified = (t->phases & TRANSFER_VERIFY) != 0;
    t->image.state = RELOCATE_DONE;
    transfer_unclaim(t);
    return 0;
}

/* What may be the only whole one is not given up. */
static int finish_keep_source(const struct finishing *o, struct err *e)
{
    err_set(
        e, ERR_IO, 0,
        "%s%s has its name, and its source stays: the server's write verifier is another one each "
        "time, so that what it calls durable need not be there",
        o->h->to->url, o->t->image.as);
    return err_hint(
        e, "find out what is wrong there (does it restart all the time, is its disk full or "
           "failing?), compare with --verify-only, and remove the source yourself");
}

static int finish_move(void *ctx, struct err *e)
{
    struct finishing *o = ctx;
    struct transfer *t = o->t;
    struct store_place *from = o->h->from;
    if (!t->options->move)
        return 0;
    if (t->unproven)
        return finish_keep_source(o, e);
    if (finish_recheck(ctx, e) < 0)
        return -1;
    if (t->options->may_remove != NULL &&
        t->options->may_remove(t->options->may_remove_arg, &t->image, &t->attr, e) < 0) {
        e->class = ERR_IO; /* neither a plan that is refused nor a place that is lost */
        return err_wrap(e, "%s%s stands there whole, and its source stays, whole as well",
                        o->h->to->url, t->image.as);
    }
    if (from->ops->remove(from, t->image.name, &t->attr, e) < 0) {
        err_wrap(e, "%s%s stands there, but its source stays", o->h->to->url, t->image.as);
        return e->hint != NULL ? -1 : err_hint(e, "remove the source yourself");
    }
    t->image.moved = true;
    return 0;
}

static const struct step finishing_steps[] = {
    {"check the source again", finish_recheck, NULL, 0},
    {"note that it is whole", finish_mark, NULL, 0},
    {"publish", finish_publish, NULL, STEP_POINT_OF_NO_RETURN},
    {"look for it", finish_confirm, NULL, 0},
    {"remove the part's name", finish_part, NULL, 0},
    {"tell that it is there", finish_tell, NULL, 0},
    {"remove the journal", finish_journal, NULL, 0},
    {"count it as done", finish_done, NULL, 0},
    {"remove the source", finish_move, NULL, 0},
};

/* It was not published, since it is under another generation than the one that was proven. */
static bool transfer_is_to_prove(const struct transfer *t, const struct transfer_handles *h)
{
    return t->publish && h->dst != NULL && h->dst->attr.generation != t->part_is.generation;
}

static int transfer_prove_again(struct transfer *t, struct transfer_handles *h,
                                enum transfer_phase *next, struct err *e)
{
    atomic_store(&t->renewed, true);
    if (transfer_hold_part(t, h, e) < 0 || transfer_doubt_part(t, h, e) < 0)
        return -1;
    *next = TRANSFER_VERIFY;
    return transfer_begin_verify(t, h, e);
}

/* What stands under the name has another handle than what got it: ours if all of it is there. */
static int transfer_prove_named(struct transfer *t, struct transfer_handles *h,
                                enum transfer_phase *next, struct err *e)
{
    log_warn(
        "%s%s: the server has given it another file handle, as after a restart: whether it is what "
        "was written is found out by reading it back",
        h->to->url, t->image.as);
    t->part_is.generation = t->there_is.generation;
    t->phases |= TRANSFER_VERIFY;
    for (size_t i = 0; i < t->n_chunks; i++)
        t->chunks[i].compared = false;
    *next = TRANSFER_VERIFY;
    return transfer_begin_verify(t, h, e);
}

int transfer_finish(struct transfer *t, struct transfer_handles *h, enum transfer_phase *next,
                    struct err *e)
{
    struct finishing o = {t, h, false};
    bool returnable;
    if (step_run(finishing_steps, sizeof finishing_steps / sizeof *finishing_steps, &o, &returnable,
                 e) < 0) {
        if (!o.renewed && !transfer_is_to_prove(t, h))
            return -1;
        err_clear(e);
        return o.renewed ? transfer_prove_named(t, h, next, e)
                         : transfer_prove_again(t, h, next, e);
    }
    transfer_release(h);
    transfer_shrink(t);
    return 0;
}

int transfer_abandon(struct transfer *t, struct store_place *to, struct err *e)
{
    bool worth = t->resume; /* it was for an earlier run, however far this one came */
    for (size_t i = 0; t->journaled && !worth && i < t->n_chunks; i++)
        worth = t->chunks[i].durable;
    transfer_unclaim(t);
    if (worth && !t->useless) {
        t->image.state = RELOCATE_KEPT;
        return 0;
    }
    if (to == NULL)
        return 0;
    if (t->part_made && to->ops->remove(to, t->part, &t->part_is, e) < 0)
        return err_wrap(e, "%s%s is left there", to->url, t->part);
    t->part_made = false;
    if (t->journaled && resume_remove(t, to, e) < 0)
        return err_wrap(e, "%s%s is left there", to->url, t->journal);
    t->journaled = false;
    return 0;
}
