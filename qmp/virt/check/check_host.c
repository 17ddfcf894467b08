/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers, whether it is another host, whether the domain's name is free there, and clocks. */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"

#define HOST_SSH_NS (20 * NS_PER_S)
/* What NTP keeps even on bad days; a guest's own clock jumps by as much as the hosts' differ. */
#define CLOCK_SKEW_MAX_NS (500 * NS_PER_MS)

/* ---- connecting ---- */

/* A second key beside the old one would not help. ssh names the file: "Offending … key in FILE:LINE". */
static void host_fix_key(const struct shell *s, const char *said, struct check_list *l)
{
    static const char in[] = " key in ";
    const char *at = strstr(said, in);
    const char *name = s->port[0] != '\0' ? text_keep("[%s]:%s", s->host, s->port) : s->host;
    if (at == NULL) {
        check_list_fix(l, "ssh-keygen -R %s", name);
        return;
    }
    at += sizeof in - 1;
    check_list_fix(l, "ssh-keygen -f %s -R %s", text_keep("%.*s", (int)strcspn(at, ":"), at), name);
}

static bool host_ssh_works(struct shell *s, const char *role, struct check_list *l)
{
    char what[80], said[400];
    struct err e = {0};
    snprintf(what, sizeof what, "%s: ssh", role);
    int status = shell_run(s, "true", said, sizeof said, HOST_SSH_NS, &e);
    shell_close(s);
    if (status >= 0) {
        check_list_add(l, CHECK_OK, what, "ssh to %s works without a prompt", s->login);
        return true;
    }
    check_list_add(l, CHECK_REFUSE, what, "%s", e.msg);
    const char *port = s->port[0] != '\0' ? s->port : "22";
    if (strstr(e.msg, "has changed and") != NULL) /* whether that is right a person must know */
        host_fix_key(s, e.msg, l);
    else if (strstr(e.msg, "Host key verification") != NULL)
        check_list_fix(l, "ssh-keyscan -p %s %s >> ~/.ssh/known_hosts", port, s->host);
    else if (strstr(e.msg, "Permission denied") != NULL)
        check_list_fix(l, "ssh-copy-id -p %s %s", port, s->login);
    else
        check_list_fix(l, "ssh -v -p %s %s true", port, s->login);
    return false;
}

static void host_refuse(const char *uri, const struct shell *s, const char *what,
                        const struct err *e, struct check_list *l)
{
    check_list_add(l, CHECK_REFUSE, what, "no libvirt answers at %s: %s", uri, e->msg);
    if (e->class != ERR_USAGE)
        check_fix_there(l, s, "systemctl start libvirtd");
}

struct virt_host *virt_check_open(const char *uri, const char *role, struct check_list *l)
{
    struct shell s;
    struct err e = {0};
    char what[80];
    virt_host_shell(uri, &s);
    if (s.kind == SHELL_SSH && !host_ssh_works(&s, role, l))
        return NULL;
    snprintf(what, sizeof what, "%s: libvirt", role);
    struct virt_host *h = virt_host_open(uri, role, &e);
    if (h == NULL) {
        host_refuse(uri, &s, what, &e, l);
        return NULL;
    }
    unsigned long lib = 0, qemu = 0;
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(h, &e);
    if (conn == NULL || virConnectGetLibVersion(conn, &lib) < 0) {
        if (conn != NULL)
            virt_host_fail(h, &e, "cannot read its version");
        host_refuse(uri, &s, what, &e, l);
        virt_host_close(h);
        return NULL;
    }
    virConnectGetVersion(conn, &qemu); /* 0 where there is no QEMU: the machine's check tells */
    CLEANUP_FREE char *name = virConnectGetHostname(conn);
    check_list_add(l, CHECK_OK, what, "%s answers: libvirt %lu.%lu.%lu, QEMU %lu.%lu.%lu",
                   name != NULL ? name : uri, lib / 1000000, lib / 1000 % 1000, lib % 1000,
                   qemu / 1000000, qemu / 1000 % 1000, qemu % 1000);
    return h;
}

bool virt_check_is_here(struct virt_host *h)
{
    struct shell s;
    virt_host_shell(virt_host_uri(h), &s);
    return s.kind == SHELL_LOCAL;
}

/* ---- another host ---- */

