/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain on its way from one libvirt to another: what both routes, direct and native, need to
 * know of it, and what happens to its definition when its guest has arrived.
 */
#ifndef QMP_VIRT_MOVE_H
#define QMP_VIRT_MOVE_H

#include "core/loop.h"
#include "core/migrate/vm.h"
#include "qmp/virt/address.h"
#include "qmp/virt/domain.h"
#include "qmp/virt/route.h"

struct virt_move {
    struct virt_host *source_host, *destination_host;
    struct virt_domain source, destination; /* the same UUID */
    const struct virt_route_options *options;
    char *definition; /* of the source, as it is to be on the destination */
    char *
        clean_xml; /* what it is to run by there, where the source's own XML has something of ours in
                        it; NULL: as the source's */
    int source_instance;         /* the QEMU that is to be moved: virt_domain_instance() */
    char id[VIRT_UUID_TEXT];     /* of this migration: qmp/virt/mark.h */
    struct virt_address address; /* where the stream goes */
};

/* The shells in which the hosts are asked what libvirt does not tell. One by ssh takes as long to connect as
 * libvirt does: they are begun before it. Also after a failure they are to be closed. */
struct virt_move_shells {
    struct shell source, destination;
};
void virt_move_shells_begin(struct virt_move_shells *shells,
                            const struct virt_route_options *options);
void virt_move_shells_close(struct virt_move_shells *shells);

/* The first finds the domain, the second all else. Both look at a side, and touch nothing. ERR_REFUSED: there is no such domain, or the source does
 * not reach the destination by the name that there is (qmp/virt/address.h). The hosts and the
 * options are lent. Whether it can be moved is another question: qmp/virt/check/check.h. */
int virt_move_find(struct virt_move *m, struct virt_host *source,
                   const struct virt_route_options *options, struct err *e);
int virt_move_open(struct virt_move *m, struct virt_host *destination,
                   struct virt_move_shells *shells, struct err *e);
void virt_move_close(struct virt_move *m);

/*
 * The destination's domain is made from an XML with our arguments in it, and nothing can take them out
 * of the XML of a running domain. What libvirt copies (virsh migrate --persistent, edit, dumpxml
 * --inactive) is its definition, where it has one: so it is defined without them before it is made,
 * unless it is defined there already, and undefined when it runs; libvirt keeps the definition of a
 * domain that is undefined while it runs. In this order, for a define that cannot be saved makes
 * libvirt forget a running domain that had no definition.
 * Source: libvirt 9.0, src/qemu/qemu_driver.c, qemuDomainDefineXMLFlags(), qemuDomainUndefineFlags(),
 * qemuDomainGetXMLDesc(); src/qemu/qemu_migration.c, qemuMigrationSrcRun(), persistDef.
 */
int virt_move_cover(const struct virt_move *m, bool *covered, struct err *e);
/* Of one that was covered: the move's destination. */
int virt_move_uncover(const struct virt_domain *d, struct err *e);

/* The guest runs on the destination, and no more on the source: what the options say about its
 * definition; `by_libvirt`: its migration had the same to do, and does not tell whether it could. The
 * error says what is missing, and its hint what does it by hand. */
int virt_move_definition(const struct virt_move *m, bool by_libvirt, struct err *e);

/* What lets the guest go on at the source of a direct migration, whatever that has come to: QEMU refuses to
 * resume it at its gate, and lets it go on by itself a moment after the migration was cancelled; libvirt
 * refuses to resume what runs. A kept text. */
const char *virt_move_go_on(const char *uri, const char *name);

/* What a person types about a domain that is one side. */
void virt_move_set_commands(const struct virt_domain *d, struct vm_commands *h);

/* Whether a QEMU that does not exist yet will prove by the UUID that a stream is its own (core/migrate/vm.h). */
bool virt_move_can_prove(const struct vm_facts *f);

/* What probe() can say of a destination that is yet to be made: its QEMU's version, and that it
 * will be as the source. */
int virt_move_expected_facts(const struct virt_move *m, const struct vm_facts *source,
                             struct vm_facts *destination, struct err *e);

#endif
