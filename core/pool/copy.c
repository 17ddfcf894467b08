/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/move.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/looking.h"
#include "core/relocate/part_name.h"
#include "core/store/store_local.h"
#include "core/text.h"

/* ---- the plan ---- */

static int plan_volumes(struct pool_move *m, struct pool_names *names, struct err *e)
{
    struct pool_volume *volumes = NULL;
    size_t n = 0;
    if (m->host->ops->volumes(m->host, &volumes, &n, e) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct pool_volume *v = &volumes[i];
        bool whole = v->type != POOL_VOLUME_DIRECTORY;
        if (v->type == POOL_VOLUME_OTHER)
            rc = err_set(e, ERR_REFUSED, 0,
                         "volume %s of pool '%s' is neither a file nor a "
                         "directory",
                         v->name, m->journal->pool);
        else if (!part_name_is(v->name) && (whole || strcmp(v->name, "lost+found") != 0))
            rc = pool_names_add(names, strdup(v->name), e);
    }
    pool_volumes_free(volumes, n);
    return rc;
}

static struct store_place *source_open(const struct relocate_site *site, struct ring *ring,
                                       struct err *e)
{
    const struct pool_source *s = (const struct pool_source *)site;
    const struct store_local_options options = {.nice_cache = s->nice_cache};
    return store_local_open(ring, s->path, &options, e);
}

static int plan_source_site(struct pool_move *m, struct err *e)
{
    struct pool_source *s = &m->source;
    if (s->url != NULL)
        return 0;
    s->path = strdup(m->place.path);
    if (s->path == NULL || asprintf(&s->url, "%s/", m->place.path) < 0)
        return pool_no_memory(e);
    s->nice_cache = m->options.nice_cache;
    s->site = (struct relocate_site){.url = s->url, .open = source_open};
    return 0;
}

/* The sources of the copy, *n of them: what is there of `names`, which are lent. */
static int plan_sources(struct pool_move *m, const struct pool_names *names, size_t *n,
                        struct err *e)
{
    *n = 0;
    m->sources = calloc(names->n + 1, sizeof *m->sources);
    if (m->sources == NULL || plan_source_site(m, e) < 0)
        return m->sources == NULL ? pool_no_memory(e) : -1;
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->at[i];
        CLEANUP_FREE char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/%s", m->place.path, name) < 0)
            return pool_no_memory(e);
        looking_at(path);
        if (stat(path, &st) < 0) {
            if (errno != ENOENT && errno != ENOTDIR)
                return err_set(e, ERR_REFUSED, errno,
                               "an image of the pool cannot be looked at: %s", path);
            log_warn("%s: is used by a domain, and is not there", path);
            continue;
        }
        if (S_ISREG(st.st_mode) && st.st_size > 0 &&
            pool_place_check_backing(&m->place, name, m->options.copy.format, e) < 0)
            return -1;
        m->sources[(*n)++] = (struct relocate_source){&m->source.site, name, name};
    }
    if (*n > 0)
        return 0;
    return err_set(e, ERR_REFUSED, 0, "pool '%s' has no volumes", m->journal->pool);
}

static struct pool_journal_image *copy_find(const struct pool_journal *j, const char *name)
{
    for (size_t i = 0; j != NULL && i < j->n_images; i++)
        if (strcmp(j->images[i].name, name) == 0)
            return &j->images[i];
    return NULL;
}

/* So many of the directories in its name are there. */
static int plan_directories(struct pool_share *s, struct pool_journal_image *i, struct err *e)
{
    CLEANUP_FREE char *path = strdup(i->name);
    if (path == NULL)
        return pool_no_memory(e);
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        struct store_attr attr;
        *slash = '\0';
        int found = s->place->ops->lookup(s->place, path, &attr, e);
        *slash = '/';
        if (found <= 0)
            return found;
        i->directories_there++;
    }
    return 0;
}

/* What an earlier run has made, and nobody has touched since, is ours; all else was there before. */
static int plan_whose(struct pool_move *m, struct pool_share *s, struct pool_journal_image *i,
                      bool there, struct err *e)
{
    const struct pool_journal_image *earlier = copy_find(m->earlier, i->name);
    struct store_attr now;
    if (earlier == NULL)
        return plan_directories(s, i, e) < 0 ? -1 : (i->was_there = there, 0);
    i->directories_there = earlier->directories_there;
    int found = earlier->copy.made ? s->place->ops->lookup(s->place, i->name, &now, e) : 0;
    if (found < 0)
        return -1;
    if (found > 0 && pool_copy_is_ours(&earlier->copy, &now, POOL_COPY_UNTOUCHED))
        i->copy = earlier->copy;
    i->was_there = there && !i->copy.made;
    return 0;
}

