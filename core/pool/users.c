/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Three times something is taken from whoever still has a way to it: the switch leaves the old
 * directory behind, --delete-originals deletes what is in it, --undo removes the copies. Each time
 * the same question is asked (core/pool/host.h), of the pool's host and of the others that were
 * named with -c; the kernel tells who has a file open. Where a step is still to change pool and
 * domains, the question is who could reach the files after it.
 */
#include "core/pool/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/text.h"
#include "core/pool/image_set.h"

/* ---- the question ---- */

/* What cannot be found out counts, unless nothing is removed: then it is reported. */
static int users_take(const struct file_users *u, bool removes, struct image_users *l,
                      struct err *e)
{
    for (size_t i = 0; i < u->n; i++) {
        if (u->at[i].unknown && !removes)
            log_warn("%s: %s", u->at[i].who, u->at[i].how);
        else if (image_users_add(l, &u->at[i], e) < 0)
            return -1;
    }
    return 0;
}

static int users_ask(struct pool_move *m, struct image_set *set, const struct pool_intent *intent,
                     bool removes, struct image_users *l, struct err *e)
{
    const struct image_files files = image_set_files(set);
    struct file_users users = {0};
    if (m->host->ops->users(m->host, &files, intent, &users, e) < 0)
        return -1;
    int rc = users_take(&users, removes, l, e);
    file_users_free(&users);
    return rc;
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
    struct image_users users = {0};
    struct image_set set = {.place = &m->place, .all = true};
    const struct pool_intent intent = {
        .pool = m->journal->pool, .target = m->mount, .definition = users_after, .arg = m};
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, &intent, false, &users, e);
    if (rc == 0)
        rc = image_users_refuse(
            &users, text_keep("%s would be left behind for", m->journal->path),
            "godwit cannot point these at the share: change or remove them first", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

int pool_check_open(struct pool_move *m, struct err *e)
{
    struct image_users users = {0};
    struct image_set set = {0};
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = image_users_add_openers(&users, &set, IMAGE_OPENERS_WRITE, e);
    if (rc == 0)
        rc = image_users_refuse(&users,
                                text_keep("an image of pool '%s' is in use", m->journal->pool),
                                "end what has it open first", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

/* ---- before the originals are deleted ---- */

static enum image_openers users_openers(const struct pool_move *m)
{
    return m->options.force ? IMAGE_OPENERS_KNOWN : IMAGE_OPENERS_POSSIBLE;
}

static int delete_check_pool(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    struct pool_facts now;
    if (m->host->ops->pool(m->host, &now, e) < 0)
        return -1;
    int rc = 0;
    if (j->mount != NULL && strcmp(now.path, j->mount) != 0) {
        rc = err_set(e, ERR_REFUSED, 0, "pool '%s' is at %s, not at the mount of the share, %s",
                     j->pool, now.path, j->mount);
        err_hint(e, "--undo takes the move back; or '%s' puts the pool there", now.edit_command);
    }
    pool_facts_free(&now);
    return rc;
}

int pool_check_originals_unused(struct pool_move *m, struct err *e)
{
    struct image_users users = {0};
    struct image_set set = {.place = &m->place};
    const struct pool_intent intent = {.pool = m->journal->pool};
    if (delete_check_pool(m, e) < 0)
        return -1;
    int rc = users_add_originals(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, &intent, !m->options.force, &users, e);
    if (rc == 0)
        rc = image_users_add_openers(&users, &set, users_openers(m), e);
    if (rc == 0)
        rc = image_users_refuse(
            &users, text_keep("%s is still used by", m->journal->path),
            "nothing was deleted; point these at the share, or remove them, first", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

int pool_check_original_closed(struct pool_move *m, const struct pool_journal_image *image,
                               struct err *e)
{
    CLEANUP_FREE char *path = NULL;
    struct image_users users = {0};
    struct image_set set = {0};
    if (asprintf(&path, "%s/%s", m->journal->path, image->name) < 0)
        return pool_no_memory(e);
    int rc = image_set_add(&set, path, e);
    if (rc == 0)
        rc = image_users_add_openers(&users, &set, users_openers(m), e);
    if (rc == 0)
        rc = image_users_refuse(&users, "an original is in use by now, and stays",
                                "shut down what has it open, and run --delete-originals again", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

/* ---- before the copies are removed ---- */

static int users_add_copies(const struct pool_move *m, struct image_set *set, struct err *e)
{
    const struct pool_journal *j = m->journal;
    for (size_t i = 0; i < j->n_images; i++) {
        CLEANUP_FREE char *path = NULL, *exported = NULL;
        if (asprintf(&exported, "%s/%s", m->to.path, j->images[i].name) < 0)
            return pool_no_memory(e);
        if (j->images[i].was_there)
            continue;
        if (image_set_add_exported(set, m->to.server, exported, 0, 0, e) < 0)
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

int pool_check_copies_closed(struct pool_move *m, struct err *e)
{
    struct image_users users = {0};
    struct image_set set = {0};
    int rc = users_add_copies(m, &set, e);
    if (rc == 0)
        rc = image_users_add_openers(&users, &set, IMAGE_OPENERS_WRITE, e);
    if (rc == 0)
        rc = image_users_refuse(&users, "a copy is in use", "end what has it open first", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

/* `put_back`: pool and domains are back already; else they are going to be. */
int pool_check_copies_unused(struct pool_move *m, bool put_back, struct err *e)
{
    struct image_users users = {0};
    struct image_set set = {0};
    const struct pool_intent will_be = {
        .pool = m->journal->pool, .target = m->journal->path, .definition = users_before, .arg = m};
    const struct pool_intent is = {.pool = m->journal->pool};
    int rc = users_add_copies(m, &set, e);
    if (rc == 0)
        rc = users_ask(m, &set, put_back ? &is : &will_be, true, &users, e);
    if (rc == 0 && put_back) /* before that what runs is still to be shut down */
        rc = image_users_add_openers(&users, &set, users_openers(m), e);
    if (rc == 0)
        rc = image_users_refuse(
            &users, text_keep("the copies in %s are used by", m->journal->share),
            "--undo removes the copies: point these at other images, or remove them, first", e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}
