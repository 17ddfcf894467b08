/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a transfer, as a file at the destination: what an earlier run left, and what this
 * one leaves. */
#ifndef CORE_RELOCATE_RESUME_H
#define CORE_RELOCATE_RESUME_H

#include "core/relocate/transfer.h"

/*
 * For the plan: a journal is there; and a part and an image under the final name, or NULL. Finds
 * out whether an earlier run is to be continued (`resume`), has only missed to remove its journal
 * (`was_there`; `proven`, if the journal proves that what stands there is what was made), or has left
 * nothing of use; -1: it is none of these, or another process is working on it, or may be.
 */
int resume_examine(struct transfer *t, struct store_place *to, const struct store_attr *part,
                   const struct store_attr *final, struct err *e);

/* For the plan: `left` is the owner in the name of a leftover. 1: of no use to anybody, to be removed;
 * 0: it is not known whose it is, and is left alone; -1: another process is working on this image. */
int resume_judge_left(const struct transfer *t, const char *left, struct err *e);

/* Opens the journal that the plan has found good; its chunks are durable. */
int resume_continue(struct transfer *t, struct transfer_handles *h, struct err *e);

/* Makes a new one, before there is a part: from then on the image is ours. */
int resume_make(struct transfer *t, struct transfer_handles *h, struct err *e);

/* Durably: which the part is. */
int resume_name_part(struct transfer *t, const struct transfer_handles *h, struct err *e);

/* Durably: enum journal_state. Without a journal, nothing. */
int resume_mark(struct transfer *t, struct transfer_handles *h, uint32_t state, struct err *e);

/* Durably: that a chunk is durable, or that it is not any more. Without a journal, nothing. */
int resume_record(const struct transfer *t, const struct transfer_handles *h, size_t chunk,
                  bool durable, struct err *e);

/* Whether the process that has written this header, found in `log`, may still be working: then
 * ERR_REFUSED, who it is and what to do. Where that cannot be known `restart` says that it is not. */
int resume_check_writer(const struct journal_header *found, const struct store_file *log,
                        bool restart, struct err *e);

/* Our journal, opened to be written, and removed. Under another generation (store_may_be_same()) it is
 * ours by the run id in it. */
struct store_file *resume_open(const struct transfer *t, struct store_place *to, struct err *e);
int resume_remove(const struct transfer *t, struct store_place *to, struct err *e);

#endif