void check_same_host(struct check_run *r)
{
    static const char what[] = "hosts";
    char from[VIRT_UUID_TEXT], to[VIRT_UUID_TEXT];
    struct err e = {0};
    if (virt_host_uuid(r->from.host, from, &e) < 0 || virt_host_uuid(r->to.host, to, &e) < 0) {
        check_skip_err(r->l, what, &e);
        return;
    }
    if (strcmp(from, to) != 0) {
        check_list_add(r->l, CHECK_OK, what, "%s and %s are two hosts, by their UUIDs",
                       r->from.name, r->to.name);
        return;
    }
    r->same_host = true;
    if (strcmp(r->from.name, r->to.name) == 0) {
        check_list_add(r->l, CHECK_REFUSE, what,
                       "source and destination are the same host, %s (host UUID %s)", r->to.name,
                       to);
        check_list_fix(r->l, "godwit check -c %s %s qemu+ssh://root@OTHER-HOST/system", r->from.uri,
                       r->domain->name);
        return;
    }
    check_list_add(r->l, CHECK_REFUSE, what,
                   "%s and %s have the same host UUID %s, so libvirt takes them for one host",
                   r->from.name, r->to.name, to);
    check_fix_there(r->l, &r->to.shell,
                    "echo \"host_uuid = \\\"$(uuidgen)\\\"\" >> "
                    "/etc/libvirt/libvirtd.conf && systemctl restart libvirtd");
}

/* ---- the domain's state, and its name there ---- */

void check_state(struct check_run *r)
{
    static const char what[] = "domain: state";
    int state = 0, reason = 0;
    if (!r->active) {
        check_list_add(r->l, CHECK_REFUSE, what, "%s is not running: there is nothing to migrate",
                       r->domain->name);
        check_list_fix(r->l, "virsh -c %s start %s", r->from.uri, r->domain->name);
        return;
    }
    if (virDomainGetState(r->dom, &state, &reason, 0) < 0) {
        check_skip(r, &r->from, what, "cannot read the domain's state");
    } else if (state == VIR_DOMAIN_RUNNING) {
        check_list_add(r->l, CHECK_OK, what, "%s is running", r->domain->name);
    } else if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR) {
        check_list_add(
            r->l, CHECK_REFUSE, what,
            "%s is paused by a disk I/O error, and libvirt does not migrate such a domain",
            r->domain->name);
        check_list_fix(r->l, "virsh -c %s domblkerror %s; virsh -c %s resume %s", r->from.uri,
                       r->domain->name, r->from.uri, r->domain->name);
    } else if (state == VIR_DOMAIN_PAUSED && !r->unfinished) {
        check_list_add(r->l, CHECK_WARN, what, "%s is paused, and stays paused on the destination",
                       r->domain->name);
        check_list_fix(r->l, "virsh -c %s resume %s", r->from.uri, r->domain->name);
    } else if (!r->unfinished) {
        check_list_add(r->l, CHECK_REFUSE, what, "%s is neither running nor paused (state %d)",
                       r->domain->name, state);
        check_list_fix(r->l, "virsh -c %s domstate --reason %s", r->from.uri, r->domain->name);
    }
}

/* One that stands under our UUID there. */
static void name_is_ours(struct check_run *r, virDomainPtr there)
{
    static const char what[] = "domain: UUID on the destination";
    const char *name = virDomainGetName(there);
    int state = 0, reason = 0;
    if (check_there_runs(there)) {
        if (r->unfinished) /* reported, with what either side does */
            return;
        virDomainGetState(there, &state, &reason, 0);
        check_list_add(r->l, CHECK_REFUSE, what, "%s %s on %s already, as %s", r->domain->uuid,
                       state == VIR_DOMAIN_RUNNING ? "is running" : "is there, not running,",
                       r->to.name, name);
        check_list_fix(r->l, "virsh -c %s domstate --reason %s", r->to.uri, r->domain->uuid);
    } else if (strcmp(name, r->dname) != 0) {
        check_list_add(r->l, CHECK_REFUSE, what,
                       "%s is taken on %s by a domain with another name, '%s'", r->domain->uuid,
                       r->to.name, name);
        check_list_fix(r->l, "virsh -c %s undefine --keep-nvram %s", r->to.uri, name);
    } else {
        check_list_add(
            r->l, CHECK_WARN, what,
            "'%s' is defined on %s and shut off: this domain's definition will replace it", name,
            r->to.name);
        check_list_fix(r->l, "virsh -c %s undefine --keep-nvram %s", r->to.uri, name);
    }
}

