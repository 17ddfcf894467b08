/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of the port, with the faults that they meet; what happens between them is in fake_move.c. */
#include "fake_vm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_move.h"

const char *fake_fault_name(enum fake_fault fault)
{
    static const char *const names[] = {
        [FAKE_NO_FAULT] = "no fault",
        [FAKE_REFUSES] = "refuses",
        [FAKE_LOST_BEFORE] = "lost before",
        [FAKE_LOST_AFTER] = "lost after",
        [FAKE_INTERRUPT] = "interrupt",
        [FAKE_SOURCE_DIES] = "source dies",
        [FAKE_DESTINATION_DIES] = "destination dies",
        [FAKE_SOURCE_MUTE] = "source mute",
        [FAKE_DESTINATION_MUTE] = "destination mute",
        [FAKE_SOURCE_SILENT] = "source silent",
        [FAKE_DESTINATION_SILENT] = "destination silent",
        [FAKE_STREAM_BREAKS] = "stream breaks",
        [FAKE_STREAM_STALLS] = "stream stalls",
        [FAKE_LINK_CUT] = "link cut",
    };
    return names[fault];
}

/* Who connects anew has not heard what was said meanwhile; of a process that ends all is heard. */
static int side_lost(struct fake_side *s, struct err *e)
{
    s->vm.seen.gap |= !s->dead;
    return err_set(e, ERR_LOST, 0, "%s: the connection is lost", s->vm.role);
}

static void pair_fault(struct fake_pair *p)
{
    switch (p->fault) {
    case FAKE_SOURCE_DIES: fake_side_die(&p->source); break;
    case FAKE_DESTINATION_DIES: fake_side_die(&p->destination); break;
    case FAKE_SOURCE_MUTE:
    case FAKE_SOURCE_SILENT: fake_side_fall_silent(&p->source); break;
    case FAKE_DESTINATION_MUTE:
    case FAKE_DESTINATION_SILENT: fake_side_fall_silent(&p->destination); break;
    case FAKE_INTERRUPT: p->raised = raise(SIGINT) == 0; break;
    case FAKE_STREAM_BREAKS:
        p->broken = true;
        if (p->mute_with_it)
            fake_side_fall_silent(&p->destination);
        if (p->source_mute_with_it)
            fake_side_fall_silent(&p->source);
        break;
    case FAKE_STREAM_STALLS: p->stalled = true; break;
    case FAKE_LINK_CUT:
        p->stalled = true;
        fake_side_fall_silent(&p->destination);
        break;
    default: break;
    }
}

/* Every operation begins with it. -1: it fails before it has done anything. */
static int side_begin(struct fake_side *s, const char *name, struct err *e)
{
    struct fake_pair *p = s->pair;
    char words[64];
    snprintf(words, sizeof words, "[%u %s.%s]", ++p->ops, s == &p->source ? "S" : "D", name);
    fake_pair_maybe_move(p);
    fake_pair_note(p, words);
    bool faulty = p->ops == p->fault_at_op;
    if (!fake_side_is_silent(s) && s->silent_until_ns != 0) { /* it answers again */
        s->silent_until_ns = 0;
        s->vm.seen.gap = true;
    }
    if (faulty) {
        p->faulty = name;
        fake_pair_note(p, "!");
        fake_pair_note(p, fake_fault_name(p->fault));
        pair_fault(p);
    }
    fake_pair_assert(p);
    if (s->dead || fake_side_is_silent(s) || (faulty && p->fault == FAKE_LOST_BEFORE))
        return side_lost(s, e);
    if (faulty && p->fault == FAKE_REFUSES)
        return err_set(e, ERR_QMP, 0, "%s: %s: refused", s->vm.role, name);
    return 0;
}

/* … and ends with it. */
static int side_end(struct fake_side *s, struct err *e)
{
    struct fake_pair *p = s->pair;
    fake_pair_assert(p);
    if (p->ops == p->fault_at_op && p->fault == FAKE_LOST_AFTER) {
        p->answer_lost = true;
        return side_lost(s, e);
    }
    return 0;
}

