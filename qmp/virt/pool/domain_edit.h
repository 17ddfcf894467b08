/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain's XML, with the images of a pool in a new place. Pure: XML in, XML out.
 *
 * Disks (file, block, volume) with their <backingStore>, whatever the device, and the files of <os>
 * (kernel, initrd, dtb, loader, nvram) are led to the new place. All else in the XML stays byte for byte
 * as it was; what else names a file of the pool is refused, since it would be left behind.
 */
#ifndef QMP_VIRT_POOL_DOMAIN_EDIT_H
#define QMP_VIRT_POOL_DOMAIN_EDIT_H

#include "core/pool/host.h"

/*
 * With a host it refuses what libvirt or QEMU would refuse of a network disk: transient, lun, auth, a
 * seclabel, formats that name other files. A removable drive whose medium is not there stays a file, or,
 * where there is no directory for that, is left empty: libvirt would start it so, if it may.
 *
 * cache='none' is set where libvirt's own check before a migration would ask for it (QEMU driver,
 * qemuMigrationSrcIsSafe): on disks that are not empty, read-only, shareable, or of cache none or
 * directsync already. That the check trusts any QEMU since 4.0 to drop its cache is not made use
 * of. Network disks pass that check; they get it, too, so that they could become files again.
 *
 * `what` is "domain g". ERR_REFUSED: it uses the pool in a way that cannot be led to the new place.
 */
int domain_edit_make(const char *xml, const char *what, const struct domain_move *m,
                     struct domain_edit *edit, struct err *e);

/* Whether the XML, which may be that of a running domain, names something in the pool: 1, 0, -1. */
int domain_edit_uses(const char *xml, const char *what, const struct domain_move *m, struct err *e);

/* The same without disks of type 'volume', which the XML does not tell the place of. */
int domain_edit_uses_path(const char *xml, const char *what, const struct domain_move *m,
                          struct err *e);

/* The XML of a pool with another target path; free() it. */
char *pool_edit_target(const char *xml, const char *path, struct err *e);

#endif
