/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace on disk. What is written and what is read is one table for each of its parts, so that they cannot
 * differ; a key that is in none of them is an error, for a controller that had been given more might have
 * decided otherwise.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/json.h"
#include "core/text.h"
#include "core/tune/trace.h"

#define TRACE_KIND "godwit migration trace"
enum { TRACE_SCHEMA = 1 };

/* No time in a trace is beyond 30 years: sums of some cannot overflow. */
#define TRACE_TIME_MAX_NS INT64_C(1000000000000000000)
enum { TRACE_LINE_MAX = 1 << 20 };

enum trace_kind { TRACE_NS, TRACE_U64, TRACE_UNSIGNED, TRACE_FLAG, TRACE_WORD };

struct trace_field {
    const char *key;
    enum trace_kind kind;
    size_t offset;
    const char *const *words; /* of an enum: by its values, NULL-terminated */
};

static const char *const migrations[] = {
    "none",       "setup",     "active", "postcopy",  "paused",  "device",
    "cancelling", "cancelled", "failed", "completed", "unknown", NULL,
};
static const char *const runs[] = {
    "unknown", "running", "stopped", "incoming", "migrated", "finishing", "shutdown", NULL,
};
static const char *const froms[] = {"shipped", "elsewhere", "hosts", "alike", NULL};

#define PLAN(field) offsetof(struct control_plan, field)
static const struct trace_field plan_fields[] = {
    {"max_downtime_ns", TRACE_NS, PLAN(promise.max_downtime_ns), NULL},
    {"max_time_ns", TRACE_NS, PLAN(promise.max_time_ns), NULL},
    {"max_throttle_percent", TRACE_UNSIGNED, PLAN(promise.max_throttle_percent), NULL},
    {"allow", TRACE_UNSIGNED, PLAN(promise.allow), NULL},
    {"on_miss", TRACE_WORD, PLAN(promise.on_miss), promise_on_miss_names},
    {"pause_cost_ns", TRACE_NS, PLAN(pause_cost_ns), NULL},
    {"keep_limit", TRACE_FLAG, PLAN(keep_limit), NULL},
    {"timeout_ns", TRACE_NS, PLAN(timeout_ns), NULL},
    {"timeout_miss", TRACE_WORD, PLAN(timeout_miss), promise_on_miss_names},
    {"policy", TRACE_WORD, PLAN(policy), policy_names},
    {.key = NULL},
};

#define SAMPLE(field) offsetof(struct vm_sample, field)
static const struct trace_field sample_fields[] = {
    {"migration", TRACE_WORD, SAMPLE(migration), migrations},
    {"run", TRACE_WORD, SAMPLE(run), runs},
    {"ram_total_bytes", TRACE_U64, SAMPLE(ram_total_bytes), NULL},
    {"ram_transferred_bytes", TRACE_U64, SAMPLE(ram_transferred_bytes), NULL},
    {"ram_remaining_bytes", TRACE_U64, SAMPLE(ram_remaining_bytes), NULL},
    {"ram_handled_bytes", TRACE_U64, SAMPLE(ram_handled_bytes), NULL},
    {"dirty_bytes_per_s", TRACE_U64, SAMPLE(dirty_bytes_per_s), NULL},
    {"bandwidth_bytes_per_s", TRACE_U64, SAMPLE(bandwidth_bytes_per_s), NULL},
    {"expected_downtime_ns", TRACE_NS, SAMPLE(expected_downtime_ns), NULL},
    {"downtime_ns", TRACE_NS, SAMPLE(downtime_ns), NULL},
    {"pause_bytes", TRACE_U64, SAMPLE(pause_bytes), NULL},
    {"passes", TRACE_U64, SAMPLE(passes), NULL},
    {"pass_bytes", TRACE_U64, SAMPLE(pass_bytes), NULL},
    {"stuck_passes", TRACE_UNSIGNED, SAMPLE(stuck_passes), NULL},
    {"throttle_percent", TRACE_UNSIGNED, SAMPLE(throttle_percent), NULL},
    {"zero_copy_missed", TRACE_U64, SAMPLE(zero_copy_missed), NULL},
    {"io_error", TRACE_FLAG, SAMPLE(io_error), NULL},
    {.key = NULL},
};

