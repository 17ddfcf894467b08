/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Both sides are QEMUs whose monitor is reached through libvirt (qmp/vm_qmp.c over
 * qmp/virt/monitor.c). What is different here:
 *
 *   - The destination does not exist when it is probed. configure() has libvirt make it, paused,
 *     from the source's migratable XML with "-incoming defer" added; the engine ends it when the
 *     guest stays (plan.quit_destination).
 *   - It is armed by configure(), before it listens, by virDomainResume(), not by a `cont` of ours: to QEMU this is the same, but
 *     libvirt's lock manager, where there is one, refuses it then, since the source holds the
 *     lease. That comes as ERR_REFUSED, before anything has been sent, and the native route is to
 *     be taken. libvirt holds the domain for paused until QEMU says RESUME, which is the truth. For
 *     that reason virDomainSuspend() would do nothing: it is disarmed by QMP.
 *   - The destination is told a port, or chooses one and says so; the source is told that.
 *   - The source is ended by virDomainDestroy(), when the guest is known to run elsewhere.
 *
 *   - Each round trip to the destination's libvirt is one that the user waits for. What does not need each other is
 *     asked at the same time (qmp/virt/at_once.h, qmp_client_calls()); a test counts them (bench/rounds).
 *
 *   - The source has a gate (qmp/vm_qmp.h), which is closed before the destination is disarmed.
 *
 * If godwit is killed in precopy, the source stands at its gate in the end, and cannot be resumed:
 * only migrate_cancel lets it go on, and that ends the destination. If it is killed after that, in
 * the few milliseconds of the pause or before the source has been ended, the guest arrives on the
 * destination, and the source stays stopped, with its migration completed. Nobody must resume it
 * then: a process of its own (qmp/virt/guard.h) ends it.
 */
#include "qmp/virt/vm_direct.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/at_once.h"
#include "qmp/virt/guard.h"
#include "qmp/virt/incoming.h"
#include "qmp/virt/mark.h"
#include "qmp/virt/monitor.h"
#include "qmp/vm_qmp.h"

/* How long libvirt may take to make a domain for a client that it has lost. */
#define DIRECT_WITHDRAW_NS (10 * NS_PER_S)
#define DIRECT_WITHDRAW_TICK_NS (200 * NS_PER_MS)

struct vm_direct {
    struct vm_qmp qmp;
    struct vm_ops ops;
    struct virt_move *move;
    const struct virt_domain *domain;
    struct virt_guard *guard; /* of the source; NULL: none */
    struct vm_direct *peer;   /* of the destination: the source; and the other way round */
    char stream[300];         /* of the destination: where it listens, once it does */
    bool tidied;       /* of the destination: nothing of the migration is left with it, … */
    struct err untidy; /* … but for this */
};

static struct vm_direct *direct(struct vm *vm)
{
    return (struct vm_direct *)vm;
}

/* ---- what is done at the same time ---- */

/* What libvirt is asked while its QEMU is asked something else. All its own: it may outlive the move. */
struct direct_aside {
    struct virt_domain domain;
    char id[VIRT_UUID_TEXT];
    bool covered;
    int ours;                /* virt_mark_is() */
    struct err marked, done; /* `done`: of what was to be done to it */
};

static struct direct_aside *direct_aside(const struct vm_direct *d, struct err *e)
{
    struct direct_aside *a = calloc(1, sizeof *a);
    if (a == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the %s's side", d->qmp.vm.role);
        return NULL;
    }
    a->domain = *d->domain;
    memcpy(a->id, d->move->id, sizeof a->id);
    return a;
}

static void direct_ask_unmark(void *arg)
{
    struct direct_aside *a = arg;
    virt_mark_clear(&a->domain, &a->done);
}

/* Of a destination that has the guest. */
static void direct_tidy(struct vm_direct *d)
{
    static virt_ask_fn *const asks[] = {direct_ask_unmark};
    struct err unmarked = {0};
    if (d->tidied)
        return;
    d->tidied = true;
    struct direct_aside *own = direct_aside(d, &unmarked);
    struct virt_at_once *aside =
        own == NULL ? NULL
                    : virt_at_once_begin(d->move->destination_host, asks, 1, own, free, &unmarked);
    vm_qmp_ops.configure(&d->qmp.vm, NULL, NULL, &d->untidy);
    CLEANUP_FREE struct direct_aside *said = virt_at_once_end(aside, &unmarked);
    if (said != NULL)
        unmarked = said->done;
    if (unmarked.class != ERR_NONE)
        log_warn("%s", unmarked.msg);
}