static struct fake_side *side(struct vm *vm)
{
    return (struct fake_side *)vm;
}

static int fake_probe(struct vm *vm, struct vm_facts *f, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "probe", e) < 0)
        return -1;
    *f = s->facts;
    f->run = s->run;
    f->migration = s->migration;
    return side_end(s, e);
}

static int fake_check(struct vm *vm, const struct vm_settings *set, struct err *e)
{
    (void)set;
    struct fake_side *s = side(vm);
    if (side_begin(s, "check", e) < 0)
        return -1;
    if (s->check_refuses)
        return err_set(e, ERR_REFUSED, 0, "%s: this cannot be done", vm->role);
    vm->proof.can = s->can_prove;
    return side_end(s, e);
}

static int fake_configure(struct vm *vm, const struct vm_settings *set, int64_t *limit_ns,
                          struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, set == NULL ? "restore" : "configure", e) < 0)
        return -1;
    p->changes++;
    s->configured = set != NULL;
    if (set != NULL) {
        *limit_ns = 300 * NS_PER_MS;
        s->configured_to_prove = vm->proof.on;
        p->return_path = set->postcopy || p->source.vm.may_go_on;
    }
    if (side_end(s, e) < 0) {
        s->configured = false; /* as the contract of a failing configure() wants it */
        return -1;
    }
    return 0;
}

static int fake_listen(struct vm *vm, const char *uri, struct err *e)
{
    (void)uri;
    struct fake_side *s = side(vm);
    if (side_begin(s, "listen", e) < 0)
        return -1;
    s->pair->changes++;
    s->pair->listening = s->pair->destination_armed = true;
    return side_end(s, e);
}

static int fake_start(struct vm *vm, const char *uri, struct err *e)
{
    (void)uri;
    struct fake_side *s = side(vm);
    if (side_begin(s, "start", e) < 0)
        return -1;
    s->pair->changes++;
    s->vm.seen = (struct vm_seen){0};
    s->migration = VM_MIGRATION_SETUP;
    fake_pair_maybe_move(s->pair);
    return side_end(s, e);
}

static int fake_sample(struct vm *vm, struct vm_sample *out, struct err *e)
{
    struct fake_side *s = side(vm);
    *out = (struct vm_sample){0};
    if (side_begin(s, "sample", e) < 0)
        return -1;
    out->migration = s->migration;
    out->passes = s->passes;
    if (s->pair->never_converges && s->passes > 2 && s == &s->pair->source) {
        out->stuck_passes = (unsigned)s->passes - 2;
        out->dirty_bytes_per_s = out->bandwidth_bytes_per_s = 10 << 20;
        out->ram_remaining_bytes = 100 << 20;
    }
    out->pass_bytes = out->ram_remaining_bytes;
    out->ram_total_bytes = UINT64_C(1) << 30;
    out->ram_transferred_bytes = s->pair->sent_bytes;
    fake_pair_maybe_move(s->pair); /* query-migrate and query-status are two commands */
    if (s->dead)
        return side_lost(s, e);
    out->run = s->run;
    return side_end(s, e);
}

static int fake_tune(struct vm *vm, const struct vm_tuning *t, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "tune", e) < 0)
        return -1;
    s->pair->changes++;
    s->pair->tuned = *t;
    return side_end(s, e);
}

static int fake_switch_over(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "switch_over", e) < 0)
        return -1;
    if (s->migration == VM_MIGRATION_SETUP || s->migration == VM_MIGRATION_NONE)
        return err_set(e, ERR_QMP, 0, "no migration");
    s->pair->changes++;
    s->pair->start_postcopy = true; /* the migration thread looks at it at its next turn */
    return side_end(s, e);
}

static bool side_notices(struct fake_side *s)
{
    if (s->dead || s->migration != VM_MIGRATION_POSTCOPY)
        return false;
    s->migration = VM_MIGRATION_PAUSED;
    s->vm.changed = true;
    return true;
}

