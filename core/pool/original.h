/* SPDX-License-Identifier: Apache-2.0 */
/* The image that was copied: what it was then, whether it still is, and its end. */
#ifndef CORE_POOL_ORIGINAL_H
#define CORE_POOL_ORIGINAL_H

#include "core/pool/journal.h"

/* What there is of the original: size, times, identity. 0; -1: e->sys is ENOENT where it is gone. */
int pool_original_read(const char *path, struct pool_journal_image *image, struct err *e);
/* Whether it still is what it was when `then` was taken: 1, 0, or -1, as above. */
int pool_original_unchanged(const char *path, const struct pool_journal_image *then, struct err *e);

/* Removes the original, or the link by which it is there, if it is what `then` tells of: held, and
 * proven again right before. 1; 0: it is another, or was changed, and stays; -1, as above. */
int pool_original_remove(const char *path, const struct pool_journal_image *then, struct err *e);

#endif
