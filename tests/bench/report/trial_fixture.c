/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/report/trial_fixture.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

enum { FIXTURE_STEP_MS = 10, FIXTURE_BEAT_MS = 5, FIXTURE_BEFORE_MS = 1000 };

static const struct {
    const char *name, *options;
    double pause, total; /* times as long as the default */
} settings[] = {
    {"default", "", 1, 1},
    {"multifd-2", "multifd=2", 0.9, 0.8},
    {"multifd-4", "multifd=4", 0.85, 0.7},
    {"multifd-4-zstd", "multifd=4 compression=zstd", 1.2, 0.9},
    {"xbzrle", "xbzrle=64M", 1.1, 1.3},
    {"auto-converge", "auto-converge", 1, 1.6},
    {"postcopy", "postcopy", 0.4, 1.1},
    {"downtime-20ms", "downtime-limit=20ms", 0.5, 1.4},
};

static const uint64_t rates_mib[] = {0, 64, 256, 1024};

struct fixture_random {
    uint64_t state;
};

/* From 0 to 1. */
static double fixture_uniform(struct fixture_random *r)
{
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(r->state >> 40) / (1 << 24);
}

/* Around 1, and skewed. */
static double fixture_noise(struct fixture_random *r)
{
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += fixture_uniform(r) - 0.5;
    return exp(sum * 0.4);
}

static void *fixture_room(size_t n, size_t size)
{
    void *room = calloc(n, size);
    assert(room != NULL);
    return room;
}

static int64_t fixture_ns(double ms)
{
    return llround(ms * 1e3) * NS_PER_US; /* as it is written */
}

static void fixture_devices(struct trial_pause *p, struct fixture_random *r)
{
    static const char *const names[] = {"ram",
                                        "timer",
                                        "cpu",
                                        "apic",
                                        "0000:00:01.2/piix4_pm",
                                        "0000:00:02.0/virtio-net",
                                        "0000:00:03.0/virtio-blk"};
    p->devices_n = sizeof names / sizeof *names;
    p->devices = fixture_room(p->devices_n, sizeof *p->devices);
    for (size_t i = 0; i < p->devices_n; i++) {
        struct trial_device *d = &p->devices[i];
        snprintf(d->name, sizeof d->name, "%s", names[i]);
        d->save_ns = fixture_ns(0.05 + fixture_uniform(r));
        d->load_ns = i == 3 ? TRIAL_NEVER : fixture_ns(0.1 + 2 * fixture_uniform(r));
    }
}

static void fixture_pause(struct trial *t, double began_ms, double silence_ms,
                          struct fixture_random *r)
{
    int64_t *const moments[] = {&t->pause.last_beat_ns, &t->pause.stopped_ns,
                                &t->pause.ram_sent_ns,  &t->pause.devices_sent_ns,
                                &t->pause.loaded_ns,    &t->pause.resumed_ns,
                                &t->pause.first_beat_ns};
    static const double share[] = {0, 0.08, 0.45, 0.55, 0.8, 0.86, 1};
    for (size_t i = 0; i < sizeof share / sizeof *share; i++)
        *moments[i] = fixture_ns(began_ms + silence_ms * share[i]);
    if (t->cell.route == TRIAL_VIRSH)
        t->pause.devices_sent_ns = TRIAL_NEVER;
    fixture_devices(&t->pause, r);
}

/* The switchover, and in one of seven a second one, as when a switch has forgotten the guest. */
static void fixture_noticed(struct trial *t, struct trial_observer *v)
{
    v->quiet_ns = fixture_ns(5.5);
    v->noticed = fixture_room(2, sizeof *v->noticed);
    v->noticed[v->noticed_n++] = (struct trial_silence){.began_ns = v->began_ns,
                                                        .length_ns = v->silence_ns,
                                                        .late_ns = v->late_ns,
                                                        .place = OBSERVER_SWITCHOVER};
    if (t->number % 7 == 0)
        v->noticed[v->noticed_n++] =
            (struct trial_silence){.began_ns = v->began_ns + v->silence_ns + fixture_ns(80),
                                   .length_ns = fixture_ns(60),
                                   .place = OBSERVER_AFTER,
                                   .open = true};
    v->noticed_count = v->noticed_n;
    for (size_t i = 0; i < v->noticed_n; i++)
        v->noticed_sum_ns += v->noticed[i].length_ns;
}

