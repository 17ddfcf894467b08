/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/native_set.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/field.h"

#define MIB (UINT64_C(1) << 20)
#define COMPRESSION "multifd-compression"

/* How libvirt gets it. */
enum way {
    WAY_FLAG,   /* a capability: a flag */
    WAY_PACKED, /* … and the name as a method of compression */
    WAY_INT,    /* a parameter of libvirt's, of the same unit */
    WAY_BYTES,  /* … and of 64 bits */
    WAY_MIB,    /* … in MiB/s */
    WAY_METHOD, /* … the method of compression, and a flag; "none" is none */
    WAY_TUNED,  /* to QEMU */
};

/* Source: libvirt 9.0, libvirt-domain.h; what it leaves alone: qemu_migration_params.c. */
static const struct native_name {
    const char *name;
    enum way way;
    unsigned flag;
    const char *param;
    const char *needs; /* libvirt refuses it without this capability */
} native_names[] = {
    {"auto-converge", WAY_FLAG, VIR_MIGRATE_AUTO_CONVERGE, NULL, NULL},
    {"multifd", WAY_FLAG, VIR_MIGRATE_PARALLEL, NULL, NULL},
    {"postcopy-ram", WAY_FLAG, VIR_MIGRATE_POSTCOPY, NULL, NULL},
    {"xbzrle", WAY_PACKED, VIR_MIGRATE_COMPRESSED, VIR_MIGRATE_PARAM_COMPRESSION, NULL},
    {"zero-copy-send", WAY_FLAG, VIR_MIGRATE_ZEROCOPY, NULL, NULL},
    {"cpu-throttle-initial", WAY_INT, 0, VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL, "auto-converge"},
    {"cpu-throttle-increment", WAY_INT, 0, VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT,
     "auto-converge"},
    {"multifd-channels", WAY_INT, 0, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, "multifd"},
    {"xbzrle-cache-size", WAY_BYTES, 0, VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE, "xbzrle"},
    {"max-bandwidth", WAY_MIB, 0, VIR_MIGRATE_PARAM_BANDWIDTH, NULL},
#ifdef VIR_MIGRATE_PARAM_COMPRESSION_ZSTD_LEVEL /* 9.4 */
    {COMPRESSION, WAY_METHOD, VIR_MIGRATE_COMPRESSED, VIR_MIGRATE_PARAM_COMPRESSION, "multifd"},
    {"multifd-zlib-level", WAY_INT, 0, VIR_MIGRATE_PARAM_COMPRESSION_ZLIB_LEVEL, "multifd"},
    {"multifd-zstd-level", WAY_INT, 0, VIR_MIGRATE_PARAM_COMPRESSION_ZSTD_LEVEL, "multifd"},
#endif
    {"cpu-throttle-tailslow", WAY_TUNED, 0, NULL, NULL},
    {"max-cpu-throttle", WAY_TUNED, 0, NULL, NULL},
    {"throttle-trigger-threshold", WAY_TUNED, 0, NULL, NULL},
    {"downtime-limit", WAY_TUNED, 0, NULL, NULL},
    {"max-postcopy-bandwidth", WAY_TUNED, 0, NULL, NULL},
};

static const struct native_name *native_find(const char *name)
{
    for (size_t i = 0; i < sizeof native_names / sizeof *native_names; i++)
        if (strcmp(native_names[i].name, name) == 0)
            return &native_names[i];
    return NULL;
}

static bool native_is_on(const struct vm_settings *s, const char *capability)
{
    bool on = s->multifd_channels > 0 && strcmp(capability, "multifd") == 0;
    for (size_t i = 0; i < s->set_n && !on; i++)
        if (strcmp(s->set[i].name, capability) == 0)
            qmp_setting_flag(s->set[i].value, &on);
    return on;
}

static bool native_is_number(const struct native_name *n)
{
    return n->way == WAY_INT || n->way == WAY_BYTES || n->way == WAY_MIB;
}

int native_set_check(const struct vm_settings *s, struct err *e)
{
    if (s->compression != VM_COMPRESSION_NONE && native_find(COMPRESSION) == NULL)
        return err_set(e, ERR_REFUSED, 0,
                       "the native route does not compress: libvirt has multifd "
                       "compression only since 9.4, and godwit was built with an older one");
    for (size_t i = 0; i < s->set_n; i++) {
        const char *name = s->set[i].name, *value = s->set[i].value;
        uint64_t ignored;
        const struct native_name *n = native_find(name);
        if (n == NULL)
            return err_set(e, ERR_REFUSED, 0, "the native route cannot set %s: libvirt does", name);
        if (n->needs != NULL && !native_is_on(s, n->needs))
            return err_set(e, ERR_REFUSED, 0, "libvirt does not set %s without %s", name, n->needs);
        if (native_is_number(n) && !qmp_setting_number(value, &ignored))
            return err_set(e, ERR_REFUSED, 0, "'%s' takes a whole number, not '%s'", name, value);
    }
    return 0;
}

void native_set_keep_tuned(struct qmp_settings *set)
{
    struct json_object *kept = NULL;
    if (set->parameters == NULL)
        return;
    json_object_object_foreach(set->parameters, name, value)
    {
        const struct native_name *n = native_find(name);
        if (n == NULL || n->way != WAY_TUNED)
            continue;
        if (kept == NULL)
            kept = json_object_new_object();
        json_object_object_add(kept, name, json_object_get(value));
    }
    json_object_put(set->parameters);
    *set = (struct qmp_settings){.parameters = kept};
}

