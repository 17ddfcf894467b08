/* SPDX-License-Identifier: Apache-2.0 */
/* Between bench/migrate/site.c and the kinds of guests that it knows. Not for others. */
#ifndef BENCH_MIGRATE_SITE_KIND_H
#define BENCH_MIGRATE_SITE_KIND_H

#include "bench/migrate/site.h"

struct site_kind {
    /* Boots the guest on TRIAL_SOURCE, which is host a. */
    int (*begin)(struct site *s, struct err *e);
    void (*end)(struct site *s);
    int (*ready)(struct site *s, const struct scenario_setting *setting, enum trial_route route,
                 struct err *e);
    int (*arrived)(struct site *s, bool *arrived, struct err *e);
    int (*command)(const struct site *s, const struct scenario_setting *setting,
                   enum trial_route route, struct site_command *c, struct err *e);
    void (*look)(const struct site *s, enum trial_side side, struct timeline_side *look);
};

extern const struct site_kind site_pair, site_domain;

/* Host 0 is a, host 1 is b; which of them is the source changes with each migration. */
enum { SITE_HOSTS = 2 };

struct site {
    struct site_options options;
    char lab_state[SITE_PATH_MAX]; /* "": where = local */
    char qemu[SITE_HOSTS][48];
    int network_fd; /* -1 */

    const struct site_kind *kind; /* of the guest that there is; NULL: none */
    struct trial_cell cell;       /* what it is */
    int at;                       /* the host on which it is */
    uint64_t link_bytes_per_s;    /* in force; UINT64_MAX: not known */
    bool link_touched;            /* by us */
    char serial[SITE_HOSTS][SITE_PATH_MAX];
    char serial_spec[SITE_HOSTS][SITE_PATH_MAX + 8], ping_spec[96];
    char log[SITE_HOSTS][SITE_PATH_MAX];
    char qmp[SITE_HOSTS][SITE_PATH_MAX], watch_qmp[SITE_HOSTS][SITE_PATH_MAX];
    char endpoint[SITE_HOSTS][SITE_PATH_MAX + 16], watch_text[SITE_HOSTS][SITE_PATH_MAX + 16];
    char pid_file[SITE_HOSTS][SITE_PATH_MAX], pattern[SITE_HOSTS][SITE_PATH_MAX];
    char libvirt[SITE_HOSTS][SITE_PATH_MAX]; /* the URI by which we reach it */
};

/* "a" or "b". */
const char *site_host_name(int host);

/* The number that a file begins with; 0: there is none. */
int site_read_pid(const char *path);

/* A host of the lab: its PID 1 as the machine sees it; 0: it is down. */
int site_host_pid(const struct site *s, const char *name);

/* "QEMU emulator version 10.0.2 (Debian …)": the number; "" none. */
void site_ask_version(const struct site_command *c, char version[48]);

/* Checks the QEMUs of where = local. */
int site_open_local(struct site *s, struct err *e);

/* The host of that side. */
int site_host_of(const struct site *s, enum trial_side side);

/* Runs it. ERR_IO with what it said last. */
int site_run(const struct site *s, const struct site_command *c, struct err *e);

/* The same, also when we are interrupted: for what ends or restores something. */
int site_run_always(const struct site_command *c, struct err *e);

/* "LAB exec HOST". */
void site_on(const struct site *s, int host, struct site_command *c);

/* The options of tools/guest and tools/domain that describe the guest. */
void site_guest_words(const struct site *s, struct site_command *c);

/* The options of `godwit migrate`. */
void site_setting_words(const struct site *s, const struct scenario_setting *setting,
                        struct site_command *c);

#endif
