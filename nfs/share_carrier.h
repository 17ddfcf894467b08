/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A carrier: one connection of the data path. It carries asynchronous READs, WRITEs and COMMITs,
 * whose answers come out of ring_turn(). A carrier that was lost stays lost.
 *
 * Two stand behind it: share_conn, where libnfs encodes and sends; and share_lane, where we do.
 */
#ifndef NFS_SHARE_CARRIER_H
#define NFS_SHARE_CARRIER_H

#include "core/store/store.h"

enum { SHARE_FH_MAX = 64 /* RFC 1813, NFS3_FHSIZE */ };

struct share_fh {
    uint32_t len;
    char val[SHARE_FH_MAX];
};

struct share_carrier;

struct share_carrier_ops {
    const char *name; /* who speaks, for the log: "own", "libnfs" */

    /*
     * As in the store port; `fh` is only used during the call. A read gives fewer bytes than asked
     * for where the server did, and 0 at the end of the file and there alone. Its buffer may have
     * been written to, whatever the result is.
     */
    void (*read)(struct share_carrier *c, const struct share_fh *fh, struct store_io *io);
    void (*write)(struct share_carrier *c, const struct share_fh *fh, struct store_io *io);
    void (*commit)(struct share_carrier *c, const struct share_fh *fh, struct store_io *io);

    /* Loses the connection on purpose: what is under way ends with -ECANCELED, from ring_turn(). */
    void (*stop)(struct share_carrier *c);

    /* Whether it lives; false also when the server has closed it meanwhile. No I/O may be under
     * way. Not from within callbacks. */
    bool (*check)(struct share_carrier *c);

    /* No I/O may be under way. May turn the ring. */
    void (*close)(struct share_carrier *c);
};

/* The common head of both; written by them alone. */
struct share_carrier {
    const struct share_carrier_ops *ops;
    unsigned load; /* I/Os under way */
    bool lost;
};

#endif
