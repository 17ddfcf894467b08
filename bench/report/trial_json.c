/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/trial_json.h"
#include "core/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {[OBSERVER_PING] = "ping", [OBSERVER_SERIAL] = "serial"};
static const char *const side_names[] = {
    [TRIAL_SOURCE] = "source", [TRIAL_DESTINATION] = "destination"};

/* The moments of the pause, in the order of struct trial_pause. */
static const struct {
    const char *key;
    size_t offset;
} moments[] = {
    {"last_beat_ms", offsetof(struct trial_pause, last_beat_ns)},
    {"stopped_ms", offsetof(struct trial_pause, stopped_ns)},
    {"ram_sent_ms", offsetof(struct trial_pause, ram_sent_ns)},
    {"devices_sent_ms", offsetof(struct trial_pause, devices_sent_ns)},
    {"loaded_ms", offsetof(struct trial_pause, loaded_ns)},
    {"resumed_ms", offsetof(struct trial_pause, resumed_ns)},
    {"first_beat_ms", offsetof(struct trial_pause, first_beat_ns)},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- writing ---- */

void trial_json_head(struct json *o, const struct trial_series *s)
{
    json_text(o, "command", s->command);
    json_text(o, "scenario", s->scenario);
    json_u64(o, "seed", s->seed);
    json_u64(o, "rounds", s->rounds);
    struct json *machine = json_node(o, "machine");
    json_text(machine, "kernel", s->kernel);
    json_text(machine, "cpu", s->cpu);
    json_u64(machine, "cores", (uint64_t)s->cores);
    struct json *versions = json_node(o, "versions");
    json_text(versions, "godwit", s->godwit);
    json_text(versions, "libvirt", s->libvirt);
}

static void trial_json_cell(struct json *o, const struct trial_cell *c)
{
    json_text(o, "guest", c->guest);
    json_text(o, "accel", c->accel);
    json_text(o, "setting", c->setting);
    json_text(o, "options", c->options);
    json_text(o, "route", trial_route_name(c->route));
    struct json *qemu = json_node(o, "qemu");
    for (size_t side = 0; side < TRIAL_SIDES; side++)
        json_text(qemu, side_names[side], c->qemu[side]);
    json_u64(o, "ram_bytes", c->ram_bytes);
    json_u64(o, "working_set_bytes", c->working_set_bytes);
    json_u64(o, "vcpus", c->vcpus);
    json_u64(o, "dirty_bytes_per_s", c->dirty_bytes_per_s);
    json_u64(o, "link_bytes_per_s", c->link_bytes_per_s);
}

static void trial_json_observer(struct json *o, const struct trial_observer *v)
{
    json_text(o, "kind", kind_names[v->kind]);
    json_text(o, "what", v->what);
    json_signed_ms(o, "silence_ms", v->silence_ns);
    json_signed_ms(o, "began_ms", v->began_ns);
    json_signed_ms(o, "longest_ms", v->longest_ns);
    json_signed_ms(o, "median_interval_ms", v->median_interval_ns);
    json_signed_ms(o, "resolution_ms", v->resolution_ns);
    json_signed_ms(o, "late_ms", v->late_ns);
    json_u64(o, "signs", v->signs);
    json_u64(o, "sent", v->sent);
    json_u64(o, "lost", v->lost);
    json_u64(o, "duplicates", v->duplicates);
    json_signed_ms(o, "clock_step_ms", v->clock_step_ns);
    json_signed_ms(o, "quiet_ms", v->quiet_ns);
    json_u64(o, "noticed_n", v->noticed_count);
    json_signed_ms(o, "noticed_sum_ms", v->noticed_sum_ns);
    struct json *list = json_list(o, "noticed");
    for (size_t i = 0; i < v->noticed_n; i++) {
        const struct trial_silence *s = &v->noticed[i];
        struct json *item = json_item(list);
        json_signed_ms(item, "began_ms", s->began_ns);
        json_signed_ms(item, "length_ms", s->length_ns);
        json_text(item, "place", observer_place_name(s->place));
        json_flag(item, "open", s->open);
        json_signed_ms(item, "late_ms", s->late_ns);
    }
}

static void trial_json_pause(struct json *o, const struct trial_pause *p)
{
    for (size_t i = 0; i < COUNT(moments); i++)
        json_signed_ms(o, moments[i].key, *(const int64_t *)((const char *)p + moments[i].offset));
    struct json *list = json_list(o, "devices");
    for (size_t i = 0; i < p->devices_n; i++) {
        struct json *device = json_item(list);
        json_text(device, "name", p->devices[i].name);
        json_signed_ms(device, "save_ms", p->devices[i].save_ns);
        json_signed_ms(device, "load_ms", p->devices[i].load_ns);
    }
}

void trial_json(struct json *o, const struct trial *t)
{
    char marks[16];
    trial_marks_text(t->marks, marks);
    json_u64(o, "number", t->number);
    json_u64(o, "round", t->round);
    json_u64(o, "place", t->place);
    json_flag(o, "warm_up", t->warm_up);
    trial_json_cell(json_node(o, "cell"), &t->cell);
    json_signed_ms(o, "started_epoch_ms", t->started_epoch_ns);
    json_text(o, "end", trial_end_name(t->end));
    json_text(o, "marks", marks);
    json_number(o, "load_1m", t->load_1m);
    json_signed_ms(o, "silence_ms", trial_silence_ns(t)); /* for readers; it is in the observers */
    json_signed_ms(o, "total_ms", t->total_ns);
    json_signed_ms(o, "qemu_downtime_ms", t->qemu_downtime_ns);
    json_signed_ms(o, "qemu_total_ms", t->qemu_total_ns);
    json_u64(o, "transferred_bytes", t->transferred_bytes);
    json_u64(o, "passes", t->passes);
    struct json *list = json_list(o, "observers");
    for (size_t i = 0; i < t->observers_n; i++)
        trial_json_observer(json_item(list), &t->observers[i]);
    trial_json_pause(json_node(o, "pause"), &t->pause);
    json_error(o, &t->error);
}

/* ---- the time line: one table a kind, whose columns are named and ordered here ---- */

static const char *const usage_columns[] = {"at_ms",
                                            "source_vcpu_cpu_ms",
                                            "source_migration_cpu_ms",
                                            "source_all_cpu_ms",
                                            "source_rss_bytes",
                                            "destination_vcpu_cpu_ms",
                                            "destination_migration_cpu_ms",
                                            "destination_all_cpu_ms",
                                            "destination_rss_bytes",
                                            NULL};
static const char *const gauge_columns[] = {"at_ms",
                                            "pass",
                                            "transferred_bytes",
                                            "remaining_bytes",
                                            "dirty_bytes_per_s",
                                            "bandwidth_bytes_per_s",
                                            "throttle_percent",
                                            NULL};
static const char *const event_columns[] = {"at_ms", "side", "name", "detail", NULL};
static const char *const beat_columns[] = {"at_ms", "seq", "work", "side", NULL};

static void trial_json_usage(struct json *row, const struct trial_usage *u)
{
    json_row_ms(row, u->at_ns);
    for (size_t side = 0; side < TRIAL_SIDES; side++) {
        const uint64_t cpu_ns[] = {u->side[side].vcpu_cpu_ns, u->side[side].migration_cpu_ns,
                                   u->side[side].all_cpu_ns};
        for (size_t k = 0; k < COUNT(cpu_ns); k++)
            json_row_ms(row, cpu_ns[k] == UINT64_MAX ? JSON_NEVER : (int64_t)cpu_ns[k]);
        json_row_u64(row, u->side[side].rss_bytes);
    }
}

static void trial_json_gauge(struct json *row, const struct trial_gauge *g)
{
    json_row_ms(row, g->at_ns);
    json_row_u64(row, g->pass);
    json_row_u64(row, g->transferred_bytes);
    json_row_u64(row, g->remaining_bytes);
    json_row_u64(row, g->dirty_bytes_per_s);
    json_row_u64(row, g->bandwidth_bytes_per_s);
    json_row_u64(row, g->throttle_percent);
}

void trial_json_timeline(struct json *o, const struct trial_timeline *l)
{
    struct json *rows = json_table(o, "usage", usage_columns);
    for (size_t i = 0; i < l->usage_n; i++)
        trial_json_usage(json_row(rows), &l->usage[i]);
    rows = json_table(o, "gauges", gauge_columns);
    for (size_t i = 0; i < l->gauges_n; i++)
        trial_json_gauge(json_row(rows), &l->gauges[i]);
    rows = json_table(o, "events", event_columns);
    for (size_t i = 0; i < l->events_n; i++) {
        struct json *row = json_row(rows);
        json_row_ms(row, l->events[i].at_ns);
        json_row_u64(row, l->events[i].side);
        json_row_text(row, l->events[i].name);
        json_row_text(row, l->events[i].detail);
    }
    rows = json_table(o, "beats", beat_columns);
    for (size_t i = 0; i < l->beats_n; i++) {
        struct json *row = json_row(rows);
        json_row_ms(row, l->beats[i].at_ns);
        json_row_u64(row, l->beats[i].seq);
        json_row_u64(row, l->beats[i].work);
        json_row_u64(row, l->beats[i].side);
    }
    json_signed_ms(o, "sampling_cpu_ms", l->sampling_cpu_ns);
}

/* ---- reading ---- */

int trial_json_read_head(const struct json_place *top, struct trial_series *s, struct err *e)
{
    struct json_place machine = json_get(top, "machine", e),
                      versions = json_get(top, "versions", e);
    json_need_text(top, "command", s->command, sizeof s->command, e);
    json_need_text(top, "scenario", s->scenario, sizeof s->scenario, e);
    s->seed = json_need_u64(top, "seed", e);
    s->rounds = (unsigned)json_need_u64(top, "rounds", e);
    json_need_text(&machine, "kernel", s->kernel, sizeof s->kernel, e);
    json_need_text(&machine, "cpu", s->cpu, sizeof s->cpu, e);
    s->cores = (long)json_need_u64(&machine, "cores", e);
    json_need_text(&versions, "godwit", s->godwit, sizeof s->godwit, e);
    json_need_text(&versions, "libvirt", s->libvirt, sizeof s->libvirt, e);
    return e->class == ERR_NONE ? 0 : -1;
}

/* A text that must be one of a few. */
static int trial_json_one_of(const struct json_place *in, const char *key, int (*of)(const char *),
                             struct err *e)
{
    char name[32] = "";
    json_need_text(in, key, name, sizeof name, e);
    if (e->class != ERR_NONE)
        return 0;
    int which = of(name);
    if (which < 0)
        err_set(e, ERR_REFUSED, 0, "%s: '%s' is not known to this godwit", key, name);
    return which < 0 ? 0 : which;
}

static int trial_json_kind_of(const char *name)
{
    for (size_t i = 0; i < COUNT(kind_names); i++)
        if (strcmp(name, kind_names[i]) == 0)
            return (int)i;
    return -1;
}

static void trial_json_read_cell(const struct json_place *p, struct trial_cell *c, struct err *e)
{
    json_need_text(p, "guest", c->guest, sizeof c->guest, e);
    json_need_text(p, "accel", c->accel, sizeof c->accel, e);
    json_need_text(p, "setting", c->setting, sizeof c->setting, e);
    json_need_text(p, "options", c->options, sizeof c->options, e);
    c->route = (enum trial_route)trial_json_one_of(p, "route", trial_route_of, e);
    struct json_place qemu = json_get(p, "qemu", e);
    for (size_t side = 0; side < TRIAL_SIDES; side++)
        json_need_text(&qemu, side_names[side], c->qemu[side], sizeof c->qemu[side], e);
    c->ram_bytes = json_need_u64(p, "ram_bytes", e);
    c->working_set_bytes = json_need_u64(p, "working_set_bytes", e);
    c->vcpus = (unsigned)json_need_u64(p, "vcpus", e);
    c->dirty_bytes_per_s = json_need_u64(p, "dirty_bytes_per_s", e);
    c->link_bytes_per_s = json_need_u64(p, "link_bytes_per_s", e);
}

/* Room for a list's items; NULL with n = 0 for an empty one, or when *e is set. */
static void *trial_json_room(const struct json_place *list, size_t size, size_t *n, struct err *e)
{
    size_t wanted = json_get_length(list, e);
    void *room = wanted > 0 ? calloc(wanted, size) : NULL;
    if (wanted > 0 && room == NULL)
        err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    *n = room != NULL ? wanted : 0;
    return room;
}

static enum observer_place trial_json_read_place(const struct json_place *p, struct err *e)
{
    const char *name = json_get_text(p, "place", e);
    for (int place = OBSERVER_BEFORE; name != NULL && place <= OBSERVER_AFTER; place++)
        if (strcmp(name, observer_place_name((enum observer_place)place)) == 0)
            return (enum observer_place)place;
    return OBSERVER_PLACE_UNKNOWN;
}

/* Results of a godwit that did not tell have none of it: null, and an empty list. */
static void trial_json_read_noticed(const struct json_place *p, struct trial_observer *v,
                                    struct err *e)
{
    struct json_place list = json_get(p, "noticed", e);
    uint64_t count = json_get_u64(p, "noticed_n", e);
    v->clock_step_ns = json_get_ms(p, "clock_step_ms", e);
    v->quiet_ns = json_get_ms(p, "quiet_ms", e);
    v->noticed_count = count != UINT64_MAX ? count : 0;
    v->noticed_sum_ns = json_get_ms(p, "noticed_sum_ms", e);
    v->noticed = trial_json_room(&list, sizeof *v->noticed, &v->noticed_n, e);
    for (size_t i = 0; i < v->noticed_n; i++) {
        struct json_place item = json_get_nth(&list, i, e);
        v->noticed[i] = (struct trial_silence){.began_ns = json_get_ms(&item, "began_ms", e),
                                               .length_ns = json_get_ms(&item, "length_ms", e),
                                               .late_ns = json_get_ms(&item, "late_ms", e),
                                               .place = trial_json_read_place(&item, e),
                                               .open = json_get_flag(&item, "open", e)};
    }
}

static void trial_json_read_observer(const struct json_place *p, struct trial_observer *v,
                                     struct err *e)
{
    v->kind = (enum observer_kind)trial_json_one_of(p, "kind", trial_json_kind_of, e);
    json_need_text(p, "what", v->what, sizeof v->what, e);
    v->silence_ns = json_get_ms(p, "silence_ms", e);
    v->began_ns = json_get_ms(p, "began_ms", e);
    v->longest_ns = json_get_ms(p, "longest_ms", e);
    v->median_interval_ns = json_get_ms(p, "median_interval_ms", e);
    v->resolution_ns = json_get_ms(p, "resolution_ms", e);
    v->late_ns = json_get_ms(p, "late_ms", e);
    v->signs = json_need_u64(p, "signs", e);
    v->sent = json_need_u64(p, "sent", e);
    v->lost = json_need_u64(p, "lost", e);
    v->duplicates = json_need_u64(p, "duplicates", e);
    trial_json_read_noticed(p, v, e);
}

static void trial_json_read_pause(const struct json_place *p, struct trial_pause *pause,
                                  struct err *e)
{
    for (size_t i = 0; i < COUNT(moments); i++)
        *(int64_t *)((char *)pause + moments[i].offset) = json_get_ms(p, moments[i].key, e);
    struct json_place list = json_get(p, "devices", e);
    pause->devices = trial_json_room(&list, sizeof *pause->devices, &pause->devices_n, e);
    for (size_t i = 0; i < pause->devices_n; i++) {
        struct trial_device *device = &pause->devices[i];
        struct json_place item = json_get_nth(&list, i, e);
        json_need_text(&item, "name", device->name, sizeof device->name, e);
        device->save_ns = json_get_ms(&item, "save_ms", e);
        device->load_ns = json_get_ms(&item, "load_ms", e);
    }
}

static void trial_json_read_error(const struct json_place *p, struct err *error, struct err *e)
{
    const char *class = json_get_text(p, "class", e), *text = json_get_text(p, "message", e);
    const char *hint = json_get_text(p, "hint", e);
    if (class == NULL || text == NULL)
        return;
    error->class = ERR_IO; /* a class that is new to us is an error all the same */
    for (int c = ERR_USAGE; c <= ERR_UNCERTAIN; c++)
        if (strcmp(class, err_class_name((enum err_class)c)) == 0)
            error->class = (enum err_class)c;
    text_fit(error->msg, sizeof error->msg, text);
    error->hint = hint != NULL && hint[0] != '\0' ? text_keep("%s", hint) : NULL;
}

static void trial_json_read_observers(const struct json_place *p, struct trial *t, struct err *e)
{
    struct json_place list = json_get(p, "observers", e);
    t->observers_n = json_get_length(&list, e);
    if (t->observers_n > TRIAL_OBSERVERS_MAX) {
        err_set(e, ERR_REFUSED, 0, "observers: there are more than %d", TRIAL_OBSERVERS_MAX);
        t->observers_n = 0;
    }
    for (size_t i = 0; i < t->observers_n; i++) {
        struct json_place item = json_get_nth(&list, i, e);
        trial_json_read_observer(&item, &t->observers[i], e);
    }
}

int trial_json_read(const struct json_place *p, struct trial *t, struct err *e)
{
    struct json_place cell = json_get(p, "cell", e), pause = json_get(p, "pause", e);
    struct json_place error = json_get(p, "error", e);
    char marks[16] = "";
    t->number = (unsigned)json_need_u64(p, "number", e);
    t->round = (unsigned)json_need_u64(p, "round", e);
    t->place = (unsigned)json_need_u64(p, "place", e);
    t->warm_up = json_get_flag(p, "warm_up", e);
    trial_json_read_cell(&cell, &t->cell, e);
    t->started_epoch_ns = json_get_ms(p, "started_epoch_ms", e);
    t->end = (enum trial_end)trial_json_one_of(p, "end", trial_end_of, e);
    json_need_text(p, "marks", marks, sizeof marks, e);
    t->marks = trial_marks_of(marks);
    t->load_1m = json_get_number(p, "load_1m", e);
    t->total_ns = json_get_ms(p, "total_ms", e);
    t->qemu_downtime_ns = json_get_ms(p, "qemu_downtime_ms", e);
    t->qemu_total_ns = json_get_ms(p, "qemu_total_ms", e);
    t->transferred_bytes = json_need_u64(p, "transferred_bytes", e);
    t->passes = json_need_u64(p, "passes", e);
    trial_json_read_observers(p, t, e);
    trial_json_read_pause(&pause, &t->pause, e);
    trial_json_read_error(&error, &t->error, e);
    return e->class == ERR_NONE ? 0 : -1;
}

/* ---- reading the time line ---- */

/* The rows of a table whose columns are those that we write: their order is relied on below. */
static struct json_place trial_json_rows(const struct json_place *table, const char *const *columns,
                                         struct err *e)
{
    struct json_place names = json_get(table, "columns", e);
    for (size_t i = 0; columns[i] != NULL && e->class == ERR_NONE && table->value != NULL; i++) {
        struct json_place name = json_get_nth(&names, i, e);
        const char *text = json_read_text(&name, e);
        if (e->class == ERR_NONE && (text == NULL || strcmp(text, columns[i]) != 0))
            err_set(e, ERR_REFUSED, 0, "%s.columns[%zu]: is not '%s'", table->key, i, columns[i]);
    }
    return json_get(table, "rows", e);
}

static uint64_t trial_json_u64(const struct json_place *row, size_t column, struct err *e)
{
    struct json_place p = json_get_nth(row, column, e);
    return json_read_u64(&p, e);
}

static int64_t trial_json_ms(const struct json_place *row, size_t column, struct err *e)
{
    struct json_place p = json_get_nth(row, column, e);
    return json_read_ms(&p, e);
}

static void trial_json_text(const struct json_place *row, size_t column, char *text, size_t size,
                            struct err *e)
{
    struct json_place p = json_get_nth(row, column, e);
    const char *value = json_read_text(&p, e);
    snprintf(text, size, "%s", value != NULL ? value : "");
}

static enum trial_side trial_json_side(const struct json_place *row, size_t column, struct err *e)
{
    return trial_json_u64(row, column, e) == TRIAL_DESTINATION ? TRIAL_DESTINATION : TRIAL_SOURCE;
}

static void trial_json_read_usage(const struct json_place *row, struct trial_usage *u,
                                  struct err *e)
{
    u->at_ns = trial_json_ms(row, 0, e);
    for (size_t side = 0; side < TRIAL_SIDES; side++) {
        uint64_t *cpu_ns[] = {&u->side[side].vcpu_cpu_ns, &u->side[side].migration_cpu_ns,
                              &u->side[side].all_cpu_ns};
        for (size_t k = 0; k < COUNT(cpu_ns); k++) {
            int64_t ns = trial_json_ms(row, 1 + side * 4 + k, e);
            *cpu_ns[k] = ns < 0 ? UINT64_MAX : (uint64_t)ns;
        }
        u->side[side].rss_bytes = trial_json_u64(row, 4 + side * 4, e);
    }
}

static void trial_json_read_gauge(const struct json_place *row, struct trial_gauge *g,
                                  struct err *e)
{
    g->at_ns = trial_json_ms(row, 0, e);
    g->pass = trial_json_u64(row, 1, e);
    g->transferred_bytes = trial_json_u64(row, 2, e);
    g->remaining_bytes = trial_json_u64(row, 3, e);
    g->dirty_bytes_per_s = trial_json_u64(row, 4, e);
    g->bandwidth_bytes_per_s = trial_json_u64(row, 5, e);
    g->throttle_percent = (unsigned)trial_json_u64(row, 6, e);
}

static void trial_json_read_event(const struct json_place *row, struct trial_event *v,
                                  struct err *e)
{
    v->at_ns = trial_json_ms(row, 0, e);
    v->side = trial_json_side(row, 1, e);
    trial_json_text(row, 2, v->name, sizeof v->name, e);
    trial_json_text(row, 3, v->detail, sizeof v->detail, e);
}

static void trial_json_read_beat(const struct json_place *row, struct trial_beat *b, struct err *e)
{
    b->at_ns = trial_json_ms(row, 0, e);
    b->seq = (uint32_t)trial_json_u64(row, 1, e);
    b->work = (uint32_t)trial_json_u64(row, 2, e);
    b->side = trial_json_side(row, 3, e);
}

/* Reads the table `name` into the list `field` of *l, row by row. */
#define TRIAL_JSON_ROWS(name, field, columns, read)                            \
    do {                                                                       \
        struct json_place table = json_get(p, name, e);                        \
        struct json_place rows = trial_json_rows(&table, columns, e);          \
        l->field = trial_json_room(&rows, sizeof *l->field, &l->field##_n, e); \
        for (size_t i = 0; i < l->field##_n; i++) {                            \
            struct json_place row = json_get_nth(&rows, i, e);                 \
            read(&row, &l->field[i], e);                                       \
        }                                                                      \
    } while (0)

int trial_json_read_timeline(const struct json_place *p, struct trial_timeline *l, struct err *e)
{
    TRIAL_JSON_ROWS("usage", usage, usage_columns, trial_json_read_usage);
    TRIAL_JSON_ROWS("gauges", gauges, gauge_columns, trial_json_read_gauge);
    TRIAL_JSON_ROWS("events", events, event_columns, trial_json_read_event);
    TRIAL_JSON_ROWS("beats", beats, beat_columns, trial_json_read_beat);
    l->sampling_cpu_ns = json_get_ms(p, "sampling_cpu_ms", e);
    return e->class == ERR_NONE ? 0 : -1;
}