static int plan_image(struct pool_move *m, struct pool_share *s, size_t at, struct err *e)
{
    struct pool_journal *j = m->journal;
    struct pool_journal_image *i = &j->images[at];
    const struct relocate_image *image = relocate_image(m->relocate, at);
    i->name = strdup(image->as);
    if (i->name == NULL)
        return pool_no_memory(e);
    j->n_images++;
    if (plan_whose(m, s, i, image->was_there || m->options.copy.verify_only, e) < 0)
        return -1;
    return pool_original_read(j->path, i, e);
}

static int plan_images(struct pool_move *m, struct err *e)
{
    struct pool_journal *j = m->journal;
    struct pool_share s = {0};
    size_t n = 0;
    while (relocate_image(m->relocate, n) != NULL)
        n++;
    j->images = calloc(n + 1, sizeof *j->images);
    if (j->images == NULL)
        return pool_no_memory(e);
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = plan_image(m, &s, i, e);
    pool_share_close(&s);
    return rc;
}

/* What domains use has to be among the copies, or they would be led to where nothing is. */
static int plan_check_named(const struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->named.n; i++) {
        const char *name = m->named.at[i];
        CLEANUP_FREE char *path = NULL;
        struct stat st;
        if (copy_find(m->journal, name) != NULL)
            continue;
        if (asprintf(&path, "%s/%s", m->place.path, name) < 0)
            return pool_no_memory(e);
        if (stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
            if (strchr(name, '/') != NULL) /* else that was said when the operands were made */
                log_warn("%s: is used by a domain, and is not there", path);
            continue;
        }
        err_set(e, ERR_REFUSED, 0,
                "%s is used by a domain, and would not be copied: it is no file, or "
                "reached by a symbolic link to a directory",
                path);
        return err_hint(e, "'%s' tells the name that the domain has to have instead",
                        text_command("realpath %s", path));
    }
    return 0;
}

/* Written down before it gets its name, and once more as it is then: so it is known to be ours, whatever
 * happens in between. Several workers do so. */
