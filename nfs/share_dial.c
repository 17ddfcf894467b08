/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libnfs connects, too, but says of each failure that it has failed. Here one question (ONC RPC,
 * RFC 5531, over TCP) is asked at one port, and what comes of it is one of a few outcomes, each of
 * which has its own remedy. The port mapper is asked by GETPORT of version 2 (RFC 1833), and over
 * IPv6 by GETADDR of version 3, since version 2 knows no other addresses than those of IPv4.
 */
#include "nfs/share_dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "nfs/compat.h"
#include "nfs/shape.h"

enum { DIAL_MAPPER = 100000, DIAL_VERSION = 3, DIAL_GETPORT = 3 /* and GETADDR */ };
enum { DIAL_HEAD = 11 * 4, DIAL_ARGS_MAX = 64, DIAL_REPLY_MAX = 1024 };
enum { DIAL_XID = 0x676f6477, DIAL_SHOWN = 32 };

#define DIAL_PEEK_NS (2 * NS_PER_S) /* for a look at another port, to tell why */

enum dial_outcome {
    DIAL_DONE,
    DIAL_FAILED,      /* to connect: errno */
    DIAL_SILENT,      /* no answer to the connect */
    DIAL_MUTE,        /* connected, and no answer to the question */
    DIAL_STRANGE,     /* what answers, or hangs up, is no RPC server */
    DIAL_UNAVAILABLE, /* another program listens there */
    DIAL_MISMATCH,    /* another version */
    DIAL_CANCELLED,
};

struct dial_call {
    uint32_t program, version, proc;
    uint8_t args[DIAL_ARGS_MAX];
    size_t args_len;
    uint8_t reply[DIAL_REPLY_MAX]; /* the results, if DIAL_DONE; what came, if DIAL_STRANGE */
    size_t reply_len;
    int sys;
};

/* ---- names ---- */

/* Of "fe80::1%eth0": whether there is an eth0; by its number, too. */
static int dial_check_zone(const struct share_dial *d, const char *host, struct err *e)
{
    char name[IF_NAMESIZE], *end;
    const char *zone = strchr(host, ':') != NULL ? strchr(host, '%') : NULL;
    if (zone == NULL || if_nametoindex(zone + 1) != 0)
        return 0;
    unsigned long number = strtoul(zone + 1, &end, 10);
    if (*end == '\0' && end != zone + 1 && if_indextoname((unsigned)number, name) != NULL)
        return 0;
    err_set(e, ERR_LOST, 0, "%s: this host has no interface %s", d->host, zone + 1);
    return err_hint(e, "'ip -br link' shows which there are");
}

/* A name may stand for one; where it is, the name does not tell. */
static bool dial_is_nowhere(const struct addrinfo *a)
{
    struct sockaddr_in6 at;
    if (a->ai_family != AF_INET6 || a->ai_addrlen < sizeof at)
        return false;
    memcpy(&at, a->ai_addr, sizeof at);
    return IN6_IS_ADDR_LINKLOCAL(&at.sin6_addr) && at.sin6_scope_id == 0;
}

static int dial_no_address(const struct share_dial *d, bool nowhere, struct err *e)
{
    if (!nowhere)
        return err_set(e, ERR_LOST, 0, "%s: has no address of a kind that is known", d->host);
    err_set(e, ERR_LOST, 0,
            "%s: has only a link-local address, which is nowhere without an interface", d->host);
    return err_hint(e, "name the address with it: nfs://[fe80::1%%eth0]/...");
}

