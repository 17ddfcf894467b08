/* SPDX-License-Identifier: Apache-2.0 */
/* A directory on an NFS share as a store: NFSv3, AUTH_SYS, the user's own uid, gid and groups. */
#ifndef NFS_SHARE_H
#define NFS_SHARE_H

#include <signal.h>
#include <stdatomic.h>

#include "core/store/store.h"

/* Who speaks READ, WRITE and COMMIT. */
enum share_path {
    SHARE_PATH_AUTO, /* we do, where that can be; else libnfs */
    SHARE_PATH_OWN,
    SHARE_PATH_LIBNFS,
};

struct share_options {
    /* For so long a server that is lost or busy is tried again; one that is silent for half of it,
     * while it owes answers, counts as lost (nfs/share_progress.h). 0: a minute. */
    int64_t timeout_ns;
    enum share_path path;
    /* NULL, or: how many connections for data may yet be opened, by all places that have this same
     * counter. Each opens one in any case, more only when it has much under way. */
    _Atomic int *connections_left;
    /* NULL, or: once it is set, functions that block no longer try again, and wait 8 s at most. */
    const volatile sig_atomic_t *cancel;
    int mapper_port; /* 0: 111, where the port mapper is everywhere but in tests */
};

/*
 * Opens directory `url` (nfs/share_url.h). ERR_USAGE: no such URL; ERR_REFUSED: no server there, no
 * such export, the export refuses us; no such directory (e->sys is ENOENT), or it is something else
 * (ENOTDIR); ERR_TIMEOUT: no answer; ERR_CANCELLED.
 */
struct store_place *share_open(struct ring *ring, const char *url,
                               const struct share_options *options, struct err *e);

#endif
