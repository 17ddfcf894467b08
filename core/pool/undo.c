/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/move.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"

int pool_no_journal(const struct pool_move *m, const char *what, struct err *e)
{
    err_set(e, ERR_REFUSED, 0, "pool '%s' was not moved: there is nothing to %s", m->host->name,
            what);
    return err_hint(e, "journals are in %s; --state-dir names another directory",
                    m->options.state_dir);
}

/* What the journal says about places. */
int pool_open_journal(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    m->share = strdup(j->share);
    m->mount = j->mount != NULL ? strdup(j->mount) : NULL;
    if (m->share == NULL || (j->mount != NULL && m->mount == NULL))
        return pool_no_memory(e);
    if (pool_open_destination(m, e) < 0 || pool_place_open(&m->place, j->path, e) < 0)
        return -1;
    pool_set_how(m);
    return 0;
}

/* ---- undo ---- */

/* Domains that somebody has changed since would lose that. */
static int undo_check_unchanged(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    for (size_t i = 0; i < j->n_domains; i++) {
        const struct pool_journal_domain *d = &j->domains[i];
        CLEANUP_FREE char *now = m->host->ops->definition(m->host, d->uuid, false, e);
        if (now == NULL)
            return err_wrap(e, "domain %s", d->name);
        if (pool_same(m, d, now, d->before) || d->after == NULL || pool_same(m, d, now, d->after))
            continue;
        err_set(e, ERR_REFUSED, 0, "domain %s was changed since it was moved", d->name);
        return err_hint(e, "--undo --force puts its old definition back all the same");
    }
    return 0;
}

/* What guests have written since is on the share alone. */
static int undo_check_copies(struct pool_move *m, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (m->journal->phase == POOL_BEGUN)
        return 0;
    if (pool_changed_copies(m, &names, e) < 0)
        return -1;
    if (names == NULL)
        return 0;
    err_set(e, ERR_REFUSED, 0, "written to since they were moved: %s", names);
    return err_hint(e, "--undo --force goes back to the originals, and gives up what was written");
}

/* Whether they were written to since does not matter: they are what is gone back to. */
static int undo_check_originals(struct pool_move *m, struct err *e)
{
    for (size_t i = 0; m->journal->phase != POOL_BEGUN && i < m->journal->n_images; i++)
        if (pool_original_unchanged(m->journal->path, &m->journal->images[i], e) < 0)
            return err_wrap(e, "an original is missing");
    return 0;
}

static int undo_check(struct pool_move *m, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (m->journal->phase == POOL_DELETING) {
        err_set(e, ERR_REFUSED, 0, "originals of pool '%s' were deleted already", m->journal->pool);
        return err_hint(e, "there is no way back; --delete-originals goes on with it");
    }
    if (pool_running(m, &names, e) < 0)
        return -1;
    m->running = names != NULL;
    if (m->running && !m->options.shutdown) {
        err_set(e, ERR_REFUSED, 0, "domains that use pool '%s' are running: %s", m->journal->pool,
                names);
        return err_hint(e, "shut them down, or let godwit do it with --shutdown");
    }
    if (undo_check_originals(m, e) < 0 || pool_check_copies_unused(m, false, e) < 0)
        return -1;
    if (m->options.force)
        return 0;
    return undo_check_unchanged(m, e) < 0 || undo_check_copies(m, e) < 0 ? -1 : 0;
}

int pool_undo(struct pool_move *m, struct err *e)
{
    if (m->journal == NULL)
        return pool_no_journal(m, "undo", e);
    bool killed = m->journal->phase != POOL_DONE;
    enum pool_copy_proof proof = m->journal->phase == POOL_BEGUN ? POOL_COPY_UNTOUCHED
                                 : m->options.force              ? POOL_COPY_SAME_FILE
                                                                 : POOL_COPY_SAME_DATA;
    if (pool_open_journal(m, e) < 0 || undo_check(m, e) < 0)
        return pool_refuse(m, e);
    if (m->options.dry_run)
        return 0;
    m->stage = POOL_DEFINES;
    if (m->running > 0) {
        if (pool_shut_down(m, e) < 0 || (!m->options.force && undo_check_copies(m, e) < 0)) {
            pool_start_again(m);
            e->class = e->class == ERR_REFUSED ? ERR_VIRT : e->class;
            return pool_stopped(m, e);
        }
    }
    /* from here on it is no move that has ended, whatever becomes of this */
    if (m->journal->phase == POOL_DONE && pool_write_journal(m, POOL_SWITCHING, e) < 0)
        return -1;
    if (m->journal->phase !=
        POOL_BEGUN) /* else all is as it was, but for what others have changed */
        pool_put_back(m);
    if (m->unsettled != NULL) {
        err_set(e, ERR_UNCERTAIN, 0, "not put back: %s", m->unsettled);
        return err_hint(e, "fix that, and run it again; --force takes what libvirt makes of it");
    }
    if (killed)
        pool_start_again(m);
    m->stage = POOL_REMOVES;
    if (pool_write_journal(m, POOL_BEGUN, e) < 0 || pool_check_copies_unused(m, true, e) < 0 ||
        pool_remove_copies(m, proof, e) < 0) {
        pool_stopped(m, e);
        return err_wrap(e, "pool and domains are back as they were, but copies are left");
    }
    return pool_journal_remove(m->options.state_dir, m->journal->uuid, e);
}
