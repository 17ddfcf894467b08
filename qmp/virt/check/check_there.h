/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the checks need to know of the destination's libvirt, asked all at once: each of these answers by itself
 * would be a round trip. Private to qmp/virt/check*.c.
 */
#ifndef QMP_VIRT_CHECK_CHECK_THERE_H
#define QMP_VIRT_CHECK_CHECK_THERE_H

#include <libvirt/virterror.h>

#include "qmp/virt/domain.h"

enum check_question {
    CHECK_ASK_UUID,    /* the domain there that has our domain's UUID */
    CHECK_ASK_NAME,    /* … that has the name which ours is to have */
    CHECK_ASK_MACHINE, /* what its QEMU can be */
    CHECK_ASK_CPU,     /* how the guest's CPU, or its host's, compares */
    CHECK_ASK_MEMORY,
    CHECK_ASK_NODE,
    CHECK_ASK_QUESTIONS
};

enum { CHECK_MEMORY_STATS = 8 };

struct check_there {
    struct virt_host *host; /* referenced */
    virConnectPtr conn;     /* referenced */
    /* what is asked about; of the guest's CPU NULL: it is QEMU's default, and not asked about */
    char uuid[VIRT_UUID_TEXT];
    char *dname, *emulator, *arch, *machine, *type, *cpu;
    bool cpu_of_host; /* `cpu` is the source's own, which the guest sees */
    bool devices_asked;
    /* the answers, and libvirt's error where there is none */
    virDomainPtr by_uuid, by_name;
    char *domain_capabilities;
    int cpu_compared; /* a virCPUCompareResult */
    virNodeMemoryStats memory[CHECK_MEMORY_STATS];
    int memory_n; /* -1: no answer */
    virNodeInfo node;
    bool node_known;
    virNodeDevicePtr *devices;
    virInterfacePtr *interfaces;
    int devices_n, interfaces_n; /* below 0: no answer */
    virErrorPtr errors[CHECK_ASK_QUESTIONS];
};

struct check_run;

/* Asks, with what r->xml and the rest say of the domain. NULL: the connection was lost. */
struct check_there *check_there_ask(const struct check_run *r, struct err *e);
void check_there_free(struct check_there *t); /* NULL is fine */

/* Whether it ran when it was looked up: libvirt says so in the answer. */
static inline bool check_there_runs(virDomainPtr dom)
{
    return virDomainGetID(dom) != (unsigned)-1;
}

/* Of a question that has no answer: whether that is the reason (virErrorNumber); libvirt's words; and "skipped", for
 * that reason. */
bool check_there_error_is(const struct check_there *t, enum check_question q, int code);
const char *check_there_words(const struct check_there *t, enum check_question q,
                              const char *otherwise);
void check_there_skip(struct check_run *r, enum check_question q, const char *what,
                      const char *tried);

#endif
