/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a server that owes answers is slow or silent.
 *
 * Requests queue: here, in the socket, in the network, and answers on their way back. How long one has
 * been under way says nothing about the server, where the link is slow. So there are two deadlines,
 * both of `timeout_ns`:
 *
 *   silence     nothing of what was sent was acknowledged, and nothing was received, for so long
 *   overtaken   all goes on, but the answer to a request that was started so much later than this one
 *               has come, and since then so much time has passed again
 */
#ifndef NFS_SHARE_PROGRESS_H
#define NFS_SHARE_PROGRESS_H

#include "core/store/store.h"

struct share_progress {
    int64_t timeout_ns;
    uint64_t moved_bytes; /* both ways, over the connection's life */
    int64_t moved_ns;    /* when that was last seen to have grown, or something was asked of an idle
                             connection; CLOCK_MONOTONIC */
    int64_t answered_ns; /* the latest start of a request that was answered */
    const char *who;     /* NULL, or the share in messages; lent */
    char what[40];       /* "the NFS server (port 2049)" */
};

/* A request is started; `idle`: no other is under way. */
void share_progress_start(struct share_progress *p, struct store_io *io, bool idle, int fd);

/* It was answered. */
void share_progress_answered(struct share_progress *p, const struct store_io *io);

/* While requests are under way, some times in timeout_ns: looks at the connection. Whether it has been
 * silent for too long. Of a long silence a word is said (nfs/share_wait.h), as of one at the start. */
bool share_progress_silent(struct share_progress *p, int fd, int64_t now_ns);

/* Likewise, of each request under way. */
bool share_progress_overtaken(const struct share_progress *p, struct store_io *io, int64_t now_ns);

#endif
