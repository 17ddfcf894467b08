/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor port: what the engine needs of one side of a migration.
 *
 * A backend embeds `struct vm` first and fills in `ops`. Every operation blocks by turning the
 * loop until it has its answer or its own deadline has passed, so the engine reads straight down;
 * an interrupt (loop.h) ends the waiting of probe(), check() and what configure() asks first.
 * What the hypervisor says unasked lands in `seen` and sets `changed`.
 */
#ifndef CORE_VM_H
#define CORE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"

enum vm_compression { VM_COMPRESSION_NONE, VM_COMPRESSION_ZLIB, VM_COMPRESSION_ZSTD };

/* What the guest itself does. */
enum vm_run {
    VM_RUN_UNKNOWN,  /* a state that we do not know; the debug log has its name */
    VM_RUN_RUNNING,  /* its vCPUs run */
    VM_RUN_STOPPED,  /* paused, and would run at a continue */
    VM_RUN_INCOMING, /* waits for an incoming migration */
    VM_RUN_MIGRATED, /* stopped because its outgoing migration has completed */
    VM_RUN_FINISHING,/* stopped by its outgoing migration, which is about to complete */
    VM_RUN_SHUTDOWN, /* has powered off or crashed */
};

enum vm_migration {
    VM_MIGRATION_NONE,      /* none was asked for in the life of this process */
    VM_MIGRATION_SETUP,
    VM_MIGRATION_ACTIVE,
    VM_MIGRATION_POSTCOPY,  /* the guest runs on the destination, pages still move */
    VM_MIGRATION_PAUSED,    /* postcopy has lost its connection */
    VM_MIGRATION_DEVICE,    /* the guest is stopped, the device state moves */
    VM_MIGRATION_CANCELLING,
    VM_MIGRATION_CANCELLED,
    VM_MIGRATION_FAILED,
    VM_MIGRATION_COMPLETED,
    VM_MIGRATION_UNKNOWN,   /* a state that we do not know: wait, and look again */
};

/* Begun and not over; a state that we do not know counts as that. */
static inline bool vm_migration_busy(enum vm_migration m)
{
    return m != VM_MIGRATION_NONE && m != VM_MIGRATION_CANCELLED && m != VM_MIGRATION_FAILED &&
           m != VM_MIGRATION_COMPLETED;
}

/* What vm_ops.probe finds out; all of it without touching anything. */
struct vm_facts {
    char hypervisor[48]; /* "QEMU 10.0.2" */
    int version[3];
    char machine[64]; /* "pc-q35-10.0": versioned, as the source's -machine alias resolves */
    uint64_t ram_bytes;
    unsigned vcpus;
    bool kvm;
    enum vm_run run;
    enum vm_migration migration;
    int64_t peer_pid; /* of a hypervisor process on this machine, else 0 */
};

/* One thing more, by the hypervisor's own name and in its own words: the engine knows nothing of it. */
struct vm_setting {
    const char *name, *value;
};

/* How a migration shall be done. */
struct vm_settings {
    uint64_t max_bandwidth_bytes_per_s; /* 0: no limit */
    int64_t downtime_limit_ns;          /* 0: what the hypervisor is set to */
    unsigned multifd_channels;          /* 0: no multifd */
    enum vm_compression compression;    /* of multifd */
    bool postcopy;                      /* may be asked to switch over before all has been sent */
    bool pause;                         /* not with postcopy: the guest is stopped, so that the rest
                                           can be sent */
    unsigned passes;                    /* over RAM, after which postcopy or pause comes; 0: one */
    const struct vm_setting *set;       /* lent; each name once */
    size_t set_n;
    bool unsafe;                        /* also where the guest is known to be put at risk */
};

/* The state of a migration as one side sees it. */
struct vm_sample {
    enum vm_migration migration;
    enum vm_run run;
    int64_t downtime_ns;          /* as the hypervisor counts; below zero: it could not be asked */
    int64_t expected_downtime_ns; /* the same, of RAM only */
    uint64_t ram_total_bytes, ram_transferred_bytes, ram_remaining_bytes;
    uint64_t dirty_bytes_per_s, bandwidth_bytes_per_s;
    uint64_t passes;   /* over RAM, the first included */
    const char *reason; /* why it failed, in the hypervisor's words, kept; NULL: it does not say */
};

/* What a side told us unasked, and when it came here (CLOCK_MONOTONIC); 0: not yet. */
struct vm_seen {
    int64_t stopped_ns;
    int64_t resumed_ns;
    bool gap; /* something may have been said that never came here */
};

/* What a person can do about this side, each as a command to be typed: kept texts (core/text.h), for
 * what is typed in an emergency must be whole. */
struct vm_by_hand {
    const char *look;  /* tells whether the guest runs there */
    const char *end;   /* ends its hypervisor */
    const char *go_on; /* lets a stopped guest run */
};

struct vm {
    const struct vm_ops *ops;
    struct loop *loop;
    const char *role; /* "source" or "destination", for messages */
    struct vm_by_hand by_hand;
    struct vm_seen seen;
    bool changed; /* it said something that calls for a sample, or was lost; the reader resets it */
};

struct vm_ops {
    const char *route; /* "qmp", "direct", "native": for people and --json */

    /* ERR_REFUSED and others: whatever it is, nothing was touched. */
    int (*probe)(struct vm *vm, struct vm_facts *facts, struct err *e);

    /* Whether configure() would do it: ERR_REFUSED when this hypervisor cannot, or must not.
     * Touches nothing; comes after probe(). */
    int (*check)(struct vm *vm, const struct vm_settings *s, struct err *e);

    /* Sets capabilities and parameters, and remembers what they were; *limit_ns gets the downtime
     * limit in force. A destination that does not exist yet is made first: on failure it is gone
     * again. With NULL settings the remembered ones are put back. */
    int (*configure)(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns, struct err *e);

    /* Destination: the guest shall run by itself when the stream has been loaded; then listens. */
    int (*listen)(struct vm *vm, const char *uri, struct err *e);

    /* Source: begins. Returns when it has begun, not when it has ended. */
    int (*start)(struct vm *vm, const char *uri, struct err *e);

    int (*sample)(struct vm *vm, struct vm_sample *s, struct err *e);

    /* Source, in precopy, with settings.postcopy: moves the guest over now. */
    int (*switch_over)(struct vm *vm, struct err *e);

    /* Lets the guest run, or stops it, and says in *now what it does after that. On a side that
     * waits for an incoming migration this decides what happens at its end, in one step with
     * respect to that end: when run(vm, false) has answered VM_RUN_INCOMING, that guest has not
     * run there and will not start by itself; VM_RUN_RUNNING, it came too late, or somebody else
     * lets the guest run there. */
    int (*run)(struct vm *vm, bool on, enum vm_run *now, struct err *e);

    /* Source: gives the migration up, and waits until that is settled one way or the other. */
    int (*cancel)(struct vm *vm, struct err *e);

    /* True if this side's hypervisor is known to have ended, and so can run nothing. False: it
     * lives, or that cannot be known. */
    bool (*known_dead)(struct vm *vm);

    /* Ends the hypervisor process. */
    int (*quit)(struct vm *vm, struct err *e);

    void (*close)(struct vm *vm);
};

#endif