static void direct_ask_end(void *arg)
{
    struct direct_aside *a = arg;
    virt_mark_destroy(&a->domain, a->id, &a->done);
}

/* The guest has moved. That the source ends is the first thing; while libvirt ends it, which takes a while, the
 * destination is tidied, which takes round trips. Only the QEMU of this migration is ended: the mark is on it. */
static int direct_quit_source(struct vm *vm, struct err *e)
{
    static virt_ask_fn *const asks[] = {direct_ask_end};
    struct vm_direct *d = direct(vm);
    struct direct_aside *own = direct_aside(d, e);
    if (own == NULL)
        return -1;
    struct virt_at_once *aside = virt_at_once_begin(d->move->source_host, asks, 1, own, free, e);
    direct_tidy(d->peer);
    CLEANUP_FREE struct direct_aside *said = virt_at_once_end(aside, e);
    if (said == NULL)
        return -1;
    *e = said->done;
    return e->class == ERR_NONE ? 0 : -1;
}

/* ---- the source ---- */

/* Not to have one is no reason not to migrate: the mark is there. */
static void direct_unguarded(struct vm_direct *d, const struct err *why)
{
    log_warn(
        "no guard: if godwit is killed in the switchover the source must not be resumed by hand: %s",
        why->msg);
    virt_guard_end(TAKE(d->guard));
}

static void direct_start_guard(struct vm_direct *d)
{
    struct err e = {0};
    if (d->move->options->guard == NULL)
        return;
    d->guard = virt_guard_start(d->move->options->guard, d->move, &e);
    if (d->guard == NULL)
        direct_unguarded(d, &e);
}

static void direct_arm_guard(struct vm_direct *d)
{
    struct err e = {0};
    if (d->guard != NULL && virt_guard_arm(d->guard, &e) < 0)
        direct_unguarded(d, &e);
}

static int direct_start(struct vm *vm, const char *uri, struct err *e)
{
    (void)uri; /* the destination has chosen */
    direct_arm_guard(direct(vm));
    return vm_qmp_ops.start(vm, direct(vm)->peer->stream, e);
}

/* Told before they are set: one that knows of none that are there would leave them. */
static int direct_tune(struct vm *vm, const struct vm_tuning *t, struct err *e)
{
    if (t->vcpus > 0 && direct(vm)->guard != NULL)
        virt_guard_limits(direct(vm)->guard);
    return vm_qmp_ops.tune(vm, t, e);
}

/* Marked for as long as it may be resumed by somebody who does not know. */
static int direct_configure_source(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns,
                                   struct err *e)
{
    const struct virt_move *m = direct(vm)->move;
    struct err unmarked = {0};
    if (s != NULL) {
        if (virt_mark_set(&m->source, m->id, virt_host_uri(m->destination_host), e) < 0)
            return -1;
        direct_start_guard(direct(vm));
        if (vm_qmp_ops.configure(vm, s, limit_ns, e) == 0)
            return 0;
    }
    virt_guard_end(TAKE(direct(vm)->guard));
    if (virt_mark_clear(&m->source, &unmarked) < 0)
        log_warn("%s", unmarked.msg);
    return s != NULL ? -1 : vm_qmp_ops.configure(vm, NULL, NULL, e);
}

static void direct_close_source(struct vm *vm)
{
    virt_guard_end(direct(vm)->guard);
    vm_qmp_ops.close(vm);
}

/* ---- either ---- */

/* Only the QEMU of this migration is ended: the mark is on it. */
static int direct_quit(struct vm *vm, struct err *e)
{
    const struct vm_direct *d = direct(vm);
    return virt_mark_destroy(d->domain, d->move->id, e);
}

