/* SPDX-License-Identifier: Apache-2.0 */
/* Between bench/migrate/testbed.c and the kinds of guests that it knows. Not for others. */
#ifndef BENCH_MIGRATE_TESTBED_KIND_H
#define BENCH_MIGRATE_TESTBED_KIND_H

#include "bench/migrate/testbed.h"

struct testbed_kind {
    /* Boots the guest on TRIAL_SOURCE, which is host a. */
    int (*begin)(struct testbed *s, struct err *e);
    void (*end)(struct testbed *s);
    int (*ready)(struct testbed *s, const struct scenario_setting *setting, enum trial_route route,
                 struct err *e);
    int (*arrived)(struct testbed *s, bool *arrived, struct err *e);
    int (*command)(const struct testbed *s, const struct scenario_setting *setting,
                   enum trial_route route, struct testbed_command *c, struct err *e);
    void (*look)(const struct testbed *s, enum trial_side side, struct timeline_side *look);
};

extern const struct testbed_kind testbed_pair, testbed_domain;

/* Host 0 is a, host 1 is b; which of them is the source changes with each migration. */
enum { TESTBED_HOSTS = 2 };

struct testbed {
    struct testbed_options options;
    char lab_state[TESTBED_PATH_MAX]; /* "": where = local */
    char qemu[TESTBED_HOSTS][48];
    int network_fd; /* -1 */

    const struct testbed_kind *kind; /* of the guest that there is; NULL: none */
    struct trial_cell cell;          /* what it is */
    int at;                          /* the host on which it is */
    uint64_t link_bytes_per_s;       /* in force; UINT64_MAX: not known */
    bool link_touched;               /* by us */
    char serial[TESTBED_HOSTS][TESTBED_PATH_MAX];
    char serial_spec[TESTBED_HOSTS][TESTBED_PATH_MAX + 8], ping_spec[96];
    char log[TESTBED_HOSTS][TESTBED_PATH_MAX];
    char qmp[TESTBED_HOSTS][TESTBED_PATH_MAX], watch_qmp[TESTBED_HOSTS][TESTBED_PATH_MAX];
    char endpoint[TESTBED_HOSTS][TESTBED_PATH_MAX + 16],
        watch_text[TESTBED_HOSTS][TESTBED_PATH_MAX + 16];
    char pid_file[TESTBED_HOSTS][TESTBED_PATH_MAX], pattern[TESTBED_HOSTS][TESTBED_PATH_MAX];
    char libvirt[TESTBED_HOSTS][TESTBED_PATH_MAX]; /* the URI by which we reach it */
};

/* "a" or "b". */
const char *testbed_host_name(int host);

/* The number that a file begins with; 0: there is none. */
int testbed_read_pid(const char *path);

/* A host of the lab: its PID 1 as the machine sees it; 0: it is down. */
int testbed_host_pid(const struct testbed *s, const char *name);

/* "QEMU emulator version 10.0.2 (Debian …)": the number; "" none. */
void testbed_ask_version(const struct testbed_command *c, char version[48]);

/* Checks the QEMUs of where = local. */
int testbed_open_local(struct testbed *s, struct err *e);

/* The host of that side. */
int testbed_host_of(const struct testbed *s, enum trial_side side);

/* Runs it. ERR_IO with what it said last. */
int testbed_run(const struct testbed *s, const struct testbed_command *c, struct err *e);

/* The same, also when we are interrupted: for what ends or restores something. */
int testbed_run_always(const struct testbed_command *c, struct err *e);

/* "LAB exec HOST". */
void testbed_on(const struct testbed *s, int host, struct testbed_command *c);

/* The options of tools/guest and tools/domain that describe the guest. */
void testbed_guest_words(const struct testbed *s, struct testbed_command *c);

/* The options of `godwit migrate`. */
void testbed_setting_words(const struct testbed *s, const struct scenario_setting *setting,
                           struct testbed_command *c);

#endif
