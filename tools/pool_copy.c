/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/pool_move.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/part_name.h"

/* ---- the plan ---- */

static int plan_volumes(struct pool_move *m, struct pool_names *names, struct err *e)
{
    struct virt_volume *volumes = NULL;
    size_t n = 0;
    if (virt_pool_volumes(m->pool, &volumes, &n, e) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct virt_volume *v = &volumes[i];
        bool whole = v->type != VIRT_VOLUME_DIRECTORY;
        if (v->type == VIRT_VOLUME_OTHER)
            rc = err_set(e, ERR_REFUSED, 0, "volume %s of pool '%s' is neither a file nor a "
                         "directory", v->name, m->journal->pool);
        else if (!part_name_is(v->name) && (whole || strcmp(v->name, "lost+found") != 0))
            rc = pool_names_add(names, strdup(v->name), e);
    }
    virt_volumes_free(volumes, n);
    return rc;
}

/* The operands of the copy: what is there of `names`, with its directory. */
static int plan_operand_names(const struct pool_move *m, struct pool_names *names,
                              struct pool_names *operands, struct err *e)
{
    for (size_t i = 0; i < names->n; i++) {
        char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/%s", m->place.path, names->at[i]) < 0)
            return pool_no_memory(e);
        if (stat(path, &st) < 0) {
            log_warn("%s: is used by a domain, and is not there", path);
            free(path);
            continue;
        }
        if (S_ISREG(st.st_mode) && st.st_size > 0 &&
            pool_place_check_backing(&m->place, names->at[i],
                                     (enum image_format_ask)m->call->arg.format, e) < 0) {
            free(path);
            return -1;
        }
        if (pool_names_add(operands, path, e) < 0)
            return -1;
    }
    if (operands->n > 0)
        return 0;
    return err_set(e, ERR_REFUSED, 0, "pool '%s' has no volumes", m->journal->pool);
}

/* What an earlier run has made is ours, and was not there. */
static bool plan_was_there(const struct pool_move *m, const struct relocate_image *image)
{
    const struct pool_journal *earlier = m->earlier;
    for (size_t i = 0; earlier != NULL && i < earlier->n_images; i++)
        if (strcmp(earlier->images[i].name, image->as) == 0)
            return earlier->images[i].was_there;
    return image->was_there || m->call->options.verify_only;
}

static int plan_images(struct pool_move *m, struct err *e)
{
    const struct relocate_image *image;
    struct pool_journal *j = m->journal;
    size_t n = 0;
    while (relocate_image(m->call->relocate, n) != NULL)
        n++;
    j->images = calloc(n + 1, sizeof *j->images);
    if (j->images == NULL)
        return pool_no_memory(e);
    for (; j->n_images < n; j->n_images++) {
        struct pool_journal_image *i = &j->images[j->n_images];
        image = relocate_image(m->call->relocate, j->n_images);
        i->name = strdup(image->as);
        i->was_there = plan_was_there(m, image);
        if (i->name == NULL)
            return pool_no_memory(e);
        if (pool_place_original(j->path, i, e) < 0)
            return -1;
    }
    return 0;
}

static bool plan_has_image(const struct pool_journal *j, const char *name)
{
    for (size_t i = 0; i < j->n_images; i++)
        if (strcmp(j->images[i].name, name) == 0)
            return true;
    return false;
}

/* What domains use has to be among the copies, or they would be led to where nothing is. */
static int plan_check_named(const struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->named.n; i++) {
        const char *name = m->named.at[i];
        CLEANUP_FREE char *path = NULL;
        struct stat st;
        if (plan_has_image(m->journal, name))
            continue;
        if (asprintf(&path, "%s/%s", m->place.path, name) < 0)
            return pool_no_memory(e);
        if (stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
            if (strchr(name, '/') != NULL) /* else that was said when the operands were made */
                log_warn("%s: is used by a domain, and is not there", path);
            continue;
        }
        err_set(e, ERR_REFUSED, 0, "%s is used by a domain, and would not be copied: it is no file, or "
                "reached by a symbolic link to a directory", path);
        return err_hint(e, "'realpath %s' tells the name that the domain has to have instead", path);
    }
    return 0;
}

/* Whether each copy stands there already, as its original was. */
static int plan_all_there(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    struct store_attr attr;
    int has = pool_share_open(&s, m->share, m->call, e) < 0 ? -1 : 1;
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
    relocate_call_forget(m->call);
}

/*
 * Copies that all stand there, from a run that was killed just then, or made by hand, are compared
 * with their originals instead of made again. That is found out by planning so.
 */
