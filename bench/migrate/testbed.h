/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the guests of a benchmark live, and how one of them is moved: two QEMUs of this machine,
 * two bare QEMUs on the hosts of the lab, or a libvirt domain there. One guest at a time; it goes to
 * and fro.
 *
 *     testbed_begin()                 boots the guest; it runs when this returns
 *       testbed_ready()               what must be so before a trial
 *       testbed_command()             the command that migrates
 *       testbed_arrived()             where the guest is now
 *     testbed_end()                   ends it, and removes what belongs to it
 */
#ifndef BENCH_MIGRATE_TESTBED_H
#define BENCH_MIGRATE_TESTBED_H

#include <signal.h>

#include "bench/migrate/scenario.h"
#include "bench/migrate/timeline.h"

enum { TESTBED_WORDS_MAX = 64, TESTBED_TEXT_MAX = 4096, TESTBED_PATH_MAX = 256 };

/* A command line, its words in a text of its own. */
struct testbed_command {
    const char *argv[TESTBED_WORDS_MAX + 1];
    size_t n;
    char text[TESTBED_TEXT_MAX];
    size_t used;
    bool overflow;
};

struct testbed_options {
    const struct scenario *scenario;
    const char *godwit;    /* this program */
    const char *guests;    /* directory with the built-in guests */
    const char *lab_tools; /* directory with lab, guest and domain; NULL with where = local */
    const char *scratch;   /* a private directory */
    const volatile sig_atomic_t *cancel;
};

struct testbed;

/* ERR_REFUSED: there is no lab that is up, or it is not complete. */
struct testbed *testbed_open(const struct testbed_options *options, struct err *e);
void testbed_close(struct testbed *s); /* NULL is fine; ends the guest that there is */

/* The QEMU of a side, as it says itself: "10.0.2"; "" not known. */
const char *testbed_qemu(const struct testbed *s, enum trial_side side);

/* Boots the guest of `cell` and waits until it is in its stride. ERR_TIMEOUT: it never sent a
 * heartbeat. */
int testbed_begin(struct testbed *s, const struct trial_cell *cell, struct err *e);
bool testbed_has_guest(const struct testbed *s);
bool testbed_is_home(const struct testbed *s); /* it is where it was booted: at qemu-source */
void testbed_end(struct testbed *s);

/* Settles the link, and makes the destination ready. */
int testbed_ready(struct testbed *s, const struct trial_cell *cell,
                  const struct scenario_setting *setting, struct err *e);

/* What to look at: timelines and observer specs, the source first. `specs` are owned by s. Returns
 * how many specs there are. */
size_t testbed_look(const struct testbed *s, struct timeline_side sides[TRIAL_SIDES],
                    const char *specs[TRIAL_OBSERVERS_MAX]);

/* An observer of these: a ping is sent from where the guest's network is. `beats` may be NULL. */
struct observer *testbed_observer_open(const struct testbed *s, const char *const *specs, size_t n,
                                       struct observer_beats *beats, struct err *e);

/* Of a bare QEMU that has the guest: its QMP socket, and the one for observers. */
const char *testbed_endpoint(const struct testbed *s);
const char *testbed_watch_endpoint(const struct testbed *s);

/* ERR_REFUSED: this route cannot do that setting, with the reason. */
int testbed_command(const struct testbed *s, const struct trial_cell *cell,
                    const struct scenario_setting *setting, struct testbed_command *c,
                    struct err *e);

/* After that long a migration is given up. */
int64_t testbed_timeout_ns(const struct testbed *s);

/* After a trial: where the guest runs, and what the other side still holds is ended. *arrived:
 * false, it runs where it was. ERR_IO: nowhere; then testbed_end() it. */
int testbed_arrived(struct testbed *s, bool *arrived, struct err *e);

/* ---- for building command lines ---- */

void testbed_word(struct testbed_command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
