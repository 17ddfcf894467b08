/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libvirt's migration (qmp/virt/native_job.h) is the authority: while it has not ended the
 * migration goes on, whatever QEMU says, and when it has, its result is the one. QEMU's own word on
 * the source, by the monitor's passthrough, tells how far it is; on the destination libvirt lets
 * nobody ask before the end.
 *
 * So the destination's vm is mostly a view of the job. Nothing there is armed by us, and nothing
 * starts the guest but libvirt: to make sure that it does not start (run(false)) is to have the job
 * given up, to wait for its end, and then to look. QEMU's RESUME there is timed, and is made known
 * when the job has ended: until then libvirt may still take it back. When the job has failed, RESUME or
 * STOP, or a guest that runs there, means that both sides have run it: libvirt lets the source go on
 * when the last message of its migration, Finish, is lost, and the destination may have obeyed it.
 *
 * Neither side is suspended, resumed or ended by its UUID alone. libvirt says which QEMU it has started
 * there for an incoming migration (its number, in the event "started, migrated"), and that one is
 * ours; the number counts for as long as the connection lives that has brought it, since a restarted
 * libvirtd gives numbers anew. Whatever else runs under the UUID is left alone, and reported.
 */
#include "qmp/virt/vm_native.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/job_stats.h"
#include "qmp/virt/monitor.h"
#include "qmp/virt/native_events.h"
#include "qmp/virt/native_job.h"
#include "qmp/virt/native_set.h"
#include "qmp/vm_qmp.h"

#define NATIVE_ABORT_NS (60 * NS_PER_S)

/* QEMU's events come by libvirt's thread, this much later at most than what libvirt answers. */
#define NATIVE_EVENT_NS (200 * NS_PER_MS)

/* How long a libvirtd that was restarted may take to end what was coming in. */
#define NATIVE_RECOVERY_NS (15 * NS_PER_S)

/* What takes longer than this is no pause any more, but a matter to look into. */
#define NATIVE_PAUSE_NS (2 * NS_PER_S)

struct vm_native {
    struct vm_qmp qmp;
    struct vm_ops ops;
    struct virt_move *move;
    struct vm_native *peer;

    /* the source's */
    struct native_job *job; /* NULL: not begun */
    struct vm_settings settings;
    bool begun; /* QEMU has said so: its status is not of an earlier one */
    struct vm_sample last;
    bool counted; /* it is of the end, as libvirt has it */

    /* the destination's */
    struct native_events *events; /* NULL: none are heard */
};

static struct vm_native *native(struct vm *vm)
{
    return (struct vm_native *)vm;
}

/* ---- the source ---- */

static int native_check(struct vm *vm, const struct vm_settings *s, struct err *e)
{
    if (native_set_check(s, e) < 0)
        return -1;
    vm->proof.can = virt_move_can_prove(&native(vm)->qmp.facts);
    return vm_qmp_check_hypervisor(&native(vm)->qmp, s, e);
}

/* First whether there is such a thing at all: only the source's QEMU can be asked. */
static int native_check_source(struct vm *vm, const struct vm_settings *s, struct err *e)
{
    CLEANUP_SETTINGS struct qmp_settings set = {0};
    struct vm_qmp *q = &native(vm)->qmp;
    qmp_capability_set on, known;
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || vm_qmp_read_settings(q, s, &set, e) < 0)
        return -1;
    if (qmp_query_capabilities(c, &on, &known, e) < 0)
        return err_wrap(e, "%s", vm->role);
    if (native_check(vm, s, e) < 0)
        return -1;
    vm->proof.can = (known & CAP_BIT(CAP_VALIDATE_UUID)) != 0;
    return 0;
}

static int native_configure(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns,
                            struct err *e)
{
    struct vm_native *n = native(vm);
    if (s == NULL)
        return native_set_restore(&n->qmp, e);
    n->settings = *s;
    return native_set_tune(&n->qmp, s, limit_ns, e);
}

static void native_on_end(void *arg)
{
    struct vm_native *n = arg;
    n->qmp.vm.changed = true;
}

static int native_start(struct vm *vm, const char *uri, struct err *e)
{
    struct vm_native *n = native(vm);
    (void)uri; /* libvirt's choice, or in the move */
    vm->seen = (struct vm_seen){0};
    n->qmp.passes = (struct passes){0};
    n->job = native_job_start(vm->loop, n->move, &n->settings, native_on_end, n, e);
    return n->job != NULL ? 0 : -1;
}

