/* SPDX-License-Identifier: Apache-2.0 */
/* What the checks of one domain share. Private to qmp/virt/check*.c. */
#ifndef QMP_VIRT_CHECK_CHECK_RUN_H
#define QMP_VIRT_CHECK_CHECK_RUN_H

#include "core/cleanup.h"
#include "core/clock.h"
#include "qmp/shell.h"
#include "qmp/virt/address.h"
#include "qmp/virt/check/check.h"
#include "qmp/virt/check/check_there.h"
#include "qmp/virt/xml.h"

#define CHECK_SHELL_NS (20 * NS_PER_S)

/* A host on its side of the run. */
struct check_side {
    struct virt_host *host; /* NULL: there is none */
    virConnectPtr conn;
    struct shell shell;
    char name[256]; /* its host name, as libvirt knows it */
    const char *uri, *role;
};

struct check_run {
    struct check_side from, to;
    const struct virt_domain *domain;
    const struct virt_check_options *o;
    struct check_list *l;
    struct check_there *there; /* what the destination has said; NULL: there is none */
    virDomainPtr dom;
    bool active;
    bool same_host;
    bool unfinished; /* a migration that was not finished was reported: the state is part of it */
    xmlDocPtr xml;   /* of the domain, as it runs */
    char *arch, *machine, *emulator, *type; /* "x86_64", "pc-q35-10.0", its path, "kvm" or "qemu" */
    const char *dname;
    struct virt_address address; /* of the stream, once address_found */
    bool address_found;
    unsigned long from_qemu, to_qemu; /* versions, 7002000 for 7.2.0; 0: not known */
};

typedef void check_fn(struct check_run *r);

check_fn check_unfinished, check_mark;                           /* check_unfinished.c */
check_fn check_leftover;                                         /* check_leftover.c */
check_fn check_same_host, check_state, check_name, check_clocks; /* check_host.c */
check_fn check_disks, check_cache;                               /* check_disks.c */
check_fn check_accelerator, check_machine, check_cpu;            /* check_cpu.c */
check_fn check_versions, check_capabilities;                     /* check_versions.c */
check_fn check_devices, check_snapshots, check_jobs;             /* check_devices.c */
check_fn check_networks, check_pools;                            /* check_net.c */
check_fn check_memory, check_vcpus;                              /* check_memory.c */
check_fn check_address, check_ports;                             /* check_ports.c */

/* Whether `path` is one file for both hosts (check_file.c). Of a read-only one a copy will do. */
void check_file(struct check_run *r, const char *what, const char *path, bool readonly);

/* Whether the guest sees its host's CPU: host-passthrough, maximum. */
bool check_cpu_is_of_host(const struct check_run *r);

/* Adds "skipped", with libvirt's last error of this thread as the reason. */
void check_skip(struct check_run *r, const struct check_side *side, const char *what,
                const char *tried);

/* The same from an error, which is cleared. */
void check_skip_err(struct check_list *l, const char *what, struct err *e);

/* A refusal; a warning where the operator has said --unsafe. */
enum check_verdict check_risk(const struct check_run *r);

/* Whether a shell may be used on that side in this run: not in a quick one, but for this host. */
bool check_may_shell(const struct check_run *r, const struct check_side *side);

/* check_list_fix(), with a command to be typed on that shell's host: by ssh, if that is another. */
void check_fix_there(struct check_list *l, const struct shell *s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- pure parts, for unit tests ---- */

/* Devices of a domain's XML that block its migration, or that need an eye; `uri` is for the
 * commands that fix it. */
void check_devices_of_xml(xmlDocPtr doc, const char *uri, struct check_list *l);

/* What two clocks that differ by so much, known to within `error_ns`, deserve. */
enum check_verdict check_clock_verdict(int64_t skew_ns, int64_t error_ns);

/* QEMU's answers to a script of ours: the migration capabilities of query-migrate-capabilities, as
 * a set of names "multifd\nxbzrle\n"; false: there is no such answer. */
bool check_capability_names(const char *qmp_lines, char *names, size_t room);

/* What is only in the one, and what is in both, as ", "-lists. */
void check_capability_compare(const char *a, const char *b, char *both, char *only_a, char *only_b,
                              size_t room);

#endif
