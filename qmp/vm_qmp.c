/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One side of a migration is one QMP connection. It may be lost while QEMU lives (ssh, a restarted
 * proxy), so each operation takes the client through vm_qmp_client(), which connects anew if need
 * be; what QEMU did meanwhile is seen by the next sample, and only the arrival times are lost. Who
 * answers then must be the QEMU that was probed, and not one that was started in its place, or beside it: its
 * process must live, and be the one at the other end; and version, UUID and first vCPU's thread must be
 * the same. A container gives the same threads to the next QEMU in it, so these alone can only tell another one.
 *
 * The return path stays off in a pure precopy, on purpose. With it, a source that has sent all of
 * the guest still waits for the destination's word, and starts the guest again by itself if the
 * connection breaks just then, while the destination may be running it already: two guests on one
 * image. Without it the source is done when it has handed over the last byte, and never runs again
 * unless we tell it to. What is lost is that QEMU's "downtime" then ends at the last byte sent; we
 * time the pause by the events STOP and RESUME anyhow.
 * Source: QEMU 10.0, migration/migration.c, migration_completion(), migration_iteration_finish().
 *
 * A source with a gate (vm_qmp.gated) has pause-before-switchover: QEMU stops the guest, says so, and
 * keeps the last of it until migrate-continue, which we send from within the event. It costs the
 * pause this one round trip to the source's QEMU. What it is for: a godwit that is killed in precopy
 * leaves a source that stands at its gate, where QEMU refuses `cont` ("Migration is not finalized
 * yet"), and a destination that cannot start; while without it the guest would arrive there by
 * itself, and one `cont` at the source, which is merely paused, would make it run twice.
 * Source: QEMU 10.0, migration/migration.c, migration_maybe_pause(); monitor/qmp-cmds.c, qmp_cont().
 */
#include "qmp/vm_qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/command.h"
#include "qmp/field.h"

#define VM_OPEN_TIMEOUT_NS (10 * NS_PER_S)
#define VM_REOPEN_TIMEOUT_NS (3 * NS_PER_S)
#define VM_CANCEL_TIMEOUT_NS (30 * NS_PER_S)
#define VM_POLL_NS (20 * NS_PER_MS)

static struct vm_qmp *vm_qmp(struct vm *vm)
{
    return (struct vm_qmp *)vm;
}

/* STOP, and the states that a migration goes through in the pause, are noted, and call for nothing:
 * a query would only be in the way of the pause's end. */
static void vm_qmp_on_event(void *arg, const char *name, struct json_object *data)
{
    struct vm_qmp *q = arg;
    if (name == NULL || strcmp(name, "RESUME") == 0) {
        if (name != NULL)
            q->vm.seen.resumed_ns = clock_now_ns();
        q->vm.changed = true;
        q->io_error = q->vm.seen.io_error = false;
    } else if (strcmp(name, "BLOCK_IO_ERROR") == 0) {
        q->io_error = q->io_error || qmp_io_error_stops(data);
    } else if (strcmp(name, "STOP") == 0) {
        q->vm.seen.stopped_ns = clock_now_ns();
        q->vm.seen.io_error = q->io_error;
        q->io_error = false;
    } else if (strcmp(name, "MIGRATION") == 0) {
        if (q->gate_open && qmp_migration_at_gate(data))
            qmp_migrate_continue(q->client);
        if (qmp_migration_is_sent(data))
            q->vm.seen.sent_ns = clock_now_ns();
        q->vm.changed = q->vm.changed || !qmp_migration_in_pause(data);
    }
}

/* True if there is no connection (any more). */
static bool vm_qmp_cut_off(struct vm_qmp *q)
{
    if (q->client != NULL && !qmp_client_lost(q->client))
        return false;
    if (q->client != NULL && !qmp_client_ended_by_peer(q->client))
        q->vm.seen.gap = true;
    qmp_client_close(q->client);
    q->client = NULL;
    return true;
}

/* Of libvirt's connection the error says whose it is already. */
static int vm_qmp_not_connected(const struct vm_qmp *q, struct err *e)
{
    return q->ep.scheme == QMP_CARRIED ? -1 : err_wrap(e, "%s", q->vm.role);
}

static int vm_qmp_unproven(const struct vm_qmp *q, struct err *e)
{
    return err_set(e, ERR_LOST, 0,
                   "%s: a QEMU answers, but whether it is the one from before is "
                   "not known: its process could not be checked",
                   q->ep.text);
}

static int vm_qmp_other(const struct vm_qmp *q, struct err *e)
{
    return err_set(e, ERR_LOST, 0, "%s: a different QEMU answers than before", q->ep.text);
}

/* The process that was probed, where it is known, must live. */
static int vm_qmp_check_lives(struct vm_qmp *q, struct err *e)
{
    enum vm_death death = q->process.pid > 0 ? qmp_process_look(&q->process) : VM_DEATH_LIVES;
    return death == VM_DEATH_LIVES       ? 0
           : death == VM_DEATH_NO_ANSWER ? vm_qmp_unproven(q, e)
                                         : vm_qmp_other(q, e);
}

/* … and be who answers. */
static int vm_qmp_check_answers(struct vm_qmp *q, struct qmp_client *c, struct err *e)
{
    if (q->process.pid == 0)
        return 0;
    int same = qmp_process_answers(&q->process, &q->ep, qmp_client_link(c), q->thread);
    return same > 0 ? 0 : same < 0 ? vm_qmp_unproven(q, e) : vm_qmp_other(q, e);
}

/* Libvirt's word about its domain is enough; it starts no other in its place. */
static int vm_qmp_check_same(struct vm_qmp *q, struct qmp_client *c, struct err *e)
{
    int64_t thread = 0;
    struct qmp_version v;
    char uuid[sizeof q->facts.uuid];
    unsigned n;
    if (!q->probed || q->ep.scheme == QMP_CARRIED)
        return 0;
    if (vm_qmp_check_lives(q, e) < 0 || qmp_query_version(c, &v, e) < 0 ||
        qmp_query_vcpus(c, &n, &thread, e) < 0 || qmp_query_uuid(c, uuid, sizeof uuid, e) < 0)
        return -1;
    if (thread != q->thread || strcmp(uuid, q->facts.uuid) != 0 ||
        memcmp(v.at, q->facts.version, sizeof v.at) != 0)
        return vm_qmp_other(q, e);
    return vm_qmp_check_answers(q, c, e);
}

struct qmp_client *vm_qmp_client(struct vm_qmp *q, struct err *e)
{
    if (!vm_qmp_cut_off(q))
        return q->client;
    q->client =
        qmp_client_open(q->vm.loop, &q->ep, VM_REOPEN_TIMEOUT_NS, false, vm_qmp_on_event, q, e);
    if (q->client == NULL || vm_qmp_check_same(q, q->client, e) < 0) {
        qmp_client_close(TAKE(q->client));
        vm_qmp_not_connected(q, e);
        return NULL;
    }
    log_info("%s: connected again", q->vm.role);
    q->vm.seen.gap = true; /* it lived on meanwhile, and may have spoken */
    return q->client;
}

static int vm_qmp_probe(struct vm *vm, struct vm_facts *f, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    struct qmp_client *c = vm_qmp_client(q, e);
    struct qmp_version v;
    struct vm_sample s = {0};
    *f = (struct vm_facts){0};
    if (c == NULL)
        return -1;
    if (qmp_query_version(c, &v, e) < 0 || qmp_query_status(c, &f->run, e) < 0 ||
        qmp_query_migrate(c, &s, e) < 0 ||
        qmp_query_machine(c, f->machine, sizeof f->machine, e) < 0 ||
        qmp_query_ram(c, &f->ram_bytes, e) < 0 ||
        qmp_query_vcpus(c, &f->vcpus, &q->thread, e) < 0 || qmp_query_kvm(c, &f->kvm, e) < 0 ||
        qmp_query_uuid(c, f->uuid, sizeof f->uuid, e) < 0)
        return err_wrap(e, "%s: %s", vm->role, q->ep.text);
    memcpy(f->version, v.at, sizeof f->version);
    snprintf(f->hypervisor, sizeof f->hypervisor, "QEMU %d.%d.%d", v.at[0], v.at[1], v.at[2]);
    f->migration = s.migration;
    qmp_process_find(&q->process, &q->ep, qmp_client_link(c), q->thread);
    if (q->ep.scheme != QMP_SSH)
        f->peer_pid = q->process.pid;
    q->facts = *f;
    q->probed = true;
    return 0;
}

static int vm_qmp_listen(struct vm *vm, const char *uri, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(vm_qmp(vm), e);
    if (c == NULL)
        return -1;
    /* In INMIGRATE, cont only sets "start when loaded": no round trip of ours in the pause. It goes
     * out first, so that there is no moment in which a stream could be loaded and stay stopped. */
    vm_qmp(vm)->armed = true;
    vm->commands.recover = vm_qmp_recover_command(vm_qmp(vm), uri);
    if (qmp_cont(c, e) < 0 || qmp_migrate_incoming(c, uri, e) < 0)
        return err_wrap(e, "%s", vm->role);
    return 0;
}

static int vm_qmp_start(struct vm *vm, const char *uri, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(vm_qmp(vm), e);
    if (c == NULL)
        return -1;
    vm->seen = (struct vm_seen){0};
    vm->commands.recover = vm_qmp_recover_command(vm_qmp(vm), uri);
    vm_qmp(vm)->passes = (struct passes){0};
    vm_qmp(vm)->gate_open = vm_qmp(vm)->gated;
    return qmp_migrate(c, uri, e) < 0 ? err_wrap(e, "%s", vm->role) : 0;
}

static int vm_qmp_sample(struct vm *vm, struct vm_sample *s, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    *s = (struct vm_sample){0};
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL)
        return -1;
    if (qmp_query_migrate(c, s, e) < 0 || qmp_query_run(c, &s->run, &s->io_error, e) < 0)
        return err_wrap(e, "%s", vm->role);
    passes_follow(&q->passes, s);
    /* the word that it stands there may never have come: libvirtd was restarting */
    if (q->gate_open && s->migration == VM_MIGRATION_ACTIVE && s->run == VM_RUN_FINISHING)
        qmp_migrate_continue(c);
    return 0;
}