/* The same, before it is stopped or let run: another QEMU may have been started since. */
static int direct_run(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    const struct vm_direct *d = direct(vm);
    int ours = virt_mark_is(d->domain, d->move->id, e);
    if (ours < 0)
        return -1;
    if (ours > 0)
        return vm_qmp_ops.run(vm, on, now, e);
    return err_set(e, ERR_LOST, 0, "%s: the QEMU of this migration does not run any more",
                   vm->role);
}

/* ---- the destination ---- */

/* A source whose destination is not to start the guest keeps the guest. */
static int direct_run_destination(struct vm *vm, bool on, enum vm_run *now, struct err *e)
{
    if (!on)
        direct(vm)->peer->qmp.gate_open = false;
    return direct_run(vm, on, now, e);
}

static int direct_probe_destination(struct vm *vm, struct vm_facts *f, struct err *e)
{
    struct vm_direct *d = direct(vm);
    if (virt_move_expected_facts(d->move, &d->peer->qmp.facts, f, e) < 0)
        return -1;
    d->qmp.facts = *f;
    return 0;
}

/* Its capabilities are known when it exists: configure() fails then where one is missing. */
static int direct_check(struct vm *vm, const struct vm_settings *s, struct err *e)
{
    vm->proof.can = virt_move_can_prove(&direct(vm)->qmp.facts);
    return vm_qmp_check_hypervisor(&direct(vm)->qmp, s, e);
}

/*
 * The connection broke while libvirt was making the domain: it goes on by itself, and whether it has
 * made it shows only later. One that bears our mark is ended; what cannot be looked at is reported.
 */
static void direct_withdraw(struct vm_direct *d)
{
    const struct virt_move *m = d->move;
    int64_t deadline_ns = clock_now_ns() + DIRECT_WITHDRAW_NS;
    bool looked = false;
    struct err e = {0};
    while (clock_now_ns() < deadline_ns) {
        err_clear(&e);
        int ours = virt_mark_is(&m->destination, m->id, &e);
        if (ours > 0 && virt_mark_destroy(&m->destination, m->id, &e) == 0) {
            log_info("destination: the domain that was being made is ended");
            return;
        }
        looked = ours == 0;
        loop_sleep(d->qmp.vm.loop, DIRECT_WITHDRAW_TICK_NS);
    }
    if (!looked)
        log_warn("a paused domain may be left over on the destination: %s; look: %s; end it: %s",
                 e.msg, d->qmp.vm.commands.look, d->qmp.vm.commands.end);
}

static int direct_make(struct vm_direct *d, const char *xml, struct err *e)
{
    struct virt_move *m = d->move;
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(m->destination_host, e);
    if (conn == NULL)
        return -1;
    log_info("destination: libvirt makes domain %s", m->destination.name);
    CLEANUP_DOMAIN virDomainPtr dom = virDomainCreateXML(conn, xml, VIR_DOMAIN_START_PAUSED);
    if (dom != NULL) {
        virt_host_keep_handle(m->destination_host, dom);
        return 0;
    }
    virt_host_fail(m->destination_host, e, "libvirt cannot make the domain");
    if (e->class == ERR_VIRT) /* nothing has happened yet: the other route may do better */
        e->class = ERR_REFUSED;
    else
        direct_withdraw(d);
    return -1;
}

static void direct_uncover(const struct virt_domain *d)
{
    struct err e = {0};
    if (virt_move_uncover(d, &e) < 0)
        log_warn("the destination's domain may stay defined: %s", e.msg);
}

/* Where it is to be defined there in the end, a definition that cannot be saved is a reason not to
 * begin; else it is only that nothing covers the arguments. */
static int direct_create(struct vm_direct *d, bool *covered, struct err *e)
{
    struct virt_move *m = d->move;
    struct err covering = {0};
    CLEANUP_FREE char *migratable = virt_domain_xml(&m->source, VIR_DOMAIN_XML_MIGRATABLE, e);
    if (migratable == NULL)
        return -1;
    CLEANUP_FREE char *xml = virt_incoming_xml(migratable, m->destination.name, m->id, e);
    if (xml == NULL)
        return -1;
    if (virt_move_cover(m, covered, &covering) < 0) {
        if (m->options->persistent) {
            *e = covering;
            return -1;
        }
        log_warn("the running domain's '-incoming defer' is not covered by a definition: %s",
                 covering.msg);
    }
    if (direct_make(d, xml, e) == 0)
        return 0;
    if (*covered)
        direct_uncover(&m->destination);
    return -1;
}