/* Source of the rules: QEMU 10.0, migration/migration.c, qmp_migrate_pause(), qmp_migrate_recover(),
 * migrate_prepare(). */
static int fake_recover(struct vm *vm, const char *uri, unsigned *port, struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    bool source = s == &p->source;
    if (side_begin(s, uri == NULL ? "pause" : "recover", e) < 0)
        return -1;
    p->changes++;
    if (uri == NULL) {
        if (!side_notices(s))
            return err_set(e, ERR_QMP, 0, "migrate-pause is only for postcopy");
        p->broken = true; /* the other one notices in its time */
        return side_end(s, e);
    }
    if (s->migration != VM_MIGRATION_PAUSED)
        return err_set(e, ERR_QMP, 0, "%s: postcopy is not paused", vm->role);
    if (p->recover_fails > 0 && (p->recover_fails % 2 == 0 || source)) {
        p->recover_fails--;
        return err_set(e, ERR_QMP, 0, "%s: not now", vm->role);
    }
    if (!source) {
        p->relistens = true;
    } else if (p->relistens && !p->destination.dead &&
               p->destination.migration == VM_MIGRATION_PAUSED) {
        p->broken = p->stalled = p->relistens = false;
        s->migration = p->destination.migration = VM_MIGRATION_POSTCOPY;
    }
    if (port != NULL)
        *port = 4445;
    return side_end(s, e);
}

static int destination_run(struct fake_side *d, bool on)
{
    struct fake_pair *p = d->pair;
    if (on && d->run == VM_RUN_STOPPED && p->source.run == VM_RUN_RUNNING && !p->source.dead)
        fail_msg("the destination was let run beside the source:%s", p->trail);
    if (d->run == VM_RUN_INCOMING)
        p->destination_armed = on;
    else if (on)
        fake_side_resume(d);
    else if (d->run == VM_RUN_RUNNING) {
        d->run = VM_RUN_STOPPED;
        fake_side_says(d, false);
    }
    return 0;
}

/* QEMU heeds it only while the guest runs. */
static void source_halt(struct fake_side *s)
{
    if (s->run != VM_RUN_RUNNING)
        return;
    s->run = VM_RUN_STOPPED;
    fake_side_says(s, false);
}

static int fake_run(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, on ? "cont" : "stop", e) < 0) {
        p->stop_refused |= !on;
        return -1;
    }
    p->changes++;
    bool ran = s->run == VM_RUN_RUNNING;
    if (s == &p->destination)
        destination_run(s, on);
    else if (on && s->run == VM_RUN_FINISHING)
        return err_set(e, ERR_QMP, 0, "cont: Migration is not finalized yet");
    else if (on && p->destination_ran)
        fail_msg("the source was let run a guest that has run on the destination:%s", p->trail);
    else if (on)
        fake_side_resume(s);
    else
        source_halt(s);
    fake_pair_assert(p);
    fake_pair_maybe_move(p); /* query-status is a second command */
    if (s->restarts && !on && ran)
        fake_side_resume(s);
    if (s->dead)
        return side_lost(s, e);
    *now = s->run;
    if (p->then_mute && s == &p->destination && p->ops > p->fault_at_op)
        fake_side_fall_silent(s);
    return side_end(s, e);
}

static bool side_settled(const struct fake_side *s)
{
    return s->migration == VM_MIGRATION_NONE || s->migration == VM_MIGRATION_CANCELLED ||
           s->migration == VM_MIGRATION_FAILED || s->migration == VM_MIGRATION_COMPLETED;
}

/* migrate_cancel: what has been written to the socket still arrives. */
static int fake_cancel(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    struct fake_pair *p = s->pair;
    if (side_begin(s, "cancel", e) < 0)
        return -1;
    p->changes++;
    if (!side_settled(s)) {
        s->migration = VM_MIGRATION_CANCELLING;
        p->broken = true;
    }
    for (int i = 0; i < 1000 && !side_settled(s) && !s->dead; i++)
        fake_pair_move(p);
    if (s->dead)
        return side_lost(s, e);
    if (!side_settled(s))
        return err_set(e, ERR_TIMEOUT, 0, "the cancelled migration does not end");
    return side_end(s, e);
}