static int vm_qmp_tune(struct vm *vm, const struct vm_tuning *t, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(vm_qmp(vm), e);
    if (c == NULL)
        return -1;
    vm_qmp(vm)->limited = vm_qmp(vm)->limited || t->vcpus > 0;
    return qmp_tune(c, t, e) < 0 ? err_wrap(e, "%s", vm->role) : 0;
}

static int vm_qmp_switch_over(struct vm *vm, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(vm_qmp(vm), e);
    if (c == NULL)
        return -1;
    return qmp_migrate_start_postcopy(c, e) < 0 ? err_wrap(e, "%s", vm->role) : 0;
}

static int vm_qmp_recover(struct vm *vm, const char *uri, unsigned *port, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL)
        return -1;
    int rc = uri == NULL ? qmp_migrate_pause(c, e)
             : q->armed  ? qmp_migrate_recover(c, uri, e)
                         : qmp_migrate_resume(c, uri, e);
    if (rc == 0 && port != NULL)
        rc = qmp_query_incoming_port(c, port, e);
    return rc < 0 ? err_wrap(e, "%s", vm->role) : 0;
}

static int vm_qmp_run(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL)
        return -1;
    if (!on && q->armed) { /* where RESUME was not heard this tells, and STOP the rest */
        if (qmp_query_status(c, now, e) < 0)
            return err_wrap(e, "%s", vm->role);
        vm->seen.ran |= *now == VM_RUN_RUNNING;
    }
    if ((on ? qmp_cont(c, e) : qmp_stop(c, e)) < 0 || qmp_query_status(c, now, e) < 0)
        return err_wrap(e, "%s", vm->role);
    return 0;
}

