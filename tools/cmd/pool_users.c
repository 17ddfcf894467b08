/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Three times something is taken from whoever still has a way to it: the switch leaves the old
 * directory behind, --delete-originals deletes what is in it, --undo removes the copies. Each time
 * the same question is asked (qmp/virt/pool/users.h), of the pool's libvirt and of the others that were
 * named with -c; the kernel tells who has a file open. Where a step is still to change pool and
 * domains, the question is who could reach the files after it.
 */
#include "tools/cmd/pool_move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/text.h"
#include "tools/cmd/image_set.h"

enum { USERS_TEXT_MAX = 700 };

/* ---- the question ---- */

/* What cannot be found out counts, unless nothing is removed: then it is told. */
static int users_take(const struct virt_users *u, bool removes, char *text)
{
    for (size_t i = 0; i < u->n; i++) {
        if (u->at[i].unknown && !removes)
            log_warn("%s: %s", u->at[i].who, u->at[i].how);
        else
            image_users_text(text, USERS_TEXT_MAX, &u->at[i]);
    }
    return 0;
}

static int users_ask(struct pool_move *m, struct image_set *set, const struct virt_intent *intent,
                     bool removes, char *text, struct err *e)
{
    const struct option_list *uris = &m->call->arg.connect;
    const struct virt_files files = image_set_files(set);
    for (size_t i = 0; i < uris->n; i++) {
        struct virt_users users = {0};
        /* what is going to be is so at the pool's own libvirt alone */
        int rc = virt_users_find(uris->at[i], &files, i == 0 ? intent : NULL, &users, e);
        if (rc == 0)
            users_take(&users, removes, text);
        virt_users_free(&users);
        if (rc < 0)
            return err_wrap(e, "%s does not tell who uses the images", uris->at[i]);
    }
    return 0;
}

static const char *users_after(void *arg, const char *uuid)
{
    const struct pool_move *m = arg;
    for (size_t i = 0; m->after != NULL && i < m->journal->n_domains; i++)
        if (strcmp(m->journal->domains[i].uuid, uuid) == 0)
            return m->after[i];
    return NULL;
}

static const char *users_before(void *arg, const char *uuid)
{
    const struct pool_move *m = arg;
    for (size_t i = 0; i < m->journal->n_domains; i++)
        if (strcmp(m->journal->domains[i].uuid, uuid) == 0)
            return m->journal->domains[i].before;
    return NULL;
}

