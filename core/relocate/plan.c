/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Sources are looked up, directories among them walked, into one list of transfers, one an image,
 * and one of directories to be made. Then the directories at the destination that images go to are
 * listed, which tells in one go what stands there: images, and parts and journals of earlier runs.
 * From that each transfer gets its phases.
 */
#include "core/relocate/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/relocate/chain.h"
#include "core/relocate/part_name.h"
#include "core/relocate/resume.h"
#include "core/units.h"

/* Makes any error of a check a refusal: nothing was touched. A server that does not answer has refused
 * nothing. */
static int plan_refuse(struct err *e)
{
    if (e->class != ERR_USAGE && e->class != ERR_CANCELLED && e->class != ERR_LOST &&
        e->class != ERR_TIMEOUT)
        e->class = ERR_REFUSED;
    return -1;
}

/* "dir" and "name" → "dir/name"; the place itself has no name. NULL: no memory. */
static char *plan_join(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", dir, *dir != '\0' ? "/" : "", name) < 0)
        return NULL;
    return path;
}

/* ---- the sources ---- */

int plan_add(struct plan *p, const struct relocate_source *s, const struct store_attr *attr,
             struct err *e)
{
    if (p->n == p->room) {
        size_t room = p->room > 0 ? 2 * p->room : 64;
        struct transfer **more = realloc(p->transfers, room * sizeof *more);
        if (more == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu images", room);
        p->transfers = more;
        p->room = room;
    }
    struct transfer *t = transfer_new(&p->options, s, attr, e);
    if (t == NULL)
        return -1;
    t->self = &p->self;
    p->transfers[p->n++] = t;
    return 0;
}

struct walk {
    struct plan *plan;
    const struct relocate_source *top; /* of this directory */
};

static int plan_walk(struct plan *p, const struct relocate_source *s, const struct store_attr *attr,
                     struct err *e);

/* A link of a directory that leads to an image: 1 and what it leads to, 0, or -1. */
static int plan_follow(struct plan *p, const struct relocate_source *s, struct store_attr *attr,
                       struct err *e)
{
    struct store_place *from = place_set_get(&p->places, s->from, e);
    int found = from->ops->lookup(from, s->name, attr, e);
    if (found <= 0)
        return found;
    return attr->type == STORE_REGULAR || attr->type == STORE_BLOCK_DEVICE;
}

static int plan_entry(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    struct walk *w = arg;
    const struct relocate_site *from = w->top->from;
    if (part_name_is(name))
        return 0;
    CLEANUP_FREE char *path = plan_join(w->top->name, name);
    CLEANUP_FREE char *as = plan_join(w->top->as, name);
    if (path == NULL || as == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", from->url, name);
    const struct relocate_source s = {from, path, as};
    if (attr->type == STORE_REGULAR)
        return plan_add(w->plan, &s, attr, e);
    if (attr->type == STORE_DIRECTORY)
        return plan_walk(w->plan, &s, attr, e);
    struct store_attr target;
    int leads = w->plan->options.follow ? plan_follow(w->plan, &s, &target, e) : 0;
    if (leads != 0)
        return leads < 0 ? -1 : plan_add(w->plan, &s, &target, e);
    log_warn("%s%s: is neither a file nor a directory: left out", from->url, path);
    return 0;
}

/* A tree that is copied into itself would have to hold itself. */
static int plan_check_outside(struct plan *p, const struct relocate_source *s,
                              const struct store_attr *attr, struct err *e)
{
    struct store_attr to;
    int found = p->to->ops->lookup(p->to, "", &to, e);
    if (found <= 0)
        return found;
    if (to.device != attr->device || to.inode != attr->inode || to.ctime_ns != attr->ctime_ns)
        return 0;
    return err_set(e, ERR_REFUSED, 0, "%s%s: is the destination, or holds it", s->from->url,
                   s->name);
}

static int plan_walk(struct plan *p, const struct relocate_source *s, const struct store_attr *attr,
                     struct err *e)
{
    if (plan_check_outside(p, s, attr, e) < 0)
        return -1;
    struct plan_directory *more = realloc(p->directories, (p->n_directories + 1) * sizeof *more);
    if (more == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", s->from->url, s->name);
    p->directories = more;
    struct plan_directory *d = &more[p->n_directories++];
    *d = (struct plan_directory){
        .from = s->from, .name = strdup(s->name), .as = strdup(s->as), .attr = *attr};
    if (*s->as != '\0')
        d->record = part_name_new(s->as, PART_NAME_DIRECTORY);
    if (d->name == NULL || d->as == NULL || (*s->as != '\0' && d->record == NULL))
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", s->from->url, s->name);
    struct store_place *from = place_set_get(&p->places, s->from, e);
    struct walk w = {p, s};
    return from->ops->list(from, s->name, plan_entry, &w, e);
}

static int plan_source(struct plan *p, const struct relocate_source *s, struct err *e)
{
    struct store_attr attr;
    struct store_place *from = place_set_get(&p->places, s->from, e);
    if (from == NULL)
        return -1;
    if (from->ops->read == NULL)
        return err_set(e, ERR_USAGE, 0, "%s: nothing can be read from there", from->url);
    int found = from->ops->lookup(from, s->name, &attr, e);
    if (found < 0)
        return -1;
    if (found == 0)
        return err_set(e, ERR_REFUSED, ENOENT, "%s%s: cannot be read", from->url, s->name);
    switch (attr.type) {
    case STORE_REGULAR:
    case STORE_BLOCK_DEVICE: return plan_add(p, s, &attr, e);
    case STORE_DIRECTORY:
        if (p->options.recursive)
            return plan_walk(p, s, &attr, e);
        err_set(e, ERR_REFUSED, 0, "%s%s: is a directory", from->url, s->name);
        return err_hint(e, "--recursive takes what is in it");
    default:
        return err_set(e, ERR_REFUSED, 0, "%s%s: is neither a file nor a block device", from->url,
                       s->name);
    }
}

static int plan_by_name(const void *a, const void *b)
{
    const struct transfer *const *x = a, *const *y = b;
    return strcmp((*x)->image.as, (*y)->image.as);
}

static int plan_check_twins(const struct plan *p, struct err *e)
{
    CLEANUP_FREE struct transfer **sorted = malloc((p->n + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu images", p->n);
    if (p->n > 0)
        memcpy(sorted, p->transfers, p->n * sizeof *sorted);
    qsort(sorted, p->n, sizeof *sorted, plan_by_name);
    for (size_t i = 1; i < p->n; i++) {
        const struct relocate_image *a = &sorted[i - 1]->image, *b = &sorted[i]->image;
        if (strcmp(a->as, b->as) == 0)
            return err_set(e, ERR_REFUSED, 0, "%s%s and %s%s would get the same name", a->from->url,
                           a->name, b->from->url, b->name);
    }
    return 0;
}

/* Opens each once: now is the time to find out that it cannot be read, or is in use. */
static int plan_check_sources(struct plan *p, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        struct transfer *t = p->transfers[i];
        struct store_place *from = place_set_get(&p->places, t->image.from, e);
        struct store_file *f = transfer_file(from, t->image.name, STORE_READ, e);
        if (f == NULL)
            return -1;
        int rc = transfer_check_opened(t, f, e);
        if (rc == 0 && p->options.move && f->by_link) {
            rc = err_set(e, ERR_REFUSED, 0,
                         "%s%s: is a symbolic link: --move would have to remove "
                         "another file",
                         from->url, t->image.name);
            err_hint(e, "name what it points to");
        }
        if (rc == 0 && t->attr.generation == 0 && f->attr.inode == t->attr.inode)
            t->attr.generation = f->attr.generation; /* which a listing may have left out */
        from->ops->file_close(f);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ---- the destination ---- */

struct survey {
    struct plan *plan;
    const char *directory;
    size_t room;
};

static int plan_see(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    struct survey *s = arg;
    struct plan *p = s->plan;
    if (p->n_present == s->room) {
        size_t room = s->room > 0 ? 2 * s->room : 64;
        struct plan_present *more = realloc(p->present, room * sizeof *more);
        if (more == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu names", room);
        p->present = more;
        s->room = room;
    }
    char *path = plan_join(s->directory, name);
    if (path == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", name);
    p->present[p->n_present++] = (struct plan_present){path, *attr};
    return 0;
}

static int plan_present_order(const void *a, const void *b)
{
    return strcmp(((const struct plan_present *)a)->name, ((const struct plan_present *)b)->name);
}

static const struct store_attr *plan_present(const struct plan *p, const char *name)
{
    const struct plan_present key = {.name = (char *)(uintptr_t)name};
    const struct plan_present *found =
        p->n_present == 0 ? NULL
                          : bsearch(&key, p->present, p->n_present, sizeof key, plan_present_order);
    return found != NULL ? &found->attr : NULL;
}

/* The directory part of a name, "" if there is none. NULL: no memory. */
static char *plan_directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return strndup(name, slash != NULL ? (size_t)(slash - name) : 0);
}

static int plan_survey_one(struct survey *s, const char *directory, struct err *e)
{
    struct store_place *to = s->plan->to;
    struct store_attr attr;
    int found = to->ops->lookup(to, directory, &attr, e);
    if (found <= 0)
        return found;
    s->directory = directory;
    return to->ops->list(to, directory, plan_see, s, e);
}

/* Neighbours in the list of transfers usually share their directory: it is listed once. */
static int plan_survey(struct plan *p, struct err *e)
{
    struct survey s = {.plan = p};
    CLEANUP_FREE char *last = NULL;
    for (size_t i = 0; i < p->n; i++) {
        char *directory = plan_directory_of(p->transfers[i]->image.as);
        if (directory == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", p->transfers[i]->image.as);
        bool again = last != NULL && strcmp(last, directory) == 0;
        free(last);
        last = directory;
        if (!again && plan_survey_one(&s, directory, e) < 0)
            return -1;
    }
    if (p->n_present > 0)
        qsort(p->present, p->n_present, sizeof *p->present, plan_present_order);
    return 0;
}

static bool plan_same(const struct store_attr *there, const struct store_attr *source)
{
    return there->size_bytes == source->size_bytes &&
           store_same_time(there->mtime_ns, source->mtime_ns);
}

static int plan_exists(const struct plan *p, const struct transfer *t, struct err *e)
{
    err_set(e, ERR_REFUSED, 0, "%s%s: exists", p->to->url, t->image.as);
    return err_hint(e, "--overwrite replaces it once the new copy is whole");
}

/*
 * Whether what stands there is the source: copied onto itself it gains nothing, and moved onto
 * itself it would be lost. Nobody can set the time of a status change, so that together with the
 * inode it also tells a file of this host that is reached through a share. Devices are compared
 * only within one kind of store: elsewhere their numbers have nothing to do with each other.
 */
static bool plan_is_source(struct plan *p, const struct transfer *t, const struct store_attr *final,
                           struct err *e)
{
    const struct store_place *from = place_set_get(&p->places, t->image.from, e);
    return from != NULL && final->inode == t->attr.inode && final->ctime_ns == t->attr.ctime_ns &&
           (from->ops != p->to->ops || final->device == t->attr.device);
}

/* What an image that stands there already still has to go through. Its size and times are good enough
 * not to copy it again; to remove a source takes a proof. */
static void plan_was_there(const struct plan *p, struct transfer *t)
{
    bool prove = p->options.verify || (!t->proven && (p->options.move || t->journaled));
    t->image.was_there = true;
    t->phases = prove                   ? TRANSFER_DIGEST | TRANSFER_VERIFY
                : p->options.whole_sums ? TRANSFER_DIGEST
                                        : 0;
}

/* *attr of a name that the survey has seen. 1; 0: there is none (any more); -1. */
static int plan_look(const struct plan *p, const char *name, struct store_attr *attr, struct err *e)
{
    return plan_present(p, name) == NULL ? 0 : p->to->ops->lookup(p->to, name, attr, e);
}

/* What runs that have ended have left of it is noted, to be removed; of one that has not, refused. */
static int plan_note_left(const struct plan *p, struct transfer *t, const char *name, struct err *e)
{
    const char *owner = part_name_owner(name, t->part);
    if (owner == NULL)
        owner = part_name_owner(name, t->journal);
    if (owner == NULL)
        return 0;
    int judged = resume_judge_left(t, owner, e);
    if (judged < 0)
        return err_wrap(e, "%s%s", p->to->url, name);
    if (judged == 0 && !p->to->claims_bind) {
        log_warn("%s%s: is of a run on another host, or in another container: left alone",
                 p->to->url, name);
        return 0;
    }
    char **more = realloc(t->left, (t->n_left + 1) * sizeof *more);
    if (more != NULL)
        t->left = more;
    if (more == NULL || (more[t->n_left] = strdup(name)) == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", name);
    t->n_left++;
    return 0;
}

/* The names that begin like its part's stand together. */
static int plan_find_left(const struct plan *p, struct transfer *t, const char *plain,
                          struct err *e)
{
    size_t at = 0, end = p->n_present, len = strlen(plain);
    while (at < end) {
        size_t middle = at + (end - at) / 2;
        if (strcmp(p->present[middle].name, plain) < 0)
            at = middle + 1;
        else
            end = middle;
    }
    for (; at < p->n_present && strncmp(p->present[at].name, plain, len) == 0; at++)
        if (plan_note_left(p, t, p->present[at].name, e) < 0)
            return -1;
    return 0;
}

/* An image that is to be replaced must not be in use. */
static int plan_check_replaced(const struct plan *p, const struct transfer *t, struct err *e)
{
    if (!p->options.overwrite || p->options.force || p->to->ops->read == NULL)
        return 0;
    struct store_file *f = transfer_file(p->to, t->image.as, STORE_READ, e);
    if (f == NULL)
        return -1;
    bool in_use = f->in_use;
    p->to->ops->file_close(f);
    if (!in_use)
        return 0;
    err_set(e, ERR_REFUSED, 0, "%s%s: a running QEMU writes to it", p->to->url, t->image.as);
    return err_hint(e, "shut that guest down first; --force replaces it all the same");
}

static int plan_decide_final(struct plan *p, struct transfer *t, const struct store_attr *final,
                             struct err *e)
{
    if (plan_is_source(p, t, final, e))
        return err_set(e, ERR_REFUSED, 0, "%s%s: is the source itself", p->to->url, t->image.as);
    t->there_is = *final;
    if (t->image.was_there)
        return 0;
    if (p->options.overwrite) {
        t->replaces = *final;
        t->overwrites = true;
        return plan_check_replaced(p, t, e);
    }
    if (!plan_same(final, &t->attr))
        return plan_exists(p, t, e);
    t->image.was_there = true;
    return 0;
}

static int plan_decide_copy(struct plan *p, struct transfer *t, bool has_final, struct err *e)
{
    struct store_attr final, part;
    int found = has_final ? plan_look(p, t->image.as, &final, e) : 0;
    int parted = found < 0 ? -1 : plan_look(p, t->part, &part, e);
    if (parted < 0)
        return -1;
    if (plan_present(p, t->journal) != NULL &&
        resume_examine(t, p->to, parted > 0 ? &part : NULL, found > 0 ? &final : NULL, e) < 0)
        return err_wrap(e, "%s%s", p->to->url, t->journal);
    if (plan_find_left(p, t, t->part, e) < 0 || plan_find_left(p, t, t->journal, e) < 0 ||
        (found > 0 && plan_decide_final(p, t, &final, e) < 0))
        return -1;
    if (t->image.was_there) {
        plan_was_there(p, t);
        return 0;
    }
    t->phases = TRANSFER_COPY | (p->options.verify ? TRANSFER_VERIFY : 0);
    t->publish = true;
    return 0;
}

static int plan_decide(struct plan *p, struct transfer *t, struct err *e)
{
    const struct store_attr *final = plan_present(p, t->image.as);
    if (final != NULL && final->type != STORE_REGULAR)
        return err_set(e, ERR_REFUSED, 0, "%s%s: exists and is not a file", p->to->url,
                       t->image.as);
    if (p->options.verify_only) {
        t->phases = TRANSFER_DIGEST | TRANSFER_VERIFY;
        int found = plan_look(p, t->image.as, &t->there_is, e);
        if (found <= 0)
            return found < 0 ? -1
                             : err_set(e, ERR_REFUSED, ENOENT, "%s%s: cannot be verified",
                                       p->to->url, t->image.as);
    } else if (plan_decide_copy(p, t, final != NULL, e) < 0) {
        return -1;
    }
    t->work_bytes = transfer_work_bytes(t);
    return 0;
}

/* 1: a directory waits for its attributes, which an earlier run was to give it; 0; -1. */
static int plan_find_records(const struct plan *p, struct err *e)
{
    int found = 0;
    for (size_t i = 0; i < p->n_directories && found == 0; i++) {
        struct store_attr attr;
        if (p->directories[i].record != NULL)
            found = p->to->ops->lookup(p->to, p->directories[i].record, &attr, e);
    }
    return found;
}

/* Images that all stand there already are no unfinished run, but a mistake; unless something else is
 * still to be done: their sources to be removed, or directories to be given their attributes. */
static int plan_check_continues(const struct plan *p, struct err *e)
{
    const struct transfer *there = NULL;
    int more = p->options.move ? 1 : plan_find_records(p, e);
    if (more != 0)
        return more < 0 ? -1 : 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct transfer *t = p->transfers[i];
        if (!t->image.was_there || t->journaled)
            return 0;
        there = there == NULL ? t : there;
    }
    return there == NULL ? 0 : plan_exists(p, there, e);
}

static int plan_check_room(const struct plan *p, struct err *e)
{
    uint64_t needed = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct transfer *t = p->transfers[i];
        const struct store_attr *part = t->resume ? plan_present(p, t->part) : NULL;
        uint64_t data = transfer_work_bytes(t);
        if ((t->phases & TRANSFER_VERIFY) != 0)
            data /= 2;
        uint64_t there = part != NULL ? part->used_bytes : 0;
        if (t->publish && data > there)
            needed += data - there;
    }
    if (p->to->free_bytes == UINT64_MAX || needed <= p->to->free_bytes)
        return 0;
    char need[UNITS_TEXT_MAX], have[UNITS_TEXT_MAX];
    err_set(e, ERR_REFUSED, ENOSPC, "%s: %s are needed, %s are free", p->to->url,
            units_format_size(need, needed), units_format_size(have, p->to->free_bytes));
    return err_hint(e, "make room there, or name fewer images");
}

static int plan_check_destination(struct plan *p, struct err *e)
{
    if (p->to->ops->write == NULL)
        return err_set(e, ERR_USAGE, 0, "%s: nothing can be written there", p->to->url);
    if (p->to->ops->read == NULL && (p->options.verify || p->options.verify_only))
        return err_set(e, ERR_USAGE, 0, "%s: nothing can be read back from there", p->to->url);
    if (plan_survey(p, e) < 0)
        return -1;
    for (size_t i = 0; i < p->n; i++)
        if (plan_decide(p, p->transfers[i], e) < 0)
            return -1;
    if (p->options.verify_only)
        return 0;
    return plan_check_continues(p, e) < 0 ? -1 : plan_check_room(p, e);
}

/* ---- the plan ---- */

/* Blocks fit all places. */
static void plan_fit(struct plan *p, const struct store_place *place)
{
    uint32_t *block = &p->options.block_bytes;
    if (*block > place->io_max_bytes)
        *block = place->io_max_bytes;
    *block -= *block % 4096;
    if (*block == 0)
        *block = 4096;
}

int plan_make(struct plan *p, const struct relocate_source *sources, size_t n, struct err *e)
{
    if (owner_self(&p->self, e) < 0)
        return -1;
    p->ring = p->places.ring = ring_new(p->options.ring, e);
    if (p->ring == NULL)
        return -1;
    p->to = place_set_get(&p->places, p->to_site, e);
    if (p->to == NULL)
        return plan_refuse(e);
    plan_fit(p, p->to);
    for (size_t i = 0; i < n; i++) {
        if (plan_source(p, &sources[i], e) < 0)
            return plan_refuse(e);
        plan_fit(p, place_set_get(&p->places, sources[i].from, e));
    }
    if (chain_resolve(p, e) < 0 || plan_check_twins(p, e) < 0 || plan_check_sources(p, e) < 0 ||
        plan_check_destination(p, e) < 0)
        return plan_refuse(e);
    return 0;
}

void plan_close(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        transfer_free(p->transfers[i]);
    for (size_t i = 0; i < p->n_directories; i++) {
        free(p->directories[i].name);
        free(p->directories[i].as);
        free(p->directories[i].record);
    }
    for (size_t i = 0; i < p->n_present; i++)
        free(p->present[i].name);
    place_set_close(&p->places);
    ring_free(p->ring);
    free(p->transfers);
    free(p->directories);
    free(p->present);
}