static int vm_qmp_cancel(struct vm *vm, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    struct vm_sample s;
    struct qmp_client *c = vm_qmp_client(q, e);
    int64_t deadline_ns = clock_now_ns() + VM_CANCEL_TIMEOUT_NS;
    q->gate_open = false;
    if (c == NULL)
        return -1;
    if (qmp_migrate_cancel(c, e) < 0)
        return err_wrap(e, "%s", vm->role);
    while (vm_qmp_sample(vm, &s, e) == 0) {
        if (!vm_migration_busy(s.migration))
            return 0;
        if (clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "%s: the cancelled migration did not end", vm->role);
        loop_sleep(vm->loop, VM_POLL_NS);
    }
    return -1;
}

/*
 * One look. A process that could be found is looked at, here or over ssh. Of a domain libvirt's word
 * counts. Else there is no proof: a closing QEMU may accept and hang up, files get removed, and what
 * refuses may be a forwarder, a proxy that has ended, or a firewall. *again: it may be about to end.
 */
static enum vm_death vm_qmp_look(struct vm_qmp *q, bool *again)
{
    struct err e = {0};
    *again = true;
    if (q->ep.scheme == QMP_CARRIED) {
        int active = q->ep.carrier->active(q->ep.target, &e);
        *again = false;
        return active == 0 ? VM_DEATH_NOT_ACTIVE : active > 0 ? VM_DEATH_LIVES : VM_DEATH_NO_ANSWER;
    }
    if (q->process.pid > 0) {
        enum vm_death death = qmp_process_look(&q->process);
        *again = death == VM_DEATH_LIVES && vm_qmp_cut_off(q);
        return death;
    }
    *again = false;
    return vm_qmp_client(q, &e) != NULL ? VM_DEATH_LIVES : VM_DEATH_NO_ANSWER;
}

