/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The originals of a move that has ended are deleted one by one. All is asked before the first goes:
 * whether each copy stands there, and whether anybody can still reach an original. Each is asked
 * about again right before it goes, and is proven to be what was copied. Where one stops it, the
 * journal stays, and another run goes on. An original whose copy is on no record, neither as made nor as
 * compared, stays: that a file of that name is on the share proves nothing.
 */
#include "core/pool/move.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/text.h"

static int delete_check(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    if (j->phase != POOL_DONE && j->phase != POOL_DELETING) {
        err_set(e, ERR_REFUSED, 0, "the move of pool '%s' has not ended", j->pool);
        return err_hint(e, "run the command that began it again, or --undo");
    }
    /* who uses them last: looking at the copies may take its time, in which domains are started */
    return pool_check_copies(m, e) < 0 ? -1 : pool_check_originals_unused(m, e);
}

/* The directories on the way to it that are empty now. */
static void delete_directories(const struct pool_move *m, char *path)
{
    for (char *slash = strrchr(path, '/'); slash - path > (ptrdiff_t)strlen(m->journal->path);
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (rmdir(path) < 0 && errno != ENOENT)
            break;
    }
}

static int delete_unproven(const struct pool_move *m, const struct pool_journal_image *image)
{
    log_warn(
        "%s/%s stays: what is on the share by that name was there before, and nothing is on record "
        "that it was compared with this",
        m->journal->path, image->name);
    return 0;
}

/* 1: it is gone; 0: it was changed since it was copied, so it is somebody's work, or its copy is not
 * proven, and stays; -1. */
static int delete_one(struct pool_move *m, const struct pool_journal_image *image, struct err *e)
{
    CLEANUP_FREE char *path = NULL;
    if (!image->copy.made && !image->compared.made)
        return delete_unproven(m, image);
    if (pool_check_original_closed(m, image, e) < 0)
        return -1;
    int removed = pool_original_remove(m->journal->path, image, e);
    if (removed < 0 && e->sys != ENOENT)
        return -1;
    if (removed < 0) { /* by a run that was killed right after it */
        err_clear(e);
        removed = 1;
    }
    if (asprintf(&path, "%s/%s", m->journal->path, image->name) < 0)
        return pool_no_memory(e);
    if (removed == 0)
        log_warn("%s was changed since it was copied: it stays", path);
    else
        delete_directories(m, path);
    return removed;
}

/* By now it is no refusal, whoever says so: that would mean that nothing was touched. */
static int delete_stopped(const struct pool_move *m, size_t gone, struct err *e)
{
    if (e->class == ERR_REFUSED || e->class == ERR_USAGE)
        e->class = ERR_IO;
    err_wrap(e, "%zu of %zu originals are gone, the others stay", gone, m->journal->n_images);
    return e->hint != NULL ? -1 : err_hint(e, "--delete-originals goes on with the others");
}

int pool_delete_originals(struct pool_move *m, struct err *e)
{
    size_t gone = 0;
    for (size_t i = 0; i < m->journal->n_images; i++) {
        int removed = delete_one(m, &m->journal->images[i], e);
        if (removed < 0)
            return delete_stopped(m, gone, e);
        gone += (size_t)removed;
    }
    return 0;
}

int pool_delete(struct pool_move *m, struct err *e)
{
    if (m->journal == NULL)
        return pool_no_journal(m, "delete", e);
    if (pool_open_journal(m, e) < 0 || delete_check(m, e) < 0)
        return pool_refuse(m, e);
    if (m->options.dry_run)
        return 0;
    m->stage = POOL_REMOVES;
    if (pool_write_journal(m, POOL_DELETING, e) < 0 || pool_delete_originals(m, e) < 0)
        return pool_stopped(m, e);
    return pool_journal_remove(m->options.state_dir, m->journal->uuid, e);
}
