/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "core/units.h"

#define ADDRESS_NS (20 * NS_PER_S)

/* libvirt's defaults, src/qemu/qemu.conf.in, which firewalls are opened for. */
enum { PORT_FIRST = 49152, PORT_LAST = 49215 };

/* ---- what a host makes of a name ---- */

enum seen {
    SEEN_NOT,     /* the host could not be asked */
    SEEN_UNKNOWN, /* it has no such name */
    SEEN_SELF,    /* one of the addresses, at least, is its own */
    SEEN_ELSEWHERE,
};

static bool address_parse(const char *numeric, uint8_t six[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(six, mapped, sizeof mapped);
    return inet_pton(AF_INET6, numeric, six) == 1 || inet_pton(AF_INET, numeric, six + 12) == 1;
}

static bool address_is_numeric(const char *host)
{
    uint8_t six[16];
    return host != NULL && address_parse(host, six);
}

/* A numeric address that is the very host's that asks: 127.0.0.0/8, ::1, 0.0.0.0, ::, and IPv4 in IPv6. */
static bool virt_address_is_loopback(const char *numeric)
{
    static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t one[16] = {[15] = 1};
    uint8_t six[16];
    if (!address_parse(numeric, six))
        return false;
    if (memcmp(six, mapped, sizeof mapped) == 0)
        return six[12] == 127 || memcmp(six + 12, zero, 4) == 0;
    return memcmp(six, one, sizeof six) == 0 || memcmp(six, zero, sizeof six) == 0;
}

/* "ADDRESS" or "ADDRESS local" a line, into "ADDRESS, ADDRESS". */
static enum seen address_read(char *lines, char *there, size_t room)
{
    enum seen seen = SEEN_UNKNOWN;
    size_t n = 0;
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        bool own = line[strcspn(line, " ")] != '\0';
        line[strcspn(line, " ")] = '\0';
        if (own || virt_address_is_loopback(line))
            seen = SEEN_SELF;
        else if (seen == SEEN_UNKNOWN)
            seen = SEEN_ELSEWHERE;
        if (n < room)
            n += (size_t)snprintf(there + n, room - n, "%s%s", n > 0 ? ", " : "", line);
    }
    return seen;
}

/* What QEMU would get there: by the host's own resolver. The kernel says which addresses are the
 * host's own: all of its interfaces', not only those of the loopback. */
static enum seen address_see(struct shell *s, const char *host, char *there, size_t room)
{
    char script[1024], lines[1024];
    struct err e = {0};
    there[0] = '\0';
    if (address_is_numeric(host) && virt_address_is_loopback(host)) {
        snprintf(there, room, "%s", host);
        return SEEN_SELF;
    }
    if (s == NULL || s->kind == SHELL_NONE)
        return SEEN_NOT;
    snprintf(script, sizeof script,
             "export PATH=$PATH:/usr/sbin:/sbin; command -v getent >/dev/null || exit 3\n"
             "for a in $(getent ahosts -- %s | sed 's/[[:space:]].*//' | sort -u); do\n"
             "case $(ip -o route get \"$a\" 2>/dev/null) in local*) echo \"$a local\" ;;\n"
             "*) echo \"$a\" ;; esac; done",
             text_shell_word(host));
    int status = shell_run(s, script, lines, sizeof lines, ADDRESS_NS, &e);
    if (status != 0) {
        log_info("could not find out what %s resolves to on the source: %s", host,
                 status < 0 ? e.msg : "there is no getent");
        return SEEN_NOT;
    }
    return address_read(lines, there, room);
}

/* ---- the destination's own settings ---- */

/* "NAME = VALUE" at the beginning of a line: VALUE, or NULL. */
static const char *address_setting(const char *line, const char *name)
{
    size_t len = strlen(name);
    line += strspn(line, " \t");
    if (strncmp(line, name, len) != 0)
        return NULL;
    line += len + strspn(line + len, " \t");
    if (*line != '=')
        return NULL;
    return line + 1 + strspn(line + 1, " \t");
}

static void address_take_port(const char *value, unsigned *port)
{
    char *end;
    unsigned long n = value != NULL ? strtoul(value, &end, 10) : 0;
    if (n > 0 && n <= 65535 && end != value)
        *port = (unsigned)n;
}

