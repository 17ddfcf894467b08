/* SPDX-License-Identifier: Apache-2.0 */
/* Where a pool's images are: its directory on this host, and the share that they move to. */
#ifndef CORE_POOL_PLACE_H
#define CORE_POOL_PLACE_H

#include <sys/types.h>

#include "core/relocate/image_format.h"
#include "core/store/store.h"
#include "core/pool/host.h"
#include "core/pool/journal.h"
#include "core/relocate/relocate.h"

struct pool_place {
    char *path; /* as the pool's XML has it */
    char *real; /* without symbolic links */
    dev_t device;
    ino_t inode;
};

/* ERR_REFUSED: `path` is no directory of this host. */
int pool_place_open(struct pool_place *p, const char *path, struct err *e);
void pool_place_close(struct pool_place *p);

/* domain_move.name, .image, .outside and .below of a struct pool_place. */
char *pool_place_name(void *arg, const char *path);
int pool_place_image(void *arg, const char *name, bool qcow2, struct domain_image *i,
                     struct err *e);
int pool_place_outside(void *arg, const char *path, struct err *e);
int pool_place_below(void *arg, const char *name, const char *format, struct domain_image *i,
                     struct err *e);

/* ERR_REFUSED: image `name`, which is asked for like that, names its backing file by a path in the
 * pool, which it would still do at its new place. The hint is the command that changes it. */
int pool_place_check_backing(const struct pool_place *p, const char *name,
                             enum image_format_ask ask, struct err *e);

/* What there is of the original: size, times, identity. 0; -1: e->sys is ENOENT where it is gone. */
int pool_place_original(const char *path, struct pool_journal_image *image, struct err *e);
/* Whether it still is what it was when `then` was taken: 1, 0, or -1, as above. */
int pool_place_unchanged(const char *path, const struct pool_journal_image *then, struct err *e);

/* Removes the original, or the link by which it is there, if it is what `then` tells of: held, and
 * proven again right before. 1; 0: it is another, or was changed, and stays; -1, as above. */
int pool_place_remove(const char *path, const struct pool_journal_image *then, struct err *e);

/* ---- the share ---- */

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
void pool_share_remove_directories(struct pool_share *s, const struct pool_journal_image *image);

/* ERR_REFUSED: directory `mount` of this host is not the share; `command` mounts it, but for where. */
int pool_share_check_mount(struct pool_share *s, const char *command, const char *mount,
                           struct err *e);

/* Waits until the copy is to be seen at `mount`, as the share has it; or `cancel` is set. */
int pool_share_await(const char *mount, const char *name, const struct store_attr *attr,
                     const volatile sig_atomic_t *cancel, struct err *e);

#endif
