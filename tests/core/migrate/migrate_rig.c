/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"

static void on_progress(void *arg, const struct migrate_progress *p)
{
    struct migrate_outcome *o = arg;
    assert_true(p->elapsed_ns >= 0);
    o->progress_calls++;
    o->diverged |= p->diverges;
}

/* Shorter than what is waited for, about as long, and longer. */
static int64_t silence_ns(uint32_t seed)
{
    static const int64_t all[] = {NS_PER_S / 5, 3 * NS_PER_S, 29 * NS_PER_S, 31 * NS_PER_S,
                                  70 * NS_PER_S};
    return all[seed % 5];
}

void migrate_rig_prepare(struct migrate_outcome *o, const struct migrate_scenario *sc,
                         enum fake_fault fault, unsigned at, uint32_t seed)
{
    struct err e = {0};
    struct loop *loop = loop_new(&e);
    assert_non_null(loop);
    assert_int_equal(loop_catch_signals(loop, &e), 0);
    *o = (struct migrate_outcome){0};
    struct fake_pair *p = &o->pair;
    fake_pair_init(p, loop);
    p->seed = seed * 2654435761u + 17;
    p->hesitation = seed % 8; /* 0: hurries; 7: nearly stands still */
    p->source.lags = seed / 8 % 3 == 1;
    p->destination.lags = seed / 8 % 3 == 2;
    p->fault = fault;
    p->fault_at_op = at;
    p->source_paused = sc->source_paused;
    p->never_converges = sc->never_converges;
    p->load_fails = sc->load_fails;
    p->fails_softly = sc->fails_softly;
    p->resume_unseen = sc->resume_unseen;
    p->late_events = sc->late_events;
    if (fault == FAKE_SOURCE_SILENT || fault == FAKE_DESTINATION_SILENT)
        p->silence_ns = silence_ns(seed);
    p->source.vm.may_go_on = sc->managed;
    if (sc->source_paused)
        p->source.run = VM_RUN_STOPPED;
}

void migrate_rig_run(struct migrate_outcome *o, const struct migrate_scenario *sc)
{
    struct fake_pair *p = &o->pair;
    struct loop *loop = p->source.vm.loop;
    struct migrate_plan plan = {
        .source = &p->source.vm,
        .destination = &p->destination.vm,
        .settings = {.postcopy = sc->postcopy, .postcopy_held = sc->steered, .pause = sc->pause},
        .control = sc->steered ? &sc->control : NULL,
        .via = "unix:/stream",
        .timeout_ns = sc->timeout_ns,
        .quit_source = sc->quit_source,
        .quit_destination = sc->quit_destination,
        .progress = on_progress,
        .progress_arg = o,
    };
    o->rc = migrate_run(&plan, &o->report, &o->e);
    fake_pair_quiesce(p);
    fake_pair_close(p);
    loop_free(loop);
}

void migrate_rig_play(struct migrate_outcome *o, const struct migrate_scenario *sc,
                      enum fake_fault fault, unsigned at, uint32_t seed)
{
    migrate_rig_prepare(o, sc, fault, at, seed);
    migrate_rig_run(o, sc);
}

void migrate_rig_describe(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                          uint32_t seed)
{
    print_error(
        "%s, %s at operation %u, seed %u: guest=%s rc=%d class=%s touched=%d '%s'\n  trail:%s\n",
        sc->name, fake_fault_name(o->pair.fault), o->pair.fault_at_op, seed,
        migrate_guest_name(o->report.guest), o->rc, err_class_name(o->e.class), o->report.touched,
        o->e.msg, o->pair.trail);
}

static void check_destination(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                              uint32_t seed)
{
    const struct fake_pair *p = &o->pair;
    CHECK(o->rc == 0 && o->e.class == ERR_NONE);
    CHECK(o->report.phases.now == PHASE_DONE);
    CHECK(p->source.dead || p->source.run != VM_RUN_RUNNING);
    CHECK(sc->source_paused || p->destination_ran);
    CHECK(!p->destination_quit);
    if (!p->destination.dead)
        CHECK(p->destination.run == (sc->source_paused ? VM_RUN_STOPPED : VM_RUN_RUNNING));
    if (sc->quit_source && o->pair.fault == FAKE_NO_FAULT)
        CHECK(p->source_quit);
    if (!sc->quit_source)
        CHECK(!p->source_quit);
}

static void check_source(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                         uint32_t seed)
{
    const struct fake_pair *p = &o->pair;
    CHECK(o->rc == -1 && o->e.class != ERR_NONE && o->e.class != ERR_UNCERTAIN);
    CHECK(o->report.phases.now == PHASE_FAILED);
    if (!o->report.touched) {
        CHECK(p->changes == 0);
        return;
    }
    CHECK(!p->source.dead || p->fault == FAKE_SOURCE_DIES);
    CHECK(!p->destination_ran && !p->source_quit);
    if (!p->source.dead)
        CHECK(sc->source_paused
                  ? p->source.run == VM_RUN_STOPPED || p->source.run == VM_RUN_MIGRATED
                  : p->source.run == VM_RUN_RUNNING);
    /* one that cannot be told is left armed only where nothing has gone there, or can any more */
    if (!p->destination.dead && p->destination_armed)
        CHECK(p->stop_refused && (p->source.migration == VM_MIGRATION_NONE || p->was_silent) &&
              !p->loaded && !p->package_sent);
    if (sc->quit_destination && p->fault == FAKE_NO_FAULT)
        CHECK(p->destination_quit);
    if (!sc->quit_destination)
        CHECK(!p->destination_quit);
    if (p->fault == FAKE_NO_FAULT || p->fault == FAKE_INTERRUPT)
        CHECK(!p->source.configured);
    /* one that lives on, and can be told, may be tried again */
    if (p->fault == FAKE_NO_FAULT || p->fault == FAKE_INTERRUPT || p->fault == FAKE_STREAM_BREAKS ||
        p->fault == FAKE_STREAM_STALLS)
        CHECK(p->destination.dead || !p->destination.configured);
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned n = 0;
    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        n++;
    }
    return n;
}

