/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of checks. Each adds what it has found and never ends the run; only a host that is lost
 * does, for then the rest would be guesses.
 */
#include "qmp/virt/check/check.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/check/check_run.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct {
    const char *id;
    check_fn *run;
    bool needs_destination;
    bool slow; /* left out of a quick run */
} checks[] = {
    {"same host", check_same_host, true, false}, {"unfinished", check_unfinished, false, false},
    {"state", check_state, false, false},        {"name", check_name, true, false},
    {"clocks", check_clocks, true, true},        {"disks", check_disks, false, false},
    {"cache", check_cache, false, false},        {"accelerator", check_accelerator, false, false},
    {"machine", check_machine, true, false},     {"cpu", check_cpu, true, false},
    {"versions", check_versions, true, false},   {"capabilities", check_capabilities, true, true},
    {"leftover", check_leftover, false, false},  {"mark", check_mark, false, false},
    {"devices", check_devices, false, false},    {"snapshots", check_snapshots, false, false},
    {"jobs", check_jobs, false, false},          {"networks", check_networks, true, false},
    {"pools", check_pools, true, false},         {"memory", check_memory, true, false},
    {"vcpus", check_vcpus, true, false},         {"address", check_address, true, false},
    {"ports", check_ports, true, true},
};

void check_skip_err(struct check_list *l, const char *what, struct err *e)
{
    check_list_add(l, CHECK_SKIPPED, what, "%s", e->msg);
    err_clear(e);
}

void check_skip(struct check_run *r, const struct check_side *side, const char *what,
                const char *tried)
{
    struct err e = {0};
    virt_host_fail(side->host, &e, tried);
    check_skip_err(r->l, what, &e);
}

void check_fix_there(struct check_list *l, const struct shell *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    check_list_fix_by(l, shell_command(s, text_command_v(fmt, ap)));
    va_end(ap);
}

enum check_verdict check_risk(const struct check_run *r)
{
    return r->o->unsafe ? CHECK_WARN : CHECK_REFUSE;
}

bool check_may_shell(const struct check_run *r, const struct check_side *side)
{
    return side->shell.kind == SHELL_LOCAL || (side->shell.kind == SHELL_SSH && !r->o->quick);
}

static int check_open_side(struct check_side *side, struct virt_host *h, struct err *e)
{
    if (h == NULL)
        return 0;
    side->host = h;
    side->uri = virt_host_uri(h);
    side->role = virt_host_role(h);
    virt_host_shell(side->uri, &side->shell);
    side->conn = virt_host_connection(h, e);
    return side->conn != NULL ? 0 : -1;
}

static void check_name_side(struct check_side *side)
{
    struct err ignored = {0};
    const char *name = side->host != NULL ? virt_host_name(side->host, &ignored) : NULL;
    snprintf(side->name, sizeof side->name, "%s",
             name != NULL                  ? name
             : side->shell.host[0] != '\0' ? side->shell.host
             : side->role != NULL          ? side->role
                                           : "");
}

static int check_read_domain(struct check_run *r, struct err *e)
{
    int active = virt_domain_active(r->domain, e);
    if (active < 0 || (r->dom = virt_domain_get(r->domain, e)) == NULL)
        return -1;
    r->active = active > 0;
    CLEANUP_FREE char *text = virt_domain_xml(r->domain, 0, e);
    if (text == NULL || (r->xml = xml_parse(text, r->domain->name, e)) == NULL)
        return -1;
    r->arch = xml_value(r->xml, NULL, "/domain/os/type/@arch");
    r->machine = xml_value(r->xml, NULL, "/domain/os/type/@machine");
    r->emulator = xml_value(r->xml, NULL, "/domain/devices/emulator");
    r->type = xml_value(r->xml, NULL, "/domain/@type");
    if (r->type == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: its XML has no type", r->domain->name);
    return 0;
}

/* All that the destination is asked in a round trip, and what was asked before. */
static int check_ask(struct check_run *r, struct err *e)
{
    struct err ignored = {0};
    if (r->to.conn != NULL && (r->there = check_there_ask(r, e)) == NULL)
        return -1;
    check_name_side(&r->from);
    check_name_side(&r->to);
    r->from_qemu = virt_host_qemu_version(r->from.host, &ignored);
    err_clear(&ignored);
    if (r->to.conn != NULL)
        r->to_qemu = virt_host_qemu_version(r->to.host, &ignored);
    return 0;
}

static void check_close(struct check_run *r)
{
    check_there_free(r->there);
    shell_close(&r->from.shell);
    shell_close(&r->to.shell);
    if (r->dom != NULL)
        virDomainFree(r->dom);
    if (r->xml != NULL)
        xmlFreeDoc(r->xml);
    free(r->arch);
    free(r->machine);
    free(r->emulator);
    free(r->type);
    if (r->from.conn != NULL)
        virConnectClose(r->from.conn);
    if (r->to.conn != NULL)
        virConnectClose(r->to.conn);
}

static int check_still_there(const struct check_side *side, struct err *e)
{
    if (side->conn == NULL || virConnectIsAlive(side->conn) == 1)
        return 0;
    return err_set(e, ERR_LOST, 0, "%s: the connection to libvirt was lost during the check",
                   side->role);
}

struct virt_check {
    struct check_run r;
    struct virt_check_options o;
};

struct virt_check *virt_check_begin(struct virt_host *source, struct virt_host *destination,
                                    const struct virt_domain *d, const struct virt_check_options *o,
                                    struct err *e)
{
    struct virt_check *c = calloc(1, sizeof *c);
    if (c == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the checks");
        return NULL;
    }
    c->o = *o;
    c->r =
        (struct check_run){.domain = d, .o = &c->o, .dname = o->dname != NULL ? o->dname : d->name};
    if (check_open_side(&c->r.from, source, e) == 0 &&
        check_open_side(&c->r.to, destination, e) == 0 && check_read_domain(&c->r, e) == 0 &&
        check_ask(&c->r, e) == 0)
        return c;
    virt_check_free(c);
    return NULL;
}

void virt_check_free(struct virt_check *c)
{
    if (c != NULL)
        check_close(&c->r);
    free(c);
}

int virt_check_judge(struct virt_check *c, struct check_list *l, struct err *e)
{
    struct check_run *r = &c->r;
    r->l = l;
    for (size_t i = 0; i < COUNT(checks); i++) {
        if ((checks[i].needs_destination && r->to.host == NULL) || (checks[i].slow && r->o->quick))
            continue;
        log_debug("check: %s", checks[i].id);
        checks[i].run(r);
    }
    return check_still_there(&r->from, e) == 0 ? check_still_there(&r->to, e) : -1;
}

int virt_check_domain(struct virt_host *source, struct virt_host *destination,
                      const struct virt_domain *d, const struct virt_check_options *o,
                      struct check_list *l, struct err *e)
{
    struct virt_check *c = virt_check_begin(source, destination, d, o, e);
    int rc = c != NULL ? virt_check_judge(c, l, e) : -1;
    virt_check_free(c);
    return rc;
}
