/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "core/units.h"
#include "qmp/field.h"
#include "qmp/watch.h"

/* QEMU answers these at once unless its main loop is busy, which loading device state makes it. */
#define COMMAND_TIMEOUT_NS (30 * NS_PER_S)

static void command_put(struct json_object **o)
{
    json_object_put(*o);
}

#define CLEANUP_ANSWER CLEANUP(command_put)

/* The state in which a source with pause-before-switchover stands until migrate-continue. */
#define MIGRATION_GATE "pre-switchover"

/* An enum of QEMU's as one of ours. */
struct word {
    const char *text;
    int value;
};

static int command_word(const struct word *words, const char *text, int unknown)
{
    for (; words->text != NULL; words++)
        if (strcmp(words->text, text) == 0)
            return words->value;
    log_debug("QEMU says '%s', which we do not know", text);
    return unknown;
}

static const struct word run_words[] = {
    {"running", VM_RUN_RUNNING},
    {"paused", VM_RUN_STOPPED},
    {"prelaunch", VM_RUN_STOPPED},
    {"suspended", VM_RUN_RUNNING}, /* the guest's own S3: it wakes up by itself */
    {"debug", VM_RUN_STOPPED},
    {"watchdog", VM_RUN_STOPPED},
    {"io-error", VM_RUN_STOPPED},
    {"save-vm", VM_RUN_STOPPED},
    {"restore-vm", VM_RUN_STOPPED},
    {"inmigrate", VM_RUN_INCOMING},
    {"postmigrate", VM_RUN_MIGRATED},
    {"finish-migrate", VM_RUN_FINISHING},
    {"shutdown", VM_RUN_SHUTDOWN},
    {"guest-panicked", VM_RUN_SHUTDOWN},
    {"internal-error", VM_RUN_SHUTDOWN},
    {NULL, 0},
};

static const struct word migration_words[] = {
    {"none", VM_MIGRATION_NONE},
    {"setup", VM_MIGRATION_SETUP},
    {"active", VM_MIGRATION_ACTIVE},
    {MIGRATION_GATE, VM_MIGRATION_ACTIVE},
    {"wait-unplug", VM_MIGRATION_SETUP},
    {"device", VM_MIGRATION_DEVICE},
    {"postcopy-device", VM_MIGRATION_DEVICE},
    {"postcopy-active", VM_MIGRATION_POSTCOPY},
    {"postcopy-paused", VM_MIGRATION_PAUSED},
    {"postcopy-recover", VM_MIGRATION_PAUSED},
    {"postcopy-recover-setup", VM_MIGRATION_PAUSED},
    {"cancelling", VM_MIGRATION_CANCELLING},
    {"failing", VM_MIGRATION_CANCELLING}, /* on its way to failed */
    {"cancelled", VM_MIGRATION_CANCELLED},
    {"failed", VM_MIGRATION_FAILED},
    {"completed", VM_MIGRATION_COMPLETED},
    {NULL, 0},
};

static int command_look(struct qmp_client *c, const char *command, struct json_object *args,
                        struct json_object **result, struct err *e)
{
    return qmp_client_call(c, command, args, COMMAND_TIMEOUT_NS, true, result, e);
}

/* What a rollback asks, too: whether it is the same QEMU, and what it does. */
static int command_ask(struct qmp_client *c, const char *command, struct json_object **result,
                       struct err *e)
{
    return qmp_client_call(c, command, NULL, COMMAND_TIMEOUT_NS, false, result, e);
}

int qmp_query_version(struct qmp_client *c, struct qmp_version *v, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    static const char *const paths[] = {"qemu.major", "qemu.minor", "qemu.micro"};
    if (command_ask(c, "query-version", &r, e) < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        uint64_t n = 0;
        if (field_u64(r, paths[i], &n, e) < 0)
            return -1;
        v->at[i] = (int)n;
    }
    return 0;
}

const struct qmp_schema *qmp_query_schema(struct qmp_client *c, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    struct qmp_schema **kept = qmp_client_schema(c);
    if (*kept == NULL && command_look(c, "query-qmp-schema", NULL, &r, e) == 0)
        *kept = qmp_schema_new(r, e);
    return *kept;
}

