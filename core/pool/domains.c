/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A domain is looked at right before its definition is changed and right after: whoever started it
 * in between has it running on the old images, and then the move is taken back. One that was
 * redefined, and started from the share since, cannot be put back without losing what it writes: it
 * stays, and is reported to the operator. That it does not run any more does not mean that it never did: before
 * and after each definition is put back the copies are looked at, and what was written to one stays.
 */
#include "core/pool/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

#define SHUTDOWN_AGAIN_NS (200 * NS_PER_MS)

/* ---- the plan ---- */

/* What no redefinition could put right. */
static int plan_check_domain(const struct pool_domain *dom, struct err *e)
{
    if (dom->obstacle == NULL)
        return 0;
    err_set(e, ERR_REFUSED, 0, "domain %s %s", dom->name, dom->obstacle);
    return err_hint(e, "%s", dom->remedy);
}

static int plan_add_domain(struct pool_move *m, const struct pool_domain *dom, char *after,
                           struct err *e)
{
    struct pool_journal *j = m->journal;
    struct pool_journal_domain *d = &j->domains[j->n_domains];
    *d = (struct pool_journal_domain){
        .uuid = strdup(dom->uuid), .name = strdup(dom->name), .before = strdup(dom->definition)};
    const struct pool_journal *earlier = m->earlier;
    for (size_t i = 0; earlier != NULL && i < earlier->n_domains; i++)
        if (strcmp(earlier->domains[i].uuid, dom->uuid) == 0)
            d->shut_down = earlier->domains[i].shut_down && !dom->active;
    m->after[j->n_domains] = after;
    j->n_domains++;
    m->running += dom->active;
    return d->uuid != NULL && d->name != NULL && d->before != NULL ? 0 : pool_no_memory(e);
}

/* m->used gets the names in the pool's directory that the domain uses. */
static int plan_domain(struct pool_move *m, const struct pool_domain *dom, struct err *e)
{
    char what[300];
    struct domain_edit edit = {0};
    snprintf(what, sizeof what, "domain %s", dom->name);
    if (dom->definition != NULL &&
        m->host->ops->edit(m->host, dom->uuid, dom->definition, what, &m->how, &edit, e) < 0)
        return -1;
    int live = dom->active ? m->host->ops->uses(m->host, dom->running_as, what, false, &m->how, e)
                           : 0;
    int rc = live < 0 ? -1 : 0;
    if (rc == 0 && (edit.n > 0 || live))
        rc = plan_check_domain(dom, e);
    for (size_t i = 0; rc == 0 && i < edit.n; i++) {
        rc = pool_names_add(&m->used, strndup(edit.names[i], strcspn(edit.names[i], "/")), e);
        if (rc == 0)
            rc = pool_names_add(&m->named, strdup(edit.names[i]), e);
    }
    if (rc == 0 && (edit.n > 0 || live)) {
        char *after = edit.definition != NULL ? TAKE(edit.definition) : strdup(dom->definition);
        rc = after != NULL ? plan_add_domain(m, dom, after, e) : pool_no_memory(e);
    }
    domain_edit_free(&edit);
    return rc;
}

static int plan_check_running(const struct pool_move *m, const struct pool_domain *domains,
                              size_t n, struct err *e)
{
    CLEANUP_FREE char *names = NULL;
    if (m->running == 0 || m->options.shutdown)
        return 0;
    for (size_t i = 0; i < m->journal->n_domains; i++)
        for (size_t k = 0; k < n; k++)
            if (domains[k].active && strcmp(domains[k].uuid, m->journal->domains[i].uuid) == 0 &&
                pool_list(&names, domains[k].name, e) < 0)
                return -1;
    err_set(e, ERR_REFUSED, 0, "domains that use pool '%s' are running: %s", m->journal->pool,
            names);
    return err_hint(e, "shut them down, or let godwit do it with --shutdown");
}