/* The capabilities are libvirt's to set; of one it knows nothing, and leaves it alone: that which proves
 * to the destination that the stream is its own. The destination does so unasked.
 * Source: libvirt 12.8, qemu_migration_params.c; QEMU 11.1, migration/savevm.c, vmstate_uuid_post_load(). */
static int native_set_proof(struct vm_qmp *q, bool on, struct err *e)
{
    struct qmp_client *c;
    if (!q->vm.proof.on || (q->old_on & CAP_BIT(CAP_VALIDATE_UUID)) != 0)
        return 0;
    c = vm_qmp_client(q, e);
    if (c != NULL && qmp_set_capabilities(c, CAP_BIT(CAP_VALIDATE_UUID),
                                          on ? CAP_BIT(CAP_VALIDATE_UUID) : 0, e) == 0)
        return 0;
    return -1;
}

int native_set_restore(struct vm_qmp *q, struct err *e)
{
    struct err second = {0};
    if (!q->configured)
        return 0;
    q->configured = false;
    if (vm_qmp_unlimit(q, &second) < 0)
        log_warn("%s", second.msg);
    err_clear(&second);
    int rc = vm_qmp_restore_parameters(q, e);
    if (native_set_proof(q, false, &second) == 0)
        return rc;
    if (rc == 0)
        *e = second;
    return -1;
}

int native_set_tune(struct vm_qmp *q, const struct vm_settings *s, int64_t *limit_ns, struct err *e)
{
    CLEANUP_SETTINGS struct qmp_settings set = {0};
    struct qmp_client *c = vm_qmp_client(q, e);
    if (c == NULL || vm_qmp_read_settings(q, s, &set, e) < 0)
        return -1;
    native_set_keep_tuned(&set);
    qmp_capability_set known;
    if ((q->vm.proof.on && qmp_query_capabilities(c, &q->old_on, &known, e) < 0) ||
        vm_qmp_remember_parameters(q, &set, e) < 0)
        return err_wrap(e, "%s", q->vm.role);
    struct qmp_parameters p = q->old_parameters;
    /* libvirt has no word for it; its destination, which is new, has no compression either */
    if (native_is_on(s, "multifd") && p.multifd_compression[0] != '\0')
        snprintf(p.multifd_compression, sizeof p.multifd_compression, "%s",
                 vm_qmp_compression_word(VM_COMPRESSION_NONE));
    if (s->downtime_limit_ns > 0)
        p.downtime_limit_ms = (uint64_t)((s->downtime_limit_ns + NS_PER_MS - 1) / NS_PER_MS);
    if (field_u64_opt(set.parameters, "downtime-limit", &p.downtime_limit_ms, e) < 0)
        return err_wrap(e, "%s", q->vm.role);
    q->configured = true;
    if (native_set_proof(q, true, e) < 0 || qmp_set_parameters(c, &p, set.parameters, e) < 0) {
        struct err ignored = {0};
        native_set_restore(q, &ignored);
        return err_wrap(e, "%s", q->vm.role);
    }
    *limit_ns = (int64_t)p.downtime_limit_ms * NS_PER_MS;
    return 0;
}

/* What virDomainMigrate3() takes, while it is put together. */
struct native_arguments {
    unsigned *flags;
    virTypedParameterPtr *params;
    int *n, *max;
};

static void native_tell_flag(const struct native_name *to, const struct vm_setting *v,
                             const struct native_arguments *t)
{
    bool on;
    if (!qmp_setting_flag(v->value, &on) || !on)
        return;
    *t->flags |= to->flag;
    if (to->way == WAY_PACKED)
        virTypedParamsAddString(t->params, t->n, t->max, to->param, v->name);
}

static void native_tell(const struct vm_setting *v, const struct native_arguments *t)
{
    const struct native_name *to = native_find(v->name);
    uint64_t number = 0;
    qmp_setting_number(v->value, &number);
    switch (to->way) {
    case WAY_FLAG:
    case WAY_PACKED: native_tell_flag(to, v, t); break;
    case WAY_INT:
        virTypedParamsAddInt(t->params, t->n, t->max, to->param,
                             number > INT_MAX ? INT_MAX : (int)number);
        break;
    case WAY_BYTES: virTypedParamsAddULLong(t->params, t->n, t->max, to->param, number); break;
    case WAY_MIB:
        virTypedParamsAddULLong(t->params, t->n, t->max, to->param,
                                number / MIB + (number % MIB != 0));
        break;
    case WAY_METHOD:
        if (strcmp(v->value, "none") == 0)
            break;
        *t->flags |= to->flag;
        virTypedParamsAddString(t->params, t->n, t->max, to->param, v->value);
        break;
    case WAY_TUNED: break;
    }
}

void native_set_tell(const struct vm_settings *s, unsigned *flags, virTypedParameterPtr *params,
                     int *n, int *max)
{
    const struct native_arguments t = {.flags = flags, .params = params, .n = n, .max = max};
    bool channels = s->multifd_channels > 0; /* said */
    const struct vm_setting compression = {COMPRESSION, vm_qmp_compression_word(s->compression)};
    if (s->compression != VM_COMPRESSION_NONE)
        native_tell(&compression, &t);
    for (size_t i = 0; i < s->set_n; i++) {
        native_tell(&s->set[i], &t);
        channels = channels || strcmp(s->set[i].name, "multifd-channels") == 0;
    }
    if (native_is_on(s, "multifd") && !channels)
        virTypedParamsAddInt(params, n, max, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                             VM_QMP_CHANNELS_BY_NAME);
}
