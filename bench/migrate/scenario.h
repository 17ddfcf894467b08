/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `godwit bench migrate` is to measure, as a file says it. One "key = value" a line; a value
 * that is a list has commas, and each combination of all lists is a cell. "#" begins a comment
 * line. Nothing is guessed: an unknown key, a key twice, a value that is not understood are errors
 * with the file's name and line.
 *
 *   where = lab | local           between hosts of tools/lab, or two QEMUs of this machine
 *   guest = bare | linux | command
 *   command = QEMU-COMMAND-LINE   of guest = command; "{serial}" becomes the file of its serial port
 *   ping = ADDRESS                of a guest that has one, as seen from here
 *   accel = tcg | kvm | kvm,dirty-ring-size=N
 *   machine = TYPE                (q35); a versioned one where the two QEMUs differ
 *   ram, working-set = SIZE, ...
 *   vcpus = N, ...
 *   dirty-rate = SIZE, ...        a second; 0: idle
 *   link = RATE | none, ...       between the hosts of the lab
 *   qemu-source, qemu-destination = PROGRAM | TREE
 *                                 of where = local; a tree as tools/setup qemu10 prints it
 *   route = qmp | direct | native | virsh, ...
 *   setting NAME = WORD...        once for each. A word is postcopy, multifd=N, compression=NAME,
 *                                 downtime-limit=TIME, max-bandwidth=RATE, policy=NAME (what steers the
 *                                 limit, core/tune/policy.h), a promise (max-downtime=TIME, max-time=TIME,
 *                                 allow=WORDS, max-slowdown=PERCENT, on-miss=WORD), or any capability or
 *                                 parameter of QEMU's with its value: auto-converge=on. The word
 *                                 unobserved leaves the time line out, to see what it costs
 *   rounds = N                    repeats of each cell
 *   timeout = TIME                a migration that has not converged by then is given up
 */
#ifndef BENCH_MIGRATE_SCENARIO_H
#define BENCH_MIGRATE_SCENARIO_H

#include "bench/migrate/trial.h"

enum {
    SCENARIO_LIST_MAX = 16,
    SCENARIO_SETTINGS_MAX = 32,
    SCENARIO_WORDS_MAX = 12,
    SCENARIO_CELLS_MAX = 4096,
};

enum scenario_where { SCENARIO_LAB, SCENARIO_LOCAL };
enum scenario_guest { SCENARIO_BARE, SCENARIO_LINUX, SCENARIO_COMMAND };

#define SCENARIO_UNOBSERVED "unobserved"

struct scenario_numbers {
    uint64_t at[SCENARIO_LIST_MAX];
    size_t n;
};

struct scenario_word {
    char name[48], value[64]; /* value "" : a word of its own */
};

struct scenario_setting {
    char name[32];
    char text[256];
    struct scenario_word words[SCENARIO_WORDS_MAX];
    size_t n;
};

struct scenario {
    char name[64]; /* the file's, without directory and ending */
    enum scenario_where where;
    enum scenario_guest guest;
    char command[2048], ping[64], accel[32], machine[32];
    char qemu[TRIAL_SIDES][256]; /* "": the one that PATH finds */
    struct scenario_numbers ram_bytes, working_set_bytes, vcpus, dirty_bytes_per_s,
        link_bytes_per_s, routes; /* at[] of routes: enum trial_route */
    struct scenario_setting settings[SCENARIO_SETTINGS_MAX];
    size_t settings_n;
    unsigned rounds;
    int64_t timeout_ns;
};

/* `file` is for messages. ERR_USAGE: "FILE:LINE: …". */
int scenario_parse(const char *text, const char *file, struct scenario *s, struct err *e);

/* The sets that godwit brings along; NULL: none of that name. */
const char *scenario_built_in(enum scenario_where where);

/* Which combinations there are. A cell is a number below scenario_cells(). */
size_t scenario_cells(const struct scenario *s);

/* What cell `i` is: all of *cell but the versions. */
void scenario_cell(const struct scenario *s, size_t i, struct trial_cell *cell);
const struct scenario_setting *scenario_setting_of(const struct scenario *s, size_t i);

/* Whether a guest that is there for cell `i` also does for cell `k`: they are equal in all but
 * setting, route and link, and both are domains, or both bare QEMUs. */
bool scenario_same_guest(const struct scenario *s, size_t i, size_t k);

/* The two QEMUs differ: it matters which way a guest goes. */
bool scenario_one_way(const struct scenario *s);

/* Whether a word of a setting is an option of godwit migrate; the others are names of QEMU's. */
bool scenario_is_option(const char *word);

/* The order of a round: guests shuffled, and within each guest its cells; `order` has room for
 * scenario_cells(). A guest's cells stay together, because a change of guest costs seconds. */
void scenario_order(const struct scenario *s, uint64_t seed, unsigned round, size_t *order);

#endif
