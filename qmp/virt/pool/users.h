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

#include "core/pool/host.h"

/*
 * Asks the libvirt at `uri`. Each user once, for the first thing it reaches. -1: libvirt does not
 * answer (ERR_LOST), or not all that was asked.
 */
int virt_users_find(const char *uri, const struct image_files *files,
                    const struct pool_intent *intent, struct file_users *users, struct err *e);

#endif