static void name_by_name(struct check_run *r)
{
    static const char what[] = "domain: name on the destination";
    char uuid[VIRT_UUID_TEXT] = "";
    virDomainPtr there = r->there->by_name;
    if (there == NULL) {
        if (check_there_error_is(r->there, CHECK_ASK_NAME, VIR_ERR_NO_DOMAIN))
            check_list_add(r->l, CHECK_OK, what, "'%s' is free on %s", r->dname, r->to.name);
        else
            check_there_skip(r, CHECK_ASK_NAME, what, "cannot look up the domain's name");
        return;
    }
    if (virDomainGetUUIDString(there, uuid) == 0 && strcmp(uuid, r->domain->uuid) == 0)
        return; /* reported with the UUID */
    check_list_add(r->l, CHECK_REFUSE, what, "'%s' is taken on %s by another domain, UUID %s",
                   r->dname, r->to.name, uuid);
    check_list_fix(r->l, "virsh -c %s domrename %s %s-old", r->to.uri, r->dname, r->dname);
}

void check_name(struct check_run *r)
{
    static const char what[] = "domain: UUID on the destination";
    if (r->same_host)
        return;
    virDomainPtr there = r->there->by_uuid;
    if (there != NULL)
        name_is_ours(r, there);
    else if (check_there_error_is(r->there, CHECK_ASK_UUID, VIR_ERR_NO_DOMAIN))
        check_list_add(r->l, CHECK_OK, what, "%s is free on %s", r->domain->uuid, r->to.name);
    else
        check_there_skip(r, CHECK_ASK_UUID, what, "cannot look up the domain's UUID");
    name_by_name(r);
}

/* ---- clocks ---- */

enum check_verdict check_clock_verdict(int64_t skew_ns, int64_t error_ns)
{
    int64_t size_ns = skew_ns < 0 ? -skew_ns : skew_ns;
    return size_ns - error_ns > CLOCK_SKEW_MAX_NS ? CHECK_WARN : CHECK_OK;
}

/* How far a host's clock is ahead of ours, and to within what. */
static int clock_offset(struct check_side *side, int64_t *offset_ns, int64_t *error_ns,
                        struct err *e)
{
    char said[400];
    *offset_ns = *error_ns = 0;
    if (side->shell.kind == SHELL_LOCAL)
        return 0;
    /* connect first: what is between question and answer is then a round trip */
    if (shell_run(&side->shell, "true", said, sizeof said, CHECK_SHELL_NS, e) < 0)
        return -1;
    int64_t before_ns = clock_epoch_ns();
    int status = shell_run(&side->shell, "date +%s%N", said, sizeof said, CHECK_SHELL_NS, e);
    int64_t after_ns = clock_epoch_ns();
    if (status < 0)
        return -1;
    char *end;
    long long there_ns = strtoll(said, &end, 10);
    if (status != 0 || end == said || *end != '\0')
        return err_set(e, ERR_PROTO, 0, "%s: date says '%s'", side->name, said);
    *offset_ns = there_ns - (before_ns + after_ns) / 2;
    *error_ns = (after_ns - before_ns) / 2;
    return 0;
}

void check_clocks(struct check_run *r)
{
    static const char what[] = "clocks";
    int64_t from_ns, to_ns, from_error_ns, to_error_ns;
    struct err e = {0};
    if (clock_offset(&r->from, &from_ns, &from_error_ns, &e) < 0 ||
        clock_offset(&r->to, &to_ns, &to_error_ns, &e) < 0) {
        check_skip_err(r->l, what, &e);
        return;
    }
    int64_t skew_ns = to_ns - from_ns, error_ns = from_error_ns + to_error_ns;
    enum check_verdict verdict = check_clock_verdict(skew_ns, error_ns);
    check_list_add(r->l, verdict, what, "%s is %.2f s %s %s, to within %.2f s (by date over ssh)",
                   r->to.name, (double)(skew_ns < 0 ? -skew_ns : skew_ns) / 1e9,
                   skew_ns < 0 ? "behind" : "ahead of", r->from.name, (double)error_ns / 1e9);
    if (verdict != CHECK_OK)
        check_fix_there(r->l, &r->to.shell, "chronyc makestep");
}
