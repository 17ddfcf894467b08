/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor port: what the engine needs of one side of a migration.
 *
 * A backend embeds `struct vm` first and fills in `ops`. Every operation blocks by turning the
 * loop until it has its answer or its own deadline has passed, so the engine reads straight down;
 * an interrupt (loop.h) ends the waiting of probe(), check() and what configure() asks first.
 * What the hypervisor says unasked lands in `seen` and sets `changed`.
 *
 * Own before you act. An operation that ends, stops, starts or declares something holds the identity
 * of what it acts on, and proves it again right before: the process (pid, start time, boot) or the
 * domain that was probed, or made by us, not whoever answers at its address now. A backend that
 * finds another there says so (ERR_LOST), and touches nothing. And no answer is no answer:
 *  - "it has ended" comes with the reason why that is known (enum vm_death): of its process, known by
 *    pid and start time from when it answered, or from a manager that owns it. All else, a stream
 *    that ends, a connection that is refused (by a forwarder, a proxy or a firewall, as well), a full
 *    backlog, a deadline, is VM_DEATH_NO_ANSWER, which never lets the other side run;
 *  - "it has not run" is said by a side that waits still, or by one that has been heard all the
 *    time (vm_seen); where there is a gap in what was heard, it may have run;
 *  - a state counts for this migration only if this migration can have made it: "completed" may be
 *    an earlier one's word.
 */
#ifndef CORE_MIGRATE_VM_H
#define CORE_MIGRATE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"

enum vm_compression { VM_COMPRESSION_NONE, VM_COMPRESSION_ZLIB, VM_COMPRESSION_ZSTD };

/* What the guest itself does. */
enum vm_run {
    VM_RUN_UNKNOWN,   /* a state that we do not know; the debug log has its name */
    VM_RUN_RUNNING,   /* its vCPUs run */
    VM_RUN_STOPPED,   /* paused, and would run at a continue */
    VM_RUN_INCOMING,  /* waits for an incoming migration */
    VM_RUN_MIGRATED,  /* stopped because its outgoing migration has completed */
    VM_RUN_FINISHING, /* stopped by its outgoing migration, which is about to complete */
    VM_RUN_SHUTDOWN,  /* has powered off or crashed */
};

enum vm_migration {
    VM_MIGRATION_NONE, /* none was asked for in the life of this process */
    VM_MIGRATION_SETUP,
    VM_MIGRATION_ACTIVE,
    VM_MIGRATION_POSTCOPY, /* the guest runs on the destination, pages still move */
    VM_MIGRATION_PAUSED,   /* postcopy has lost its connection */
    VM_MIGRATION_DEVICE,   /* the guest is stopped, the device state moves */
    VM_MIGRATION_CANCELLING,
    VM_MIGRATION_CANCELLED,
    VM_MIGRATION_FAILED,
    VM_MIGRATION_COMPLETED,
    VM_MIGRATION_UNKNOWN, /* a state that we do not know: wait, and look again */
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
    char uuid[37]; /* of the guest, as the hypervisor was told; "": it was not */
    enum vm_run run;
    enum vm_migration migration;
    int64_t peer_pid; /* of a hypervisor process on this machine, else 0 */
};

/* One thing more, by the hypervisor's own name and in its own words: the engine knows nothing of it. */
struct vm_setting {
    const char *name, *value;
};

/* How a migration is to be done. */
struct vm_settings {
    uint64_t max_bandwidth_bytes_per_s; /* 0: no limit */
    int64_t downtime_limit_ns;          /* 0: what the hypervisor is set to */
    unsigned multifd_channels;          /* 0: no multifd */
    enum vm_compression compression;    /* of multifd */
    bool postcopy;                      /* may be asked to switch over before all has been sent */
    bool postcopy_held;           /* … by whoever steers it (core/migrate/steer.h), not after
                                           some passes */
    bool pause;                   /* not with postcopy: the guest is stopped, so that the rest
                                           can be sent */
    unsigned passes;              /* over RAM, after which postcopy or pause comes; 0: one */
    const struct vm_setting *set; /* lent; each name once */
    size_t set_n;
    bool unsafe; /* also where the guest is known to be put at risk */
};

struct vm_vcpu_limit {
    unsigned id;
    uint64_t dirty_bytes_per_s; /* 0: none (any more) */
};

/* What changes while it runs; what is 0 stays. */
struct vm_tuning {
    int64_t downtime_limit_ns;
    unsigned throttle_percent; /* of its time that a vCPU may be kept from running at most; needs
                                  vm_settings.set: auto-converge */
    const struct vm_vcpu_limit *vcpu; /* lent; needs a guest that has a dirty ring. What others set
                                         before is gone. configure(NULL) takes these off */
    size_t vcpus;
};

