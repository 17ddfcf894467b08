/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A journal under its name is the record of whose the image is. It is written under a name of its
 * process first, and then given the name, which the store refuses where one stands already: so it is
 * never found without its owner, and there is one owner. Whoever has it may make and remove the part;
 * it goes last. Another run takes it over only where the owner is known to have ended: by its process,
 * or because it does not claim the file any more. Two that take it over at once: where claims bind only
 * one can; elsewhere both go on with one source and one part, and the first to give it its name wins,
 * since the other one then does not find it any more.
 */
#include "core/relocate/resume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/relocate/part_name.h"
#include "core/relocate/transfer_parts.h"

enum { RESUME_DATE_MAX = 32 };

static int resume_header(const struct transfer *t, struct journal_header *h,
                         const struct store_attr *part, struct err *e)
{
    return journal_begin(h, t->image.from->url, t->image.name, &t->attr, part,
                         (uint32_t)t->options->chunk_bytes, e);
}

static int resume_write_header(const struct transfer *t, const struct transfer_handles *h,
                               struct err *e)
{
    unsigned char bytes[JOURNAL_HEADER_BYTES];
    journal_encode_header(bytes, &t->header);
    return store_write_at(h->log, bytes, sizeof bytes, 0, e);
}

/* Every record that is there must be good: nothing is guessed about the others. *bytes are those
 * of n records, to be freed also after a failure. */
