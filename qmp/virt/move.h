/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain on its way from one libvirt to another: what both routes, direct and native, need to
 * know of it, and what happens to its definition when its guest has arrived.
 */
#ifndef QMP_VIRT_MOVE_H
#define QMP_VIRT_MOVE_H

#include "core/loop.h"
#include "core/vm.h"
#include "qmp/virt/address.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/route.h"

struct virt_move {
    struct virt_host *source_host, *destination_host;
    struct virt_domain source, destination; /* the same UUID */
    const struct virt_route_options *options;
    char *definition; /* of the source, as it is to be on the destination; NULL: none is wanted */
    struct virt_address address; /* where the stream goes */
};

/* Looks at both sides, and touches nothing. ERR_REFUSED: there is no such domain, or the source does
 * not reach the destination by the name that there is (qmp/virt/address.h). The hosts and the
 * options are lent. Whether it can be moved is another question: qmp/virt/check.h. */
int virt_move_open(struct virt_move *m, struct virt_host *source, struct virt_host *destination,
                   const struct virt_route_options *options, struct err *e);
void virt_move_close(struct virt_move *m);

/* The guest runs on the destination, and no more on the source: what the options say about its
 * definition. Both are tried; the first error is reported. */
int virt_move_definition(const struct virt_move *m, struct err *e);

/* What a person types about a domain that is one side. */
void virt_move_tell_by_hand(const struct virt_domain *d, struct vm_by_hand *h);

/* What probe() can say of a destination that is yet to be made: its QEMU's version, and that it
 * will be as the source. */
int virt_move_foresee(const struct virt_move *m, const struct vm_facts *source,
                      struct vm_facts *destination, struct err *e);

#endif
