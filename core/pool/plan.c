/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The plan is a journal that was not written yet, with the new XML of each domain beside it. When an
 * earlier run's journal is there, and nothing was switched, all is planned anew, since domains and
 * volumes may have come and gone; only what that run has done is taken over: which copies on the
 * share are ours, which domains it shut down. Once switching has begun, the journal's domains and
 * images are the plan, and only the new XML is made again.
 */
#include "core/pool/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/text.h"

/* ---- the operands ---- */

/* With the slash at its end that tells a directory from an image's new name. */
static char *plan_share_text(const char *operand)
{
    size_t path = strcspn(operand, "?");
    while (path > 0 && operand[path - 1] == '/')
        path--;
    char *text = NULL;
    return asprintf(&text, "%.*s/%s", (int)path, operand, operand + strcspn(operand, "?")) < 0
               ? NULL
               : text;
}

static int plan_operands(struct pool_move *m, const char *share, struct err *e)
{
    const struct pool_options *o = &m->options;
    m->share = plan_share_text(share);
    if (m->share == NULL)
        return pool_no_memory(e);
    if (o->destination(o->arg, m->share, o->network, &m->to, e) < 0)
        return -1;
    if (!o->network && o->mount == NULL && !o->any_mount) {
        err_set(e, ERR_USAGE, 0, "--mount is missing: where the share is mounted on this host");
        return err_hint(e, "without a mount, --target=nfs makes network disks of the disks");
    }
    if (o->mount == NULL)
        return 0;
    if (*o->mount != '/')
        return err_set(e, ERR_USAGE, 0, "--mount: '%s' is no absolute path", o->mount);
    m->mount = strdup(o->mount);
    if (m->mount == NULL)
        return pool_no_memory(e);
    for (size_t len = strlen(m->mount); len > 1 && m->mount[len - 1] == '/';)
        m->mount[--len] = '\0';
    return 0;
}

static bool plan_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* An earlier run's journal must be of the very same move. */
static int plan_check_same(const struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    if (plan_same_text(j->share, m->share) && plan_same_text(j->mount, m->mount) &&
        j->network == m->options.network)
        return j->phase != POOL_DELETING
                   ? 0
                   : err_set(e, ERR_REFUSED, 0,
                             "pool '%s' has moved, and its originals are being "
                             "deleted: --delete-originals goes on with that",
                             j->pool);
    err_set(e, ERR_REFUSED, 0, "pool '%s' %s %s with --target=%s%s%s", j->pool,
            j->phase == POOL_DONE ? "was moved to" : "is being moved to", j->share,
            j->network ? "nfs" : "file", j->mount != NULL ? " --mount=" : "",
            j->mount != NULL ? j->mount : "");
    return err_hint(e, j->phase == POOL_DONE
                           ? "--delete-originals makes that final, --undo takes it back"
                           : "the same command continues that, --undo takes it back");
}

/* ---- the pool ---- */

static int plan_check_mount(struct pool_move *m, struct err *e)
{
    if (m->mount == NULL)
        return 0;
    CLEANUP_FREE char *inside = pool_place_name(&m->place, m->mount);
    if (inside != NULL) {
        err_set(e, ERR_REFUSED, 0, "--mount: %s is %s the pool's directory %s", m->mount,
                *inside == '\0' ? "" : "inside of", m->place.path);
        return err_hint(e, "mounted there the share would hide the originals, which undo needs: "
                           "mount it elsewhere");
    }
    struct pool_share s = {0};
    if (pool_open_share(m, &s, e) < 0)
        return -1;
    int rc = pool_share_check_mount(&s, m->to.mount_command, m->mount, e);
    pool_share_close(&s);
    return rc;
}