static int resume_load(struct store_file *log, const struct journal_header *h, size_t n,
                       unsigned char **bytes, struct err *e)
{
    struct journal_record unused;
    *bytes = calloc(n + 1, JOURNAL_RECORD_BYTES);
    if (*bytes == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu chunks", n);
    if (store_read_at(log, *bytes, (uint32_t)(n * JOURNAL_RECORD_BYTES), journal_record_offset(0),
                      e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (journal_decode_record(*bytes + i * JOURNAL_RECORD_BYTES, h->run_id, i, &unused, e) < 0)
            return -1;
    return 0;
}

static int resume_read_records(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    CLEANUP_FREE unsigned char *bytes = NULL;
    if (resume_load(h->log, &t->header, t->n_chunks, &bytes, e) < 0)
        return -1;
    for (size_t i = 0; i < t->n_chunks; i++) {
        struct journal_record r;
        if (journal_decode_record(bytes + i * JOURNAL_RECORD_BYTES, t->header.run_id, i, &r, e) < 1)
            continue;
        t->chunks[i].durable = t->chunks[i].known = true;
        t->chunks[i].written = r.written;
        t->chunks[i].doubted = (t->header.state & JOURNAL_DOUBT) != 0;
        memcpy(t->chunks[i].digest, r.digest, sizeof r.digest);
        memcpy(t->chunks[i].verifier, r.verifier, sizeof r.verifier);
        t->image.resumed_bytes += r.data_bytes;
    }
    return 0;
}

/* What the header says of an earlier run. As journal_decode_header(). */
static int resume_read_header(struct store_file *log, struct journal_header *found, struct err *e)
{
    unsigned char bytes[JOURNAL_HEADER_BYTES];
    ssize_t len = store_read_at(log, bytes, sizeof bytes, 0, e);
    return len < 0 ? -1 : journal_decode_header(bytes, (size_t)len, found, e);
}

static int resume_is_anothers(const char *what, struct err *e)
{
    err_set(e, ERR_REFUSED, 0, "%s", what);
    return err_hint(e, "wait until that has ended");
}

/* The image is ours from here on, as far as the store can say so. */
static int resume_claim(struct transfer *t, struct store_file *f, struct err *e)
{
    const struct store_ops *ops = f->place->ops;
    int rc = ops->claim != NULL ? ops->claim(f, &t->claim, e) : 1;
    if (rc == 0)
        return resume_is_anothers("another godwit is working on it", e);
    return rc < 0 ? -1 : 0;
}

/* As journal_continue(). A part that has but another generation may be ours, where that may change. */
static int resume_compare(const struct store_place *to, struct journal_header *found,
                          struct journal_header *now, struct err *e)
{
    uint64_t was = found->part_generation;
    if (to->generation_may_change && found->part_inode == now->part_inode)
        found->part_generation = now->part_generation;
    int rc = journal_continue(found, now, e);
    found->part_generation = was;
    return rc;
}

/* The plan has found it good; it is looked at again, because time has passed. */
int resume_continue(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    struct journal_header found;
    h->log = transfer_file_is(h->to, t->journal, STORE_UPDATE, &t->journal_is, e);
    if (h->log == NULL || resume_claim(t, h->log, e) < 0)
        return -1;
    int rc = resume_read_header(h->log, &found, e);
    if (rc == 0)
        return err_set(e, ERR_IO, 0, "was emptied meanwhile");
    if (rc < 0)
        return -1;
    if (found.writer.pid != t->header.writer.pid ||
        found.writer.start_ticks != t->header.writer.start_ticks ||
        memcmp(found.run_id, t->header.run_id, sizeof found.run_id) != 0)
        return resume_is_anothers("another godwit has just begun to continue it", e);
    if (resume_header(t, &t->header, &t->part_is, e) < 0 ||
        resume_compare(h->to, &found, &t->header, e) < 0)
        return -1;
    bool other = found.part_generation != t->part_is.generation;
    t->header.state = other ? JOURNAL_DOUBT : found.state & JOURNAL_DOUBT;
    if (other)
        log_warn(
            "%s%s: the server has given it another file handle, as after a restart: what is in it is "
            "read back",
            h->to->url, t->part);
    if (resume_read_records(t, h, e) < 0)
        return -1;
    t->journaled = true;
    return resume_write_header(t, h, e);
}

static bool resume_is_ours(const struct transfer *t, struct store_file *log)
{
    struct err no = {0};
    struct journal_header found;
    struct store_attr was = t->journal_is;
    was.size_bytes = log->attr.size_bytes; /* it is compared by what is in it */
    return store_may_be_same(log->place, &log->attr, &was) &&
           resume_read_header(log, &found, &no) > 0 &&
           memcmp(found.run_id, t->header.run_id, sizeof found.run_id) == 0;
}

/* Under a name of our own first, so that nobody ever finds it without its header. */
static int resume_write_new(struct transfer *t, struct transfer_handles *h, const char *own,
                            struct err *e)
{
    const struct store_ops *ops = h->to->ops;
    h->log = ops->open(h->to, own, STORE_CREATE, journal_size(t->n_chunks), e);
    if (h->log == NULL || resume_claim(t, h->log, e) < 0 ||
        resume_header(t, &t->header, NULL, e) < 0 || resume_write_header(t, h, e) < 0)
        return -1;
    t->journal_is = h->log->attr;
    int rc = ops->publish(h->log, t->journal, NULL, NULL, e);
    if (rc < 0 && h->log->attr.generation != t->journal_is.generation &&
        resume_is_ours(t, h->log)) {
        err_clear(e);
        t->journal_is.generation = h->log->attr.generation;
        rc = ops->publish(h->log, t->journal, NULL, NULL, e);
    }
    if (rc == 0)
        return 0;
    if (e->sys != EEXIST)
        return -1;
    err_clear(e);
    return resume_is_anothers("another godwit has just begun it", e);
}

int resume_make(struct transfer *t, struct transfer_handles *h, struct err *e)
{
    char text[OWNER_TEXT_MAX];
    owner_text(t->self, text);
    CLEANUP_FREE char *own = part_name_owned(t->image.as, PART_NAME_JOURNAL, text);
    if (own == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", t->journal);
    if (resume_write_new(t, h, own, e) == 0) {
        t->journaled = true;
        return 0;
    }
    struct err left = {0};
    if (h->log != NULL && h->to->ops->remove(h->to, own, &h->log->attr, &left) < 0)
        log_warn("%s", left.msg);
    return -1;
}

struct store_file *resume_open(const struct transfer *t, struct store_place *to, struct err *e)
{
    struct store_file *log = transfer_file(to, t->journal, STORE_UPDATE, e);
    if (log == NULL || store_same_file(&log->attr, &t->journal_is) || resume_is_ours(t, log))
        return log;
    to->ops->file_close(log);
    store_not_ours(to, t->journal, e);
    return NULL;
}

int resume_remove(const struct transfer *t, struct store_place *to, struct err *e)
{
    int rc = to->ops->remove(to, t->journal, &t->journal_is, e);
    if (rc == 0 || e->sys != ESTALE || !to->generation_may_change)
        return rc;
    err_clear(e);
    struct store_file *log = resume_open(t, to, e);
    if (log == NULL)
        return -1;
    struct store_attr is = log->attr;
    to->ops->file_close(log);
    return to->ops->remove(to, t->journal, &is, e);
}

/* The header, where the handles have no journal, too. */
static int resume_write_anywhere(struct transfer *t, const struct transfer_handles *h,
                                 struct err *e)
{
    struct transfer_handles log = {.to = h->to};
    if (h->log != NULL)
        return resume_write_header(t, h, e);
    log.log = resume_open(t, h->to, e);
    int rc = log.log != NULL ? resume_write_header(t, &log, e) : -1;
    transfer_release(&log);
    return rc;
}

int resume_name_part(struct transfer *t, const struct transfer_handles *h, struct err *e)
{
    t->header.part_inode = t->part_is.inode;
    t->header.part_generation = t->part_is.generation;
    return t->journaled ? resume_write_anywhere(t, h, e) : 0;
}

int resume_mark(struct transfer *t, struct transfer_handles *h, uint32_t state, struct err *e)
{
    if (!t->journaled || t->header.state == state)
        return 0;
    t->header.state = state;
    return resume_write_anywhere(t, h, e);
}

/* The header and all records, each of which is looked at now. As journal_decode_header(). */
static int resume_check(const struct transfer *t, struct store_file *log,
                        struct journal_header *found, struct err *e)
{
    CLEANUP_FREE unsigned char *bytes = NULL;
    int rc = resume_read_header(log, found, e);
    if (rc <= 0 || found->size_bytes != t->attr.size_bytes ||
        found->chunk_bytes != t->options->chunk_bytes) /* which are other reasons */
        return rc;
    size_t n = journal_chunks(found->size_bytes, found->chunk_bytes);
    return resume_load(log, found, n, &bytes, e) < 0 ? -1 : 1;
}

static void resume_date(int64_t ns, char text[static RESUME_DATE_MAX])
{
    struct tm tm;
    time_t s = (time_t)(ns / NS_PER_S);
    if (gmtime_r(&s, &tm) == NULL || strftime(text, RESUME_DATE_MAX, "%F %T UTC", &tm) == 0)
        strcpy(text, "an unknown time");
}

int resume_check_writer(const struct journal_header *found, const struct store_file *log,
                        bool restart, struct err *e)
{
    const struct owner *who = &found->writer;
    enum owner_state state = owner_state(who);
    bool proven_dead = log->place->claims_bind; /* and not claimed */
    char when[RESUME_DATE_MAX];
    if (log->claimed)
        return resume_is_anothers("another godwit is working on it", e);
    if (state == OWNER_ALIVE) {
        err_set(e, ERR_REFUSED, 0, "process %u is working on it", who->pid);
        return err_hint(e, "wait until that has ended");
    }
    if (state != OWNER_UNKNOWN || proven_dead || restart)
        return 0;
    resume_date(found->begun_ns, when);
    err_set(e, ERR_REFUSED, 0,
            "was begun by process %u on %s at %s, which may still be working on it", who->pid,
            who->host, when);
    return err_hint(
        e,
        "look there whether it is: ps -o lstart,args -p %u; if so, wait until it has ended; "
        "if not, run the same there, which continues it; only if that host is gone, run it "
        "here with --restart, which begins anew",
        who->pid);
}

/* Whether an earlier run was ended in the middle, or at its very end. 1: *found. With --restart a
 * journal that is none counts as empty. */
static int resume_find(struct transfer *t, struct store_place *to, struct journal_header *found,
                       struct err *e)
{
    struct err why = {0};
    *found = (struct journal_header){0};
    struct store_file *log = transfer_file(to, t->journal, STORE_READ, e);
    if (log == NULL)
        return -1;
    int rc = resume_check(t, log, found, &why);
    t->journal_is = log->attr;
    int free = resume_check_writer(found, log, t->options->restart, e);
    to->ops->file_close(log);
    if (free < 0)
        return -1;
    if (rc < 0 && t->options->restart && why.class == ERR_REFUSED)
        return 0;
    if (rc < 0)
        *e = why;
    return rc;
}

/* The journal's part has its final name already. What proves it: the record that it was whole; that
 * it is the very file; and that nobody has written to it since, as far as its times tell. */
static void resume_was_published(struct transfer *t, const struct journal_header *found,
                                 const struct store_attr *final)
{
    t->stale_journal = false;
    t->journaled = t->image.was_there = true;
    t->proven = (found->state & JOURNAL_WHOLE) != 0 && final->generation != 0 &&
                final->generation == found->part_generation &&
                final->size_bytes == found->size_bytes &&
                store_same_time(final->mtime_ns, found->source_mtime_ns);
}

/* Whether what has another generation than the part on record can be that part, or be what became of it.
 * Its contents are still to tell. */
static bool resume_may_be(const struct transfer *t, const struct journal_header *found,
                          const struct store_attr *made, bool is_part)
{
    return made->generation == found->part_generation ||
           (made->size_bytes == found->size_bytes && made->type == STORE_REGULAR &&
            (is_part ? made->mode == TRANSFER_PART_MODE
                     : (found->state & JOURNAL_WHOLE) != 0 &&
                           store_same_time(made->mtime_ns, t->attr.mtime_ns)));
}

int resume_examine(struct transfer *t, struct store_place *to, const struct store_attr *part,
                   const struct store_attr *final, struct err *e)
{
    struct journal_header found, now;
    struct err differs = {0};
    int rc = resume_find(t, to, &found, e);
    t->stale_journal = true;
    if (rc <= 0)
        return rc;
    if (t->options->restart || t->attr.type == STORE_BLOCK_DEVICE)
        return 0; /* a block device does not tell whether it was written to since */
    const struct store_attr *made = part != NULL ? part : final;
    if (made == NULL || found.part_inode == 0)
        return 0;
    if (resume_header(t, &now, made, e) < 0)
        return -1;
    rc = resume_may_be(t, &found, made, part != NULL) ? resume_compare(to, &found, &now, &differs)
                                                      : journal_continue(&found, &now, &differs);
    if (rc < 0 && part != NULL && !(t->options->renew && journal_source_changed(&found, &now))) {
        *e = differs;
        return -1;
    }
    if (rc < 0)
        return 0;
    t->header = found;
    t->part_is = *made;
    t->part_made = part != NULL;
    if (final != NULL && store_same_file(made, final)) {
        resume_was_published(t, &found, final);
    } else if (part->size_bytes == found.size_bytes) {
        t->stale_journal = false;
        t->resume = true;
    } else { /* a server that forgets may forget this, too */
        log_warn("%s%s: has another size than it was given: begun anew", to->url, t->part);
    }
    return 0;
}

int resume_judge_left(const struct transfer *t, const char *left, struct err *e)
{
    uint32_t pid;
    enum owner_state state = owner_text_state(left, &pid);
    if (state == OWNER_UNKNOWN)
        return t->options->restart;
    if (state != OWNER_ALIVE)
        return 1;
    err_set(e, ERR_REFUSED, 0, "process %u is working on it", pid);
    return err_hint(e, "wait until that has ended");
}

int resume_record(const struct transfer *t, const struct transfer_handles *h, size_t chunk,
                  bool durable, struct err *e)
{
    unsigned char bytes[JOURNAL_RECORD_BYTES] = {0};
    struct journal_record r = {
        .data_bytes = (uint32_t)extents_bytes(&t->map, chunk * t->options->chunk_bytes,
                                              transfer_chunk_end(t, chunk)),
    };
    if (!t->journaled)
        return 0;
    memcpy(r.digest, t->chunks[chunk].digest, sizeof r.digest);
    memcpy(r.verifier, t->chunks[chunk].verifier, sizeof r.verifier);
    r.written = t->chunks[chunk].written;
    if (durable)
        journal_encode_record(bytes, t->header.run_id, chunk, &r);
    if (store_write_at(h->log, bytes, sizeof bytes, journal_record_offset(chunk), e) < 0)
        return err_wrap(e, "%s%s", h->to->url, t->journal);
    return 0;
}