static int users_add_originals(const struct pool_move *m, struct image_set *set, struct err *e)
{
    for (size_t i = 0; i < m->journal->n_images; i++) {
        CLEANUP_FREE char *path = NULL;
        if (asprintf(&path, "%s/%s", m->journal->path, m->journal->images[i].name) < 0)
            return pool_no_memory(e);
        if (image_set_add(set, path, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- before something is left behind ---- */

int pool_check_left_behind(struct pool_move *m, struct err *e)
{
    char text[USERS_TEXT_MAX] = "";
    struct image_set set = {.place = &m->place, .all = true};
    const struct virt_intent intent = {
        .pool = m->journal->pool, .target = m->mount, .definition = users_after, .arg = m};
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, &intent, false, text, e);
    image_set_free(&set);
    if (rc < 0)
        return -1;
    if (text[0] == '\0')
        return 0;
    err_set(e, ERR_REFUSED, 0, "%s would be left behind for: %s", m->journal->path, text);
    return err_hint(e, "godwit does not know how to lead these to the share: change or remove them "
                       "first");
}

int pool_check_open(struct pool_move *m, struct err *e)
{
    char text[USERS_TEXT_MAX];
    struct image_set set = {0};
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = image_set_openers(&set, true, text, sizeof text, e);
    image_set_free(&set);
    if (rc < 0 || text[0] == '\0')
        return rc;
    return err_set(e, ERR_REFUSED, 0, "an image of pool '%s' is in use: %s", m->journal->pool,
                   text);
}

/* ---- before the originals are deleted ---- */

static int delete_check_pool(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    CLEANUP_FREE char *xml = virt_pool_xml(m->pool, e);
    CLEANUP_FREE char *target = xml != NULL ? virt_pool_target(xml, e) : NULL;
    if (target == NULL)
        return -1;
    if (j->mount == NULL || strcmp(target, j->mount) == 0)
        return 0;
    err_set(e, ERR_REFUSED, 0, "pool '%s' is at %s, not at the mount of the share, %s", j->pool,
            target, j->mount);
    return err_hint(e, "--undo takes the move back; or '%s' puts the pool there",
                    text_command("virsh -c %s pool-edit %s", virt_pool_uri(m->pool), j->pool));
}

int pool_check_originals_unused(struct pool_move *m, struct err *e)
{
    char text[USERS_TEXT_MAX] = "", open[USERS_TEXT_MAX] = "";
    struct image_set set = {.place = &m->place};
    const struct virt_intent intent = {.pool = m->journal->pool};
    if (delete_check_pool(m, e) < 0)
        return -1;
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, &intent, true, text, e);
    if (rc == 0)
        rc = image_set_openers(&set, false, open, sizeof open, e);
    image_set_free(&set);
    if (rc < 0 || (text[0] == '\0' && open[0] == '\0'))
        return rc;
    err_set(e, ERR_REFUSED, 0, "%s is still used by: %s%s%s", m->journal->path, text,
            text[0] != '\0' && open[0] != '\0' ? "; " : "", open);
    return err_hint(e, "nothing was deleted; lead these to the share, or remove them, first");
}

int pool_check_original_closed(struct pool_move *m, const struct pool_journal_image *image,
                               struct err *e)
{
    CLEANUP_FREE char *path = NULL;
    char open[USERS_TEXT_MAX] = "";
    struct image_set set = {0};
    if (asprintf(&path, "%s/%s", m->journal->path, image->name) < 0)
        return pool_no_memory(e);
    int rc = image_set_add(&set, path, e);
    if (rc == 0)
        rc = image_set_openers(&set, false, open, sizeof open, e);
    image_set_free(&set);
    if (rc < 0 || open[0] == '\0')
        return rc;
    err_set(e, ERR_REFUSED, 0, "an original is in use by now, and stays: %s", open);
    return err_hint(e, "shut down what has it open, and run --delete-originals again");
}

/* ---- before the copies are removed ---- */

static int users_add_copies(const struct pool_move *m, struct image_set *set, struct err *e)
{
    const struct pool_journal *j = m->journal;
    for (size_t i = 0; i < j->n_images; i++) {
        CLEANUP_FREE char *path = NULL, *exported = NULL;
        if (asprintf(&exported, "%s/%s", m->url.path, j->images[i].name) < 0)
            return pool_no_memory(e);
        if (j->images[i].was_there)
            continue;
        if (image_set_add_exported(set, m->url.host, exported, 0, 0, e) < 0)
            return -1;
        if (j->mount == NULL)
            continue;
        if (asprintf(&path, "%s/%s", j->mount, j->images[i].name) < 0)
            return pool_no_memory(e);
        if (image_set_add(set, path, e) < 0)
            return -1;
    }
    return 0;
}

/* `put_back`: pool and domains are back already; else they are going to be. */
int pool_check_copies_unused(struct pool_move *m, bool put_back, struct err *e)
{
    char text[USERS_TEXT_MAX] = "";
    struct image_set set = {0};
    const struct virt_intent will_be = {
        .pool = m->journal->pool, .target = m->journal->path, .definition = users_before, .arg = m};
    const struct virt_intent is = {.pool = m->journal->pool};
    int rc = users_add_copies(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, put_back ? &is : &will_be, true, text, e);
    image_set_free(&set);
    if (rc < 0 || text[0] == '\0')
        return rc;
    err_set(e, ERR_REFUSED, 0, "the copies in %s are used by: %s", m->journal->share, text);
    return err_hint(e,
                    "--undo removes the copies: lead these to other images, or remove them, first");
}