/* What QEMU says of a migration that libvirt has not ended yet. */
static void native_read_status(struct vm_native *n, struct vm_sample *s)
{
    if (vm_migration_busy(s->migration))
        n->begun = true;
    else if (!n->begun)
        s->migration = VM_MIGRATION_SETUP;
    else if (s->migration != VM_MIGRATION_COMPLETED)
        s->migration = VM_MIGRATION_CANCELLING; /* libvirt tidies up */
}

/* The source's QEMU is gone before it could be asked at the end: our last sample is of the moment
 * before the pause, or of the begin where the migration was quick. The destination's libvirt was told
 * the end by the source's. Where it was not, what was sent is not known, and not made up. */
static void native_count(struct vm_native *n)
{
    struct virt_job_stats stats;
    struct err none = {0};
    if (n->counted)
        return;
    n->counted = true;
    if (virt_job_completed(&n->move->destination, &stats, &none) == 0 &&
        stats.sample.ram_transferred_bytes >= n->last.ram_transferred_bytes) {
        n->last = stats.sample;
        passes_follow(&n->qmp.passes, &n->last);
    } else if (n->last.migration != VM_MIGRATION_COMPLETED) {
        log_info("libvirt does not report what was sent at the end: %s", none.msg);
        n->last = (struct vm_sample){.downtime_ns = -1};
    }
    n->last.migration = VM_MIGRATION_COMPLETED;
    n->last.run = VM_RUN_MIGRATED;
}

static int native_sample_ended(struct vm_native *n, struct vm_sample *s, struct err *e)
{
    struct err why = {0};
    if (native_job_result(n->job, &why) == 0) {
        native_count(n);
        *s = n->last;
        return 0;
    }
    if (vm_qmp_ops.sample(&n->qmp.vm, s, e) < 0)
        return -1;
    s->migration = why.sys == ECANCELED ? VM_MIGRATION_CANCELLED : VM_MIGRATION_FAILED;
    s->reason = text_keep("%s", why.msg);
    return 0;
}

/* libvirt has commands of its own to send in the pause, one by one: ours would stand in their way. */
static bool native_in_pause(const struct vm_native *n)
{
    const struct vm_seen *seen = &n->qmp.vm.seen;
    return seen->stopped_ns > seen->resumed_ns && !seen->io_error && !n->settings.postcopy &&
           clock_now_ns() - seen->stopped_ns < NATIVE_PAUSE_NS;
}

static int native_sample(struct vm *vm, struct vm_sample *s, struct err *e)
{
    struct vm_native *n = native(vm);
    struct err none = {0};
    if (n->job == NULL)
        return vm_qmp_ops.sample(vm, s, e);
    if (native_job_ended(n->job))
        return native_sample_ended(n, s, e);
    if (native_in_pause(n) || vm_qmp_ops.sample(vm, s, &none) < 0) {
        *s = n->last; /* libvirt's migration goes on */
        return 0;
    }
    native_read_status(n, s);
    n->last = *s;
    return 0;
}

static int native_switch_over(struct vm *vm, struct err *e)
{
    struct virt_move *m = native(vm)->move;
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(&m->source, e);
    if (dom == NULL)
        return -1;
    if (virDomainMigrateStartPostCopy(dom, 0) == 0)
        return 0;
    virt_host_fail(m->source_host, e, "libvirt does not begin postcopy");
    if (e->class == ERR_VIRT)
        e->class = ERR_QMP; /* a clear no */
    return -1;
}

/* *now: what libvirt says of the domain there. */
static int native_look(const struct virt_domain *d, enum vm_run *now, struct err *e)
{
    int state = VIR_DOMAIN_NOSTATE, reason;
    int active = virt_domain_active(d, e);
    if (active < 0)
        return -1;
    *now = VM_RUN_INCOMING; /* there is none: it has not run, and will not */
    if (active == 0)
        return 0;
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(d, e);
    if (dom == NULL)
        return -1;
    if (virDomainGetState(dom, &state, &reason, 0) < 0)
        return virt_host_fail(d->host, e, d->name);
    *now = state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED ? VM_RUN_RUNNING
           : state == VIR_DOMAIN_PAUSED                               ? VM_RUN_STOPPED
                                                                      : VM_RUN_SHUTDOWN;
    return 0;
}

static int native_set_running(const struct virt_domain *d, bool on, enum vm_run *now, struct err *e)
{
    if (native_look(d, now, e) < 0)
        return -1;
    if (*now != (on ? VM_RUN_STOPPED : VM_RUN_RUNNING))
        return 0;
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(d, e);
    if (dom == NULL)
        return -1;
    if ((on ? virDomainResume(dom) : virDomainSuspend(dom)) < 0)
        return virt_host_fail(d->host, e, on ? "cannot resume it" : "cannot suspend it");
    *now = on ? VM_RUN_RUNNING : VM_RUN_STOPPED;
    return 0;
}

