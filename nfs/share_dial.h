/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a service of a server listens, and if it cannot be used, why: on sockets of our own, so that
 * each error names the stage (name, port mapper, port, program, version), the port and a remedy.
 */
#ifndef NFS_SHARE_DIAL_H
#define NFS_SHARE_DIAL_H

#include <netdb.h>
#include <sys/socket.h>

#include "nfs/share_wait.h"

enum { SHARE_MAPPER_PORT = 111, SHARE_NFS_PORT = 2049, SHARE_ADDRESSES_MAX = 8 };

struct share_address {
    struct sockaddr_storage at; /* its port means nothing */
    socklen_t len;
    char text[NI_MAXHOST]; /* numeric; with %interface where it is link-local */
};

/* Who asks, of whom. */
struct share_dial {
    const char *who;  /* the share in messages */
    const char *host; /* as the URL has it, in brackets if it needs them */
    int mapper_port;  /* SHARE_MAPPER_PORT, but in tests */
    const volatile sig_atomic_t *cancel;
};

/* The addresses of `host` (name or address, without brackets), best first. ERR_LOST: it does not
 * resolve. The resolver bounds the time. */
int share_dial_resolve(const struct share_dial *d, const char *host,
                       struct share_address to[SHARE_ADDRESSES_MAX], unsigned *n, struct err *e);

/* Asks the port mapper for version 3 of `program` over TCP. ERR_LOST, ERR_TIMEOUT, ERR_CANCELLED. */
int share_dial_port(const struct share_dial *d, const struct share_address *a, int program,
                    int64_t deadline_ns, int *port, struct err *e);

/* Asks version 3 of `program` at `port` whether it is there. `given`: the port is from the URL. */
int share_dial_probe(const struct share_dial *d, const struct share_address *a, int program,
                     int port, bool given, int64_t deadline_ns, struct err *e);

#endif