#define ACTION(field) offsetof(struct control_action, field)
static const struct trace_field action_fields[] = {
    {"limit_ns", TRACE_NS, ACTION(limit_ns), NULL},
    {"throttle_percent", TRACE_UNSIGNED, ACTION(throttle_percent), NULL},
    {"vcpus_limited", TRACE_U64, ACTION(vcpus_limited), NULL},
    {"miss", TRACE_FLAG, ACTION(miss), NULL},
    {.key = NULL},
};

/* ---- writing ---- */

static void trace_put(struct json *o, const struct trace_field *fields, const void *base)
{
    for (const struct trace_field *f = fields; f->key != NULL; f++) {
        const void *at = (const char *)base + f->offset;
        switch (f->kind) {
        case TRACE_NS: json_i64(o, f->key, *(const int64_t *)at); break;
        case TRACE_U64: json_u64(o, f->key, *(const uint64_t *)at); break;
        case TRACE_UNSIGNED: json_u64(o, f->key, *(const unsigned *)at); break;
        case TRACE_FLAG: json_flag(o, f->key, *(const bool *)at); break;
        case TRACE_WORD: json_text(o, f->key, f->words[*(const unsigned *)at]); break;
        }
    }
}

static void trace_put_estimate(struct json *o, const char *key, struct estimate e)
{
    struct json *to = json_node(o, key);
    json_number(to, "low", e.low);
    json_number(to, "likely", e.likely);
    json_number(to, "high", isinf(e.high) ? NAN : e.high);
}

static void trace_put_inputs(struct json *o, const struct trace_inputs *in)
{
    const struct costs_found *f = &in->found;
    struct json *curve = json_node(o, "curve");
    json_text(curve, "source", curve_source_name(in->curve.source));
    json_u64(curve, "ram_bytes", in->curve.ram_bytes);
    struct json *points = json_list(curve, "points");
    for (size_t i = 0; i < in->curve.n; i++) {
        struct json *point = json_item(points);
        json_i64(point, "window_ns", in->curve.at[i].window_ns);
        json_u64(point, "windows", in->curve.at[i].windows);
        trace_put_estimate(point, "bytes", in->curve.at[i].bytes);
    }
    struct json *vcpus = json_list(o, "vcpus");
    for (size_t i = 0; i < in->vcpus; i++) {
        struct json *vcpu = json_item(vcpus);
        json_u64(vcpu, "id", in->vcpu[i].id);
        json_number(vcpu, "bytes_per_s", in->vcpu[i].bytes_per_s);
    }
    struct json *link = json_node(o, "link");
    json_u64(link, "cases", f->link_cases);
    trace_put_estimate(link, "bytes_per_s", f->bytes_per_s);
    struct json *costs = json_node(o, "costs");
    json_text(costs, "from", froms[f->from]);
    json_u64(costs, "cases", f->cases);
    trace_put_estimate(costs, "begin_ns", f->costs.begin_ns);
    trace_put_estimate(costs, "pause_ns", f->costs.pause_ns);
    trace_put_estimate(costs, "end_ns", f->costs.end_ns);
}

/* With "event" in front, for those who read it. */
static struct json *trace_new(const char *event)
{
    struct json *o = json_new();
    json_text(o, "event", event);
    return o;
}

static void trace_print(struct json *o, FILE *to)
{
    const char *text = json_compact(o);
    if (text != NULL)
        fprintf(to, "%s\n", text);
    else
        errno = ENOMEM;
    json_close(o);
}

static void trace_write_begin(const struct trace *t, FILE *to)
{
    struct json *o = trace_new("begin");
    json_text(o, "kind", TRACE_KIND);
    json_text(o, "godwit", t->godwit);
    json_text(o, "route", t->route);
    trace_put(json_node(o, "plan"), plan_fields, &t->plan);
    json_i64(o, "limit_ns", t->limit_ns);
    json_i64(o, "first_limit_ns", t->first_limit_ns);
    trace_put_inputs(o, &t->inputs);
    trace_print(o, to);
}

static void trace_write_sample(const struct trace_sample *s, FILE *to)
{
    struct json *o = trace_new("sample");
    json_i64(o, "t_ns", s->at_ns);
    trace_put(o, sample_fields, &s->sample);
    if (s->action.what != CONTROL_NOTHING) {
        struct json *action = json_node(o, "action");
        json_text(action, "what", control_what_name(s->action.what));
        trace_put(action, action_fields, &s->action);
        json_text(action, "why", s->action.why);
    }
    trace_print(o, to);
}