int qmp_query_run(struct qmp_client *c, enum vm_run *run, bool *io_error, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    const char *status;
    if (command_ask(c, "query-status", &r, e) < 0 || field_text(r, "status", &status, e) < 0)
        return -1;
    *run = (enum vm_run)command_word(run_words, status, VM_RUN_UNKNOWN);
    *io_error = strcmp(status, "io-error") == 0;
    return 0;
}

int qmp_query_status(struct qmp_client *c, enum vm_run *run, struct err *e)
{
    bool ignored;
    return qmp_query_run(c, run, &ignored, e);
}

int qmp_query_uuid(struct qmp_client *c, char *uuid, size_t size, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    const char *text;
    if (command_ask(c, "query-uuid", &r, e) < 0 || field_text(r, "UUID", &text, e) < 0)
        return -1;
    bool none = strspn(text, "0-") == strlen(text);
    snprintf(uuid, size, "%s", none ? "" : text);
    return 0;
}

int qmp_query_kvm(struct qmp_client *c, bool *enabled, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    if (command_look(c, "query-kvm", NULL, &r, e) < 0)
        return -1;
    return field_bool(r, "enabled", enabled, e);
}

int qmp_query_ram(struct qmp_client *c, uint64_t *bytes, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    uint64_t base = 0, plugged = 0;
    if (command_look(c, "query-memory-size-summary", NULL, &r, e) < 0 ||
        field_u64(r, "base-memory", &base, e) < 0 ||
        field_u64_opt(r, "plugged-memory", &plugged, e) < 0)
        return -1;
    *bytes = base + plugged;
    return 0;
}

int qmp_query_vcpus(struct qmp_client *c, unsigned *n, int64_t *thread, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    uint64_t first = 0;
    if (command_ask(c, "query-cpus-fast", &r, e) < 0)
        return -1;
    if (!json_object_is_type(r, json_type_array))
        return err_set(e, ERR_PROTO, 0, "query-cpus-fast: not an array");
    *n = (unsigned)json_object_array_length(r);
    if (*n > 0 && field_u64_opt(json_object_array_get_idx(r, 0), "thread-id", &first, e) < 0)
        return err_wrap(e, "query-cpus-fast");
    *thread = first <= INT32_MAX ? (int64_t)first : 0;
    return 0;
}

int qmp_query_machine(struct qmp_client *c, char *name, size_t size, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "path", json_object_new_string("/machine"));
    json_object_object_add(args, "property", json_object_new_string("type"));
    if (command_look(c, "qom-get", args, &r, e) < 0)
        return -1;
    if (!json_object_is_type(r, json_type_string))
        return err_set(e, ERR_PROTO, 0, "qom-get /machine type: not a string");
    snprintf(name, size, "%s", json_object_get_string(r));
    char *suffix = strstr(name, "-machine");
    if (suffix != NULL && strcmp(suffix, "-machine") == 0)
        *suffix = '\0';
    return 0;
}

/* QEMU's milliseconds; more than an int64_t of nanoseconds holds becomes the most it holds. */
static int64_t command_ns(uint64_t ms)
{
    return ms > INT64_MAX / NS_PER_MS ? INT64_MAX : (int64_t)ms * NS_PER_MS;
}

