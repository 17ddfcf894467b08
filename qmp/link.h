/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream to a QMP socket, by whichever transport its endpoint names.
 *
 * qmp+ssh lets the system's ssh forward the remote unix socket to one in a private directory here
 * (ssh -L local:remote), so the far host needs nothing but sshd, and the user's own ssh
 * configuration, keys and known hosts apply. ssh runs with BatchMode: it never asks.
 *
 * A monitor that somebody else has is reached through him (struct qmp_carrier).
 */
#ifndef QMP_LINK_H
#define QMP_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"
#include "qmp/endpoint.h"

struct qmp_link {
    int fd;                            /* connected, non-blocking, close-on-exec; -1: closed */
    pid_t ssh;                         /* 0: none */
    char dir[64];                      /* the private directory of the forwarded socket; "": none */
    const struct qmp_carrier *carrier; /* NULL: none */
    void *carried;
};

/*
 * Connects within `timeout_ns`. ERR_LOST: the socket is missing (ENOENT) or refuses (ECONNREFUSED, of
 * tcp: at each address); over ssh neither is seen. It proves nothing about the QEMU that was there: what
 * listened may have been a proxy or a forwarder, and a firewall refuses like a kernel does (REJECT with
 * tcp-reset); only a process that is gone does (qmp/process.h). ERR_TIMEOUT, also while a backlog is full; ERR_REFUSED: no
 * such host; ERR_IO: else, also when ssh failed, in its own words. It blocks: neither the loop nor
 * Ctrl-C is served meanwhile.
 */
int qmp_link_open(const struct qmp_endpoint *ep, int64_t timeout_ns, struct qmp_link *l,
                  struct err *e);

/* Ends ssh, too. Closing a closed link does nothing. */
void qmp_link_close(struct qmp_link *l);

/* Whether the ssh that carries the link still runs: looks for a moment, since it closes its sockets
 * a little before it is gone. */
bool qmp_link_ssh_lives(struct qmp_link *l);

/* Who listens at the other end of a unix socket on this machine: QEMU, or another program that holds the
 * socket for it (a proxy, a manager that passed the descriptor); qmp/process.h tells which. 0: not known, as
 * of a process in another PID namespace than ours or one below it. Source: unix(7), SO_PEERCRED. */
int64_t qmp_link_peer_pid(const struct qmp_link *l);

/* The socket at the other end of a TCP connection, where that is on this machine, in this network
 * namespace: its inode, by which /proc/PID/fd names it. 0: it is not. Source: proc(5), /proc/net/tcp. */
uint64_t qmp_link_peer_inode(const struct qmp_link *l);

#endif