int trace_write(const struct trace *t, FILE *to, struct err *e)
{
    trace_write_begin(t, to);
    for (size_t i = 0; i < t->n; i++)
        trace_write_sample(&t->samples[i], to);
    struct json *o = trace_new("end");
    json_text(o, "result", t->result);
    json_i64(o, "total_ns", t->total_ns);
    json_i64(o, "downtime_ns", t->downtime_ns);
    json_u64(o, "samples", t->n);
    json_u64(o, "dropped", t->dropped);
    trace_print(o, to);
    if (fflush(to) != 0 || ferror(to))
        return err_set(e, ERR_IO, errno, "cannot write the trace");
    return 0;
}

/* ---- reading ---- */

/* An object has no other keys than those of `fields` and, NULL-terminated, `more`. */
static int trace_check_keys(struct json *o, const struct trace_field *fields,
                            const char *const *more, struct err *e)
{
    const char *known[48];
    size_t n = 0;
    for (const struct trace_field *f = fields; f != NULL && f->key != NULL; f++)
        known[n++] = f->key;
    for (; *more != NULL; more++)
        known[n++] = *more;
    known[n] = NULL;
    const char *unknown = json_unknown_key(o, known);
    return unknown == NULL ? 0 : err_set(e, ERR_REFUSED, 0, "'%s' is not known", unknown);
}

static int trace_take_word(const char *word, const char *const *words, const char *key,
                           unsigned *value, struct err *e)
{
    for (unsigned i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0) {
            *value = i;
            return 0;
        }
    return err_set(e, ERR_REFUSED, 0, "%s: '%s' is not known", key, word);
}

static int trace_take_ns(struct json *o, const char *key, int64_t *ns, struct err *e)
{
    if (json_find_i64(o, key, ns, e) < 0)
        return -1;
    return *ns >= -1 && *ns <= TRACE_TIME_MAX_NS
               ? 0
               : err_set(e, ERR_REFUSED, 0, "%s: %" PRIi64 " is no time", key, *ns);
}

static int trace_take_u64(struct json *o, const char *key, uint64_t most, uint64_t *value,
                          struct err *e)
{
    int64_t n;
    if (json_find_i64(o, key, &n, e) < 0)
        return -1;
    *value = (uint64_t)n;
    return n >= 0 && *value <= most
               ? 0
               : err_set(e, ERR_REFUSED, 0, "%s: %" PRIi64 " is out of range", key, n);
}

static int trace_take_field(struct json *o, const struct trace_field *f, void *at, struct err *e)
{
    uint64_t n = 0;
    const char *word = "";
    switch (f->kind) {
    case TRACE_NS: return trace_take_ns(o, f->key, at, e);
    case TRACE_U64: return trace_take_u64(o, f->key, UINT64_C(1) << 62, at, e);
    case TRACE_UNSIGNED:
        if (trace_take_u64(o, f->key, UINT32_MAX, &n, e) < 0)
            return -1;
        *(unsigned *)at = (unsigned)n;
        return 0;
    case TRACE_FLAG: return json_find_flag(o, f->key, at, e);
    case TRACE_WORD:
        return json_find_text(o, f->key, &word, e) < 0
                   ? -1
                   : trace_take_word(word, f->words, f->key, at, e);
    }
    return -1;
}

static int trace_take(struct json *o, const struct trace_field *fields, void *base, struct err *e)
{
    for (const struct trace_field *f = fields; f->key != NULL; f++)
        if (trace_take_field(o, f, (char *)base + f->offset, e) < 0)
            return -1;
    return 0;
}