static int command_read_ram(struct json_object *r, struct watch_sample *w, struct err *e)
{
    struct vm_sample *s = &w->vm;
    uint64_t page_bytes = 0, dirty_pages_per_s = 0, normal = 0, zero = 0, xbzrle = 0;
    double mbps = 0;
    if (field_u64_opt(r, "ram.total", &s->ram_total_bytes, e) < 0 ||
        field_u64_opt(r, "ram.transferred", &s->ram_transferred_bytes, e) < 0 ||
        field_u64_opt(r, "ram.remaining", &s->ram_remaining_bytes, e) < 0 ||
        field_u64_opt(r, "ram.page-size", &page_bytes, e) < 0 ||
        field_u64_opt(r, "ram.dirty-pages-rate", &dirty_pages_per_s, e) < 0 ||
        field_u64_opt(r, "ram.normal", &normal, e) < 0 ||
        field_u64_opt(r, "ram.duplicate", &zero, e) < 0 ||
        field_u64_opt(r, "ram.downtime-bytes", &s->pause_bytes, e) < 0 ||
        field_u64_opt(r, "xbzrle-cache.pages", &xbzrle, e) < 0 ||
        field_u64_opt(r, "ram.postcopy-bytes", &w->postcopy_bytes, e) < 0 ||
        field_u64_opt(r, "ram.postcopy-requests", &w->postcopy_requests, e) < 0 ||
        field_u64_opt(r, "ram.dirty-sync-missed-zero-copy", &s->zero_copy_missed, e) < 0 ||
        field_double_opt(r, "ram.mbps", &mbps, e) < 0)
        return -1;
    s->dirty_bytes_per_s = dirty_pages_per_s * page_bytes;
    s->ram_handled_bytes = (normal + zero + xbzrle) * page_bytes;
    s->bandwidth_bytes_per_s = mbps > 0 && mbps < 1e12 ? (uint64_t)(mbps * 1e6 / 8) : 0;
    return 0;
}

int qmp_read_migrate(struct json_object *r, struct watch_sample *w, struct err *e)
{
    struct vm_sample *s = &w->vm;
    const char *status = "none", *reason = "";
    uint64_t downtime_ms = 0, expected_ms = 0, setup_ms = 0, total_ms = 0, throttle = 0;
    if (field_text_opt(r, "status", &status, e) < 0 ||
        field_text_opt(r, "error-desc", &reason, e) < 0 ||
        field_u64_opt(r, "downtime", &downtime_ms, e) < 0 ||
        field_u64_opt(r, "expected-downtime", &expected_ms, e) < 0 ||
        field_u64_opt(r, "setup-time", &setup_ms, e) < 0 ||
        field_u64_opt(r, "total-time", &total_ms, e) < 0 ||
        field_u64_opt(r, "cpu-throttle-percentage", &throttle, e) < 0 ||
        command_read_ram(r, w, e) < 0)
        return err_wrap(e, "query-migrate");

    s->migration = (enum vm_migration)command_word(migration_words, status, VM_MIGRATION_UNKNOWN);
    /* an -incoming that is not deferred listens already, and says where */
    if (s->migration == VM_MIGRATION_NONE && field_peek(r, "socket-address") != NULL)
        s->migration = VM_MIGRATION_SETUP;
    s->downtime_ns = command_ns(downtime_ms);
    s->expected_downtime_ns = command_ns(expected_ms);
    w->setup_ns = command_ns(setup_ms);
    w->total_ns = command_ns(total_ms);
    s->throttle_percent = throttle < 100 ? (unsigned)throttle : 100;
    s->reason = reason[0] != '\0' ? text_keep("%s", reason) : NULL;
    return 0;
}

int qmp_query_migrate(struct qmp_client *c, struct vm_sample *s, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    struct watch_sample w = {.vm = *s};
    if (qmp_client_call(c, "query-migrate", NULL, COMMAND_TIMEOUT_NS, false, &r, e) < 0 ||
        qmp_read_migrate(r, &w, e) < 0)
        return -1;
    *s = w.vm;
    return 0;
}

void qmp_event_detail(const char *name, struct json_object *data, char *detail, size_t size)
{
    struct err ignored = {0};
    const char *status = "";
    uint64_t pass = 0;
    detail[0] = '\0';
    if (strcmp(name, "MIGRATION") == 0 && field_text_opt(data, "status", &status, &ignored) == 0)
        snprintf(detail, size, "%s", status);
    else if (strcmp(name, "MIGRATION_PASS") == 0 && field_u64(data, "pass", &pass, &ignored) == 0)
        snprintf(detail, size, "%" PRIu64, pass);
}

static const char *command_event_status(struct json_object *data)
{
    struct err ignored = {0};
    const char *status = "";
    return field_text(data, "status", &status, &ignored) == 0 ? status : "";
}

bool qmp_io_error_stops(struct json_object *data)
{
    struct err ignored = {0};
    const char *action = "";
    return field_text(data, "action", &action, &ignored) == 0 && strcmp(action, "stop") == 0;
}

bool qmp_migration_at_gate(struct json_object *data)
{
    return strcmp(command_event_status(data), MIGRATION_GATE) == 0;
}

