/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trial: one migration, and all that was measured of it. Made by bench/migrate/trial_run.c, written and
 * read as JSON by bench/report/trial_file.c, drawn by `godwit bench report`.
 *
 * Times are CLOCK_MONOTONIC nanoseconds relative to the trial's start: just before the command that
 * migrates is started. TRIAL_NEVER: not seen, or not known.
 */
#ifndef BENCH_MIGRATE_TRIAL_H
#define BENCH_MIGRATE_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/observe/observer.h"
#include "core/err.h"

#define TRIAL_NEVER INT64_MIN

enum trial_side { TRIAL_SOURCE, TRIAL_DESTINATION, TRIAL_SIDES };

enum trial_route {
    TRIAL_QMP,    /* godwit between two bare QEMUs */
    TRIAL_DIRECT, /* godwit migrate --route direct of a domain */
    TRIAL_NATIVE, /* godwit migrate --route native of a domain */
    TRIAL_VIRSH,  /* the peer: virsh migrate --live of that domain */
};

/* What one trial differs from another in. Trials with equal cells are repeats. */
struct trial_cell {
    char guest[16];    /* "bare", "linux", "command" */
    char accel[32];    /* "tcg", "kvm", "kvm,dirty-ring-size=4096" */
    char setting[32];  /* its name in the scenario: "default", "multifd-4" */
    char options[256]; /* what that name stands for: "multifd=4 compression=zstd"; "" nothing */
    enum trial_route route;
    char qemu[TRIAL_SIDES][48]; /* versions as QEMU says them; "" not known */
    uint64_t ram_bytes, working_set_bytes;
    unsigned vcpus;
    uint64_t dirty_bytes_per_s; /* that the guest was asked to dirty */
    uint64_t link_bytes_per_s;  /* 0: no limit */
};

enum trial_end {
    TRIAL_DONE,          /* the guest runs on the destination */
    TRIAL_FAILED,        /* it runs on the source, or is lost: see error */
    TRIAL_NOT_CONVERGED, /* given up after the scenario's timeout */
    TRIAL_REFUSED,       /* this route cannot do that setting: nothing was started */
};

/* What disturbed it: a trial is marked, and kept. */
enum trial_mark {
    TRIAL_BLIND = 1 << 0,     /* no observer saw the guest leave one side and come on the other */
    TRIAL_ELSEWHERE = 1 << 1, /* the longest silence was not that of the switchover */
    TRIAL_LATE = 1 << 2,   /* the observer itself ran late, by more than a fifth of the silence */
    TRIAL_OPEN = 1 << 3,   /* the guest had not come back when it ended */
    TRIAL_TWICE = 1 << 4,  /* heartbeats came twice */
    TRIAL_STOLEN = 1 << 5, /* others had more than a tenth of the processors' time */
};

/* One that stood out of the quiet level (bench/observe/observer.h). */
struct trial_silence {
    int64_t began_ns, length_ns, late_ns;
    enum observer_place place;
    bool open;
};

/* One vantage point outside the guest. */
struct trial_observer {
    enum observer_kind kind;
    char what[OBSERVER_WHAT_MAX];
    int64_t silence_ns; /* of the switchover: from the last sign of the source to the first of the
                              destination; of ping, the longest. TRIAL_NEVER: not seen */
    int64_t began_ns;   /* when that silence began */
    int64_t longest_ns;
    int64_t median_interval_ns, resolution_ns; /* between signs before; the latter is p99 */
    int64_t late_ns;                           /* what the observer's own delays may account for */
    uint64_t signs, sent, lost, duplicates;
    int64_t clock_step_ns; /* what the guest's clock has gained; TRIAL_NEVER: it does not say */
    int64_t quiet_ns;      /* the level; TRIAL_NEVER: not known, and then there are none */
    struct trial_silence *noticed; /* in the order in which they came; of very many the longest */
    size_t noticed_n;
    uint64_t noticed_count; /* of all, and how long they are together; TRIAL_NEVER: not known */
    int64_t noticed_sum_ns;
};

struct trial_device {
    char name[64];            /* "0000:00:02.0/virtio-net", "ram", "timer" */
    int64_t save_ns, load_ns; /* TRIAL_NEVER: not reported */
};

/* The pause, taken apart: when each thing happened. By heartbeats, QEMU's events and, from QEMU 8.2
 * on, its vmstate_downtime_* trace points. */
