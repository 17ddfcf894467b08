/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the stream of a migration goes: the destination's address as the source's host sees it.
 *
 * A name is not an address, and each host has its own table of them: Debian lets a host's own name be
 * 127.0.1.1, and a table that was copied from there, or is stale, has the stream end at the wrong QEMU.
 * So the source's host is asked what the name is there, before anything is touched. Inside qmp/virt/,
 * and for tools/ the parts about URIs.
 */
#ifndef QMP_VIRT_ADDRESS_H
#define QMP_VIRT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "qmp/endpoint.h"
#include "qmp/shell.h"

enum { VIRT_ADDRESS_HOST = 256 };

struct virt_address {
    char host[VIRT_ADDRESS_HOST]; /* a name or an address, without brackets */
    char there[400]; /* its addresses, as the source's host has them, in words: "10.0.0.2"; "": it
                            could not be asked */
    unsigned port_first, port_last; /* the first free one of these, on the destination */
};

struct virt_address_query {
    const char *given;    /* what the operator says; NULL: nothing */
    unsigned given_port;  /* 0: none was given */
    const char *own_name; /* what the destination's host calls itself */
    const char *uri_host; /* of the destination's libvirt URI: "" or NULL where there is none */
    const char *source_name;
    struct shell *source, *destination; /* lent; NULL: not to be asked */
    bool same_host; /* source and destination are one: then it may well be a loopback address */
    bool unsafe;    /* what was given is taken, whatever it is: a tunnel may begin here */
};

/* Whether its qemu.conf is read: not where the operator has given both, address and port. */
bool virt_address_asks_destination(const char *given, unsigned given_port);

/*
 * In this order: what was given; the migration_host of the destination's qemu.conf; the host's own name;
 * where that is unknown on the source (or says "localhost"), the host of the URI. The ports are the
 * given one, else those of qemu.conf, else libvirt's. Opens the shells, and closes none.
 *
 * ERR_REFUSED: the source does not know the name, or takes it for itself; the hint says how to tell it.
 * Where the source cannot be asked, a name is taken as it is, and a->there is empty.
 */
int virt_address_find(const struct virt_address_query *q, struct virt_address *a, struct err *e);

/* What an operator types where the question was refused: the check again, with the address that it is
 * given then, as a migration has to be. Kept (core/text.h). */
const char *virt_address_remedy(const struct virt_address_query *q, const char *source_uri,
                                const char *domain, const char *destination_uri);

/* "tcp://HOST[:PORT]", as virsh takes it, an IPv6 address in brackets; *port gets 0 where there is
 * none. ERR_USAGE. */
int virt_address_parse(const char *uri, char host[VIRT_ADDRESS_HOST], unsigned *port,
                       struct err *e);

/* "tcp:HOST", with brackets where an IPv6 address needs them: `scheme` is "tcp:" or "tcp://". */
void virt_address_uri(char *to, size_t room, const char *scheme, const char *host);

/*
 * The same question for two bare QEMUs, whose stream goes by `via`, "tcp:HOST:PORT": ERR_REFUSED where
 * the source's host takes HOST for itself, or does not know it, and the destination is elsewhere.
 */
int virt_address_check_bare(const struct qmp_endpoint *source,
                            const struct qmp_endpoint *destination, const char *via, struct err *e);

/* ---- pure parts, for unit tests ---- */

/* "migration_host", "migration_port_min" and _max of the text of a qemu.conf; what is not set there is
 * left as it is. */
void virt_address_of_conf(const char *conf, struct virt_address *a);

#endif
