/* SPDX-License-Identifier: Apache-2.0 */
/* godwit relocate --pool POOL SHARE: a storage pool, and the domains that use it. */
#include <stddef.h>

#include "tools/cmd/command.h"
#include "tools/cmd/pool_move.h"
#include "tools/cmd/report_pool.h"

static int pool_check_usage(const struct relocate_arguments *a, int n, struct err *e)
{
    const struct {
        bool given;
        const char *name;
    } not_with_pools[] = {
        {a->recursive, "--recursive"},
        {a->overwrite, "--overwrite"},
        {a->restart, "--restart"},
        {a->move, "--move"},
        {a->verify_only, "--verify-only"},
        {a->manifest != NULL, "--manifest"},
        {a->format == IMAGE_FORMAT_ASK_QCOW2, "--format=qcow2"},
    };
    bool back = a->undo || a->delete_originals;
    for (size_t i = 0; i < sizeof not_with_pools / sizeof *not_with_pools; i++)
        if (not_with_pools[i].given)
            return err_set(e, ERR_USAGE, 0, "%s is for single images: not with --pool",
                           not_with_pools[i].name);
    if (a->undo && a->delete_originals)
        return err_set(e, ERR_USAGE, 0, "--undo and --delete-originals exclude each other");
    if (a->force && !back)
        return err_set(e, ERR_USAGE, 0,
                       "with --pool, --force is for --undo and --delete-originals");
    if (n == (back ? 0 : 1))
        return 0;
    err_set(e, ERR_USAGE, 0, "relocate --pool: %s",
            back     ? "the share is known: no operand with --undo and --delete-originals"
            : n == 0 ? "an operand is missing: the share"
                     : "too many operands: the share is the only one");
    return err_hint(e, "usage: godwit relocate --pool POOL nfs://HOST/EXPORT/ --mount PATH");
}

/* *result is what there is to tell when it went well. */
static int pool_do(struct pool_move *m, char **operands, const char **result, struct err *e)
{
    const struct relocate_arguments *a = &m->call->arg;
    *result = a->dry_run            ? "planned"
              : a->undo             ? "undone"
              : a->delete_originals ? "deleted"
                                    : "done";
    if (a->undo)
        return pool_undo(m, e);
    if (a->delete_originals)
        return pool_delete(m, e);
    if (pool_plan(m, operands[0], e) < 0)
        return -1;
    if (m->journal->phase == POOL_DONE) {
        *result = "done";
        return 0;
    }
    return a->dry_run ? 0 : pool_run(m, e);
}

int relocate_pool(struct relocate_call *c, char **operands, int n)
{
    struct pool_move m = {.lock_fd = -1};
    struct err e = {0};
    const char *result = "";
    int rc = pool_check_usage(&c->arg, n, &e);
    if (rc == 0)
        rc = relocate_call_begin(c, &e);
    if (rc == 0 && (rc = pool_open(&m, c, &e)) < 0 && e.class != ERR_USAGE)
        e.class = ERR_REFUSED; /* nothing was touched, whatever the reason */
    if (rc == 0)
        rc = pool_do(&m, operands, &result, &e);
    if (rc < 0)
        result = relocate_call_result(rc, &e);
    progress_clear(&c->progress);
    if (c->arg.json)
        report_pool_json(&m, result, &e, stdout);
    else
        report_pool_text(&m, result, stdout);
    int code = EXIT_DONE;
    if (rc < 0)
        code = command_fail(&e);
    if (rc < 0 && code != EXIT_REFUSED && m.journal != NULL && !c->arg.undo &&
        !c->arg.delete_originals)
        report_pool_where(&m, stderr);
    pool_close(&m);
    return code;
}