int share_dial_resolve(const struct share_dial *d, const char *host,
                       struct share_address to[SHARE_ADDRESSES_MAX], unsigned *n, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool nowhere = false;
    if (dial_check_zone(d, host, e) < 0)
        return -1;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0) {
        err_set(e, ERR_LOST, 0, "%s: the host's name does not resolve: %s", d->host,
                rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        return err_hint(e,
                        "is it spelled right? 'getent ahosts %s' asks as godwit does; an address "
                        "does as well (IPv6 in brackets, link-local with %%interface)",
                        host);
    }
    *n = 0;
    for (const struct addrinfo *a = found; a != NULL && *n < SHARE_ADDRESSES_MAX; a = a->ai_next) {
        struct share_address *at = &to[*n];
        nowhere = nowhere || dial_is_nowhere(a);
        if (dial_is_nowhere(a) || a->ai_addrlen > sizeof at->at ||
            getnameinfo(a->ai_addr, a->ai_addrlen, at->text, sizeof at->text, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        memcpy(&at->at, a->ai_addr, a->ai_addrlen);
        at->len = a->ai_addrlen;
        ++*n;
    }
    freeaddrinfo(found);
    return *n > 0 ? 0 : dial_no_address(d, nowhere, e);
}

/* ---- one question ---- */

static uint8_t *dial_put(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static uint32_t dial_get(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return ntohl(v);
}

/* Whether `events` came, or the outcome if not. */
static enum dial_outcome dial_await(int fd, short events, struct share_wait *w)
{
    struct err e = {0};
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        if (poll(&p, 1, (int)(SHARE_WAIT_STEP_NS / NS_PER_MS)) > 0)
            return DIAL_DONE;
        if (share_wait_step(w, &e) < 0)
            return e.class == ERR_CANCELLED ? DIAL_CANCELLED
                   : events == POLLOUT      ? DIAL_SILENT
                                            : DIAL_MUTE;
    }
}

static enum dial_outcome dial_connect(const struct share_address *a, int port, int *fd, int *sys,
                                      struct share_wait *w)
{
    struct sockaddr_storage at = a->at;
    if (at.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&at)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&at)->sin_port = htons((uint16_t)port);
    socklen_t len = sizeof *sys;
    *fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0 || (connect(*fd, (struct sockaddr *)&at, a->len) < 0 && errno != EINPROGRESS)) {
        *sys = errno;
        return DIAL_FAILED;
    }
    enum dial_outcome o = dial_await(*fd, POLLOUT, w);
    if (o != DIAL_DONE)
        return o;
    if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, sys, &len) < 0)
        *sys = errno;
    return *sys == ETIMEDOUT ? DIAL_SILENT : *sys != 0 ? DIAL_FAILED : DIAL_DONE;
}

/* Results begin behind: mark, xid, REPLY, accepted, the verifier (flavour, length), status. */
static enum dial_outcome dial_read_head(struct dial_call *c, const uint8_t *r, size_t len)
{
    enum { ACCEPTED_AT = 12, VERIFIER_AT = 20, UNAVAILABLE = 1, MISMATCH = 2 };
    if (dial_get(r + 4) != DIAL_XID || dial_get(r + 8) != 1 || dial_get(r + ACCEPTED_AT) != 0)
        return DIAL_STRANGE;
    size_t verifier = dial_get(r + VERIFIER_AT),
           at = VERIFIER_AT + 4 + ((verifier + 3) & ~(size_t)3);
    if (verifier > 400 || at + 4 > len)
        return DIAL_STRANGE;
    uint32_t status = dial_get(r + at);
    if (status != 0)
        return status == UNAVAILABLE ? DIAL_UNAVAILABLE
               : status == MISMATCH  ? DIAL_MISMATCH
                                     : DIAL_STRANGE;
    c->reply_len = len - at - 4;
    memcpy(c->reply, r + at + 4, c->reply_len);
    return DIAL_DONE;
}

/* To be shown: how it begins. */
static enum dial_outcome dial_keep_strange(struct dial_call *c, const uint8_t *bytes, size_t len)
{
    c->reply_len = len;
    memcpy(c->reply, bytes, len);
    return DIAL_STRANGE;
}

static enum dial_outcome dial_read(struct dial_call *c, int fd, struct share_wait *w)
{
    uint8_t r[DIAL_REPLY_MAX];
    size_t got = 0, want = 4;
    enum dial_outcome o;
    while (got < want) {
        o = dial_await(fd, POLLIN, w);
        if (o != DIAL_DONE)
            return o;
        ssize_t n = read(fd, r + got, want - got);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return dial_keep_strange(c, r, got);
        got += (size_t)n;
        if (got == 4)
            want = 4 + (dial_get(r) & 0x7fffffff);
        if (got >= 4 && (want > sizeof r || want < 28)) {
            n = read(fd, r + got, DIAL_SHOWN - got);
            return dial_keep_strange(c, r, got + (n > 0 ? (size_t)n : 0));
        }
    }
    o = dial_read_head(c, r, got);
    return o == DIAL_STRANGE ? dial_keep_strange(c, r, got) : o;
}

