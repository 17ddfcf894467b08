/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The costs of a migration that are there whatever the guest does, learned from those that were done: until
 * the first byte, of the pause beside the sending of RAM, after it; from RESUME until the guest is seen again; and what the link between two hosts has
 * carried. Kept between runs in a file of ours, in the XDG state directory.
 *
 * A case is kept under its hosts and its guest's shape. When a version of the hypervisors changes, what was
 * learned with the old one is forgotten. The file is a help and no more: one that is broken, or cannot be
 * written, is reported and no migration depends on it.
 */
#ifndef CORE_TUNE_COSTS_H
#define CORE_TUNE_COSTS_H

#include "core/cleanup.h"
#include "core/err.h"
#include "core/tune/model.h"

enum {
    COSTS_CASES_MAX = 20, /* the last so many of one guest's shape between two hosts */
    COSTS_ENTRIES_MAX =
        64, /* shapes and pairs of hosts: beyond it the one that is longest unused goes */
};

struct costs_key {
    char source_host[128], destination_host[128];
    char source_version[48], destination_version[48]; /* "QEMU 10.0.2" */
    char route[8];                                    /* "qmp", "direct", "native" */
    char machine[64];                                 /* "pc-q35-10.0" */
    unsigned vcpus;
    uint64_t ram_bytes; /* counts by its power of two */
    bool kvm;
};

/* One migration that has succeeded. Below 0 (0 for bytes_per_s): not known. */
struct costs_case {
    int64_t begin_ns, pause_ns, end_ns; /* as in struct model_costs */
    int64_t
        warm_up_ns; /* by how much the silence that an observer saw was longer than the standstill */
    double bytes_per_s; /* what went through where nothing but the link held it back */
};

struct costs;

/* Empty. NULL: no memory. */
struct costs *costs_new(void);
void costs_free(struct costs *c); /* NULL is fine */

static inline void costs_free_ptr(struct costs **c)
{
    costs_free(*c);
}

#define CLEANUP_COSTS CLEANUP(costs_free_ptr)

/* Where the file is: $XDG_STATE_HOME/godwit/costs.json, else ~/.local/state. A relative XDG_STATE_HOME does
 * not count (XDG Base Directory Specification). ERR_REFUSED: there is neither. */
int costs_path(char *path, size_t room, struct err *e);

/* A file that is not there is an empty one. -1: it cannot be read, or is none of ours; *c is empty. */
int costs_read(struct costs *c, const char *path, struct err *e);

/* Atomically; directories that are missing are made. */
int costs_write(const struct costs *c, const char *path, struct err *e);

void costs_add(struct costs *c, const struct costs_key *k, const struct costs_case *seen);

/* Reads, adds and writes, so that two at the same time do not lose each other's. A file that is broken is
 * begun anew, with a warning in the log. */
int costs_learn(const char *path, const struct costs_key *k, const struct costs_case *seen,
                struct err *e);

/* How near to the question the cases are that the answer is from. */
enum costs_from {
    COSTS_SHIPPED,   /* none at all: what was measured by those who wrote this */
    COSTS_ELSEWHERE, /* of this route and these versions, between other hosts */
    COSTS_HOSTS,     /* between these hosts, of other guests */
    COSTS_ALIKE,     /* between these hosts, of guests of this shape */
};

struct costs_found {
    struct model_costs costs;   /* all but zero_bytes_per_s is from the cases */
    struct estimate warm_up_ns; /* not in `costs`: it is no part of the standstill */
    enum costs_from from;
    unsigned cases; /* 0: shipped */
    struct estimate
        bytes_per_s; /* between these hosts, of any guest; link_cases == 0: not known, all 0 */
    unsigned link_cases;
};

/* `c` may be NULL. */
void costs_find(const struct costs *c, const struct costs_key *k, struct costs_found *out);

#endif