/* Someone has to be unable to answer for longer than is waited, or an answer was lost, or memory may be on both
 * sides, or both have run the guest. */
static bool may_be_unknown(const struct fake_pair *p, const struct migrate_scenario *sc)
{
    bool long_silence = p->was_silent && (p->silence_ns == 0 || p->silence_ns > 20 * NS_PER_S);
    bool unanswered = p->faulty != NULL &&
                      (p->answer_lost || p->fault == FAKE_LOST_BEFORE || p->fault == FAKE_REFUSES);
    bool split = p->package_sent || (p->start_postcopy && p->loaded && p->broken);
    return p->source.dead || p->destination.dead || long_silence || unanswered || split ||
           p->both_ran || (sc->resume_unseen && p->destination_ran);
}

/* Of what is said to be unknown, which commands help, and which do harm then. */
static const struct {
    const char *says, *helps[3], *harms[2];
} advice[] = {
    {"the destination does not start the guest that it has loaded",
     {"destination-look", "destination-go-on", "source-end"},
     {"source-go-on", "destination-end"}},
    {"both sides run the guest",
     {"source-stop", "destination-stop"},
     {"source-go-on", "destination-go-on"}},
    {"both sides have run the guest",
     {"source-stop", "destination-stop"},
     {"source-go-on", "destination-go-on"}},
    {"and may have run on the destination",
     {"source-stop", "destination-stop"},
     {"source-go-on", "destination-go-on"}},
    {"the destination had run the guest, and has it no more",
     {"source-end", "destination-end"},
     {"source-go-on", "destination-go-on"}},
    {"postcopy was broken off: either side",
     {"source-look", "destination-look"},
     {"source-end", "destination-end"}},
    {"postcopy was broken off; the destination, which has not run the guest, is held",
     {"source-look", "source-go-on"},
     {"destination-go-on", "source-end"}},
    {"does not tell whether postcopy has begun",
     {"source-look", "source-go-on"},
     {"destination-go-on", "source-end"}},
    {"and the source does not tell whether it runs it, too",
     {"source-look", "destination-look"},
     {"source-end", "destination-end"}},
    {"does not tell whether it has the guest",
     {"destination-look", "destination-go-on"},
     {"source-go-on", "destination-end"}},
    {"the guest runs nowhere",
     {"source-end", "destination-end"},
     {"source-go-on", "destination-go-on"}},
};
enum { ADVICE = sizeof advice / sizeof *advice };

static void check_advice(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                         uint32_t seed)
{
    for (size_t i = 0; i < ADVICE; i++) {
        if (strstr(o->e.msg, advice[i].says) == NULL)
            continue;
        for (size_t n = 0; n < 3 && advice[i].helps[n] != NULL; n++)
            CHECK(strstr(o->e.hint, advice[i].helps[n]) != NULL);
        for (size_t n = 0; n < 2 && advice[i].harms[n] != NULL; n++)
            CHECK(strstr(o->e.hint, advice[i].harms[n]) == NULL);
    }
}

/* What is to be typed then is whole. */
static void check_unknown(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                          uint32_t seed)
{
    const struct fake_pair *p = &o->pair;
    CHECK(o->rc == -1 && o->e.class == ERR_UNCERTAIN);
    CHECK(o->report.phases.now == PHASE_UNCERTAIN);
    CHECK(o->e.hint != NULL && o->e.msg[0] != '\0');
    CHECK(count_of(o->e.hint, FAKE_COMMAND_BEGIN) > 0 &&
          count_of(o->e.hint, FAKE_COMMAND_BEGIN) == count_of(o->e.hint, FAKE_COMMAND_END));
    CHECK(may_be_unknown(p, sc));
    CHECK(!p->source_quit);
    check_advice(o, sc, seed);
    /* once the destination has been heard to run the guest, nobody is told to let the source run it */
    const struct vm_seen *there = &p->destination.vm.seen;
    if ((there->resumed_ns != 0 && there->resumed_ns < o->report.ended_ns) ||
        (there->stopped_ns != 0 && there->stopped_ns < o->report.ended_ns))
        CHECK(strstr(o->e.hint, "source-go-on") == NULL);
}

void migrate_rig_check(const struct migrate_outcome *o, const struct migrate_scenario *sc,
                       uint32_t seed)
{
    /* facts about QEMU, not about us: theory of operation, qmp/vm_qmp.c. What is said of it is ours */
    if (o->pair.qemu_race)
        CHECK(sc->postcopy || sc->managed);
    if (o->pair.both_ran)
        CHECK(o->report.guest == MIGRATE_GUEST_UNKNOWN);
    switch (o->report.guest) {
    case MIGRATE_GUEST_DESTINATION: check_destination(o, sc, seed); break;
    case MIGRATE_GUEST_SOURCE: check_source(o, sc, seed); break;
    case MIGRATE_GUEST_UNKNOWN: check_unknown(o, sc, seed); break;
    }
    CHECK(o->report.ended_ns >= o->report.started_ns);
    CHECK(o->report.downtime_observed_ns >= -1);
}

unsigned migrate_rig_seeds(void)
{
    const char *text = getenv("MIGRATE_SEEDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : MIGRATE_RIG_SEEDS;
}
