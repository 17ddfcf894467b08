/* SPDX-License-Identifier: Apache-2.0 */
/* godwit relocate --pool POOL SHARE: a storage pool, and the domains that use it. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "nfs/share_url.h"
#include "qmp/virt/pool/host_virt.h"
#include "tools/cmd/command.h"
#include "core/pool/move.h"
#include "tools/cmd/hung.h"
#include "tools/cmd/relocate_call.h"
#include "tools/cmd/report_pool.h"

/* A server that is silent is reported by the checks of the share; to wait for it once more gains nothing. */
#define CHECK_TIMEOUT_NS (15 * NS_PER_S)

/* The move, and what it is made of here: a libvirt, and an NFS share. */
struct pool_call {
    struct relocate_call *call;
    struct pool_host *host;
    struct pool_move move;
    struct share_url url;
    char *share;
    struct relocate_site look; /* the share, opened as it is, once */
};

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

static int pool_check_share(const struct relocate_arguments *a, const char *share, struct err *e)
{
    struct share_url url;
    if (share_url_parse(share, &url, e) < 0)
        return -1;
    if (a->target != POOL_TARGET_NFS || (url.nfs_port == 0 && url.mount_port == 0))
        return 0;
    err_set(e, ERR_USAGE, 0, "%s: QEMU's NFS driver takes no ports", share);
    return err_hint(e, "--target=file works with any port");
}

/* ---- what the engine is given ---- */

static struct store_place *pool_look(const struct relocate_site *site, struct ring *ring,
                                     struct err *e)
{
    const struct pool_call *p =
        (const struct pool_call *)((const char *)site - offsetof(struct pool_call, look));
    return share_open(ring, site->url, &p->call->sites.share, e);
}

