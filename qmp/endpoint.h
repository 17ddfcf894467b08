/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a QEMU is reached by QMP. As the user writes it:
 *
 *   qmp+unix:/path/to.sock
 *   qmp+tcp:host:port               an IPv6 address in brackets
 *   qmp+ssh://[user@]host[:port]/path/to.sock
 *
 * or, without such a text, by somebody else's monitor (struct qmp_carrier): a libvirt domain's.
 */
#ifndef QMP_ENDPOINT_H
#define QMP_ENDPOINT_H

#include <stdbool.h>

#include "core/err.h"

enum qmp_scheme { QMP_UNIX, QMP_TCP, QMP_SSH, QMP_CARRIED };

/*
 * Who carries QMP to a QEMU whose monitor is his. `target` is the endpoint's, what open() returns the
 * link's.
 */
struct qmp_carrier {
    /* *fd gets a socket that speaks QMP, non-blocking and close-on-exec; it is the caller's to close. NULL:
     * ERR_LOST, the QEMU is not there (e->sys is ENOENT then), or who carries is not. */
    void *(*open)(const void *target, int *fd, struct err *e);
    /* Whether QEMU has ended, and all events that it had sent came before the end of the stream. */
    bool (*ended)(const void *carried);
    /* After the socket was closed. */
    void (*close)(void *carried);
    /* Whether that QEMU lives, in his word: 1 or 0; -1: he does not answer. */
    int (*active)(const void *target, struct err *e);
};

struct qmp_endpoint {
    enum qmp_scheme scheme;
    char user[64]; /* "" where none was given */
    char host[256];
    char port[8];   /* "" where none was given */
    char path[108]; /* of a unix socket, here or on the host: what a sun_path holds */
    const struct qmp_carrier *carrier; /* QMP_CARRIED */
    const void *target;                /* his, lent */
    char text[512];                    /* as it was written, for messages */
};

int qmp_endpoint_parse(const char *text, struct qmp_endpoint *ep, struct err *e); /* ERR_USAGE */

/* The same QMP socket, as far as names and the file system tell. */
bool qmp_endpoint_same(const struct qmp_endpoint *a, const struct qmp_endpoint *b);

#endif
