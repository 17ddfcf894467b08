/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/pool_move.h"

#include <stdio.h>

#include "core/clock.h"

/* A server that is silent is reported by the checks of the share; to wait for it once more gains nothing. */
#define CHECK_TIMEOUT_NS (15 * NS_PER_S)

static void check_found(const struct pool_move *m, const char *what, struct check_list *l)
{
    const struct pool_journal *j = m->journal;
    if (j->phase == POOL_DONE)
        check_list_add(l, CHECK_OK, what, "it has moved there already");
    else
        check_list_add(l, CHECK_OK, what,
                       "it can be moved: %zu images, and %zu domains that use it%s", j->n_images,
                       j->n_domains,
                       m->call->arg.any_mount ? "; a mount was not looked at (--mount)" : "");
}

void pool_check(const struct relocate_arguments *arg, const char *share, struct check_list *l)
{
    struct relocate_call c;
    struct pool_move m = {.lock_fd = -1};
    struct err e = {0};
    char what[80];
    snprintf(what, sizeof what, "pool %.60s: relocate --pool", arg->pool);
    relocate_call_init(&c);
    c.arg.pool = arg->pool;
    c.arg.connect = arg->connect;
    c.arg.mount = arg->mount;
    c.arg.target = arg->target;
    c.arg.state_dir = arg->state_dir;
    c.arg.timeout_ns = CHECK_TIMEOUT_NS;
    c.arg.dry_run = true;
    c.arg.any_mount = arg->mount == NULL && arg->target == POOL_TARGET_FILE;
    if (relocate_call_begin(&c, &e) == 0 && pool_open(&m, &c, &e) == 0 &&
        pool_plan(&m, share, &e) == 0) {
        check_found(&m, what, l);
    } else if (e.class != ERR_CANCELLED) {
        check_list_add(l, CHECK_REFUSE, what, "%s", e.msg);
        if (e.hint != NULL)
            check_list_fix_by(l, e.hint);
    }
    pool_close(&m);
    relocate_call_forget(&c);
}
