/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a QEMU listens for QMP, as the user writes it:
 *
 *   qmp+unix:/path/to.sock
 *   qmp+tcp:host:port               an IPv6 address in brackets
 *   qmp+ssh://[user@]host[:port]/path/to.sock
 */
#ifndef QMP_ENDPOINT_H
#define QMP_ENDPOINT_H

#include <stdbool.h>

#include "core/err.h"

enum qmp_scheme { QMP_UNIX, QMP_TCP, QMP_SSH };

struct qmp_endpoint {
    enum qmp_scheme scheme;
    char user[64]; /* "" where none was given */
    char host[256];
    char port[8]; /* "" where none was given */
    char path[108]; /* of a unix socket, here or on the host: what a sun_path holds */
    char text[512]; /* as it was written, for messages */
};

int qmp_endpoint_parse(const char *text, struct qmp_endpoint *ep, struct err *e); /* ERR_USAGE */

/* The same QMP socket, as far as names and the file system tell. */
bool qmp_endpoint_same(const struct qmp_endpoint *a, const struct qmp_endpoint *b);

#endif