/* Of what runs under the domain's UUID: 0 if it is QEMU number `ours`, or nothing runs. */
static int native_prove(const struct virt_domain *d, int ours, struct err *e)
{
    int there = virt_domain_instance(d, e);
    if (e->class != ERR_NONE)
        return -1;
    if (there < 0 || (there == ours && ours >= 0))
        return 0;
    return err_set(e, ERR_REFUSED, 0,
                   "%s: the QEMU that runs as domain %s is not known to be the one of this "
                   "migration, and is left alone",
                   virt_host_role(d->host), d->name);
}

static int native_run_source(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    const struct virt_move *m = native(vm)->move;
    if (native_prove(&m->source, m->source_instance, e) < 0)
        return -1;
    return native_set_running(&m->source, on, now, e);
}

static int native_cancel(struct vm *vm, struct err *e)
{
    struct vm_native *n = native(vm);
    return n->job != NULL ? native_job_abort(n->job, NATIVE_ABORT_NS, e) : 0;
}

/* libvirt has ended it. */
static int native_quit_source(struct vm *vm, struct err *e)
{
    (void)vm;
    (void)e;
    return 0;
}

static void native_close_source(struct vm *vm)
{
    native_job_close(native(vm)->job);
    vm_qmp_ops.close(vm);
}

/* ---- the destination ---- */

static int native_probe_destination(struct vm *vm, struct vm_facts *f, struct err *e)
{
    struct vm_native *n = native(vm);
    if (virt_move_expected_facts(n->move, &n->peer->qmp.facts, f, e) < 0)
        return -1;
    n->qmp.facts = *f;
    return 0;
}

static int native_configure_nothing(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns,
                                    struct err *e)
{
    (void)vm;
    (void)s;
    (void)limit_ns;
    (void)e;
    return 0;
}

/* The number of the QEMU that our job has made; -1: that is not known (any more). */
static int native_made(const struct vm_native *n)
{
    return native_events_whole(n->events) ? native_events_made(n->events) : -1;
}

/* Our job is known to have made nothing there. */
static bool native_made_none(const struct vm_native *n)
{
    return native_events_whole(n->events) && native_events_made(n->events) < 0;
}

/* For the time of the pause. */
static int native_listen(struct vm *vm, const char *uri, struct err *e)
{
    struct vm_native *n = native(vm);
    (void)uri;
    n->events = native_events_open(&n->move->destination, e);
    return n->events != NULL ? 0 : -1;
}

static void native_hear(struct vm_native *n)
{
    native_events_hear(n->events, &n->qmp.vm.seen);
}

static int native_sample_destination(struct vm *vm, struct vm_sample *s, struct err *e)
{
    struct vm_native *n = native(vm);
    const struct native_job *job = n->peer->job;
    struct err why = {0};
    *s = (struct vm_sample){.run = VM_RUN_INCOMING, .migration = VM_MIGRATION_ACTIVE};
    if (job == NULL || !native_job_ended(job))
        return 0;
    if (native_job_result(job, &why) < 0) {
        s->migration = VM_MIGRATION_FAILED;
        s->reason = text_keep("%s", why.msg);
        return 0;
    }
    native_hear(n);
    s->migration = VM_MIGRATION_COMPLETED;
    return native_look(&n->move->destination, &s->run, e);
}

/* A libvirtd that was restarted ends what was coming in when it stopped, but first answers for it as for any other
 * domain, without a word of whose it is: it is given the time. Source: libvirt 12.8, src/qemu/qemu_process.c,
 * qemuProcessReconnect() (a thread for each domain), qemuProcessRecoverMigrationIn(). */
static int native_prove_left_over(struct vm_native *n, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + NATIVE_RECOVERY_NS;
    for (bool first = true;; first = false) {
        struct err why = {0};
        if (native_prove(&n->move->destination, native_made(n), &why) == 0)
            return 0;
        if (why.class != ERR_REFUSED || native_events_whole(n->events) ||
            clock_now_ns() > deadline_ns) {
            *e = why;
            return -1;
        }
        if (first)
            log_info("%s; waiting for the restarted libvirtd to end what was coming in", why.msg);
        loop_sleep(n->qmp.vm.loop, NATIVE_EVENT_NS);
    }
}