static enum dial_outcome dial_ask(struct dial_call *c, const struct share_address *a, int port,
                                  struct share_wait *w)
{
    uint8_t call[DIAL_HEAD + DIAL_ARGS_MAX], *p = call;
    CLEANUP_CLOSE int fd = -1;
    enum dial_outcome o = dial_connect(a, port, &fd, &c->sys, w);
    if (o != DIAL_DONE)
        return o;
    const uint32_t head[] = {0x80000000U | (uint32_t)(DIAL_HEAD - 4 + c->args_len),
                             DIAL_XID,
                             0,
                             2,
                             c->program,
                             c->version,
                             c->proc,
                             0,
                             0,
                             0,
                             0};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        p = dial_put(p, head[i]);
    memcpy(p, c->args, c->args_len);
    size_t len = DIAL_HEAD + c->args_len;
    if (send(fd, call, len, MSG_NOSIGNAL) != (ssize_t)len)
        return DIAL_STRANGE;
    return dial_read(c, fd, w);
}

static struct share_wait dial_wait(const struct share_dial *d, const char *what,
                                   int64_t deadline_ns)
{
    struct share_wait w = {.who = d->who,
                           .what = what,
                           .deadline_ns = deadline_ns,
                           .cancel = d->cancel,
                           .connecting = true};
    share_wait_begin(&w);
    return w;
}

/* ---- what an outcome means ---- */

static int dial_is_strange(const struct share_dial *d, const char *what, const struct dial_call *c,
                           struct err *e)
{
    char shown[SHAPE_SHOWN];
    shape_show(shown, c->reply, c->reply_len);
    return err_set(e, ERR_LOST, 0, "%s: what listens as %s is no RPC server: it has sent %s",
                   d->host, what, shown);
}

static int dial_cannot(const struct share_dial *d, const char *what, enum dial_outcome o,
                       const struct dial_call *c, struct err *e)
{
    switch (o) {
    case DIAL_FAILED:
        return err_set(e, ERR_LOST, c->sys, "%s: cannot connect to %s", d->host, what);
    case DIAL_SILENT:
        return err_set(e, ERR_TIMEOUT, 0,
                       "%s: no answer from %s: packets are dropped on the way, or "
                       "the server is down",
                       d->host, what);
    case DIAL_MUTE:
        return err_set(e, ERR_TIMEOUT, 0, "%s: %s takes connections, but does not answer", d->host,
                       what);
    case DIAL_UNAVAILABLE:
        return err_set(e, ERR_LOST, 0, "%s: what listens as %s is another program", d->host, what);
    case DIAL_MISMATCH:
        return err_set(e, ERR_LOST, 0, "%s: %s does not speak version 3", d->host, what);
    case DIAL_CANCELLED:
        return err_set(e, ERR_CANCELLED, 0, "%s: stopped while waiting for %s", d->host, what);
    default: return dial_is_strange(d, what, c, e);
    }
}

static const char *dial_service(int program)
{
    return program == NFS_PROGRAM ? "NFS" : "mountd";
}

/* Whether the NFS server is there, and speaks version 4 alone. */
static bool dial_only_v4(const struct share_dial *d, const struct share_address *a)
{
    struct dial_call c = {.program = NFS_PROGRAM, .version = DIAL_VERSION};
    struct share_wait w = dial_wait(d, "NFS", clock_now_ns() + DIAL_PEEK_NS);
    return dial_ask(&c, a, SHARE_NFS_PORT, &w) == DIAL_MISMATCH;
}

static int dial_say_v4(const struct share_dial *d, struct err *e)
{
    err_clear(e);
    err_set(e, ERR_LOST, 0,
            "%s: the NFS server (port %d) speaks NFSv4 only, and godwit needs NFSv3", d->host,
            SHARE_NFS_PORT);
    return err_hint(e, "switch NFSv3 on there: vers3=y in [nfsd] of /etc/nfs.conf, with rpcbind "
                       "running; ganesha: Protocols = 3, 4");
}

