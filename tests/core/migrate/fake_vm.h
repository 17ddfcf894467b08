/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of two QEMUs with a migration stream between them, behind core/migrate/vm.h, in memory and on a
 * clock of its own. It is as unhelpful as QEMU is allowed to be: between any two commands, and
 * between the two halves of one operation, the stream may have moved on.
 *
 * After every change it asserts what must never be seen:
 *  - both sides run the guest;
 *  - the source runs it after the destination has run it: the disk has moved on;
 *  - the source is ended while the guest is not on the destination with all of its memory.
 * The first two QEMU does by itself where there is a return path: that is no fault of the engine's,
 * but to let a side run then is, and to report it as one guest.
 *
 * Source of the transitions: QEMU 10.0, migration/migration.c (migration_iteration_run,
 * migration_completion, migration_iteration_finish, process_incoming_migration_bh, migrate_cancel),
 * migration/savevm.c (loadvm_postcopy_handle_run_bh), monitor/qmp-cmds.c (qmp_stop, qmp_cont).
 */
#ifndef TESTS_CORE_MIGRATE_FAKE_VM_H
#define TESTS_CORE_MIGRATE_FAKE_VM_H

#include "core/migrate/vm.h"

/* Around each of a side's commands, which are long. */
#define FAKE_COMMAND_BEGIN "virsh"
#define FAKE_COMMAND_END "whole"

enum fake_fault {
    FAKE_NO_FAULT,
    FAKE_REFUSES,     /* the Nth operation is answered with an error, and does nothing */
    FAKE_LOST_BEFORE, /* the Nth operation: the connection is lost before it has been received */
    FAKE_LOST_AFTER,  /* the Nth operation: it has its effect, but the answer is lost */
    FAKE_INTERRUPT,   /* SIGINT during the Nth operation */
    FAKE_SOURCE_DIES,
    FAKE_DESTINATION_DIES,
    FAKE_SOURCE_MUTE, /* from the Nth operation on it lives, and answers nothing */
    FAKE_DESTINATION_MUTE,
    FAKE_SOURCE_SILENT, /* the same, and then it answers again: what it said meanwhile is lost */
    FAKE_DESTINATION_SILENT,
    FAKE_STREAM_BREAKS, /* the network between the two */
    FAKE_STREAM_STALLS, /* … is cut, which neither notices */
    FAKE_LINK_CUT,      /* … and neither does the destination answer us any more */
    FAKE_FAULTS
};

enum { FAKE_LATE_EVENTS = 32 };

struct fake_side {
    struct vm vm; /* first */
    struct fake_pair *pair;
    struct vm_facts facts; /* for probe(), but run and migration, which are: */
    enum vm_run run;
    enum vm_migration migration;
    bool dead, mute, check_refuses;
    int64_t silent_until_ns; /* 0: it was not silent, or what was missed is known */
    struct {
        bool resumed;
        int64_t due_ns;
    } late[FAKE_LATE_EVENTS]; /* said, and still to come here */
    unsigned late_n;
    bool can_prove, configured_to_prove; /* vm.proof, as check() says and configure() saw it */
    bool lags;                           /* moves seldom */
    bool restarts;   /* somebody lets its running guest run again when it is stopped */
    bool configured; /* has our settings */
    uint64_t passes;
};

struct fake_pair {
    struct fake_side source, destination;

    /* how this run goes */
    bool source_paused; /* the guest was stopped before */
    bool never_converges;
    bool load_fails;     /* the destination cannot load the device state, and exits */
    bool fails_softly;   /* … or stays, and says "failed" (exit-on-error=false) */
    bool io_error;       /* it is an I/O error that stops the guest on the source */
    bool resume_unseen;  /* the destination's RESUME never reaches us, nor a later STOP */
    unsigned hesitation; /* of 8: how often the model does nothing when it could move */
    uint32_t seed;       /* of the order in which it moves */
    enum fake_fault fault;
    unsigned fault_at_op;     /* 1: the first operation */
    bool mute_with_it;        /* … and the destination answers nothing from then on */
    bool source_mute_with_it; /* … or the source does not */
    bool then_mute;           /* a destination that was held after the fault answers nothing more */
    int64_t silence_ns;       /* all that falls mute answers again after so long; 0: never */
    bool breaks_afterwards;   /* when the engine has done, the stream breaks */
    bool late_events;         /* what a side says comes up to 240 ms later */

    bool breaks_in_postcopy; /* the stream breaks once, when the source is past its package */
    unsigned recover_fails;  /* so many attempts fail, now at the one side, now at the other */

    /* the stream */
    bool relistens;
    bool listening, connected, broken, stalled, all_sent, package_sent, past_package;
    uint64_t sent_bytes;
    bool return_path; /* the source waits for the destination's word at the end */
    bool start_postcopy, loaded, destination_armed;
    bool
        sent_stopped; /* the guest stood before its last pass: so it arrives, or goes on, stopped */

    /* what happened */
    struct vm_tuning tuned; /* the last */
    unsigned ops;           /* operations so far */
    unsigned changes;       /* those that changed something */
    bool destination_ran;
    bool source_quit, destination_quit;
    bool qemu_race;     /* with a return path QEMU itself may start both sides, and did */
    bool twice_by_qemu; /* … and so it is now: until one of them stands */
    bool both_ran;      /* … and has: whoever says where the guest is, is wrong */
    bool stop_refused;  /* the destination could not be disarmed */
    bool engine_done;   /* fake_pair_quiesce() was called */
    bool answer_lost;   /* of an operation that had its effect */
    bool was_silent;    /* a side did not answer, of those that answer again */
    const char *faulty; /* the operation that met the fault; NULL: none */
    size_t trail_n;
    char trail[4096]; /* operations and moves, for messages */
    bool raised;      /* a signal that the loop has not seen yet */
};

/* All members under "how this run goes" may be set after this, before the run. */
void fake_pair_init(struct fake_pair *p, struct loop *loop);
/* Postcopy that has lost its connection can be taken up again, after so many failures. Before the run. */
void fake_pair_can_recover(struct fake_pair *p, unsigned failures);
void fake_pair_close(struct fake_pair *p);

/* Lets everything happen that still can. */
void fake_pair_quiesce(struct fake_pair *p);

const char *fake_fault_name(enum fake_fault fault);

/*
 * The model's clock stands in for CLOCK_MONOTONIC, and its turns for the waits of the loop: link with
 * -Wl,--wrap=clock_gettime,--wrap=epoll_wait.
 */
int64_t fake_clock_ns(void);

#endif
