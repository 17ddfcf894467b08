/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/move.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

int pool_open(struct pool_move *m, struct pool_host *host, const struct pool_options *options,
              struct err *e)
{
    const struct pool_options *o = &m->options;
    *m = (struct pool_move){.options = *options, .host = host, .lock_fd = -1};
    if (!o->dry_run && pool_journal_lock(o->state_dir, host->uuid, &m->lock_fd, e) < 0)
        return -1;
    m->journal = pool_journal_read(o->state_dir, host->uuid, e);
    if (m->journal == NULL && e->sys != ENOENT)
        return -1;
    if (m->journal == NULL)
        err_clear(e);
    m->resumed = m->copying = m->journal != NULL;
    return 0;
}

void pool_close(struct pool_move *m)
{
    for (size_t i = 0; m->after != NULL && i < m->journal->n_domains; i++)
        free(m->after[i]);
    free(m->after);
    pool_journal_free(m->journal);
    pool_journal_free(m->earlier);
    pool_names_free(&m->named);
    pool_names_free(&m->used);
    pool_names_free(&m->stale);
    relocate_free(m->relocate);
    free(m->sources);
    free(m->source.path);
    free(m->source.url);
    pool_place_close(&m->place);
    if (m->lock_fd >= 0)
        pool_journal_unlock(m->options.state_dir, m->host->uuid, m->lock_fd);
    free(m->pool_after);
    free(m->share);
    free(m->mount);
}

/* Stands for a mount that a check does not know yet; nothing is there, and nothing looks at it. */
#define ANY_MOUNT "/godwit/mount"

void pool_set_how(struct pool_move *m)
{
    bool any = m->options.any_mount && m->mount == NULL && !m->journal->network;
    m->how = (struct domain_move){
        .pool = m->host->name,
        .directory = any ? ANY_MOUNT : m->mount,
        .host = m->journal->network ? m->to.server : NULL,
        .export = m->journal->network ? m->to.path : NULL,
        .name = pool_place_name,
        .image = pool_place_image,
        .outside = pool_place_outside,
        .below = pool_place_below,
        .arg = &m->place,
    };
}

int pool_open_destination(struct pool_move *m, struct err *e)
{
    const struct pool_options *o = &m->options;
    bool network = m->journal != NULL ? m->journal->network : o->network;
    return o->destination(o->arg, m->share, network, &m->to, e);
}

int pool_open_share(struct pool_move *m, struct pool_share *s, struct err *e)
{
    return pool_share_open(s, m->to.look, m->options.copy.ring, e);
}

bool pool_interrupted(const struct pool_move *m)
{
    return *m->options.copy.cancel != 0;
}

int pool_stopped(const struct pool_move *m, struct err *e)
{
    return pool_interrupted(m) ? err_stopped(e) : -1;
}

int pool_write_journal(struct pool_move *m, enum pool_phase phase, struct err *e)
{
    m->journal->phase = phase;
    return pool_journal_write(m->journal, m->options.state_dir, e);
}

void pool_names_free(struct pool_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->at[i]);
    free(names->at);
    *names = (struct pool_names){0};
}

int pool_names_add(struct pool_names *names, char *name, struct err *e)
{
    for (size_t i = 0; name != NULL && i < names->n; i++) {
        if (strcmp(names->at[i], name) == 0) {
            free(name);
            return 0;
        }
    }
    char **more = realloc(names->at, (names->n + 1) * sizeof *more);
    if (more != NULL)
        names->at = more;
    if (more == NULL || name == NULL) {
        free(name);
        return pool_no_memory(e);
    }
    names->at[names->n++] = name;
    return 0;
}

int pool_list(char **list, const char *name, struct err *e)
{
    char *longer = NULL;
    if (asprintf(&longer, "%s%s%s", *list != NULL ? *list : "", *list != NULL ? ", " : "", name) <
        0)
        return pool_no_memory(e); /* never an empty list */
    free(*list);
    *list = longer;
    return 0;
}

int pool_no_memory(struct err *e)
{
    return err_set(e, ERR_IO, ENOMEM, "cannot allocate the move of the pool");
}