int pool_plan_domains(struct pool_move *m, struct err *e)
{
    struct pool_domain *domains = NULL;
    size_t n = 0;
    if (m->host->ops->domains(m->host, &domains, &n, e) < 0)
        return -1;
    m->journal->domains = calloc(n + 1, sizeof *m->journal->domains);
    m->after = calloc(n + 1, sizeof *m->after);
    int rc = m->journal->domains != NULL && m->after != NULL ? 0 : pool_no_memory(e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = plan_domain(m, &domains[i], e);
    if (rc == 0)
        rc = plan_check_running(m, domains, n, e);
    pool_domains_free(domains, n);
    return rc;
}

int pool_plan_redefinitions(struct pool_move *m, struct err *e)
{
    const struct pool_journal *j = m->journal;
    m->after = calloc(j->n_domains + 1, sizeof *m->after);
    if (m->after == NULL)
        return pool_no_memory(e);
    for (size_t i = 0; i < j->n_domains; i++) {
        struct domain_edit edit = {0};
        if (m->host->ops->edit(m->host, j->domains[i].uuid, j->domains[i].before,
                               j->domains[i].name, &m->how, &edit, e) < 0)
            return -1;
        m->after[i] = edit.definition != NULL ? TAKE(edit.definition)
                                              : strdup(j->domains[i].before);
        domain_edit_free(&edit);
        if (m->after[i] == NULL)
            return pool_no_memory(e);
    }
    return 0;
}

bool pool_same(struct pool_move *m, const struct pool_journal_domain *d, const char *a,
               const char *b)
{
    return m->host->ops->same(m->host, d->uuid, a, b);
}

/* ---- who uses what ---- */

/* 1, 0, -1 */
typedef int domain_test(const struct pool_move *m, const struct pool_domain *dom, struct err *e);

static int list_domains(struct pool_move *m, domain_test *test, char **names, struct err *e)
{
    struct pool_domain *domains = NULL;
    size_t n = 0;
    *names = NULL;
    if (m->host->ops->domains(m->host, &domains, &n, e) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        rc = test(m, &domains[i], e);
        if (rc > 0)
            rc = pool_list(names, domains[i].name, e);
    }
    pool_domains_free(domains, n);
    return rc < 0 ? -1 : 0;
}

static int domain_runs(const struct pool_move *m, const struct pool_domain *dom, struct err *e)
{
    if (!dom->active)
        return 0;
    for (size_t i = 0; i < m->journal->n_domains; i++)
        if (strcmp(m->journal->domains[i].uuid, dom->uuid) == 0)
            return 1;
    return m->host->ops->uses(m->host, dom->running_as, dom->name, false, &m->how, e);
}

int pool_running(struct pool_move *m, char **names, struct err *e)
{
    return list_domains(m, domain_runs, names, e);
}

/* ---- shutting down ---- */

static int shut_down_one(struct pool_move *m, struct pool_journal_domain *d, int64_t deadline_ns,
                         struct err *e)
{
    int active = m->host->ops->active(m->host, d->uuid, e);
    if (active <= 0)
        return active;
    log_info("shutting down domain %s", d->name);
    d->shut_down = true;
    if (pool_write_journal(m, m->journal->phase, e) < 0 ||
        m->host->ops->shut_down(m->host, d->uuid, e) < 0)
        return err_wrap(e, "domain %s", d->name);
    while ((active = m->host->ops->active(m->host, d->uuid, e)) > 0) {
        if (pool_interrupted(m))
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        if (clock_now_ns() >= deadline_ns) {
            err_set(e, ERR_TIMEOUT, 0, "domain %s does not shut down", d->name);
            return err_hint(e, "shut it down in the guest, or give it more time with "
                               "--shutdown-timeout");
        }
        nanosleep(&(struct timespec){.tv_nsec = SHUTDOWN_AGAIN_NS}, NULL);
    }
    return active;
}

int pool_shut_down(struct pool_move *m, struct err *e)
{
    const int64_t deadline_ns = clock_now_ns() + m->options.shutdown_timeout_ns;
    for (size_t i = 0; i < m->journal->n_domains; i++)
        if (shut_down_one(m, &m->journal->domains[i], deadline_ns, e) < 0)
            return -1;
    return 0;
}

void pool_unsettled(struct pool_move *m, const char *what)
{
    log_warn("%s", what);
    m->unsettled = m->unsettled == NULL ? text_keep("%s", what)
                                        : text_keep("%s, %s", m->unsettled, what);
}

void pool_start_again(struct pool_move *m)
{
    for (size_t i = 0; i < m->journal->n_domains; i++) {
        struct pool_journal_domain *d = &m->journal->domains[i];
        struct err e = {0};
        if (!d->shut_down)
            continue;
        d->shut_down = false;
        int active = m->host->ops->active(m->host, d->uuid, &e);
        if (active == 0 && m->host->ops->start(m->host, d->uuid, &e) == 0)
            log_warn("domain %s, which was shut down, was started again", d->name);
        else if (active <= 0) {
            pool_unsettled(m, text_keep("domain %s was not started again: %s", d->name, e.msg));
        }
    }
}

/* ---- redefining ---- */

static int redefine_is_quiet(struct pool_move *m, const struct pool_journal_domain *d,
                             struct err *e)
{
    int active = m->host->ops->active(m->host, d->uuid, e);
    if (active <= 0)
        return active;
    return err_set(e, ERR_VIRT, 0, "domain %s was started by someone else meanwhile", d->name);
}

static int redefine_one(struct pool_move *m, size_t i, struct err *e)
{
    struct pool_journal_domain *d = &m->journal->domains[i];
    CLEANUP_FREE char *now = m->host->ops->definition(m->host, d->uuid, false, e);
    if (now == NULL)
        return err_wrap(e, "domain %s", d->name);
    if (pool_same(m, d, now, d->before)) {
        if (redefine_is_quiet(m, d, e) < 0 ||
            m->host->ops->define(m->host, d->uuid, m->after[i], e) < 0)
            return -1;
        free(now);
        now = m->host->ops->definition(m->host, d->uuid, false, e);
        if (now == NULL || redefine_is_quiet(m, d, e) < 0)
            return -1;
    } else {
        /* by a run that was killed before it could write that down; or by somebody else */
        struct domain_edit left = {0};
        if (m->host->ops->edit(m->host, d->uuid, now, d->name, &m->how, &left, e) < 0)
            return -1;
        bool ours = left.n == 0 || (left.definition != NULL && strcmp(left.definition, now) == 0);
        domain_edit_free(&left);
        if (!ours || (d->after != NULL && !pool_same(m, d, now, d->after)))
            return err_set(e, ERR_VIRT, 0, "domain %s was changed by someone else meanwhile",
                           d->name);
    }
    free(d->after);
    d->after = TAKE(now);
    return pool_write_journal(m, POOL_SWITCHING, e);
}

int pool_redefine(struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->journal->n_domains; i++)
        if (redefine_one(m, i, e) < 0)
            return -1;
    return 0;
}