static int plan_copy(struct pool_move *m, struct pool_names *operands, struct err *e)
{
    struct relocate_options *o = &m->call->options;
    struct err absent = {0};
    o->recursive = o->follow = true;
    o->verify = !m->call->arg.no_verify;
    o->force = m->running > 0; /* they are shut down before; then it is planned again */
    o->verify_only = true;
    if (relocate_call_plan(m->call, operands->at, operands->n, m->share, &absent) == 0) {
        if (plan_images(m, e) < 0)
            return -1;
        int all = plan_all_there(m, e);
        if (all != 0)
            return all < 0 ? -1 : 0;
    }
    plan_forget_images(m);
    o->verify_only = false;
    if (relocate_call_plan(m->call, operands->at, operands->n, m->share, e) < 0)
        return -1;
    return plan_images(m, e);
}

/* Copies that an earlier run has made of what has changed since, or is gone. */
static int plan_discard_stale(struct pool_move *m, struct err *e)
{
    const struct pool_journal *earlier = m->earlier;
    struct pool_share s = {0};
    int rc = 0;
    for (size_t i = 0; earlier != NULL && rc == 0 && i < earlier->n_images; i++) {
        const struct pool_journal_image *image = &earlier->images[i];
        struct err gone = {0};
        if (image->was_there || pool_place_unchanged(earlier->path, image, &gone) == 1)
            continue;
        log_info("%s: was changed since it was copied", image->name);
        if (s.place == NULL)
            rc = pool_share_open(&s, m->share, m->call, e);
        if (rc == 0)
            rc = pool_share_remove(&s, image->name, e);
    }
    pool_share_close(&s);
    return rc;
}

int pool_plan_copy(struct pool_move *m, struct err *e)
{
    if (!m->call->arg.dry_run && plan_discard_stale(m, e) < 0)
        return -1;
    if (plan_volumes(m, &m->used, e) < 0)
        return -1;
    pool_names_free(&m->operands);
    plan_forget_images(m);
    if (plan_operand_names(m, &m->used, &m->operands, e) < 0 || plan_copy(m, &m->operands, e) < 0)
        return -1;
    return plan_check_named(m, e);
}

/* ---- the copies ---- */

int pool_check_originals(struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->journal->n_images; i++) {
        const struct pool_journal_image *image = &m->journal->images[i];
        int same = pool_place_unchanged(m->journal->path, image, e);
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
    if (!m->journal->network || m->journal->phase >= POOL_DONE) /* later the originals may be gone */
        return 0;
    if (m->how.image(m->how.arg, name, false, &original, e) < 0)
        return -1;
    if (original.uid == attr->uid && original.gid == attr->gid)
        return 0;
    err_set(e, ERR_NFS, 0, "%s belongs to %u:%u on the share, not to %u:%u: the server does not let "
            "root give it away", name, attr->uid, attr->gid, original.uid, original.gid);
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
    if (m->mount != NULL && pool_share_await(m->mount, image->name, &attr, e) < 0)
        return -1;
    return check_owner(m, image->name, &attr, e);
}

int pool_check_copies(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    int rc = pool_share_open(&s, m->share, m->call, e);
    for (size_t i = 0; rc == 0 && i < m->journal->n_images; i++)
        rc = check_copy(m, &s, &m->journal->images[i], e);
    pool_share_close(&s);
    return rc;
}

int pool_changed_copies(struct pool_move *m, char *names, size_t room, struct err *e)
{
    struct pool_share s = {0};
    struct store_attr attr;
    *names = '\0';
    int rc = pool_share_open(&s, m->journal->share, m->call, e);
    for (size_t i = 0; rc >= 0 && i < m->journal->n_images; i++) {
        const struct pool_journal_image *image = &m->journal->images[i];
        rc = pool_share_has(&s, image, &attr, e);
        if (rc == 0)
            pool_list(names, room, image->name);
    }
    pool_share_close(&s);
    return rc < 0 ? -1 : 0;
}

/* The directories that were made for images, the deepest first; one that is not empty stays. */
static void remove_parents(struct pool_share *s, const char *name)
{
    CLEANUP_FREE char *path = strdup(name);
    char *slash;
    while (path != NULL && (slash = strrchr(path, '/')) != NULL) {
        struct err e = {0};
        struct store_attr attr;
        *slash = '\0';
        if (s->place->ops->lookup(s->place, path, &attr, &e) <= 0 ||
            s->place->ops->remove(s->place, path, &attr, &e) < 0)
            return;
    }
}

int pool_remove_copies(struct pool_move *m, struct err *e)
{
    struct pool_share s = {0};
    int rc = pool_share_open(&s, m->journal->share, m->call, e);
    for (size_t i = m->journal->n_images; rc == 0 && i-- > 0;) {
        const struct pool_journal_image *image = &m->journal->images[i];
        if (image->was_there)
            continue;
        rc = pool_share_remove(&s, image->name, e);
        if (rc == 0)
            remove_parents(&s, image->name);
    }
    pool_share_close(&s);
    return rc;
}