static enum vm_death fake_death(struct vm *vm)
{
    struct fake_side *s = side(vm);
    if (s->dead)
        fake_side_hear_all(s);
    return s->dead                  ? VM_DEATH_PROCESS_GONE
           : fake_side_is_silent(s) ? VM_DEATH_NO_ANSWER
                                    : VM_DEATH_LIVES;
}

static int fake_quit(struct vm *vm, struct err *e)
{
    struct fake_side *s = side(vm);
    if (side_begin(s, "quit", e) < 0)
        return -1;
    s->pair->changes++;
    s->pair->source_quit |= s == &s->pair->source;
    s->pair->destination_quit |= s == &s->pair->destination;
    fake_side_die(s);
    fake_pair_assert(s->pair);
    return side_end(s, e);
}

static void fake_close(struct vm *vm)
{
    (void)vm;
}

static const struct vm_ops fake_ops = {
    .route = "fake",
    .probe = fake_probe,
    .check = fake_check,
    .configure = fake_configure,
    .listen = fake_listen,
    .start = fake_start,
    .sample = fake_sample,
    .tune = fake_tune,
    .switch_over = fake_switch_over,
    .run = fake_run,
    .cancel = fake_cancel,
    .death = fake_death,
    .quit = fake_quit,
    .close = fake_close,
};

static struct vm_ops fake_ops_that_recover(void)
{
    struct vm_ops ops = fake_ops;
    ops.recover = fake_recover;
    return ops;
}

void fake_pair_can_recover(struct fake_pair *p, unsigned failures)
{
    static struct vm_ops ops;
    ops = fake_ops_that_recover();
    p->source.vm.ops = p->destination.vm.ops = &ops;
    p->source.vm.commands.recover = FAKE_COMMAND_BEGIN " source-recover " FAKE_COMMAND_END;
    p->destination.vm.commands.recover = FAKE_COMMAND_BEGIN
        " destination-recover " FAKE_COMMAND_END;
    p->recover_fails = failures;
}

/* As long as commands with long names and URIs are; each ends in a word that shows it is whole. */
#define LONG_50 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
#define LONG_400 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50
#define COMMAND(what) FAKE_COMMAND_BEGIN " " what " " LONG_400 LONG_400 " " FAKE_COMMAND_END
#define COMMANDS(side)                                                                             \
    {                                                                                              \
        .look = COMMAND(side "-look"), .end = COMMAND(side "-end"), .stop = COMMAND(side "-stop"), \
        .go_on = COMMAND(side "-go-on"),                                                           \
    }

static void side_init(struct fake_pair *p, struct fake_side *s, struct loop *loop, const char *role,
                      enum vm_run run)
{
    *s = (struct fake_side){.vm = {.ops = &fake_ops,
                                   .loop = loop,
                                   .role = role,
                                   .commands = s == &p->source
                                                   ? (struct vm_commands)COMMANDS("source")
                                                   : (struct vm_commands)COMMANDS("destination")},
                            .pair = p,
                            .run = run,
                            .facts = {.hypervisor = "QEMU 10.0.0",
                                      .version = {10, 0, 0},
                                      .machine = "pc-q35-10.0",
                                      .ram_bytes = 1 << 28,
                                      .vcpus = 2,
                                      .peer_pid = s == &p->source ? 10 : 11}};
}

void fake_pair_init(struct fake_pair *p, struct loop *loop)
{
    *p = (struct fake_pair){.seed = 1};
    side_init(p, &p->source, loop, "source", VM_RUN_RUNNING);
    side_init(p, &p->destination, loop, "destination", VM_RUN_INCOMING);
    fake_clock_start(p);
}

void fake_pair_close(struct fake_pair *p)
{
    fake_clock_stop(p);
}
