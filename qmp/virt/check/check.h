/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a domain can be migrated: found out through both libvirts, and where they do not tell,
 * by a shell on the host. Nothing is left behind, and the domain is only looked at.
 */
#ifndef QMP_VIRT_CHECK_CHECK_H
#define QMP_VIRT_CHECK_CHECK_H

#include <stdint.h>

#include "core/check_list.h"
#include "qmp/virt/domain.h"

struct virt_check_options {
    bool unsafe; /* what only puts the guest at risk is a warning, no refusal */
    bool fix;    /* takes away what a migration of ours has left in the domain: nothing else */
    bool quick;  /* without what takes longer than some answers of libvirt's */
    const char *dname; /* the domain's name on the destination; NULL: the same */
    const char
        *stream_host;      /* where the source is to reach the destination; NULL: it is found out */
    unsigned stream_port;  /* 0: those of the destination's qemu.conf */
    bool address_is_known; /* a migration has found out itself where the stream goes */
};

/*
 * Connects as virt_host_open(), and adds what there is to be said of that: that ssh does not ask,
 * and who answers. NULL: it does not, and a refusal says why; virt_check_domain() can still go on
 * without that host.
 */
struct virt_host *virt_check_open(const char *uri, const char *role, struct check_list *l);

/*
 * Adds a finding, or several, for each thing that can be checked; without a destination (NULL)
 * those that one host can tell. 0: all was looked at, whatever was found. -1: a host was lost on
 * the way, so that the list is not complete.
 *
 * Quick leaves out what runs ssh, starts a process or changes a storage pool, however shortly: the
 * proof of one directory by a marker, names of servers, clocks, ports, capabilities of the
 * installed QEMUs. What then cannot be proven is a warning. (The file system of a source's
 * file is looked at all the same, over ssh if need be: libvirt's own rule depends on it.)
 */
int virt_check_domain(struct virt_host *source, struct virt_host *destination,
                      const struct virt_domain *d, const struct virt_check_options *o,
                      struct check_list *l, struct err *e);

/*
 * The same in two parts. What both hosts are asked that needs no look at the answers is asked first: of the
 * destination in one round trip, in which it also gets to know what virt_host_name() and its like keep. The
 * domain is lent until the check is freed, and so are the hosts.
 */
struct virt_check;
struct virt_check *virt_check_begin(struct virt_host *source, struct virt_host *destination,
                                    const struct virt_domain *d, const struct virt_check_options *o,
                                    struct err *e);
int virt_check_judge(struct virt_check *c, struct check_list *l, struct err *e);
void virt_check_free(struct virt_check *c); /* NULL is fine */

/* Adds what a migration has left in the saved image `path` of that host (virsh save, or the memory of an
 * external snapshot); `fix`: takes it out. -1: it cannot be
 * read, or the host was lost. */
int virt_check_saved_image(struct virt_host *h, const char *path, bool fix, struct check_list *l,
                           struct err *e);

/* A disk of the domain's that QEMU itself opens on an NFS server. */
struct virt_nfs_disk {
    char target[32];
    const char *server, *path; /* "filer", "/export/vm.img"; kept texts (core/text.h) */
    int64_t uid, gid;          /* that QEMU shows to the server */
};

/* At most `max` of them; their number, or -1. */
int virt_check_nfs_disks(const struct virt_domain *d, struct virt_nfs_disk *at, size_t max,
                         struct err *e);

/* Who QEMU runs as on a host: "+64055:+64055" of its capabilities. ERR_VIRT: it does not tell. */
int virt_check_qemu_user(struct virt_host *h, int64_t *uid, int64_t *gid, struct err *e);

/*
 * Has QEMU's own NFS driver on that host make the image `path` (512 bytes) on `server`, as this
 * user. 0: it says that it has. -1: ERR_REFUSED with its words: it could not; ERR_LOST: there was
 * no way to try, e->msg says why.
 */
int virt_check_make_image(struct virt_host *h, const char *server, const char *path, int64_t uid,
                          int64_t gid, struct err *e);

/* Whether the host is the machine that we run on, and how a command is run there: "ssh root@b". */
bool virt_check_is_here(struct virt_host *h);

/* Of a storage pool whose images are to go to a share. */
struct virt_pool_facts {
    char type[24]; /* "dir", "netfs", … */
    uint64_t images, allocated_bytes, capacity_bytes;
};

/* Adds findings about the pool, none of which says whether it can be moved: that it is there and active,
 * too, is reported by who would move it (tools/cmd/relocate_pool.c). 1 and *facts; 0: there is no such pool; -1. */
int virt_check_pool(struct virt_host *h, const char *name_or_uuid, struct virt_pool_facts *facts,
                    struct check_list *l, struct err *e);

#endif