bool qmp_migration_is_sent(struct json_object *data)
{
    return strcmp(command_event_status(data), "completed") == 0;
}

bool qmp_migration_in_pause(struct json_object *data)
{
    const char *status = command_event_status(data);
    return strcmp(status, MIGRATION_GATE) == 0 ||
           command_word(migration_words, status, VM_MIGRATION_UNKNOWN) == VM_MIGRATION_DEVICE;
}

static int command_read_capabilities(struct json_object *r, qmp_capability_set *on,
                                     qmp_capability_set *known, struct err *e)
{
    *on = *known = 0;
    if (!json_object_is_type(r, json_type_array))
        return err_set(e, ERR_PROTO, 0, "query-migrate-capabilities: not an array");
    for (size_t i = 0; i < json_object_array_length(r); i++) {
        struct json_object *entry = json_object_array_get_idx(r, i);
        const char *name;
        bool state;
        if (field_text(entry, "capability", &name, e) < 0 ||
            field_bool(entry, "state", &state, e) < 0)
            return err_wrap(e, "query-migrate-capabilities");
        enum qmp_capability cap = qmp_capability_find(name);
        if (cap == CAP_COUNT)
            continue;
        *known |= CAP_BIT(cap);
        if (state)
            *on |= CAP_BIT(cap);
    }
    return 0;
}

int qmp_query_capabilities(struct qmp_client *c, qmp_capability_set *on, qmp_capability_set *known,
                           struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    *on = *known = 0;
    if (command_look(c, "query-migrate-capabilities", NULL, &r, e) < 0)
        return -1;
    return command_read_capabilities(r, on, known, e);
}

static struct json_object *command_capabilities(qmp_capability_set which, qmp_capability_set on)
{
    struct json_object *list = json_object_new_array();
    for (int cap = 0; cap < CAP_COUNT; cap++) {
        if (!(which & CAP_BIT(cap)))
            continue;
        struct json_object *entry = json_object_new_object();
        json_object_object_add(entry, "capability",
                               json_object_new_string(qmp_capability_name(cap)));
        json_object_object_add(entry, "state", json_object_new_boolean((on & CAP_BIT(cap)) != 0));
        json_object_array_add(list, entry);
    }
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "capabilities", list);
    return args;
}

int qmp_set_capabilities(struct qmp_client *c, qmp_capability_set which, qmp_capability_set on,
                         struct err *e)
{
    return qmp_client_call(c, "migrate-set-capabilities", command_capabilities(which, on),
                           COMMAND_TIMEOUT_NS, false, NULL, e);
}

static int command_read_parameters(struct json_object *r, struct qmp_parameters *p, struct err *e)
{
    const char *compression = "";
    *p = (struct qmp_parameters){0};
    if (field_u64(r, "max-bandwidth", &p->max_bandwidth_bytes_per_s, e) < 0 ||
        field_u64(r, "downtime-limit", &p->downtime_limit_ms, e) < 0 ||
        field_u64_opt(r, "multifd-channels", &p->multifd_channels, e) < 0 ||
        field_text_opt(r, "multifd-compression", &compression, e) < 0)
        return err_wrap(e, "query-migrate-parameters");
    snprintf(p->multifd_compression, sizeof p->multifd_compression, "%s", compression);
    return 0;
}

int qmp_query_parameters(struct qmp_client *c, struct qmp_parameters *p, struct json_object **all,
                         struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    *p = (struct qmp_parameters){0};
    if (command_look(c, "query-migrate-parameters", NULL, &r, e) < 0 ||
        command_read_parameters(r, p, e) < 0)
        return -1;
    if (all != NULL)
        *all = TAKE(r);
    return 0;
}

int qmp_query_capabilities_and_parameters(struct qmp_client *c, qmp_capability_set *on,
                                          qmp_capability_set *known, struct qmp_parameters *p,
                                          struct json_object **all, struct err *e)
{
    struct qmp_call calls[] = {{.command = "query-migrate-capabilities"},
                               {.command = "query-migrate-parameters"}};
    *on = *known = 0;
    if (qmp_client_calls(c, calls, 2, COMMAND_TIMEOUT_NS, true, e) < 0)
        return -1;
    int rc = command_read_capabilities(calls[0].result, on, known, e);
    if (rc == 0)
        rc = command_read_parameters(calls[1].result, p, e);
    if (rc == 0)
        *all = TAKE(calls[1].result);
    json_object_put(calls[0].result);
    json_object_put(calls[1].result);
    return rc;
}

