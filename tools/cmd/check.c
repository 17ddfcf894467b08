/* SPDX-License-Identifier: Apache-2.0 */
/* godwit check: whether a domain can be migrated, or a share is fit for its images. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "nfs/share_url.h"
#include "qmp/virt/address.h"
#include "tools/cmd/check_nfs.h"
#include "tools/cmd/command.h"
#include "tools/cmd/relocate_call.h"

enum { CHECK_SCHEMA = 2 }; /* of --json; 1 called a finding's fix its mend */

struct check_options {
    const char *connect;
    const char *pool;
    const char *mount, *state_dir;
    int target;
    const char *dname;
    const char *migrateuri;
    bool unsafe, fix;
    bool quick;
    bool json;
    bool verbose;
};

#define AT(field) offsetof(struct check_options, field)

static const char *const check_targets[] = {
    [POOL_TARGET_FILE] = "file", [POOL_TARGET_NFS] = "nfs", NULL};

static const struct option_def options[] = {
    {"connect", 'c', OPTION_TEXT, "URI", "the source's libvirt (qemu:///system)", AT(connect), 0, 0,
     NULL},
    {"pool", 0, OPTION_TEXT, "POOL",
     "check whether the images of this storage pool can go to a share, which is the operand",
     AT(pool), 0, 0, NULL},
    {"mount", 0, OPTION_TEXT, "PATH",
     "with --pool: where the share is mounted on this host, as in relocate --pool", AT(mount), 0, 0,
     NULL},
    {"target", 0, OPTION_CHOICE, "file|nfs",
     "with --pool: whether disks become files of the mount (the default), or network disks",
     AT(target), 0, 0, check_targets},
    {"state-dir", 0, OPTION_TEXT, "DIRECTORY",
     "with --pool: where the journals of moves are (/var/lib/godwit)", AT(state_dir), 0, 0, NULL},
    {"dname", 0, OPTION_TEXT, "NAME",
     "the domain's name on the destination, if it is to be another", AT(dname), 0, 0, NULL},
    {"migrateuri", 0, OPTION_TEXT, "URI",
     "tcp://HOST[:PORT], the destination as the source's QEMU reaches it, as for godwit migrate",
     AT(migrateuri), 0, 0, NULL},
    {"unsafe", 0, OPTION_FLAG, NULL,
     "warn, instead of refuse, where the guest is known to be put at risk", AT(unsafe), 0, 0, NULL},
    {"fix", 0, OPTION_FLAG, NULL,
     "take away what a migration of godwit's has left in the domain: QEMU's argument -incoming in its "
     "definition, its snapshots and saved images, and the mark of a migration that is over",
     AT(fix), 0, 0, NULL},
    {"quick", 0, OPTION_FLAG, NULL,
     "only what libvirt tells at once: no commands on hosts, no marker files, nothing asked of NFS "
     "servers",
     AT(quick), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say what is done", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

struct check_cmd {
    struct check_options opt;
    struct virt_host *source, *destination;
    struct check_list list;
};

/* ---- the result ---- */

static const char *check_result(const struct check_cmd *c, const struct err *e)
{
    return e->class == ERR_USAGE                          ? "refused"
           : e->class == ERR_CANCELLED                    ? "cancelled"
           : e->class != ERR_NONE                         ? "failed"
           : check_list_count(&c->list, CHECK_REFUSE) > 0 ? "refused"
                                                          : "ok";
}

static void check_print_json(const struct check_cmd *c, const struct err *e)
{
    struct json *o = json_new();
    json_u64(o, "schema", CHECK_SCHEMA);
    json_text(o, "result", check_result(c, e));
    struct json *findings = json_list(o, "findings");
    for (size_t i = 0; i < c->list.n; i++) {
        const struct check_finding *f = &c->list.at[i];
        struct json *item = json_item(findings);
        json_text(item, "check", f->what);
        json_text(item, "verdict", check_verdict_name(f->verdict));
        json_text(item, "sentence", f->sentence);
        json_text(item, "fix", f->fix);
    }
    json_error(o, e);
    json_print(o, stdout);
}

static void check_print_text(const struct check_cmd *c)
{
    const struct check_list *l = &c->list;
    for (size_t i = 0; i < l->n; i++) {
        const struct check_finding *f = &l->at[i];
        printf("%-8s %s: %s\n", check_verdict_name(f->verdict), f->what, f->sentence);
        if (f->fix != NULL)
            printf("         fix: %s\n", f->fix);
    }
    if (l->n > 0)
        printf("%zu ok, %zu warnings, %zu refused, %zu skipped\n", check_list_count(l, CHECK_OK),
               check_list_count(l, CHECK_WARN), check_list_count(l, CHECK_REFUSE),
               check_list_count(l, CHECK_SKIPPED));
}

static int check_finish(const struct check_cmd *c, struct err *e)
{
    struct err lost = {0};
    if (e->class == ERR_NONE && relocate_interrupted)
        err_set(e, ERR_CANCELLED, 0, "stopped: not all was checked");
    if (e->class == ERR_NONE && c->list.lost && check_list_verdict(&c->list, &lost) < 0)
        *e = lost;
    if (c->opt.json)
        check_print_json(c, e);
    else
        check_print_text(c);
    if (e->class != ERR_NONE)
        return command_fail(e);
    return check_list_count(&c->list, CHECK_REFUSE) > 0 ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- what is checked ---- */

/* Without the source there is nothing to look at: its refusal is all. */
static bool check_open(struct check_cmd *c, const char *destination)
{
    c->source = virt_check_open(c->opt.connect, "source", &c->list);
    if (destination != NULL)
        c->destination = virt_check_open(destination, "destination", &c->list);
    return c->source != NULL;
}

static int check_domain(struct check_cmd *c, const char *name, const char *destination,
                        struct err *e)
{
    struct virt_check_options o = {
        .unsafe = c->opt.unsafe, .fix = c->opt.fix, .quick = c->opt.quick, .dname = c->opt.dname};
    struct virt_domain d;
    char host[VIRT_ADDRESS_HOST];
    if (c->opt.migrateuri != NULL) {
        if (virt_address_parse(c->opt.migrateuri, host, &o.stream_port, e) < 0)
            return -1;
        o.stream_host = host;
    }
    if (!check_open(c, destination))
        return 0;
    if (virt_domain_find(c->source, name, &d, e) < 0) {
        if (e->class != ERR_REFUSED)
            return -1;
        check_list_add(&c->list, CHECK_REFUSE, "domain", "%s", e->msg);
        check_list_fix(&c->list, "virsh -c %s list --all", c->opt.connect);
        err_clear(e);
        return 0;
    }
    if (virt_check_domain(c->source, c->destination, &d, &o, &c->list, e) < 0)
        return -1;
    return o.quick || relocate_interrupted
               ? 0
               : check_nfs_domain(c->source, c->destination, &d, &c->list, e);
}

/* A domain's name has no slash: what has one is a saved image's path, as the source's libvirt sees it. */
static int check_saved_image(struct check_cmd *c, const char *path, const char *destination,
                             struct err *e)
{
    if (path[0] != '/')
        return err_set(e, ERR_USAGE, 0,
                       "%s: the path of a saved image begins with /, as libvirt sees it", path);
    if (destination != NULL)
        return err_set(e, ERR_USAGE, 0, "%s: a saved image is checked without a destination", path);
    if (!check_open(c, NULL))
        return 0;
    return virt_check_saved_image(c->source, path, c->opt.fix, &c->list, e);
}

static int check_pool(struct check_cmd *c, const char *url, const char *destination, struct err *e)
{
    struct virt_pool_facts facts;
    struct share_url parsed;
    if (share_url_parse(url, &parsed, e) < 0)
        return -1;
    if (!check_open(c, destination))
        return 0;
    if (virt_check_pool(c->source, c->opt.pool, &facts, &c->list, e) < 0)
        return -1;
    const struct relocate_arguments move = {.pool = c->opt.pool,
                                            .connect = {.at = {c->opt.connect}, .n = 1},
                                            .mount = c->opt.mount,
                                            .target = c->opt.target,
                                            .state_dir = c->opt.state_dir};
    relocate_pool_check(&move, url, &c->list);
    if (relocate_interrupted)
        return 0;
    return check_nfs_share(c->source, c->destination, url, facts.allocated_bytes, &c->list, e);
}

static int check_main(const struct command *self, int argc, char **argv)
{
    struct check_cmd c = {.opt = {.connect = "qemu:///system", .state_dir = "/var/lib/godwit"}};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c.opt, argc, argv, 1, 2, &code);
    if (first < 0)
        return code;
    command_log_level(c.opt.verbose ? LOG_DEBUG : LOG_WARN);
    relocate_catch_signals(SA_RESTART | SA_RESETHAND); /* a second one ends it at once */
    const char *destination = argc - first > 1 ? argv[first + 1] : NULL;
    if (c.opt.pool != NULL)
        check_pool(&c, argv[first], destination, &e);
    else if (strchr(argv[first], '/') != NULL)
        check_saved_image(&c, argv[first], destination, &e);
    else
        check_domain(&c, argv[first], destination, &e);
    code = check_finish(&c, &e);
    check_list_free(&c.list);
    virt_host_close(c.destination);
    virt_host_close(c.source);
    return code;
}

const struct command command_check = {
    .name = "check",
    .operands = "DOMAIN [DEST-URI] | /SAVED-IMAGE | --pool POOL nfs://HOST/EXPORT/DIR/ [DEST-URI]",
    .summary = "Say whether a domain can be migrated, or a share is fit for a pool's images",
    .details =
        "DEST-URI is the destination's libvirt, qemu+ssh://[user@]HOST/system; without it\n"
        "only what one host can tell is checked. SAVED-IMAGE is a file of virsh save's, checked for what a\n"
        "migration has left in it. Each finding is ok, warn, refuse or skipped,\n"
        "with the command that fixes it. Nothing is changed without --fix; marker files, and a transient\n"
        "storage pool where there is none, are removed at once. Exit code: 0 nothing is\n"
        "refused, 2 something is, 1 the check could not be carried out, 3 it was stopped.\n",
    .options = options,
    .run = check_main,
};
