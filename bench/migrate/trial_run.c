/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Three clocks must be one, so all is done in this process, on one machine: observers stamp the
 * guest's signs as they come, the timeline samples both QEMUs, and the command that migrates is a
 * child whose start is the trial's zero. Every tool is such a child, godwit too, so that none
 * is closer to the meter than another.
 *
 * Before and after the command there is a second in which nothing happens: the first gives the
 * observers' own resolution, the second the guest's first signs on the other side.
 */
#include "bench/migrate/trial_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/migrate/pause.h"
#include "core/clock.h"

enum { RUN_TIMEOUT_CODE = 124, RUN_REFUSED_CODE = 2 }; /* timeout(1)'s, and ours */

#define RUN_MARGIN_NS NS_PER_S

struct run {
    struct testbed *testbed;
    const struct trial_call *call;
    struct trial *trial;
    struct testbed_command command;
    const char *specs[TRIAL_OBSERVERS_MAX];
    size_t specs_n;
    struct timeline *timeline;
    struct observer *observer;
    struct observer_beats beats;
    struct observer_result seen[TRIAL_OBSERVERS_MAX];
    struct timeline_result result;
    int out, talk;
    struct child_end end;
    uint64_t steal, ticks; /* of the machine, before */
};

static void run_pause(const struct run *r)
{
    const struct timespec piece = {.tv_nsec = 50 * NS_PER_MS};
    for (int64_t until_ns = clock_now_ns() + RUN_MARGIN_NS; clock_now_ns() < until_ns;)
        if (*r->call->cancel != 0 || nanosleep(&piece, NULL) < 0)
            return;
}

/* Clock ticks of all processors: those that the machine below us gave to others, and all. */
static void run_read_ticks(uint64_t *steal, uint64_t *all)
{
    unsigned long long t[8] = {0};
    FILE *stat = fopen("/proc/stat", "re");
    *steal = *all = 0;
    if (stat == NULL)
        return;
    if (fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
               &t[4], &t[5], &t[6], &t[7]) == 8)
        for (int i = 0; i < 8; i++)
            *all += t[i];
    *steal = t[7];
    fclose(stat);
}

static double run_load(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : -1;
}

static int run_open(struct run *r, struct err *e)
{
    struct timeline_side sides[TRIAL_SIDES] = {0};
    r->specs_n = testbed_look(r->testbed, sides, r->specs);
    r->out = memfd_create("said", MFD_CLOEXEC);
    r->talk = memfd_create("talk", MFD_CLOEXEC);
    if (r->out < 0 || r->talk < 0)
        return err_set(e, ERR_IO, errno, "cannot make files for the output of a migration");
    if (!r->call->unobserved) {
        r->timeline = timeline_open(sides, NULL, e);
        if (r->timeline == NULL)
            return err_wrap(e, "the time line");
    }
    r->observer = testbed_observer_open(r->testbed, r->specs, r->specs_n, &r->beats, e);
    return r->observer != NULL ? 0 : -1;
}

static void run_close(struct run *r)
{
    if (r->observer != NULL)
        observer_stop(r->observer, r->seen, 0);
    if (r->timeline != NULL) {
        timeline_stop(r->timeline, 0, &r->result);
        timeline_result_free(&r->result);
    }
    free(r->beats.at);
    if (r->out >= 0)
        close(r->out);
    if (r->talk >= 0)
        close(r->talk);
}

/* ---- what was seen ---- */

/* The silence in which the guest changed sides; of ping the longest, since it does not tell where an
 * answer comes from. NULL: none. */
static const struct observer_silence *run_switchover(const struct observer_result *o)
{
    const struct observer_silence *c = &o->crossing;
    if (o->count == 0)
        return NULL;
    if (o->kind == OBSERVER_PING)
        return o->silences_n > 0 && !o->silences[0].open ? &o->silences[0] : NULL;
    return c->length_ns >= 0 && c->from == TRIAL_SOURCE && c->to == TRIAL_DESTINATION ? c : NULL;
}

/* What an observer knows nothing about is below zero. */
static int64_t run_known(int64_t ns)
{
    return ns >= 0 ? ns : TRIAL_NEVER;
}