static void direct_ask_uncover(void *arg)
{
    const struct direct_aside *a = arg;
    if (a->covered)
        direct_uncover(&a->domain);
}

static void direct_ask_mark(void *arg)
{
    struct direct_aside *a = arg;
    a->ours = virt_mark_is(&a->domain, a->id, &a->marked);
}

static void direct_ask_resume(void *arg)
{
    struct direct_aside *a = arg;
    struct err *e = &a->done;
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(&a->domain, e);
    if (dom == NULL || virDomainResume(dom) == 0)
        return;
    virt_host_fail(a->domain.host, e, "libvirt does not let the domain run");
    if (e->class == ERR_VIRT)
        e->class = ERR_REFUSED;
}

/* In one round trip: the definition that covered it goes, its QEMU is asked what is set, and that it is ours still is
 * proven, which is the last that is known of it before it is armed. */
static int direct_look(struct vm_direct *d, bool covered, const struct vm_settings *s,
                       struct vm_qmp_change *change, struct err *e)
{
    static virt_ask_fn *const asks[] = {direct_ask_mark, direct_ask_uncover};
    struct err lost = {0};
    struct direct_aside *own = direct_aside(d, e);
    if (own == NULL)
        return -1;
    own->covered = covered;
    struct virt_at_once *aside =
        virt_at_once_begin(d->move->destination_host, asks, 2, own, free, &lost);
    virt_monitor_endpoint_made(&d->move->destination, &d->qmp.ep);
    int rc = vm_qmp_connect(&d->qmp, e);
    virt_monitor_endpoint(&d->move->destination, &d->qmp.ep); /* from now on */
    if (rc == 0)
        rc = vm_qmp_ask_settings(&d->qmp, s, change, e);
    CLEANUP_FREE struct direct_aside *said = virt_at_once_end(aside, &lost);
    if (rc < 0)
        return -1;
    if (said != NULL && said->ours > 0)
        return 0;
    vm_qmp_change_clear(change);
    if (said != NULL && said->ours == 0)
        return err_set(e, ERR_LOST, 0, "destination: the domain that was made has ended");
    *e = said != NULL ? said->marked : lost;
    return -1;
}

/* In one round trip: it is armed by libvirt, and its QEMU set. */
static int direct_set(struct vm_direct *d, const struct vm_settings *s,
                      struct vm_qmp_change *change, int64_t *limit_ns, struct err *e)
{
    static virt_ask_fn *const asks[] = {direct_ask_resume};
    struct err lost = {0}, unset = {0};
    struct direct_aside *own = direct_aside(d, e);
    if (own == NULL) {
        vm_qmp_change_clear(change);
        return -1;
    }
    struct virt_at_once *aside =
        virt_at_once_begin(d->move->destination_host, asks, 1, own, free, &lost);
    int rc = vm_qmp_change_settings(&d->qmp, s, change, limit_ns, &unset);
    CLEANUP_FREE struct direct_aside *said = virt_at_once_end(aside, &lost);
    *e = said == NULL ? lost : said->done.class != ERR_NONE ? said->done : unset;
    return rc < 0 || e->class != ERR_NONE ? -1 : 0;
}

static int direct_prepare(struct vm_direct *d, const struct vm_settings *s, int64_t *limit_ns,
                          struct err *e)
{
    struct err left = {0};
    struct vm_qmp_change change;
    bool covered = false;
    if (direct_create(d, &covered, e) < 0)
        return -1;
    if (direct_look(d, covered, s, &change, e) == 0 && direct_set(d, s, &change, limit_ns, e) == 0)
        return 0;
    if (virt_mark_destroy(&d->move->destination, d->move->id, &left) < 0)
        log_warn("%s; look: %s; end it: %s", left.msg, d->qmp.vm.commands.look,
                 d->qmp.vm.commands.end);
    return -1;
}

/* NULL settings: the guest has arrived, and nothing of the migration is to stay with it. */
static int direct_configure(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns,
                            struct err *e)
{
    struct vm_direct *d = direct(vm);
    if (s != NULL)
        return direct_prepare(d, s, limit_ns, e);
    direct_tidy(d);
    *e = d->untidy;
    return e->class == ERR_NONE ? 0 : -1;
}