static struct json_object *command_parameters(const struct qmp_parameters *p,
                                              struct json_object *more)
{
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "max-bandwidth",
                           json_object_new_uint64(p->max_bandwidth_bytes_per_s));
    json_object_object_add(args, "downtime-limit", json_object_new_uint64(p->downtime_limit_ms));
    if (p->multifd_channels > 0)
        json_object_object_add(args, "multifd-channels",
                               json_object_new_uint64(p->multifd_channels));
    if (p->multifd_compression[0] != '\0')
        json_object_object_add(args, "multifd-compression",
                               json_object_new_string(p->multifd_compression));
    if (more != NULL) {
        json_object_object_foreach(more, name, value)
            json_object_object_add(args, name, json_object_get(value));
    }
    return args;
}

int qmp_set_parameters(struct qmp_client *c, const struct qmp_parameters *p,
                       struct json_object *more, struct err *e)
{
    return qmp_client_call(c, "migrate-set-parameters", command_parameters(p, more),
                           COMMAND_TIMEOUT_NS, false, NULL, e);
}

int qmp_set_capabilities_and_parameters(struct qmp_client *c, qmp_capability_set which,
                                        qmp_capability_set on, const struct qmp_parameters *p,
                                        bool back, struct err *e)
{
    struct qmp_call calls[2];
    calls[back] = (struct qmp_call){.command = "migrate-set-capabilities",
                                    .args = command_capabilities(which, on)};
    calls[!back] =
        (struct qmp_call){.command = "migrate-set-parameters", .args = command_parameters(p, NULL)};
    if (qmp_client_calls(c, calls, 2, COMMAND_TIMEOUT_NS, false, e) < 0)
        return -1;
    json_object_put(calls[0].result);
    json_object_put(calls[1].result);
    return 0;
}

/* QEMU counts in MiB here, though it calls them MB, and 0 takes the limit off.
 * Source: QEMU 10.0, system/dirtylimit.c, qmp_set_vcpu_dirty_limit(). */
static int command_limit_vcpus(struct qmp_client *c, const struct vm_tuning *t, struct err *e)
{
    for (size_t i = 0; i < t->vcpus; i++) {
        struct json_object *args = json_object_new_object();
        uint64_t mib = t->vcpu[i].dirty_bytes_per_s >> 20;
        bool limited = t->vcpu[i].dirty_bytes_per_s > 0;
        json_object_object_add(args, "cpu-index", json_object_new_int64(t->vcpu[i].id));
        json_object_object_add(args, "dirty-rate",
                               json_object_new_uint64(limited && mib == 0 ? 1 : mib));
        if (qmp_client_call(c, "set-vcpu-dirty-limit", args, COMMAND_TIMEOUT_NS, false, NULL, e) <
            0)
            return -1;
    }
    return 0;
}

int qmp_unlimit_vcpus(struct qmp_client *c, struct err *e)
{
    return qmp_client_call(c, "cancel-vcpu-dirty-limit", NULL, COMMAND_TIMEOUT_NS, false, NULL, e);
}

/* QEMU throttles by steps, whenever it sees that the guest dirties too much: the whole way is one step. */
int qmp_tune(struct qmp_client *c, const struct vm_tuning *t, struct err *e)
{
    if (t->vcpus > 0 && command_limit_vcpus(c, t, e) < 0)
        return -1;
    if (t->downtime_limit_ns <= 0 && t->throttle_percent == 0)
        return 0;
    struct json_object *args = json_object_new_object();
    if (t->downtime_limit_ns > 0)
        json_object_object_add(
            args, "downtime-limit",
            json_object_new_int64((t->downtime_limit_ns + NS_PER_MS - 1) / NS_PER_MS));
    if (t->throttle_percent > 0) {
        json_object_object_add(args, "cpu-throttle-increment",
                               json_object_new_int64(t->throttle_percent));
        json_object_object_add(args, "max-cpu-throttle",
                               json_object_new_int64(t->throttle_percent));
    }
    return qmp_client_call(c, "migrate-set-parameters", args, COMMAND_TIMEOUT_NS, false, NULL, e);
}