/* The state of a migration as one side sees it. */
struct vm_sample {
    enum vm_migration migration;
    enum vm_run run;
    int64_t downtime_ns;          /* as the hypervisor counts; below zero: it could not be asked */
    int64_t expected_downtime_ns; /* the same, of RAM only */
    uint64_t ram_total_bytes, ram_transferred_bytes, ram_remaining_bytes;
    uint64_t dirty_bytes_per_s, bandwidth_bytes_per_s;
    uint64_t ram_handled_bytes; /* of RAM, as pages: sent as data, as zero or compressed */
    uint64_t pause_bytes; /* of RAM, sent while the guest stood; 0: none (yet), or nobody counted */
    uint64_t passes;      /* over RAM, the first included (core/migrate/passes.h); 0: not known */
    uint64_t pass_bytes;  /* what was left when this one began */
    unsigned throttle_percent; /* of their time, that all vCPUs are kept from running just now, by
                                  auto-converge */
    uint64_t zero_copy_missed; /* passes that were copied although zero-copy was asked for */
    bool io_error;             /* the guest was stopped by an I/O error, and stands */
    unsigned
        stuck_passes;   /* how many in a row, up to this one, were no smaller than the one before */
    const char *reason; /* why it failed, in the hypervisor's words, kept; NULL: it does not say */
};

/* What a side said unasked, and when it came here (CLOCK_MONOTONIC); 0: not yet. A side says STOP
 * only if its guest ran until then. */
struct vm_seen {
    int64_t stopped_ns;
    int64_t resumed_ns;
    int64_t sent_ns; /* source: it has handed over everything */
    bool ran;        /* destination: its guest was found running, whatever has been said */
    bool gap;        /* something may have been said that never came here */
    bool io_error;   /* the last STOP was by an I/O error of the guest's, and no switchover */
};

/* Whether a side's hypervisor has ended, and how that is known. */
enum vm_death {
    VM_DEATH_NO_ANSWER,    /* not known: no answer, or one that proves nothing */
    VM_DEATH_LIVES,        /* it answers, or its process is there */
    VM_DEATH_PROCESS_GONE, /* its process, known by pid and start time, is there no more */
    VM_DEATH_REBOOTED,     /* its machine was booted after it had answered */
    VM_DEATH_NOT_ACTIVE,   /* its libvirt answers, and says that the domain is not active */
};

static inline bool vm_death_proven(enum vm_death death)
{
    return death > VM_DEATH_LIVES;
}

/* "its process is gone": for messages. */
const char *vm_death_reason(enum vm_death death);

/* What an operator can do about this side, each as a command to be typed: kept texts (core/text.h), for
 * what is typed in an emergency must be whole. */
struct vm_commands {
    const char *look;  /* tells whether the guest runs there */
    const char *end;   /* ends its hypervisor */
    const char *stop;  /* stops a guest that runs there */
    const char *go_on; /* lets a stopped guest run */
    const char *
        recover; /* takes up its end of a postcopy that has lost its connection, the destination first;
                            NULL: not known, or this route cannot */
};

/*
 * Whether the stream is loaded by nobody but the QEMU that it is meant for: the source puts its guest's
 * UUID into it, and a hypervisor that has another one does not take it. An address proves nothing: what
 * listens there may be another's. check() sets `can`; the engine sets `on` for both, where both can, and
 * configure() does it.
 */
struct vm_proof {
    bool can, on;
};

struct vm {
    const struct vm_ops *ops;
    struct loop *loop;
    const char *role; /* "source" or "destination", for messages */
    struct vm_commands commands;
    struct vm_seen seen;
    struct vm_proof proof;
    bool
        may_go_on; /* source: after it has handed everything over, it lets its guest run again by itself
                       where the destination's word does not come (libvirt's Confirm phase). With
                       settings.postcopy, QEMU's return path, each does */
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

    /* Destination: the guest is to run by itself when the stream has been loaded; then listens. */
    int (*listen)(struct vm *vm, const char *uri, struct err *e);

    /* Source: begins. Returns when it has begun, not when it has ended. */
    int (*start)(struct vm *vm, const char *uri, struct err *e);

    int (*sample)(struct vm *vm, struct vm_sample *s, struct err *e);

    /* Source, from configure() until the end. */
    int (*tune)(struct vm *vm, const struct vm_tuning *t, struct err *e);

    /* Source, in precopy, with settings.postcopy: moves the guest over now. */
    int (*switch_over)(struct vm *vm, struct err *e);

    /* Lets the guest run, or stops it, and says in *now what it does after that. On a side that
     * waits for an incoming migration this decides what happens at its end, in one step with
     * respect to that end: when run(vm, false) has answered VM_RUN_INCOMING, that guest has not
     * run there and will not start by itself; VM_RUN_RUNNING, it came too late, or somebody else
     * lets the guest run there. A guest there that ran until it was stopped by this is noted in
     * vm.seen, as far as it could be seen. VM_RUN_UNKNOWN: it is not known what there was. */
    int (*run)(struct vm *vm, bool on, enum vm_run *now, struct err *e);

    /*
     * Postcopy has lost its connection. Destination: listens for it anew at `uri`; where that is "tcp:HOST:0",
     * *port gets the one that was chosen (else port may be NULL). Source: sends what is left to `uri`. With uri
     * NULL either takes the connection for lost that it still believes in. Returns when it was told, not when it
     * has come to something. It lets no guest run. NULL: this route cannot.
     */
    int (*recover)(struct vm *vm, const char *uri, unsigned *port, struct err *e);

    /* Source: gives the migration up, and waits until that is settled one way or the other. */
    int (*cancel)(struct vm *vm, struct err *e);

    /* Whether this side's hypervisor, the one that was probed or made, is known to have ended, and
     * so can run nothing. Before a proven answer all that it had said has been read. */
    enum vm_death (*death)(struct vm *vm);

    /* Ends the hypervisor process. */
    int (*quit)(struct vm *vm, struct err *e);

    void (*close)(struct vm *vm);
};

#endif