struct trial_pause {
    int64_t last_beat_ns;    /* the guest's last sign of life on the source */
    int64_t stopped_ns;      /* its vCPUs stand */
    int64_t ram_sent_ns;     /* the last pass over RAM was sent */
    int64_t devices_sent_ns; /* the device state was sent */
    int64_t loaded_ns;       /* the destination has loaded all */
    int64_t resumed_ns;      /* the destination's vCPUs run */
    int64_t first_beat_ns;   /* the guest's first sign of life there */
    struct trial_device *devices;
    size_t devices_n;
};

/* Every 10 ms or so. Cumulative since the process began, but for rss; UINT64_MAX: not known (another
 * machine, or ended). */
struct trial_usage {
    int64_t at_ns;
    struct {
        uint64_t vcpu_cpu_ns, migration_cpu_ns, all_cpu_ns, rss_bytes;
    } side[TRIAL_SIDES];
};

/* What the source's QEMU said when it was asked. */
struct trial_gauge {
    int64_t at_ns;
    uint64_t pass, transferred_bytes, remaining_bytes, dirty_bytes_per_s, bandwidth_bytes_per_s;
    unsigned throttle_percent;
};

struct trial_event {
    int64_t at_ns; /* by QEMU's own time stamp where both are on one machine */
    enum trial_side side;
    char name[32];   /* "STOP", "MIGRATION", "MIGRATION_PASS" */
    char detail[64]; /* "active", "3" */
};

/* A heartbeat of the guest. */
struct trial_beat {
    int64_t at_ns;
    uint32_t seq, work;
    enum trial_side side;
};

struct trial_timeline {
    struct trial_usage *usage;
    size_t usage_n;
    struct trial_gauge *gauges;
    size_t gauges_n;
    struct trial_event *events;
    size_t events_n;
    struct trial_beat *beats;
    size_t beats_n;
    int64_t sampling_cpu_ns; /* what the sampling thread itself has used */
};

enum { TRIAL_OBSERVERS_MAX = 4 };

struct trial {
    unsigned number, round, place; /* from 1: in the whole run, its round, its turn in that */
    bool warm_up;                  /* not counted */
    struct trial_cell cell;
    int64_t started_epoch_ns;
    enum trial_end end;
    unsigned marks;
    struct err error; /* class ERR_NONE: none */
    double load_1m;

    int64_t total_ns;         /* the command that migrates, from fork to wait */
    int64_t qemu_downtime_ns; /* as QEMU reports it; TRIAL_NEVER: not */
    int64_t qemu_total_ns;
    uint64_t transferred_bytes, passes;
    struct trial_observer observers[TRIAL_OBSERVERS_MAX];
    size_t observers_n;
    struct trial_pause pause;
    struct trial_timeline timeline;
};

/* What was run, once for all its trials. */
struct trial_series {
    char command[512]; /* that made it */
    char godwit[64];
    char scenario[64]; /* its name: the file, or "built-in" */
    uint64_t seed;
    unsigned rounds;
    char kernel[96], cpu[96], libvirt[32];
    long cores;
    struct trial *trials;
    size_t n;
};

/* A trial of which nothing is known yet but what it is; its time is now. */
void trial_init(struct trial *t, const struct trial_cell *cell);
void trial_free(struct trial *t); /* what it owns, not itself */

/* All of it but the time line. ERR_IO: no memory, and *to is empty. */
int trial_copy_short(const struct trial *t, struct trial *to, struct err *e);
void trial_series_free(struct trial_series *s);

/* The silence by the best vantage point there is: serial before ping. TRIAL_NEVER: none. */
int64_t trial_silence_ns(const struct trial *t);

/* How long the guest was silent in all, by the vantage point of trial_silence_ns(): each time that stood out.
 * TRIAL_NEVER: not known. */
int64_t trial_all_silences_ns(const struct trial *t);

/* How often any of them saw it silent again after it had come back: as of a network that was not told. */
size_t trial_silences_after(const struct trial *t);

/* Whether it counts: not a warm-up, done, and with a silence. */
bool trial_counts(const struct trial *t);

bool trial_cell_same(const struct trial_cell *a, const struct trial_cell *b);

const char *trial_route_name(enum trial_route route);
const char *trial_end_name(enum trial_end end);
int trial_route_of(const char *name); /* -1: none of that name */
int trial_end_of(const char *name);

/* One letter a mark, in a fixed order: "be"; "" none. Backwards: unknown letters are ignored. */
void trial_marks_text(unsigned marks, char text[16]);
unsigned trial_marks_of(const char *text);

#endif
