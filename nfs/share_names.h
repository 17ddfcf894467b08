/* SPDX-License-Identifier: Apache-2.0 */
/* Names on a share: from "dir/image" to handles, and the port's functions that need no more. */
#ifndef NFS_SHARE_NAMES_H
#define NFS_SHARE_NAMES_H

#include "nfs/share_control.h"
#include "nfs/share_proc.h"

/* Follows `path` ("a/b", "" is the root itself) from `root`; symbolic links, too, if they are
 * relative and stay below it. 1 and *at; 0: no such name; -1. */
int share_names_walk(struct share_conn *c, const struct share_fh *root, const char *path,
                     struct share_entry *at, int64_t deadline_ns, struct err *e);

/* The same for a name in the place. */
int share_names_find(struct share_place *p, struct share_conn *c, const char *name,
                     struct share_entry *at, int64_t deadline_ns, struct err *e);

/* The directory that `name` is in, and its last part. 1; 0: no such directory; -1. */
int share_names_directory(struct share_place *p, struct share_conn *c, const char *name,
                          struct share_fh *dir, const char **last, int64_t deadline_ns,
                          struct err *e);

/* Forgets the directory that was looked up last. */
void share_names_forget(struct share_place *p);

/* Of the store port. */
int share_names_lookup(struct store_place *place, const char *name, struct store_attr *attr,
                       struct err *e);
int share_names_list(struct store_place *place, const char *name, store_list_fn *fn, void *arg,
                     struct err *e);
int share_names_remove(struct store_place *place, const char *name, const struct store_attr *is,
                       struct err *e);

#endif