static int copy_made(void *arg, const char *as, const struct store_attr *attr, struct err *e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct pool_move *m = arg;
    struct pool_journal_image *image = copy_find(m->journal, as);
    if (image == NULL)
        return 0;
    pthread_mutex_lock(&lock);
    image->copy = pool_copy_of(attr);
    int rc = pool_journal_add_copy(m->journal, m->options.state_dir, image, e);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* What stood there and is as its original is not ours; but the original can be deleted for it. That is
 * written down with what comes next: else it is compared again. */
static int copy_compared(void *arg, const char *as, const struct store_attr *attr, struct err *e)
{
    struct pool_move *m = arg;
    struct pool_journal_image *image = copy_find(m->journal, as);
    (void)e;
    if (image != NULL)
        image->compared = pool_copy_of(attr);
    return 0;
}

/* Whether each copy stands there already, as its original was. */
static int plan_all_there(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    struct store_attr attr;
    int has = pool_open_share(m, &s, e) < 0 ? -1 : 1;
    for (size_t i = 0; has == 1 && i < m->journal->n_images; i++)
        has = pool_share_has(&s, &m->journal->images[i], &attr, e);
    pool_share_close(&s);
    return has;
}

static void plan_forget_images(struct pool_move *m)
{
    for (size_t i = 0; i < m->journal->n_images; i++)
        free(m->journal->images[i].name);
    free(m->journal->images);
    m->journal->images = NULL;
    m->journal->n_images = 0;
    relocate_free(TAKE(m->relocate));
}

/* Copies that all stand there, made by hand or by a run that was killed just then, are compared with their
 * originals instead of made again. 1: that is planned; 0: they do not; -1. */
static int plan_compare(struct pool_move *m, size_t n, struct err *e)
{
    struct relocate_options *o = &m->options.copy;
    struct err absent = {0};
    o->verify_only = true;
    o->published = NULL;
    m->relocate = relocate_plan(m->sources, n, m->to.copy, o, &absent);
    int all = m->relocate == NULL ? 0 : plan_images(m, e) < 0 ? -1 : plan_all_there(m, e);
    if (all == 0)
        plan_forget_images(m);
    return all;
}

/* What an earlier run has not ended is continued: parts, journals, and directories that still wait for
 * their attributes. Only where there is nothing of that, and all stand there, they are compared. */
static int plan_copy(struct pool_move *m, size_t n, struct err *e)
{
    struct relocate_options *o = &m->options.copy;
    struct err cannot = {0};
    o->recursive = o->follow = o->renew = true;
    o->force = m->running > 0;     /* they are shut down before; then it is planned again */
    o->overwrite = m->stale.n > 0; /* as if they were removed already; then it is planned again */
    o->verify_only = false;
    o->published = copy_made;
    o->compared = copy_compared;
    o->published_arg = m;
    m->relocate = relocate_plan(m->sources, n, m->to.copy, o, &cannot);
    if (m->relocate != NULL)
        return plan_images(m, e);
    int all = m->stale.n == 0 && cannot.class == ERR_REFUSED ? plan_compare(m, n, e) : 0;
    if (all == 0)
        *e = cannot;
    return all > 0 ? 0 : -1;
}

/* ---- copies of what has changed since ---- */

static bool stale_has(const struct pool_move *m, const char *name)
{
    for (size_t i = 0; i < m->stale.n; i++)
        if (strcmp(m->stale.at[i], name) == 0)
            return true;
    return false;
}

/* 1: it is to be made again; 0; -1. */
static int stale_is(struct pool_move *m, struct pool_share *s,
                    const struct pool_journal_image *image, struct err *e)
{
    struct store_attr now;
    struct err gone = {0};
    int same = image->copy.made ? pool_original_unchanged(m->earlier->path, image, &gone) : 1;
    if (same == 1)
        return 0;
    int found = s->place->ops->lookup(s->place, image->name, &now, e);
    if (found <= 0)
        return found;
    if (!pool_copy_is_ours(&image->copy, &now, POOL_COPY_UNTOUCHED))
        return 0; /* somebody else's: that it is in the way is found out by the plan */
    if (same == 0)
        return 1;
    log_warn("%s/%s is gone: its copy on the share is left there", m->earlier->path, image->name);
    return 0;
}

/* Only looks. */
static int stale_find(struct pool_move *m, struct err *e)
{
    const struct pool_journal *earlier = m->earlier;
    struct pool_share s = {0};
    pool_names_free(&m->stale);
    if (earlier == NULL || earlier->n_images == 0)
        return 0;
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc == 0 && i < earlier->n_images; i++) {
        rc = stale_is(m, &s, &earlier->images[i], e);
        if (rc > 0)
            rc = pool_names_add(&m->stale, strdup(earlier->images[i].name), e);
    }
    pool_share_close(&s);
    return rc;
}

/* What else is in the way, which the plan was told to overlook. */
static int stale_check_others(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    struct store_attr attr;
    if (m->stale.n == 0)
        return 0;
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc == 0 && i < m->journal->n_images; i++) {
        const struct pool_journal_image *image = &m->journal->images[i];
        int found = s.place->ops->lookup(s.place, image->name, &attr, e);
        int has = found > 0 ? pool_share_has(&s, image, &attr, e) : found;
        if (found < 0 || has < 0)
            rc = -1;
        else if (found > 0 && has == 0 && !stale_has(m, image->name))
            rc = err_set(e, ERR_REFUSED, 0, "%s%s exists, and is no copy of ours", s.place->url,
                         image->name);
    }
    pool_share_close(&s);
    return rc;
}

int pool_discard_stale(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    if (m->stale.n == 0)
        return 0;
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc == 0 && i < m->earlier->n_images; i++) {
        struct pool_journal_image *image = &m->earlier->images[i];
        if (!stale_has(m, image->name))
            continue;
        log_info("%s: was changed since it was copied", image->name);
        int removed = pool_share_remove(&s, image, POOL_COPY_UNTOUCHED, e);
        rc = removed < 0 ? -1 : 0;
        image->copy.made = false;
    }
    pool_share_close(&s);
    if (rc < 0 || pool_plan_copy(m, e) < 0)
        return -1;
    return pool_write_journal(m, m->journal->phase, e);
}

int pool_plan_copy(struct pool_move *m, struct err *e)
{
    if (stale_find(m, e) < 0 || plan_volumes(m, &m->used, e) < 0)
        return -1;
    size_t n;
    plan_forget_images(m);
    free(TAKE(m->sources));
    if (plan_sources(m, &m->used, &n, e) < 0 || plan_copy(m, n, e) < 0)
        return -1;
    return stale_check_others(m, e) < 0 ? -1 : plan_check_named(m, e);
}

