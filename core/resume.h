/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a transfer, as a file at the destination: what an earlier run left, and what this
 * one leaves. */
#ifndef CORE_RESUME_H
#define CORE_RESUME_H

#include "core/transfer.h"

/*
 * For the plan: a journal is there; and a part and an image under the final name, or NULL. Finds
 * out whether an earlier run is to be continued (`resume`), has only missed to remove its journal
 * (`was_there`), or has left nothing of use; -1: it is none of these.
 */
int resume_examine(struct transfer *t, struct store_place *to, const struct store_attr *part,
                   const struct store_attr *final, struct err *e);

/* Opens the journal that the plan has found good; its chunks are durable. */
int resume_continue(struct transfer *t, struct transfer_hands *h, struct err *e);

/* Makes a new one. */
int resume_make(struct transfer *t, struct transfer_hands *h, struct err *e);

/* Durably: that a chunk is durable, or that it is not any more. Without a journal, nothing. */
int resume_record(const struct transfer *t, const struct transfer_hands *h, size_t chunk,
                  bool durable, struct err *e);

#endif