static void fixture_observers(struct trial *t, double began_ms, double silence_ms)
{
    t->observers_n = 2;
    t->observers[0] = (struct trial_observer){.kind = OBSERVER_SERIAL,
                                              .what = "serial:/run/a.log + serial:/run/b.log",
                                              .silence_ns = fixture_ns(silence_ms),
                                              .began_ns = fixture_ns(began_ms),
                                              .longest_ns = fixture_ns(silence_ms),
                                              .median_interval_ns = fixture_ns(5),
                                              .resolution_ns = fixture_ns(6.5),
                                              .late_ns = fixture_ns(0.4),
                                              .signs = 900};
    t->observers[1] = (struct trial_observer){.kind = OBSERVER_PING,
                                              .what = "ping:10.0.0.9",
                                              .silence_ns = fixture_ns(silence_ms + 4),
                                              .began_ns = fixture_ns(began_ms - 2),
                                              .longest_ns = fixture_ns(silence_ms + 4),
                                              .median_interval_ns = fixture_ns(5),
                                              .resolution_ns = fixture_ns(7),
                                              .late_ns = fixture_ns(0.2),
                                              .signs = 880,
                                              .sent = 890,
                                              .lost = 10};
    for (size_t i = 0; i < t->observers_n; i++)
        fixture_noticed(t, &t->observers[i]);
}

static void fixture_event(struct trial_timeline *l, int64_t at_ns, enum trial_side side,
                          const char *name, const char *detail)
{
    struct trial_event *v = &l->events[l->events_n++];
    *v = (struct trial_event){.at_ns = at_ns, .side = side};
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->detail, sizeof v->detail, "%s", detail);
}

static void fixture_events(struct trial *t, double total_ms)
{
    struct trial_timeline *l = &t->timeline;
    char pass[16];
    l->events = fixture_room(t->passes + 8, sizeof *l->events);
    fixture_event(l, fixture_ns(60), TRIAL_SOURCE, "MIGRATION", "setup");
    fixture_event(l, fixture_ns(80), TRIAL_SOURCE, "MIGRATION", "active");
    for (uint64_t i = 1; i <= t->passes; i++) {
        snprintf(pass, sizeof pass, "%u", (unsigned)i);
        /* each pass is shorter than the one before */
        double at = 90 + (total_ms - 200) * (1 - pow(0.6, (double)i - 1));
        fixture_event(l, fixture_ns(at), TRIAL_SOURCE, "MIGRATION_PASS", pass);
    }
    if (t->end != TRIAL_DONE)
        return;
    fixture_event(l, t->pause.stopped_ns, TRIAL_SOURCE, "STOP", "");
    fixture_event(l, t->pause.loaded_ns, TRIAL_SOURCE, "MIGRATION", "completed");
    fixture_event(l, t->pause.resumed_ns, TRIAL_DESTINATION, "RESUME", "");
}

