/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the stream would go, by the same function as in a migration (qmp/virt/address.h), and whether
 * it would get through: the source's host tries to connect to the first and the last port. Nobody
 * listens there yet; a host that says so at once lets packets through, and one that says nothing has a
 * firewall.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"

/* Where nobody can be asked what the name is, the connection attempts of check_ports() tell. */
void check_address(struct check_run *r)
{
    static const char what[] = "migration address";
    struct err e = {0};
    const struct virt_address_query q = {
        .given = r->o->stream_host,
        .given_port = r->o->stream_port,
        .own_name = r->to.name,
        .uri_host = r->to.shell.host,
        .source_name = r->from.name,
        .source = check_may_shell(r, &r->from) ? &r->from.shell : NULL,
        .destination = check_may_shell(r, &r->to) ? &r->to.shell : NULL,
        .same_host = r->same_host,
        .unsafe = r->o->unsafe,
    };
    if (r->o->address_is_known)
        return;
    if (virt_address_find(&q, &r->address, &e) < 0) {
        check_list_add(r->l, CHECK_REFUSE, what, "%s", e.msg);
        check_list_fix_by(r->l, virt_address_remedy(&q, r->from.uri, r->domain->name, r->to.uri));
        return;
    }
    r->address_found = true;
    if (r->same_host)
        return;
    if (r->address.there[0] == '\0')
        check_list_add(r->l, CHECK_SKIPPED, what, "godwit did not check what %s resolves to on %s",
                       r->address.host, r->from.name);
    else if (strcmp(r->address.there, r->address.host) == 0)
        check_list_add(r->l, CHECK_OK, what, "the stream goes to %s, which is not %s itself",
                       r->address.host, r->from.name);
    else
        check_list_add(r->l, CHECK_OK, what, "the stream goes to %s, which on %s resolves to %s",
                       r->address.host, r->from.name, r->address.there);
}

/* Connects from the source's host; the words are bash's, in C's locale. */
static int ports_try(struct check_run *r, const char *host, unsigned port, char *said, size_t room,
                     struct err *e)
{
    char inner[500], script[700];
    if (strpbrk(host, "'\"\\$` ;&|<>") != NULL)
        return err_set(e, ERR_PROTO, 0, "'%s' is not a host name", host);
    snprintf(inner, sizeof inner, ": </dev/tcp/%s/%u", host, port);
    snprintf(script, sizeof script, "LC_ALL=C timeout 3 bash -c %s 2>&1", text_shell_word(inner));
    return shell_run(&r->from.shell, script, said, room, CHECK_SHELL_NS, e);
}

enum { PORTS_TIMEOUT = 124 /* timeout(1) */ };

/* What bash says ends with the reason: "bash: line 1: /dev/tcp/b/1: No route to host". */
static const char *ports_reason(const char *said)
{
    const char *line = strrchr(said, '\n');
    line = line != NULL ? line + 1 : said;
    const char *colon = strrchr(line, ':');
    return colon != NULL && colon[1] == ' ' ? colon + 2 : line;
}

/* true: packets come through to it. */
static bool ports_one(struct check_run *r, const char *what, const char *host, unsigned port,
                      unsigned min, unsigned max)
{
    char said[400];
    struct err e = {0};
    int status = ports_try(r, host, port, said, sizeof said, &e);
    if (status < 0) {
        check_skip_err(r->l, what, &e);
        return false;
    }
    if (status == 0 || strstr(said, "Connection refused") != NULL)
        return true;
    check_list_add(
        r->l, CHECK_REFUSE, what, "%s cannot reach %s port %u: %s", r->from.name, host, port,
        status == PORTS_TIMEOUT ? "no answer, perhaps because of a firewall" : ports_reason(said));
    check_fix_there(r->l, &r->to.shell, "nft insert rule inet filter input tcp dport %u-%u accept",
                    min, max);
    return false;
}

void check_ports(struct check_run *r)
{
    static const char what[] = "migration ports";
    const char *host = r->address.host;
    unsigned min = r->address.port_first, max = r->address.port_last;
    if (r->same_host || !r->address_found)
        return;
    if (!ports_one(r, what, host, min, min, max) ||
        (max != min && !ports_one(r, what, host, max, min, max)))
        return;
    if (max == min)
        check_list_add(r->l, CHECK_OK, what, "%s can reach %s, port %u", r->from.name, host, min);
    else
        check_list_add(r->l, CHECK_OK, what, "%s can reach %s, ports %u and %u of %u to %u",
                       r->from.name, host, min, max, min, max);
}
