/* SPDX-License-Identifier: Apache-2.0 */
#include "core/resume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static int resume_header(const struct transfer *t, struct journal_header *h, uint64_t inode,
                         struct err *e)
{
    return journal_begin(h, t->image.from->url, t->image.name, &t->attr, inode,
                         (uint32_t)t->options->chunk_bytes, e);
}

static int resume_write_header(const struct transfer *t, const struct transfer_hands *h,
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
        return err_set(e, ERR_IO, ENOMEM, "%zu chunks", n);
    if (store_read_at(log, *bytes, (uint32_t)(n * JOURNAL_RECORD_BYTES), journal_record_offset(0),
                      e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (journal_decode_record(*bytes + i * JOURNAL_RECORD_BYTES, h->run_id, i, &unused, e) < 0)
            return -1;
    return 0;
}

static int resume_read_records(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    CLEANUP_FREE unsigned char *bytes = NULL;
    if (resume_load(h->log, &t->header, t->n_chunks, &bytes, e) < 0)
        return -1;
    for (size_t i = 0; i < t->n_chunks; i++) {
        struct journal_record r;
        if (journal_decode_record(bytes + i * JOURNAL_RECORD_BYTES, t->header.run_id, i, &r, e) < 1)
            continue;
        t->chunks[i].durable = true;
        memcpy(t->chunks[i].digest, r.digest, sizeof r.digest);
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

/* The plan has found it good; it is looked at again, because time has passed. */
int resume_continue(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    struct journal_header found;
    h->log = transfer_file(h->to, t->journal, STORE_UPDATE, e);
    if (h->log == NULL)
        return -1;
    int rc = resume_read_header(h->log, &found, e);
    if (rc == 0)
        return err_set(e, ERR_IO, 0, "was emptied meanwhile");
    if (rc < 0 || resume_header(t, &t->header, t->part_inode, e) < 0 ||
        journal_continue(&found, &t->header, e) < 0 || resume_read_records(t, h, e) < 0)
        return -1;
    t->journaled = true;
    return resume_write_header(t, h, e);
}

int resume_make(struct transfer *t, struct transfer_hands *h, struct err *e)
{
    h->log = transfer_create(h->to, t->journal, journal_size(t->n_chunks), e);
    if (h->log == NULL)
        return -1;
    t->journaled = true;
    if (resume_header(t, &t->header, t->part_inode, e) < 0)
        return -1;
    return resume_write_header(t, h, e);
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

/* Whether an earlier run was ended in the middle, or at its very end. 1: *found. With --restart a
 * journal that is none counts as empty. */
static int resume_find(const struct transfer *t, struct store_place *to,
                       struct journal_header *found, struct err *e)
{
    struct err why = {0};
    *found = (struct journal_header){0};
    struct store_file *log = transfer_file(to, t->journal, STORE_READ, e);
    if (log == NULL)
        return -1;
    int rc = resume_check(t, log, found, &why);
    to->ops->file_close(log);
    if (journal_writer_alive(found)) {
        err_set(e, ERR_REFUSED, 0, "process %u is at work on it", found->writer_pid);
        return err_hint(e, "wait until that has ended");
    }
    if (rc < 0 && t->options->restart && why.class == ERR_REFUSED)
        return 0;
    if (rc < 0)
        *e = why;
    return rc;
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
    if (part == NULL && final == NULL)
        return 0;
    if (resume_header(t, &now, part != NULL ? part->inode : final->inode, e) < 0)
        return -1;
    rc = journal_continue(&found, &now, &differs);
    if (rc < 0 && part != NULL) {
        *e = differs;
        return -1;
    }
    t->stale_journal = rc < 0;
    t->resume = rc == 0 && part != NULL;
    t->journaled = t->image.was_there = rc == 0 && part == NULL;
    return 0;
}

int resume_record(const struct transfer *t, const struct transfer_hands *h, size_t chunk,
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
    if (durable)
        journal_encode_record(bytes, t->header.run_id, chunk, &r);
    if (store_write_at(h->log, bytes, sizeof bytes, journal_record_offset(chunk), e) < 0)
        return err_wrap(e, "%s%s", h->to->url, t->journal);
    return 0;
}