static void fixture_usage(struct trial *t, double total_ms, struct fixture_random *r)
{
    struct trial_timeline *l = &t->timeline;
    size_t n = (size_t)((total_ms + (double)FIXTURE_BEFORE_MS + 500) / (double)FIXTURE_STEP_MS);
    uint64_t vcpu[TRIAL_SIDES] = {NS_PER_S, 0}, migration[TRIAL_SIDES] = {0, 0};
    l->usage = fixture_room(n, sizeof *l->usage);
    l->gauges = fixture_room(n, sizeof *l->gauges);
    l->usage_n = n;
    for (size_t i = 0; i < n; i++) {
        int64_t at_ns = fixture_ns((double)i * (double)FIXTURE_STEP_MS - (double)FIXTURE_BEFORE_MS);
        bool after = t->end == TRIAL_DONE && at_ns > t->pause.resumed_ns;
        bool migrating = at_ns > 0 && !after && (double)at_ns / 1e6 < total_ms;
        vcpu[after] += (uint64_t)(fixture_noise(r) * 9000) * 1000;
        migration[0] += migrating ? (uint64_t)(fixture_noise(r) * 7000) * 1000 : 0;
        migration[1] += migrating ? (uint64_t)(fixture_noise(r) * 4000) * 1000 : 0;
        struct trial_usage *u = &l->usage[i];
        u->at_ns = at_ns;
        for (size_t side = 0; side < TRIAL_SIDES; side++) {
            u->side[side].vcpu_cpu_ns = vcpu[side];
            u->side[side].migration_cpu_ns = migration[side];
            u->side[side].all_cpu_ns = vcpu[side] + migration[side];
            u->side[side].rss_bytes = side == 0 ? t->cell.ram_bytes
                                                : (uint64_t)(migration[1] / 4000 * 1000);
        }
        if (after && at_ns > t->pause.resumed_ns + 200 * NS_PER_MS)
            u->side[0].rss_bytes = u->side[0].vcpu_cpu_ns = u->side[0].migration_cpu_ns =
                u->side[0].all_cpu_ns = UINT64_MAX;
        if (migrating && i % 5 == 0)
            l->gauges[l->gauges_n++] = (struct trial_gauge){
                .at_ns = at_ns,
                .pass = 1 + i / 50,
                .transferred_bytes = i << 20,
                .remaining_bytes = (n - i) << 20,
                .dirty_bytes_per_s =
                    (uint64_t)((double)t->cell.dirty_bytes_per_s * fixture_noise(r)),
                .bandwidth_bytes_per_s = (uint64_t)(6e8 * fixture_noise(r)),
                .throttle_percent = 0};
    }
}

static void fixture_beats(struct trial *t, double total_ms, struct fixture_random *r)
{
    struct trial_timeline *l = &t->timeline;
    size_t n = (size_t)((total_ms + (double)FIXTURE_BEFORE_MS + 500) / (double)FIXTURE_BEAT_MS);
    uint32_t work = 4000;
    l->beats = fixture_room(n, sizeof *l->beats);
    for (size_t i = 0; i < n; i++) {
        int64_t at_ns = fixture_ns((double)i * (double)FIXTURE_BEAT_MS - (double)FIXTURE_BEFORE_MS);
        bool done = t->end == TRIAL_DONE;
        if (done && at_ns > t->pause.last_beat_ns && at_ns < t->pause.first_beat_ns)
            continue;
        work += (uint32_t)((double)(at_ns > 0 && (double)at_ns / 1e6 < total_ms ? 80 : 120) *
                           fixture_noise(r));
        l->beats[l->beats_n] = (struct trial_beat){
            .at_ns = at_ns,
            .seq = (uint32_t)l->beats_n,
            .work = work,
            .side = done && at_ns >= t->pause.first_beat_ns ? TRIAL_DESTINATION : TRIAL_SOURCE};
        l->beats_n++;
    }
}

static void fixture_cell(struct trial_cell *c, unsigned setting, unsigned rate,
                         enum trial_route route)
{
    *c = (struct trial_cell){.guest = "linux",
                             .accel = "tcg",
                             .route = route,
                             .ram_bytes = UINT64_C(1) << 30,
                             .working_set_bytes = 256 << 20,
                             .vcpus = 2,
                             .dirty_bytes_per_s = rates_mib[rate] << 20};
    snprintf(c->setting, sizeof c->setting, "%s", settings[setting].name);
    snprintf(c->options, sizeof c->options, "%s", settings[setting].options);
    snprintf(c->qemu[0], sizeof c->qemu[0], "10.0.2 (Debian 1:10.0.2+ds-2)");
    snprintf(c->qemu[1], sizeof c->qemu[1], "10.0.2 (Debian 1:10.0.2+ds-2)");
}

/* At the highest rate some do not converge, and virsh cannot do one of the settings. */
static enum trial_end fixture_end(const struct trial_fixture *f, unsigned setting, unsigned rate,
                                  enum trial_route route, struct fixture_random *r)
{
    if (f->settings > 6 && setting == 6 && route == TRIAL_VIRSH)
        return TRIAL_REFUSED;
    if (rate == 3 && setting < 2 && fixture_uniform(r) < 0.5)
        return TRIAL_NOT_CONVERGED;
    return TRIAL_DONE;
}

