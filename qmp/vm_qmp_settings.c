/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities and parameters of a side: whether they can be had, how they are set, and how they are put back. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "qmp/command.h"
#include "qmp/field.h"
#include "qmp/vm_qmp.h"

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

int vm_qmp_check(struct vm *vm, const struct vm_settings *s, struct err *e)
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

/* What a person has set by name may need one to be first: then both take their turn. */
static bool vm_qmp_sets_at_once(const struct vm_qmp *q, const struct json_object *more)
{
    return !q->parameters_first && more == NULL;
}

static int vm_qmp_set(struct vm_qmp *q, qmp_capability_set on, const struct qmp_parameters *p,
                      struct json_object *more, struct err *e)
{
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL)
        return -1;
    if (vm_qmp_sets_at_once(q, more))
        return qmp_set_capabilities_and_parameters(c, q->old_which, on, p, false, e);
    if ((q->parameters_first && qmp_set_parameters(c, p, more, e) < 0) ||
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
    struct err limited = {0};
    if (vm_qmp_unlimit(q, &limited) < 0)
        log_warn("%s", limited.msg);
    if (vm_qmp_sets_at_once(q, q->old_set)) {
        struct qmp_client *c = vm_qmp_client(q, e);
        return c == NULL ? -1
                         : qmp_set_capabilities_and_parameters(c, q->old_which, q->old_on,
                                                               &q->old_parameters, true, e);
    }
    struct err second = {0};
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

void vm_qmp_change_clear(struct vm_qmp_change *c)
{
    qmp_settings_clear(&c->set);
}

int vm_qmp_ask_settings(struct vm_qmp *q, const struct vm_settings *s, struct vm_qmp_change *c,
                        struct err *e)
{
    struct json_object *all = NULL;
    *c = (struct vm_qmp_change){0};
    struct qmp_client *client = vm_qmp_client(q, e);
    if (client == NULL || vm_qmp_read_settings(q, s, &c->set, e) < 0)
        return -1;
    json_object_put(TAKE(q->old_set));
    int rc = qmp_query_capabilities_and_parameters(client, &q->old_on, &c->known,
                                                   &q->old_parameters, &all, e);
    if (rc == 0)
        rc = qmp_settings_remember(&c->set, all, &q->old_set, e);
    json_object_put(all);
    if (rc == 0)
        return 0;
    vm_qmp_change_clear(c);
    return err_wrap(e, "%s", q->vm.role);
}

int vm_qmp_change_settings(struct vm_qmp *q, const struct vm_settings *s, struct vm_qmp_change *c,
                           int64_t *limit_ns, struct err *e)
{
    struct qmp_parameters p;
    int rc = vm_qmp_parameters(q, s, &c->set, &p, e);
    if (rc == 0) {
        qmp_capability_set wanted = vm_qmp_wanted(q, s, &c->set);
        q->old_which = (governed | c->set.which | (wanted & CAP_BIT(CAP_VALIDATE_UUID))) & c->known;
        q->configured = true;
        /* QEMU refuses zero-copy-send while there is compression or TLS, and these while it is on */
        q->parameters_first = (wanted & CAP_BIT(CAP_ZERO_COPY_SEND)) != 0;
        rc = vm_qmp_set(q, wanted, &p, c->set.parameters, e);
        *limit_ns = (int64_t)p.downtime_limit_ms * NS_PER_MS;
    }
    vm_qmp_change_clear(c);
    if (rc == 0)
        return 0;
    struct err ignored = {0};
    vm_qmp_restore(q, &ignored);
    return err_wrap(e, "%s", q->vm.role);
}

int vm_qmp_configure(struct vm *vm, const struct vm_settings *s, int64_t *limit_ns, struct err *e)
{
    struct vm_qmp *q = vm_qmp(vm);
    struct vm_qmp_change change;
    if (s == NULL)
        return vm_qmp_restore(q, e);
    if (vm_qmp_ask_settings(q, s, &change, e) < 0)
        return -1;
    return vm_qmp_change_settings(q, s, &change, limit_ns, e);
}