static struct pool_journal *plan_journal(struct pool_move *m, const struct pool_facts *now)
{
    struct pool_journal *j = calloc(1, sizeof *j);
    if (j == NULL)
        return NULL;
    j->uri = strdup(m->host->uri);
    j->pool = strdup(m->host->name);
    j->uuid = strdup(m->host->uuid);
    j->path = strdup(now->path);
    j->share = strdup(m->share);
    j->mount = m->mount != NULL ? strdup(m->mount) : NULL;
    j->network = m->options.network;
    j->before = strdup(now->definition);
    if (j->uri != NULL && j->pool != NULL && j->uuid != NULL && j->path != NULL &&
        j->share != NULL && (j->mount != NULL || m->mount == NULL) && j->before != NULL)
        return j;
    pool_journal_free(j);
    return NULL;
}

/* m->journal becomes a new one of the pool as it is now. */
static int plan_take_pool(struct pool_move *m, const struct pool_facts *now, struct err *e)
{
    if (!now->active) {
        err_set(e, ERR_REFUSED, 0, "pool '%s' is not active", m->host->name);
        return err_hint(e, "'%s' starts it", now->start_command);
    }
    if (pool_place_open(&m->place, now->path, e) < 0)
        return -1;
    struct pool_journal *j = plan_journal(m, now);
    if (j == NULL)
        return pool_no_memory(e);
    m->earlier = m->journal;
    m->journal = j;
    return 0;
}

static int plan_pool(struct pool_move *m, struct err *e)
{
    struct pool_facts now;
    if (m->host->ops->pool(m->host, &now, e) < 0)
        return -1;
    int rc = plan_take_pool(m, &now, e);
    pool_facts_free(&now);
    return rc;
}

static int plan_pool_after(struct pool_move *m, struct err *e)
{
    struct domain_edit edit;
    if (m->mount == NULL)
        return 0;
    if (m->host->ops->edit(m->host, NULL, m->journal->before, "the pool", &m->how, &edit, e) < 0)
        return -1;
    m->pool_after = TAKE(edit.definition);
    domain_edit_free(&edit);
    return 0;
}

/* A move that was killed while pool and domains were being switched. */
static int plan_continue(struct pool_move *m, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (pool_place_open(&m->place, m->journal->path, e) < 0 || plan_check_mount(m, e) < 0)
        return -1;
    pool_set_how(m);
    if (pool_plan_redefinitions(m, e) < 0 || plan_pool_after(m, e) < 0 ||
        pool_running(m, &names, e) < 0)
        return -1;
    m->running = names != NULL;
    if (!m->running || m->options.shutdown)
        return 0;
    err_set(e, ERR_REFUSED, 0, "domains that use pool '%s' are running: %s", m->journal->pool,
            names);
    return err_hint(e, "shut them down, or let godwit do it with --shutdown");
}

static int plan_anew(struct pool_move *m, struct err *e)
{
    if (plan_pool(m, e) < 0 || plan_check_mount(m, e) < 0)
        return -1;
    pool_set_how(m);
    if (pool_plan_domains(m, e) < 0 || plan_pool_after(m, e) < 0 || pool_plan_copy(m, e) < 0)
        return -1;
    if (m->running == 0 && pool_check_open(m, e) < 0)
        return -1;
    return pool_check_left_behind(m, e);
}

int pool_refuse(const struct pool_move *m, struct err *e)
{
    pool_stopped(m, e);
    if (e->class != ERR_CANCELLED && e->class != ERR_TIMEOUT && e->class != ERR_USAGE)
        e->class = ERR_REFUSED;
    return -1;
}

int pool_plan(struct pool_move *m, const char *share, struct err *e)
{
    int rc = plan_operands(m, share, e);
    if (rc == 0 && m->journal != NULL)
        rc = plan_check_same(m, e);
    if (rc < 0)
        return -1;
    if (m->journal != NULL && m->journal->phase == POOL_DONE)
        return 0;
    rc = m->journal != NULL && m->journal->phase == POOL_SWITCHING ? plan_continue(m, e)
                                                                   : plan_anew(m, e);
    return rc < 0 ? pool_refuse(m, e) : 0;
}
