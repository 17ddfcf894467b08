/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the stream would get through: the ports are those of the destination's qemu.conf, and the
 * source's host tries to connect to some. Nobody listens there yet; a host that says so at once
 * lets packets through, and one that says nothing has a firewall.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/check_run.h"

/* libvirt's defaults, src/qemu/qemu.conf.in. */
enum { PORT_MIN = 49152, PORT_MAX = 49215 };

static bool ports_setting(const char *line, const char *name, unsigned *value)
{
    line += strspn(line, " \t");
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0)
        return false;
    line += len;
    line += strspn(line, " \t");
    if (*line++ != '=')
        return false;
    char *end;
    unsigned long n = strtoul(line, &end, 10);
    if (end == line || n == 0 || n > 65535)
        return false;
    *value = (unsigned)n;
    return true;
}

void check_ports_of_conf(const char *conf, unsigned *min, unsigned *max)
{
    for (const char *line = conf; *line != '\0';) {
        if (!ports_setting(line, "migration_port_min", min))
            ports_setting(line, "migration_port_max", max);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

/* The last word on where the stream goes: libvirt's migration_host, or the host's name. */
static void ports_target(struct check_run *r, char *host, size_t room, unsigned *min, unsigned *max)
{
    char conf[4096];
    struct err e = {0};
    snprintf(host, room, "%s", r->to.name);
    *min = r->o->port_min > 0 ? r->o->port_min : PORT_MIN;
    *max = r->o->port_max > 0 ? r->o->port_max : PORT_MAX;
    int status = virt_shell_run(&r->to.shell, "grep -h ^migration_ /etc/libvirt/qemu.conf", conf,
                                sizeof conf, CHECK_SHELL_NS, &e);
    if (status != 0)
        return;
    if (r->o->port_min == 0)
        check_ports_of_conf(conf, min, max);
    char *at = strstr(conf, "migration_host");
    if (at != NULL && (at = strchr(at, '"')) != NULL)
        snprintf(host, room, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
}

/* Connects from the source's host; the words are bash's, in C's locale. */
static int ports_try(struct check_run *r, const char *host, unsigned port, char *said, size_t room,
                     struct err *e)
{
    char inner[500], script[700];
    if (strpbrk(host, "'\"\\$` ;&|<>") != NULL)
        return err_set(e, ERR_PROTO, 0, "'%s' is no host name", host);
    snprintf(inner, sizeof inner, ": </dev/tcp/%s/%u", host, port);
    snprintf(script, sizeof script, "LC_ALL=C timeout 3 bash -c %s 2>&1", text_shell_word(inner));
    return virt_shell_run(&r->from.shell, script, said, room, CHECK_SHELL_NS, e);
}

enum { PORTS_TIMEOUT = 124 /* timeout(1) */ };

static void ports_mend(struct check_run *r, const char *said, unsigned min, unsigned max)
{
    if (strstr(said, "Name or service not known") != NULL ||
        strstr(said, "name resolution") != NULL) {
        check_mend_there(r->l, &r->from.shell, "echo ADDRESS NAME >> /etc/hosts");
        return;
    }
    check_mend_there(r->l, &r->to.shell,
                     "nft insert rule inet filter input tcp dport %u-%u accept", min, max);
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
    const char *why = strrchr(said, '\n');
    why = why != NULL ? why + 1 : said;
    check_list_add(r->l, CHECK_REFUSE, what, "%s does not get through to %s port %u: %s",
                   r->from.name, host, port,
                   status == PORTS_TIMEOUT ? "no answer, as by a firewall" : why);
    ports_mend(r, said, min, max);
    return false;
}

void check_ports(struct check_run *r)
{
    static const char what[] = "migration ports";
    char host[256];
    unsigned min, max;
    if (r->same_host)
        return;
    ports_target(r, host, sizeof host, &min, &max);
    if (!ports_one(r, what, host, min, min, max) || !ports_one(r, what, host, max, min, max))
        return;
    check_list_add(r->l, CHECK_OK, what, "%s gets through to %s, ports %u and %u of %u to %u",
                   r->from.name, host, min, max, min, max);
}
