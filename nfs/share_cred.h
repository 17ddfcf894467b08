/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to a server: AUTH_SYS (RFC 5531), one and the same on the connections that libnfs serves
 * and on our own, since a file that one creates is written by the other.
 */
#ifndef NFS_SHARE_CRED_H
#define NFS_SHARE_CRED_H

#include "nfs/codec.h"
#include "nfs/compat.h"

/*
 * This process's user, group and supplementary groups, without the group itself. AUTH_SYS carries 16;
 * of more, those with the lowest numbers are sent, as Linux's own client does, and a warning is
 * logged, once: what only the others permit will fail.
 */
struct codec_cred share_cred_own(void);

/* All that libnfs asks from here on is asked with it. false: no memory, it is as before. */
bool share_cred_give(struct rpc_context *rpc, const struct codec_cred *cred);

#endif