static void fixture_trial(struct trial *t, const struct trial_fixture *f, unsigned setting,
                          unsigned rate, struct fixture_random *r)
{
    static const double route_pause[] = {0.9, 1, 1.25, 1.8};
    double load = 1 + 0.6 * rate;
    double pause = settings[setting].pause * route_pause[t->cell.route];
    double silence_ms = f->slower * 50 * pause * load * fixture_noise(r);
    double total_ms = f->slower * 1800 * settings[setting].total * load * fixture_noise(r);
    double began_ms = total_ms - silence_ms - 100;
    t->end = fixture_end(f, setting, rate, t->cell.route, r);
    int64_t *const unknown[] = {&t->pause.last_beat_ns,  &t->pause.stopped_ns,
                                &t->pause.ram_sent_ns,   &t->pause.devices_sent_ns,
                                &t->pause.loaded_ns,     &t->pause.resumed_ns,
                                &t->pause.first_beat_ns, &t->total_ns,
                                &t->qemu_downtime_ns,    &t->qemu_total_ns};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        *unknown[i] = TRIAL_NEVER;
    if (t->end == TRIAL_REFUSED) {
        err_set(&t->error, ERR_REFUSED, 0, "virsh: no flag turns \"%s\" on", t->cell.options);
        return;
    }
    t->total_ns = fixture_ns(t->end == TRIAL_DONE ? total_ms : 12000);
    t->passes = 3 + rate;
    t->transferred_bytes = (uint64_t)(total_ms * 6e5);
    if (t->end == TRIAL_DONE) {
        t->qemu_downtime_ns = fixture_ns(silence_ms * 0.7);
        t->qemu_total_ns = fixture_ns(total_ms - 120);
        fixture_pause(t, began_ms, silence_ms, r);
        fixture_observers(t, began_ms, silence_ms);
        t->marks = fixture_uniform(r) < 0.05 ? TRIAL_LATE | TRIAL_STOLEN : 0;
    } else {
        err_set(&t->error, ERR_TIMEOUT, 0, "did not converge in 12 s");
    }
    if (!f->timelines)
        return;
    fixture_events(t, total_ms);
    fixture_usage(t, (double)t->total_ns / 1e6, r);
    fixture_beats(t, (double)t->total_ns / 1e6, r);
    t->timeline.sampling_cpu_ns = fixture_ns(31);
}

void trial_fixture_series(struct trial_series *s, const struct trial_fixture *f)
{
    *s = (struct trial_series){.command = "godwit bench migrate --scenario tests/<synthetic>.json",
                               .godwit = "0.1-test",
                               .scenario = "synthetic",
                               .seed = f->seed,
                               .rounds = f->rounds,
                               .kernel = "Linux 6.12.0",
                               .cpu = "AMD EPYC & sons",
                               .libvirt = "11.3.0",
                               .cores = 8};
    static const enum trial_route routes[] = {TRIAL_DIRECT, TRIAL_VIRSH, TRIAL_NATIVE, TRIAL_QMP};
    struct fixture_random r = {f->seed};
    size_t cells = (size_t)f->settings * f->rates * f->routes;
    s->trials = fixture_room(cells * f->rounds, sizeof *s->trials);
    for (unsigned round = 0; round < f->rounds; round++)
        for (size_t i = 0; i < cells; i++) {
            struct trial *t = &s->trials[s->n];
            unsigned setting = (unsigned)(i / f->routes % f->settings);
            unsigned rate = (unsigned)(i / f->routes / f->settings);
            fixture_cell(&t->cell, setting, rate, routes[i % f->routes]);
            t->number = (unsigned)++s->n;
            t->round = round + 1;
            t->place = (unsigned)i + 1;
            t->warm_up = round == 0 && f->rounds > 2;
            t->started_epoch_ns = INT64_C(1795600000000000000) + t->number * 20 * NS_PER_S;
            t->load_1m = 1.25;
            fixture_trial(t, f, setting, rate, &r);
        }
}