static void run_take_observer(struct trial *t, const struct observer_result *o, int64_t started_ns)
{
    struct trial_observer *to = &t->observers[t->observers_n++];
    const struct observer_silence *s = run_switchover(o);
    *to = (struct trial_observer){
        .kind = o->kind,
        .silence_ns = TRIAL_NEVER,
        .began_ns = TRIAL_NEVER,
        .quiet_ns = TRIAL_NEVER,
        .noticed_sum_ns = TRIAL_NEVER,
        .longest_ns = o->count > 0 ? run_known(o->longest_silence_ns) : TRIAL_NEVER,
        .median_interval_ns = run_known(o->median_interval_ns),
        .resolution_ns = run_known(o->p99_interval_ns),
        .signs = o->count,
        .sent = o->sent,
        .lost = o->lost,
        .duplicates = o->duplicates,
        .clock_step_ns = o->clock_step_ns == OBSERVER_NO_CLOCK ? TRIAL_NEVER : o->clock_step_ns,
    };
    memcpy(to->what, o->what, sizeof to->what);
    if (s != NULL) {
        to->silence_ns = s->length_ns;
        to->began_ns = s->began_ns - started_ns;
        to->late_ns = s->late_ns;
        if (s->late_ns > s->length_ns / 5)
            t->marks |= TRIAL_LATE;
        if (s->length_ns < o->longest_silence_ns)
            t->marks |= TRIAL_ELSEWHERE;
    }
    for (size_t i = 0; i < o->silences_n; i++)
        if (o->silences[i].open && o->silences[i].length_ns > RUN_MARGIN_NS / 2)
            t->marks |= TRIAL_OPEN;
    if (o->duplicates > 0)
        t->marks |= TRIAL_TWICE;
}

/* When the pause is known: all silences that stood out, each in its place. */
static int run_take_noticed(struct run *r, size_t n, int64_t started_ns, struct err *e)
{
    struct trial *t = r->trial;
    struct observer_pause pause = {-1, -1};
    if (t->pause.stopped_ns != TRIAL_NEVER)
        pause.stopped_ns = started_ns + t->pause.stopped_ns;
    if (t->pause.resumed_ns != TRIAL_NEVER)
        pause.resumed_ns = started_ns + t->pause.resumed_ns;
    observer_find_pause(r->seen, n, &pause);
    for (size_t i = 0; i < n; i++) {
        const struct observer_result *o = &r->seen[i];
        struct trial_observer *to = &t->observers[i];
        to->quiet_ns = run_known(o->quiet_ns);
        to->noticed_sum_ns = o->quiet_ns >= 0 ? o->noticed_sum_ns : TRIAL_NEVER;
        to->noticed_count = o->noticed_count;
        to->noticed = calloc(o->noticed_n + 1, sizeof *to->noticed);
        if (to->noticed == NULL)
            return err_set(e, ERR_IO, ENOMEM, "cannot keep the trial");
        to->noticed_n = o->noticed_n;
        for (size_t k = 0; k < o->noticed_n; k++) {
            const struct observer_silence *s = &o->noticed[k];
            to->noticed[k] = (struct trial_silence){.began_ns = s->began_ns - started_ns,
                                                    .length_ns = s->length_ns,
                                                    .late_ns = s->late_ns,
                                                    .place = observer_place(s, &pause),
                                                    .open = s->open};
        }
    }
    return 0;
}

