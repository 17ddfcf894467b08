/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"

static const char scheme[] = "nfs://";

static int share_url_bad(const char *text, const char *why, struct err *e)
{
    err_set(e, ERR_USAGE, 0, "%s: %s", text, why);
    return err_hint(e, "a share is written nfs://HOST/EXPORT/DIRECTORY/");
}

/* One "name=value" of the query. */
static int share_url_argument(const char *text, const char *arg, size_t len, struct share_url *url,
                              struct err *e)
{
    static const char nfs_port[] = "nfsport=", mount_port[] = "mountport=";
    char value[16];
    int *port;
    size_t skip;
    if (strncmp(arg, nfs_port, strlen(nfs_port)) == 0) {
        port = &url->nfs_port;
        skip = strlen(nfs_port);
    } else if (strncmp(arg, mount_port, strlen(mount_port)) == 0) {
        port = &url->mount_port;
        skip = strlen(mount_port);
    } else {
        return share_url_bad(text, "only nfsport= and mountport= are known after the '?'", e);
    }
    if (len - skip >= sizeof value)
        return share_url_bad(text, "a port is a number from 1 to 65535", e);
    memcpy(value, arg + skip, len - skip);
    value[len - skip] = '\0';
    uint64_t n;
    if (units_parse_count(value, 1, 65535, &n, e) < 0)
        return err_wrap(e, "%s", text);
    *port = (int)n;
    return 0;
}

static int share_url_query(const char *text, const char *query, struct share_url *url,
                           struct err *e)
{
    while (*query != '\0') {
        size_t len = strcspn(query, "&");
        if (share_url_argument(text, query, len, url, e) < 0)
            return -1;
        query += len;
        query += *query == '&';
    }
    return 0;
}

/* "fe80::1%25eth0", as RFC 6874 has it, is "fe80::1%eth0", as everybody writes it. */
static void share_url_decode_zone(char *host)
{
    char *zone = strchr(host, '%');
    if (zone != NULL && strncmp(zone, "%25", 3) == 0 && zone[3] != '\0')
        memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
}

void share_url_show_host(const struct share_url *url, char *to, size_t size)
{
    bool v6 = strchr(url->host, ':') != NULL;
    snprintf(to, size, "%s%s%s", v6 ? "[" : "", url->host, v6 ? "]" : "");
}

/* The same address is another one on each link. */
static int share_url_check_zone(const char *text, const struct share_url *url, struct err *e)
{
    char address[INET6_ADDRSTRLEN + 1];
    struct in6_addr at;
    size_t len = strcspn(url->host, "%");
    if (len >= sizeof address)
        return 0;
    memcpy(address, url->host, len);
    address[len] = '\0';
    if (url->host[len] == '%' && url->host[len + 1] == '\0')
        return share_url_bad(text, "names no interface behind the %", e);
    if (url->host[len] == '%' || inet_pton(AF_INET6, address, &at) != 1 ||
        !IN6_IS_ADDR_LINKLOCAL(&at))
        return 0;
    err_set(e, ERR_USAGE, 0, "%s: %s is a link-local address, and its interface is not given", text,
            address);
    return err_hint(e,
                    "write nfs://[%s%%INTERFACE]/..., as in [%s%%eth0]: 'ip -6 neigh show %s' and "
                    "'ip -br link' show which",
                    address, address, address);
}

static int share_url_host(const char *text, const char *host, size_t len, struct share_url *url,
                          struct err *e)
{
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (host[0] == '[' && memchr(host, ']', len) == NULL) {
        return share_url_bad(text, "the bracket before its address is not closed", e);
    } else if (memchr(host, ':', len) != NULL) {
        return share_url_bad(text, "a port is given as ?nfsport=N, an IPv6 address in brackets", e);
    }
    if (len == 0)
        return share_url_bad(text, "names no host", e);
    if (memchr(host, '[', len) != NULL || memchr(host, ']', len) != NULL)
        return share_url_bad(text, "brackets belong around an IPv6 address, and nowhere else", e);
    if (len >= sizeof url->host)
        return share_url_bad(text, "the host's name is too long", e);
    memcpy(url->host, host, len);
    url->host[len] = '\0';
    if (memchr(url->host, ':', len) == NULL)
        return 0;
    share_url_decode_zone(url->host);
    return share_url_check_zone(text, url, e);
}

int share_url_parse(const char *text, struct share_url *url, struct err *e)
{
    *url = (struct share_url){0};
    if (strncmp(text, scheme, strlen(scheme)) != 0)
        return share_url_bad(text, "is not an nfs:// URL", e);
    const char *host = text + strlen(scheme);
    const char *path = host + strcspn(host, "/?");
    if (share_url_host(text, host, (size_t)(path - host), url, e) < 0)
        return -1;
    if (*path != '/')
        return share_url_bad(text, "names no export", e);

    const char *end = path + strcspn(path, "?");
    if ((size_t)(end - path) >= sizeof url->path)
        return share_url_bad(text, "the path is too long", e);
    size_t n = 0;
    for (const char *p = path; p < end; p++)
        if (*p != '/' || n == 0 || url->path[n - 1] != '/')
            url->path[n++] = *p;
    if (n > 1 && url->path[n - 1] == '/')
        n--;
    url->path[n] = '\0';
    return *end == '?' ? share_url_query(text, end + 1, url, e) : 0;
}
