/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A directory that stood there before keeps its attributes; one that we have made gets those of its
 * source, when all that goes into it is there, since that changes its times. Which is which has to
 * survive our death, so it is recorded beside the directory: in `record`, a file with the header of a
 * journal (core/relocate/journal.h), in which the directory is the part.
 *
 *   1. the directory is not there; the record is created, without an identity in it
 *   2. the directory is made, mode 0700, and its identity written to the record, durably
 *   3. at the end it gets its attributes, and the record is removed
 *
 * A record is of the run that has written it while that may live. One without an identity, beside a
 * directory with the mode of a new one, comes from a death between the two halves of 2. A directory with
 * another identity than its record's is not ours; nor is one beside a record that is empty or all zeros,
 * since before it is made its record says by whom. Such a record without a directory is of a death in 1,
 * or of a run that is in the midst of it, which finds out that it is gone.
 */
#include "core/relocate/directories.h"

#include <errno.h>

#include "core/log.h"
#include "core/relocate/resume.h"

enum {
    DIRECTORY_NEW_MODE = 0700,
    DIRECTORY_OURS_MODE = 0700 /* what a run needs to go on in it */
};

static bool directory_is_place(const struct plan_directory *d)
{
    return *d->as == '\0';
}

static int directory_write_record(const struct plan_directory *d, struct store_file *record,
                                  const struct store_attr *is, struct err *e)
{
    struct journal_header h;
    unsigned char bytes[JOURNAL_HEADER_BYTES];
    if (journal_begin(&h, d->from->url, d->name, &d->attr, is, 1, e) < 0)
        return -1;
    journal_encode_header(bytes, &h);
    return store_write_at(record, bytes, sizeof bytes, 0, e);
}

/* 1: *h is what it says; 0: it says nothing, or, with *damaged, nothing that can be read; -1. */
static int directory_read_record(struct store_file *record, struct journal_header *h, bool *damaged,
                                 struct err *e)
{
    unsigned char bytes[JOURNAL_HEADER_BYTES];
    struct err torn = {0};
    ssize_t len = store_read_at(record, bytes, sizeof bytes, 0, e);
    if (len < 0)
        return -1;
    int says = journal_decode_header(bytes, (size_t)len, h, &torn);
    *damaged = torn.class != ERR_NONE;
    return says > 0;
}

/* 1: an ended run of ours has made the directory, which is *is; 0: it has not, or not known; -1. */
static int directory_judge_record(struct store_file *record, const struct store_attr *is,
                                  struct err *e)
{
    struct journal_header h;
    bool damaged = false;
    int says = directory_read_record(record, &h, &damaged, e);
    if (says <= 0)
        return says;
    enum owner_state owner = owner_state(&h.writer);
    if (owner == OWNER_ALIVE || (owner == OWNER_UNKNOWN && !record->place->claims_bind))
        return 0;
    if (h.part_inode == 0)
        return is->mode == DIRECTORY_NEW_MODE;
    return h.part_inode == is->inode &&
           (h.part_generation == is->generation ||
            (record->place->generation_may_change && is->mode == DIRECTORY_NEW_MODE));
}

/* It stands there: are we to give it its attributes, as an earlier run was? */
static int directory_find(struct plan *p, struct plan_directory *d, const struct store_attr *is,
                          struct err *e)
{
    struct store_place *to = p->to;
    struct store_attr attr;
    int found = to->ops->read != NULL ? to->ops->lookup(to, d->record, &attr, e) : 0;
    if (found <= 0)
        return found;
    struct store_file *record = transfer_file_is(to, d->record, STORE_UPDATE, &attr, e);
    if (record == NULL)
        return -1;
    int ours = directory_judge_record(record, is, e);
    if (ours > 0) {
        d->made = true;
        d->is = *is;
        d->record_is = attr;
        ours = directory_write_record(d, record, is, e);
    }
    to->ops->file_close(record);
    if (ours == 0 && !d->made)
        log_warn("%s%s: its attributes are left as they are: whether it is %s that was made is not "
                 "known",
                 to->url, d->record, d->as);
    return ours < 0 ? -1 : 0;
}

/* Whether the run that has written it may still be about to make the directory. */
static int directory_check_owner(const struct plan *p, struct store_file *record, struct err *e)
{
    struct journal_header h;
    bool damaged = false;
    int says = directory_read_record(record, &h, &damaged, e);
    if (says > 0)
        return resume_check_writer(&h, record, p->options.restart, e);
    if (says == 0)
        log_warn("%s%s: %s, and there is no directory to it: removed", p->to->url, record->name,
                 damaged ? "cannot be read" : "does not say whose it is");
    return says;
}

/* A record without its directory: it was never made, or is gone. */
static int directory_drop_record(struct plan *p, const struct plan_directory *d, struct err *e)
{
    struct store_attr old;
    int found = p->to->ops->lookup(p->to, d->record, &old, e);
    if (found <= 0)
        return found;
    struct store_file *record = transfer_file_is(p->to, d->record, STORE_READ, &old, e);
    if (record == NULL)
        return -1;
    int free = directory_check_owner(p, record, e);
    p->to->ops->file_close(record);
    if (free < 0)
        return err_wrap(e, "%s%s", p->to->url, d->as);
    return p->to->ops->remove(p->to, d->record, &old, e);
}

static int directory_make_recorded(struct plan *p, struct plan_directory *d,
                                   struct store_file *record, struct err *e)
{
    struct store_place *to = p->to;
    if (record != NULL) {
        d->record_is = record->attr;
        if (directory_write_record(d, record, NULL, e) < 0)
            return -1;
    }
    struct store_file *f = to->ops->open(to, d->as, STORE_MAKE_DIRECTORY, 0, e);
    if (f == NULL)
        return -1;
    d->made = f->made;
    d->is = f->attr;
    to->ops->file_close(f);
    if (record == NULL)
        return 0;
    return d->made ? directory_write_record(d, record, &d->is, e)
                   : to->ops->remove(to, d->record, &d->record_is, e);
}