/* ---- the copies ---- */

int pool_check_originals(struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->journal->n_images; i++) {
        const struct pool_journal_image *image = &m->journal->images[i];
        int same = pool_original_unchanged(m->journal->path, image, e);
        if (same < 0)
            return -1;
        if (same == 0)
            return err_set(e, ERR_IO, 0, "%s/%s was changed since it was copied", m->journal->path,
                           image->name);
    }
    return 0;
}

/* QEMU opens a network disk as its owner, so that has to be who owns the copy. */
static int check_owner(const struct pool_move *m, const char *name, const struct store_attr *attr,
                       struct err *e)
{
    struct domain_image original;
    if (!m->journal->network ||
        m->journal->phase >= POOL_DONE) /* later the originals may be gone */
        return 0;
    if (m->how.image(m->how.arg, name, false, &original, e) < 0)
        return -1;
    if (original.uid == attr->uid && original.gid == attr->gid)
        return 0;
    err_set(e, ERR_NFS, 0,
            "%s belongs to %u:%u on the share, not to %u:%u: the server does not let "
            "root give it away",
            name, attr->uid, attr->gid, original.uid, original.gid);
    return err_hint(e, "export it with no_root_squash, or change the owner of the original");
}

static int check_copy(struct pool_move *m, struct pool_share *s,
                      const struct pool_journal_image *image, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, image->name, &attr, e);
    if (found < 0)
        return -1;
    if (found == 0)
        return err_set(e, ERR_NFS, ENOENT, "%s%s", s->place->url, image->name);
    const struct pool_journal_copy *is = image->copy.made ? &image->copy : &image->compared;
    if (is->made && !pool_copy_is_ours(is, &attr, POOL_COPY_SAME_FILE))
        return err_set(e, ERR_NFS, 0,
                       "%s%s is not the copy that was made: somebody has replaced it",
                       s->place->url, image->name);
    if (m->mount != NULL &&
        pool_share_await(m->mount, image->name, &attr, m->options.copy.cancel, e) < 0)
        return -1;
    return check_owner(m, image->name, &attr, e);
}

int pool_check_copies(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc == 0 && i < m->journal->n_images; i++)
        rc = check_copy(m, &s, &m->journal->images[i], e);
    pool_share_close(&s);
    return rc;
}

int pool_changed_copies(struct pool_move *m, char **names, struct err *e)
{
    struct pool_share s = {0};
    struct store_attr attr;
    *names = NULL;
    int rc = pool_open_share(m, &s, e);
    for (size_t i = 0; rc >= 0 && i < m->journal->n_images; i++) {
        const struct pool_journal_image *image = &m->journal->images[i];
        rc = pool_share_has(&s, image, &attr, e);
        if (rc == 0 || (rc > 0 && image->copy.made &&
                        !pool_copy_is_ours(&image->copy, &attr, POOL_COPY_SAME_DATA)))
            rc = pool_list(names, image->name, e);
    }
    pool_share_close(&s);
    return rc < 0 ? -1 : 0;
}

/*
 * A copy is removed if it is known to be ours, and its original is there: what stands on the share by
 * now may have been put there by hand, and be the only one.
 */
static int remove_copy(struct pool_move *m, struct pool_share *s,
                       const struct pool_journal_image *image, enum pool_copy_proof proof,
                       struct err *e)
{
    struct pool_journal_image now = {.name = image->name};
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, image->name, &attr, e);
    if (found < 0)
        return -1;
    if (found > 0 && pool_original_read(m->journal->path, &now, e) < 0) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        log_warn("%s%s stays: there is no original of it any more", s->place->url, image->name);
        return 0;
    }
    int removed = found > 0 ? pool_share_remove(s, image, proof, e) : 1;
    if (removed == 0)
        log_warn("%s%s stays: it is not known to be the copy that godwit made", s->place->url,
                 image->name);
    return removed > 0 ? pool_share_remove_directories(s, image, e) : removed;
}

int pool_remove_copies(struct pool_move *m, enum pool_copy_proof proof, struct err *e)
{
    struct pool_share s = {0};
    int rc = pool_open_share(m, &s, e);
    if (rc == 0)
        rc = pool_share_remove_parts(&s, m->journal, e);
    for (size_t i = m->journal->n_images; rc == 0 && i-- > 0;)
        if (!m->journal->images[i].was_there)
            rc = remove_copy(m, &s, &m->journal->images[i], proof, e);
    pool_share_close(&s);
    return rc;
}
