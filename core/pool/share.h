/* SPDX-License-Identifier: Apache-2.0 */
/* The share that a pool's images move to: which of the copies there are ours, and their end. */
#ifndef CORE_POOL_SHARE_H
#define CORE_POOL_SHARE_H

#include "core/pool/journal.h"
#include "core/relocate/relocate.h"

struct pool_share {
    struct ring *ring;
    struct store_place *place;
};

int pool_share_open(struct pool_share *s, const struct relocate_site *site,
                    enum ring_backend backend, struct err *e);
void pool_share_close(struct pool_share *s);

/* Whether the copy stands there, as the original was: 1, 0, -1. *attr tells what is there. */
int pool_share_has(struct pool_share *s, const struct pool_journal_image *image,
                   struct store_attr *attr, struct err *e);

/* How a copy on the share is known to be ours. */
enum pool_copy_proof {
    POOL_COPY_UNTOUCHED, /* it is what we made, and nothing of it was changed since */
    POOL_COPY_SAME_DATA, /* the same file, not written to; owner and mode may be others: libvirt's */
    POOL_COPY_SAME_FILE, /* the same file */
};

/* Whether what the share has as *now is the copy that is on record, by that proof. */
bool pool_copy_is_ours(const struct pool_journal_copy *copy, const struct store_attr *now,
                       enum pool_copy_proof proof);
struct pool_journal_copy pool_copy_of(const struct store_attr *attr);

/* Removes the copy, if it is the one on record right before. 1; 0: something else stands there, which
 * stays; -1. */
int pool_share_remove(struct pool_share *s, const struct pool_journal_image *image,
                      enum pool_copy_proof proof, struct err *e);
/* Removes what unfinished copies of the journal's images have left: parts have names that nobody else
 * makes. What a run that may still live is at work on stays, and the log tells. */
int pool_share_remove_parts(struct pool_share *s, const struct pool_journal *j, struct err *e);

/* Removes the directories that were made for the image, the deepest first, each with the record that it
 * was made; one that is not empty stays. */
int pool_share_remove_directories(struct pool_share *s, const struct pool_journal_image *image,
                                  struct err *e);

/* ERR_REFUSED: directory `mount` of this host is not the share; `command` mounts it, but for where. */
int pool_share_check_mount(struct pool_share *s, const char *command, const char *mount,
                           struct err *e);

/* Waits until the copy is to be seen at `mount`, as the share has it; or `cancel` is set. */
int pool_share_await(const char *mount, const char *name, const struct store_attr *attr,
                     const volatile sig_atomic_t *cancel, struct err *e);

#endif