/* Before a proven answer all that it had said has been read: its last word may be RESUME. */
static enum vm_death vm_qmp_death(struct vm *vm)
{
    struct vm_qmp *q = vm_qmp(vm);
    enum vm_death death = VM_DEATH_NO_ANSWER;
    bool again = true;
    for (int try = 0; try < 20 && again; try++) {
        if (try > 0)
            loop_sleep(vm->loop, 100 * NS_PER_MS);
        death = vm_qmp_look(q, &again);
        if (!vm_death_proven(death))
            continue;
        if (vm_qmp_cut_off(q))
            return death;
        again = true;
    }
    return vm_death_proven(death) ? VM_DEATH_NO_ANSWER : death;
}

static int vm_qmp_quit(struct vm *vm, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(vm_qmp(vm), e);
    if (c == NULL)
        return -1;
    if (qmp_quit(c, e) < 0) {
        /* it may be gone before its answer is */
        if (e->class != ERR_LOST)
            return err_wrap(e, "%s", vm->role);
        err_clear(e);
    }
    return 0;
}

static void vm_qmp_close(struct vm *vm)
{
    qmp_client_close(vm_qmp(vm)->client);
    qmp_process_close(&vm_qmp(vm)->process);
    json_object_put(vm_qmp(vm)->old_set);
    free(vm);
}

const struct vm_ops vm_qmp_ops = {
    .route = "qmp",
    .probe = vm_qmp_probe,
    .check = vm_qmp_check,
    .configure = vm_qmp_configure,
    .listen = vm_qmp_listen,
    .start = vm_qmp_start,
    .sample = vm_qmp_sample,
    .tune = vm_qmp_tune,
    .switch_over = vm_qmp_switch_over,
    .recover = vm_qmp_recover,
    .run = vm_qmp_run,
    .cancel = vm_qmp_cancel,
    .death = vm_qmp_death,
    .quit = vm_qmp_quit,
    .close = vm_qmp_close,
};

void vm_qmp_init(struct vm_qmp *q, struct loop *loop, const char *role, const struct vm_ops *ops)
{
    q->vm = (struct vm){.ops = ops, .loop = loop, .role = role};
}

int vm_qmp_connect(struct vm_qmp *q, struct err *e)
{
    q->client =
        qmp_client_open(q->vm.loop, &q->ep, VM_OPEN_TIMEOUT_NS, true, vm_qmp_on_event, q, e);
    return q->client != NULL ? 0 : vm_qmp_not_connected(q, e);
}

struct vm *vm_qmp_open(struct loop *loop, const struct qmp_endpoint *ep, const char *role,
                       struct err *e)
{
    CLEANUP_FREE struct vm_qmp *q = calloc(1, sizeof *q);
    if (q == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the %s's side", role);
        return NULL;
    }
    vm_qmp_init(q, loop, role, &vm_qmp_ops);
    q->ep = *ep;
    q->gated = strcmp(role, "source") == 0;
    vm_qmp_set_commands(q);
    return vm_qmp_connect(q, e) == 0 ? &TAKE(q)->vm : NULL;
}