/* The job has failed: what is there is left over, or is libvirt's other guest. */
static int native_hold_destination(struct vm_native *n, enum vm_run *now, struct err *e)
{
    struct vm *vm = &n->qmp.vm;
    loop_sleep(vm->loop, NATIVE_EVENT_NS); /* for a word that is on its way */
    *now = VM_RUN_INCOMING;
    if (native_made_none(n)) /* whatever runs there */
        return 0;
    if (native_prove_left_over(n, e) < 0 || native_look(&n->move->destination, now, e) < 0)
        return -1;
    vm->seen.ran |= *now == VM_RUN_RUNNING;
    if (native_set_running(&n->move->destination, false, now, e) < 0)
        return -1;
    loop_sleep(vm->loop, NATIVE_EVENT_NS);
    native_hear(n);
    if (*now == VM_RUN_INCOMING && vm->seen.gap)
        *now = VM_RUN_UNKNOWN; /* it may have been there, and have run */
    return 0;
}

static int native_run_destination(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    struct vm_native *n = native(vm);
    struct native_job *job = n->peer->job;
    struct err why = {0};
    if (job == NULL) {
        *now = VM_RUN_INCOMING;
        return 0;
    }
    if (native_job_abort(job, NATIVE_ABORT_NS, e) < 0)
        return -1;
    bool failed = native_job_result(job, &why) < 0;
    if (failed && !on)
        return native_hold_destination(n, now, e);
    native_hear(n);
    if (on && native_prove(&n->move->destination, native_made(n), e) < 0)
        return -1;
    return on ? native_set_running(&n->move->destination, true, now, e)
              : native_look(&n->move->destination, now, e);
}

/* While the job goes on libvirt may make the domain yet. */
static enum vm_death native_death(struct vm *vm)
{
    struct vm_native *n = native(vm);
    struct err none = {0};
    if (n->peer->job != NULL && !native_job_ended(n->peer->job))
        return VM_DEATH_NO_ANSWER;
    int active = virt_domain_active(&n->move->destination, &none);
    return active < 0 ? VM_DEATH_NO_ANSWER : active > 0 ? VM_DEATH_LIVES : VM_DEATH_NOT_ACTIVE;
}

static int native_quit_destination(struct vm *vm, struct err *e)
{
    struct vm_native *n = native(vm);
    if (n->peer->job == NULL)
        return 0;
    if (native_prove(&n->move->destination, native_made(n), e) < 0)
        return -1;
    return virt_domain_destroy(&n->move->destination, e);
}

static void native_close_destination(struct vm *vm)
{
    native_events_close(native(vm)->events);
    free(vm);
}

/* ---- opening ---- */

static struct vm_native *native_new(struct loop *loop, struct virt_move *m, const char *role,
                                    const struct virt_domain *domain, struct err *e)
{
    struct vm_native *n = calloc(1, sizeof *n);
    if (n == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the %s's side", role);
        return NULL;
    }
    n->move = m;
    n->ops = vm_qmp_ops;
    n->ops.route = "native";
    n->ops.check = native_check;
    vm_qmp_init(&n->qmp, loop, role, &n->ops);
    virt_move_set_commands(domain, &n->qmp.vm.commands);
    return n;
}

struct vm *vm_native_source(struct loop *loop, struct virt_move *m, struct err *e)
{
    struct vm_native *n = native_new(loop, m, "source", &m->source, e);
    if (n == NULL)
        return NULL;
    n->qmp.vm.may_go_on = true;
    n->ops.check = native_check_source;
    n->ops.configure = native_configure;
    n->ops.start = native_start;
    n->ops.sample = native_sample;
    n->ops.switch_over = native_switch_over;
    n->ops.run = native_run_source;
    n->ops.cancel = native_cancel;
    n->ops.quit = native_quit_source;
    n->ops.close = native_close_source;
    virt_monitor_endpoint(&m->source, &n->qmp.ep);
    if (vm_qmp_connect(&n->qmp, e) < 0) {
        free(n);
        return NULL;
    }
    return &n->qmp.vm;
}

struct vm *vm_native_destination(struct loop *loop, struct virt_move *m, struct vm *source,
                                 struct err *e)
{
    struct vm_native *n = native_new(loop, m, "destination", &m->destination, e);
    if (n == NULL)
        return NULL;
    n->ops.probe = native_probe_destination;
    n->ops.configure = native_configure_nothing;
    n->ops.listen = native_listen;
    n->ops.sample = native_sample_destination;
    n->ops.run = native_run_destination;
    n->ops.death = native_death;
    n->ops.quit = native_quit_destination;
    n->ops.close = native_close_destination;
    n->peer = native(source);
    return &n->qmp.vm;
}
