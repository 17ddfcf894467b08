/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a transfer know of each other. Private to core/transfer*.c. */
#ifndef CORE_RELOCATE_TRANSFER_PARTS_H
#define CORE_RELOCATE_TRANSFER_PARTS_H

#include "core/relocate/transfer.h"

/* Up to here the checksum of all of an image costs nothing that is worth mentioning. */
#define TRANSFER_WHOLE_MAX_BYTES (UINT64_C(16) << 30)

/* Of a part, until it is published (STORE_CREATE). */
#define TRANSFER_PART_MODE 0600

/* Of one that has ended, only what it tells is kept. */
void transfer_shrink(struct transfer *t);

/* It is not ours any more. */
void transfer_unclaim(struct transfer *t);

/* What is read is one state of the source only if nobody wrote to it since it was planned. */
int transfer_check_source(const struct transfer *t, const struct store_place *p,
                          const struct store_attr *now, struct err *e);

/* The part, opened anew. Where it may be it, but under another generation, t->renewed. */
struct store_file *transfer_part(struct transfer *t, struct store_place *p, enum store_how how,
                                 struct err *e);

/* The source, checked. On failure the handles are empty. */
int transfer_open_source(const struct transfer *t, struct transfer_handles *h, struct err *e);

/* The instance of the server that there is now has not said that it has the chunk. */
bool transfer_is_unproven(const struct transfer *t, const struct transfer_chunk *c);

/* It is to be read back in this pass of TRANSFER_VERIFY. */
bool transfer_is_to_compare(const struct transfer *t, const struct transfer_chunk *c);

#endif