static int run_take_beats(struct run *r, int64_t started_ns, struct err *e)
{
    struct trial_timeline *to = &r->trial->timeline;
    to->beats = calloc(r->beats.n + 1, sizeof *to->beats);
    if (to->beats == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the trial");
    to->beats_n = r->beats.n;
    for (size_t i = 0; i < to->beats_n; i++) {
        const struct observer_beat *b = &r->beats.at[i];
        to->beats[i] = (struct trial_beat){b->at_ns - started_ns, b->seq, b->work,
                                           b->spec == 0 ? TRIAL_SOURCE : TRIAL_DESTINATION};
    }
    return 0;
}

/* What QEMU itself said last, where the command did not tell. */
static void run_take_last(struct trial *t, const struct timeline_result *r)
{
    if (r->last_at_ns == TRIAL_NEVER || r->last.vm.migration != VM_MIGRATION_COMPLETED)
        return;
    if (t->qemu_downtime_ns == TRIAL_NEVER)
        t->qemu_downtime_ns = r->last.vm.downtime_ns;
    if (t->qemu_total_ns == TRIAL_NEVER && r->last.total_ns > 0)
        t->qemu_total_ns = r->last.total_ns;
    if (t->transferred_bytes == 0)
        t->transferred_bytes = r->last.vm.ram_transferred_bytes;
    if (t->passes == 0)
        t->passes = r->last.vm.passes;
}

/* QEMU has said that a migration had begun. */
static bool run_has_begun(const struct trial_timeline *l)
{
    for (size_t i = 0; i < l->events_n; i++)
        if (l->events[i].side == TRIAL_SOURCE && strcmp(l->events[i].name, "MIGRATION") == 0 &&
            l->events[i].at_ns >= 0)
            return true;
    return false;
}

/* What came of a guest that is where it was. virsh has one exit code for all: an argument that
 * libvirt does not know is distinguished from other failures by its words. */
static enum trial_end run_end_at_source(const struct run *r)
{
    const struct trial *t = r->trial;
    int64_t timeout_ns = testbed_timeout_ns(r->testbed);
    if (t->cell.route == TRIAL_VIRSH) {
        bool argument = strstr(t->error.msg, "unsupported") != NULL ||
                        strstr(t->error.msg, "Unsupported") != NULL ||
                        strstr(t->error.msg, "invalid argument") != NULL;
        if (r->end.exit_code == RUN_TIMEOUT_CODE)
            return TRIAL_NOT_CONVERGED;
        return argument && !run_has_begun(&t->timeline) ? TRIAL_REFUSED : TRIAL_FAILED;
    }
    if (t->error.class == ERR_TIMEOUT && t->total_ns >= timeout_ns)
        return TRIAL_NOT_CONVERGED;
    return r->end.exit_code == RUN_REFUSED_CODE && t->error.class == ERR_REFUSED ? TRIAL_REFUSED
                                                                                 : TRIAL_FAILED;
}

static void run_judge(struct run *r, bool arrived)
{
    struct trial *t = r->trial;
    int code = r->end.exit_code;
    if (code != 0 && t->error.class == ERR_NONE) {
        char said[CHILD_SAID_MAX];
        child_last_line(r->talk, said);
        err_set(&t->error, ERR_IO, 0, "exit code %d: %s", code, said);
    }
    if (arrived)
        t->end = code == 0 ? TRIAL_DONE : TRIAL_FAILED;
    else
        t->end = run_end_at_source(r);
}

static int run_collect(struct run *r, bool *settled, struct err *e)
{
    struct trial *t = r->trial;
    int64_t started_ns = r->end.began_ns;
    uint64_t steal, ticks;
    bool arrived = false;
    size_t n = observer_stop(r->observer, r->seen, TRIAL_OBSERVERS_MAX);
    r->observer = NULL;
    if (r->timeline != NULL) {
        timeline_stop(r->timeline, started_ns, &r->result);
        r->timeline = NULL;
        t->timeline = r->result.timeline;
        r->result.timeline = (struct trial_timeline){0};
    } else {
        r->result.last_at_ns = TRIAL_NEVER;
    }
    int rc = run_take_beats(r, started_ns, e);
    t->total_ns = r->end.ended_ns - started_ns;
    r->call->hear(t, r->out);
    struct err where = {0};
    *settled = testbed_arrived(r->testbed, &arrived, &where) == 0;
    run_judge(r, arrived);
    if (!*settled) {
        t->end = TRIAL_FAILED;
        t->error = where;
    }
    if (arrived)
        run_take_last(t, &r->result);
    for (size_t i = 0; i < n; i++)
        run_take_observer(t, &r->seen[i], started_ns);
    if (t->end == TRIAL_DONE && trial_silence_ns(t) == TRIAL_NEVER)
        t->marks |= TRIAL_BLIND;
    run_read_ticks(&steal, &ticks);
    if (steal - r->steal > (ticks - r->ticks) / 10)
        t->marks |= TRIAL_STOLEN;
    if (rc == 0)
        rc = pause_fill(t, r->result.log, e);
    if (rc == 0)
        rc = run_take_noticed(r, n, started_ns, e);
    timeline_result_free(&r->result);
    r->result = (struct timeline_result){0};
    return rc;
}

static int run_do(struct run *r, bool *settled, struct err *e)
{
    struct trial *t = r->trial;
    if (run_open(r, e) < 0)
        return -1;
    run_pause(r);
    observer_mark(r->observer);
    run_read_ticks(&r->steal, &r->ticks);
    t->load_1m = run_load();
    t->started_epoch_ns = clock_epoch_ns();
    if (child_run_to(r->command.argv, r->out, r->talk, r->call->cancel, &r->end, e) < 0)
        return -1;
    run_pause(r);
    return run_collect(r, settled, e);
}

int trial_run(struct testbed *s, const struct trial_call *call, struct trial *t, bool *settled,
              struct err *e)
{
    struct run r = {.testbed = s, .call = call, .trial = t, .out = -1, .talk = -1};
    *settled = false;
    if (testbed_command(s, &t->cell, call->setting, &r.command, e) < 0) {
        if (e->class != ERR_REFUSED)
            return -1;
        t->end = TRIAL_REFUSED;
        t->error = *e;
        err_clear(e);
        *settled = true;
        return 0;
    }
    if (testbed_ready(s, &t->cell, call->setting, e) < 0)
        return -1;
    int rc = run_do(&r, settled, e);
    run_close(&r);
    return rc;
}