static int directory_make(struct plan *p, struct plan_directory *d, struct err *e)
{
    struct store_place *to = p->to;
    struct store_attr is;
    struct store_file *record = NULL;
    int found = to->ops->lookup(to, d->as, &is, e);
    if (found < 0)
        return -1;
    if (found > 0 && is.type != STORE_DIRECTORY)
        return err_set(e, ERR_IO, ENOTDIR, "%s%s: cannot be written into", to->url, d->as);
    if (found > 0)
        return directory_find(p, d, &is, e);
    if (to->ops->read != NULL) {
        if (directory_drop_record(p, d, e) < 0)
            return -1;
        record = to->ops->open(to, d->record, STORE_CREATE, JOURNAL_HEADER_BYTES, e);
        if (record == NULL)
            return -1;
    }
    int rc = directory_make_recorded(p, d, record, e);
    if (record != NULL)
        to->ops->file_close(record);
    return rc;
}

int directories_make(struct plan *p, struct err *e)
{
    for (size_t i = 0; i < p->n_directories; i++)
        if (!directory_is_place(&p->directories[i]) && directory_make(p, &p->directories[i], e) < 0)
            return -1;
    return 0;
}

/* *renewed: it has another generation since it was opened. */
static int directory_try_give(struct plan *p, const struct plan_directory *d,
                              const struct store_attr *attr, bool *renewed, struct err *e)
{
    struct store_place *to = p->to;
    struct store_file *f = to->ops->open(to, d->as, STORE_MAKE_DIRECTORY, 0, e);
    *renewed = false;
    if (f == NULL)
        return -1;
    struct store_attr was = d->is;
    uint64_t generation = f->attr.generation;
    was.mode = f->attr.mode == attr->mode ? attr->mode : DIRECTORY_NEW_MODE;
    int rc = store_same_file(&f->attr, &d->is) || store_may_be_same(to, &f->attr, &was) ||
                     to->ops->read == NULL
                 ? to->ops->publish(f, NULL, attr, NULL, e)
                 : store_not_ours(to, d->as, e);
    *renewed = f->attr.generation != generation;
    to->ops->file_close(f);
    return rc;
}

static int directory_give(struct plan *p, const struct plan_directory *d, uint32_t more_mode,
                          struct err *e)
{
    struct store_attr attr = d->attr;
    bool renewed;
    attr.mode |= more_mode;
    int rc = directory_try_give(p, d, &attr, &renewed, e);
    if (rc == 0 || !renewed)
        return rc;
    err_clear(e);
    return directory_try_give(p, d, &attr, &renewed, e);
}

/* By what it was when it was planned; what was moved out of it has changed its times. */
static void directory_remove_source(struct plan *p, const struct plan_directory *d)
{
    struct err left = {0};
    struct store_attr now;
    struct store_place *from = place_set_get(&p->places, d->from, &left);
    int found = from != NULL ? from->ops->lookup(from, d->name, &now, &left) : -1;
    if (found > 0 && (now.inode != d->attr.inode || now.device != d->attr.device))
        store_not_ours(from, d->name, &left);
    else if (found > 0)
        from->ops->remove(from, d->name, &now, &left);
    if (left.class != ERR_NONE)
        log_warn("%s", left.msg);
}

/* Of this run: the record that it has written. Under another generation it is that by its writer. */
static int directory_remove_record(struct plan *p, const struct plan_directory *d, struct err *e)
{
    struct journal_header h;
    bool damaged = false;
    struct store_place *to = p->to;
    int rc = to->ops->remove(to, d->record, &d->record_is, e);
    if (rc == 0 || e->sys != ESTALE || !to->generation_may_change)
        return rc;
    struct err no = {0};
    struct store_file *record = transfer_file(to, d->record, STORE_READ, &no);
    if (record == NULL)
        return -1;
    struct store_attr is = record->attr;
    bool ours = is.inode == d->record_is.inode &&
                directory_read_record(record, &h, &damaged, &no) > 0 &&
                owner_state(&h.writer) == OWNER_SELF;
    to->ops->file_close(record);
    if (!ours)
        return -1;
    err_clear(e);
    return to->ops->remove(to, d->record, &is, e);
}

static int directory_end(struct plan *p, const struct plan_directory *d, struct err *e)
{
    if (d->made && !directory_is_place(d)) {
        if (directory_give(p, d, 0, e) < 0)
            return -1;
        if (p->to->ops->read != NULL && directory_remove_record(p, d, e) < 0)
            return -1;
    }
    if (p->options.move && *d->name != '\0')
        directory_remove_source(p, d);
    return 0;
}

int directories_end(struct plan *p, struct err *e)
{
    for (size_t i = p->n_directories; i-- > 0;)
        if (directory_end(p, &p->directories[i], e) < 0)
            return -1;
    return 0;
}

void directories_abandon(struct plan *p)
{
    for (size_t i = p->n_directories; i-- > 0;) {
        struct err why = {0};
        const struct plan_directory *d = &p->directories[i];
        if (!d->made || directory_is_place(d) ||
            directory_give(p, d, DIRECTORY_OURS_MODE, &why) == 0)
            continue;
        log_warn("%s; it is left as it was made, for its owner alone", why.msg);
        if (why.class == ERR_LOST || why.class == ERR_TIMEOUT)
            return;
    }
}
