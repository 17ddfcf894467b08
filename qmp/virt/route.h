/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libvirt domain to be migrated: the two sides for the engine, and by which route. The face of
 * qmp/virt for those who do not know libvirt.
 */
#ifndef QMP_VIRT_ROUTE_H
#define QMP_VIRT_ROUTE_H

#include "core/loop.h"
#include "core/migrate/vm.h"
#include "qmp/shell.h"

enum virt_route_kind {
    VIRT_ROUTE_AUTO,   /* direct where it can be */
    VIRT_ROUTE_DIRECT, /* QEMU to QEMU; libvirt only makes and ends domains: qmp/virt/vm_direct.h */
    VIRT_ROUTE_NATIVE, /* libvirt's own migration, tuned and watched: qmp/virt/vm_native.h */
};

struct virt_route_options {
    const char *connect;         /* the source's libvirt */
    const char *destination_uri; /* the destination's, as seen from here */
    const char *domain;          /* name or UUID */
    enum virt_route_kind kind;
    const char *dname;       /* its name on the destination; NULL: the same */
    const char *stream_host; /* where the source's QEMU reaches the destination's; NULL: by the name
                                that the destination's libvirt gives its host */
    unsigned stream_port;    /* 0: a free one of libvirt's range */
    bool persistent;         /* define it on the destination */
    bool undefine_source;    /* forget its definition on the source */
    bool unsafe;
    const char
        *guard; /* of the direct route: this program, as VIRT_ROUTE_GUARD has it; NULL: none */
    const struct vm_settings *settings; /* what the engine will be given */
};

struct virt_route {
    struct vm *source, *destination;
    enum virt_route_kind kind; /* the one that is taken: never AUTO */
    const char *reason;        /* why that one; kept (core/text.h) */
};

/*
 * Connects to both, looks at both, and touches nothing. The texts of the options must outlive the
 * route. ERR_REFUSED: what a quick virt_check_domain() refuses, or a route was asked for that cannot
 * be taken; others where libvirt does not answer.
 */
struct virt_route *virt_route_open(struct loop *loop, const struct virt_route_options *options,
                                   struct err *e);
void virt_route_close(struct virt_route *r); /* NULL is fine */

/*
 * The direct route has failed with *why, and the guest is on the source as before: takes the native
 * one instead. False: it was asked for, or *why is no reason to.
 */
bool virt_route_fall_back(struct virt_route *r, const struct err *why, struct err *e);

/* The guest has arrived: what the options say about its definition. The error says what is missing
 * of it, and its hint what a person types. */
int virt_route_finish(struct virt_route *r, struct err *e);

/* What this program does when its first argument is this: it ends a direct migration whose godwit has
 * been killed in the switchover (qmp/virt/guard.h). Its exit code. */
#define VIRT_ROUTE_GUARD "--guard"
int virt_route_guard(int argc, char **argv);

/* The shell on the host of a libvirt; end with shell_close(). */
void virt_route_shell(const char *uri, struct shell *s);

const char *virt_route_name(enum virt_route_kind kind);

#endif
