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

/* What we govern: these are set on both sides whatever they were, and what a person says by name is
 * set besides. */
static const qmp_capability_set governed = CAP_BIT(CAP_EVENTS) | CAP_BIT(CAP_MULTIFD) |
                                           CAP_BIT(CAP_POSTCOPY_RAM) | CAP_BIT(CAP_RETURN_PATH) |
                                           CAP_BIT(CAP_PAUSE_BEFORE_SWITCHOVER) | CAP_BIT(CAP_COLO);

static const char *const compression_words[] = {
    [VM_COMPRESSION_NONE] = "none",
    [VM_COMPRESSION_ZLIB] = "zlib",
    [VM_COMPRESSION_ZSTD] = "zstd",
};

const char *vm_qmp_compression_word(enum vm_compression compression)
{
    return compression_words[compression];
}

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

static qmp_capability_set vm_qmp_wanted(const struct vm_qmp *q, const struct vm_settings *s,
                                        const struct qmp_settings *set)
{
    qmp_capability_set on = CAP_BIT(CAP_EVENTS);
    if (q->vm.proof.on)
        on |= CAP_BIT(CAP_VALIDATE_UUID);
    if (q->gated)
        on |= CAP_BIT(CAP_PAUSE_BEFORE_SWITCHOVER);
    if (s->multifd_channels > 0)
        on |= CAP_BIT(CAP_MULTIFD);
    if (s->postcopy)
        on |= CAP_BIT(CAP_POSTCOPY_RAM) | CAP_BIT(CAP_RETURN_PATH);
    return (on & ~set->which) | set->on;
}

int vm_qmp_read_settings(struct vm_qmp *q, const struct vm_settings *s, struct qmp_settings *set,
                         struct err *e)
{
    *set = (struct qmp_settings){0};
    if (s->set_n == 0)
        return 0;
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || qmp_settings_read(c, s, q->vm.role, q->facts.hypervisor, set, e) < 0)
        return -1;
    if (qmp_capability_check(vm_qmp_wanted(q, s, set), e) == 0)
        return 0;
    qmp_settings_clear(set);
    return err_wrap(e, "%s", q->vm.role);
}

/* Compression is a value of a parameter: only the schema knows which ones this QEMU was built
 * with. */
static int vm_qmp_check_compression(struct vm_qmp *q, const struct vm_settings *s, struct err *e)
{
    if (s->compression == VM_COMPRESSION_NONE)
        return 0;
    if (s->multifd_channels == 0)
        return err_set(e, ERR_REFUSED, 0, "compression %s needs multifd",
                       compression_words[s->compression]);
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL)
        return -1;
    const struct qmp_schema *schema = qmp_query_schema(c, e);
    if (schema == NULL)
        return -1;
    bool has = qmp_schema_has_value(schema, "migrate-set-parameters", "multifd-compression",
                                    compression_words[s->compression]);
    if (!has)
        return err_set(e, ERR_REFUSED, 0, "%s cannot compress with %s", q->facts.hypervisor,
                       compression_words[s->compression]);
    return 0;
}

/* Measured (tests/assume/tcg-migration): 7.2 under TCG loses writes of the guest's. */
int vm_qmp_check_hypervisor(const struct vm_qmp *q, const struct vm_settings *s, struct err *e)
{
    if (q->facts.kvm || q->facts.version[0] >= 8 || s->unsafe)
        return 0;
    err_set(e, ERR_REFUSED, 0, "%s: %s under TCG corrupts the memory of a guest that it migrates",
            q->vm.role, q->facts.hypervisor);
    return err_hint(e, "use KVM or QEMU 10 on both sides; --unsafe goes on all the same");
}

static int vm_qmp_check(struct vm *vm, const struct vm_settings *s, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    qmp_capability_set on, known, wanted, others;
    CLEANUP_SETTINGS struct qmp_settings set = {0};
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || vm_qmp_check_hypervisor(q, s, e) < 0 ||
        vm_qmp_read_settings(q, s, &set, e) < 0)
        return -1;
    if (qmp_query_capabilities(c, &on, &known, e) < 0)
        return err_wrap(e, "%s", vm->role);
    vm->proof.can = (known & CAP_BIT(CAP_VALIDATE_UUID)) != 0;
    wanted = vm_qmp_wanted(q, s, &set);
    others = on & ~(governed | set.which);
    for (int cap = 0; cap < CAP_COUNT; cap++)
        if ((wanted & ~known) & CAP_BIT(cap))
            return err_set(e, ERR_REFUSED, 0, "%s: %s has no migration capability %s", vm->role,
                           q->facts.hypervisor, qmp_capability_name(cap));
    if (qmp_capability_check(others | wanted, e) < 0 || vm_qmp_check_compression(q, s, e) < 0)
        return err_wrap(e, "%s", vm->role);
    return 0;
}

