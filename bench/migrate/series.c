/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The plan is determined by scenario, rounds and seed, so a trial's number says what it is, and a
 * series that is run again leaves out those that are there.
 *
 * A guest lives as long as its trials follow each other. A new one is migrated once before it is
 * measured: caches, page tables and the translated code of both sides are warm from then on. This
 * warm-up has no settings and no link limit, so that it ends soon, and is not kept. After a trial
 * that failed, or that virsh gave up, the guest is booted anew: what was set for that migration may
 * still be in force. godwit puts it back. Where the two QEMUs differ, the guest is moved back,
 * uncounted, before each trial.
 */
#include "bench/migrate/series.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

enum { SERIES_TRIES_MAX = 2 };

struct series {
    struct testbed *testbed;
    const struct series_options *o;
    size_t cell; /* of the guest that the testbed has */
    size_t done, measured, all;
    int64_t began_ns;
};

/* How many trials there are. */
static size_t series_trials(const struct series_options *o)
{
    return scenario_cells(o->scenario) * o->rounds;
}

static void series_tell(const struct series *s, const struct trial *next, const struct trial *last)
{
    struct series_progress p = {.done = s->done, .all = s->all, .next = next, .last = last};
    p.left_ns = s->measured > 0 ? (clock_now_ns() - s->began_ns) / (int64_t)s->measured *
                                      (int64_t)(s->all - s->done)
                                : -1;
    s->o->progress(s->o->arg, &p);
}

static void series_versions(const struct series *s, struct trial *t)
{
    for (int side = 0; side < TRIAL_SIDES; side++)
        snprintf(t->cell.qemu[side], sizeof t->cell.qemu[side], "%s",
                 testbed_qemu(s->testbed, (enum trial_side)side));
}

static int series_measure(struct series *s, const struct scenario_setting *setting, struct trial *t,
                          struct err *e)
{
    bool settled;
    struct trial_call call = {.setting = setting, .hear = s->o->hear, .cancel = s->o->cancel};
    for (size_t i = 0; i < setting->n; i++)
        if (strcmp(setting->words[i].name, SCENARIO_UNOBSERVED) == 0)
            call.unobserved = true;
    series_versions(s, t);
    int rc = trial_run(s->testbed, &call, t, &settled, e);
    bool godwit = t->cell.route != TRIAL_VIRSH;
    bool restored = t->end == TRIAL_DONE || (godwit && t->end == TRIAL_REFUSED) ||
                    (godwit && t->end == TRIAL_NOT_CONVERGED) || t->total_ns == 0;
    if (rc < 0 || !settled || !restored)
        testbed_end(s->testbed);
    return rc;
}

/* Moves a new guest once, by the plainest way there is: that always ends. */
static int series_warm_up(struct series *s, const struct trial_cell *cell, struct err *e)
{
    static const struct scenario_setting plain = {.name = "warm-up"};
    struct trial_cell what = *cell;
    struct trial t;
    what.link_bytes_per_s = 0;
    if (what.route != TRIAL_QMP)
        what.route = TRIAL_DIRECT;
    trial_init(&t, &what);
    t.warm_up = true;
    int rc = series_measure(s, &plain, &t, e);
    if (rc == 0 && t.end != TRIAL_DONE)
        rc = err_set(e, ERR_IO, 0, "a migration to warm up ended as '%s': %s",
                     trial_end_name(t.end), t.error.msg);
    trial_free(&t);
    return rc;
}

/* The guest of `cell`, warm, and on the right side. */
static int series_guest(struct series *s, size_t cell, const struct trial_cell *what, struct err *e)
{
    if (!testbed_has_guest(s->testbed) || !scenario_same_guest(s->o->scenario, s->cell, cell)) {
        if (testbed_begin(s->testbed, what, e) < 0)
            return -1;
        s->cell = cell;
        if (series_warm_up(s, what, e) < 0)
            return -1;
    }
    if (scenario_one_way(s->o->scenario) && !testbed_is_home(s->testbed))
        return series_warm_up(s, what, e);
    return 0;
}

/* What could not be measured, for a reason that is not the trial's, is no result: it is tried again,
 * and the second time in a row is the end. */
static int series_one(struct series *s, size_t cell, struct trial *t, struct err *e)
{
    const struct scenario_setting *setting = scenario_setting_of(s->o->scenario, cell);
    for (int vain = 0;; vain++) {
        int rc = series_guest(s, cell, &t->cell, e);
        if (rc == 0)
            rc = series_measure(s, setting, t, e);
        if (*s->o->cancel != 0) {
            err_clear(e); /* whatever could not be done then */
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        }
        if (rc == 0)
            return s->o->keep(s->o->arg, t, e);
        testbed_end(s->testbed);
        if (vain + 1 == SERIES_TRIES_MAX)
            return -1;
        log_warn("trial %u: %s; once more", t->number, e->msg);
        err_clear(e);
        struct trial again;
        trial_init(&again, &t->cell);
        again.number = t->number, again.round = t->round, again.place = t->place;
        trial_free(t);
        *t = again;
    }
}

static int series_round(struct series *s, unsigned round, struct err *e)
{
    size_t n = scenario_cells(s->o->scenario);
    CLEANUP_FREE size_t *order = calloc(n, sizeof *order);
    if (order == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot shuffle the round");
    scenario_order(s->o->scenario, s->o->seed, round, order);
    for (size_t i = 0; i < n; i++) {
        struct trial_cell cell;
        struct trial t;
        scenario_cell(s->o->scenario, order[i], &cell);
        trial_init(&t, &cell);
        t.number = (unsigned)(round * n + i + 1), t.round = round + 1, t.place = (unsigned)i + 1;
        if (s->o->has(s->o->arg, t.number))
            continue;
        series_tell(s, &t, NULL);
        int rc = series_one(s, order[i], &t, e);
        if (rc == 0) {
            s->done++;
            s->measured++;
            series_tell(s, NULL, &t);
        }
        trial_free(&t);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int series_run(struct testbed *s, const struct series_options *o, struct err *e)
{
    struct series series = {
        .testbed = s, .o = o, .all = series_trials(o), .began_ns = clock_now_ns()};
    for (unsigned number = 1; number <= series.all; number++)
        series.done += o->has(o->arg, number);
    int rc = 0;
    for (unsigned round = 0; rc == 0 && round < o->rounds; round++)
        rc = series_round(&series, round, e);
    testbed_end(s);
    return rc;
}