static int trace_take_text(struct json *o, const char *key, char *to, size_t room, struct err *e)
{
    const char *text;
    if (json_find_text(o, key, &text, e) < 0)
        return -1;
    if (strlen(text) >= room)
        return err_set(e, ERR_REFUSED, 0, "%s: is too long", key);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int trace_take_estimate(struct json *o, const char *key, struct estimate *to, struct err *e)
{
    struct json *from = json_find(o, key);
    *to = (struct estimate){.high = INFINITY};
    if (!json_is_object(from) || json_find_double_opt(from, "low", &to->low, e) < 0 ||
        json_find_double_opt(from, "likely", &to->likely, e) < 0 ||
        json_find_double_opt(from, "high", &to->high, e) < 0 || !estimate_is_sound(*to))
        return e->class != ERR_NONE ? -1 : err_set(e, ERR_REFUSED, 0, "%s: is no interval", key);
    return trace_check_keys(from, NULL, (const char *const[]){"low", "likely", "high", NULL}, e);
}

static int trace_take_curve(struct json *o, struct curve *c, struct err *e)
{
    static const char *const keys[] = {"source", "ram_bytes", "points", NULL};
    static const char *const point_keys[] = {"window_ns", "windows", "bytes", NULL};
    struct json *curve = json_find(o, "curve"), *points;
    const char *source;
    size_t n;
    unsigned from = 0;
    if (!json_is_object(curve))
        return err_set(e, ERR_REFUSED, 0, "curve: is missing");
    if (trace_check_keys(curve, NULL, keys, e) < 0 ||
        json_find_text(curve, "source", &source, e) < 0 ||
        trace_take_word(source, curve_source_names, "curve.source", &from, e) < 0 ||
        trace_take_u64(curve, "ram_bytes", UINT64_C(1) << 62, &c->ram_bytes, e) < 0 ||
        json_find_list(curve, "points", &points, &n, e) < 0)
        return -1;
    c->source = (enum curve_source)from;
    for (size_t i = 0; i < n; i++) {
        struct json *point = json_nth(points, i);
        struct curve_point p;
        uint64_t windows;
        if (!json_is_object(point))
            return err_set(e, ERR_REFUSED, 0, "curve.points: one is no object");
        if (trace_check_keys(point, NULL, point_keys, e) < 0 ||
            trace_take_ns(point, "window_ns", &p.window_ns, e) < 0 ||
            trace_take_u64(point, "windows", UINT32_MAX, &windows, e) < 0 ||
            trace_take_estimate(point, "bytes", &p.bytes, e) < 0)
            return -1;
        if (curve_add(c, p.window_ns, p.bytes) < 0)
            return err_set(e, ERR_REFUSED, 0, "curve.points: one does not fit in");
        c->at[i].windows = (unsigned)windows;
    }
    return 0;
}

static int trace_take_vcpus(struct json *o, struct trace_inputs *in, struct err *e)
{
    static const char *const keys[] = {"id", "bytes_per_s", NULL};
    struct json *vcpus;
    size_t n;
    if (json_find_list(o, "vcpus", &vcpus, &n, e) < 0)
        return -1;
    if (n > THROTTLE_VCPUS_MAX)
        return err_set(e, ERR_REFUSED, 0, "vcpus: there are more than %d", THROTTLE_VCPUS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct json *vcpu = json_nth(vcpus, i);
        struct throttle_vcpu *to = &in->vcpu[in->vcpus++];
        uint64_t id;
        if (!json_is_object(vcpu))
            return err_set(e, ERR_REFUSED, 0, "vcpus: one is no object");
        if (trace_check_keys(vcpu, NULL, keys, e) < 0 ||
            trace_take_u64(vcpu, "id", UINT32_MAX, &id, e) < 0 ||
            json_find_double_opt(vcpu, "bytes_per_s", &to->bytes_per_s, e) < 0)
            return -1;
        if (!(to->bytes_per_s >= 0))
            return err_set(e, ERR_REFUSED, 0, "vcpus: bytes_per_s: is below 0");
        to->id = (unsigned)id;
    }
    return 0;
}

static int trace_take_inputs(struct json *o, struct trace_inputs *in, struct err *e)
{
    static const char *const link_keys[] = {"cases", "bytes_per_s", NULL};
    static const char *const cost_keys[] = {"from",     "cases",  "begin_ns",
                                            "pause_ns", "end_ns", NULL};
    struct costs_found *f = &in->found;
    struct json *link = json_find(o, "link"), *costs = json_find(o, "costs");
    const char *from;
    unsigned word = 0;
    uint64_t cases = 0, link_cases = 0;
    if (!json_is_object(link) || !json_is_object(costs))
        return err_set(e, ERR_REFUSED, 0, "%s: is missing",
                       json_is_object(link) ? "costs" : "link");
    if (trace_take_curve(o, &in->curve, e) < 0 || trace_take_vcpus(o, in, e) < 0 ||
        trace_check_keys(link, NULL, link_keys, e) < 0 ||
        trace_check_keys(costs, NULL, cost_keys, e) < 0 ||
        trace_take_u64(link, "cases", UINT32_MAX, &link_cases, e) < 0 ||
        trace_take_estimate(link, "bytes_per_s", &f->bytes_per_s, e) < 0 ||
        json_find_text(costs, "from", &from, e) < 0 ||
        trace_take_word(from, froms, "costs.from", &word, e) < 0 ||
        trace_take_u64(costs, "cases", UINT32_MAX, &cases, e) < 0 ||
        trace_take_estimate(costs, "begin_ns", &f->costs.begin_ns, e) < 0 ||
        trace_take_estimate(costs, "pause_ns", &f->costs.pause_ns, e) < 0 ||
        trace_take_estimate(costs, "end_ns", &f->costs.end_ns, e) < 0)
        return -1;
    f->from = (enum costs_from)word;
    f->cases = (unsigned)cases;
    f->link_cases = (unsigned)link_cases;
    return 0;
}

static int trace_read_begin(struct json *o, struct trace *t, struct err *e)
{
    static const char *const keys[] = {"schema",   "event",          "kind",  "godwit", "route",
                                       "plan",     "curve",          "vcpus", "link",   "costs",
                                       "limit_ns", "first_limit_ns", NULL};
    struct json *plan = json_find(o, "plan");
    if (!json_is_object(plan))
        return err_set(e, ERR_REFUSED, 0, "plan: is missing");
    t->planned = true;
    if (trace_check_keys(o, NULL, keys, e) < 0 ||
        trace_check_keys(plan, plan_fields, (const char *const[]){NULL}, e) < 0 ||
        trace_take_text(o, "godwit", t->godwit, sizeof t->godwit, e) < 0 ||
        trace_take_text(o, "route", t->route, sizeof t->route, e) < 0 ||
        trace_take(plan, plan_fields, &t->plan, e) < 0 ||
        trace_take_ns(o, "limit_ns", &t->limit_ns, e) < 0 ||
        trace_take_ns(o, "first_limit_ns", &t->first_limit_ns, e) < 0)
        return -1;
    return trace_take_inputs(o, &t->inputs, e);
}

static int trace_read_action(struct json *o, int64_t at_ns, struct control_action *a, struct err *e)
{
    const char *what, *why;
    struct json *action = json_find(o, "action");
    *a = (struct control_action){.what = CONTROL_NOTHING, .at_ns = at_ns};
    if (action == NULL)
        return 0;
    if (!json_is_object(action))
        return err_set(e, ERR_REFUSED, 0, "action: is no object");
    if (trace_check_keys(action, action_fields, (const char *const[]){"what", "why", NULL}, e) <
            0 ||
        json_find_text(action, "what", &what, e) < 0 ||
        json_find_text(action, "why", &why, e) < 0 || trace_take(action, action_fields, a, e) < 0)
        return -1;
    a->why = text_keep("%s", why);
    for (int i = CONTROL_NOTHING + 1; i < CONTROL_WHATS; i++)
        if (strcmp(control_what_name((enum control_what)i), what) == 0) {
            a->what = (enum control_what)i;
            return 0;
        }
    return err_set(e, ERR_REFUSED, 0, "action.what: '%s' is not known", what);
}

static int trace_read_sample(struct json *o, struct trace *t, struct err *e)
{
    static const char *const keys[] = {"schema", "event", "t_ns", "action", NULL};
    struct vm_sample s = {0};
    struct control_action a;
    int64_t at_ns;
    if (trace_check_keys(o, sample_fields, keys, e) < 0 ||
        trace_take_ns(o, "t_ns", &at_ns, e) < 0 || trace_take(o, sample_fields, &s, e) < 0 ||
        trace_read_action(o, at_ns, &a, e) < 0)
        return -1;
    if (t->n > 0 && at_ns < t->samples[t->n - 1].at_ns)
        return err_set(e, ERR_REFUSED, 0, "t_ns: is before that of the sample above");
    trace_add(t, &s, at_ns, &a);
    return t->dropped == 0 ? 0 : err_set(e, ERR_REFUSED, 0, "there are too many samples");
}

static int trace_read_end(struct json *o, struct trace *t, struct err *e)
{
    static const char *const keys[] = {"schema",      "event",   "result",  "total_ns",
                                       "downtime_ns", "samples", "dropped", NULL};
    uint64_t samples, dropped;
    if (trace_check_keys(o, NULL, keys, e) < 0 ||
        trace_take_text(o, "result", t->result, sizeof t->result, e) < 0 ||
        trace_take_ns(o, "total_ns", &t->total_ns, e) < 0 ||
        trace_take_ns(o, "downtime_ns", &t->downtime_ns, e) < 0 ||
        trace_take_u64(o, "samples", TRACE_SAMPLES_MAX, &samples, e) < 0 ||
        trace_take_u64(o, "dropped", UINT64_C(1) << 62, &dropped, e) < 0)
        return -1;
    t->dropped = dropped;
    return samples == t->n
               ? 0
               : err_set(e, ERR_REFUSED, 0, "%zu samples are there, and %" PRIu64 " were written",
                         t->n, samples);
}

static int trace_check_schema(struct json *o, struct err *e)
{
    uint64_t schema;
    if (trace_take_u64(o, "schema", UINT32_MAX, &schema, e) < 0)
        return -1;
    if (schema == TRACE_SCHEMA)
        return 0;
    err_set(e, ERR_REFUSED, 0, "is of schema %" PRIu64 ", and this godwit reads %d", schema,
            TRACE_SCHEMA);
    return err_hint(e, "replay it with the godwit that wrote it");
}

enum trace_at { TRACE_AT_BEGIN, TRACE_AT_SAMPLES, TRACE_AT_END };

static int trace_read_object(struct json *o, struct trace *t, enum trace_at *at, struct err *e)
{
    const char *event, *kind = "";
    if (*at == TRACE_AT_BEGIN &&
        (json_find_text(o, "kind", &kind, e) < 0 || strcmp(kind, TRACE_KIND) != 0)) {
        err_clear(e);
        return err_set(e, ERR_REFUSED, 0, "is no trace of a migration");
    }
    if (trace_check_schema(o, e) < 0 || json_find_text(o, "event", &event, e) < 0)
        return -1;
    bool begin = strcmp(event, "begin") == 0, end = strcmp(event, "end") == 0;
    if (!begin && !end && strcmp(event, "sample") != 0)
        return err_set(e, ERR_REFUSED, 0, "event: '%s' is not known", event);
    if (*at == TRACE_AT_END)
        return err_set(e, ERR_REFUSED, 0, "the trace has ended above");
    if (begin != (*at == TRACE_AT_BEGIN))
        return err_set(e, ERR_REFUSED, 0,
                       begin ? "a trace begins here again"
                             : "the trace does not begin with its begin");
    *at = end ? TRACE_AT_END : TRACE_AT_SAMPLES;
    return (begin ? trace_read_begin : end ? trace_read_end : trace_read_sample)(o, t, e);
}

static int trace_read_line(const char *line, size_t len, struct trace *t, enum trace_at *at,
                           struct err *e)
{
    if (len > TRACE_LINE_MAX || strlen(line) != len)
        return err_set(e, ERR_REFUSED, 0, "is no text, or too long");
    CLEANUP_JSON struct json *o = json_from_text(line);
    if (o == NULL)
        return err_set(e, ERR_REFUSED, 0,
                       line[len - 1] == '\n' ? "is no JSON object"
                                             : "is cut off: the trace is not whole");
    return trace_read_object(o, t, at, e);
}

static int trace_read_lines(FILE *from, struct trace *t, unsigned *number, struct err *e)
{
    CLEANUP_FREE char *line = NULL;
    size_t room = 0;
    ssize_t len;
    enum trace_at at = TRACE_AT_BEGIN;
    while ((len = getline(&line, &room, from)) > 0) {
        ++*number;
        if (trace_read_line(line, (size_t)len, t, &at, e) < 0)
            return -1;
    }
    ++*number;
    if (ferror(from))
        return err_set(e, ERR_REFUSED, errno, "cannot be read");
    if (at == TRACE_AT_BEGIN)
        return err_set(e, ERR_REFUSED, 0, "is no trace of a migration: it is empty");
    return at == TRACE_AT_END
               ? 0
               : err_set(e, ERR_REFUSED, 0, "the trace is not whole: its end is missing");
}

int trace_read(FILE *from, const char *name, struct trace *t, struct err *e)
{
    struct err found = {0};
    unsigned number = 0;
    *t = (struct trace){.total_ns = -1, .downtime_ns = -1};
    if (trace_read_lines(from, t, &number, &found) == 0)
        return 0;
    trace_free(t);
    err_set(e, ERR_REFUSED, 0, "%s:%u: %s", name, number, found.msg);
    return found.hint != NULL ? err_hint(e, "%s", found.hint) : -1;
}
