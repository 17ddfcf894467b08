/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/endpoint.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/units.h"

static int endpoint_bad(const struct qmp_endpoint *ep, const char *why, struct err *e)
{
    err_set(e, ERR_USAGE, 0, "'%s': %s", ep->text, why);
    return err_hint(e, "write qmp+unix:/path, qmp+tcp:host:port or qmp+ssh://[user@]host/path");
}

/* Copies text[0..len) into a field of the endpoint; false when it is empty or does not fit. */
static bool endpoint_take(char *to, size_t size, const char *text, size_t len)
{
    if (len == 0 || len >= size)
        return false;
    memcpy(to, text, len);
    to[len] = '\0';
    return true;
}

static bool endpoint_take_port(struct qmp_endpoint *ep, const char *text, size_t len)
{
    struct err ignored = {0};
    uint64_t port;
    return endpoint_take(ep->port, sizeof ep->port, text, len) &&
           units_parse_count(ep->port, 1, 65535, &port, &ignored) == 0;
}

/* "host:port", "[v6]:port"; the port may be missing if `port_optional`. */
static bool endpoint_take_host(struct qmp_endpoint *ep, const char *text, size_t len,
                               bool port_optional)
{
    const char *end = text + len;
    const char *host = text, *host_end, *rest;
    if (*text == '[') {
        host = text + 1;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL)
            return false;
        rest = host_end + 1;
    } else {
        host_end = memchr(text, ':', len);
        if (host_end == NULL)
            host_end = end;
        rest = host_end;
    }
    /* a host that begins with '-' would be an option to ssh */
    if (*host == '-' || !endpoint_take(ep->host, sizeof ep->host, host, (size_t)(host_end - host)))
        return false;
    if (rest == end)
        return port_optional;
    return *rest == ':' && endpoint_take_port(ep, rest + 1, (size_t)(end - rest - 1));
}

static int endpoint_parse_ssh(const char *rest, struct qmp_endpoint *ep, struct err *e)
{
    const char *slash = strchr(rest, '/');
    if (slash == NULL)
        return endpoint_bad(ep, "the path of the socket is missing", e);
    const char *at = memchr(rest, '@', (size_t)(slash - rest));
    if (at != NULL) {
        if (*rest == '-' || !endpoint_take(ep->user, sizeof ep->user, rest, (size_t)(at - rest)))
            return endpoint_bad(ep, "not a user name", e);
        rest = at + 1;
    }
    if (!endpoint_take_host(ep, rest, (size_t)(slash - rest), true))
        return endpoint_bad(ep, "not a host name", e);
    /* ssh -L separates its two paths by a colon */
    if (strchr(slash, ':') != NULL ||
        !endpoint_take(ep->path, sizeof ep->path, slash, strlen(slash)))
        return endpoint_bad(ep, "the path is too long for a unix socket, or has a colon", e);
    return 0;
}

int qmp_endpoint_parse(const char *text, struct qmp_endpoint *ep, struct err *e)
{
    *ep = (struct qmp_endpoint){0};
    if (!endpoint_take(ep->text, sizeof ep->text, text, strlen(text)))
        return err_set(e, ERR_USAGE, 0, "an endpoint is empty or too long");

    if (strncmp(text, "qmp+unix:", 9) == 0) {
        ep->scheme = QMP_UNIX;
        if (!endpoint_take(ep->path, sizeof ep->path, text + 9, strlen(text + 9)))
            return endpoint_bad(ep, "the path is missing, or too long for a unix socket", e);
        return 0;
    }
    if (strncmp(text, "qmp+tcp:", 8) == 0) {
        ep->scheme = QMP_TCP;
        if (!endpoint_take_host(ep, text + 8, strlen(text + 8), false))
            return endpoint_bad(ep, "not host:port", e);
        return 0;
    }
    if (strncmp(text, "qmp+ssh://", 10) == 0) {
        ep->scheme = QMP_SSH;
        return endpoint_parse_ssh(text + 10, ep, e);
    }
    return endpoint_bad(ep, "not a QMP endpoint", e);
}

bool qmp_endpoint_same(const struct qmp_endpoint *a, const struct qmp_endpoint *b)
{
    if (a->scheme != b->scheme)
        return false;
    struct stat sa, sb;
    if (a->scheme == QMP_UNIX && stat(a->path, &sa) == 0 && stat(b->path, &sb) == 0)
        return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
    return strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0 &&
           strcmp(a->path, b->path) == 0;
}
