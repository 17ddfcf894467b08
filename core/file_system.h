/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file system a file is on, and so who else may see it. */
#ifndef CORE_FILE_SYSTEM_H
#define CORE_FILE_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

enum file_system {
    FILE_SYSTEM_UNKNOWN,
    FILE_SYSTEM_LOCAL,  /* for libvirt: also those that it does not know to be shared, as SMB 3 */
    FILE_SYSTEM_SHARED, /* what libvirt calls so: NFS, SMB 1, AFS, … */
    FILE_SYSTEM_CLUSTER, /* coherent among hosts whatever the cache mode: GFS2, OCFS2, Ceph, Gluster */
};

/* By the f_type of statfs(2). FUSE does not tell what is behind it: unknown. */
enum file_system file_system_of_magic(uint64_t magic);
/* What is behind FUSE, by the type in /proc/mounts: "fuse.glusterfs". */
enum file_system file_system_of_fuse(const char *mount_type);

/* Whether a path of this host is on a file system that others may have, too. */
bool file_system_is_shared(const char *path);

#endif