static int pool_destination(void *arg, const char *url, bool network, struct pool_destination *d,
                            struct err *e)
{
    struct pool_call *p = arg;
    (void)network;
    if (share_url_parse(url, &p->url, e) < 0)
        return -1;
    const struct relocate_dir *dir = relocate_sites_directory(&p->call->sites, url, e);
    if (dir == NULL)
        return -1;
    free(p->share);
    p->share = strdup(url);
    if (p->share == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", url);
    p->look = (struct relocate_site){.url = p->share, .open = pool_look};
    *d = (struct pool_destination){
        .look = &p->look,
        .copy = &dir->site,
        .server = p->url.host,
        .path = p->url.path,
        .mount_command = text_command("mount -t nfs %s",
                                      text_keep("%s:%s", text_url_host(p->url.host), p->url.path)),
    };
    return 0;
}

/* The command that takes the move back: the same libvirts and the same journal, of this pool. */
static const char *pool_undo_command(const struct relocate_arguments *a, const char *pool)
{
    const char *command = text_command("godwit relocate --pool %s --undo", pool);
    for (size_t i = 0; i < a->connect.n; i++)
        command = text_keep("%s %s", command, text_command("-c %s", a->connect.at[i]));
    return text_keep("%s %s", command, text_command("--state-dir %s", a->state_dir));
}

static int pool_begin(struct pool_call *p, struct err *e)
{
    struct relocate_arguments *a = &p->call->arg;
    if (a->connect.n == 0)
        a->connect.at[a->connect.n++] = "qemu:///system";
    p->host = host_virt_open(a->connect.at, a->connect.n, a->pool, e);
    if (p->host == NULL)
        return -1;
    struct pool_options options = {
        .state_dir = a->state_dir,
        .mount = a->mount,
        .network = a->target == POOL_TARGET_NFS,
        .any_mount = a->any_mount,
        .shutdown = a->shutdown,
        .dry_run = a->dry_run,
        .force = a->force,
        .shutdown_timeout_ns = a->shutdown_timeout_ns,
        .copy = p->call->options,
        .nice_cache = a->nice_cache,
        .undo_command = pool_undo_command(a, p->host->name),
        .destination = pool_destination,
        .arg = p,
    };
    options.copy.verify = !a->no_verify;
    return pool_open(&p->move, p->host, &options, e);
}

static void pool_end(struct pool_call *p)
{
    pool_close(&p->move);
    host_virt_close(p->host);
    free(p->share);
}

/* ---- a check ---- */

static void pool_check_found(const struct pool_call *p, const char *what, struct check_list *l)
{
    const struct pool_journal *j = p->move.journal;
    if (j->phase == POOL_DONE)
        check_list_add(l, CHECK_OK, what, "it has moved there already");
    else
        check_list_add(l, CHECK_OK, what,
                       "it can be moved: %zu images, and %zu domains that use it%s", j->n_images,
                       j->n_domains,
                       p->call->arg.any_mount ? "; a mount was not looked at (--mount)" : "");
}

void relocate_pool_check(const struct relocate_arguments *arg, const char *share,
                         struct check_list *l)
{
    struct relocate_call c;
    struct pool_call p = {.call = &c, .move = {.lock_fd = -1}};
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
    if (relocate_call_begin(&c, &e) == 0 && pool_begin(&p, &e) == 0 &&
        pool_check_share(&c.arg, share, &e) == 0 && pool_plan(&p.move, share, &e) == 0) {
        pool_check_found(&p, what, l);
    } else if (e.class != ERR_CANCELLED) {
        check_list_add(l, CHECK_REFUSE, what, "%s", e.msg);
        if (e.hint != NULL)
            check_list_fix_by(l, e.hint);
    }
    pool_end(&p);
    relocate_call_forget(&c);
}

/* ---- the command ---- */

enum { POOL_GRACE_S = 10 };

static const char *pool_state(const void *arg, int *grace_s)
{
    const struct pool_call *p = arg;
    const struct relocate_arguments *a = &p->call->arg;
    enum pool_stage stage = p->move.stage; /* which another thread changes */
    switch (stage) {
    case POOL_LOOKS: return "nothing was touched";
    case POOL_DEFINES: return NULL;
    case POOL_REMOVES:
        *grace_s = POOL_GRACE_S;
        return a->undo
                   ? "pool and domains are back as they were, but copies are left: the same command "
                     "goes on with it"
                   : "what was not deleted yet stays; --delete-originals goes on with it";
    case POOL_COPIES:
        *grace_s = POOL_GRACE_S;
        return a->shutdown
                   ? "what was copied is kept, and domains that were shut down are off: the same "
                     "command goes on, --undo gives it up"
                   : "what was copied is kept: the same command goes on, --undo gives it up";
    }
    return NULL;
}

static int pool_do_it(struct pool_call *p, char **operands, const char **result, struct err *e)
{
    const struct relocate_arguments *a = &p->call->arg;
    if (a->undo || a->delete_originals)
        return a->undo ? pool_undo(&p->move, e) : pool_delete(&p->move, e);
    if (pool_check_share(a, operands[0], e) < 0 || pool_plan(&p->move, operands[0], e) < 0)
        return -1;
    if (p->move.journal->phase != POOL_DONE)
        return a->dry_run ? 0 : pool_run(&p->move, e);
    *result = "done";
    return 0;
}

/* *result is what there is to tell when it went well. */
static int pool_do(struct pool_call *p, char **operands, const char **result, struct err *e)
{
    const struct relocate_arguments *a = &p->call->arg;
    *result = a->dry_run            ? "planned"
              : a->undo             ? "undone"
              : a->delete_originals ? "deleted"
                                    : "done";
    struct hung hung;
    hung_begin(&hung, pool_state, p);
    int rc = pool_do_it(p, operands, result, e);
    hung_end(&hung);
    return rc;
}

int relocate_pool(struct relocate_call *c, char **operands, int n)
{
    struct pool_call p = {.call = c, .move = {.lock_fd = -1}};
    struct report_pool r = {.move = &p.move, .arg = &c->arg, .result = ""};
    struct err e = {0};
    int rc = pool_check_usage(&c->arg, n, &e);
    if (rc == 0)
        rc = relocate_call_begin(c, &e);
    if (rc == 0 && (rc = pool_begin(&p, &e)) < 0 && e.class != ERR_USAGE)
        e.class = ERR_REFUSED; /* nothing was touched, whatever the reason */
    if (rc == 0)
        rc = pool_do(&p, operands, &r.result, &e);
    if (rc < 0)
        r.result = relocate_call_result(rc, &e);
    progress_clear(&c->progress);
    if (c->arg.json)
        report_pool_json(&r, &e, stdout);
    else
        report_pool_text(&r, stdout);
    int code = EXIT_DONE;
    if (rc < 0)
        code = command_fail(&e);
    if (rc < 0 && code != EXIT_REFUSED && p.move.journal != NULL && !c->arg.undo &&
        !c->arg.delete_originals)
        report_pool_where(&p.move, stderr);
    pool_end(&p);
    return code;
}