void virt_address_of_conf(const char *conf, struct virt_address *a)
{
    for (const char *line = conf; *line != '\0';) {
        const char *host = address_setting(line, "migration_host");
        size_t len = host != NULL && *host == '"' ? strcspn(++host, "\"\n") : 0;
        if (len > 0 && len < sizeof a->host && host[len] == '"')
            snprintf(a->host, sizeof a->host, "%.*s", (int)len, host);
        address_take_port(address_setting(line, "migration_port_min"), &a->port_first);
        address_take_port(address_setting(line, "migration_port_max"), &a->port_last);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

static void address_ask_destination(const struct virt_address_query *q, struct virt_address *a)
{
    char conf[4096];
    struct err e = {0};
    if (q->destination == NULL || q->destination->kind == SHELL_NONE)
        return;
    int status = shell_run(q->destination, "grep -hs '^ *migration_' /etc/libvirt/qemu.conf", conf,
                           sizeof conf, ADDRESS_NS, &e);
    if (status == 0)
        virt_address_of_conf(conf, a);
    else if (status < 0)
        log_info("could not read the destination's qemu.conf: %s", e.msg);
}

/* ---- the question ---- */

/* The host of the URI, where it may be the answer. */
static void address_guess(const struct virt_address_query *q, char *uri, size_t room)
{
    bool known = address_is_numeric(q->uri_host) && !virt_address_is_loopback(q->uri_host);
    virt_address_uri(uri, room, "tcp://", known ? q->uri_host : "ADDRESS");
}

const char *virt_address_remedy(const struct virt_address_query *q, const char *source_uri,
                                const char *domain, const char *destination_uri)
{
    char uri[VIRT_ADDRESS_HOST + 16];
    address_guess(q, uri, sizeof uri);
    return text_command("godwit check -c %s %s %s --migrateuri %s", source_uri, domain,
                        destination_uri, uri);
}

static int address_hint(const struct virt_address_query *q, const char *name, struct err *e)
{
    char uri[VIRT_ADDRESS_HOST + 16];
    address_guess(q, uri, sizeof uri);
    return err_hint(e,
                    "say where the destination is reached from %s: --migrateuri %s; or correct the "
                    "name %s in /etc/hosts on %s",
                    q->source_name, uri, name, q->source_name);
}

static int address_refuse_self(const struct virt_address_query *q, const struct virt_address *a,
                               struct err *e)
{
    if (address_is_numeric(a->host))
        err_set(e, ERR_REFUSED, 0, "%s is %s itself, and not the destination", a->host,
                q->source_name);
    else
        err_set(e, ERR_REFUSED, 0,
                "on %s the name %s is %s, which is %s itself, and not the "
                "destination",
                q->source_name, a->host, a->there, q->source_name);
    if (q->given != NULL)
        return err_hint(e,
                        "give the address of the destination; if a tunnel to it begins there, add "
                        "--unsafe");
    return address_hint(q, a->host, e);
}

static int address_refuse_unknown(const struct virt_address_query *q, const struct virt_address *a,
                                  struct err *e)
{
    bool other = q->given == NULL && q->uri_host != NULL && q->uri_host[0] != '\0' &&
                 strcmp(q->uri_host, a->host) != 0;
    err_set(e, ERR_REFUSED, 0, "%s does not know the destination's name, %s%s%s", q->source_name,
            a->host, other ? ", nor " : "", other ? q->uri_host : "");
    return address_hint(q, a->host, e);
}

/* The name by which this libvirt was reached, from wherever we are, will do for the source, if it
 * knows it: where the destination was given by address, it is one. */
static enum seen address_fall_back(const struct virt_address_query *q, struct virt_address *a)
{
    char there[sizeof a->there];
    if (q->given != NULL || q->uri_host == NULL || q->uri_host[0] == '\0' ||
        strcmp(q->uri_host, a->host) == 0)
        return SEEN_UNKNOWN;
    enum seen seen = address_see(q->source, q->uri_host, there, sizeof there);
    if (seen == SEEN_UNKNOWN)
        return seen;
    log_info("%s does not know the name %s: the stream goes to %s, as in the destination's URI",
             q->source_name, a->host, q->uri_host);
    snprintf(a->host, sizeof a->host, "%s", q->uri_host);
    snprintf(a->there, sizeof a->there, "%s", there);
    return seen;
}

bool virt_address_asks_destination(const char *given, unsigned given_port)
{
    return given == NULL || given_port == 0;
}

int virt_address_find(const struct virt_address_query *q, struct virt_address *a, struct err *e)
{
    *a = (struct virt_address){.port_first = PORT_FIRST, .port_last = PORT_LAST};
    snprintf(a->host, sizeof a->host, "%s", q->own_name);
    if (virt_address_asks_destination(q->given, q->given_port))
        address_ask_destination(q, a);
    if (q->given != NULL)
        snprintf(a->host, sizeof a->host, "%s", q->given);
    if (q->given_port > 0)
        a->port_first = a->port_last = q->given_port;
    bool nameless = q->given == NULL && strncmp(a->host, "localhost", 9) == 0 && !q->same_host;
    enum seen seen = nameless ? SEEN_UNKNOWN
                              : address_see(q->source, a->host, a->there, sizeof a->there);
    if (seen == SEEN_UNKNOWN)
        seen = address_fall_back(q, a);
    if (seen == SEEN_UNKNOWN)
        return address_refuse_unknown(q, a, e);
    if (seen == SEEN_SELF && !q->same_host && !(q->given != NULL && q->unsafe))
        return address_refuse_self(q, a, e);
    return 0;
}

/* ---- URIs ---- */

int virt_address_parse(const char *uri, char host[VIRT_ADDRESS_HOST], unsigned *port, struct err *e)
{
    const char *at = strncmp(uri, "tcp://", 6) == 0 ? uri + 6 : "", *end, *rest;
    struct err none = {0};
    uint64_t number = 0;
    bool v6 = *at == '[';
    at += v6;
    end = v6 ? strchr(at, ']') : at + strcspn(at, ":/");
    if (end == NULL || end == at || end - at >= VIRT_ADDRESS_HOST)
        goto bad;
    rest = end + v6;
    if (*rest != '\0' &&
        (*rest != ':' || units_parse_count(rest + 1, 1, 65535, &number, &none) < 0))
        goto bad;
    snprintf(host, VIRT_ADDRESS_HOST, "%.*s", (int)(end - at), at);
    *port = (unsigned)number;
    return 0;

bad:
    return err_set(e, ERR_USAGE, 0, "--migrateuri: '%s' is not tcp://HOST or tcp://HOST:PORT", uri);
}

void virt_address_uri(char *to, size_t room, const char *scheme, const char *host)
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(to, room, "%s%s%s%s", scheme, v6 ? "[" : "", host, v6 ? "]" : "");
}

/* ---- bare QEMUs ---- */

/* Whether both QEMUs are of one host, as far as their endpoints tell. */
static bool address_one_host(const struct qmp_endpoint *source,
                             const struct qmp_endpoint *destination, struct shell *of_source)
{
    char there[400];
    struct shell here = {.kind = SHELL_LOCAL};
    if (strcmp(source->host, destination->host) == 0) /* two sockets here have none, both */
        return true;
    if (destination->host[0] != '\0')
        return address_see(of_source, destination->host, there, sizeof there) == SEEN_SELF;
    bool self = address_see(&here, source->host, there, sizeof there) == SEEN_SELF;
    shell_close(&here);
    return self;
}

int virt_address_check_bare(const struct qmp_endpoint *source,
                            const struct qmp_endpoint *destination, const char *via, struct err *e)
{
    char host[VIRT_ADDRESS_HOST], there[400];
    const char *name = source->host[0] != '\0' ? source->host : "this host", *at = via + 4;
    struct shell of_source;
    if (strncmp(via, "tcp:", 4) != 0)
        return 0;
    bool v6 = *at == '[';
    size_t len = v6 ? strcspn(at + 1, "]") : (size_t)(strrchr(via, ':') - at);
    snprintf(host, sizeof host, "%.*s", (int)len, at + v6);
    shell_of_endpoint(source, &of_source);
    bool self = address_see(&of_source, host, there, sizeof there) == SEEN_SELF &&
                !address_one_host(source, destination, &of_source);
    shell_close(&of_source);
    if (!self)
        return 0;
    err_set(e, ERR_REFUSED, 0,
            "--via: on the source's host %s is %s, which is %s itself, and not the "
            "destination",
            host, there, name);
    return err_hint(e, "give the address at which the destination is reached from there, --via "
                       "tcp:ADDRESS:PORT; if a tunnel to it begins there, add --unsafe");
}
