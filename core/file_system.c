/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file_system.h"

#include <stddef.h>
#include <string.h>
#include <sys/statfs.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/*
 * Source: libvirt 12.8, src/util/virfile.c, virFileIsSharedFSType() and virFileIsClusterFS(). It does
 * not know SMB 2 and 3 (0xfe534d42), nor Lustre: what is there, it does not let go.
 */
enum { FUSE_MAGIC = 0x65735546 };

static const struct {
    uint32_t magic;
    enum file_system fs;
} file_systems[] = {
    {0x6969, FILE_SYSTEM_SHARED},      /* NFS */
    {0xff534d42, FILE_SYSTEM_SHARED},  /* CIFS, which is SMB 1 */
    {0x517b, FILE_SYSTEM_SHARED},      /* SMB of old */
    {0x6b414653, FILE_SYSTEM_SHARED},  /* AFS */
    {0x47504653, FILE_SYSTEM_SHARED},  /* GPFS */
    {0x61636673, FILE_SYSTEM_SHARED},  /* ACFS */
    {0x19830326, FILE_SYSTEM_SHARED},  /* BeeGFS */
    {0x01161970, FILE_SYSTEM_CLUSTER}, /* GFS2 */
    {0x7461636f, FILE_SYSTEM_CLUSTER}, /* OCFS2 */
    {0x00c36400, FILE_SYSTEM_CLUSTER}, /* Ceph */
    {FUSE_MAGIC, FILE_SYSTEM_UNKNOWN},
};

enum file_system file_system_of_fuse(const char *mount_type)
{
    return strcmp(mount_type, "fuse.glusterfs") == 0 ? FILE_SYSTEM_CLUSTER
           : strcmp(mount_type, "fuse.quobyte") == 0 ? FILE_SYSTEM_SHARED
                                                     : FILE_SYSTEM_LOCAL;
}

enum file_system file_system_of_magic(uint64_t magic)
{
    for (size_t i = 0; i < COUNT(file_systems); i++)
        if (file_systems[i].magic == magic)
            return file_systems[i].fs;
    return FILE_SYSTEM_LOCAL;
}

bool file_system_is_shared(const char *path)
{
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    enum file_system kind = file_system_of_magic((uint64_t)fs.f_type);
    return kind == FILE_SYSTEM_SHARED || kind == FILE_SYSTEM_CLUSTER;
}
