/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The truth is QEMU's own: it stamps STOP after the vCPUs stand, and RESUME just before they are let
 * run, with microseconds of this machine's clock. How long after and before, it does not tell: the
 * guest stood for at least RESUME - STOP, and at most from our sending `stop` to QEMU's answer to
 * `cont`. Some 0.3 ms are between the two, more where a processor is missing.
 *
 * What the observer may be off by: the last sign of life came up to a period before the stop, the
 * first up to a period after the resume, so on average it sees one period more. Each stop has an
 * observer of its own, since an observer keeps only the longest silences.
 */
#include "bench/migrate/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/stats.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/loop.h"
#include "qmp/vm_qmp.h"
#include "qmp/watch.h"

const int64_t selftest_lengths_ns[SELFTEST_LENGTHS] = {5 * NS_PER_MS, 20 * NS_PER_MS,
                                                       100 * NS_PER_MS, 500 * NS_PER_MS};

#define SELFTEST_BEFORE_NS (400 * NS_PER_MS) /* undisturbed: gives the period */
#define SELFTEST_AFTER_NS (200 * NS_PER_MS)
#define SELFTEST_EVENT_NS (2 * NS_PER_S)
#define SELFTEST_ALLOWED_NS NS_PER_MS

struct selftest {
    struct testbed *testbed;
    const struct selftest_options *o;
    struct loop *loop;
    struct vm *vm;
    struct watch *watch;
    int64_t stopped_ns, resumed_ns; /* 0: not yet */
};

enum selftest_verdict selftest_judge(const struct selftest_stop *s, size_t observer)
{
    const struct selftest_look *l = &s->look[observer];
    if (l->silence_ns == TRIAL_NEVER)
        return SELFTEST_OFF;
    int64_t least_ns = s->true_ns - SELFTEST_ALLOWED_NS;
    int64_t most_ns = s->most_ns + SELFTEST_ALLOWED_NS + l->period_ns;
    if (l->silence_ns >= least_ns && l->silence_ns <= most_ns)
        return SELFTEST_WITHIN;
    return l->silence_ns >= least_ns - l->late_ns && l->silence_ns <= most_ns + l->late_ns
               ? SELFTEST_LATE
               : SELFTEST_OFF;
}

static void selftest_on_event(void *arg, const struct watch_event *ev)
{
    struct selftest *t = arg;
    if (ev != NULL && strcmp(ev->name, "STOP") == 0)
        t->stopped_ns = ev->stamp_ns;
    else if (ev != NULL && strcmp(ev->name, "RESUME") == 0)
        t->resumed_ns = ev->stamp_ns;
}

static void selftest_sleep(int64_t ns)
{
    struct timespec pause = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
        ;
}

/* What QEMU has said of both, it said before it answered; the other socket may bring it later. */
static int selftest_await(struct selftest *t, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + SELFTEST_EVENT_NS;
    while (t->stopped_ns == 0 || t->resumed_ns == 0) {
        if (clock_now_ns() > deadline_ns || watch_lost(t->watch))
            return err_set(e, ERR_LOST, 0, "QEMU has not reported when it stopped and resumed");
        loop_turn(t->loop, 20 * NS_PER_MS);
    }
    return 0;
}

static int selftest_stop_once(struct selftest *t, struct observer *o, struct selftest_stop *s,
                              struct err *e)
{
    enum vm_run now;
    selftest_sleep(SELFTEST_BEFORE_NS);
    observer_mark(o);
    t->stopped_ns = t->resumed_ns = 0;
    int64_t sent_ns = clock_now_ns();
    if (t->vm->ops->run(t->vm, false, &now, e) < 0)
        return -1;
    selftest_sleep(selftest_lengths_ns[s->length]);
    if (t->vm->ops->run(t->vm, true, &now, e) < 0)
        return -1;
    s->most_ns = clock_now_ns() - sent_ns;
    selftest_sleep(SELFTEST_AFTER_NS);
    if (selftest_await(t, e) < 0)
        return -1;
    s->true_ns = t->resumed_ns - t->stopped_ns;
    return 0;
}

static int selftest_one(struct selftest *t, struct selftest_stop *s, enum observer_kind *kinds,
                        size_t *observers_n, struct err *e)
{
    struct timeline_side sides[TRIAL_SIDES];
    const char *specs[TRIAL_OBSERVERS_MAX];
    struct observer_result seen[TRIAL_OBSERVERS_MAX];
    size_t looked_n = testbed_look(t->testbed, sides, specs), specs_n = 0;
    for (size_t i = 0; i < looked_n; i++) /* there is no destination */
        if (i != TRIAL_DESTINATION || strncmp(specs[i], "serial:", strlen("serial:")) != 0)
            specs[specs_n++] = specs[i];
    struct observer *o = testbed_observer_open(t->testbed, specs, specs_n, NULL, e);
    if (o == NULL)
        return -1;
    int rc = selftest_stop_once(t, o, s, e);
    *observers_n = observer_stop(o, seen, TRIAL_OBSERVERS_MAX);
    for (size_t i = 0; i < *observers_n; i++) {
        const struct observer_result *r = &seen[i];
        kinds[i] = r->kind;
        s->look[i] = (struct selftest_look){
            .silence_ns = r->count > 0 ? r->longest_silence_ns : TRIAL_NEVER,
            .before_ns = t->stopped_ns - r->silence_began_ns,
            .after_ns = r->silence_began_ns + r->longest_silence_ns - t->resumed_ns,
            .period_ns = r->median_interval_ns,
            .late_ns = r->silences_n > 0 ? r->silences[0].late_ns : 0,
        };
    }
    return rc;
}

static int selftest_all(struct selftest *t, struct selftest_stop *stops, enum observer_kind *kinds,
                        size_t *observers_n, struct err *e)
{
    size_t n = SELFTEST_LENGTHS * t->o->times;
    CLEANUP_FREE size_t *order = calloc(n, sizeof *order);
    if (order == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot begin the selftest");
    stats_shuffle(t->o->seed, 0, order, n);
    for (size_t i = 0; i < n; i++) {
        if (*t->o->cancel != 0)
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        stops[i] = (struct selftest_stop){.length = order[i] % SELFTEST_LENGTHS};
        if (selftest_one(t, &stops[i], kinds, observers_n, e) < 0)
            return -1;
        t->o->progress(t->o->arg, i + 1, n);
    }
    return 0;
}

int selftest_run(struct testbed *s, const struct selftest_options *o, struct selftest_stop *stops,
                 enum observer_kind kinds[TRIAL_OBSERVERS_MAX], size_t *observers_n, struct err *e)
{
    struct selftest t = {.testbed = s, .o = o};
    struct qmp_endpoint ep;
    struct vm_facts facts;
    int rc = -1;
    *observers_n = 0;
    t.loop = loop_new(e);
    if (t.loop != NULL && qmp_endpoint_parse(testbed_endpoint(s), &ep, e) == 0)
        t.vm = vm_qmp_open(t.loop, &ep, "source", e);
    if (t.vm != NULL)
        t.watch = watch_open(t.loop, testbed_watch_endpoint(s), WATCH_OPEN_TIMEOUT_NS,
                             selftest_on_event, &t, e);
    if (t.watch != NULL && t.vm->ops->probe(t.vm, &facts, e) == 0)
        rc = selftest_all(&t, stops, kinds, observers_n, e);
    watch_close(t.watch);
    if (t.vm != NULL)
        t.vm->ops->close(t.vm);
    loop_free(t.loop);
    return rc;
}