/* Whether what it runs with is in the old place. A volume is where the pool is: there, if that stays. */
static int running_uses_old(struct pool_move *m, const struct pool_journal_domain *d,
                            const char *live, struct err *e)
{
    return m->host->ops->uses(m->host, live, d->name, m->mount != NULL, &m->how, e);
}

int pool_check_moved(struct pool_move *m, struct err *e)
{
    for (size_t i = 0; i < m->journal->n_domains; i++) {
        const struct pool_journal_domain *d = &m->journal->domains[i];
        int active = m->host->ops->active(m->host, d->uuid, e);
        if (active < 0)
            return -1;
        CLEANUP_FREE char *live = active ? m->host->ops->definition(m->host, d->uuid, true, e)
                                         : NULL;
        int old = live != NULL ? running_uses_old(m, d, live, e) : 0;
        if (e->class != ERR_NONE)
            return -1;
        if (old)
            return redefine_is_quiet(m, d, e) < 0 ? -1 : 0;
    }
    return 0;
}

/* ---- and back ---- */

/* Whether it runs from its new place: then it has to stay there. */
static bool put_back_runs_moved(struct pool_move *m, const struct pool_journal_domain *d)
{
    struct err e = {0};
    if (m->host->ops->active(m->host, d->uuid, &e) != 1)
        return false;
    CLEANUP_FREE char *live = m->host->ops->definition(m->host, d->uuid, true, &e);
    return live != NULL && running_uses_old(m, d, live, &e) == 0;
}

/* Whether the copies are as they were made. What guests have written to one is there alone. */
static bool put_back_look(struct pool_move *m)
{
    CLEANUP_FREE char *names = NULL;
    struct err e = {0};
    if (m->options.force || m->written)
        return !m->written;
    m->looked = false;
    if (pool_changed_copies(m, &names, &e) < 0)
        pool_unsettled(m, text_keep("it is not known whether guests have written to the share: %s",
                                    e.msg));
    else if (names != NULL)
        pool_unsettled(m, text_keep("guests have written to the share (%s)", names));
    else
        m->looked = true;
    m->written = !m->looked;
    return m->looked;
}

/* Before the first definition is put back; later that was done after the one before. */
static bool put_back_may(struct pool_move *m)
{
    return m->looked && !m->written ? true : put_back_look(m);
}

