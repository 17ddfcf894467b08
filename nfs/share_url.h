/* SPDX-License-Identifier: Apache-2.0 */
/* nfs://HOST/DIRECTORY[?nfsport=N][&mountport=N], as libnfs and QEMU write it. */
#ifndef NFS_SHARE_URL_H
#define NFS_SHARE_URL_H

#include <limits.h>

#include "core/err.h"

struct share_url {
    char host[256]; /* name or address; an IPv6 address without its brackets, with %interface */
    char path[PATH_MAX]; /* "/" or "/a/b": no slash at the end, none doubled */
    int nfs_port;        /* 0: ask the port mapper */
    int mount_port;      /* 0: ask the port mapper */
};

/* The host as a URL and a message have it: an IPv6 address in brackets. */
void share_url_show_host(const struct share_url *url, char *to, size_t size);

/* ERR_USAGE when `text` is not such a URL; nor is one with a link-local address and no interface to it. */
int share_url_parse(const char *text, struct share_url *url, struct err *e);

#endif