/* A port that is free there nine times of ten: libvirt takes the first ones of the range. */
static unsigned direct_draw_port(const struct virt_address *to)
{
    unsigned n = to->port_last - to->port_first + 1, random = 0;
    if (n > 1)
        (void)!getrandom(&random, sizeof random, 0);
    return to->port_first + random % n;
}

/* The port that it is told is known without asking; where that is taken, it looks for one, and is asked. */
static int direct_open_port(struct vm_direct *d, struct qmp_client *c, unsigned *port,
                            struct err *e)
{
    const struct virt_address *to = &d->move->address;
    char listen[64];
    *port = direct_draw_port(to);
    snprintf(listen, sizeof listen, "tcp::%u", *port);
    if (qmp_migrate_incoming(c, listen, e) == 0)
        return 0;
    if (e->class != ERR_QMP || to->port_first == to->port_last)
        return -1;
    log_info("destination: port %u cannot be had: %s", *port, e->msg);
    err_clear(e);
    snprintf(listen, sizeof listen, "tcp::%u,to=%u", to->port_first, to->port_last);
    return qmp_migrate_incoming(c, listen, e) < 0 ? -1 : qmp_query_incoming_port(c, port, e);
}

static int direct_listen(struct vm *vm, const char *uri, struct err *e)
{
    struct vm_direct *d = direct(vm);
    unsigned port;
    char uri_host[VIRT_ADDRESS_HOST + 8];
    (void)uri;
    struct qmp_client *c = vm_qmp_client(&d->qmp, e);
    if (c == NULL)
        return -1;
    if (direct_open_port(d, c, &port, e) < 0)
        return err_wrap(e, "%s", vm->role);
    virt_address_uri(uri_host, sizeof uri_host, "tcp:", d->move->address.host);
    snprintf(d->stream, sizeof d->stream, "%s:%u", uri_host, port);
    log_info("destination: it listens, %s", d->stream);
    return 0;
}

/* ---- opening ---- */

static struct vm_direct *direct_new(struct loop *loop, struct virt_move *m, const char *role,
                                    const struct virt_domain *domain, struct err *e)
{
    struct vm_direct *d = calloc(1, sizeof *d);
    if (d == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the %s's side", role);
        return NULL;
    }
    d->move = m;
    d->domain = domain;
    d->ops = vm_qmp_ops;
    d->ops.recover = NULL; /* the stream's address is the domain's, not the plan's */
    d->ops.route = "direct";
    d->ops.quit = direct_quit;
    d->ops.run = direct_run;
    vm_qmp_init(&d->qmp, loop, role, &d->ops);
    virt_move_set_commands(domain, &d->qmp.vm.commands);
    virt_monitor_endpoint(domain, &d->qmp.ep);
    return d;
}

struct vm *vm_direct_source(struct loop *loop, struct virt_move *m, struct err *e)
{
    struct vm_direct *d = direct_new(loop, m, "source", &m->source, e);
    if (d == NULL)
        return NULL;
    d->ops.configure = direct_configure_source;
    d->ops.tune = direct_tune;
    d->ops.start = direct_start;
    d->ops.close = direct_close_source;
    d->ops.quit = direct_quit_source;
    d->qmp.gated = true;
    d->qmp.vm.commands.go_on = virt_move_go_on(virt_host_uri(m->source_host), m->source.name);
    if (vm_qmp_connect(&d->qmp, e) < 0) {
        free(d);
        return NULL;
    }
    return &d->qmp.vm;
}

struct vm *vm_direct_destination(struct loop *loop, struct virt_move *m, struct vm *source,
                                 struct err *e)
{
    struct vm_direct *d = direct_new(loop, m, "destination", &m->destination, e);
    if (d == NULL)
        return NULL;
    d->ops.probe = direct_probe_destination;
    d->ops.check = direct_check;
    d->ops.configure = direct_configure;
    d->ops.listen = direct_listen;
    d->ops.run = direct_run_destination;
    d->peer = direct(source);
    d->peer->peer = d;
    return &d->qmp.vm;
}