int share_dial_probe(const struct share_dial *d, const struct share_address *a, int program,
                     int port, bool given, int64_t deadline_ns, struct err *e)
{
    char what[64];
    const char *argument = program == NFS_PROGRAM ? "nfsport" : "mountport";
    snprintf(what, sizeof what, "port %d (%s)", port, dial_service(program));
    struct dial_call c = {.program = (uint32_t)program, .version = DIAL_VERSION};
    struct share_wait w = dial_wait(d, what, deadline_ns);
    enum dial_outcome o = dial_ask(&c, a, port, &w);
    if (o == DIAL_DONE)
        return 0;
    if (o == DIAL_MISMATCH && program == NFS_PROGRAM && port == SHARE_NFS_PORT)
        return dial_say_v4(d, e);
    dial_cannot(d, what, o, &c, e);
    if (o == DIAL_CANCELLED)
        return -1;
    if (o == DIAL_MISMATCH)
        return err_hint(
            e,
            "is NFSv3 on there (vers3=y in [nfsd] of /etc/nfs.conf; ganesha: Protocols = 3, "
            "4), and is %d the port of %s? 'rpcinfo -p' on the server shows it",
            port, dial_service(program));
    if (given)
        return err_hint(e,
                        "the URL says ?%s=%d: is that right ('rpcinfo -p' on the server shows it), "
                        "and does no firewall stop it?",
                        argument, port);
    return err_hint(e,
                    "the port mapper says that %s is at port %d: is it running there, and does a "
                    "firewall on the way let TCP port %d through?",
                    dial_service(program), port, port);
}

/* ---- the port mapper ---- */

static void dial_put_mapping(struct dial_call *c, int program, bool v6)
{
    uint8_t *p = c->args;
    p = dial_put(p, (uint32_t)program);
    p = dial_put(p, DIAL_VERSION);
    if (!v6) {
        p = dial_put(p, IPPROTO_TCP);
        p = dial_put(p, 0);
    } else {
        p = dial_put(p, 4);
        memcpy(p, "tcp6", 4);
        p = dial_put(p + 4, 0);
        p = dial_put(p, 0);
    }
    c->args_len = (size_t)(p - c->args);
}

/* The two last numbers of a universal address ("::.8.1"). 0: none. */
static int dial_universal_port(const struct dial_call *c)
{
    char text[128] = "";
    size_t len = c->reply_len >= 4 ? dial_get(c->reply) : 0;
    unsigned high = 0, low = 0;
    if (len > c->reply_len - 4 || len >= sizeof text)
        return 0;
    memcpy(text, c->reply + 4, len);
    char *dot = strrchr(text, '.');
    if (dot == NULL)
        return 0;
    *dot = '\0';
    char *before = strrchr(text, '.');
    if (before == NULL || sscanf(before + 1, "%3u", &high) != 1 ||
        sscanf(dot + 1, "%3u", &low) != 1 || high > 255 || low > 255)
        return 0;
    return (int)(high << 8 | low);
}

static int dial_not_mapped(const struct share_dial *d, const struct share_address *a, int program,
                           struct err *e)
{
    if (dial_only_v4(d, a))
        return dial_say_v4(d, e);
    err_set(e, ERR_LOST, 0, "%s: its port mapper (rpcbind, port %d) knows no %s of version 3",
            d->host, d->mapper_port, dial_service(program));
    return err_hint(
        e, "is the NFS server running there, with NFSv3 (vers3=y in [nfsd] of /etc/nfs.conf; "
           "ganesha: Protocols = 3, 4)? 'rpcinfo -p' on the server shows what is there");
}

int share_dial_port(const struct share_dial *d, const struct share_address *a, int program,
                    int64_t deadline_ns, int *port, struct err *e)
{
    bool v6 = a->at.ss_family == AF_INET6;
    char what[64];
    snprintf(what, sizeof what, "its port mapper (rpcbind, port %d)", d->mapper_port);
    struct dial_call c = {.program = DIAL_MAPPER, .version = v6 ? 3 : 2, .proc = DIAL_GETPORT};
    dial_put_mapping(&c, program, v6);
    struct share_wait w = dial_wait(d, what, deadline_ns);
    enum dial_outcome o = dial_ask(&c, a, d->mapper_port, &w);
    if (o == DIAL_DONE) {
        uint32_t n = v6                 ? (uint32_t)dial_universal_port(&c)
                     : c.reply_len >= 4 ? dial_get(c.reply)
                                        : 0;
        *port = n <= 65535 ? (int)n : 0;
        return *port > 0 ? 0 : dial_not_mapped(d, a, program, e);
    }
    dial_cannot(d, what, o, &c, e);
    if (o == DIAL_CANCELLED)
        return -1;
    if (dial_only_v4(d, a))
        return dial_say_v4(d, e);
    return err_hint(
        e,
        "is rpcbind running there, and does a firewall on the way let TCP port %d through? "
        "With ?nfsport=%d&mountport=N it is not asked (mountd's port N: 'rpcinfo -p' on the "
        "server)",
        d->mapper_port, SHARE_NFS_PORT);
}
