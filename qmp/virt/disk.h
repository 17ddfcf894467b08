/* SPDX-License-Identifier: Apache-2.0 */
/* A <disk> of a domain's XML, and libvirt's rule for whether it may be migrated. */
#ifndef QMP_VIRT_DISK_H
#define QMP_VIRT_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/file_system.h"
#include "qmp/virt/xml.h"

enum virt_disk_type {
    VIRT_DISK_EMPTY, /* a drive without a medium */
    VIRT_DISK_FILE,
    VIRT_DISK_BLOCK,
    VIRT_DISK_NETWORK,
    VIRT_DISK_VOLUME, /* a pool's, by name: what it is, only the pool knows */
    VIRT_DISK_NVME,
    VIRT_DISK_OTHER, /* dir, vhost-user, … */
};

struct virt_disk {
    enum virt_disk_type type;
    char target[32]; /* "vda" */
    char device[16]; /* "disk", "cdrom", "floppy", "lun" */
    /* Kept texts (core/text.h): a name that was cut would be another one's. "": none. */
    const char *path; /* file or device, or the name of a network source */
    const char *pool, *volume;
    const char *protocol, *host; /* of a network source: "nfs" and its first host */
    int64_t uid, gid;            /* of its <identity>; -1: none is given */
    char cache[16];              /* "default" where none is given */
    bool readonly, shareable, transient;
};

void virt_disk_of_node(xmlDocPtr doc, xmlNodePtr node, struct virt_disk *d);

/*
 * libvirt's rule, which its VIR_MIGRATE_UNSAFE overrides: true if this disk can be migrated without
 * its storage. `fs` is where a file lies, as the source sees it; `drop_cache` whether the source's
 * QEMU drops its cache of an image before it hands it over (4.0 and later). If not, *why gets the
 * reason as a phrase, a constant. A file of which it is not known where it lies counts as unsafe.
 * Source: libvirt, src/qemu/qemu_migration.c, qemuMigrationSrcIsSafe().
 */
bool virt_disk_is_safe(const struct virt_disk *d, enum file_system fs, bool drop_cache,
                       const char **why);

#endif
