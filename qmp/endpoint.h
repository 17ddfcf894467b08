/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a QEMU is reached by QMP. As the user writes it:
 *
 *   qmp+unix:/path/to.sock
 *   qmp+tcp:host:port               an IPv6 address in brackets
 *   qmp+ssh://[user@]host[:port]/path/to.sock
 *
 * or, without such a text, the monitor of a libvirt domain.
 */
#ifndef QMP_ENDPOINT_H
#define QMP_ENDPOINT_H

#include <stdbool.h>

#include "core/err.h"

enum qmp_scheme { QMP_UNIX, QMP_TCP, QMP_SSH, QMP_VIRT };

struct virt_domain;

struct qmp_endpoint {
    enum qmp_scheme scheme;
    char user[64]; /* "" where none was given */
    char host[256];
    char port[8]; /* "" where none was given */
    char path[108]; /* of a unix socket, here or on the host: what a sun_path holds */
    const struct virt_domain *domain; /* QMP_VIRT: lent */
    char text[512]; /* as it was written, for messages */
};

int qmp_endpoint_parse(const char *text, struct qmp_endpoint *ep, struct err *e); /* ERR_USAGE */

/* Of a domain (qmp/virt/domain.h), which must live as long as the endpoint. */
void qmp_endpoint_of_domain(const struct virt_domain *d, struct qmp_endpoint *ep);

/* The same QMP socket, as far as names and the file system tell. */
bool qmp_endpoint_same(const struct qmp_endpoint *a, const struct qmp_endpoint *b);

#endif
