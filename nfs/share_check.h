/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a share is fit for images: found out by trying, from this machine, with files of a
 * random name that are removed again. Findings are about "share URL".
 */
#ifndef NFS_SHARE_CHECK_H
#define NFS_SHARE_CHECK_H

#include <signal.h>

#include "core/check_list.h"
#include "core/ring.h"
#include "core/store/store.h"

enum { SHARE_CHECK_NAME = 48 };

struct share_user {
    uint32_t uid, gid;
};

struct share_check;

/* Opens directory `url` as nfs/share.h does; as itself, without a finding. `cancel`: NULL, or the operator's
 * wish to stop, as there. */
struct share_check *share_check_open(struct ring *ring, const char *url,
                                     const volatile sig_atomic_t *cancel, struct err *e);
void share_check_close(struct share_check *s); /* NULL is fine */

/* Free space, of which `need_bytes` are to be used; and the largest reads and writes. */
void share_check_room(struct share_check *s, uint64_t need_bytes, struct check_list *l);

/*
 * Creates a file as `user` (by AUTH_SYS), looks whose it is, writes to it in each of NFS's ways,
 * and removes it. Adds findings: whether it may write and is squashed, durability, the server's
 * clock; and for a user other than root also whether root is squashed.
 */
void share_check_write(struct share_check *s, const struct share_user *user, struct check_list *l);

/*
 * Whether a durable write is so quick that the server may not wait for its disk, as with async, memory,
 * or a battery-backed cache. Writes to a file of a random name, which is removed again. 1; 0; -1.
 */
int share_check_is_quick(struct share_check *s, const struct share_user *user, struct err *e);

/* Whether `user` may read and write the file `name`, and its size in *attr. */
void share_check_image(struct share_check *s, const char *what, const char *name,
                       const struct share_user *user, struct store_attr *attr,
                       struct check_list *l);

/* A name for a marker that another host should make in the directory. */
void share_check_marker(char name[SHARE_CHECK_NAME]);

/* Looks for a marker, and removes it. 1: it was there, *attr is its; 0: it was not; -1. */
int share_check_take(struct share_check *s, const char *name, const struct share_user *user,
                     struct store_attr *attr, struct err *e);

#endif
