/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The procedures of NFSv3 and MOUNT that are done one at a time: each asks, and waits for the
 * answer until its deadline (CLOCK_MONOTONIC).
 *
 * 0, or -1: ERR_LOST or ERR_TIMEOUT when there was no answer; else ERR_NFS, or ERR_REFUSED from
 * mount, with the nearest errno in e->sys. The messages say what the server said, not about what:
 * the caller wraps.
 */
#ifndef NFS_SHARE_PROC_H
#define NFS_SHARE_PROC_H

#include <limits.h>

#include "nfs/share_conn.h"

struct share_entry {
    struct share_fh fh;
    struct store_attr attr; /* .device is the server's fsid, .inode its fileid */
    bool link;              /* a symbolic one; then .type is STORE_OTHER */
    bool by_link;           /* found through one under the name itself (share_names_find()) */
};

struct share_limits {
    uint32_t read_max_bytes, write_max_bytes; /* 0: none */
};

/* Sets all but the handle, and what comes of it, the generation. */
void share_proc_take_attr(struct share_entry *to, const fattr3 *attr);

/* MNT of `path`, on a connection to MOUNT_PROGRAM. ERR_REFUSED: e->sys is the server's reason, or
 * EPROTONOSUPPORT where the export takes no AUTH_SYS (the message says what it takes). */
int share_proc_mount(struct share_conn *c, const char *path, struct share_fh *root,
                     int64_t deadline_ns, struct err *e);

/* EXPORT: runs fn for each exported directory, until it gives false; `clients`: to whom, "" to all. */
typedef bool share_export_fn(void *arg, const char *path, const char *clients);
int share_proc_exports(struct share_conn *c, share_export_fn *fn, void *arg, int64_t deadline_ns,
                       struct err *e);

int share_proc_fsinfo(struct share_conn *c, const struct share_fh *root,
                      struct share_limits *limits, int64_t deadline_ns, struct err *e);

int share_proc_fsstat(struct share_conn *c, const struct share_fh *root, uint64_t *free_bytes,
                      int64_t deadline_ns, struct err *e);

/* The attributes of entry->fh. */
int share_proc_getattr(struct share_conn *c, struct share_entry *entry, int64_t deadline_ns,
                       struct err *e);

/* 1: found; 0: no such name. Follows no links. */
int share_proc_lookup(struct share_conn *c, const struct share_fh *dir, const char *name,
                      struct share_entry *entry, int64_t deadline_ns, struct err *e);

int share_proc_readlink(struct share_conn *c, const struct share_fh *link, char target[PATH_MAX],
                        int64_t deadline_ns, struct err *e);

/* A new file, mode 0600, refused (EEXIST) where the name is taken. Servers may ignore the size:
 * entry->attr tells. */
int share_proc_create(struct share_conn *c, const struct share_fh *dir, const char *name,
                      uint64_t size_bytes, struct share_entry *entry, int64_t deadline_ns,
                      struct err *e);

/* A new directory, mode 0700; EEXIST. */
int share_proc_mkdir(struct share_conn *c, const struct share_fh *dir, const char *name,
                     struct share_entry *entry, int64_t deadline_ns, struct err *e);

int share_proc_set_size(struct share_conn *c, const struct share_fh *fh, uint64_t size_bytes,
                        int64_t deadline_ns, struct err *e);

/* Mode, times and, with `owner`, user and group. */
int share_proc_setattr(struct share_conn *c, const struct share_fh *fh,
                       const struct store_attr *attr, bool owner, int64_t deadline_ns,
                       struct err *e);

/* Within a directory; replaces what stands there. */
int share_proc_rename(struct share_conn *c, const struct share_fh *dir, const char *from,
                      const char *to, int64_t deadline_ns, struct err *e);

/* Another name for the file itself; EEXIST. Not every server has it: EOPNOTSUPP and others. */
int share_proc_link(struct share_conn *c, const struct share_fh *file, const struct share_fh *dir,
                    const char *name, int64_t deadline_ns, struct err *e);

int share_proc_remove(struct share_conn *c, const struct share_fh *dir, const char *name,
                      int64_t deadline_ns, struct err *e);

/* An empty directory. */
int share_proc_rmdir(struct share_conn *c, const struct share_fh *dir, const char *name,
                     int64_t deadline_ns, struct err *e);

#endif