int vm_qmp_remember_parameters(struct vm_qmp *q, const struct qmp_settings *set, struct err *e)
{
    struct json_object *all = NULL;
    struct qmp_client *c = vm_qmp_client(q, e);
    json_object_put(TAKE(q->old_set));
    if (c == NULL || qmp_query_parameters(c, &q->old_parameters, &all, e) < 0)
        return -1;
    int rc = qmp_settings_remember(set, all, &q->old_set, e);
    json_object_put(all);
    return rc;
}

int vm_qmp_restore_parameters(struct vm_qmp *q, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(q, e);
    int rc = c == NULL ? -1 : qmp_set_parameters(c, &q->old_parameters, q->old_set, e);
    json_object_put(TAKE(q->old_set));
    return rc;
}

int vm_qmp_unlimit(struct vm_qmp *q, struct err *e)
{
    if (!q->limited)
        return 0;
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || qmp_unlimit_vcpus(c, e) < 0)
        return err_wrap(e, "the guest's vCPUs may be slowed down still (cancel-vcpu-dirty-limit "
                           "ends it)");
    q->limited = false;
    return 0;
}

static int vm_qmp_restore_capabilities(struct vm_qmp *q, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(q, e);
    return c == NULL ? -1 : qmp_set_capabilities(c, q->old_which, q->old_on, e);
}

static int vm_qmp_set(struct vm_qmp *q, qmp_capability_set on, const struct qmp_parameters *p,
                      struct json_object *more, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || (q->parameters_first && qmp_set_parameters(c, p, more, e) < 0) ||
        qmp_set_capabilities(c, q->old_which, on, e) < 0)
        return -1;
    return q->parameters_first ? 0 : qmp_set_parameters(c, p, more, e);
}

/* Back the way that vm_qmp_set() came, so that QEMU has accepted what lies in between. One half is
 * put back also where the other cannot be; *e is of the first that failed. */
static int vm_qmp_restore(struct vm_qmp *q, struct err *e)
{
    if (!q->configured)
        return 0;
    q->configured = false;
    struct err second = {0};
    if (vm_qmp_unlimit(q, &second) < 0)
        log_warn("%s", second.msg);
    err_clear(&second);
    int (*const restore[])(struct vm_qmp *, struct err *) = {vm_qmp_restore_parameters,
                                                             vm_qmp_restore_capabilities};
    int rc = restore[q->parameters_first](q, e);
    if (restore[!q->parameters_first](q, &second) == 0)
        return rc;
    if (rc == 0)
        *e = second;
    return -1;
}

/* Multifd that is on by name only gets fixed values: each side's own need not match the other's. */
static void vm_qmp_fix_multifd(const struct vm_settings *s, const struct qmp_settings *set,
                               struct qmp_parameters *p)
{
    if (s->multifd_channels > 0)
        p->multifd_channels = s->multifd_channels;
    else if (set->on & CAP_BIT(CAP_MULTIFD))
        p->multifd_channels = VM_QMP_CHANNELS_BY_NAME;
    else
        return;
    snprintf(p->multifd_compression, sizeof p->multifd_compression, "%s",
             compression_words[s->compression]);
}

/* What was said by name wins; the check has seen to it that the two do not contradict each other. */
static int vm_qmp_parameters(const struct vm_qmp *q, const struct vm_settings *s,
                             const struct qmp_settings *set, struct qmp_parameters *p,
                             struct err *e)
{
    *p = q->old_parameters;
    p->max_bandwidth_bytes_per_s = s->max_bandwidth_bytes_per_s;
    if (s->downtime_limit_ns > 0)
        p->downtime_limit_ms = (uint64_t)((s->downtime_limit_ns + NS_PER_MS - 1) / NS_PER_MS);
    vm_qmp_fix_multifd(s, set, p);
    return field_u64_opt(set->parameters, "downtime-limit", &p->downtime_limit_ms, e);
}

static int vm_qmp_configure(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns,
                            struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    if (s == NULL)
        return vm_qmp_restore(q, e);

    qmp_capability_set known;
    struct qmp_parameters p;
    CLEANUP_SETTINGS struct qmp_settings set = {0};
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || vm_qmp_read_settings(q, s, &set, e) < 0)
        return -1;
    if (qmp_query_capabilities(c, &q->old_on, &known, e) < 0 ||
        vm_qmp_remember_parameters(q, &set, e) < 0 || vm_qmp_parameters(q, s, &set, &p, e) < 0)
        return err_wrap(e, "%s", vm->role);

    qmp_capability_set wanted = vm_qmp_wanted(q, s, &set);
    q->old_which = (governed | set.which | (wanted & CAP_BIT(CAP_VALIDATE_UUID))) & known;
    q->configured = true;
    /* QEMU refuses zero-copy-send while there is compression or TLS, and these while it is on */
    q->parameters_first = (wanted & CAP_BIT(CAP_ZERO_COPY_SEND)) != 0;
    if (vm_qmp_set(q, wanted, &p, set.parameters, e) < 0) {
        struct err ignored = {0};
        vm_qmp_restore(q, &ignored);
        return err_wrap(e, "%s", vm->role);
    }
    *limit_ns = (int64_t)p.downtime_limit_ms * NS_PER_MS;
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
