/* SPDX-License-Identifier: Apache-2.0 */
/* A directory on an NFS share as a store: NFSv3, AUTH_SYS, the user's own uid and gid. */
#ifndef NFS_SHARE_H
#define NFS_SHARE_H

#include "core/store.h"

/* Who speaks WRITE and COMMIT. */
enum share_path {
    SHARE_PATH_AUTO, /* we do, where that can be; else libnfs */
    SHARE_PATH_OWN,
    SHARE_PATH_LIBNFS,
};

struct share_options {
    unsigned connections; /* for data, at least 1 */
    unsigned depth;       /* requests under way on each */
    int64_t timeout_ns;   /* a request unanswered for so long: the server is lost. 0: a minute */
    enum share_path path;
};

/*
 * Opens directory `url` (nfs/share_url.h). ERR_USAGE: no such URL; ERR_REFUSED: no server there, no
 * such export, the export refuses us, no such directory, not a directory.
 */
struct store_place *share_open(struct ring *ring, const char *url,
                               const struct share_options *options, struct err *e);

#endif