/* A command that acts: it is never left half-way because of an interrupt. */
static int command_act(struct qmp_client *c, const char *command, struct err *e)
{
    return qmp_client_call(c, command, NULL, COMMAND_TIMEOUT_NS, false, NULL, e);
}

static int command_act_uri(struct qmp_client *c, const char *command, const char *uri,
                           struct err *e)
{
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "uri", json_object_new_string(uri));
    return qmp_client_call(c, command, args, COMMAND_TIMEOUT_NS, false, NULL, e);
}

int qmp_migrate(struct qmp_client *c, const char *uri, struct err *e)
{
    return command_act_uri(c, "migrate", uri, e);
}

int qmp_migrate_recover(struct qmp_client *c, const char *uri, struct err *e)
{
    return command_act_uri(c, "migrate-recover", uri, e);
}

int qmp_migrate_resume(struct qmp_client *c, const char *uri, struct err *e)
{
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "uri", json_object_new_string(uri));
    json_object_object_add(args, "resume", json_object_new_boolean(true));
    return qmp_client_call(c, "migrate", args, COMMAND_TIMEOUT_NS, false, NULL, e);
}

int qmp_migrate_pause(struct qmp_client *c, struct err *e)
{
    return qmp_client_call(c, "migrate-pause", NULL, COMMAND_TIMEOUT_NS, false, NULL, e);
}

static void command_on_continue(void *arg, struct json_object *result, const struct err *e)
{
    (void)arg;
    (void)result;
    if (e->class != ERR_NONE)
        log_debug("migrate-continue: %s", e->msg);
}

void qmp_migrate_continue(struct qmp_client *c)
{
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "state", json_object_new_string(MIGRATION_GATE));
    qmp_client_send(c, "migrate-continue", args, COMMAND_TIMEOUT_NS, command_on_continue, NULL);
}

int qmp_migrate_incoming(struct qmp_client *c, const char *uri, struct err *e)
{
    return command_act_uri(c, "migrate-incoming", uri, e);
}

int qmp_query_incoming_port(struct qmp_client *c, unsigned *port, struct err *e)
{
    CLEANUP_ANSWER struct json_object *r = NULL;
    const char *text;
    uint64_t n;
    if (qmp_client_call(c, "query-migrate", NULL, COMMAND_TIMEOUT_NS, false, &r, e) < 0)
        return -1;
    struct json_object *list = field_peek(r, "socket-address");
    if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
        return err_set(e, ERR_PROTO, 0, "query-migrate: socket-address: not a list of addresses");
    if (field_text(json_object_array_get_idx(list, 0), "port", &text, e) < 0 ||
        units_parse_count(text, 1, 65535, &n, e) < 0)
        return err_wrap(e, "query-migrate: socket-address");
    *port = (unsigned)n;
    return 0;
}

int qmp_trace_event_set_state(struct qmp_client *c, const char *pattern, bool on, struct err *e)
{
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, "name", json_object_new_string(pattern));
    json_object_object_add(args, "enable", json_object_new_boolean(on));
    json_object_object_add(args, "ignore-unavailable", json_object_new_boolean(true));
    return qmp_client_call(c, "trace-event-set-state", args, COMMAND_TIMEOUT_NS, false, NULL, e);
}

int qmp_migrate_start_postcopy(struct qmp_client *c, struct err *e)
{
    return command_act(c, "migrate-start-postcopy", e);
}

int qmp_migrate_cancel(struct qmp_client *c, struct err *e)
{
    return command_act(c, "migrate_cancel", e);
}

int qmp_cont(struct qmp_client *c, struct err *e)
{
    return command_act(c, "cont", e);
}

int qmp_stop(struct qmp_client *c, struct err *e)
{
    return command_act(c, "stop", e);
}

int qmp_quit(struct qmp_client *c, struct err *e)
{
    return command_act(c, "quit", e);
}
