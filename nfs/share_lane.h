/* SPDX-License-Identifier: Apache-2.0 */
/* A carrier that speaks by itself: our codec, over the ring, on a socket that libnfs connected. */
#ifndef NFS_SHARE_LANE_H
#define NFS_SHARE_LANE_H

#include "nfs/share_conn.h"

/* Whether there can be a lane on this connection: plain TCP. */
bool share_lane_fits(const struct share_conn *c);

/*
 * Takes the socket of an idle connection over, and closes the rest of it in any case. A request
 * that is not answered within `timeout_ns` loses the lane. NULL: ERR_NFS.
 */
struct share_carrier *share_lane_adopt(struct ring *ring, struct share_conn *c, int64_t timeout_ns,
                                       struct err *e);

#endif
