/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between libnfs and the socket of its connection: what the server sends gets to libnfs only
 * when it is an answer to something that was asked, and has the shape of one (nfs/shape.h). Never waits.
 */
#ifndef NFS_SHARE_GUARD_H
#define NFS_SHARE_GUARD_H

#include "nfs/shape.h"

struct share_guard;

/* Puts itself in the place of the socket `fd`, which libnfs has connected and goes on using; nothing may
 * have been asked on it. NULL: errno. */
struct share_guard *share_guard_new(int fd);

/* After libnfs is done with its own end. NULL is fine. */
void share_guard_free(struct share_guard *g);

/* The socket to the server, and what it is to be polled for. */
int share_guard_fd(const struct share_guard *g);
short share_guard_events(const struct share_guard *g);

/* Passes on what there is, of answers one at a time: libnfs is to be served after each. 1: something
 * moved; 0; -1: the connection is at its end. */
int share_guard_pass(struct share_guard *g);

/* After -1: what came instead of an answer, "a message that is no reply (it begins …)"; NULL: none did. */
const char *share_guard_why(const struct share_guard *g);

/* Of the answer that was passed on last. */
enum shape_outcome share_guard_outcome(const struct share_guard *g);

#endif
