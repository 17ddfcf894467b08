/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who can still reach some files of this host, or of an NFS share: asked before anything is deleted,
 * left behind, or moved as if nobody used it. The header is free of libvirt's types.
 *
 * A user is whoever has a way to one of the files, by any spelling of it:
 *
 *   domains    what they are defined as, and run with: disks (file, block, volume, network), nvram,
 *              kernel, arguments for QEMU; and what those images are based on, whoever says so
 *   saved      a managed save image, snapshots and checkpoints of a domain, which hold definitions
 *   pools      one whose directory is there
 *   files      volumes, and whatever else lies in the directory of a pool or of the files themselves
 *              (not in those below): images that are based on the files, files of 'virsh save' and of
 *              the memory of snapshots
 *
 * Not to know is no answer: an image or a directory that cannot be read, one of more files than can be
 * looked at, a volume of a pool that libvirt does not list, count as unknown.
 *
 * Not seen are what who is not root cannot read of the directories, other programs (core/relocate/open_files.h tells those that have a file open), and
 * images and files of 'virsh save' that lie elsewhere and are of no domain.
 */
#ifndef QMP_VIRT_POOL_USERS_H
#define QMP_VIRT_POOL_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/* Which files. */
struct virt_files {
    /* Whether what absolute `path` leads to is one of them, or the directory of them all. With `here`
     * it is a path of this host, else one of another. */
    bool (*path)(void *arg, const char *path, bool here);
    /* The same of what an NFS server exports as `path`. NULL: none of them is. */
    bool (*nfs)(void *arg, const char *server, const char *path);
    /* Whether a file of this host goes along with them, so that it may be based on them. NULL: none. */
    bool (*along)(void *arg, const char *path);
    void *arg;
    /* The directories of this host that they are in, for what else is there. */
    char *const *directories;
    size_t n_directories;
};

/* What is looked at as it is going to be. */
struct virt_intent {
    const char *pool; /* this one is no user itself; NULL: each is */
    const char
        *target; /* where its volumes are then, and its images are not looked at; NULL: as it is */
    /* The definition that a domain will have, in which case what it runs with does not count either;
     * NULL: as it is. */
    const char *(*definition)(void *arg, const char *uuid);
    void *arg;
};

struct virt_user {
    char *who; /* "domain g, which runs", "snapshot s of domain g", "pool p", "volume v of pool p",
              "image /d/a", "saved state /d/a" */
    char *how; /* what it names: a path */
    bool active;  /* a domain that runs */
    bool unknown; /* it could not be found out: `how` is why */
};

struct virt_users {
    struct virt_user *at;
    size_t n;
};

/*
 * Asks the libvirt at `uri`. Each user once, for the first thing it reaches. -1: libvirt does not
 * answer (ERR_LOST), or not all that was asked.
 */
int virt_users_find(const char *uri, const struct virt_files *files,
                    const struct virt_intent *intent, struct virt_users *users, struct err *e);
void virt_users_free(struct virt_users *users);

#endif
