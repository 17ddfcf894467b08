/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The move is a table of steps (core/step.h). Each does what is left to be done: in a run that goes
 * on where another was killed the first ones find their work done. Going back puts pool and domains
 * back together, from the journal, whatever of them was switched, and by whichever run; only then
 * domains are started again.
 *
 * Copies stay on the share when a run fails: they are what the next one need not do again.
 */
#include "core/pool/move.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/step.h"

static int step_cancelled(void *ctx, struct err *e)
{
    return pool_interrupted(ctx) ? err_set(e, ERR_CANCELLED, 0, "interrupted") : 0;
}

static int step_journal(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    return pool_write_journal(m, m->journal->phase, e);
}

/* Also when it was an earlier run that had switched something. */
static void undo_shut_down(void *ctx)
{
    struct pool_move *m = ctx;
    m->stage = POOL_DEFINES;
    if (m->journal->phase == POOL_SWITCHING)
        pool_put_back(m);
    pool_start_again(m);
}

/* Guests have written until now: the images, and whether they are in use, are looked at again. */
static int shut_down_replan(struct pool_move *m, struct err *e)
{
    return m->journal->phase == POOL_BEGUN &&
                   (pool_plan_copy(m, e) < 0 || pool_write_journal(m, POOL_BEGUN, e) < 0)
               ? -1
               : 0;
}

static int step_shut_down(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    if (m->running == 0)
        return 0;
    m->stage = POOL_DEFINES;
    if (pool_shut_down(m, e) == 0) {
        m->stage = POOL_COPIES;
        m->running = 0;
        if (shut_down_replan(m, e) == 0)
            return 0;
    }
    undo_shut_down(m);
    return -1;
}

static int step_discard(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    return m->journal->phase == POOL_BEGUN ? pool_discard_stale(m, e) : 0;
}

#define STARTED "started by someone else meanwhile: %s"
#define STARTED_HINT "shut it down, and run the same command again"

static int check_none_started(struct pool_move *m, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (pool_running(m, &names, e) < 0)
        return -1;
    if (names == NULL)
        return 0;
    err_set(e, ERR_VIRT, 0, STARTED, names);
    return err_hint(e, STARTED_HINT);
}

/*
 * A domain that was started under the copy has its image in use, or changed. The copy can name the
 * image only; who runs the command has to know the domain.
 */
static int step_copy(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    struct err blind = {0};
    CLEANUP_FREE char *names = NULL;
    if (m->journal->phase != POOL_BEGUN)
        return 0;
    m->copying = true;
    m->stage = POOL_COPIES;
    if (relocate_run(m->relocate, e) == 0)
        return 0;
    if (e->class != ERR_CANCELLED && pool_running(m, &names, &blind) == 0 && names != NULL) {
        err_wrap(e, STARTED, names);
        err_hint(e, STARTED_HINT);
    }
    return -1;
}

static int step_check_copies(void *ctx, struct err *e)
{
    return step_cancelled(ctx, e) < 0 ? -1 : pool_check_copies(ctx, e);
}

static int step_check_quiet(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    if (check_none_started(m, e) < 0 || pool_check_open(m, e) < 0 ||
        pool_check_originals(m, e) < 0 || pool_check_left_behind(m, e) < 0)
        return -1;
    return pool_write_journal(m, POOL_SWITCHING, e);
}

static int switch_pool(struct pool_move *m, struct err *e)
{
    struct pool_facts now;
    if (m->host->ops->pool(m->host, &now, e) < 0)
        return -1;
    bool there = strcmp(now.path, m->mount) == 0, active = now.active;
    bool known = there || strcmp(now.path, m->journal->path) == 0;
    pool_facts_free(&now);
    if (!known)
        return err_set(e, ERR_VIRT, 0, "pool '%s' was changed by someone else meanwhile",
                       m->journal->pool);
    return there && active ? 0 : m->host->ops->define(m->host, NULL, m->pool_after, e);
}

/* As the host gives it out by now. */
static int switch_write_down(struct pool_move *m, struct err *e)
{
    struct pool_facts now;
    if (m->host->ops->pool(m->host, &now, e) < 0)
        return -1;
    free(m->journal->after);
    m->journal->after = TAKE(now.definition);
    pool_facts_free(&now);
    return pool_write_journal(m, POOL_SWITCHING, e);
}

static int step_pool(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    m->stage = POOL_DEFINES;
    if (m->mount == NULL)
        return 0;
    if (switch_pool(m, e) == 0 && check_none_started(m, e) == 0 && switch_write_down(m, e) == 0)
        return 0;
    pool_put_back(m);
    return -1;
}

static void undo_pool(void *ctx)
{
    pool_put_back(ctx);
}

static int step_domains(void *ctx, struct err *e)
{
    return pool_redefine(ctx, e);
}

static int step_look_again(void *ctx, struct err *e)
{
    struct pool_move *m = ctx;
    return pool_check_moved(m, e) < 0 || pool_check_originals(m, e) < 0 ? -1 : 0;
}

static int step_done(void *ctx, struct err *e)
{
    return pool_write_journal(ctx, POOL_DONE, e);
}

static const struct step pool_steps[] = {
    {"write down how things are", step_journal, NULL, 0},
    {"shut the domains down", step_shut_down, undo_shut_down, 0},
    {"remove copies of what has changed", step_discard, NULL, 0},
    {"copy the images", step_copy, NULL, 0},
    {"look at the copies", step_check_copies, NULL, 0},
    {"see that no domain runs", step_check_quiet, NULL, 0},
    {"switch the pool", step_pool, undo_pool, 0},
    {"redefine the domains", step_domains, NULL, 0},
    {"see that no domain was started", step_look_again, NULL, 0},
    {"write down that it is done", step_done, NULL, 0},
};

enum { POOL_STEPS = sizeof pool_steps / sizeof *pool_steps };

/* What is on the share after a failure is for the next run; where there is nothing, no journal is
 * needed. */
static void run_settle(struct pool_move *m)
{
    struct err e = {0};
    if (m->unsettled != NULL || (m->journal->phase == POOL_SWITCHING && !m->back))
        return; /* the journal stays as it is */
    int rc = m->copying ? pool_write_journal(m, POOL_BEGUN, &e)
                        : pool_journal_remove(m->options.state_dir, m->journal->uuid, &e);
    if (rc < 0)
        pool_unsettled(m, e.msg);
}

/*
 * Between a run that was killed while it switched and this one, a domain may have run from the
 * share: what it has written is there alone, and going back would lose it.
 */
static int run_check_written(struct pool_move *m, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (!m->resumed || m->journal->phase != POOL_SWITCHING)
        return 0;
    if (pool_changed_copies(m, &names, e) < 0)
        return -1;
    m->written = names != NULL;
    return 0;
}

int pool_run(struct pool_move *m, struct err *e)
{
    bool returnable;
    if (run_check_written(m, e) < 0)
        return pool_stopped(m, e);
    if (step_run(pool_steps, POOL_STEPS, m, &returnable, e) == 0)
        return 0;
    pool_stopped(m, e);
    if (e->class == ERR_REFUSED || e->class == ERR_USAGE)
        e->class = ERR_VIRT; /* something was done, if only to be undone */
    run_settle(m);
    if (m->unsettled == NULL)
        return -1;
    e->class = ERR_UNCERTAIN;
    err_wrap(e, "not put back: %s; because", m->unsettled);
    return err_hint(e, "see that the domains are shut off; then '%s'", m->options.undo_command);
}
