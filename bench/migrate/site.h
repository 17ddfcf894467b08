/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the guests of a benchmark live, and how one of them is moved: two QEMUs of this machine,
 * two bare QEMUs on the hosts of the lab, or a libvirt domain there. One guest at a time; it goes to
 * and fro.
 *
 *     site_begin()                 boots the guest; it runs when this returns
 *       site_ready()               what must be so before a trial
 *       site_command()             the command that migrates
 *       site_arrived()             where the guest is now
 *     site_end()                   ends it, and removes what belongs to it
 */
#ifndef BENCH_MIGRATE_SITE_H
#define BENCH_MIGRATE_SITE_H

#include <signal.h>

#include "bench/migrate/scenario.h"
#include "bench/migrate/timeline.h"

enum { SITE_WORDS_MAX = 64, SITE_TEXT_MAX = 4096, SITE_PATH_MAX = 256 };

/* A command line, its words in a text of its own. */
struct site_command {
    const char *argv[SITE_WORDS_MAX + 1];
    size_t n;
    char text[SITE_TEXT_MAX];
    size_t used;
    bool overflow;
};

struct site_options {
    const struct scenario *scenario;
    const char *godwit;     /* this program */
    const char *guests;     /* directory with the built-in guests */
    const char *lab_tools;  /* directory with lab, guest and domain; NULL with where = local */
    const char *scratch;    /* a private directory */
    const volatile sig_atomic_t *cancel;
};

struct site;

/* ERR_REFUSED: there is no lab that is up, or it is not complete. */
struct site *site_open(const struct site_options *options, struct err *e);
void site_close(struct site *s); /* NULL is fine; ends the guest that there is */

/* The QEMU of a side, as it says itself: "10.0.2"; "" not known. */
const char *site_qemu(const struct site *s, enum trial_side side);

/* Boots the guest of `cell` and waits until it is in its stride. ERR_TIMEOUT: it never sent a
 * heartbeat. */
int site_begin(struct site *s, const struct trial_cell *cell, struct err *e);
bool site_has_guest(const struct site *s);
bool site_is_home(const struct site *s); /* it is where it was booted: at qemu-source */
void site_end(struct site *s);

/* Settles the link, and makes the destination ready. */
int site_ready(struct site *s, const struct trial_cell *cell,
               const struct scenario_setting *setting, struct err *e);

/* What to look at: timelines and observer specs, the source first. `specs` are owned by s. Returns
 * how many specs there are. */
size_t site_look(const struct site *s, struct timeline_side sides[TRIAL_SIDES],
                 const char *specs[TRIAL_OBSERVERS_MAX]);

/* An observer of these: a ping is sent from where the guest's network is. `beats` may be NULL. */
struct observer *site_observer_open(const struct site *s, const char *const *specs, size_t n,
                                    struct observer_beats *beats, struct err *e);

/* Of a bare QEMU that has the guest: its QMP socket, and the one for who looks on. */
const char *site_endpoint(const struct site *s);
const char *site_watch_endpoint(const struct site *s);

/* ERR_REFUSED: this route cannot do that setting, with the reason. */
int site_command(const struct site *s, const struct trial_cell *cell,
                 const struct scenario_setting *setting, struct site_command *c, struct err *e);

/* After that long a migration is given up. */
int64_t site_timeout_ns(const struct site *s);

/* After a trial: where the guest runs, and what the other side still holds is ended. *arrived:
 * false, it runs where it was. ERR_IO: nowhere; then site_end() it. */
int site_arrived(struct site *s, bool *arrived, struct err *e);

/* ---- for building command lines ---- */

void site_word(struct site_command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
