/* SPDX-License-Identifier: Apache-2.0 */
/* Where a pool's images are: its directory on this host, and what is in it by any spelling. */
#ifndef CORE_POOL_PLACE_H
#define CORE_POOL_PLACE_H

#include <sys/types.h>

#include "core/relocate/image_format.h"
#include "core/store/store.h"
#include "core/pool/host.h"

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

#endif