/* Whether the move would make another definition of this one. */
static bool put_back_would_move(struct pool_move *m, const struct pool_journal_domain *d,
                                const char *definition)
{
    struct domain_edit edit = {0};
    struct err e = {0};
    if (m->host->ops->edit(m->host, d->uuid, definition, d->name, &m->how, &edit, &e) < 0)
        return false;
    bool would = edit.definition != NULL && !pool_same(m, d, definition, edit.definition);
    domain_edit_free(&edit);
    return would;
}

/* Nobody has redefined it yet, or there is nothing to redefine: what has changed in it is somebody's work,
 * and no affair of ours. */
static bool put_back_is_elsewhere(struct pool_move *m, const struct pool_journal_domain *d,
                                  const char *now)
{
    return d->after == NULL && !m->options.force &&
           (put_back_would_move(m, d, now) || !put_back_would_move(m, d, d->before));
}

/* What the host makes of its old definition, to be freed; NULL: it has not got it, as *e tells, or it
 * was written to meanwhile, and has the one from before that again. */
static char *put_back_define(struct pool_move *m, const struct pool_journal_domain *d,
                             const char *now, struct err *e)
{
    if (m->host->ops->define(m->host, d->uuid, d->before, e) < 0)
        return NULL;
    if (put_back_look(m))
        return m->host->ops->definition(m->host, d->uuid, false, e);
    if (m->host->ops->define(m->host, d->uuid, now, e) < 0)
        err_wrap(e, "was put back while its guest wrote to the share, and stays so");
    return NULL;
}

static void put_back_domain(struct pool_move *m, struct pool_journal_domain *d)
{
    char what[256];
    struct err e = {0};
    CLEANUP_FREE char *now = m->host->ops->definition(m->host, d->uuid, false, &e);
    if (now != NULL && pool_same(m, d, now, d->before)) {
        free(TAKE(d->after));
        return;
    }
    if (now != NULL && put_back_is_elsewhere(m, d, now)) {
        log_warn("domain %s was changed by someone else meanwhile: it stays so", d->name);
        return;
    }
    if (now != NULL && put_back_runs_moved(m, d)) {
        snprintf(what, sizeof what, "domain %s runs from the share already", d->name);
        pool_unsettled(m, what);
        return;
    }
    if (now != NULL && !put_back_may(m))
        return;
    CLEANUP_FREE char *then = now != NULL ? put_back_define(m, d, now, &e) : NULL;
    if (then == NULL && m->written && e.class == ERR_NONE)
        return;
    if (then != NULL && (pool_same(m, d, then, d->before) || m->options.force)) {
        if (!pool_same(m, d, then, d->before))
            log_warn("domain %s: libvirt makes something else of its old definition by now: see "
                     "'virsh dumpxml --inactive %s'",
                     d->name, d->name);
        free(TAKE(d->after));
        return;
    }
    pool_unsettled(m, text_keep("domain %s: %s", d->name,
                                e.class != ERR_NONE ? e.msg
                                                    : "libvirt gives its old definition out "
                                                      "differently"));
}

static void put_back_pool(struct pool_move *m)
{
    struct err e = {0};
    struct pool_facts now = {0};
    const char *before = m->journal->before;
    int rc = m->host->ops->pool(m->host, &now, &e);
    bool same = rc == 0 && m->host->ops->same(m->host, NULL, now.definition, before);
    if (rc == 0 && !same && (rc = pool_check_copies_closed(m, &e)) < 0)
        err_wrap(&e, "a guest runs from it");
    if (rc == 0 && (same ? !now.active : put_back_may(m)))
        rc = m->host->ops->define(m->host, NULL, before, &e);
    if (rc == 0 && !same && !put_back_look(m)) /* volumes have followed it */
        rc = m->host->ops->define(m->host, NULL, now.definition, &e);
    pool_facts_free(&now);
    if (rc < 0)
        pool_unsettled(m, text_keep("the pool: %s", e.msg));
    else if (!m->written)
        free(TAKE(m->journal->after));
}

void pool_put_back(struct pool_move *m)
{
    if (m->back)
        return;
    m->back = true;
    if (m->written) {
        pool_unsettled(m, "guests have written to the share");
        return;
    }
    for (size_t i = m->journal->n_domains; i-- > 0;)
        put_back_domain(m, &m->journal->domains[i]);
    put_back_pool(m);
}
